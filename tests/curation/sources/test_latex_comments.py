from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.sources.latex_comments import environments, strip_comments, verb_end


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("ok% c1", "ok"),  # RedPajama: "o"
        ("a % c", "a "),
        ("a % c\nb", "a\nb"),
        ("affine-%\n    invariant", "affine-invariant"),
        ("a%c\n  %d\n b", "ab"),
        ("a%c\n\nb", "a\n\nb"),  # the empty line ends the paragraph
        ("a %c\n\nb", "a\n\nb"),
        ("a%", "a"),
        ("a%\n", "a\n"),
        ("%c\nb", "b"),
        ("a\n  % c\nb", "a\nb"),
        ("a\n\n%c\n\nb", "a\n\n\nb"),
        ("\\foo%c\nbar", "\\foo\nbar"),  # not \foobar
        ("\\\\foo%c\nbar", "\\\\foobar"),  # a line break and the word foo
        ("47\\% of\n50\\% % c\n", "47\\% of\n50\\%\n"),
        ("\\\\% c", "\\\\"),
        ("\\\\\\% c", "\\\\\\% c"),
        ("a\\ % c\nb", "a\\ \nb"),
        ("\\verb|50%| % c", "\\verb|50%| "),
        ("\\verb*+%+%c", "\\verb*+%+"),
        ("\\lstinline[language=C]!%d!%c", "\\lstinline[language=C]!%d!"),
        ("\\mintinline{c}{%d}%c", "\\mintinline{c}{%d}"),
        ("\\verb|50% c\nb", "\\verb|50\\nb".replace("\\n", "")),  # it does not close: no \verb
        ("\\url{http://a/%7Eb} % c", "\\url{http://a/%7Eb} "),
        ("\\href{a%20b}{c}%d", "\\href{a%20b}{c}"),
        ("\\url{a%\nb}", "\\url{ab}"),
        ("\\begin{verbatim}\n100% % x\n\\end{verbatim}%c\nb", "\\begin{verbatim}\n100% % x\n\\end{verbatim}b"),
        (
            "\\begin{lstlisting}[language=C]\n%d\n\\end{lstlisting}",
            "\\begin{lstlisting}[language=C]\n%d\n\\end{lstlisting}",
        ),
        ("a\n\\begin{comment}\nb\n\\end{comment}\nc", "a\nc"),
        ("a \\begin{comment}b\\end{comment} c", "a  c"),
        ("\\begin{comment} never closed % c", "\\begin{comment} never closed "),
        ("\\begin{filecontents}{a.bib}\n%\n\\end{filecontents}\nx", "x"),
        ("%\\begin{comment}\na\n%\\end{comment}", "a\n"),
    ],
)
def test_comments(source: str, text: str) -> None:
    assert strip_comments(source) == text


def test_declared_environments() -> None:
    known = environments(
        [r"\lstnewenvironment{python}{}{}", r"\excludecomment{answer} \DefineVerbatimEnvironment{code}{}{}"]
    )
    source = "\\begin{python}%1\\end{python}\\begin{code}%2\\end{code}\\begin{answer}3\\end{answer}%4"
    assert strip_comments(source, known) == "\\begin{python}%1\\end{python}\\begin{code}%2\\end{code}"
    assert strip_comments(source).count("%") == 0  # they are LaTeX's own in no other paper


@given(st.text(st.characters(exclude_characters="%\\")))
def test_text_without_marks_passes(text: str) -> None:
    assert strip_comments(text) == text


LATEX = st.lists(
    st.sampled_from(
        ["a", " ", "\n", "%", "\\%", "\\\\", "\\foo", "{", "}", "|", "\\verb|", "\\url{",
         "\\begin{verbatim}", "\\end{verbatim}", "\\begin{comment}", "\\end{comment}"]
    )
).map("".join)  # fmt: skip


@given(LATEX.filter(lambda text: "comment" not in text and "verb" not in text))
def test_once_is_enough(source: str) -> None:
    text = strip_comments(source)
    assert strip_comments(text) == text


@given(LATEX)
def test_nothing_is_made_up(source: str) -> None:
    """What stays is what was there, in order."""
    rest = iter(source)
    assert all(character in rest for character in strip_comments(source))


@given(st.lists(st.sampled_from(["a", "b c", "", "  ", "x\\%y"])))
def test_lines_of_comments_change_nothing(lines: list[str]) -> None:
    plain = "\n".join(lines)
    assert strip_comments("".join(f"  % note {{\n{line}\n" for line in lines)) == (plain + "\n" if lines else "")


@pytest.mark.parametrize("delimiter", [" ", "a", "1", "\\", "\n", ""])
def test_no_verb(delimiter: str) -> None:
    assert verb_end("\\verb", f"{delimiter}x{delimiter}", 0) == -1
