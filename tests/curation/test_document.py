from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, fields

import pytest

from curation.document import SCORE_FIELDS, Document, Drop, document_id, document_key

DOCUMENT = Document(id="web:crawl-data/a.warc.gz#17", url="u", date="d", digest="s", text="t")


def test_id_is_source_file_and_locator() -> None:
    assert document_id("web", "crawl-data/a.warc.gz", "17") == DOCUMENT.id


@pytest.mark.parametrize("file", ["a", "a:b", "a#b:c"])
def test_source_is_what_stands_before_the_first_colon(file: str) -> None:
    assert (
        Document(id=document_id("wikipedia", file, "1:2#3"), url="", date="", digest="", text="").source == "wikipedia"
    )


def test_key_never_changes() -> None:
    # 16 bytes of BLAKE2b, as `b2sum -l 128` prints them: stored in datasets, so it is pinned here.
    assert document_key("") == bytes.fromhex("cae66941d9efbd404e4d88758ea67670")
    assert DOCUMENT.key == document_key(DOCUMENT.id)
    assert DOCUMENT.key != document_key(DOCUMENT.id + " ")
    assert len(document_key("文書:é#1")) == 16


def test_score_fields_are_the_fields_that_begin_as_none() -> None:
    assert tuple(field.name for field in fields(Document) if field.default is None) == SCORE_FIELDS


def test_values_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        DOCUMENT.text = ""  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        Drop("r", 1, 2).rule = ""  # type: ignore[misc]


def test_a_drop_has_no_truth_value() -> None:
    with pytest.raises(TypeError, match="no truth value"):
        bool(Drop("r", 1, 2))


def test_values_are_equal_after_pickling() -> None:
    drop = Drop("too_few_words", 49, 50)
    assert pickle.loads(pickle.dumps((DOCUMENT, drop))) == (DOCUMENT, drop)
    assert drop not in (Drop("too_few_words", 49, 51), Drop("too_few_words", 48, 50), Drop("too_many_words", 49, 50))
