"""Templates that stand for words in the middle of a sentence, in the 20 languages of LLaMA's Wikipedia.

A hole where such a template stood leaves broken prose, so they are written out: plainly, in the words of the argument,
and not in the typography of the page. Where two Wikipedias mean different things by one name, the arguments tell.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

_SUPERSCRIPTS = str.maketrans("0123456789+-−n", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻ⁿ")
_UNITS = {"km2": "km²", "m2": "m²", "cm2": "cm²", "m3": "m³", "km3": "km³", "sqmi": "sq mi", "sqft": "sq ft", "C": "°C",
          "F": "°F", "acre": "acres", "-": "–", "x": "×"}  # fmt: skip
_CONVERT_RANGES = frozenset({"to", "-", "–", "and", "or", "by", "x", "×", "to(-)", "and(-)"})

# `{{lang-fr|mot}}`, and the same where the word for "lang" is another.
_LANGUAGE = re.compile(r"(?:lang|jez|jezik|јез|ny)-\w")
# French Wikipedia has a template for each ordinal and century, which shows its own name: {{XIXe siècle}}, {{1er}}.
_ORDINAL = re.compile(r"(?:[ivx]{1,6}|1)(?:e|er|re)(?: siècle(?: av\. j\.-c\.)?)?")
_ORDINAL_ENDING = frozenset({"e", "er", "re", "ère", "ème"})
_FUNCTION = re.compile(r"(?:formatnum|lc|uc|lcfirst|ucfirst):")


def words(name: str, arguments: Sequence[str]) -> str:
    """What a template says in a sentence; "" for one that says nothing there. `name` as it is written, spaces single.

    `arguments`: the values without a name, as text, stripped.
    """
    lowered = name.lower()
    if write := _WORDS.get(lowered):
        return write(arguments)
    if _LANGUAGE.match(lowered):
        return _first(arguments)
    if _ORDINAL.fullmatch(lowered):
        return " ".join(part for part in (name, *arguments) if part)
    if function := _FUNCTION.match(lowered):
        return _function(function.group(), name[function.end() :])
    return ""


def superscript(text: str) -> str | None:
    """Digits, signs and n raised; None where something else stands among them."""
    text = text.strip()
    return text.translate(_SUPERSCRIPTS) if text and all(ord(c) in _SUPERSCRIPTS for c in text) else None


def _first(arguments: Sequence[str]) -> str:
    return arguments[0] if arguments else ""


def _second(arguments: Sequence[str]) -> str:
    return arguments[1] if len(arguments) > 1 else ""


def _last(arguments: Sequence[str]) -> str:
    return arguments[-1] if arguments else ""


def _second_or_first(arguments: Sequence[str]) -> str:
    return _second(arguments) or _first(arguments)


def _spaced(arguments: Sequence[str]) -> str:
    return " ".join(argument for argument in arguments if argument)


def _quotation(arguments: Sequence[str]) -> str:
    return f"\n{arguments[0]}\n" if arguments and arguments[0] else ""


def _convert(arguments: Sequence[str]) -> str:
    """`5|km|mi` is 5 km, `5|to|9|km` is 5 to 9 km, `6|ft|2|in` is 6 ft 2 in; the converted value is left out."""
    if len(arguments) < 2:
        return _first(arguments)
    count = 2
    if arguments[1] in _CONVERT_RANGES or (
        len(arguments) > 3 and (arguments[1], arguments[3]) in (("ft", "in"), ("lb", "oz"))
    ):
        count = 4
    return " ".join(_UNITS.get(argument, argument) for argument in arguments[:count])


def _quantity(arguments: Sequence[str]) -> str:
    return " ".join(_UNITS.get(argument, argument) for argument in arguments[:2] if argument)


def _fraction(arguments: Sequence[str]) -> str:
    if len(arguments) == 3:
        return f"{arguments[0]} {arguments[1]}/{arguments[2]}"
    return "/".join(arguments if len(arguments) == 2 else ["1", *arguments])


def _power_of_ten(arguments: Sequence[str]) -> str:
    raised = superscript(_first(arguments))
    return f"×10{raised}" if raised else ""


def _century(arguments: Sequence[str]) -> str:
    """French: `XIX|e` is XIXe siècle. Russian and Ukrainian: words that stay on one line."""
    if len(arguments) > 1 and arguments[1] in _ORDINAL_ENDING:
        return f"{arguments[0]}{arguments[1]} siècle"
    return _first(arguments)


def _centuries(arguments: Sequence[str]) -> str:
    """`XVI|e|et|XVII|e` is XVIe et XVIIe siècles."""
    if len(arguments) < 5:
        return _century(arguments)
    return f"{arguments[0]}{arguments[1]} {arguments[2]} {arguments[3]}{arguments[4]} siècles"


def _function(function: str, text: str) -> str:
    change = {"lc:": str.lower, "uc:": str.upper}.get(function)
    text = text.strip()
    if change:
        return change(text)
    head = {"lcfirst:": str.lower, "ucfirst:": str.upper}.get(function, str)(text[:1])
    return head + text[1:]


def _constant(text: str) -> Callable[[Sequence[str]], str]:
    return lambda arguments: text


def _after(prefix: str) -> Callable[[Sequence[str]], str]:
    return lambda arguments: f"{prefix}{arguments[0]}" if arguments and arguments[0] else ""


def _between(opening: str, closing: str) -> Callable[[Sequence[str]], str]:
    return lambda arguments: f"{opening}{arguments[0]}{closing}" if arguments and arguments[0] else ""


def _named(write: Callable[[Sequence[str]], str], names: str) -> dict[str, Callable[[Sequence[str]], str]]:
    return {name.strip(): write for line in names.splitlines() for name in line.split("/") if name.strip()}


_WORDS: dict[str, Callable[[Sequence[str]], str]] = {
    **_named(
        _first,
        """
        nowrap/nobr/small/smaller/big/larger/sc/smallcaps/vanchor/visible anchor/em/strong/mvar/math/var/code/mono/abbr
        tooltip/keypress/nihongo/ill/interlanguage link/flag/flagcountry/val/nts/not a typo/proper name/linktext/w/sic
        sub/sup/chem2/gloss/comment/latino/lateinisch/elS/enS/esS/faS/frS/grcS/heS/itS/jaS/laS/plS/ruS/zhS/trS/arS/esd
        """.lower(),
    ),
    **_named(_second, "langx/wikt-lang/cizojazyčně/audio"),
    **_named(_last, "lang/transl/transliteration/ipa/ipalink/ipablink/ipa link"),
    **_named(_second_or_first, "не переведено/не переведено 2/не переведено 3/не переведено 5/нп/нп2/нп3/нп5/iw"),
    **_named(_second_or_first, "не перекладено/не перекладено 5"),
    **_named(
        _quotation,
        """
        quote/blockquote/quotation/cquote/quote box/zitat/cita/citazione/cytat/citát/citat/citaat/citação/citació
        citáció/idézet/цитат/цитата/navedek
        """,
    ),
    **_named(_convert, "convert/cvt"),
    **_named(_quantity, "unidad/unidade/unité/unitats/unitate/fmtn/число/szám"),
    **_named(_fraction, "frac/sfrac/fraction"),
    **_named(_after("c. "), "circa/c./ca."),
    **_named(_power_of_ten, "e"),
    **_named(_century, "s/s-"),
    **_named(_centuries, "sp/sp-"),
    **_named(_after("siglo "), "siglo"),
    **_named(_after("século "), "séc"),
    **_named(_after("segle "), "segle"),
    **_named(_between("século ", " a.C."), "-séc"),
    **_named(_spaced, "date/date-"),
    **_named(_between("« ", " »"), "citation"),  # French; the English one has no argument without a name
    '"': _between("„", "“"),
    **{navy.lower(): _after(f"{navy} ") for navy in ("HMAS", "HMCS", "HMS", "MS", "RMS", "SMS", "SS", "USS")},
    "ship": lambda arguments: _spaced(arguments[:2]),
    "as of": _after("As of "),
    **_named(_between("⟨", "⟩"), "angbr/vr"),
    "chem": "".join,
    **_named(_constant(" "), "nbsp/spaces/space/thinsp/nnbsp"),
    **_named(_constant("–"), "ndash/–/en dash"),
    **_named(_constant(" – "), "spaced ndash/snd/spnd/spaced en dash"),
    **_named(_constant("—"), "mdash/—/em dash"),
    **_named(_constant(" · "), "·/•/dot/bullet"),
    **_named(_constant("|"), "pipe/!"),
    "=": _constant("="),
    "'s": _constant("'s"),
    "'": _constant("'"),
    "!!": _constant("‖"),
    **_named(_after("US$"), "us$/usd"),
    **{sign.lower(): _after(sign) for sign in ("A$", "C$", "£", "€", "¥")},
    **{code: _after(sign) for code, sign in (("gbp", "£"), ("eur", "€"), ("inr", "₹"), ("jpy", "¥"))},
}
