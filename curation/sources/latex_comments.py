"""LaTeX without its comments, as TeX reads it: nothing that is printed is lost, and nothing that is not is kept."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

VERBATIM = frozenset(
    """verbatim verbatim* Verbatim Verbatim* BVerbatim LVerbatim lstlisting lstlisting* minted alltt spverbatim
    pyverbatim pycode boxedverbatim verbatimtab""".split()  # noqa: SIM905
)
COMMENTS = frozenset({"comment", "filecontents", "filecontents*"})

_DECLARED = re.compile(
    r"\\(lstnewenvironment|DefineVerbatimEnvironment|newtcblisting|newverbatim|excludecomment)\s*+\{([^{}\\%\n]{1,40})\}"
)
# A token that matters here: an escaped character (\% among them) or a command, or a comment.
_TOKEN = re.compile(r"\\(?:[a-zA-Z]+\*?|.)|%", re.DOTALL)
_NAME = re.compile(r"[ \t]*+\n?[ \t]*+\{([^{}\\%\n]{1,40})\}")
_SPACES = re.compile(r"[ \t]*")
# Commands whose argument is read with % as a character, when it ends on its line.
_ADDRESS = re.compile(r"[ \t]*\{[^{}\n]*\}")
_ADDRESSES = frozenset({r"\url", r"\href", r"\nolinkurl", r"\path"})
_VERB = frozenset({r"\verb", r"\verb*", r"\lstinline", r"\lstinline*", r"\mintinline", r"\Verb", r"\Verb*"})
_OPTIONS = re.compile(r"\[[^\[\]\n]*\]")
# Longer ones are none: what opens and does not close must not take its length squared.
_LONGEST_VERB = 1000
_MAX_DECLARED = 100


@dataclass(frozen=True, slots=True)
class Environments:
    """Names of the environments whose contents are characters, and of those that are not printed."""

    verbatim: frozenset[str] = VERBATIM
    comments: frozenset[str] = COMMENTS


LATEX = Environments()


def environments(texts: Iterable[str]) -> Environments:
    """LaTeX's own and those that the files of a paper declare."""
    verbatim, comments = set(VERBATIM), set(COMMENTS)
    for text in texts:
        for command, name in _DECLARED.findall(text)[:_MAX_DECLARED]:
            (comments if command == "excludecomment" else verbatim).add(name)
    return Environments(frozenset(verbatim), frozenset(comments))


def environment_name(text: str, at: int) -> tuple[str, int]:
    r"""The name after `\begin` or `\end` and where it ends; ("", at) if there is none."""
    match = _NAME.match(text, at)
    return (match[1].strip(), match.end()) if match else ("", at)


def verb_end(command: str, text: str, at: int) -> int:
    r"""Where what `\verb` shows ends: behind the next of the character at `at`, on the same line. -1 if nowhere."""
    command = command.rstrip("*")
    if command != r"\verb" and (options := _OPTIONS.match(text, at)):
        at = options.end()
    if command == r"\mintinline" and (language := _NAME.match(text, at)):
        at = language.end()
    delimiter = text[at : at + 1]
    if not delimiter or delimiter.isalnum() or delimiter in "\\ \n*":
        return -1
    line_end = text.find("\n", at, at + _LONGEST_VERB)
    end = text.find("}" if delimiter == "{" else delimiter, at + 1, line_end if line_end >= 0 else at + _LONGEST_VERB)
    return end + 1 if end >= 0 else -1


def strip_comments(text: str, known: Environments = LATEX) -> str:
    r"""The text without `%` comments and comment environments; lines end with "\n" alone.

    As in TeX, `%` takes the end of its line and the blanks before the next line's text with it; after a blank or a
    command the end of the line stays, which TeX prints alike and which is easier to read. An empty line always stays
    empty: it ends a paragraph. `\%`, `\verb` and verbatim environments are left alone. A comment environment that is
    never closed stays.
    """
    if "%" not in text and "\\begin" not in text:
        return text
    out: list[str] = []
    kept = at = 0  # text[kept:at] is to be kept and is not in `out` yet
    unclosed: set[str] = set()  # ends of environments that are nowhere after `at`
    while match := _TOKEN.search(text, at):
        token, at = match.group(), match.end()
        if token == "%":
            out.append(text[kept : match.start()])
            kept = at = _after_comment(text, match.start(), out)
        elif token == r"\begin":
            name, inside = environment_name(text, at)
            if (name not in known.verbatim and name not in known.comments) or name in unclosed:
                continue
            end = text.find(f"\\end{{{name}}}", inside)
            if end < 0:
                unclosed.add(name)
                continue
            at = end + len(name) + 6
            if name in known.comments:
                before = text[kept : match.start()]
                out.append(before)
                if before.endswith("\n") or not before.strip(" \t"):
                    at = _rest_of_line(text, at)
                kept = at
        elif token in _VERB:
            at = max(at, verb_end(token, text, at))
        elif token in _ADDRESSES and (address := _ADDRESS.match(text, at)):
            at = address.end()
    out.append(text[kept:])
    return "".join(out)


def _rest_of_line(text: str, at: int) -> int:
    """Past the line's end, if nothing but blanks stands before it."""
    end = _SPACES.match(text, at).end()  # type: ignore[union-attr]  # it matches nothing, too
    return end + 1 if text[end : end + 1] == "\n" else at


def _after_comment(text: str, percent: int, out: list[str]) -> int:
    """Where reading goes on after the comment that begins at `percent`; trims what was written, if TeX would."""
    line_start = text.rfind("\n", 0, percent) + 1
    before = text[line_start:percent]
    line_end = text.find("\n", percent)
    if not before.strip(" \t"):  # a line of its own: all of it goes
        if out[-1].endswith(before) and before:
            out[-1] = out[-1][: -len(before)]
        return len(text) if line_end < 0 else line_end + 1
    if line_end < 0:
        return len(text)
    if before[-1] in " \t" or _ends_in_command(before):
        out[-1] = out[-1].rstrip(" \t") if not before.rstrip(" \t").endswith("\\") else out[-1]
        return line_end
    after = line_end + 1
    while True:
        start = _SPACES.match(text, after).end()  # type: ignore[union-attr]
        if text[start : start + 1] != "%":
            break
        after = text.find("\n", start) + 1
        if not after:
            return len(text)
    return after - 1 if text[start : start + 1] in ("\n", "") else start


_COMMAND_AT_END = re.compile(r"(?<!\\)(?:\\\\)*\\[a-zA-Z@]+\Z")


def _ends_in_command(text: str) -> bool:
    return _COMMAND_AT_END.search(text, max(0, len(text) - 80)) is not None
