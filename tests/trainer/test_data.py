from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.errors import InputError
from curation.token_shard import Dataset
from tests.trainer.conftest import write_dataset
from trainer.data import Loader, count_sources, permute
from trainer.mixture import Blend, Mixture

Make = Callable[..., Path]


@given(size=st.integers(1, 3000), key=st.binary(min_size=1, max_size=20))
def test_permute_is_a_bijection_of_every_size(size: int, key: bytes) -> None:
    assert np.array_equal(np.sort(permute(np.arange(size), size, key)), np.arange(size))


@given(size=st.integers(1, 1 << 50), data=st.data())
@settings(max_examples=50)
def test_permute_of_a_part_is_the_part_of_the_permutation(size: int, data: st.DataObject) -> None:
    index = np.array(data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=8)))
    together = permute(index, size, b"key")
    assert [int(permute(np.array([i]), size, b"key")[0]) for i in index] == together.tolist()
    assert ((together >= 0) & (together < size)).all()


def test_permute_sends_each_index_everywhere_and_neighbours_apart() -> None:
    """Over 1,600 keys each of 8 images of 0 comes 200 times, give or take 5 deviations; and no trend is left."""
    images = [int(permute(np.array([0]), 8, str(key).encode())[0]) for key in range(1600)]
    counts = np.bincount(images, minlength=8)
    assert np.abs(counts - 200).max() < 5 * np.sqrt(200 * 7 / 8)
    order = permute(np.arange(100_000), 100_000, b"k").astype(float)
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 0.015
    assert abs(np.corrcoef(order, np.arange(100_000))[0, 1]) < 0.015


def test_permute_has_not_changed() -> None:
    """These values are the order of the data of every run there was: changing them breaks resuming."""
    assert permute(np.arange(10), 10, b"winnow").tolist() == GOLDEN


GOLDEN = [7, 1, 8, 0, 3, 9, 6, 4, 5, 2]


@pytest.fixture
def row(dataset_of: Make) -> Dataset:
    """Tokens 0 … 102 in four shards, one of them empty; windows of 8: 12 of them, 6 tokens left over."""
    shards = [[range(5), range(5, 40)], [], [range(40, 41)], [range(41, 103)]]
    return Dataset.open(dataset_of(shards, {}, vocabulary=200))


def test_the_order_has_not_changed(row: Dataset) -> None:
    """Two epochs and a bit, as they were when there was one dataset only: runs of then go on with these."""
    assert row.id.startswith("c66f591a1aee")
    loader, blend = Loader(row, seed=5, length=8), Blend(Mixture.of(row), seed=5, length=8)
    assert loader.order(0, 27).tolist() == ORDER
    for tokens in (loader.batch(0, 60), blend.read(0, 60)[0]):
        assert hashlib.sha256(tokens.astype("<i8").tobytes()).hexdigest() == STREAM


ORDER = [1, 7, 2, 0, 6, 11, 8, 3, 10, 5, 4, 9, 8, 5, 4, 11, 3, 9, 2, 7, 1, 0, 10, 6, 6, 5, 10]
STREAM = "c46983be2250842ef9a421b8a89c15564e122a42e96039f2ab4f5fb679a89bfc"


def test_windows_overlap_by_one_and_an_epoch_predicts_each_token_once(row: Dataset) -> None:
    loader = Loader(row, seed=0, length=8)
    assert (loader.tokens, loader.windows) == (103, 12)
    epoch = loader.batch(0, 12)
    assert epoch.shape == (12, 9)
    assert (np.diff(epoch, axis=1) == 1).all()  # the long row is 0, 1, 2, …, across shards too
    assert sorted(epoch[:, 1:].ravel().tolist()) == list(range(1, 97))


def test_each_epoch_has_its_own_order_and_sees_every_window(row: Dataset) -> None:
    loader = Loader(row, seed=0, length=8)
    first, second = loader.order(0, 12).tolist(), loader.order(12, 12).tolist()
    assert sorted(first) == sorted(second) == list(range(12))
    assert first != second


def test_the_order_depends_on_seed_length_and_dataset_alone(row: Dataset, dataset_of: Make) -> None:
    order = Loader(row, 0, 8).order(0, 12).tolist()
    assert Loader(Dataset.open(row.directory), 0, 8).order(0, 12).tolist() == order
    assert Loader(row, 1, 8).order(0, 12).tolist() != order
    other = Dataset.open(dataset_of([[range(102, -1, -1)]], {}, vocabulary=200))
    assert Loader(other, 0, 8).order(0, 12).tolist() != order


@given(cuts=st.lists(st.integers(1, 9), min_size=1, max_size=12))
@settings(max_examples=30)
def test_batches_of_any_size_resumed_anywhere_are_the_same_stream(corpus: Path, cuts: list[int]) -> None:
    loader = Loader(Dataset.open(corpus), seed=3, length=128)
    start = loader.windows - 5  # so that batches straddle the edge of an epoch
    whole, g, pieces = loader.batch(start, sum(cuts)), start, []
    for count in cuts:
        pieces.append(Loader(loader.dataset, 3, 128).batch(g, count))
        g += count
    assert np.array_equal(np.concatenate(pieces), whole)


@pytest.mark.parametrize(("length", "windows"), [(102, 1), (51, 2), (52, 1), (101, 1), (1, 102)])
def test_sizes_at_the_edge(row: Dataset, length: int, windows: int) -> None:
    loader = Loader(row, 0, length)
    assert loader.windows == windows
    assert loader.batch(0, windows).shape == (windows, length + 1)


def test_less_than_one_sequence_is_refused(row: Dataset) -> None:
    with pytest.raises(InputError, match="103 training tokens, which is less than one sequence of 104"):
        Loader(row, 0, 103)


def test_coverage_counts_predictions(row: Dataset) -> None:
    loader = Loader(row, 0, 8)
    part, once, more = loader.coverage(5), loader.coverage(12), loader.coverage(30)
    assert (part.available, part.scheduled, part.repeated, part.unseen) == (103, 40, 0, 62)
    assert (once.scheduled, once.repeated, once.unseen) == (96, 0, 6)
    assert (more.scheduled, more.repeated, more.unseen) == (240, 144, 6)


@pytest.fixture
def two(tmp_path: Path) -> Dataset:
    """Three shards, the second empty, of documents whose tokens are all 100 + the id of their source, of three."""
    draw = np.random.default_rng(0)
    names = ["a", "b", "c"]
    documents = [(names[n], np.full(size, 100 + n), 1) for n, size in draw.integers((0, 1), (3, 9), (60, 2)).tolist()]
    return Dataset.open(write_dataset(tmp_path / "two", [documents[:35], [], documents[35:]], [], vocabulary=200))


@pytest.mark.parametrize("length", [1, 2, 7, 64])
def test_each_token_has_the_source_of_its_document(two: Dataset, length: int) -> None:
    loader = Loader(two, seed=1, length=length)
    sources = loader.sources(3, 2 * loader.windows)
    assert sources.dtype == np.uint16
    assert np.array_equal(sources + 100, loader.batch(3, 2 * loader.windows))


@pytest.mark.parametrize("length", [1, 5, 50])
def test_sources_are_counted_to_the_token(two: Dataset, length: int) -> None:
    """Also the first token and the last few, which no window predicts."""
    loader = Loader(two, seed=1, length=length)
    tokens = np.concatenate([shard.tokens for shard in two.shards()])
    assert count_sources(loader, at_once=4).tolist() == np.bincount(tokens - 100, minlength=3).tolist()


def test_reading_sources_maps_files_and_copies_none_of_them(two: Dataset) -> None:
    loader = Loader(two, seed=1, length=8)
    loader.sources(0, 1)
    arrays = [array for shard in loader.shards for array in (shard.mapped_pointers, shard.mapped_sources)]
    mapped = [array for array in arrays if len(array)]
    assert len(mapped) == 4
    assert all(isinstance(array, np.memmap) for array in mapped)


@pytest.mark.parametrize("length", [1, 7, 64, 200])
def test_every_token_of_a_window_is_in_one_piece_of_one_document(two: Dataset, length: int) -> None:
    loader = Loader(two, seed=1, length=length)
    for window in range(loader.windows):
        pieces = list(loader.pieces(window * length, length + 1))
        assert np.array_equal(
            np.concatenate([p.shard.tokens[p.start : p.end] for p in pieces]), loader._read(window * length)
        )
        for piece in pieces:
            first, last = piece.shard.offsets[piece.document : piece.document + 2]
            assert first <= piece.start < piece.end <= last
            assert piece.source == piece.shard.sources[piece.document]
        cut = [p for p in pieces[1:-1] if (p.end - p.start) != p.shard.lengths[p.document]]
        assert cut == []  # only the first and the last document of a window can be cut
