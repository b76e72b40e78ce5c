"""C4's rules about lines (Raffel et al. 2020, section 2.2), in the order of the code that made it (c4_utils.py).

The code knows more rules than the paper, and differs from it: the paper has 3 words a line and 5 sentences a page, the
code 5 and 3. The code's page rules look at the lines that have stood so far: "lorem ipsum" in a line of four words
drops the line, not the page. So they are here. Sentences are counted by the filter `c4_page`, bad words found by
`c4_bad_words`, and that a page has at most 190,000 characters is seen to by `length`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from curation.document import Document, Drop
from curation.languages import ends_sentence, sentence_ends
from curation.words import split_words

_CITATION = re.compile(r"\[\d*\]|\[edit\]|\[citation needed\]")
_ELLIPSIS = "..."


@dataclass(frozen=True, slots=True, kw_only=True)
class C4Lines:
    """Keep lines that end a sentence and have enough words; drop lines about JavaScript, cookies and terms of use.

    Cut marks of citations ("[1]", "[edit]"). Drop pages with "lorem ipsum" or a curly bracket in a line that stays.

    Lines of English end as C4 has it. Those of other languages end in a mark of any script, or in quotes and brackets
    behind it; where a language has no such mark, or is unknown, the rule does not apply (mC4 left it out for all).
    `language` is that of every document, or "" for each document's own.
    """

    terminal_punctuation: bool = True  # FineWeb: false
    end_marks: tuple[str, ...] = (".", "?", "!", '"')  # English; datatrove has "'" too. "..." is no end
    min_words: int = 5  # the paper's text, and FineWeb: 3
    max_word_length: int = 1000  # in the code alone
    citations: bool = True
    javascript: bool = True
    policies: tuple[str, ...] = (  # in the code alone
        "terms of use",
        "privacy policy",
        "cookie policy",
        "uses cookies",
        "use of cookies",
        "use cookies",
    )
    lorem_ipsum: bool = True
    curly_bracket: bool = True
    language: str = ""

    @property
    def reads(self) -> tuple[str, ...]:
        return () if self.language or not self.terminal_punctuation else ("language",)

    def __call__(self, document: Document) -> Document | Drop:
        language = self.language or document.language
        marks = sentence_ends(language) if self.terminal_punctuation else ""
        kept: list[str] = []
        for line in document.text.splitlines():
            line = line.strip()
            if len(line) > self.max_word_length and any(len(w) > self.max_word_length for w in split_words(line)):
                continue
            if self.citations:
                line = _CITATION.sub("", line)
            if marks and not self._ends(line, marks, english=language == "en"):
                continue
            # White space parts no more words than there are: where it parts enough, they need not be found.
            if len(line.split(None, self.min_words)) < self.min_words > len(split_words(line)):
                continue
            lower = line.lower()
            if self.lorem_ipsum and "lorem ipsum" in lower:
                return Drop("lorem_ipsum", len(kept) + 1, 0)
            if self.javascript and "javascript" in lower:
                continue
            if self.curly_bracket and "{" in line:
                return Drop("curly_bracket", len(kept) + 1, 0)
            if not any(policy in lower for policy in self.policies):
                kept.append(line)
        text = "\n".join(kept).strip()
        if not text:
            return Drop("no_lines", 0, 1)
        return document if text == document.text else replace(document, text=text)

    def _ends(self, line: str, marks: str, *, english: bool) -> bool:
        if line.endswith(_ELLIPSIS):
            return False
        return line.endswith(self.end_marks) if english else ends_sentence(line, marks)
