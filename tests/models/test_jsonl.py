from __future__ import annotations

from pathlib import Path

import pytest

from curation.errors import InputError
from models.jsonl import rows


def test_objects_come_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes('{"text": "é\u2028", "n": 1}\r\n\n   \n{"text": ""}'.encode())
    assert list(rows(path, "text")) == [{"text": "é\u2028", "n": 1}, {"text": ""}]
    assert list(rows(path)) == list(rows(path, "text"))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{", 'a JSON object with "text" and "url"'),
        (b"[" * 100_000, "a JSON object"),
        (b"[]", "a JSON object"),
        (b'{"text": "a"}', "a JSON object"),
        (b'{"text": "a", "url": null}', "a JSON object"),
        (b'{"text": 1, "url": "a"}', "a JSON object"),
        (b'{"text": "\xff", "url": "a"}', "UTF-8"),
        ('{"text": "a", "url": "a"}'.encode("utf-16"), "UTF-8"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: bytes, said: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"text": "a", "url": "b"}\n\n' + line + b"\n")
    found = rows(path, "text", "url")
    assert next(found) == {"text": "a", "url": "b"}
    with pytest.raises(InputError) as caught:
        next(found)
    assert f"{path}: line 3 is not {said}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        list(rows(tmp_path / "none", "text"))
