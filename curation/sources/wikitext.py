"""Wikitext to plain text.

What a reader of the article would call its text stays: prose, headings, lists, quotations, formulas (as LaTeX between
dollar signs). What surrounds it goes: templates, tables, references, files, categories, comments, formatting, and the
sections that hold only links and citations. A few templates stand for words in the middle of a sentence
(`{{convert|5|km}}`); those are written out, since a hole there would leave broken prose.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Callable

import mwparserfromhell
from mwparserfromhell.nodes import ExternalLink, Heading, HTMLEntity, Tag, Template, Text, Wikilink
from mwparserfromhell.wikicode import Wikicode

from curation.errors import DataError

# Neither character can occur in XML, so neither can occur in a dump. HOLE stands where something was removed, so that
# only the punctuation that a removal left behind is tidied, and `main()` in the prose keeps its parentheses.
_HOLE = "\x01"
_HEADING = "\x02"


def _table(names: str) -> frozenset[str]:
    return frozenset(name.strip() for line in names.splitlines() for name in line.split("/") if name.strip())


# Local names of the File, Media and Category namespaces in the 20 languages of LLaMA's Wikipedia, besides English.
_UNSEEN_NAMESPACES = _table("""
    file/image/media/category/файл/картинка/медия/категория/fitxer/imatge/categoria/soubor/média/kategorie/fil/billede
    kategori/datei/bild/kategorie/archivo/imagen/categoría/fichier/catégorie/datoteka/slika/kategorija/fájl/kép/kategória
    immagine/bestand/afbeelding/categorie/plik/grafika/kategoria/ficheiro/arquivo/imagem/fișier/fişier/imagine/медиа
    изображение/датотека/слика/категорија/зображення/категорія
    """)

# Sections of links, notes and citations, by their usual heading in the same 20 languages. Only at the top level:
# further down, "Literature" is a part of the article.
_UNREAD_SECTIONS = _table("""
    see also/references/notes/footnotes/citations/external links/further reading/sources/notes and references
    references and notes/references and further reading/external links and references
    вижте също/източници/бележки/външни препратки/литература/бележки и източници
    vegeu també/referències/enllaços externs/bibliografia/notes i referències
    související články/reference/poznámky/externí odkazy/literatura/odkazy
    se også/referencer/kilder/eksterne henvisninger/noter/litteratur/kilder og henvisninger
    siehe auch/einzelnachweise/weblinks/literatur/anmerkungen/quellen
    véase también/referencias/notas/enlaces externos/bibliografía/notas y referencias
    voir aussi/articles connexes/notes et références/références/liens externes/bibliographie
    vidi još/povezani članci/izvori/vanjske poveznice/bilješke
    kapcsolódó szócikkek/jegyzetek/források/további információk
    voci correlate/note/collegamenti esterni/altri progetti
    zie ook/referenties/bronnen/noten/voetnoten/externe links/literatuur/bronnen, noten en/of referenties
    zobacz też/przypisy/linki zewnętrzne/uwagi
    ver também/referências/ligações externas
    vezi și/referințe/legături externe/bibliografie
    см. также/примечания/ссылки/источники
    glej tudi/sklici/viri/zunanje povezave/opombe
    види још/референце/извори/спољашње везе/напомене/vidi još/reference/spoljašnje veze/napomene
    se även/referenser/källor/externa länkar
    див. також/примітки/посилання/джерела/література
    """)

_REMOVED_TAGS = _table("""
    ref/references/gallery/table/timeline/score/graph/imagemap/categorytree/inputbox/templatedata/templatestyles/section
    hiero/mapframe/maplink/indicator/style/script/includeonly/rss/img/meta/link
    """)
_BLOCK_TAGS = _table("p/div/blockquote/center/ul/ol/li/dl/dt/dd/poem/pre/source/syntaxhighlight/tr/td/th/h1/h2/h3/h4")
_FORMULA_TAGS = frozenset({"math", "chem", "ce"})
_VERBATIM_TAGS = frozenset({"nowiki", "pre", "source", "syntaxhighlight"})

_SUPERSCRIPTS = str.maketrans("0123456789+-−n", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻ⁿ")
_UNITS = {"km2": "km²", "m2": "m²", "cm2": "cm²", "m3": "m³", "km3": "km³", "sqmi": "sq mi", "sqft": "sq ft", "C": "°C",
          "F": "°F", "acre": "acres", "-": "–", "x": "×"}  # fmt: skip
_CONVERT_RANGES = frozenset({"to", "-", "–", "and", "or", "by", "x", "×", "to(-)", "and(-)"})

# Templates by which the same 20 Wikipedias mark a disambiguation page.
_DISAMBIGUATIONS = _table("""
    disambiguation/disambig/disamb/dab/hndis/geodis/mathdab/numberdis/roaddis/schooldis/hospitaldis/callsigndis
    human name disambiguation/place name disambiguation/disambiguation cleanup/disambig-cleanup/airport disambiguation
    letter disambiguation/letter–number combination disambiguation/species latin name disambiguation
    пояснение/desambiguació/rozcestník/flertydig/begriffsklärung/desambiguación/homonymie/homonymie de personnes
    homonymie de clubs sportifs/patronymie/razdvojba/egyért/egyértelműsítő lap/disambigua/dp/dpintro/ujednoznacznienie
    desambiguação/dezambiguizare/неоднозначность/список однофамильцев/razločitev/вишезначна одредница
    višeznačna odrednica/förgrening/gren/grensida/багатозначність/неоднозначність
    """)

# Unclosed brackets times characters: about the parser's steps. Real pages reach a million; the limit takes seconds.
MAX_TANGLE = 50_000_000
_BRACKET = re.compile(
    r"\{\{|\}\}|\[\[|\]\]|\{\||\|\}|\[https?:|\]|</|<(?!(?:br|hr|wbr|li|dt|dd|td|th|tr|p)\b)[a-z]+\b[^<>]*(?<!/)>",
    re.IGNORECASE,
)
_CLOSES = {"}}": "{{", "]]": "[[", "|}": "{|", "]": "[", "</": "<"}
_LIST_MARKS = re.compile(r"^([*#:;]{20})[*#:;]+", re.MULTILINE)

_CALL = re.compile(r"\{\{\s*([^{}|<>\n\[\]#]+)")
_INTERLANGUAGE = re.compile(r"[a-z]{2,3}(?:-[a-z]+)*:\S")
_SWITCH = re.compile(r"__[A-Z]{3,}__")
_STRAY_TAG = re.compile(
    r"</?(?:ref|references|div|span|small|big|center|font|br|sup|sub|nowiki|blockquote|p|b|i|u|s|em|code|tt|table|tr|td|th|gallery|"
    r"onlyinclude|noinclude|includeonly)\b[^<>]*>",
    re.IGNORECASE,
)
_STRAY_TABLE = re.compile(r"\{?\||!\s|![^!]*(?:!!|\||scope=)")
# What the parser leaves as text because its braces or brackets do not match. A backslash or a dollar means LaTeX.
_STRAY_CALL = re.compile(r"\{\{\s*[^\W\d][^{}$\\]*\|[^{}$\\]*(?:\}\}|$)|\[\[[^\W\d]+:[^\[\]]*(?:\]\]|$)")

# Quantifiers are bounded: a line of a million semicolons must not take a million squared steps.
_HOLES = re.compile(rf"{_HOLE}(?: ?{_HOLE})+")
_HOLE_IN_BRACKETS = re.compile(
    rf"[(\[（][ ;,:/–—-]{{0,9}}{_HOLE}[ {_HOLE};,:/–—-]{{0,30}}[)\]）]|[\"'«“„] ?{_HOLE} ?[\"'»”“]"
)
_HOLE_AFTER_OPENING = re.compile(rf"([(\[（]) ?{_HOLE}[ {_HOLE};,:]{{0,30}}")
_HOLE_BEFORE_CLOSING = re.compile(rf"[ ;,:]{{0,9}}{_HOLE}[ {_HOLE};,:]{{0,30}}([)\]）])")
_HOLE_FIRST = re.compile(rf"^ ?{_HOLE} ?[,;:.)]+(?![.\w])")
_HOLE_BETWEEN = re.compile(rf"([;,:]) ?{_HOLE} ?[;,:](?: ?{_HOLE} ?[;,:])*")
_HOLE_BEFORE_STOP = re.compile(rf"[,;:]? ?{_HOLE} ?([.!?](?!\w))")
_HOLE_BEFORE_COMMA = re.compile(rf" ?{_HOLE} ?([,;:])")
_HOLE_ALONE = re.compile(rf" ?{_HOLE} ?")
_SPACES = re.compile(r"[ \t\r\f\v\u00a0\u2000-\u200a\u202f]+")


def plain_text(wikitext: str) -> str:
    """The readable text of an article: one paragraph, heading or list item a line, no blank lines, "" if none is left.

    Headings whose section has no text are dropped with it. The result depends on the wikitext alone.
    Raises DataError(`tangled_markup`) where so much is opened and never closed that parsing would take minutes.
    """
    unclosed = _unclosed(wikitext)
    if unclosed * len(wikitext) > MAX_TANGLE:
        raise DataError("tangled_markup", f"{unclosed} brackets and tags are never closed")
    out: list[str] = []
    _render(mwparserfromhell.parse(_LIST_MARKS.sub(r"\1", wikitext)), out)
    return "\n".join(_sections("".join(out).splitlines()))


def is_disambiguation(wikitext: str) -> str | None:
    """The template (or `__DISAMBIG__`) by which a page says that it only tells meanings apart; None for an article."""
    for match in _CALL.finditer(wikitext):
        name = " ".join(match.group(1).replace("_", " ").split()).lower()
        if name in _DISAMBIGUATIONS:
            return name
    return "__DISAMBIG__" if "__DISAMBIG__" in wikitext else None


def _unclosed(wikitext: str) -> int:
    """How many brackets and tags are opened and not closed: for each, the parser reads to the end and goes back."""
    depth: Counter[str] = Counter()
    for match in _BRACKET.finditer(wikitext):
        token = match.group()
        if closed := _CLOSES.get(token[:2]):
            depth[closed] = max(0, depth[closed] - 1)
        else:
            depth[token[0] if token[0] == "<" or token[:2] in ("[h", "[H") else token] += 1
    return depth.total()


def _render(code: Wikicode, out: list[str]) -> None:
    for node in code.nodes:
        if isinstance(node, Text):
            out.append(str(node.value))
        elif isinstance(node, Wikilink):
            _render_link(node, out)
        elif isinstance(node, Tag):
            _render_tag(node, out)
        elif isinstance(node, Template):
            out.append(_template_text(node))
        elif isinstance(node, Heading):
            title = " ".join(_rendered(node.title).split())
            out.append(f"\n{_HEADING}{node.level}{title}\n")
        elif isinstance(node, HTMLEntity):
            out.append(_entity(node))
        elif isinstance(node, ExternalLink):
            out.append(_rendered(node.title) if node.title is not None else _HOLE)
        else:  # a comment, or a template's parameter
            out.append(_HOLE)


def _rendered(code: Wikicode) -> str:
    out: list[str] = []
    _render(code, out)
    return "".join(out)


def _render_link(node: Wikilink, out: list[str]) -> None:
    target = str(node.title).strip()
    namespace, colon, _ = target.partition(":")
    if colon and namespace and namespace.strip().lower() in _UNSEEN_NAMESPACES:
        out.append(_HOLE)
    elif node.text is not None and (text := _rendered(node.text)).strip():
        out.append(text)
    elif _INTERLANGUAGE.match(target):
        out.append(_HOLE)
    else:
        out.append(_rendered(node.title).strip().removeprefix(":"))


def _render_tag(node: Tag, out: list[str]) -> None:
    name = str(node.tag).strip().lower()
    markup = node.wiki_markup
    if name in _REMOVED_TAGS:
        out.append(_HOLE)
    elif markup is not None and markup in ("*", "#", ":", ";"):
        if markup == ":" and out and not out[-1].endswith("\n") and "".join(out[-2:]).strip():
            out.append(": ")  # `; term : meaning` on one line
    elif name in ("br", "hr") or (markup and markup.startswith("----")):
        out.append("\n")
    elif name in _FORMULA_TAGS:
        formula = " ".join(str(node.contents).split())
        out.append(f"${formula}$" if formula else _HOLE)
    else:
        contents = "" if node.contents is None else _tag_contents(name, node.contents)
        out.append(f"\n{contents}\n" if name in _BLOCK_TAGS else contents)


def _tag_contents(name: str, contents: Wikicode) -> str:
    if name in _VERBATIM_TAGS:
        return html.unescape(str(contents)).translate({1: None, 2: None})
    text = _rendered(contents)
    if name == "sup" and text.strip() and all(ord(character) in _SUPERSCRIPTS for character in text.strip()):
        return text.strip().translate(_SUPERSCRIPTS)
    return text


def _entity(node: HTMLEntity) -> str:
    try:
        text = str(node.normalize())
    except (ValueError, OverflowError):
        return _HOLE
    # &#1; and lone surrogates are not text, and the first would pass for a mark of ours.
    return text if all(c >= " " and not "\ud800" <= c <= "\udfff" for c in text) or text in "\n\t" else _HOLE


def _arguments(node: Template) -> list[str]:
    return [_rendered(parameter.value).strip() for parameter in node.params if not parameter.showkey]


def _template_text(node: Template) -> str:
    name = " ".join(str(node.name).replace("_", " ").split()).lower()
    write = _WORDS.get(name) or (_first if name.startswith("lang-") else None)
    if write is None:
        return _HOLE
    return write(_arguments(node)) or _HOLE


def _first(arguments: list[str]) -> str:
    return arguments[0] if arguments else ""


def _second(arguments: list[str]) -> str:
    return arguments[1] if len(arguments) > 1 else ""


def _last(arguments: list[str]) -> str:
    return arguments[-1] if arguments else ""


def _quotation(arguments: list[str]) -> str:
    return f"\n{arguments[0]}\n" if arguments and arguments[0] else ""


def _convert(arguments: list[str]) -> str:
    """`5|km|mi` is 5 km, `5|to|9|km` is 5 to 9 km, `6|ft|2|in` is 6 ft 2 in; the converted value is left out."""
    if len(arguments) < 2:
        return _first(arguments)
    count = 2
    if arguments[1] in _CONVERT_RANGES or (
        len(arguments) > 3 and (arguments[1], arguments[3]) in (("ft", "in"), ("lb", "oz"))
    ):
        count = 4
    return " ".join(_UNITS.get(argument, argument) for argument in arguments[:count])


def _fraction(arguments: list[str]) -> str:
    if len(arguments) == 3:
        return f"{arguments[0]} {arguments[1]}/{arguments[2]}"
    return "/".join(arguments if len(arguments) == 2 else ["1", *arguments])


def _constant(text: str) -> Callable[[list[str]], str]:
    return lambda arguments: text


def _after(prefix: str) -> Callable[[list[str]], str]:
    return lambda arguments: f"{prefix}{arguments[0]}" if arguments and arguments[0] else ""


_AS_WRITTEN = _table("""
    nowrap/nobr/small/smaller/big/larger/sc/smallcaps/vanchor/visible anchor/em/strong/mvar/math/var/code/mono/abbr
    tooltip/keypress/nihongo/ill/interlanguage link/flag/flagcountry/val/nts/not a typo/proper name
    """)
_WORDS: dict[str, Callable[[list[str]], str]] = {
    **dict.fromkeys(("lang", "transl", "transliteration", "ipa", "ipalink", "ipablink", "ipa link"), _last),
    **dict.fromkeys(_AS_WRITTEN, _first),
    "langx": _second,
    **dict.fromkeys(("quote", "blockquote", "quotation", "cquote", "quote box"), _quotation),
    **dict.fromkeys(("convert", "cvt"), _convert),
    **dict.fromkeys(("frac", "sfrac", "fraction"), _fraction),
    **dict.fromkeys(("circa", "c.", "ca."), _after("c. ")),
    "as of": _after("As of "),
    **dict.fromkeys(("angbr", "vr"), lambda arguments: f"⟨{arguments[0]}⟩" if arguments else ""),
    "chem": "".join,
    **dict.fromkeys(("nbsp", "spaces", "space", "thinsp", "nnbsp"), _constant(" ")),
    **dict.fromkeys(("ndash", "–", "en dash"), _constant("–")),
    **dict.fromkeys(("spaced ndash", "snd", "spnd", "spaced en dash"), _constant(" – ")),
    **dict.fromkeys(("mdash", "—", "em dash"), _constant("—")),
    **dict.fromkeys(("·", "•", "dot", "bullet"), _constant(" · ")),
    **dict.fromkeys(("pipe", "!"), _constant("|")),
    "=": _constant("="),
    "'s": _constant("'s"),
    "'": _constant("'"),
    "!!": _constant("‖"),
}


def _sections(lines: list[str]) -> list[str]:
    """Lines in order, tidied; without unread sections, and without headings that have no text under them."""
    kept: list[str] = []
    waiting: list[tuple[int, str]] = []  # headings seen since the last line of text, outermost first
    unread = 0  # level of the unread section that we are in, 0 outside
    for line in lines:
        if line.startswith(_HEADING) and line[1:2].isdigit():
            level, title = int(line[1]), _tidy(line[2:])
            if unread and level > unread:
                continue
            unread = level if level <= 2 and title.lower().rstrip(":") in _UNREAD_SECTIONS else 0
            waiting = [heading for heading in waiting if heading[0] < level]
            if not unread and title:
                waiting.append((level, title))
        elif not unread and not _STRAY_TABLE.match(line.lstrip()) and (text := _tidy(line)):
            kept.extend(title for _, title in waiting)
            waiting = []
            kept.append(text)
    return kept


def _tidy(line: str) -> str:
    line = _STRAY_CALL.sub(_HOLE, _SWITCH.sub(_HOLE, _STRAY_TAG.sub(_HOLE, line)))
    line = _SPACES.sub(" ", line.replace(_HEADING, "")).lstrip(" :;*")
    if _HOLE in line:
        # "a {{x}} b" keeps one space; "a{{x}}{{y}} b" too.
        line = _HOLES.sub(lambda run: f" {_HOLE} " if " " in run.group() else _HOLE, line)
        for _ in range(4):  # brackets nest
            line, replaced = _HOLE_IN_BRACKETS.subn(_HOLE, line)
            if not replaced:
                break
        line = _HOLE_AFTER_OPENING.sub(r"\1", line)
        line = _HOLE_BEFORE_CLOSING.sub(r"\1", line)
        line = _HOLE_FIRST.sub("", _SPACES.sub(" ", line))
        line = _HOLE_BETWEEN.sub(rf"\1{_HOLE}", line)
        line = _HOLE_BEFORE_STOP.sub(r"\1", line)
        line = _HOLE_BEFORE_COMMA.sub(r"\1", line)
        line = _HOLE_ALONE.sub(lambda hole: " " if " " in hole.group() else "", line)
        line = _SPACES.sub(" ", line)
    line = line.replace("'''", "").replace("''", "").strip()
    # A line of nothing but punctuation is what removed templates leave of a list item.
    return line if any(character.isalpha() or character.isdecimal() for character in line) else ""
