from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import shuffled_control
from curation.shard_check import verify
from curation.token_shard import Dataset


def test_the_twin_has_the_same_tokens_in_each_document_in_another_order(corpus: Path, tmp_path: Path) -> None:
    shuffled_control.shuffled_twin(corpus, tmp_path / "twin", seed=0)
    real, twin = Dataset.open(corpus), verify(tmp_path / "twin")
    assert twin.id != real.id
    moved = 0
    for one, other in zip(real.shards(), twin.shards(), strict=True):
        assert np.array_equal(one.lengths, other.lengths)
        assert np.array_equal(one.sources, other.sources)
        for a, b in zip(one.documents(), other.documents(), strict=True):
            assert (b[0], b[-1]) == (a[0], a[-1])
            assert np.array_equal(np.sort(a), np.sort(b))
            moved += int((a != b).sum())
    assert moved > 0.8 * sum(len(shard.tokens) for shard in real.shards())
    assert [e["sha256"] for e in twin.manifest["heldout"]] == [e["sha256"] for e in real.manifest["heldout"]]


def test_order_is_learned(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = [
        "model.dim=48",
        "model.layers=1",
        "model.ffn=96",
        "model.context=32",
        "run.steps=100",
        "schedule.warmup=10",
    ]
    overrides = [word for setting in settings for word in ("--set", setting)]
    arguments = ["--data", str(corpus), "--out", str(tmp_path), "--device", "cpu", *overrides]
    assert shuffled_control.main(arguments) == 0
    said = capsys.readouterr().out
    assert "the real run beats both" in said
    header, *rows = said.split("held-out documents\n")[1].strip().splitlines()[:4]
    assert header.split() == ["source", "documents", "tokens", "unigram", "shuffled", "real"]
    for row in rows:
        unigram, shuffled, real = map(float, row.split()[-3:])
        assert real < min(unigram, shuffled)
