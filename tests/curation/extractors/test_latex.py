from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from curation.document import Document, Drop, Page
from curation.errors import DataError, RecipeError
from curation.extractors.latex import Latex
from curation.sources import arxiv
from curation.sources.given import Given

PAPER = r"""\documentclass{article} % a paper
\newcommand{\it}[1]{\emph{#1}} % a note behind a definition: RedPajama did not expand it then
\begin{document}
\begin{abstract} Not this. \end{abstract}
\section{One} 50\% of \it{it}.% c
\bibliography{b}
\appendix
\section{More} text
\end{document}
"""


def page(files: dict[str, str | bytes]) -> Page:
    packed = arxiv.pack([(name, body if isinstance(body, bytes) else body.encode()) for name, body in files.items()])
    return Page(
        id="arxiv:a.tar#1", url="https://arxiv.org/abs/1", date="2012-02-01", digest="sha1:A", status=0,
        content_type=arxiv.CONTENT_TYPE, charset="", body=packed,
    )  # fmt: skip


def test_paper() -> None:
    assert Latex()(page({"ms.tex": PAPER})) == Document(
        id="arxiv:a.tar#1", url="https://arxiv.org/abs/1", date="2012-02-01", digest="sha1:A",
        text="\\section{One} 50\\% of \\emph{it}.\n\\appendix\n\\section{More} text",
    )  # fmt: skip


def test_options() -> None:
    document = Latex(appendix=False)(page({"ms.tex": PAPER}))
    assert isinstance(document, Document)
    assert document.text == "\\section{One} 50\\% of \\emph{it}."
    letter = page({"ms.tex": r"\documentclass{revtex4}\begin{document}\maketitle A letter.\end{document}"})
    assert Latex()(letter) == Drop("no_section", 0, 1)
    kept = Latex(without_section="keep")(letter)
    assert isinstance(kept, Document)
    assert kept.text == r"\maketitle A letter."
    with pytest.raises(RecipeError, match="without_section"):
        Latex(without_section="maybe")


@pytest.mark.parametrize(
    ("files", "drop"),
    [
        ({"a.tex": "no TeX at all"}, Drop("no_main_file", 1, 1)),
        ({"a.tex": r"\documentclass{a}\begin{document}text"}, Drop("no_section", 0, 1)),
        ({"a.tex": r"\documentclass{a}\begin{document}\section{References} [1]"}, Drop("no_text", 0, 1)),
    ],
)
def test_drops(files: dict[str, str | bytes], drop: Drop) -> None:
    assert Latex()(page(files)) == drop


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"a.tex": r"\documentclass{a}\begin{document}\def\a{x\a y}\section{x}\a"}, "macro_bomb"),
        ({"a.tex": b"\0\1\2" * 100}, "binary_body"),
        ({}, "no_tex"),
    ],
)
def test_bad_papers(files: dict[str, str | bytes], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        Latex()(page(files))


@pytest.mark.parametrize(
    "told",
    [
        {"00README.XXX": "b.tex toplevelfile\n"},
        {"00README.json": '{"sources":[{"filename":"b.tex", "usage":"toplevel"}]}'},
    ],
)
def test_the_file_that_arxiv_was_told(told: dict[str, str | bytes]) -> None:
    other = PAPER.replace("One", "Other and longer")
    document = Latex()(page({"a.tex": other, "b.tex": PAPER, **told}))
    assert isinstance(document, Document)
    assert document.text.startswith(r"\section{One}")


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{" * 300_000, "{" * 300_000),
        (r"\a{" * 60_000, r"\a{" * 60_000),
        ("a%\n" * 60_000, "a" * 60_000),
        ("\\begin" + " " * 300_000, "\\begin"),
        (r"\def\a{}\a" + "\n" * 300_000, ""),
        (r"\verb|" * 40_000, r"\verb|" * 40_000),
        (r"\begin{verbatim}" * 20_000, None),
        (r"\begin{thebibliography}" * 10_000, None),
        (r"\iffalse " * 20_000, None),
        (r"\newcommand{\a}[1]{" * 10_000, None),
    ],
    ids=["braces", "calls", "comments", "begin", "line ends", "verb", "verbatim", "bibliographies", "ifs", "commands"],
)
def test_hostile_papers_end(source: str, text: str | None) -> None:
    """Nothing here takes its length squared: that would be minutes. None: too much to read again."""
    paper = page({"a.tex": rf"\documentclass{{a}}\begin{{document}}\section{{x}}{source}"})
    before = time.process_time()
    if text is None:
        with pytest.raises(DataError, match=r"^macro_bomb"):
            Latex()(paper)
    else:
        document = Latex()(paper)
        assert isinstance(document, Document)
        assert document.text == rf"\section{{x}}{text}"
    assert time.process_time() - before < 20


@pytest.mark.skipif("WINNOW_EXTRA_DATA" not in os.environ, reason="no real papers here")
def test_real_papers() -> None:
    folder = Path(os.environ["WINNOW_EXTRA_DATA"]) / "arxiv"
    entries = tuple(sorted(os.listdir(folder)))
    for _, value in arxiv.read(Given("arxiv", "papers", lambda: pytest.fail("a folder"), folder, entries)):
        assert isinstance(value, Page)
        document = Latex()(value)
        assert isinstance(document, Document)
        assert document.text.startswith("\\section")
        assert 30_000 < len(document.text) < 100_000
        for gone in (
            "\\newcommand",
            "\\input{",
            "\\bibliography",
            "\\begin{abstract}",
            "\\end{document}",
            "\\project{",
            "\\code{",
        ):
            assert gone not in document.text
