"""What Project Gutenberg puts around a book: headers, licences and credits of all its eras, and what its header says.

Everything here is decided on whole lines, and only where the file shows that it comes from Project Gutenberg: a book
that speaks of it, or quotes a marker, loses nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

OPENING_LINES = 15  # lines with something on them, among which a Gutenberg file names itself
HEADER_LINES = 800  # the longest headers, of 2001 to 2003, have about 400
_BETWEEN_MARKERS = 40  # lines from one marker of a header to the next
_LONGEST_MARKER = 400  # characters
_CREDITS = 6  # paragraphs at the beginning that may be credits or a transcriber's notes
_CREDIT_LINES = 40
_SHORT_REST = 20  # lines with something on them that may follow the last marker and be no licence

_NAMED = re.compile(r"project\s+gutenberg|gutenberg[\W_]{0,3}(?:tm|e-?text|e-?book)|small print", re.IGNORECASE)
_BOOK = r"\be[- ]?(?:text|book)"
_START = re.compile(
    rf"\s*\**\s*(?:start|beginning)\s+of\s+(?:the\s+|this\s+)?(?:copyrighted\s+)?project\s+gutenberg\W{{0,3}}s?\s*{_BOOK}",
    re.IGNORECASE,
)
_SMALL_PRINT = re.compile(r"\s*\*+\s*START\s*\**\s*(?:OF\s+)?(?:THE|THIS)\s+\W?SMALL PRINT", re.IGNORECASE)
_SMALL_PRINT_END = re.compile(r"\s*\*+\s*END\s*\**\s*(?:OF\s+)?(?:THE|THIS)\s+\W?SMALL PRINT", re.IGNORECASE)
_END = re.compile(
    r"\W*(?:this\s+is\s+the\s+)?(?:end|ende|fin|fine|fim|einde|slut|loppu|koniec)\b.{0,40}\bproject\s+gutenberg",
    re.IGNORECASE,
)
_LICENCE = re.compile(
    r"\s*(?:\*+\s*START:\s*FULL LICENSE|THE FULL PROJECT GUTENBERG(?:-tm|™)? LICENSE\s*$)", re.IGNORECASE
)
_TITLE_LINE = re.compile(
    rf"\W*(?:the\s+|this\s+is\s+the\s+)?project\s+gutenberg(?:\W{{0,3}}s)?\s+(?:{_BOOK}\b|edition\b|of\b)",
    re.IGNORECASE,
)
_FIELD = re.compile(
    r"(?P<name>title|author|editor|translator|illustrator|release date|posting date|last updated|most recently updated|"
    r"edition|language|character set encoding|credits|original publication|subtitle)\s*:\s*(?P<value>.*)",
    re.IGNORECASE,
)
_LEGALESE = re.compile(
    rf"copyright|gutenberg|{_BOOK}|permission|almost no restrictions|no cost|licen[cs]e|^\W*\[", re.IGNORECASE
)
_CREDIT = re.compile(
    rf"\W*(?:(?:produced|transcribed|prepared|scanned|digiti[sz]ed|proofread|proofed|typed|submitted|created)\b.{{0,200}}"
    rf"\b(?:by|from)\b|(?:this\s+)?(?:project\s+gutenberg(?:\W{{0,3}}s)?\s+)?(?:{_BOOK}|electronic\s+text|file|text|html\s+version)\s+"
    r"(?:was\s+|is\s+)?(?:first\s+)?(?:produced|transcribed|prepared|scanned|digiti[sz]ed|proofread|typed|created|by\b)|"
    r"(?:html|pdf|epub)\s+version\s+by\b|note:\s+(?:project\s+gutenberg|images\s+of\s+the\s+original)|"
    r"images?\s+(?:of\s+the\s+original|generously|courtesy)|(?:online\s+)?distributed\s+proofread|"
    r"updated?\s+editions?\s+will\s+replace)",
    re.IGNORECASE,
)
_NOTE = re.compile(r"[\W_]*transcriber\W{0,3}s?\W{0,3}\s+(?:end\s*)?note", re.IGNORECASE)
_NUMBER = re.compile(rf"\[\s*{_BOOK}\s*(?:#|no\.?)?\s*(\d{{1,6}})\s*\]", re.IGNORECASE)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DATE = re.compile(r"\b([A-Z][a-z]{2})[a-z]*\.?(?:\s+(\d{1,2})(?:st|nd|rd|th)?)?\s*,?\s+((?:19[7-9]|20)\d{1,2})\b")
_ISO_DATE = re.compile(r"\b((?:19[7-9]|20)\d{1,2})-(\d{2})(?:-(\d{2}))?\b")

_PAGE_MARK = r"\[(?:pg|page|p)\.?\s{0,2}[0-9ivxlcdm]{1,8}\]"
_CURLY = r"\{\d{1,4}\}"
_FEWEST_PAGES = 10
_BRACKETS = r"[^\[\]]{0,3000}+(?:\[[^\[\]]{0,500}+\][^\[\]]{0,3000}+){0,50}+\]"
_ASIDE = rf"\[\s{{0,3}}(?:illustration\b|transcriber\W{{0,3}}s?\W{{0,3}}\s+note){_BRACKETS}"
_ANY_CASE = re.IGNORECASE | re.MULTILINE


@dataclass(frozen=True, slots=True)
class Header:
    """What a header says; "" or 0 where it does not."""

    title: str = ""
    author: str = ""
    language: str = ""  # in English, as it stands there
    date: str = ""  # of the release, ISO 8601; the first of the month where it names no day
    number: int = 0  # of the ebook


def is_gutenberg(lines: Sequence[str]) -> bool:
    """Whether a file names Project Gutenberg among its first lines."""
    found = 0
    for line in _looked_at(lines[:HEADER_LINES]):
        if line.strip():
            found += 1
            if _NAMED.search(line):
                return True
            if found == OPENING_LINES:
                return False
    return False


def header(text: str) -> Header:
    """The fields of the header; none of a text that has no Gutenberg header."""
    lines = _looked_at(text.split("\n", HEADER_LINES)[:HEADER_LINES])
    if not is_gutenberg(lines):
        return Header()
    fields: dict[str, str] = {}
    number, near_number, name = 0, "", ""
    for line in lines[: _beginning(lines) or len(lines)]:
        if not number and (match := _NUMBER.search(line)):
            number, near_number = int(match[1]), line
        if match := _FIELD.match(line.strip()):
            name = match["name"].lower()
            if name in fields:
                name = ""
                continue
            fields[name] = match["value"].strip()
        elif name and line[:1].isspace() and line.strip():
            fields[name] += " " + line.strip()
        else:
            name = ""
    dates = (fields.get("release date", ""), fields.get("posting date", ""), near_number)
    return Header(
        title=_tidy(fields.get("title", "")),
        author=_tidy(fields.get("author", "")),
        language=_tidy(fields.get("language", "")),
        date=next((found for line in dates if (found := _date(line))), ""),
        number=number,
    )


def _tidy(value: str) -> str:
    return " ".join(value.split())[:500]


def _date(line: str) -> str:
    if match := _ISO_DATE.search(line):
        year, month, day = match[1], int(match[2]), int(match[3] or 1)
    elif (match := _DATE.search(line)) and match[1].lower() in _MONTHS:
        year, month, day = match[3], _MONTHS.index(match[1].lower()) + 1, int(match[2] or 1)
    else:
        return ""
    return f"{year}-{month:02d}-{day:02d}" if len(year) == 4 and 1 <= month <= 12 and 1 <= day <= 31 else ""


def body(text: str) -> str:
    """The text without Gutenberg's header, licence and credits; unchanged where there are none. Lines end with \\n."""
    lines = text.split("\n")
    seen = _looked_at(lines)
    start, end = 0, len(lines)
    if is_gutenberg(seen):
        start = _beginning(seen)
        end = _ending(seen, start)
        start += _after_credits(seen[start:end])
        end = start + _before_notes(seen[start:end])
    return "\n".join(lines[start:end])


def _looked_at(lines: Sequence[str]) -> list[str]:
    """As much of each line as is compared with any marker: more would cost time, and a marker has no more."""
    return [line if len(line) <= _LONGEST_MARKER else line[:_LONGEST_MARKER] for line in lines]


def _beginning(lines: Sequence[str]) -> int:
    """The line after the header; 0 if there is none.

    A header may have several markers, one after the other: the first counts where no other is near, and small print is
    gone through to its end.
    """
    zone = lines[:HEADER_LINES]
    start, limit = 0, len(zone)
    at = 0
    while at < limit:
        line = zone[at]
        if _START.match(line):
            at = start = _end_of_marker(zone, at)
        elif _SMALL_PRINT_END.match(line):
            at = start = at + 1
        elif _SMALL_PRINT.match(line):
            following = (i for i in range(at + 1, len(zone)) if _SMALL_PRINT_END.match(zone[i]))
            if (end := next(following, None)) is not None:
                at = start = end + 1
            else:
                at += 1
        else:
            at += 1
            continue
        if start:
            limit = min(len(zone), start + _BETWEEN_MARKERS)
    return start or _unmarked(zone)


def _end_of_marker(zone: Sequence[str], at: int) -> int:
    """A marker with a long title goes on to the line that closes it with asterisks."""
    if zone[at].lstrip().startswith("*"):
        for end in range(at, min(at + 5, len(zone))):
            if not zone[end].strip():
                break
            if zone[end].rstrip().endswith("*"):
                return end + 1
    return at + 1


def _unmarked(zone: Sequence[str]) -> int:
    """The line after a header without markers: its title line, and the fields and notices that follow it."""
    first = next((i for i, line in enumerate(zone) if line.strip()), 0)
    if not zone or not _TITLE_LINE.match(zone[first]):
        return 0
    start = at = first
    while at < len(zone):
        end = next((i for i in range(at, len(zone)) if not zone[i].strip()), len(zone))
        paragraph = zone[at:end]
        if at > first and not any(_FIELD.match(line) or _LEGALESE.search(line) for line in paragraph):
            break
        start = end
        at = next((i for i in range(end, len(zone)) if zone[i].strip()), len(zone))
    return start


def _ending(lines: Sequence[str], start: int) -> int:
    """Where the licence begins; the number of lines if there is none.

    The first line that could begin it, and behind which there is little, or what reads like a licence.
    """
    ending = len(lines)
    said = legalese = 0  # of the lines behind
    for at in range(len(lines) - 1, start - 1, -1):
        line = lines[at]
        if not line.strip():
            continue
        is_followed = said <= _SHORT_REST or legalese * 6 >= said  # two of five lines of a licence, none of a book
        if is_followed and (_END.match(line) or _SMALL_PRINT.match(line) or _LICENCE.match(line)):
            ending = at
        said += 1
        legalese += _LEGALESE.search(line) is not None
    return ending


def _paragraphs(lines: Sequence[str], most: int) -> list[tuple[int, int]]:
    """(first line, line after the last) of the first paragraphs."""
    found: list[tuple[int, int]] = []
    at = 0
    while len(found) < most:
        at = next((i for i in range(at, len(lines)) if lines[i].strip()), len(lines))
        if at == len(lines):
            break
        end = next((i for i in range(at, len(lines)) if not lines[i].strip()), len(lines))
        found.append((at, end))
        at = end
    return found


def _after_credits(lines: Sequence[str]) -> int:
    """The line after the credits and notes that stand before anything else."""
    start = 0
    for first, end in _paragraphs(lines, _CREDITS):
        if end - first > _CREDIT_LINES or not (_CREDIT.match(lines[first]) or _NOTE.match(lines[first])):
            break
        start = end
    return start


def _before_notes(lines: Sequence[str]) -> int:
    """Where the transcriber's notes at the end begin, if in the last tenth of the lines, or the last hundred."""
    for at in range(max(0, len(lines) - max(100, len(lines) // 10)), len(lines)):
        if at and _NOTE.match(lines[at]) and not lines[at - 1].strip():
            return at
    return len(lines)


def without_asides(text: str) -> str:
    """The text without illustrations' places and captions, transcriber's notes in brackets, and page numbers.

    `[Pg 12]` and `[Page xii]` are page numbers. `{12}` is one where at least ten of them stand in the text and each is
    larger than the one before; notes and what refers to them number alike, so their numbers fall again.
    """
    text = _removed(text, _ASIDE)
    text = _removed(text, _PAGE_MARK)
    numbers = [int(found[1:-1]) for found in re.findall(_CURLY, text)]
    if len(numbers) >= _FEWEST_PAGES and all(a < b for a, b in pairwise(numbers)):
        text = _removed(text, _CURLY)
    return text


def _removed(text: str, mark: str) -> str:
    """The text without the marks, nor lines that held nothing else; between words a space is left, if there was one."""
    text = re.sub(rf"^[ \t]*(?:{mark}[ \t]*)+(?:\n|\Z)", "", text, flags=_ANY_CASE)
    text = re.sub(rf"^([ \t]*)(?:{mark}[ \t]*)+", r"\1", text, flags=_ANY_CASE)
    return re.sub(rf"([ \t]?){mark}([ \t]?)", lambda match: match[1] or match[2], text, flags=_ANY_CASE)
