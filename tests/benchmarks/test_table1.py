"""LLaMA-1's Table 1 at 1:2,000,000, every number exactly; and what holds of any mixture."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks.table1 import TABLE, TOKENS, mix, mixtures, random_lengths, sizes, write_source
from curation.mixture import Mixture, keys64, prefix_order
from curation.token_shard import Dataset
from pipelines.turns import Source, document_keys, token_part
from trainer.data import Loader, count_sources

SCALE = 2_000_000
MEAN = 100  # tokens a document, so that one is less than 0.1 % of the mixture


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Source]]:
    output = tmp_path_factory.mktemp("table1")
    return output, [
        write_source(str(output), number, name, random_lengths(tokens, number, MEAN), parts=2)
        for number, (name, tokens) in enumerate(sizes(SCALE).items())
    ]


def copies(dataset: Dataset) -> dict[str, Counter[str]]:
    """How often each document of each source is in the shards."""
    found: dict[str, Counter[str]] = {name: Counter() for name in dataset.sources}
    for shard in dataset.shards():
        for source, id in zip(shard.sources.tolist(), shard.provenance()["id"].to_pylist(), strict=True):
            found[dataset.sources[source]][id] += 1
    return found


def lengths(output: Path, source: Source) -> dict[str, int]:
    found = {}
    for number in source.parts:
        with token_part(str(output), source, "train", number, "uint16") as shard:
            found.update(zip(shard.provenance()["id"].to_pylist(), shard.lengths.tolist(), strict=True))
    return found


@pytest.mark.parametrize("kind", ["by epochs", "by weights"])
def test_table_1(sources: tuple[Path, list[Source]], kind: str) -> None:
    output, made = sources
    dataset = mix(str(output), mixtures(SCALE)[kind], 250_000, made)
    rows = dataset.manifest["sources"]
    total = sum(row["mixed_tokens"] for row in rows)
    found = copies(dataset)
    assert [row["tokens"] for row in rows] == list(sizes(SCALE).values())
    assert abs(total - TOKENS / SCALE) < 1000
    assert dataset.manifest["warnings"] == []
    for source, row in zip(made, rows, strict=True):
        share, epochs = TABLE[source.name]
        of = lengths(output, source)
        assert row["share_asked"] == pytest.approx(share, abs=1e-4)
        assert row["epochs_asked"] == pytest.approx(epochs, rel=1e-3)
        one = max(of.values())
        assert abs(row["share"] - share) <= max(0.001, one / total)
        assert abs(row["mixed_tokens"] - row["tokens_asked"]) <= one
        assert row["epochs"] == row["mixed_tokens"] / row["tokens"]
        # Every whole pass is complete, and in the fractional one nothing is repeated.
        assert set(found[source.name].values()) == {int(epochs), int(epochs) + 1} - {0}
        assert set(found[source.name]) <= set(of)
        assert len(found[source.name]) == len(of) or epochs < 1
        assert sum(of[id] * count for id, count in found[source.name].items()) == row["mixed_tokens"]
        # The fractional pass is a prefix of the keyed order.
        order = prefix_order(keys64(document_keys(list(of))), 0).tolist()
        extra = [found[source.name][id] > int(epochs) for _, id in sorted(zip(order, of, strict=True))]
        assert extra == sorted(extra, reverse=True)
    read = count_sources(Loader(dataset, seed=0, length=128))
    assert read.tolist() == [row["mixed_tokens"] for row in rows]


def test_a_larger_fraction_holds_the_smaller_one(sources: tuple[Path, list[Source]]) -> None:
    output, made = sources
    wikipedia = made[3]
    alone = Source(0, *[getattr(wikipedia, name) for name in Source.__slots__[1:]])
    seen = [
        set(copies(mix(str(output), Mixture(epochs={"wikipedia": part}), 50_000, [alone]))["wikipedia"])
        for part in (0.1, 0.5)
    ]
    assert seen[0] < seen[1] < set(lengths(output, wikipedia))


def test_documents_of_all_sources_are_spread_evenly(sources: tuple[Path, list[Source]]) -> None:
    """Chi-square over 20 stretches of the order, by source; and no source keeps its own order or company."""
    output, made = sources
    dataset = mix(str(output), Mixture(), 250_000, made)
    of = np.concatenate([shard.sources for shard in dataset.shards()])
    for source in range(len(made)):
        places = np.flatnonzero(of == source)
        counts, _ = np.histogram(places, bins=20, range=(0, len(of)))
        chi = float(((counts - len(places) / 20) ** 2).sum() / (len(places) / 20))
        assert chi < 43.8  # 19 degrees of freedom: 1 in 1,000
    after = of[1:][of[:-1] == 3]  # what follows a document of Wikipedia is as likely of each source as anywhere
    expected = np.bincount(of, minlength=7) / len(of) * len(after)
    assert float(((np.bincount(after, minlength=7) - expected) ** 2 / expected).sum()) < 22.5  # 6 degrees
    ids = [id for shard in dataset.shards() for id in shard.provenance()["id"].to_pylist()]
    numbers = np.array([int(id.partition("#")[2]) for id, source in zip(ids, of, strict=True) if source == 0])
    assert abs(np.corrcoef(numbers, np.arange(len(numbers)))[0, 1]) < 5 / np.sqrt(len(numbers))
