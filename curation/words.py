"""Lines, paragraphs, sentences and words of a text, split once and remembered: several rules ask for the same ones.

None of it asks for the language: a text says by its script how it is written, also one in two scripts, and also one
whose language nobody could tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from icu4py.breakers import WordBreaker

from curation.languages import CLOSERS, SENTENCE_ENDS
from curation.scripts import UNSPACED_CLASS

_UNSPACED = re.compile(f"[{UNSPACED_CLASS}]")
_WIDE_PUNCTUATION = re.compile("[\u3000-\u303f\uff00-\uff65]")
_ZERO_WIDTH_SPACE = "\u200b"  # how Khmer, Lao and Thai writers mark a break that is not seen
_SURROGATES = re.compile("[\ud800-\udfff]")

# A run of marks, and the quotes and brackets that close with it.
_END = re.compile(f"([{re.escape(SENTENCE_ENDS)}]+)[{re.escape(CLOSERS)}]*")


def is_unspaced(character: str) -> bool:
    """Whether it belongs to a script without spaces between words, or is punctuation of East Asia."""
    return bool(_UNSPACED.match(character) or _WIDE_PUNCTUATION.match(character))


def split_words(text: str) -> list[str]:
    """Words as white space separates them; where a script has none between words, as ICU's dictionaries do.

    Punctuation stays with the word before it, in either case. What is between white space and holds no character of
    such a script is one word, whatever stands beside it. Of the scripts without spaces, ICU has dictionaries for Thai,
    Lao, Khmer, Myanmar, kana and Han; Tibetan is split into syllables, and of Javanese and the
    Tai scripts what stands between punctuation is one word.
    """
    if text.isascii() or not _UNSPACED.search(text):
        return text.split()
    tokens = text.replace(_ZERO_WIDTH_SPACE, " ").split()
    broken = _broken([token for token in tokens if _UNSPACED.search(token)])
    return [word for token in tokens for word in (next(broken) if _UNSPACED.search(token) else (token,))]


def _broken(tokens: list[str]) -> Iterator[list[str]]:
    """The words of each token. All go through ICU at once: it always breaks at a newline, and no token holds one."""
    joined = _SURROGATES.sub("\ufffd", "\n".join(tokens))  # ICU takes no lone surrogates; decoded bytes hold none
    pieces: list[str] = []
    for piece in WordBreaker(joined, "und"):  # "und": no language has rules of its own here
        if piece != "\n":
            pieces.append(piece)
            continue
        yield _glued(pieces)
        pieces = []
    yield _glued(pieces)


def _glued(pieces: Iterable[str]) -> list[str]:
    """Pieces as ICU breaks them, those glued again that only punctuation or a spaced script's rules set apart."""
    words = []
    word = core = ""  # core: the last piece of the word that holds a letter or a digit
    for piece in pieces:
        if any(map(str.isalnum, piece)):
            if core and (_UNSPACED.match(piece) or _UNSPACED.match(core[-1])):
                words.append(word)
                word = ""
            core = piece
        word += piece
    words.append(word)
    return words


@lru_cache(maxsize=8)
def words(text: str) -> tuple[str, ...]:
    """`split_words` of a whole text, remembered."""
    return tuple(split_words(text))


@lru_cache(maxsize=8)
def lines(text: str) -> tuple[str, ...]:
    """Lines that hold something, stripped."""
    return tuple(stripped for line in text.split("\n") if (stripped := line.strip()))


@lru_cache(maxsize=8)
def paragraphs(text: str) -> tuple[str, ...]:
    """What blank lines separate, stripped."""
    return tuple(stripped for part in re.split(r"\n\s*\n", text) if (stripped := part.strip()))


@lru_cache(maxsize=8)
def sentences(text: str) -> tuple[str, ...]:
    """Sentences, stripped. A line ends one, and so does a mark of Unicode's Sentence_Terminal, in any script.

    `.`, `?` and `!` do so only before white space; a full stop, or three, not before a small letter, and one not after
    an initial or the number of an item.
    An abbreviation before a capital is taken for an end: it needs a trained model to know better. A text in a language
    without such marks (`curation.languages.sentence_ends`) has as many sentences as lines.
    """
    found = []
    for line in lines(text):
        start = 0
        for match in _END.finditer(line):
            if _ends(line, match):
                found.append(line[start : match.end()].strip())
                start = match.end()
        if rest := line[start:].strip():
            found.append(rest)
    return tuple(found)


def _ends(line: str, match: re.Match[str]) -> bool:
    marks, at, following = match[1], match.start(), line[match.end() : match.end() + 2]
    if not marks.isascii():
        return True
    if following and not following[0].isspace():
        return False
    if marks.strip("."):
        return True
    initial = marks == "." and line[at - 1 : at].isalpha() and not line[max(0, at - 2) : max(0, at - 1)].isalnum()
    small = following[1:].title() != following[1:]  # not Georgian: its letters are small, and begin sentences
    return not (initial or small or (at <= 3 and line[:at].isdigit()))
