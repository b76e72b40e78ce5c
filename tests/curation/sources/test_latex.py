from __future__ import annotations

import pytest

from curation.errors import DataError
from curation.sources.latex import (
    expand,
    from_first_section,
    main_file,
    paper,
    text_of,
    texts_of,
    without_appendix,
    without_bibliography,
    without_preamble,
    written,
)
from curation.sources.latex_stream import Piece

DOCUMENT = "\\documentclass{article}\n\\begin{document}\n"


def cut(source: str) -> str | None:
    pieces = from_first_section(expand({"m": source}, "m"))
    return None if pieces is None else written(without_bibliography(pieces))


# RedPajama found neither \paragraph nor \subparagraph alone.
@pytest.mark.parametrize(
    "heading",
    [
        *(rf"\{name}{{T}}" for name in ("part", "chapter", "section", "subsection", "subsubsection")),
        r"\paragraph{T}", r"\subparagraph{T}", r"\section*{T}", r"\section[S]{T}", r"\section {T}", "\\section\n{T}",
        r"\section*[S]{T}",
    ],
)  # fmt: skip
def test_a_paper_begins_at_its_first_heading(heading: str) -> None:
    assert cut(f"{DOCUMENT}title, abstract {heading} text") == f"{heading} text"


@pytest.mark.parametrize(
    "source",
    [
        DOCUMENT + "text",
        r"\documentclass{a}\section{x}\begin{document}text",
        DOCUMENT + "\\begin{verbatim}\\section{x}\\end{verbatim}",
        DOCUMENT + r"\verb|\section{x}|",
        DOCUMENT + r"\iffalse\section{x}\fi",
        DOCUMENT + r"\titlespacing\section",
        DOCUMENT + r"\renewcommand{\section}{\mysection{x}}",
    ],
)
def test_no_heading(source: str) -> None:
    assert cut(source) is None


def test_headings_before_the_document_do_not_count() -> None:
    assert cut(r"\documentclass{a}\section{x}\begin{document}a\section{y}b") == r"\section{y}b"


def test_a_heading_of_the_authors_own() -> None:
    assert cut(DOCUMENT + r"\newcommand{\sect}[1]{\section{#1}\label{s:#1}}a\sect{x}b") == r"\section{x}\label{s:x}b"
    assert cut("\\section{plain TeX} has no document") == "\\section{plain TeX} has no document"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (r"\begin{thebibliography}{9}\bibitem{a} b\end{thebibliography}", ""),
        ("a\n\\begin{thebibliography}{9}\nb\n\\end{thebibliography}\n\\section{A} c", "a\n\n\\section{A} c"),
        (r"\begin{thebibliography}{9} \bibitem{a} b", ""),  # never closed: to the next heading, or the end
        (r"\begin{thebibliography}{9} b \appendix c", r"\appendix c"),
        (r"\begin{thebibliography}{9} b \section{y} c", r"\section{y} c"),
        (r"\begin{references}\bibitem{a} b\end{references}", ""),
        ("a\n\\bibliographystyle{plain}\n\\bibliography{a,b}\nc", "a\nc"),
        (r"a\printbibliography[title={x]y}]c\printbibliography d", "ac d"),
        (r"\nocite{*}a\cite{b}", r"a\cite{b}"),
        (r"\input{m.bbl}a", "a"),
        (r"\section*{References} [1] b", ""),
        (r"\section{\large REFERENCES} [1] b \subsection{Books} c \section{y} d", r"\section{y} d"),
        (r"\section{References}\begin{thebibliography}{9}b\end{thebibliography} tables", "tables"),
        (r"\subsection{Bibliography.} b \subsection{y} d", r"\subsection{y} d"),
        (r"\section{References to colour} a", r"\section{References to colour} a"),
        (r"\begin{verbatim}\bibliography{a}\end{verbatim}", r"\begin{verbatim}\bibliography{a}\end{verbatim}"),
    ],
)  # fmt: skip
def test_bibliography(source: str, text: str) -> None:
    kept = cut(rf"{DOCUMENT}\section{{x}} " + source)
    assert kept is not None
    assert kept.removeprefix(r"\section{x}").lstrip() == text


def test_appendix() -> None:
    pieces = expand({"m": r"\section{x} a \appendix \section{y} b"}, "m")
    assert written(pieces) == r"\section{x} a \appendix \section{y} b"
    assert written(without_appendix(pieces)) == r"\section{x} a"
    for name in ("appendix", "appendices"):
        pieces = expand({"m": rf"\section{{x}} a \begin{{{name}}}\section{{y}} b\end{{{name}}}"}, "m")
        assert written(without_appendix(pieces)) == r"\section{x} a"


def test_preamble() -> None:
    assert written(without_preamble(expand({"m": f"{DOCUMENT}a"}, "m"))) == "a"
    assert written(without_preamble(expand({"m": "a"}, "m"))) == "a"


def test_written() -> None:
    pieces = [
        Piece("text", "\n a  \n\n\n\nb\t\n"),
        Piece("verbatim", "\\begin{verbatim} \n\n\n\n \\end{verbatim}"),
        Piece("text", " c "),
    ]
    assert written(pieces) == "a\n\nb\n\\begin{verbatim} \n\n\n\n \\end{verbatim} c"


# The main file


def main(**texts: str) -> str | None:
    return main_file({name.replace("_", "."): text for name, text in texts.items()})


def test_the_only_one_with_a_document() -> None:
    assert main(a_tex="x" * 1000, b_tex=DOCUMENT, c_sty=DOCUMENT) == "b.tex"
    assert main(a_tex=r"\section{x}", b_tex="prose") == "a.tex"
    assert main(a_tex="prose") is None
    assert main(a=r"\magnification=1200 \bye") == "a"  # files of the nineties have no suffix


def test_the_longest_with_what_it_joins() -> None:
    assert main(letter_tex=DOCUMENT + "x" * 50, z_tex=DOCUMENT + r"\input{body}", body_tex="x" * 100) == "z.tex"
    assert main(letter_tex=DOCUMENT + "x" * 150, z_tex=DOCUMENT + r"\input{body}", body_tex="x" * 100) == "letter.tex"
    assert main(b_tex=DOCUMENT, a_tex=DOCUMENT) == "a.tex"


def test_parts_that_could_stand_alone() -> None:
    assert main(z_tex=DOCUMENT + r"\subfile{a}", a_tex=DOCUMENT + "x" * 1000) == "z.tex"
    standalone = DOCUMENT.replace("article", "standalone") + "x" * 1000
    assert main(figure_tex=standalone, z_tex=DOCUMENT) == "z.tex"
    assert main(figure_tex=standalone) == "figure.tex"
    assert main(wrapper_tex=r"\input{z}", z_tex=DOCUMENT) == "z.tex"


def test_as_arxiv_was_told() -> None:
    assert main_file({"a.tex": DOCUMENT + "long", "b.tex": DOCUMENT}, "b.tex") == "b.tex"
    assert main_file({"a.tex": DOCUMENT + "long", "b.tex": DOCUMENT}, "missing.tex") == "a.tex"


def test_comments_do_not_count() -> None:
    pieces = paper({"a.tex": "%" + DOCUMENT.replace("\n", "\n%") + "x" * 500, "b.tex": DOCUMENT + r"\section{x}"})
    assert pieces is not None
    assert pieces[-2] == Piece("heading", r"\section")


# Encodings: RedPajama dropped every paper that is not UTF-8


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("é", "é"),
        (b"caf\xe9", "café"),
        (rb"\usepackage[latin1]{inputenc} " + b"\xe9 \x93x\x94", "é “x”"),
        (rb"\usepackage[latin2]{inputenc} " + b"\xb1", "ą"),
        (rb"\usepackage[latin9]{inputenc} " + b"\xa4", "€"),
        (rb"\usepackage[cp1251]{inputenc} " + b"\xff", "я"),
        (rb"\inputencoding{koi8-r} " + b"\xd1", "я"),
        (rb"\usepackage[applemac]{inputenc} " + b"\x8e", "é"),
        (rb"\begin{CJK*}{GBK}{song} " + b"\xc4\xe3", "你"),
        (rb"\usepackage[utf8]{inputenc} " + "é".encode() * 50 + b"\xff", "é" * 50 + "\ufffd"),
        (rb"\usepackage[nonsense]{inputenc} " + b"caf\xe9", "café"),
        (b"\xef\xbb\xbfa\r\nb\rc", "a\nb\nc"),
    ],
)
def test_encodings(body: str | bytes, text: str) -> None:
    assert text_of(body if isinstance(body, bytes) else body.encode()).split("} ")[-1].split("song} ")[-1] == text


def test_a_file_that_is_no_text_is_left_out() -> None:
    assert texts_of({"a.tex": b"a", "b": b"\0\1\2" * 100}) == {"a.tex": "a"}
    with pytest.raises(DataError, match="binary_body"):
        texts_of({"b.tex": b"\0\1\2" * 100})
    with pytest.raises(DataError, match="no_tex"):
        texts_of({})
