"""A file of source code: its text without the licence at its head, and whether somebody wrote it for readers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from curation import licences, source_files
from curation.decode import decode, is_binary
from curation.document import Document, Drop, Page
from curation.source_comments import Head, read_head
from curation.sources.licence_files import is_licence_file

_LINE_END = re.compile("\r\n?")
_CODING = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)", re.MULTILINE)  # PEP 263: in one of two lines

_HEAD_LINES = 12
_GENERATED_COMMENT = re.compile(
    r"\b(?:generated\s+(?:by|from|with|using|on|at|automatically|code|file|source)\b|(?:auto|machine)[\s-]?(?:matically\s+)?generated\b"
    r"|automatically\s+(?:generated|created|produced)\b|made\s+by\s+GNU\s+Bison|lexical\s+scanner\s+generated"
    r"|this\s+(?:file|code)\s+(?:was|is|has\s+been)\s+generated)",
    re.IGNORECASE,
)
_GENERATED_ANYWHERE = re.compile(
    r"\bdo\s+not\s+(?:edit|modify)\b(?!\s+(?:it|them|this\s+(?:line|section|block|list)))|@generated\b"
    r"|<meta\s+name=\"?generator\b",
    re.IGNORECASE,
)
_NEGATED = re.compile(r"\b(?:not|un|isn't|wasn't)\s*$", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceCode:
    """LLaMA-1 (Touvron et al. 2023, section 2.1) "removed boilerplate, such as headers, with regular expressions".

    White space, case and normal form are the file's; lines end in \\n. The page's title is the path. The licence is
    that which the head of the file names, else the page's; of licences, `one_of` decides.
    Drops, in this order: `vendored`, `generated`, `licence_file`, `fixture`, `not_source` (by the suffix: data,
    configuration, prose), `too_large`, `binary`, `undecodable`, `no_text`.
    """

    reader: ClassVar[str] = "curation.sources.github"
    writes: ClassVar[tuple[str, ...]] = ("licence",)

    vendored: bool = False  # True keeps what lies in node_modules, vendor, third_party …
    generated: bool = False  # True keeps what a program wrote
    fixtures: bool = False  # True keeps what lies in fixtures, testdata, __snapshots__ …
    other_files: bool = False  # True keeps files of any suffix
    suffixes: tuple[str, ...] = ()  # ("py", "c") and no others; () for all languages of curation/source_files.py
    strip_licence: bool = True
    max_bytes: int = 1 << 20  # BigQuery's export has no larger contents

    def __call__(self, page: Page) -> Document | Drop:
        drop = self._by_path(page.title)
        if drop is not None:
            return drop
        if len(page.body) > self.max_bytes:
            return Drop("too_large", len(page.body), self.max_bytes)
        if is_binary(page.body):
            return Drop("binary", 1, 0)
        text = _LINE_END.sub("\n", decode(page.body, page.charset or _declared(page.body)))
        unreadable = text.count("\ufffd") - page.body.count("\ufffd".encode())
        if unreadable > 0:
            return Drop("undecodable", unreadable, 0)
        head = read_head(text, source_files.suffix(page.title))
        if not self.generated and (sign := _sign_of_generation(text, head)):
            return Drop("generated", sign, "")
        licence = licences.of_comment(head.comments)
        if self.strip_licence:
            text = head.without_licence + text[head.end :]
        text = _without_blank_ends(text)
        if not text.strip():
            return Drop("no_text", 0, 1)
        return Document(
            id=page.id,
            url=page.url,
            date=page.date,
            digest=page.digest,
            text=text,
            licence=page.licence if licence is None else licence,
        )

    def _by_path(self, path: str) -> Drop | None:
        if not path:
            return None
        if not self.vendored and (folder := source_files.vendored(path)):
            return Drop("vendored", folder, "")
        name = path.rpartition("/")[2]
        if not self.generated and source_files.is_generated(path):
            return Drop("generated", name[-100:], "")
        if is_licence_file(name):
            return Drop("licence_file", name[-100:], "")
        if not self.fixtures and (folder := source_files.fixture(path)):
            return Drop("fixture", folder, "")
        suffix = source_files.suffix(path)
        if self.suffixes and suffix not in self.suffixes:
            return Drop("not_source", suffix[-100:], ",".join(self.suffixes))
        if not self.suffixes and not self.other_files and suffix not in source_files.COMMENTS:
            return Drop("not_source", suffix[-100:], "")
        return None


def _declared(body: bytes) -> str:
    found = _CODING.search(b"\n".join(body[:1000].split(b"\n", 2)[:2]))
    return found[1].decode("ascii", "ignore") if found else ""


def _sign_of_generation(text: str, head: Head) -> str:
    """The words that say that a program wrote the file, in the comments at its head or in its first lines; or ""."""
    for match in _GENERATED_COMMENT.finditer(head.comments):
        if not _NEGATED.search(head.comments[max(0, match.start() - 10) : match.start()]):
            return " ".join(match[0].split())
    first = "\n".join(text[:4000].split("\n", _HEAD_LINES)[:_HEAD_LINES])
    found = _GENERATED_ANYWHERE.search(head.comments) or _GENERATED_ANYWHERE.search(first)
    return " ".join(found[0].split()) if found else ""


def _without_blank_ends(text: str) -> str:
    """Without blank lines before and behind, but with the indentation of the first line."""
    return re.sub(r"\A(?:[^\S\n]*\n)+", "", text.lstrip("\ufeff")).rstrip()
