"""The text of a question with its answers, from a dump of Stack Exchange."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from curation.document import Document, Drop, Page
from curation.errors import DataError
from curation.extractors.gates import check_page
from curation.nfc import nfc
from curation.sources.post_text import plain_text
from curation.sources.stackexchange import CONTENT_TYPE

_META = re.compile(r"(^|\.)meta\.")

# LLaMA's paper names none of its "28 largest websites". These have the most posts as far as we know, without the meta
# sites; who needs it exact counts the rows of each Posts.xml of the dump at hand (docs/sources/stackexchange.md).
LARGEST = "largest"
LARGEST_SITES = (
    "stackoverflow.com",
    "math.stackexchange.com",
    "ru.stackoverflow.com",
    "superuser.com",
    "askubuntu.com",
    "serverfault.com",
    "unix.stackexchange.com",
    "tex.stackexchange.com",
    "physics.stackexchange.com",
    "electronics.stackexchange.com",
    "stats.stackexchange.com",
    "es.stackoverflow.com",
    "english.stackexchange.com",
    "pt.stackoverflow.com",
    "mathoverflow.net",
    "gis.stackexchange.com",
    "apple.stackexchange.com",
    "salesforce.stackexchange.com",
    "wordpress.stackexchange.com",
    "gaming.stackexchange.com",
    "ell.stackexchange.com",
    "magento.stackexchange.com",
    "sharepoint.stackexchange.com",
    "dba.stackexchange.com",
    "softwareengineering.stackexchange.com",
    "mathematica.stackexchange.com",
    "drupal.stackexchange.com",
    "blender.stackexchange.com",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Title, question and answers as one text. LLaMA's paper (section 2.1): "removed the HTML tags from text and sorted
    the answers by score (from highest to lowest)". Of equal scores the accepted answer comes first, then the older.

    Drops: `site`, `meta_site`, `question_score`, `too_few_answers`, `no_text`; raises DataError(`malformed_page`) and
    what `plain_text` raises. `licence` is that of every post in the text, or several, sorted, parted by spaces.
    """

    reader: ClassVar[str] = "curation.sources.stackexchange"
    writes: ClassVar[tuple[str, ...]] = ("licence",)

    sites: tuple[str, ...] = ()  # host names, "largest" for LARGEST_SITES; none: every site
    meta_sites: bool = False  # where users talk about the site itself
    min_question_score: float = -math.inf
    min_answer_score: float = -math.inf  # answers below it are left out
    min_answers: int = 0  # that are in the text; 1 drops the unanswered
    max_bytes: int = 16 << 20  # the reader's own limit, with the bytes that JSON takes

    def __call__(self, page: Page) -> Document | Drop:
        drop = check_page(page, (CONTENT_TYPE,), self.max_bytes)
        if drop is not None:
            return drop
        try:
            return self._read(page, json.loads(page.body))
        except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
            raise DataError("malformed_page", f"{type(error).__name__}: {error}"[:200]) from None

    def _read(self, page: Page, thread: Mapping[str, Any]) -> Document | Drop:
        site, question = thread["site"], thread["question"]
        if _META.search(site) and not self.meta_sites:
            return Drop("meta_site", site, "a main site")
        if self.sites and site not in self.sites and not (LARGEST in self.sites and site in LARGEST_SITES):
            return Drop("site", site, "one of sites")
        if question["score"] < self.min_question_score:
            return Drop("question_score", question["score"], self.min_question_score)
        answers = sorted(thread["answers"], key=lambda a: (-a["score"], a["id"] != question["accepted"], a["id"]))
        texts = [" ".join(question["title"].split()), plain_text(question["body"])]
        licences = {question["licence"]}
        answered = 0
        for answer in answers:
            if answer["score"] >= self.min_answer_score and (text := plain_text(answer["body"])):
                label = "Accepted answer:" if answer["id"] == question["accepted"] else "Answer:"
                texts += [label, text]
                licences.add(answer["licence"])
                answered += 1
        if answered < self.min_answers:
            return Drop("too_few_answers", answered, self.min_answers)
        text = nfc("\n\n".join(filter(None, texts)))
        if not text.strip():
            return Drop("no_text", 0, 1)
        text.encode("utf-8")  # half of a surrogate pair is a ValueError
        licence = " ".join(sorted(licences - {""}))
        return Document(id=page.id, url=page.url, date=page.date, digest=page.digest, text=text, licence=licence)
