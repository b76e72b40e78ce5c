"""Which licence a text or a comment means, as an SPDX identifier or expression; "" where that is not sure.

Right before complete: a licence is named only when its text is all there, in order, without room for a further
condition, and when nothing of weight stands around it. What is recognised of a licence are phrases of it and how many
words may stand between them, not its title, which people write over other texts as well.
"""

from __future__ import annotations

import re

from curation import spdx

_LONGEST_TEXT = 200_000  # characters; longer than any licence, with room for a list of holders
_MOST_STARTS = 20  # places in a text where one licence may begin
_MOST_REST = 60  # words around each licence: a title, a project's name, an address

# A licence as phrases, each with the most words that may stand before it.
_Template = tuple[tuple[int, str], ...]

_MIT_GRANT: _Template = (
    (0, "permission is hereby granted free of charge to any person obtaining a copy"),
    (10, "to deal in the software without restriction including without limitation the rights to"),
    (18, "persons to whom the software is furnished to do so"),
)
_MIT_WARRANTY: _Template = (
    (2, "software is provided as is without warranty of any kind express or implied"),
    (22, "in no event shall"),
    (14, "be liable for any claim damages or other liability whether in"),
    (3, "contract tort or otherwise arising from out of or in connection with"),
    (8, "or other dealings in the software"),
)
_BSD_TERMS: _Template = (
    (0, "redistribution and use in source and binary forms with or without modification are permitted provided that"),
    (1, "following conditions are met"),
    (6, "must retain the above copyright notice this list of conditions and the following disclaimer"),
    (
        4,
        "in binary form must reproduce the above copyright notice this list of conditions and the following disclaimer",
    ),
    (3, "documentation and or other materials provided with"),
)
_BSD_WARRANTY: _Template = (
    (12, "as is and any express or implied warranties including but not limited to the implied warranties of"),
    (8, "are disclaimed in no event shall"),
    (24, "be liable for any direct indirect incidental special exemplary or consequential damages"),
    (24, "however caused and on any theory of liability"),
    (18, "use of this software even if advised of the possibility of such damage"),
)
_TEMPLATES: dict[str, _Template] = {
    "MIT": (
        *_MIT_GRANT,
        (5, "the above copyright notice"),
        (4, "permission notice"),
        (10, "shall be included in all copies or substantial portions of the software"),
        *_MIT_WARRANTY,
    ),
    "MIT-0": (*_MIT_GRANT, *_MIT_WARRANTY),
    "BSD-2-Clause": (*_BSD_TERMS, (4, "this software is provided by"), *_BSD_WARRANTY),
    "BSD-3-Clause": (
        *_BSD_TERMS,
        (6, "name"),
        (24, "used to endorse or promote products derived from this software without"),
        (1, "prior written permission"),
        (8, "this software is provided by"),
        *_BSD_WARRANTY,
    ),
    "BSD-4-Clause": (
        *_BSD_TERMS,
        (5, "all advertising materials mentioning features or use of this software must display"),
        (60, "used to endorse or promote products derived from this software without"),
        (16, "this software is provided by"),
        *_BSD_WARRANTY,
    ),
    "Apache-2.0": (
        (0, "version 2 0 january 2004"),
        (10, "terms and conditions for use reproduction and distribution"),
        (310, "shall mean any work of authorship including the original version of the work"),
        (153, "grant of copyright license subject to the terms and conditions of this license"),
        (18, "irrevocable copyright license to reproduce prepare derivative works of"),
        (20, "grant of patent license"),
        (34, "patent license to make have made use offer to sell"),
        (110, "redistribution you may reproduce and distribute copies of the work"),
        (48, "you must cause any modified files to carry prominent notices"),
        (268, "submission of contributions unless you explicitly state otherwise"),
        (60, "trademarks this license does not grant permission to use the trade names"),
        (36, "disclaimer of warranty unless required by applicable law"),
        (80, "limitation of liability in no event and under no legal theory"),
        (107, "accepting warranty or additional liability"),
        (100, "accepting any such warranty or additional liability"),
    ),
    "ISC": (
        (0, "permission to use copy modify and"),
        (2, "distribute this software"),
        (3, "for any purpose with or without fee is hereby granted provided that the above copyright notice"),
        (6, "appear in all copies the software is provided as is and"),
        (8, "disclaims all warranties with regard to this software"),
        (70, "arising out of or in connection with the use or performance of this software"),
    ),
    "Zlib": (
        (0, "this software is provided as is without any express or implied warranty"),
        (16, "arising from the use of this software"),
        (30, "including commercial applications and to alter it and redistribute it freely"),
        (8, "the origin of this software must not be misrepresented"),
        (60, "may not be removed or altered from any source distribution"),
    ),
}  # fmt: skip
# What may follow the terms of Apache-2.0: how to apply them, with a notice in whose place a holder's name may stand.
_APPENDIX: _Template = (
    (0, "end of terms and conditions"),
    (1, "how to apply the apache license to your work"),
    (88, "within third party archives"),
)
_APACHE_NOTICE: _Template = (
    (0, "licensed under the apache license version 2 0"),
    (12, "except in compliance with the license"),
    (40, "distributed on an as is basis without warranties or conditions of any kind"),
    (20, "limitations under the license"),
)
_NOTICES: dict[str, _Template] = {"Apache-2.0": _APACHE_NOTICE}

# Licences that are known by their title, since it begins a text that people do not change.
_TITLES = {
    "AGPL-3.0": "gnu affero general public license version 3",
    "LGPL-3.0": "gnu lesser general public license version 3",
    "LGPL-2.1": "gnu lesser general public license version 2 1",
    "GPL-3.0": "gnu general public license version 3",
    "GPL-2.0": "gnu general public license version 2",
    "MPL-2.0": "mozilla public license version 2 0",
    "MPL-1.1": "mozilla public license version 1 1",
    "BSL-1.0": "boost software license version 1 0",
    "CC0-1.0": "cc0 1 0 universal",
    "EPL-2.0": "eclipse public license v 2 0",
    "EPL-1.0": "eclipse public license v 1 0",
    "Unlicense": "this is free and unencumbered software released into the public domain",
}
_TITLE_WITHIN = 30  # words

# A word of this kind beside a licence means that it is not the only one, or not the whole of it.
_FOREIGN = re.compile(
    r"\b(?:[al]?gpl(?:v?\d)?|gnu|copyleft|mozilla|mpl|creative|cc|commons|eclipse|epl|cddl|cnri|sspl|busl|elastic|"
    r"commercial(?:ly)?|noncommercial|proprietary|confidential|enterprise|eula|subscription|sublicensed|academic|"
    r"patents?|except|exceptions?|excluding|unless|third part(?:y|ies)|(?:other|different) licen[sc]es?|"
    r"additional(?:ly)?|derived|portions|parts|bundle[sd]?|either|dual|dually|multi|choice|option|public domain|"
    r"evil|ethical|prohibited|restrictions?|may not|must not|shall not|not be)\b"
)

_WORD = re.compile(r"\w+")
_HOLDER = re.compile(  # a line with "Copyright (c) 2020 Somebody", but not one in which a licence speaks of copyright
    r"^[^\w\n(]*(?:portions\W{1,9})?(?:"
    r"copyright\b(?!\s{1,9}(?:holder|owner|notice|licen|law|and|or|statement|interest))"
    r"(?=:?\s{0,9}(?:\(c\)|©|&copy;|\d|(?-i:[A-Z<\[])))"
    r"|\(c\)\s{0,9}(?:copyright|\d)|©|&copy;|all rights reserved).{0,200}$",
    re.IGNORECASE | re.MULTILINE,
)
_SPDX_TAG = re.compile(r"SPDX-License-Identifier:[ \t]*([^\r\n]{1,300})")
_TAG_END = re.compile(r"\s*(?:\*/|-->|\*\)|#}|--%>|\"\"\"|''').*$")


def of_text(text: str) -> str:
    """The licence that a text, such as the file LICENSE, is; several as `A AND B`. "" if that is not sure."""
    if len(text) > _LONGEST_TEXT:
        return ""
    words = _words(text)
    found, rest = _licences(words)
    if not found:
        return _titled(words)
    if rest.count(" ") > _MOST_REST * len(found) or _FOREIGN.search(rest):
        return ""
    return " AND ".join(found)


def of_comment(comment: str) -> str | None:
    """What the comment at the head of a file says about the licence of that file.

    An SPDX tag counts before anything else. "" for one that cannot be told, or names several; None for a comment that
    speaks of no licence, or refers to another file for it.
    """
    if tags := _SPDX_TAG.findall(comment):
        return spdx.all_of([spdx.of_field(_TAG_END.sub("", tag)) for tag in tags])
    words = _words(comment[:_LONGEST_TEXT])
    found, rest = _licences(words)
    names = {*found, *(id for id, name in _MENTIONS.items() if name.search(rest))}
    if _REFUSED.search(rest):
        return ""
    if len(names) == 1:
        return names.pop()
    if names:
        return ""
    return None


# How the head of a file names its licence, without its text. The words of what was recognised are gone by then.
_UNDER = r"\b(?:licen[sc]ed?|released?|distributed|available|published|provided|covered|subject|use|copying|under)\b"
_MENTIONS = {
    "MIT": re.compile(
        rf"{_UNDER}(?: \w+){{0,8}}? (?:the )?mit(?: x11| expat)? licen[sc]e|^(?:\w+ ){{0,3}}mit licen[sc]ed?\b"
    ),
    "Apache-2.0": re.compile(rf"{_UNDER}(?: \w+){{0,8}}? apache (?:licen[sc]e |software licen[sc]e )?(?:version )?v?2"),
    "BSD-3-Clause": re.compile(
        rf"{_UNDER}(?: \w+){{0,8}}? (?:3 clause bsd|bsd 3 clause|three clause bsd|new bsd|modified bsd|revised bsd)\b"
        r"|^(?:\w+ ){0,3}licen[sc]e bsd 3 clause\b"
    ),
    "BSD-2-Clause": re.compile(rf"{_UNDER}(?: \w+){{0,8}}? (?:2 clause bsd|bsd 2 clause|simplified bsd)\b"),
}  # fmt: skip
_REFUSED = re.compile(
    r"\b(?:gnu (?:lesser |library |affero )?(?:general )?public licen[sc]e|[al]?gpl(?:v?\d)?|mozilla public|mpl|"
    r"creative commons|proprietary|confidential|non ?commercial|eclipse public|commons clause|business source|"
    r"server side public|elastic licen[sc]e|common development and distribution)\b"
)


def _words(text: str) -> str:
    """Lower case, words alone, without the lines that name the holders; a space between two words and at both ends."""
    return f" {' '.join(_WORD.findall(_HOLDER.sub(' ', text).lower()))} "


def _licences(words: str) -> tuple[list[str], str]:
    """Identifiers of the licences whose whole text is there, sorted, and the words that are not theirs."""
    found = set()
    for id, template in (*_TEMPLATES.items(), *_NOTICES.items()):
        for _ in range(_MOST_STARTS):
            span = _span(words, template)
            if span is None:
                break
            found.add(id)
            words = f"{words[: span[0]]} {words[span[1] :]}"
    if "Apache-2.0" in found and (span := _span(words, _APPENDIX)) is not None:
        words = f"{words[: span[0]]} {words[span[1] :]}"
    return sorted(found), words


def _span(words: str, template: _Template) -> tuple[int, int] | None:
    """Where the phrases of a licence stand one after the other, with no more words between them than it has."""
    first = f" {template[0][1]} "
    start = -1
    for _ in range(_MOST_STARTS):
        start = words.find(first, start + 1)
        if start < 0:
            return None
        end = start + len(first)
        for most, phrase in template[1:]:
            at = words.find(f" {phrase} ", end - 1)
            if at < 0:
                return None  # nor will it be found for a later start
            if words.count(" ", end - 1, at) > most:
                break
            end = at + len(phrase) + 2
        else:
            return start, end
    return None


def _titled(words: str) -> str:
    head = f" {' '.join(words.split(maxsplit=_TITLE_WITHIN)[:_TITLE_WITHIN])} "
    found = [id for id, title in _TITLES.items() if f" {title} " in head]
    return found[0] if len(found) == 1 else ""
