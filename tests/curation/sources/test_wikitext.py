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
    # In the 20 languages: their templates, and their names of files and categories.
    ("[[Файл:A.jpg|мини|Река]]София ({{lang|el|Σερδική}}) е. [[Категория:Г]]", "София (Σερδική) е."),
    ("[[Fitxer:A.jpg|min|Riu]]Al {{segle|XIX}}, {{coord|1|2}}. [[Categoria:X]]", "Al segle XIX."),
    ("[[Soubor:A.jpg|n|Ř]]Praha ({{cizojazyčně|de|Prag}}). [[Kategorie:X]]", "Praha (Prag)."),
    ("[[Fil:A.jpg|x]]Aarhus ({{lang-de|Arhus}}) er.{{citat|Ord.}} [[Kategori:X]]", "Aarhus (Arhus) er.\nOrd."),
    ('Köln ({{laS|Colonia}}; {{enS|Cologne}}), {{"|so}}. [[Kategorie:X]]', "Köln (Colonia; Cologne), „so“."),
    ("Born ({{birth date|1900|1|2}}, {{GBP|5}}, {{US$|3}}) on {{HMS|Hood|51|6}}, {{ship|USS|Lee}}.",
     "Born (£5, US$3) on HMS Hood, USS Lee."),
    ("[[Archivo:A.jpg|x]]Al {{unidad|5|km2}}, {{siglo|XVI||s}}. [[Categoría:X]]", "Al 5 km², siglo XVI."),
    ("Au {{s|XIX|e}}, {{sp|XV|e|et|XVI|e}}, {{IIe siècle}}.", "Au XIXe siècle, XVe et XVIe siècles, IIe siècle."),
    ("Le {{1er|mai}}, {{date|14|juillet|1789}}, {{unité|9|kg}}, {{citation|mot}}.",
     "Le 1er mai, 14 juillet 1789, 9 kg, « mot »."),
    ("[[Datoteka:A.jpg|m|x]]Zagreb ({{jez-de|Agram}}). [[Kategorija:X]]", "Zagreb (Agram)."),
    ("[[Fájl:A.jpg|b|x]]Buda {{szám|12|km}}. {{idézet|Szó.}} [[Kategória:X]]", "Buda 12 km.\nSzó."),
    ("{{formatnum:12345}} ({{latino|Roma}}).{{citazione|Testo|A}} [[Categoria:X]]", "12345 (Roma).\nTesto"),
    ("[[Bestand:A.jpg|m|x]]Luik.{{citaat|Woord.}} [[Categorie:X]]", "Luik.\nWoord."),
    ("[[Plik:A.jpg|t|x]]Łódź ({{lang|de|Lodsch}}).{{r|a}}{{cytat|Z.}} [[Kategoria:X]]", "Łódź (Lodsch).\nZ."),
    ("[[Ficheiro:A.jpg|m|x]]Tem {{fmtn|12|km}}; {{séc|XIX}}, {{-séc|I}}; fim.",
     "Tem 12 km; século XIX, século I a.C.; fim."),
    ("[[Fișier:A.jpg|t|x]]Cluj ({{lang-de|Klausenburg}}). [[Categorie:X]]", "Cluj (Klausenburg)."),
    ("{{s|На реке}}, {{нп5|Имя|имя|en|Name}} и {{нп5|Род||en|X}}, 5{{e|6}}.", "На реке, имя и Род, 5×10⁶."),
    ("[[Slika:A.jpg|s|x]]Ljubljana ({{jezik-de|Laibach}}). [[Kategorija:X]]", "Ljubljana (Laibach)."),
    ("[[Датотека:A.jpg|м|x]]Београд ({{јез-мађ|N}}). [[Категорија:X]]", "Београд (N)."),
    ("[[Fil:A.jpg|m|x]]Göteborg ({{lang-de|Gotenburg}}). [[Kategori:X]]", "Göteborg (Gotenburg)."),
    ("[[Файл:A.jpg|м|x]]Київ, {{nobr|5 км}}, {{нп|Їх|їх|en|X}}. [[Категорія:X]]", "Київ, 5 км, їх."),
    # Language conversion.
    ("је -{Belgrade}- и -{[[Пут|пут]]}-, -{R|NATO}-", "је Belgrade и пут, NATO"),
    ("-{sr-ec:Хрватска; sr-el:Hrvatska}- -{sr-ec:; sr-el:jek}-", "Хрватска jek"),
    ("-{H|sr-ec:а; sr-el:a}-Ово-{T|Наслов}- је -{A|sr-ec:б; sr-el:b}-.", "Ово је б."),
    ("<math>a-{b}-c</math> -{x", "$a-{b}-c$ -{x"),
    # Shown, so not markup.
    ("The &lt;b&gt; tag, <nowiki><br></nowiki>, <nowiki>''x''</nowiki>", "The <b> tag, <br>, ''x''"),
    ("<nowiki>{{call|x}} [[Image:x]] -{a}-</nowiki> &amp;lt;", "{{call|x}} [[Image:x]] -{a}- &lt;"),
    ("<pre>\n| a | b |\n! c\n</pre>", "| a | b |\n! c"),
    # Never closed.
    ("Text.<!-- a --> More. <!-- the rest", "Text. More."),
    ("<nowiki><!--</nowiki> opens one.", "<!-- opens one."),
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
]  # fmt: skip


@pytest.mark.parametrize(("wikitext", "text"), TABLE)
def test_plain_text(wikitext: str, text: str) -> None:
    assert plain_text(wikitext) == text


def test_headings_stay_with_their_text_and_go_without() -> None:
    wikitext = "Lead.\n== A ==\n=== B ===\ntext b\n=== C ===\n{{x}}\n== D ==\n== E ==\ntext e"
    assert plain_text(wikitext) == "Lead.\nA\nB\ntext b\nE\ntext e"


def test_sections_of_links_go_with_what_is_under_them() -> None:
    wikitext = "Lead.\n== See also ==\n* [[X]]\n=== More ===\n* [[Y]]\n== Life ==\ntext\n== Einzelnachweise ==\n* z"
    assert plain_text(wikitext) == "Lead.\nLife\ntext"
    assert plain_text("Vie.\n== Annexes ==\n=== Bibliographie ===\n* x\n=== Liens externes ===\n* y") == "Vie."
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
        *[
            ("{{" + name + "}}", name.lower())
            for name in (
                "пояснение",
                "Desambiguació",
                "Rozcestník - příjmení",
                "Flertydig",
                "Begriffsklärung",
                "Desambiguación",
                "Homonymie",
                "Razdvojba",
                "Egyért",
                "Disambigua",
                "Dp",
                "Ujednoznacznienie",
                "Desambiguação",
                "Dezambig",
                "Неоднозначность",
                "Razločitev",
                "Вишезначна одредница",
                "Förgrening",
                "Багатозначність",
            )
        ],
        ("__DISAMBIG__", "__DISAMBIG__"),
        ("A page on {{disambiguation needed|date=x}} tags", None),
        ("Text.", None),
    ],
)
def test_is_disambiguation(wikitext: str, template: str | None) -> None:
    assert is_disambiguation(wikitext) == template
