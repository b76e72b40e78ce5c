"""The text of a paper, from its LaTeX files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from curation.document import Document, Drop, Page
from curation.errors import RecipeError
from curation.sources.arxiv import packed_files
from curation.sources.latex import (
    from_first_section,
    paper,
    texts_of,
    without_appendix,
    without_bibliography,
    without_preamble,
    written,
)

_TOP_LEVEL = re.compile(rb"^\s*([^\s%]\S*)\s+toplevelfile\b", re.MULTILINE)
_TOP_LEVEL_JSON = re.compile(rb'"filename"\s*:\s*"([^"]+)"[^{}]*"usage"\s*:\s*"toplevel"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Latex:
    """LaTeX without comments, bibliography and whatever stands before the first section, the authors' macros expanded
    (Touvron et al. 2023, section 2.1). Drops `no_main_file`, `no_section`, `no_text`.

    `without_section = "keep"` keeps a paper without any heading, such as a letter, from `\\begin{document}` on; LLaMA's
    rule leaves nothing of it. The paper does not speak of appendices: they stay, and `appendix = false` cuts them.
    Raises DataError(`binary_body`, `macro_bomb`, `damaged_page`).
    """

    reader: ClassVar[str] = "curation.sources.arxiv"

    appendix: bool = True
    without_section: str = "drop"

    def __post_init__(self) -> None:
        if self.without_section not in ("drop", "keep"):
            raise RecipeError(f'latex: without_section must be "drop" or "keep", not {self.without_section!r}')

    def __call__(self, page: Page) -> Document | Drop:
        files = packed_files(page.body)
        pieces = paper(texts_of(files), _told(files))
        if pieces is None:
            return Drop("no_main_file", len(files), 1)
        sections = from_first_section(pieces)
        if sections is None:
            if self.without_section == "drop":
                return Drop("no_section", 0, 1)
            sections = without_preamble(pieces)
        if not self.appendix:
            sections = without_appendix(sections)
        text = written(without_bibliography(sections))
        if not text:
            return Drop("no_text", 0, 1)
        return Document(id=page.id, url=page.url, date=page.date, digest=page.digest, text=text)


def _told(files: dict[str, bytes]) -> str:
    """The main file, where the authors told arXiv which it is (in a file 00README)."""
    for name, body in files.items():
        if name.lower().startswith("00readme"):
            match = _TOP_LEVEL.search(body) or _TOP_LEVEL_JSON.search(body)
            if match:
                return match[1].decode("utf-8", "replace")
    return ""
