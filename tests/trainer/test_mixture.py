from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.errors import UserError
from curation.token_shard import MANIFEST, TAKEN_DOWN, Dataset
from tests.trainer.conftest import write_dataset
from tests.trainer.test_take_down import take_down
from trainer import pretrain
from trainer.config import load
from trainer.data import IGNORED, Loader
from trainer.evaluate import heldout, unigram
from trainer.mixture import Blend, Mixture, shares

weighted = st.lists(st.integers(1, 1000), min_size=1, max_size=12).map(lambda each: sorted(each, reverse=True))


def error(weights: Sequence[int], g: int) -> list[Fraction]:
    return [c - Fraction(w * g, sum(weights)) for c, w in zip(shares(weights, g), weights, strict=True)]


@given(weights=weighted, g=st.integers(0, 1 << 60))
def test_shares_stay_within_the_bound_at_every_number_of_sequences(weights: list[int], g: int) -> None:
    assert sum(shares(weights, g)) == g
    for place, off in enumerate(error(weights, g), 1):
        assert abs(off) <= Fraction(1, 2) * (1 + sum(Fraction(1, i) for i in range(1, place)))
    assert max(map(abs, error(weights, g))) < 2


@given(weights=weighted, g=st.integers(0, 1 << 60))
def test_each_further_sequence_adds_to_one_dataset(weights: list[int], g: int) -> None:
    before, after = shares(weights, g), shares(weights, g + 1)
    assert sorted(b - a for a, b in zip(before, after, strict=True)) == [0] * (len(weights) - 1) + [1]


# LLaMA-1, Table 1: shares of the tokens, and epochs over 1.4T of them.
TABLE = {67.0: 1.10, 15.0: 1.06, 4.5: 0.64, 4.5001: 2.45, 4.5002: 2.23, 2.5: 1.06, 2.0: 1.03}


def test_table_1_as_seven_datasets() -> None:
    """Of 200,000 sequences each source has its share to the sequence; so its epochs are those of the table."""
    weights = [round(10 * share) for share in sorted(TABLE, reverse=True)]
    counts = shares(weights, 200_000)
    assert counts == [134_000, 30_000, 9_000, 9_000, 9_000, 5_000, 4_000]
    for count, share in zip(counts, sorted(TABLE, reverse=True), strict=True):
        windows = round(200_000 * share / 100 / TABLE[share])
        assert count / windows == pytest.approx(TABLE[share], abs=0.001)


def test_every_step_has_its_share(three: Mixture) -> None:
    """Not only the run: in any 64 sequences in a row there are as many of each as asked for, give or take two."""
    of = Blend(three, 0, 8).datasets(0, 3000)
    for number, weight in enumerate(three.weights):
        inside = np.convolve(of == number, np.ones(64), "valid")
        assert np.abs(inside - 64 * weight / sum(three.weights)).max() <= 2


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    """A dataset in `tmp_path / name` of so many tokens, all of them 100 + number; sources "web" and `name`."""

    def made(name: str, number: int, tokens: int, **more: object) -> Path:
        documents = [(("web", Path(name).name)[i % 2], np.full(5, 100 + number), 1) for i in range(tokens // 5)]
        return write_dataset(tmp_path / name, [documents[:3], documents[3:]], documents[:2], vocabulary=200, **more)  # type: ignore[arg-type]

    return made


@pytest.fixture
def three(make: Callable[..., Path]) -> Mixture:
    paths = [make(name, number, 200 + 60 * number) for number, name in enumerate("abc")]
    return Mixture.open([f"{path}={weight}" for path, weight in zip(paths, ("0.55", "0.3", ".15"), strict=True)])


def test_each_dataset_is_read_as_if_it_were_alone(three: Mixture) -> None:
    """Epoch after epoch: every window once in each."""
    blend = Blend(three, seed=4, length=8)
    tokens, sources = blend.read(0, 400)
    of = blend.datasets(0, 400)
    for number, dataset in enumerate(three.datasets):
        alone = Loader(dataset, seed=4, length=8)
        count = int((of == number).sum())
        assert count == blend.counts(400)[number] > alone.windows
        assert np.array_equal(tokens[of == number], alone.batch(0, count))
        assert np.array_equal(sources[of == number], alone.sources(0, count) + three.first_source[number])
    assert three.weights == (11, 6, 3)


def test_tokens_come_with_their_dataset_and_source(three: Mixture) -> None:
    tokens, sources = Blend(three, seed=4, length=8).read(7, 300)
    assert three.sources == ["a", "a/web", "b", "b/web", "c", "c/web"]
    assert {(int(t), three.sources[s]) for t, s in zip(tokens.ravel(), sources.ravel(), strict=True)} == {
        (100, "a"), (100, "a/web"), (101, "b"), (101, "b/web"), (102, "c"), (102, "c/web"),
    }  # fmt: skip


def test_what_was_taken_down_from_any_dataset_is_ignored_and_of_no_source(three: Mixture, tmp_path: Path) -> None:
    rows = {"train-00000": [0, 2], "train-00001": [5]}
    less = [take_down(one.directory, tmp_path / f"less-{n}", rows) for n, one in enumerate(three.datasets)]
    left = Mixture(tuple(map(Dataset.open, less)), three.weights)
    before, (tokens, sources) = Blend(three, 4, 8).read(0, 200), Blend(left, 4, 8).read(0, 200)
    gone = tokens == IGNORED
    assert [bool(gone[before[0] == 100 + n].any()) for n in range(3)] == [True] * 3
    assert (sources[gone] == TAKEN_DOWN).all()
    assert np.array_equal(tokens[~gone], before[0][~gone])
    assert np.array_equal(sources[~gone], before[1][~gone])


def test_the_order_of_naming_and_the_scale_of_weights_are_no_matter(three: Mixture) -> None:
    a, b, c = (dataset.directory for dataset in three.datasets)
    again = Mixture.open([f"{c}=3", f"{a}=11.0", f"{b}=6"])
    assert again.ids == three.ids
    assert np.array_equal(Blend(again, 1, 8).read(0, 99)[0], Blend(three, 1, 8).read(0, 99)[0])
    equal = [Mixture.open([f"{x}=1", f"{y}=1"]).ids for x, y in ((a, b), (b, a))]
    assert equal[0] == equal[1]


@given(cuts=st.lists(st.integers(1, 40), min_size=1, max_size=8), readers=st.sampled_from([1, 2, 3]))
@settings(max_examples=12)
def test_any_world_and_any_batch_sizes_read_the_same_stream(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], readers: int
) -> None:
    data = mixture_of(tmp_path_factory)
    whole, g = Blend(data, 2, 8).read(50, readers * sum(cuts)), 50
    for count in cuts:  # steps of readers * count sequences, each reader a run of rows, resumed before every step
        for reader in range(readers):
            own = Blend(data, 2, 8).read(g + reader * count, count)
            at = g - 50 + reader * count
            assert all(np.array_equal(mine, all_[at : at + count]) for mine, all_ in zip(own, whole, strict=True))
        g += readers * count


_MADE: list[Mixture] = []


def mixture_of(factory: pytest.TempPathFactory) -> Mixture:
    """Made once: what hypothesis repeats has no fixtures of its own."""
    if not _MADE:
        root, draw = factory.mktemp("mixture"), np.random.default_rng(0)
        for name, size in (("x", 400), ("y", 300)):
            documents = [(name, draw.integers(3, 200, 9), 1) for _ in range(size // 9)]
            write_dataset(root / name, [documents], [], vocabulary=200)
        _MADE.append(Mixture.open([f"{root / 'x'}=2", f"{root / 'y'}=1"]))
    return _MADE[0]


@pytest.mark.parametrize(
    ("paths", "labels"),
    [
        (["a/shards", "b/shards"], ["a", "b"]),
        (["x/run", "y/run"], ["x/run", "y/run"]),
        (["x/run/shards", "y/run", "z"], ["x/run", "y/run", None]),
    ],
)
def test_datasets_are_called_by_the_ends_of_their_paths(
    make: Callable[..., Path], tmp_path: Path, paths: list[str], labels: list[str | None]
) -> None:
    made = [Dataset.open(make(path, number, 100)) for number, path in enumerate(paths)]
    mixture = Mixture.mixed(made, [Fraction(len(made) - i) for i in range(len(made))])
    assert mixture.labels == [label or f"{tmp_path.name}/z" for label in labels]


def test_what_cannot_be_mixed_is_refused_in_one_line(make: Callable[..., Path], tmp_path: Path) -> None:
    a, b = make("a", 0, 100), make("b", 1, 100)
    other, later = make("other", 2, 100, tokenizer=b"another"), make("later", 3, 100, bos=3)
    shutil.copytree(a, tmp_path / "copy")
    for named, said in (
        ([f"{a}", f"{b}=1"], "each of several needs a weight above 0"),
        ([f"{a}=1", f"{b}=0.0"], "each of several needs a weight above 0"),
        ([f"{a}=1", f"{b}=-1"], "each of several needs a weight above 0"),
        ([f"{a}=1", f"{b}=nan"], "each of several needs a weight above 0"),
        ([f"{a}=1", f"{tmp_path / 'copy'}=1"], "is named twice"),
        ([f"{a}=1", f"{other}=1"], "have different tokenizers"),
        ([f"{a}=1", f"{later}=1"], "have different tokenizers"),
        ([f"{a}=1", f"{tmp_path / 'nothing'}=1"], "holds no manifest.json"),
    ):
        with pytest.raises(UserError, match=said) as caught:
            Mixture.open(named)
        assert "\n" not in str(caught.value)
    b.rename(tmp_path / "b=0.5")
    assert Mixture.open([str(tmp_path / "b=0.5")]).datasets[0].directory == tmp_path / "b=0.5"
    assert Mixture.open([f"{a}=1", f"{tmp_path / 'b=0.5'}=3"]).weights == (3, 1)


def test_heldout_documents_of_all_datasets_and_the_unigram_of_their_mixture(three: Mixture) -> None:
    held = [(three.sources[source], int(tokens[0])) for source, tokens, _ in heldout(three)]
    assert held == [("a", 100), ("a/web", 100), ("b", 101), ("b/web", 101), ("c", 102), ("c/web", 102)]
    bits = unigram(three)
    p = sum(w / 20 * 2.0 ** -unigram(d) for w, d in zip(three.weights, three.datasets, strict=True))
    assert np.allclose(2.0**-bits, p)
    assert bits[100] < bits[101] < bits[102] < bits[50]


OPTIONS = [f"model.{o}" for o in ("dim=16", "layers=1", "heads=2", "kv_heads=1", "ffn=32", "context=8")]
OPTIONS += ["run.sequences=6", "run.steps=4", "run.checkpoint_every=2"]


def test_a_run_on_several_goes_on_with_these_and_their_weights_only(
    three: Mixture, make: Callable[..., Path], tmp_path: Path
) -> None:
    a, b, c = (dataset.directory for dataset in three.datasets)
    config, cpu, out = load("tiny", OPTIONS), torch.device("cpu"), tmp_path / "run"
    training = pretrain.begin(config, three, out, cpu)
    updates = [training.advance() for _ in range(3)]
    assert set(updates[0].sources) <= set(three.sources)
    training.save()
    last = training.advance()
    again = pretrain.begin(config, Mixture.open([f"{b}=6", f"{c}=3", f"{a}=11"]), out, cpu)
    assert (again.step, again.g) == (3, 18)
    assert again.advance() == last
    fourth = make("d", 3, 100)
    for named, said in (
        ([f"{a}=11", f"{b}=6"], "was trained on dataset [0-9a-f]{12}, and "),
        ([f"{a}=11", f"{b}=6", f"{fourth}=3"], "was trained on dataset [0-9a-f]{12}, and "),
        ([f"{a}=11", f"{b}=6", f"{c}=3", f"{fourth}=3"], "with weight 11, .* with weights 11, 6, 3, 3"),
        ([f"{a}=11", f"{b}=6", f"{c}=4"], "with weight 3, .* with weights 11, 6, 4"),
        ([str(a)], "was trained on dataset"),
    ):
        with pytest.raises(UserError, match=said):
            pretrain.begin(config, Mixture.open(named), out, cpu)
    manifest = json.loads((c / MANIFEST).read_text())
    child = {**manifest, "ancestors": [manifest["dataset_id"]], "dataset_id": "f" * 64}
    (c / MANIFEST).write_text(json.dumps(child))  # as after a take-down
    assert pretrain.begin(config, Mixture.open([f"{a}=11", f"{b}=6", f"{c}=3"]), out, cpu).g == 18


def test_a_run_on_several_resumes_in_its_middle_epochs_to_the_bit(three: Mixture, tmp_path: Path) -> None:
    config, cpu = load("tiny", OPTIONS), torch.device("cpu")
    straight = pretrain.begin(config, three, tmp_path / "straight", cpu)
    broken = pretrain.begin(config, three, tmp_path / "broken", cpu)
    for _ in range(4):
        update = straight.advance()
        assert broken.advance() == update
        broken.save()
        broken = pretrain.begin(config, three, tmp_path / "broken", cpu)
    assert math.isfinite(update.loss)
