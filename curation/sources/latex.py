"""A paper's LaTeX files to its text, as LLaMA-1 has it (Touvron et al. 2023, section 2.1, after Lewkowycz et al. 2022).

"Everything before the first section, as well as the bibliography" is removed, comments are, and "definitions and macros
written by users" are expanded in place. What remains is LaTeX.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping

from curation.decode import decode
from curation.errors import DataError
from curation.sources.latex_comments import LATEX, Environments, environments, strip_comments
from curation.sources.latex_expand import HEADINGS, Expander
from curation.sources.latex_macros import bracket_end, group_end
from curation.sources.latex_stream import LIMITS, Limits, Piece

TEX_SUFFIXES = (".tex", ".ltx", ".latex")

_CLASS = re.compile(r"\\document(?:class|style)\s*+(?:\[[^\[\]]{0,2000}\])?\s*+\{([^{}]{0,200})\}")
_DOCUMENT = re.compile(r"\\begin\s*+\{document\}")
_INPUT = re.compile(r"\\(?:input|include|subfile|subfileinclude)\s*+(?:\{([^{}\n]{1,300})\}|([^\s{}\\]{1,300}))")
_PARTS_OF_PAPERS = frozenset({"standalone", "subfiles", "letter", "beamer", "minimal"})  # no paper is of these classes
_PLAIN_TEX = re.compile(r"\\(?:bye|magnification|input|documentstyle|end\b)|\\[a-zA-Z]+\s*+\{")

_ENCODING = re.compile(
    rb"\\(?:usepackage\s*+\[([A-Za-z0-9_-]{2,20})\]\s*+\{inputenc\}|inputencoding\s*+\{([A-Za-z0-9_-]{2,20})\}"
    rb"|begin\s*+\{CJK\*?\}(?:\[[^\]\n]{0,20}\])?\{([A-Za-z0-9]{2,8})\})"
)
# LaTeX's names of encodings, where the WHATWG's are others.
_LABELS = {
    "utf8": "utf-8", "utf8x": "utf-8", "ansinew": "windows-1252", "latin9": "iso-8859-15", "latin10": "iso-8859-16",
    "applemac": "macintosh", "macce": "x-mac-ce", "cp866av": "cp866", "gbk": "gbk", "gb": "gb2312", "bg5": "big5",
    "big5": "big5", "sjis": "shift_jis", "jis": "shift_jis", "ks": "euc-kr", "euc": "euc-jp",
}  # fmt: skip

_REFERENCES = re.compile(
    r"(?:\W|\d|\\[a-z]+)*(?:references?(?: and notes| cited)?|bibliography|literature(?: cited)?|works cited)\W*",
    re.IGNORECASE,
)
_BLANK_LINES = re.compile(r"\n{3,}")


def text_of(body: bytes) -> str:
    r"""A TeX file as text: its own encoding if it is valid UTF-8, else what `\inputenc` says, else what it looks like.

    Raises DataError(`binary_body`).
    """
    label = ""
    if match := _ENCODING.search(body[:1_000_000]):
        name = next(filter(None, match.groups())).decode("ascii").lower()
        label = _LABELS.get(name, name)
    return decode(body, label).replace("\r\n", "\n").replace("\r", "\n")


def texts_of(files: Mapping[str, bytes]) -> dict[str, str]:
    """The files that are text. Raises DataError(`binary_body`) if none is."""
    texts: dict[str, str] = {}
    failure = DataError("no_tex")
    for name, body in files.items():
        try:
            texts[name] = text_of(body)
        except DataError as error:
            failure = error
    if not texts:
        raise failure
    return texts


def main_file(texts: Mapping[str, str], toplevel: str = "") -> str | None:
    r"""The file that TeX is called with; None if there is none. `texts` have no comments.

    The one that arXiv was told (`toplevel`); else of those with `\documentclass` and `\begin{document}`, whose class is
    a paper's if there are such: the longest with all that it joins, of equals the first by name. Without any, of plain
    TeX's files the longest.
    """
    if toplevel in texts:
        return toplevel
    names = sorted(name for name in texts if name.endswith(TEX_SUFFIXES) or "." not in posixpath.basename(name))
    joins = {name: _joined_by(name, texts) for name in names}
    classes = {name: found[1].strip() for name in names if (found := _CLASS.search(texts[name]))}
    candidates = [name for name in classes if _DOCUMENT.search(texts[name])]
    if not candidates:
        candidates = [name for name in names if _PLAIN_TEX.search(texts[name])]
    candidates = [name for name in candidates if classes.get(name, "") not in _PARTS_OF_PAPERS] or candidates
    return min(candidates, key=lambda name: (-_length(name, joins, texts), name), default=None)


def _joined_by(name: str, texts: Mapping[str, str]) -> list[str]:
    found = []
    folder = posixpath.dirname(name)
    for match in _INPUT.finditer(texts[name]):
        path = posixpath.normpath(posixpath.join(folder, (match[1] or match[2]).strip()))
        found += [candidate for candidate in (path, f"{path}.tex") if candidate in texts][:1]
    return found


def _length(name: str, joins: Mapping[str, list[str]], texts: Mapping[str, str]) -> int:
    """Characters of a file and of what it joins, each once."""
    seen = {name}
    waiting = [name]
    while waiting:
        for other in joins.get(waiting.pop(), []):
            if other not in seen:
                seen.add(other)
                waiting.append(other)
    return sum(len(texts[one]) for one in seen)


def paper(texts: Mapping[str, str], toplevel: str = "", limits: Limits = LIMITS) -> list[Piece] | None:
    """The paper in pieces (see latex_stream), or None if no file is its main one. Raises DataError(`macro_bomb`)."""
    known = environments(texts.values())
    stripped = {name: strip_comments(text, known) for name, text in texts.items()}
    main = main_file(stripped, toplevel)
    return None if main is None else expand(stripped, main, known, limits)


def expand(texts: Mapping[str, str], main: str, known: Environments = LATEX, limits: Limits = LIMITS) -> list[Piece]:
    """Pieces of the paper, from files without comments."""
    return Expander(files=texts, known=known, limits=limits).run(main)


def from_first_section(pieces: list[Piece]) -> list[Piece] | None:
    r"""The paper from its first heading of any level on; None if it has none after `\begin{document}`."""
    kinds = [piece.kind for piece in pieces]
    start = kinds.index("document") + 1 if "document" in kinds else 0
    if "heading" not in kinds[start:]:
        return None
    return pieces[kinds.index("heading", start) :]


def without_preamble(pieces: list[Piece]) -> list[Piece]:
    kinds = [piece.kind for piece in pieces]
    return pieces[kinds.index("document") + 1 :] if "document" in kinds else pieces


def without_appendix(pieces: list[Piece]) -> list[Piece]:
    """The paper up to its appendix."""
    kinds = [piece.kind for piece in pieces]
    return pieces[: kinds.index("appendix")] if "appendix" in kinds else pieces


def without_bibliography(pieces: list[Piece]) -> list[Piece]:
    """Without sections called References, and without what follows a bibliography that is not closed."""
    kept: list[Piece] = []
    level = -1  # of the heading whose section is being left out; len(HEADINGS) behind an open bibliography
    for at, piece in enumerate(pieces):
        if piece.kind == "appendix":
            level = -1
        elif piece.kind == "heading":
            if HEADINGS[piece.text] <= level:
                level = -1
            if level < 0 and _REFERENCES.fullmatch(_title(pieces, at)):
                level = HEADINGS[piece.text]
        elif piece.kind == "bibliography":
            level = len(HEADINGS) if piece.text else -1
            continue
        if level < 0:
            kept.append(piece)
    return kept


def _title(pieces: list[Piece], at: int) -> str:
    """The title of the heading at `at`, if it stands whole in the text that follows."""
    if at + 1 >= len(pieces) or pieces[at + 1].kind != "text":
        return ""
    text = pieces[at + 1].text[:2000]
    start = len(text) - len(text.lstrip("* \t\n"))
    if text.startswith("[", start):
        end = bracket_end(text, start, _free)
        start = end + len(text[end:]) - len(text[end:].lstrip()) if end >= 0 else start
    end = group_end(text, start, _free) if text.startswith("{", start) else -1
    return " ".join(text[start + 1 : end - 1].split()) if end >= 0 else ""


def _free(characters: int) -> None:
    """Titles are short."""


def written(pieces: list[Piece]) -> str:
    """Pieces as one text: lines without blanks at their ends, at most one empty line in a row, verbatim as it was."""
    out: list[str] = []
    run: list[str] = []
    for piece in [*pieces, Piece("verbatim", "")]:
        if piece.kind == "verbatim":
            out += [_tidy("".join(run)), piece.text]
            run = []
        else:
            run.append(piece.text)
    return "".join(out).strip()


def _tidy(text: str) -> str:
    *lines, last = text.split("\n")
    return _BLANK_LINES.sub("\n\n", "\n".join([*(line.rstrip(" \t") for line in lines), last]))
