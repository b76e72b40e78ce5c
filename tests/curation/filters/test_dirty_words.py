from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from curation.document import Document, Drop
from curation.errors import RecipeError
from curation.filters.dirty_words import BUNDLED, DirtyWords
from models.artifact import open_artifact
from models.make_list import make_list

Make = Callable[..., Document]


def judged(page: Document, step: DirtyWords, models: Path | None = None) -> Drop | None:
    verdict = step.load({name: open_artifact(models or Path(), name) for name in step.artifacts()})(page)
    if isinstance(verdict, Drop):
        return verdict
    assert verdict is page
    return None


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("dirty")
    for language, entries in {
        "de": "Mist\nso ein Mist\nSau\nSau Bande\nBande\n",
        "ja": "くそ\n",
        "hi": "गंदा\n",
        "th": "บ้า\n",
    }.items():
        (root / language).write_text(entries, encoding="utf-8")
        make_list(f"dirty-{language}", root, words={"words": [root / language]}, licence="ours")
    return root


@pytest.mark.parametrize(
    ("dirty", "total", "drop"),
    [
        (2, 20, None),  # too few to say
        (3, 300, None),
        (3, 299, Drop("dirty_words", 0.01, 0.01)),
        (3, 20, Drop("dirty_words", 0.15, 0.01)),
        (10, 1000, None),
        (11, 1000, Drop("dirty_words", 0.011, 0.01)),
    ],
)
def test_count_and_share(document: Make, dirty: int, total: int, drop: Drop | None) -> None:
    text = " ".join(["fuck"] * dirty + ["word"] * (total - dirty))
    assert judged(document(text, language="en"), DirtyWords()) == drop


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Fuck FUCK fuck", 3),
        ("«fuck», fuck! (fuck)", 3),
        ("fuckable unfuck fuc", 0),
        ("hot girls and sex toys", 2),
        ("hot and girls, sex or toys", 0),
        ("sex sex sex", 0),
        ("Scunthorpe cockpit analysis pussycat cumulus titsworth", 0),
        ("lesbian gay bisexual trans queer breast sex education", 0),
    ],
)
def test_words_and_phrases(document: Make, text: str, count: int) -> None:
    page = document(f"{text} {'word ' * 10}", language="en")
    step = DirtyWords(min_count=max(count, 1))
    assert (judged(page, step) is not None) == bool(count)
    assert judged(page, DirtyWords(min_count=count + 1)) is None


@pytest.mark.parametrize("language", [None, "", "und", "de", "fr"])
def test_a_page_in_another_language_is_not_judged(document: Make, language: str | None) -> None:
    assert judged(document("fuck " * 100, language=language), DirtyWords()) is None


@pytest.mark.parametrize(
    ("language", "text", "count"),
    [
        ("de", "Mist! So ein MIST, mistig.", 2),
        ("de", "Sau Bande! Bande, Sau.", 3),  # the longer entry holds the shorter
        ("ja", "くそ、なんてくそだ。くそったれ。", 3),
        ("hi", "यह गंदा है। गंदा!", 2),
        ("th", "บ้าไปแล้วบ้า", 2),
    ],
)
def test_lists_of_ones_own(document: Make, models: Path, language: str, text: str, count: int) -> None:
    step = DirtyWords(lists="dirty", languages=("de", "hi", "ja", "th"), min_count=count)
    page = document(text, language=language)
    assert judged(page, step, models) is not None
    assert judged(page, DirtyWords(lists="dirty", languages=step.languages, min_count=count + 1), models) is None
    assert judged(document("fuck " * 9, language="en"), step, models) is None


def test_every_bundled_entry_is_found(document: Make) -> None:
    for entry in BUNDLED["en"]:
        assert judged(document(entry, language="en"), DirtyWords(min_count=1)) is not None, entry


def test_options() -> None:
    assert DirtyWords().artifacts() == ()
    assert DirtyWords(lists="dirty", languages=("en", "de")).artifacts() == ("list-dirty-en", "list-dirty-de")
    with pytest.raises(RecipeError, match="no list for 'de'"):
        DirtyWords(languages=("en", "de"))
    with pytest.raises(RecipeError, match="languages is empty"):
        DirtyWords(languages=())
