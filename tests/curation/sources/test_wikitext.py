from __future__ import annotations

import pytest

from curation.errors import DataError
from curation.sources.wikitext import is_disambiguation, plain_text

TABLE = [
    ("'''Bold''' and ''italic''.", "Bold and italic."),
    ("A [[link]], a [[target|shown]] one, and [[plural]]s.", "A link, a shown one, and plurals."),
    ("See [[:Category:Rivers]].", "See Category:Rivers."),
    ("[[File:X.jpg|thumb|A [[nested]] caption]]Text.", "Text."),
    ("[[Datei:X.jpg|mini|Bild]]Text. [[Kategorie:Fluss]]", "Text."),
    ("[[Файл:X.jpg|мини|Кот]]Текст.", "Текст."),
    ("[[de:Haus]]\n[[zh-min-nan:Chhù]]\nHouse.", "House."),
    ("The [https://example.org site] and [https://example.org].", "The site and."),
    ("One.<ref>Not this.</ref> Two.<ref name=a /> Three<ref name=a>x</ref>, four.", "One. Two. Three, four."),
    ("Seen<!-- unseen -->.", "Seen."),
    ("{{Infobox\n| name = {{lang|fr|X}}\n}}\nText.", "Text."),
    ("Before.\n{| class=wikitable\n! a !! b\n|-\n| 1 || 2\n|}\nAfter.", "Before.\nAfter."),
    ("* one\n* two\n# three\n: four", "one\ntwo\nthree\nfour"),
    ("; term : meaning", "term : meaning"),
    ("First.\n\n\n\nSecond.", "First.\nSecond."),
    ("a&nbsp;b &amp; c&mdash;d", "a b & c—d"),
    ("&#1;&#xD800;x&#2;2y", "x2y"),
    ("10<sup>5</sup> m<sup>2</sup>, 21<sup>st</sup>, H<sub>2</sub>O", "10⁵ m², 21st, H2O"),
    ("Let <math>\n x^2\n</math> be.", "Let $x^2$ be."),
    ("<nowiki>[[not a link]]</nowiki>", "[[not a link]]"),
    ("<gallery>\nA.jpg|x\n</gallery>Text.", "Text."),
    ("line<br />break", "line\nbreak"),
    ("__NOTOC__\nText.", "Text."),
    # Words that templates stand for.
    ("It is {{convert|5|km|mi}} long, {{cvt|3|to|4|km2}} wide.", "It is 5 km long, 3 to 4 km² wide."),
    ("He is {{convert|6|ft|2|in|cm}} tall.", "He is 6 ft 2 in tall."),
    ("The {{lang|fr|mot juste}} and {{nowrap|10 kg}}.", "The mot juste and 10 kg."),
    ("Vowels {{vr|ai}}, {{IPA|/a/}}, {{IPA|en|/b/}}; {{chem|C|''n''|H|2''n''}}.", "Vowels ⟨ai⟩, /a/, /b/; CnH2n."),
    ("Built {{circa|1850}}{{snd}}later.", "Built c. 1850 – later."),
    ("{{frac|1|2}}, {{frac|3}}, {{frac|2|3|4}}", "1/2, 1/3, 2 3/4"),
    ("{{quote|Said so.|author}}", "Said so."),
    # Punctuation around what went.
    ("Rome ({{IPAc-en|x}}; {{lang-it|Roma}}) is.", "Rome (Roma) is."),
    ("Rome ({{a}} ; {{b}}) is.", "Rome is."),
    ("Rome (city; {{b}}) is.", "Rome (city) is."),
    ("Rome ({{b}}, city) is.", "Rome (city) is."),
    ('He said "{{x}}" once.', "He said once."),
    ("One {{cn}}, two {{cn}}.", "One, two."),
    ("in {{x}}, {{y}}, {{z}} and so on", "in, and so on"),
    ("{{x}}, also there", "also there"),
    ("* {{cite book|title=T}}\n* {{x}} – .", ""),
    # Not a removal, so not touched.
    ("Call main() or f( ) ; then", "Call main() or f( ) ; then"),
    # Broken markup, as it occurs.
    ("Text.{{cite web |url=x |title=y", "Text."),
    ("{| class=wikitable\n! 1\n| 2\nText.", "Text."),
    ("Text <ref>open {{cite}}", "Text open"),
    ("[[File:Open.jpg|thumb|Caption\nText.", "Text."),
    ("", ""),
    ("'", ""),
    ("\x00\x01\x02", ""),
]


@pytest.mark.parametrize(("wikitext", "text"), TABLE)
def test_plain_text(wikitext: str, text: str) -> None:
    assert plain_text(wikitext) == text


def test_headings_stay_with_their_text_and_go_without() -> None:
    wikitext = "Lead.\n== A ==\n=== B ===\ntext b\n=== C ===\n{{x}}\n== D ==\n== E ==\ntext e"
    assert plain_text(wikitext) == "Lead.\nA\nB\ntext b\nE\ntext e"


def test_sections_of_links_go_with_what_is_under_them() -> None:
    wikitext = "Lead.\n== See also ==\n* [[X]]\n=== More ===\n* [[Y]]\n== Life ==\ntext\n== Einzelnachweise ==\n* z"
    assert plain_text(wikitext) == "Lead.\nLife\ntext"
    assert plain_text("== Culture ==\n=== Literatur ===\ntext") == "Culture\nLiteratur\ntext"


def test_what_would_take_the_parser_minutes_is_refused() -> None:
    for opened in ("{{a|", "{|\n", "<b>", "<ref>", "[https://a ", "[http://a ", "[[a:b"):
        closed = "}}" * 9000 + "|}" * 9000 + "</b>" * 9000 + "]" * 9000  # before it is opened, so it closes nothing
        with pytest.raises(DataError, match="tangled_markup"):
            plain_text(closed + opened * 9000)
    plain_text(";" * 300_000)
    plain_text("{{x|[[a]] [http://a b] <b>c</b><br>}}" * 3000 + "{|\n|}")


def test_any_text_is_survived() -> None:
    for wikitext in (
        "[[" * 500,
        "{{" * 500,
        "<ref>" * 500,
        "{|" * 300,
        "=" * 99,
        "'" * 99,
        "😀",
        "[[|]] [[]] {{}} {{{1}}}",
    ):
        plain_text(wikitext)


@pytest.mark.parametrize(
    ("wikitext", "template"),
    [
        ("May be:\n* x\n{{disambiguation}}", "disambiguation"),
        ("{{ Geodis }}", "geodis"),
        ("{{Human_name disambiguation|x}}", "human name disambiguation"),
        ("{{Begriffsklärung}}", "begriffsklärung"),
        ("__DISAMBIG__", "__DISAMBIG__"),
        ("A page on {{disambiguation needed|date=x}} tags", None),
        ("Text.", None),
    ],
)
def test_is_disambiguation(wikitext: str, template: str | None) -> None:
    assert is_disambiguation(wikitext) == template
