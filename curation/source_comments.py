"""The comments at the head of a source file: which of them are about licence and authorship, and what is left without.

Only what the language writes as a comment is looked at, and only before the first line of code. So `#include`, a
Markdown title, a docstring or a compiler's directive stays, whatever it says.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from curation.source_files import COMMENTS, Comments

_LONGEST_LINE = 2_000  # characters; a longer one is none of a head
_MOST_HEAD = 64 << 10  # characters, blank lines too; the head of a file with 1,000 lines of licences has 50,000

# Lines of a head that are no comments and behind which comments may follow that still belong to it.
_PREAMBLE = re.compile(
    r"""\s*(?:
        \#! | <\?(?:php|hh|xml)\b[^>]*(?:\?>)?\s*$ | <!doctype\b | <html\b[^>]*>\s*$ | @charset\b | @echo\ off
        | ["']use\ strict["'];?\s*$ | \{-\# | \{\$ | %! | \\documentclass
        | \#\s*pragma\s+once | \#\s*ifndef\s+\w+\s*$ | \#\s*define\s+\w+\s*$
    )""",
    re.IGNORECASE | re.VERBOSE,
)
# Comments that are read by programs.
_DIRECTIVE = re.compile(
    r"""\W*(?:
        -\*- | coding[:=] | vim?: | ex: | go:build\b | \+build\b | eslint | jshint | jslint | globals?\s | @ts- | @flow
        | @jsx | @format | tslint: | prettier- | istanbul | pylint: | flake8 | noqa | type:\s*ignore | mypy: | ruff:
        | isort: | fmt: | yapf: | pyright: | cython: | distutils: | frozen_string_literal | rubocop | typed:
        | swift-tools-version | swiftlint | nolint | clang-format | shellcheck | syntax= | escape= | <reference
    )""",
    re.IGNORECASE | re.VERBOSE,
)
# One of these in a line begins what is about the licence, up to the end of the paragraph.
_LICENCE = re.compile(
    r"""
    \bcopyright\b\s*(?:\(c\)|©|&copy;|:|[\d{<\[]|by\b|\w+\.?,?\s*(?:\(c\)\s*)?\d{4}|(?-i:[A-Z]))
    | \(c\)\s*(?:copyright|(?:19|20)\d\d) | © | \ball\ rights\ reserved | \babove\ copyright
    | \bcopyright\ (?:notice|holders?|owners?)
    | \bspdx- | @(?:licen[sc]e|copyright|preserve)\b | ^\W*licen[sc]e\b(?:\W*:|$)
    | \blicen[sc]ed\ (?:materials|under|to\ the|according|by|for) | \bcontributor\ licen[sc]e
    | \b(?:mit|bsd|apache|gnu|gpl|lgpl|\d-clause)(?:[\ -]style)?\ licen[sc]e | \bwww\.apache\.org/licenses/
    | ^\W*(?:the\s+)?(?:mit|bsd|apache|gnu|\d-clause)\b.{0,30}\blicen[sc]e
    | \buse\ of\ this\ (?:source|software|file|code) | \bnotice\ file\ distributed
    | \bthis\ (?:file|program|library|software|code|source\ code)\ is\ (?:part\ of|free|licen[sc]ed|distributed|subject
      |provided|released|made\ available|placed\ in|in\ the\ public|governed|property|the\ property|confidential)
    | \bredistribution(?:s\ (?:of|in))?\b | \bpermission\ (?:is\ (?:hereby\ )?granted|to\ use,?\ copy)
    | \bneither\ the\ names?\b | \bendorse\ or\ promote | \bwithout\ (?:any\ )?(?:even\ the\ implied\ )?warrant
    | \bsoftware\ is\ provided | \bunless\ required\ by\ applicable | \byou\ should\ have\ received | \bgeneral\ public
    | \bin\ compliance\ with\ the\ licen | \bfree\ software\ foundation
    | \bsee\ (?:the\ )?(?:file\ |accompanying\ )*(?:licen[sc]e|copying)\b
    """,
    re.IGNORECASE | re.VERBOSE,
)
# So does one of these, in a comment in which one of those stands too.
_LICENCE_TOO = re.compile(
    r"""
    \blicen[sc]e(?:\.|\ (?:as\ published|file|text|headers?|notice|terms|agreement|information|details)\b)
    | \b(?:released?|distributed|available|published|provided|usable|covered)\ under\b | \bunder\ the\ terms\b
    | \bgoverned\ by\b | [\"'`]as\ is[\"'`] | \bin\ no\ event\b | \bliab(?:le|ility)\b | \bwarrant(?:y|ies)\b
    | \bredistribut | \byou\ may\ (?:not\ use|obtain|redistribute|copy) | \bpublic\ domain\b | \bpatent\ rights\b
    | \blicenses?/ | ^\W*(?:licen[sc]e|permission\ is)\b | \bin\ compliance\ with
    """,
    re.IGNORECASE | re.VERBOSE,
)
_NO_BLOCK = ("{-#", "{$", "#==", "####")  # a pragma of Haskell's, one of Pascal's, and rules across the page
_WORDLESS = re.compile(r"[\W_]*$")
_REST_OF_LINE = re.compile(r"[^\S\n]*+(?:\n|\Z)")


@dataclass(frozen=True, slots=True)
class Head:
    """What stands before the code, as far as it is comments."""

    comments: str  # their text, markers included
    end: int  # where in the file they end
    without_licence: str  # the same stretch of the file, without what is about licence and authorship


def read_head(text: str, suffix: str) -> Head:
    """The head of a file of this suffix ("py"); empty for a language whose comments are not known."""
    comments = COMMENTS.get(suffix)
    if comments is None:
        return Head("", 0, "")
    found: list[str] = []
    kept: list[str] = []
    at = end = 0
    while at < min(len(text), _MOST_HEAD):
        line = _line(text, at)
        if len(line) <= _LONGEST_LINE and not line.strip():
            kept.append(line)
            at += len(line)
            continue
        block = _block(text, at, comments)
        if block is not None:
            stop, opening, closing = block
            stop = _past_line_end(text, stop)
            found.append(text[at:stop])
            kept.append(_without_licence(text[at:stop], opening, closing))
            at = end = stop
        elif _is_comment(line, comments) and not (at == 0 and line.startswith("#!")):
            stop = at
            while stop < min(len(text), _MOST_HEAD) and _is_comment(line := _line(text, stop), comments):
                stop += len(line)
            found.append(text[at:stop])
            kept.append(_without_licence(text[at:stop], "", ""))
            at = end = stop
        elif len(line) <= _LONGEST_LINE and _PREAMBLE.match(line):
            kept.append(line)
            at = end = at + len(line)
        else:
            break
    return Head("\n".join(found), end, _tidy("".join(kept), text[:at], end))


def _line(text: str, at: int) -> str:
    """The line at `at`, with its end; of one longer than _LONGEST_LINE, the first _LONGEST_LINE + 1 characters."""
    line_end = text.find("\n", at, at + _LONGEST_LINE) + 1
    return text[at : line_end or at + _LONGEST_LINE + 1]


def _tidy(kept: str, whole: str, end: int) -> str:
    """Without the blank lines behind the head, which are the file's, and without those that were around what went."""
    kept = kept[: len(kept) - (len(whole) - end)]
    if kept == whole[:end]:
        return kept
    return re.sub(r"\n(?:[ \t]*\n){2,}", "\n\n", kept).lstrip("\n")


def _is_comment(line: str, comments: Comments) -> bool:
    start = line.lstrip(" \t")
    if len(line) > _LONGEST_LINE or (
        not start.startswith(_NO_BLOCK) and any(start.startswith(opening) for opening, _ in comments.block)
    ):
        return False
    marked = any(line.startswith(mark) if mark[0] in "Cc* " else start.startswith(mark) for mark in comments.line)
    return marked and not _PREAMBLE.match(line)


def _block(text: str, at: int, comments: Comments) -> tuple[int, str, str] | None:
    """(where it ends, what opens and what closes it), of a block comment that begins in the line at `at`."""
    start = at
    while text[start : start + 1] in (" ", "\t"):
        start += 1
    for opening, closing in comments.block:
        if not text.startswith(opening, start) or text.startswith(_NO_BLOCK, start):
            continue
        stop = text.find(closing, start + len(opening), start + _MOST_HEAD + len(closing))
        if stop < 0 or stop - start > _MOST_HEAD or max(map(len, text[start:stop].split("\n"))) > _LONGEST_LINE:
            return None
        return stop + len(closing), opening, closing
    return None


def _past_line_end(text: str, at: int) -> int:
    """Behind the line end if nothing else follows in the line."""
    rest = _REST_OF_LINE.match(text, at)
    return rest.end() if rest else at


def _without_licence(comment: str, opening: str, closing: str) -> str:
    lines = comment.splitlines(keepends=True)
    signs = [_LICENCE.search(" ".join(line.split())) is not None for line in lines]
    if not any(signs):
        return comment
    keep: list[bool] = []
    inside = False  # a paragraph in which the licence was spoken of
    for line, sign in zip(lines, signs, strict=True):
        if _DIRECTIVE.match(line):
            keep.append(True)
        else:
            wordless = bool(_WORDLESS.match(_unmarked(line)))
            inside = not wordless and (inside or sign or _LICENCE_TOO.search(" ".join(line.split())) is not None)
            keep.append(not inside)
    if all(keep):
        return comment
    left = [line for line, stays in zip(lines, keep, strict=True) if stays]
    if all(_WORDLESS.match(_unmarked(line)) for line in left):
        return ""
    left = [
        line
        for number, line in enumerate(left)  # of several empty comments in a row, one
        if not (_is_empty(line, opening, closing) and (number == 0 or _WORDLESS.match(_unmarked(left[number - 1]))))
    ]
    while left and _is_empty(left[-1], opening, closing):
        del left[-1]
    if opening and len(left) > 1 and closing in left[-1] and _is_empty(left[-2], opening, closing):
        del left[-2]
    if opening:
        if not keep[0]:
            left.insert(0, f"{opening}\n")
        if not keep[-1]:
            left.append(f" {closing}\n" if closing == "*/" else f"{closing}\n")
    return "".join(left)


def _is_empty(line: str, opening: str, closing: str) -> bool:
    """Is it a comment without a word, or a rule, and no line that opens or closes a block?"""
    return bool(_WORDLESS.match(_unmarked(line))) and not (opening and (opening in line or closing in line))


def _unmarked(line: str) -> str:
    """Without a mark that is a word: Fortran's C, Batch's REM."""
    return re.sub(r"^(?:[Cc](?=\s)|@?(?:rem|REM|Rem)\s|dnl\s)|=(?:begin|end)\b", "", line)
