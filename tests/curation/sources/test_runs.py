from __future__ import annotations

import os
import random
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from curation.sources.runs import Runs


def test_order_is_that_of_a_stable_sort_whatever_the_limit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    chance = random.Random(3)
    records = [
        ((chance.randrange(300), chance.randrange(2)), chance.randbytes(chance.choice((0, 3, 90)))) for _ in range(4000)
    ]
    records += [((2**63 - 1, 255), b"last"), ((0, 0), b"x" * 300_000)]
    expected = sorted(records, key=lambda record: record[0])
    for limit in (1, 5000, 100_000, 10**9):
        with closing(Runs(limit)) as runs:
            for key, data in records:
                runs.add(key, data)
            assert list(runs.sorted()) == expected
            assert list(tmp_path.iterdir()) == []  # the file has no name, so it cannot be left behind


def test_nothing() -> None:
    with closing(Runs(10)) as runs:
        assert list(runs.sorted()) == []


def test_memory_is_not_what_was_added(monkeypatch: pytest.MonkeyPatch) -> None:
    descriptors = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    with closing(Runs(50_000)) as runs:
        for number in range(20_000):
            runs.add((number % 7, 0), b"%d" % number)
            assert runs._size <= 50_000
        assert len(runs._runs) > 50
        found = [data for _, data in runs.sorted()]
    assert len(set(found)) == 20_000
    assert not descriptors or len(os.listdir("/proc/self/fd")) <= descriptors
