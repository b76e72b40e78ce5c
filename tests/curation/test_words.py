from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from curation.words import is_unspaced, lines, paragraphs, sentences, split_words, words

PROSE = tomllib.loads((Path(__file__).parent / "prose.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \n\t\u3000", []),
        ("Don't stop, it's 3.14!", ["Don't", "stop,", "it's", "3.14!"]),
        ("Größe très bonne", ["Größe", "très", "bonne"]),
        ("- – # 。", ["-", "–", "#", "。"]),
        ("人人生而自由。", ["人", "人生", "而", "自由。"]),
        ("用iPhone手机ABC-DEF看2024年", ["用", "iPhone", "手机", "ABC-DEF", "看", "2024", "年"]),
        ("「引用」、次（注）", ["「引用」、", "次（", "注）"]),
        ("English and 日本語 text", ["English", "and", "日本語", "text"]),
        ("カタカナ 図書館の本", ["カタカナ", "図書館", "の", "本"]),
        ("ภาษาไทย", ["ภาษา", "ไทย"]),
        ("ພາສາ\u200bລາວ", ["ພາສາ", "ລາວ"]),
        ("ខ្ញុំអាន", ["ខ្ញុំ", "អាន"]),
        ("བོད་སྐད།", ["བོད་", "སྐད།"]),
        ("우리 마을에는 도서관이 있다.", ["우리", "마을에는", "도서관이", "있다."]),
        ("हमारे शहर में", ["हमारे", "शहर", "में"]),
        ("語\x1c\x85語", ["語", "語"]),
        ("語 \u0301語", ["語", "\u0301語"]),
        ("😀語", ["😀語"]),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert split_words(text) == expected
    assert words(text) == tuple(expected)


@pytest.mark.parametrize("text", [*PROSE.values(), "a\ud800b 語\udfffx", "語\0 x", "ก" * 5000, "語😀" * 2000])
def test_no_character_is_lost_or_made(text: str) -> None:
    found = "".join(split_words(text))
    assert len(found) == len("".join(text.split()))
    assert all(word and not any(map(str.isspace, word)) for word in split_words(text))


@pytest.mark.parametrize("language", ["zh", "ja", "th", "lo", "km", "my"])
def test_scripts_without_spaces_have_words(language: str) -> None:
    """As many as a reader would find: a Chinese word has between one and three characters, a Thai one two to six."""
    found = split_words(PROSE[language])
    mean = sum(map(len, found)) / len(found)
    assert 1.4 < mean < 5.5
    assert all(is_unspaced(word[0]) for word in found)


def test_a_text_is_split_as_its_lines_are() -> None:
    text = "\n".join(PROSE.values())
    assert split_words(text) == [word for line in text.split("\n") for word in split_words(line)]


def test_lines_and_paragraphs() -> None:
    text = " a \n\n \n b\nc\r\n\n\n\td\n"
    assert lines(text) == ("a", "b", "c", "d")
    assert paragraphs(text) == ("a", "b\nc", "d")
    assert lines("") == paragraphs(" \n ") == ()


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("No end", 1),
        ("One. Two? Three! Four", 4),
        ("One.Two", 1),
        ('He said "One." Then he left.', 2),
        ("It costs 3.50 or so... and more.", 1),
        ("J. Smith met R. Jones.", 1),
        ("approx. ten, and e.g. this", 1),
        ("1. First", 1),
        ("It was 1999. Then came 2000.", 2),
        ("One\nTwo\n\nThree", 3),
        ("一。二！三？四", 4),
        ("他说：“好。”她走了。", 2),
        ("एक। दो॥ तीन", 3),
        ("واحد. اثنان؟ ثلاثة", 3),
        ("ایک۔ دو۔", 2),
        ("አንድ። ሁለት፧", 2),
        ("មួយ។ ពីរ៕", 2),
        ("တစ်။ နှစ်။", 2),
        ("Մեկ։ Երկու։", 2),
        ("ერთი. ორი.", 2),
        ("Really?! Yes.", 2),
    ],
)
def test_sentences(text: str, count: int) -> None:
    assert len(sentences(text)) == count
    assert "".join("".join(sentences(text)).split()) == "".join(text.split())


def test_many_marks_take_no_time() -> None:
    assert len(sentences("x. " * 50_000)) > 0
    assert len(sentences("." * 100_000)) == 1
