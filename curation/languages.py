"""What rules must know of a language: its stop words, whether its sentences end in a mark, how long its words are.

Codes are those of fastText's lid.176 (ISO 639-1, else 639-2 or 639-3). A rule that is bound to a language asks here,
and does not apply where the language is unknown or not listed: no page is dropped by the habits of another language.
"""

from __future__ import annotations

from curation.stop_words import STOP_WORDS

__all__ = [
    "CLOSERS",
    "SENTENCE_ENDS",
    "WITHOUT_SPACES",
    "ends_sentence",
    "sentence_ends",
    "stop_words",
    "writes_letters",
]


def _characters(ranges: str) -> str:
    found: list[str] = []
    for item in ranges.split():
        first, _, last = item.partition("-")
        found.extend(map(chr, range(int(first, 16), int(last or first, 16) + 1)))
    return "".join(found)


# Unicode's property Sentence_Terminal (PropList.txt of Unicode 17), all scripts: . ? ! 。 । ۔ ؟ ። ។ ။ and the rest.
SENTENCE_ENDS = _characters(
    "21 2E 3F 589 61D-61F 6D4 700-702 7F9 837 839 83D-83E 964-965 104A-104B 1362 1367-1368 166E 1735-1736 17D4-17D5 "
    "1803 1809 1944-1945 1AA8-1AAB 1B4E-1B4F 1B5A-1B5B 1B5E-1B5F 1B7D-1B7F 1C3B-1C3C 1C7E-1C7F 2024 203C-203D "
    "2047-2049 2CF9-2CFB 2E2E 2E3C 2E53-2E54 2E60-2E61 3002 A4FF A60E-A60F A6F3 A6F7 A876-A877 A8CE-A8CF A92F "
    "A9C8-A9C9 AA5D-AA5F AAF0-AAF1 ABEB FE12 FE15-FE16 FE52 FE56-FE57 FF01 FF0E FF1F FF61 10A56-10A57 10F55-10F59 "
    "10F86-10F89 11047-11048 110BE-110C1 11141-11143 111C5-111C6 111CD 111DE-111DF 11238-11239 1123B-1123C 112A9 "
    "113D4-113D5 1144B-1144C 115C2-115C3 115C9-115D7 11641-11642 1173C-1173E 11944 11946 11A42-11A43 11A9B-11A9C "
    "11C41-11C42 11EF7-11EF8 11F43-11F44 16A6E-16A6F 16AF5 16B37-16B38 16B44 16D6E-16D6F 16E98 1BC9F 1DA88"
)
# Marks that end a sentence in one language and not elsewhere: the Greek question mark, the Armenian full stop as it is
# often typed, half of an Ethiopic one, and the Tibetan shad (Terminal_Punctuation, but not Sentence_Terminal).
_ENDS_OF = {"el": ";\u037e", "hy": ":", "am": "፡", "bo": "།༎༏༐༑༔"}
# Quotes and brackets that close after the mark.
CLOSERS = "\"'”’»›)]」』）】》〉〕］"
_BEHIND = CLOSERS + " \u00a0\u202f"  # French puts a space before the quote

# The languages of lid.176 that are written without spaces between words, so that nothing shows where a word of a list
# ends: Tibetan, Japanese, Khmer, Lao, Burmese, Thai, and Chinese in three forms. The scripts: curation/scripts.py.
WITHOUT_SPACES = frozenset({"bo", "ja", "km", "lo", "my", "th", "wuu", "yue", "zh"})

# The languages of lid.176 whose prose ends its sentences in a mark. Not among them: Thai and Lao, which put a space
# there (FineWeb-2 sets its share of lines that end in a mark to 0 for both), and Lojban, which writes none.
_PUNCTUATED = """
af als am an ar arz as ast av az azb ba bar bcl be bg bh bn bo bpy br bs bxr ca cbk ce ceb ckb co cs cv cy da de diq
dsb dty dv el eml en eo es et eu fa fi fr frr fy ga gd gl gn gom gu gv he hi hif hr hsb ht hu hy ia id ie ilo io is
it ja jv ka kk km kn ko krc ku kv kw ky la lb lez li lmo lrc lt lv mai mg mhr min mk ml mn mr mrj ms mt mwl my myv
mzn nah nap nds ne new nl nn no oc or os pa pam pfl pl pms pnb ps pt qu rm ro ru rue sa sah sc scn sco sd sh si sk
sl so sq sr su sv sw ta te tg tk tl tr tt tyv ug uk ur uz vec vep vls vi vo wa war wuu xal xmf yi yo yue zh
"""

# Those that write a word letter by letter, in Latin, Greek, Cyrillic, Armenian, Georgian, Hebrew or Arabic script, so
# that a limit on its letters means what it means in English. Not among them: scripts that write syllables or add signs
# to letters (Chinese, Korean, Hindi, Amharic: FineWeb-2 asks for means of 1-5, 1-6, 2-21 and 1-24 where Gopher has
# 3-10), and Vietnamese and Urdu, whose words between spaces have 3.3 and 3.5 letters.
_LETTERED = """
af als an ar arz ast av az ba bar bcl be bg br bs bxr ca cbk ce ceb co cs cv cy da de dsb el eml en eo es et eu fa
fi fr frr fy ga gd gl gn gv he hr hsb ht hu hy ia id ie ilo io is it jv ka kk krc ku kv kw ky la lb lez li lmo lt lv
mg mhr min mk mn mrj ms mt mwl myv nah nap nds nl nn no oc os pam pfl pl pms pt qu rm ro ru rue sah sc scn sco sh sk
sl so sq sr su sv sw tg tk tl tr tt tyv uk uz vec vep vls vo wa war xal xmf
"""
_PUNCTUATING = frozenset(_PUNCTUATED.split())
_LETTERING = frozenset(_LETTERED.split())


def stop_words(language: str | None) -> frozenset[str]:
    """Very frequent function words, in small letters; none where no table is kept (`curation/stop_words.py`)."""
    return STOP_WORDS.get(language or "", frozenset())


def writes_letters(language: str | None) -> bool:
    """Whether words are written letter by letter, so that limits on the letters of a word or a line mean something."""
    return language in _LETTERING


def sentence_ends(language: str | None) -> str:
    """The marks that end a sentence: those of all scripts and the language's own. "" where it has none, or is unknown.

    All scripts, because they never clash, and because a page in Hindi ends some of its sentences in a full stop.
    """
    return SENTENCE_ENDS + _ENDS_OF.get(language or "", "") if language in _PUNCTUATING else ""


def ends_sentence(line: str, marks: str) -> bool:
    """Whether a line ends in one of the marks, closing quotes and brackets after it or not."""
    return line.rstrip(_BEHIND).endswith(tuple(marks))
