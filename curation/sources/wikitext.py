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

import mwparserfromhell
from mwparserfromhell.nodes import ExternalLink, Heading, HTMLEntity, Tag, Template, Text, Wikilink
from mwparserfromhell.wikicode import Wikicode

from curation.errors import DataError
from curation.sources.wikitext_words import superscript, words

# Neither character can occur in XML, so neither can occur in a dump. HOLE stands where something was removed, so that
# only the punctuation that a removal left behind is tidied, and `main()` in the prose keeps its parentheses.
_HOLE = "\x01"
_HEADING = "\x02"
# Stand for characters that an article shows and does not use as markup, so that no later step takes them for markup.
_SHOWN = str.maketrans("<{['|!-", "\x03\x04\x05\x06\x07\x08\x0e")
_AS_SHOWN = str.maketrans("\x03\x04\x05\x06\x07\x08\x0e", "<{['|!-")


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
    references and notes/references and further reading/external links and references/citations and references
    sources and references/works cited/explanatory notes/general references/external link/notes and citations
    вижте също/източници/бележки/външни препратки/литература/бележки и източници
    vegeu també/referències/enllaços externs/bibliografia/notes i referències
    související články/reference/poznámky/externí odkazy/literatura/odkazy
    se også/referencer/kilder/eksterne henvisninger/noter/litteratur/kilder og henvisninger
    siehe auch/einzelnachweise/weblinks/weblink/literatur/anmerkungen/quellen/fußnoten/nachweise/belege
    véase también/referencias/notas/enlaces externos/bibliografía/notas y referencias
    voir aussi/articles connexes/notes et références/références/liens externes/lien externe/bibliographie/annexes
    vidi još/povezani članci/izvori/vanjske poveznice/bilješke
    kapcsolódó szócikkek/jegyzetek/források/további információk
    voci correlate/note/collegamenti esterni/altri progetti
    zie ook/externe link/referenties/bronnen/noten/voetnoten/externe links/literatuur/bronnen, noten en/of referenties
    zobacz też/przypisy/linki zewnętrzne/uwagi
    ver também/referências/ligações externas
    vezi și/referințe/legături externe/bibliografie
    см. также/примечания/ссылки/источники/литература/сноски
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

# Templates by which the same 20 Wikipedias mark a disambiguation page.
_DISAMBIGUATIONS = _table("""
    disambiguation/disambig/disamb/dab/hndis/geodis/mathdab/numberdis/roaddis/schooldis/hospitaldis/callsigndis
    human name disambiguation/place name disambiguation/disambiguation cleanup/disambig-cleanup/airport disambiguation
    letter disambiguation/letter–number combination disambiguation/species latin name disambiguation
    пояснение/desambiguació/rozcestník/rozcestník - příjmení/flertydig/begriffsklärung/desambiguación/toponymie
    desambig/dezambig/doorverwijspagina/homonymie/homonymie de personnes
    homonymie de clubs sportifs/patronymie/razdvojba/egyért/egyértelműsítő lap/disambigua/dp/dpintro/ujednoznacznienie
    desambiguação/dezambiguizare/неоднозначность/список однофамильцев/razločitev/вишезначна одредница
    višeznačna odrednica/förgrening/gren/grensida/багатозначність/багатозн/неоднозначність
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

# Language conversion, as Serbian has it: `-{as it is}-`, `-{sr-ec:ћир; sr-el:lat}-`, `-{H|rule}-`. No formula is one.
_CONVERSION = re.compile(r"(\$[^$]*\$)|-\{([^{}$\\]*)\}-")
_CONVERSION_FLAGS = re.compile(r"\s*(?:([A-Z+-](?:;[A-Z+-])*)|[a-z]{2}(?:-[a-z]+)+)\s*\|")
_VARIANT = re.compile(r"\s*[a-z]{2}(?:-[a-z]+)*\s*:\s*([^;]*)")

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
    wikitext = _without_open_comment(wikitext)
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


def _without_open_comment(wikitext: str) -> str:
    """A comment that is never closed runs to the end of the page, unless the page shows those characters."""
    start = wikitext.find("<!--", wikitext.rfind("-->") + 1)
    shown = start >= 0 and any(wikitext.find(f"</{tag}>", start) >= 0 for tag in _VERBATIM_TAGS)
    return wikitext if start < 0 or shown else wikitext[:start]


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
        return html.unescape(str(contents)).translate({1: None, 2: None}).translate(_SHOWN)
    text = _rendered(contents)
    return (superscript(text) or text) if name == "sup" else text


def _entity(node: HTMLEntity) -> str:
    try:
        text = str(node.normalize())
    except (ValueError, OverflowError):
        return _HOLE
    # &#1; and lone surrogates are not text, and the first would pass for a mark of ours.
    if all(c >= " " and not "\ud800" <= c <= "\udfff" for c in text) or text in "\n\t":
        return text.translate(_SHOWN)
    return _HOLE


def _arguments(node: Template) -> list[str]:
    return [_rendered(parameter.value).strip() for parameter in node.params if not parameter.showkey]


def _template_text(node: Template) -> str:
    return words(" ".join(str(node.name).replace("_", " ").split()), _arguments(node)) or _HOLE


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


def _converted(match: re.Match[str]) -> str:
    """What a language conversion shows: of several variants the first that is not empty."""
    formula, text = match.groups()
    if formula is not None:
        return formula
    if flags := _CONVERSION_FLAGS.match(text):
        if flags[1] and set(flags[1]) & set("HT+-"):  # rules and the page's title: nothing stands here
            return ""
        text = text[flags.end() :]
    variants = [variant[1].strip() for part in text.split(";") if (variant := _VARIANT.match(part))]
    return next(filter(None, variants), "") if variants else text


def _tidy(line: str) -> str:
    if "-{" in line:
        line = _CONVERSION.sub(_converted, line)
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
    line = line.translate(_AS_SHOWN)
    # A line of nothing but punctuation is what removed templates leave of a list item.
    return line if any(character.isalpha() or character.isdecimal() for character in line) else ""
