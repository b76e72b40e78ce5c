from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from curation.document import Document, Drop
from curation.errors import ModelError, RecipeError
from curation.filters.c4_bad_words import C4BadWords
from models.make_list import make_list

Make = Callable[..., Document]

LISTS = {
    "en": "grim\nGrey Area\nsem@ntic\n50 shades\n",
    "de": "übel\n",
    "ja": "グロ\n悪い\n",
    "zh": "性\n坏蛋\n",
    "yue": "衰人\n",
    "km": "អាក្រក់\n",
}


@pytest.fixture(scope="module")
def lists(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("lists")
    for language, entries in LISTS.items():
        (root / language).write_text(entries, encoding="utf-8")
        make_list(f"bad-{language}", root, words={"words": [root / language]}, licence="ours")
    return {f"list-bad-{language}": root / f"list-bad-{language}" for language in LISTS}


@pytest.mark.parametrize(
    ("text", "language", "found"),
    [
        ("a grim story", "en", "grim"),
        ("Grim", "en", "grim"),
        ("a\ngrim\nb", "en", "grim"),
        ("(GRIM)!", "en", "grim"),
        ("grimly", "en", None),
        ("pilgrim", "en", None),
        ("grim_2", "en", None),
        ("a grey area.", "en", "grey area"),
        ("a grey areas", "en", None),
        ("grey grey area", "en", "grey area"),
        ("so sem@ntic", "en", "sem@ntic"),
        ("50 shades", "en", "50 shades"),
        ("150 shades", "en", None),
        ("übel", "en", None),
        ("Das ist ÜBEL.", "de", "übel"),
        ("verübeln", "de", None),
        ("あの悪い人", "ja", "悪い"),
        ("グロテスク", "ja", None),  # allowed: a part of common words
        ("他是坏蛋吗", "zh", "坏蛋"),
        ("可能性", "zh", None),
        ("佢係衰人呀", "yue", "衰人"),
        ("គេអាក្រក់ណាស់", "km", "អាក្រក់"),
        ("a grim story", "fr", None),
        ("a grim story", None, None),
        ("", "en", None),
    ],
)
def test_words(document: Make, lists: dict[str, Path], text: str, language: str | None, found: str | None) -> None:
    page = document(text, language=language)
    verdict = C4BadWords(languages=tuple(LISTS)).load(lists)(page)
    assert verdict is page if found is None else verdict == Drop("bad_word", found, "none")


def test_it_names_its_lists(document: Make, lists: dict[str, Path]) -> None:
    assert C4BadWords().artifacts() == ("list-bad-en",)
    assert C4BadWords(lists="mine", languages=("de", "en")).artifacts() == ("list-mine-de", "list-mine-en")
    assert C4BadWords().reads == ("language",)
    assert C4BadWords(language="en").reads == ()
    assert C4BadWords(language="en").load(lists)(document("grim")) == Drop("bad_word", "grim", "none")


def test_what_cannot_be_asked(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="languages"):
        C4BadWords(languages=())
    with pytest.raises(RecipeError, match="languages"):
        C4BadWords(language="fr")
    with pytest.raises(ModelError, match="does not hold a list"):
        C4BadWords().load({"list-bad-en": tmp_path})
