from __future__ import annotations

from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.errors import DataError
from curation.sources.latex import expand, written
from curation.sources.latex_stream import Limits


def expanded(source: str, limits: Limits | None = None, **files: str) -> str:
    texts = {"main.tex": source, **{name.replace("_", "."): text for name, text in files.items()}}
    return written(expand(texts, "main.tex", limits=limits or Limits()))


@pytest.mark.parametrize(
    ("source", "text"),
    [
        # RedPajama expanded those without arguments only, and only at the end of a line
        (r"\newcommand{\a}{x}\a", "x"),
        (r"\newcommand{\a}[1]{<#1>}\a{x}\a y\a{}", "<x><y><>"),
        (r"\newcommand{\a}[2]{#2#1}\a{x}{y}", "yx"),
        (r"\newcommand{\a}[2][o]{#1#2}\a{x}\a[p]{x}\a[{]}]{x}", "oxpx{]}x"),
        (r"\newcommand*{\a}{x}\a", "x"),
        (r"\newcommand\a{x}\a", "x"),
        ("\\newcommand\n {\\a}\n [1]\n {x#1}\\a{y}", "xy"),
        (r"\renewcommand{\vec}[1]{\mathbf{#1}}$\vec x$", r"$\mathbf{x}$"),
        (r"\providecommand{\a}{x}\providecommand{\a}{y}\a", "x"),
        (r"\newcommand{\a}{x}\renewcommand{\a}{y}\a", "y"),
        (r"\def\a{x}\a", "x"),
        (r"\def\a#1#2{#2#1}\a{x}y", "yx"),
        (r"\long\def\a{x}\a", r"\long x"),
        (r"\DeclareMathOperator{\tr}{tr}$\tr A$", r"$\operatorname{tr}A$"),
        (r"\DeclareMathOperator*{\am}{arg\,min}$\am_x$", r"$\operatorname*{arg\,min}_x$"),
        (r"\DeclareRobustCommand{\a}{x}\a", "x"),
        (r"\NewDocumentCommand{\a}{O{o} m}{#1#2}\a{x}\a[p]{x}", "oxpx"),
        (r"\NewDocumentCommand{\a}{mm}{#2#1}\a{x}{y}", "yx"),
        # what stands in a body
        (r"\newcommand{\a}[1]{\bf#1}\a{x}\a{\b}", r"\bf x\bf\b"),
        (r"\newcommand{\a}{\alpha}$\a x$", r"$\alpha x$"),
        (r"\newcommand{\a}{x}{\bf\a}", r"{\bf x}"),
        (r"\newcommand{\a}{\b}\newcommand{\b}[1]{<#1>}\a{x}", "<x>"),
        (r"\newcommand{\a}[1]{##1#1}\a{x}", "#1x"),
        (r"\newcommand{\a}[1]{\{#1\}}\a{x}", r"\{x\}"),
        (r"\def\be{\begin{equation}}\def\ee{\end{equation}}\be" + "\nx\n" + r"\ee" + "\ny",
         "\\begin{equation}\nx\n\\end{equation}\ny"),
        # blanks after a command say nothing, so authors write more than blanks
        (r"\def\a{x}\a y", "xy"),
        (r"\def\a{x}\a\ y", "x y"),
        (r"\def\a{x}\a{} y", "x y"),
        (r"\def\a{x}{\a} y", "{x} y"),
        (r"\def\a{\alpha}\a{} y", r"\alpha{} y"),
        ("\\def\\a{x}\\a\n\ny", "x\n\ny"),
        (r"\newcommand{\ie}{i.e.\xspace}\ie this, \ie, \ie\b", r"i.e. this, i.e., i.e. \b"),
        # definitions in the midst of a text leave no lines
        ("a\n\\newcommand{\\x}{y}\nb\\x", "a\nby"),
        # let
        (r"\let\a\alpha$\a$", r"$\alpha$"),
        (r"\let\a=\alpha$\a$", r"$\alpha$"),
        (r"\newcommand{\a}{x}\let\b\a\renewcommand{\a}{y}\b\a", "xy"),
        (r"\let\old\emph\renewcommand{\emph}[1]{\old{<#1>}}\emph{x}", r"\emph{<x>}"),
        # what stays as it is
        (r"\unknown{x}[y] z", r"\unknown{x}[y] z"),
        (r"\def\a(#1){x}\a(y)", r"\def\a(#1){x}\a(y)"),
        (r"\newcommand{\a}{\csname x\endcsname}\a", r"\newcommand{\a}{\csname x\endcsname}\a"),
        (r"\newcommand{\a}{\ifmmode x\else y\fi}\a", r"\newcommand{\a}{\ifmmode x\else y\fi}\a"),
        (r"\renewcommand{\section}{x}\section{y}", r"\renewcommand{\section}{x}\section{y}"),
        (r"\newcommand{\a}{\newcommand{\b}{x}}\a", r"\newcommand{\a}{\newcommand{\b}{x}}\a"),
        (r"\edef\a{x}\a", r"\edef\a{x}\a"),
        (r"\newcommand{\a}{x", r"\newcommand{\a}{x"),
        (r"\newcommand{\a}[1]{x#2}\a", r"\newcommand{\a}[1]{x#2}\a"),
        (r"\newcommand{\a}[1]{<#1>}{\a}", r"{\a}"),
        (r"\newcommand{\a}[2]{<#1#2>}\a{x", r"\a{x"),
        (r"\newcommand{\a}{x}\verb|\a|\a", r"\verb|\a|x"),
        (r"\newcommand{\a}{x}\begin{verbatim}\a\end{verbatim}\a", r"\begin{verbatim}\a\end{verbatim}x"),
    ],
)  # fmt: skip
def test_macros(source: str, text: str) -> None:
    assert expanded(source) == text


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (r"a\iffalse b\fi c", "ac"),
        (r"a\iffalse b\else d\fi c", "adc"),
        (r"a\iftrue b\else d\fi c", "abc"),
        (r"a\iffalse\ifx b\fi\iftrue e\else f\fi\else d\fi c", "adc"),
        (r"\newif\ifdraft\ifdraft b\else d\fi", "d"),
        (r"\newif\ifdraft\drafttrue\ifdraft b\else d\fi\draftfalse\ifdraft e\fi", "b"),
        (r"\let\ifdraft\iftrue\ifdraft b\else d\fi", "b"),
        (r"\def\hide{\iffalse}a\hide b\fi c", "ac"),
        (r"\ifx\a\b c\else d\fi", r"\ifx\a\b c\else d\fi"),
        (r"\ifx\a\b\iffalse c\fi\else d\fi", r"\ifx\a\b\else d\fi"),
        (r"$a \iff b$ \iffalse c \iff d\fi e", r"$a \iff b$ e"),
        (r"a\iffalse b", r"a\iffalse b"),  # never closed: nothing goes
        ("a\n\\iffalse\nb\n\\fi\nc", "a\nc"),
    ],
)
def test_conditionals(source: str, text: str) -> None:
    assert expanded(source) == text


def test_inputs_are_joined_where_they_stand() -> None:
    source = "1\n\\input{a}\n2\n\\include{b}\n\\input c.tex\n3\\input{./d/e}"
    assert expanded(source, a_tex="A\n", b_tex="B", c_tex="C", **{"d/e_tex": "E"}) == "1\nA\n2\nB\nC\n3E"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("a\n\\input{missing}\nb", "a\nb"),
        ("a \\input{missing} b", "a  b"),
        (r"\input{x.bbl}\input{x.pdf_tex}", ""),
        (r"\newcommand{\dir}{.}\input{\dir/x}", "X\\y"),
        (r"\subfile{s}", "S"),
        (r"\import{sub/}{t}", "T/U"),
        (r"\input{x}\y", "X\\y\\y"),
        (r"\input{def}\z", "Z"),
        (r"\input{/etc/passwd}\input{../../etc/passwd}a", "a"),
    ],
)
def test_names_of_inputs(source: str, text: str) -> None:
    files = {
        "x_tex": r"X\y", "x_bbl": "bib", "x_pdf_tex": "p", "def_tex": r"\def\z{Z}",
        "s_tex": "\\documentclass[main]{subfiles}\\begin{document}S\\end{document}never",
        "sub/t_tex": r"T/\input{u}", "sub/u_tex": "U",
    }  # fmt: skip
    assert expanded(source, **files) == text


def test_where_files_end() -> None:
    assert expanded(r"a\input{b}d\end{document}e", b_tex="b\\endinput c") == "abd"


def test_a_file_is_not_joined_into_itself() -> None:
    assert expanded(r"a\input{b}", b_tex=r"b\input{main}\input{c}", c_tex=r"c\input{b}") == "abc"


def test_packages_of_the_paper_define_but_say_nothing() -> None:
    style = r"""\ProvidesPackage{m}text \newcommand{\a}{x}\def\b@c{y}\def\d{\@e}
    \let\f@\section\let\g\section\renewcommand\section{z}"""
    text = r"\usepackage[o]{amsmath, m}\a\b@c\d\g\section{s}"
    assert expanded(text, m_sty=style) == text.replace(r"\a\b", r"x\b")


@pytest.mark.parametrize(("body", "deep"), [("{}", False), ("{}!", True)])
def test_calls_within_calls(body: str, deep: bool) -> None:
    """A call at the end of a call is not within it."""
    names = [f"a{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(250)]
    chain = "".join(rf"\def\{a}{{{body.format(chr(92) + b)}}}" for a, b in pairwise(names))
    source = rf"{chain}\def\{names[-1]}{{x}}\{names[0]}"
    if deep:
        with pytest.raises(DataError, match="200 calls within calls"):
            expanded(source)
    else:
        assert expanded(source) == "x"


@pytest.mark.parametrize(
    "source",
    [
        r"\def\a{\a}\a",
        r"\def\a{x\a y}\a",
        r"\def\a{x\a}\a",
        r"\def\a#1{\a{#1#1}}\a{x}",
        "".join(rf"\def\{chr(97 + i)}{{\{chr(98 + i)}\{chr(98 + i)}}}" for i in range(25)) + r"\def\z{}\a",
        r"\newcommand{\a}[1]{#1}" + r"\a{" * 20_000 + "}" * 20_000,
        r"\newcommand{\a}[1]{#1}" + r"\a{" * 20_000,
        r"\iffalse " * 20_000,
        r"\def\a{}" * 20_000,
    ],
)
def test_bombs(source: str) -> None:
    limits = Limits(commands=10_000, expansions=10_000, work=1 << 20, characters=1 << 20)
    with pytest.raises(DataError, match="macro_bomb"):
        expanded(source, limits)


def test_a_bomb_of_files() -> None:
    files = {f"{chr(97 + i)}_tex": rf"\input{{{chr(98 + i)}}}\input{{{chr(98 + i)}}}" for i in range(20)}
    with pytest.raises(DataError, match="files joined"):
        expanded(r"\input{a}", **files)


@pytest.mark.parametrize(("limit", "count"), [("expansions", 3), ("commands", 1)])
def test_limits_are_exact(limit: str, count: int) -> None:
    source = r"\def\a{x}\a\a\a"
    assert expanded(source, Limits(**{limit: count})) == "xxx"
    with pytest.raises(DataError, match="macro_bomb"):
        expanded(source, Limits(**{limit: count - 1}))


@given(st.text(st.characters(exclude_characters="\\", exclude_categories=["Cs"])).filter(lambda text: "\r" not in text))
def test_text_without_commands_passes(text: str) -> None:
    assert "".join(piece.text for piece in expand({"m": text}, "m")) == text


def balanced(alphabet: str) -> st.SearchStrategy[str]:
    """Texts of this alphabet, with groups in them."""
    plain = st.text(st.sampled_from(alphabet), max_size=8)
    return st.recursive(
        plain,
        lambda inner: st.lists(plain | inner.map(lambda text: f"{{{text}}}"), max_size=4).map("".join),
        max_leaves=5,
    )


@given(balanced("ab \n[]$&~^_#"), balanced("ab "))
def test_an_argument_comes_out_as_it_went_in(text: str, body: str) -> None:
    assert expanded(rf"\newcommand{{\a}}[1]{{({body}#1)}}|\a{{{text}}}|") == written(
        expand({"m": f"|({body}{text})|"}, "m")
    )


@given(
    st.lists(
        st.sampled_from(
            ["\\newcommand", "\\def", "\\a", "\\b", "{", "}", "[", "]", "#1", "1", "\\iffalse", "\\fi", "\\else",
             "\\input{m}", "\\begin{verbatim}", "\\end", "\\let", "=", "x", " ", "\n", "\\section{", "\\xspace",
             "\\newif\\ifa", "\\verb|", "\\"]
        ),
        max_size=30,
    ).map("".join)
)  # fmt: skip
def test_anything_ends(source: str) -> None:
    limits = Limits(commands=1000, expansions=1000, work=1 << 16)
    with suppress(DataError):
        assert isinstance(written(expand({"m": source}, "m", limits=limits)), str)
