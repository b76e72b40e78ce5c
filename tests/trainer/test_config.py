from __future__ import annotations

from pathlib import Path

import pytest

from curation.errors import UserError
from trainer.config import PRESETS, changes, from_dict, load, presets


def test_every_preset_loads_and_survives_the_round_trip_that_a_checkpoint_makes() -> None:
    assert {"tiny", "125m", "llama1-7b", "llama2-7b", "llama3-8b"} <= set(presets())
    for name in presets():
        config = load(name)
        assert from_dict(config.to_dict()) == config


def test_override_takes_the_type_of_the_setting() -> None:
    config = load("tiny", ["run.steps=7", "optimiser.lr=1", "model.tied=true", "model.vocabulary=999"])
    assert (config.run.steps, config.optimiser.lr, config.model.tied, config.model.vocabulary) == (7, 1.0, True, 999)
    assert type(config.optimiser.lr) is float


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("run.step=5", "no setting run.step; did you mean run.steps?"),
        ("runs.steps=5", "no setting runs; did you mean run?"),
        ("run.steps", "section.key=value"),
        ("steps=5", "section.key=value"),
        ("run.steps=5.0", "run.steps = 5.0: it takes a value of type int"),
        ("run.steps=true", "type int"),
        ("optimiser.lr=fast", "type float"),
        ("run.steps=0", "above 0"),
        ("schedule.final=-0.1", "0 or more"),
        ("optimiser.beta2=1.0", "below 1"),
        ("run.skip_z=-1.0", "0 or more"),
        ("parallel.shard=0", "above 0"),
        ("parallel.shard=-2", "above 0"),
        ("parallel.tensor=-1", "above 0"),
        ("parallel.tensors=2", "did you mean parallel.tensor?"),
        ("model.heads=3", "heads must divide dim"),
        ("model.kv_heads=3", "kv_heads must divide heads"),
    ],
)
def test_a_mistaken_override_is_the_users_and_says_how_to_mend_it(override: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        load("tiny", [override])
    assert said in str(error.value)


def test_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean llama1-7b"):
        load("lama1-7b")


def test_a_preset_may_be_a_file_and_must_be_complete_and_toml(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        "[model]\ndim = 8\nlayers = 1\nheads = 2\nkv_heads = 1\nffn = 8\ncontext = 4\n[run]\nsteps = 1\nsequences = 1\n"
    )
    assert load(str(path)).model.head_dim == 4
    path.write_text("[model]\ndim = 8\n")
    with pytest.raises(UserError, match=r"model\.layers is not set"):
        load(str(path))
    for content in (b"[model\n", b"\xff\xfe"):
        path.write_bytes(content)
        with pytest.raises(UserError, match="not TOML"):
            load(str(path))
    path.write_text("model = 3\n")
    with pytest.raises(UserError, match="--set"):
        load(str(path), ["model.dim=8"])
    with pytest.raises(UserError, match="model is a section of settings, not 3"):
        load(str(path))


@pytest.mark.parametrize("setting", ["optimiser.lr=inf", "optimiser.lr=nan", "run.seed=9223372036854775808"])
def test_numbers_that_no_machine_counts_with_are_refused(setting: str) -> None:
    with pytest.raises(UserError, match=setting.split("=")[0]):
        load("tiny", [setting])


def test_sequences_longer_than_the_preset_is_made_for_are_refused(tmp_path: Path) -> None:
    assert load("llama1-7b", ["model.context=2048"]).model.context == 2048
    with pytest.raises(
        UserError, match=r"model\.context = 2049: llama1-7b is made for sequences of at most 2048 tokens"
    ):
        load("llama1-7b", ["model.context=2049"])
    own = tmp_path / "own.toml"
    own.write_text((PRESETS / "llama1-7b.toml").read_text().replace("context = 2048", "context = 4096"))
    assert load(str(own)).model.context == 4096


def test_changes_names_what_differs_but_not_what_may() -> None:
    old, new = (
        load("tiny"),
        load("tiny", ["run.seed=9", "run.checkpoint_every=3", "optimiser.lr=0.5", "parallel.tensor=4"]),
    )
    assert changes(old, old) == []
    assert changes(old, new) == [f"optimiser.lr was {old.optimiser.lr}, now 0.5", "run.seed was 0, now 9"]
