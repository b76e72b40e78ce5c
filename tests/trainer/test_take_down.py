"""A dataset that documents were taken down from: the same windows in the same order, without loss on what went."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from curation.errors import UserError
from curation.take_down import blank, descendant, entry_of, sources_without
from curation.token_shard import MANIFEST, TAKEN_DOWN, Dataset, Shard
from tests.trainer.conftest import token_losses, write_dataset
from trainer import pretrain
from trainer.config import load
from trainer.data import IGNORED, Loader
from trainer.evaluate import evaluate_unigram, heldout, unigram
from trainer.model import build

CPU = torch.device("cpu")
SHAPE = ["dim=16", "layers=1", "heads=2", "kv_heads=1", "ffn=32", "context=32"]
OPTIONS = [f"model.{o}" for o in SHAPE] + ["run.sequences=4", "run.evaluate_every=50", "run.evaluate_tokens=500"]


def take_down(data: Path, out: Path, rows: dict[str, Sequence[int]]) -> Path:
    """A copy of a dataset without these documents."""
    shutil.copytree(data, out)
    manifest = json.loads((data / MANIFEST).read_text())
    entries = {}
    for name, gone in rows.items():
        blank(Shard(out / name, manifest["dtype"]), gone, 1, 2)
        entries[name] = entry_of(Shard(out / name, manifest["dtype"]), name)
    sources = sources_without(manifest["sources"], [])
    child = descendant(manifest, manifest["dataset_id"], entries, sources, manifest.get("ancestors", []))
    (out / MANIFEST).write_text(json.dumps(child))
    return out


@pytest.fixture(scope="module")
def less(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus without the first and two neighbouring documents of one shard, and the last of the other."""
    last = len(Dataset.open(corpus).shards()[0].lengths) - 1
    rows = {"train-00000": [last], "train-00001": [0, 5, 6], "heldout/reference": [0, 2]}
    return take_down(corpus, tmp_path_factory.mktemp("less") / "dataset", rows)


def test_windows_and_their_order_stay_and_what_went_is_ignored(corpus: Path, less: Path) -> None:
    whole, left = (Loader(Dataset.open(path), seed=1, length=64) for path in (corpus, less))
    assert left.dataset.id != whole.dataset.id
    assert np.array_equal(whole.order(0, 3 * whole.windows), left.order(0, 3 * whole.windows))
    gone = np.concatenate([np.repeat(shard.taken_down, shard.lengths) for shard in left.dataset.shards()])
    assert gone.sum() > 64
    before, after = whole.batch(0, whole.windows), left.batch(0, whole.windows)
    at = whole.order(0, whole.windows)[:, None] * 64 + np.arange(65)
    assert np.array_equal(after == IGNORED, gone[at])
    assert np.array_equal(after[~gone[at]], before[~gone[at]])


def test_tokens_of_a_dataset_that_lost_nothing_are_read_without_its_sources(corpus: Path, tmp_path: Path) -> None:
    """To look for what was taken down is to read the source of each document: of a large dataset, minutes."""
    shutil.copytree(corpus, tmp_path / "copy")
    dataset = Dataset.open(tmp_path / "copy")
    for path in (tmp_path / "copy").glob("*.src"):
        path.unlink()
    assert (Loader(dataset, 0, 64).batch(0, 5) >= 0).all()


def test_what_went_costs_nothing_and_teaches_nothing(less: Path) -> None:
    """The loss of a step is that of the tokens that are left, and so is its gradient."""
    dataset = Dataset.open(less)
    training = pretrain.begin(load("tiny", OPTIONS), dataset, less.parent / "out", CPU)
    epoch = training.loader.loaders[0].batch(0, training.loader.loaders[0].windows // 4 * 4).reshape(-1, 4, 33)
    number = int(np.flatnonzero((epoch == IGNORED).sum(axis=(1, 2)) > 20)[0])
    g, batch = 4 * number, epoch[number]
    stays = batch[:, 1:] != IGNORED
    twin = build(training.config.model, CPU)
    twin.load_state_dict(training.model.state_dict())
    losses = token_losses(twin, torch.from_numpy(batch))
    assert (losses.detach().numpy()[~stays] == 0).all()
    assert (losses.detach().numpy()[stays] > 0).all()
    logits = twin(torch.from_numpy(batch[:, :-1]).clamp(min=0))
    logits.retain_grad()
    mean = (
        -torch.log_softmax(logits, -1)[torch.from_numpy(stays)]
        .gather(1, torch.from_numpy(batch[:, 1:][stays])[:, None])
        .mean()
    )
    mean.backward()
    assert logits.grad is not None
    assert not logits.grad.numpy()[~stays].any()
    norm = torch.nn.utils.clip_grad_norm_(twin.parameters(), 1e9)
    training.g = g
    update = training.advance()
    assert update.loss == pytest.approx(mean.item(), rel=1e-5)
    assert update.norm == pytest.approx(norm.item(), rel=1e-4)


def test_the_loss_of_each_source_is_that_of_its_own_tokens(less: Path, tmp_path: Path) -> None:
    """Against the documents themselves, which alternate between two sources and lost some."""
    whole = Dataset.open(less)
    texts = [document for shard in whole.shards() for document in shard.documents()][:60]
    pieces = [np.concatenate([[1], text[1 : 4 + i % 9], [2]]) for i, text in enumerate(texts)]
    documents = [("ab"[i % 2], piece, 9) for i, piece in enumerate(pieces)]
    tokenizer = (less / "tokenizer.model").read_bytes()
    data = write_dataset(tmp_path / "data", [documents], documents[:1], vocabulary=512, tokenizer=tokenizer)
    gone = [3, 10, 11, 30]
    dataset = Dataset.open(take_down(data, tmp_path / "less", {"train-00000": gone}))
    training = pretrain.begin(load("tiny", [*OPTIONS, "run.microbatch=3"]), dataset, tmp_path / "out", CPU)
    twin = build(training.config.model, CPU)
    twin.load_state_dict(training.model.state_dict())
    for parameter, own in zip(twin.parameters(), training.model.parameters(), strict=True):
        own.data += (spread := torch.linspace(-0.5, 0.5, own.numel()).reshape(own.shape))  # so that losses differ
        parameter.data += spread
    row = np.concatenate(pieces)
    source = np.concatenate([[-1 if i in gone else i % 2] * len(piece) for i, piece in enumerate(pieces)])
    windows = training.loader.loaders[0].order(0, 4)
    at = windows[:, None] * 32 + np.arange(33)
    tokens = np.where(source[at] < 0, IGNORED, row[at])
    losses, of = token_losses(twin, torch.from_numpy(tokens)).detach().numpy(), source[at[:, 1:]]
    assert (of == -1).any()
    means = {name: losses[of == id].mean() for id, name in enumerate("ab")}
    shifted = {name: losses[source[at[:, :-1]] == id].mean() for id, name in enumerate("ab")}
    assert means != pytest.approx(shifted, rel=1e-3)
    assert training.advance().sources == pytest.approx(means, rel=1e-5)


def test_a_step_of_nothing_but_what_went_does_not_fail(corpus: Path, tmp_path: Path) -> None:
    rows = {shard.path.name: range(len(shard.lengths)) for shard in Dataset.open(corpus).shards()}
    dataset = Dataset.open(take_down(corpus, tmp_path / "nothing", rows))
    update = pretrain.begin(load("tiny", OPTIONS), dataset, tmp_path / "out", CPU).advance()
    assert (update.loss, update.norm, update.sources) == (0, 0, {})


def steps(data: Path, out: Path, count: int) -> None:
    config = load("tiny", [*OPTIONS, "run.checkpoint_every=2", "run.steps=6"])
    training = pretrain.begin(config, Dataset.open(data), out, CPU)
    for _ in range(count):
        training.advance()
    training.save()


def test_a_checkpoint_goes_on_with_what_is_left_and_not_the_other_way(
    corpus: Path, less: Path, tmp_path: Path, dataset_of: object
) -> None:
    out = tmp_path / "run"
    steps(corpus, out, 2)
    assert not (Loader(Dataset.open(less), 0, 32).batch(0, 24) == IGNORED).all()
    steps(less, out, 2)
    config = load("tiny", [*OPTIONS, "run.steps=6"])
    resumed = pretrain.begin(config, Dataset.open(less), out, CPU)
    assert (resumed.step, resumed.g) == (4, 16)
    least = take_down(less, tmp_path / "least", {"train-00001": [0, 5, 6, 9]})
    assert Dataset.open(least).ancestors == (Dataset.open(corpus).id, Dataset.open(less).id)
    assert pretrain.begin(config, Dataset.open(least), out, CPU).g == 16
    assert np.array_equal(Loader(Dataset.open(least), 0, 32).order(0, 99), resumed.loader.loaders[0].order(0, 99))
    other = take_down(corpus, tmp_path / "other", {"train-00001": [7]})
    for data in (corpus, other):  # the checkpoint has seen another dataset than these, or than what they came from
        with pytest.raises(UserError, match="was trained on dataset"):
            pretrain.begin(config, Dataset.open(data), out, CPU)


def test_the_report_shows_side_by_side_only_scores_of_the_same_documents(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def report(data: Path, *more: str) -> str:
        config = load("tiny", [*OPTIONS, "run.steps=2", *more])
        training, log = pretrain.train(config, Dataset.open(data), tmp_path / "run", CPU, pretrain.Stop())
        assert log is not None
        capsys.readouterr()
        pretrain.report(training, log, tmp_path / "run")
        return capsys.readouterr().out

    def head(said: str) -> str:
        return said.split("held-out bits per byte\n")[1].splitlines()[0]

    assert head(said := report(corpus)).split() == [
        "source",
        "documents",
        "tokens",
        "unigram",
        "step",
        "0",
        "step",
        "2",
    ]
    assert "other documents" not in said
    said = report(corpus, "run.evaluate_tokens=3000")  # it may change
    assert head(said).split() == ["source", "documents", "tokens", "unigram"]
    assert "step 0 and step 2 had other documents" in said
    held = len(Shard(corpus / "heldout/code", Dataset.open(corpus).manifest["dtype"]).lengths)
    gone = take_down(corpus, tmp_path / "gone", {"heldout/code": range(held)})  # a source vanishes
    assert head(said := report(gone)).split() == ["source", "documents", "tokens", "unigram"]
    assert "step 0 and step 2 had other documents" in said


def test_what_went_is_not_evaluated(corpus: Path, less: Path) -> None:
    whole, left = list(heldout(Dataset.open(corpus))), list(heldout(Dataset.open(less)))
    names = Dataset.open(less).sources
    reference = [d for d in whole if names[d[0]] == "reference"]
    assert len(left) == len(whole) - 2
    expected = reference[1:2] + reference[3:]
    found = [d for d in left if names[d[0]] == "reference"]
    assert all(np.array_equal(a[1], b[1]) and a[2] == b[2] for a, b in zip(found, expected, strict=True))
    assert all(source != TAKEN_DOWN for source, _, _ in heldout(Dataset.open(less), limit=100))
    scores = evaluate_unigram(unigram(Dataset.open(less)), Dataset.open(less))
    assert sum(score.documents for score in scores) == len(left)


@pytest.mark.parametrize("limit", [1 << 30, 3000])
def test_the_unigram_counts_what_is_left(corpus: Path, less: Path, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.evaluate._FITTED", limit)
    counts, seen = np.ones(512), 0
    for shard in Dataset.open(less).shards():
        for tokens, gone in zip(shard.documents(), shard.taken_down, strict=True):
            if not gone:
                counts += np.bincount(tokens[: max(0, limit - seen)], minlength=512)
            seen += len(tokens)
    counts[1] = 0
    with np.errstate(divide="ignore"):
        assert np.allclose(unigram(Dataset.open(less)), -np.log2(counts / counts.sum()))
