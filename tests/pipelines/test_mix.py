from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.table1 import mix, random_lengths, write_source
from curation.errors import RecipeError
from curation.mixture import TOLERANCE, Mixture, prefix_order
from curation.token_shard import SUFFIXES
from pipelines import runner, turns
from pipelines.mix import heldout_names, in_passes
from pipelines.stages import Run
from pipelines.turns import BINS, Source, turns_of


def files(output: Path) -> dict[str, str]:
    found = sorted(path for suffix in SUFFIXES for path in (output / "shards").rglob(f"*{suffix}"))
    return {str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def make(output: Path, parts: int = 1, memory: int = 1 << 30, shard_tokens: int = 5000, **mixture: Any) -> Any:
    held = random_lengths(5000, 7, 50)
    sources = [
        write_source(str(output), 0, "books", random_lengths(9000, 1, 60), parts, held),
        write_source(str(output), 1, "empty", [], parts),
        write_source(str(output), 2, "web", random_lengths(20_000, 2, 40), parts, held[:1]),
    ]
    options = mixture or {"epochs": {"books": 2.5, "web": 0.3, "empty": 1.0}}
    return mix(str(output), Mixture(**options), shard_tokens, sources, memory)


@pytest.mark.parametrize(("parts", "memory"), [(8, 1 << 30), (2, 400_000), (2, 1)])
def test_the_shards_depend_neither_on_parts_nor_on_memory(
    tmp_path: Path, reference: dict[str, str], monkeypatch: pytest.MonkeyPatch, parts: int, memory: int
) -> None:
    jobs = executed(monkeypatch)
    make(tmp_path, parts, memory)
    assert files(tmp_path) == reference
    passes = [job for job in jobs if job.startswith("shards-")]
    assert passes == [f"shards-{number}" for number in range(len(passes))]
    if memory == 1 << 30:
        assert len(passes) == 1
    elif memory == 1:
        assert len(passes) == 6 + 3  # a shard each
    else:
        assert 1 < len(passes) < 6 + 3


def executed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the pipelines that are run from here on."""
    names: list[str] = []
    make_executor = runner.executor

    def executor(flags: Sequence[str]) -> runner.Execute:
        execute = make_executor(flags)

        def noted(name: str, build: runner.Build, light: bool = False) -> None:
            names.append(name)
            execute(name, build, light)

        return noted

    monkeypatch.setattr(runner, "executor", executor)
    return names


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Hashes of the shards, from one part a source, in one pass."""
    output = tmp_path_factory.mktemp("reference")
    make(output)
    found = files(output)
    assert sum(name.endswith(".bin") for name in found) == 6 + 3
    return found


def test_a_large_held_out_side_is_several_shards(tmp_path: Path) -> None:
    dataset = make(tmp_path / "several", shard_tokens=2000)
    names = [entry["name"] for entry in dataset.manifest["heldout"]]
    assert names == ["heldout/books.00000", "heldout/books.00001", "heldout/empty", "heldout/web"]
    one = make(tmp_path / "one", shard_tokens=100_000)
    assert [entry["name"] for entry in one.manifest["heldout"]] == ["heldout/books", "heldout/empty", "heldout/web"]
    together = [shard.provenance()["id"].to_pylist() for shard in dataset.heldout()]
    apart = [shard.provenance()["id"].to_pylist() for shard in one.heldout()]
    assert together[0] + together[1] == apart[0]  # cut, and in the same order
    assert together[2:] == apart[1:]
    assert {int(source) for shard in dataset.heldout()[:2] for source in shard.sources} == {0}
    assert all(abs(len(shard.tokens) - 2500) < 700 for shard in dataset.heldout()[:2])


@pytest.mark.parametrize(("tokens", "count"), [(0, 1), (1, 1), (149, 1), (151, 2), (1000, 10)])
def test_how_many_held_out_shards(tokens: int, count: int) -> None:
    assert len(heldout_names(Source(0, "web", (), "", 0, 0, 0, tokens), 100)) == count


def test_the_manifest_says_what_was_asked_and_what_came_of_it(tmp_path: Path) -> None:
    dataset = make(tmp_path, weights={"books": 3.0, "web": 1.0}, tokens=10_000)
    books, empty, web = dataset.manifest["sources"]
    assert (books["share_asked"], empty["share_asked"], web["share_asked"]) == (0.75, 0.0, 0.25)
    assert (books["tokens_asked"], web["tokens_asked"]) == (7500, 2500)
    assert books["epochs_asked"] == pytest.approx(7500 / 9000)
    of = np.concatenate([np.repeat(shard.sources, shard.lengths) for shard in dataset.shards()])
    assert [source["mixed_tokens"] for source in dataset.manifest["sources"]] == np.bincount(of, minlength=3).tolist()
    assert books["share"] == books["mixed_tokens"] / len(of)
    assert dataset.manifest["warnings"] == ["empty has no training tokens, so nothing of it is in the shards"]


def test_one_document_that_is_larger_than_its_budget_is_said_so(tmp_path: Path) -> None:
    sources = [
        write_source(str(tmp_path), 0, "books", [5000]),
        write_source(str(tmp_path), 1, "web", random_lengths(20_000, 2, 40)),
    ]
    dataset = mix(str(tmp_path), Mixture(weights={"books": 0.05, "web": 0.95}, tokens=10_000), 2000, sources)
    assert dataset.manifest["sources"][0]["mixed_tokens"] == 0
    assert any("nothing of books is in the shards: 500 tokens" in line for line in dataset.manifest["warnings"])


def test_more_passes_than_can_be_numbered_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="'books' would be seen 65,536 times"):
        make(tmp_path, epochs={"books": 65_536.0})


LENGTHS = st.lists(st.integers(2, 400), min_size=1, max_size=60)


@given(
    st.lists(st.tuples(st.integers(1, 100), LENGTHS), min_size=1, max_size=6),
    st.integers(20_000, 100_000),
    st.integers(0, 3),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_shares_hold_and_fractional_passes_are_prefixes(
    monkeypatch: pytest.MonkeyPatch, given: list[tuple[int, list[int]]], tokens: int, seed: int
) -> None:
    """Random sources, with the sums over parts taken here: no shares off by more than 0.1 points or one document."""
    keys = {
        f"s{n}": np.random.default_rng(n).integers(0, 1 << 64, len(of), np.uint64) for n, (_, of) in enumerate(given)
    }
    lengths = {f"s{n}": np.array(of, dtype=np.uint64) for n, (_, of) in enumerate(given)}

    def summed(run: Run, sources: Any, seed: int, edges: dict[str, int] | None, dtype: str) -> dict[str, np.ndarray]:
        found = {}
        for name in (source.name for source in sources):
            order = prefix_order(keys[name], seed)
            bins = (order >> np.uint64(48)).astype(np.int64)
            found[name] = np.array([np.bincount(bins, w, BINS) for w in (lengths[name], None)]).astype(np.uint64)
            if edges is not None:
                found[name] = np.array([order, lengths[name]])[:, bins == edges[name]]
        return found

    sources = [Source(n, f"s{n}", (0,), "", len(of), sum(of), 0, 0) for n, (_, of) in enumerate(given)]
    mixture = Mixture(weights={f"s{n}": float(weight) for n, (weight, _) in enumerate(given)}, tokens=tokens, seed=seed)
    epochs = mixture.passes({source.name: source.tokens for source in sources})
    with monkeypatch.context() as patch:
        patch.setattr(turns, "_over_parts", summed)
        found = turns_of(None, sources, epochs, seed, "uint16")  # type: ignore[arg-type]
    total = sum(turn.tokens for turn in found.values())
    largest = max(max(of) for _, of in given)
    whole = sum(weight for weight, _ in given)
    for source, (weight, of) in zip(sources, given, strict=True):
        turn = found[source.name]
        inside = prefix_order(keys[source.name], seed) < np.uint64(turn.limit)
        assert turn.tokens == turn.whole * source.tokens + int(lengths[source.name][inside].sum())
        assert turn.documents == turn.whole * source.documents + int(inside.sum())
        assert turn.whole == int(epochs[source.name]) or turn.whole == round(epochs[source.name])
        assert abs(turn.tokens - tokens * weight / whole) <= max(of) + 1
        assert abs(turn.tokens / total - weight / whole) <= max(TOLERANCE, largest / total)
    assert abs(total - tokens) <= largest + len(given)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30), st.integers(1, 200))
def test_a_pass_fits_the_memory_and_is_no_smaller_than_need_be(tokens: list[int], fitting: int) -> None:
    sizes = {str(number): size for number, size in enumerate(tokens)}
    groups = list(in_passes(sizes, fitting))
    assert [name for group in groups for name in group] == list(sizes)
    held = [[sizes[name] for name in group] for group in groups]
    assert all(len(group) == 1 or sum(group) <= fitting for group in held)
    assert all(sum(group) + following[0] > fitting for group, following in pairwise(held))
