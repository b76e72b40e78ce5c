from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest

from curation.errors import InputError
from trainer.log import Log, curves


def line(step: int, loss: float = 1.0) -> dict[str, float]:
    return {"step": step, "loss": loss, "grad_norm": 1.0}


def test_continuing_keeps_what_the_checkpoint_covers_and_drops_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = Log(path, 0)
    log.append({"step": 0, "heldout": {}})
    for step in (1, 2, 3):
        log.append(line(step, step / 10))
    log.close()
    with path.open("a") as stream:
        stream.write('{"step": 4, "lo')  # killed while writing
    log = Log(path, 2)
    assert [json.loads(text)["step"] for text in path.read_text().splitlines()] == [0, 1, 2]
    assert log.first == line(1, 0.1)
    assert log.last == line(2, 0.2)
    assert log.heldout == {0: {}}
    log.append(line(3, 0.7))
    log.close()
    assert [json.loads(text)["step"] for text in path.read_text().splitlines()] == [0, 1, 2, 3]


@pytest.mark.parametrize("broken", ['{"step": 2, "lo', "null", '{"loss": 1.0}', "\0\0"])
def test_a_damaged_line_is_refused_unless_no_checkpoint_covers_it(tmp_path: Path, broken: str) -> None:
    path = tmp_path / "log.jsonl"
    whole = f"{json.dumps(line(1))}\n"
    path.write_text(f"{whole}{broken}\n{json.dumps(line(3))}\n")
    with pytest.raises(InputError, match=r"log\.jsonl is damaged: line 2"):
        Log(path, 3)
    Log(path, 1).close()  # a crash of the machine left it
    assert path.read_text() == whole


def test_z_score_is_of_the_last_128_and_0_before_eight(tmp_path: Path) -> None:
    log = Log(tmp_path / "log.jsonl", 0)
    for step in range(7):
        log.append(line(step, 100.0 + step % 2))
    assert log.z_score("loss", 5000.0) == 0.0
    for step in range(7, 200):
        log.append(line(step, 1.0 + 2 * (step % 2)))  # mean 2, deviation 1: the hundreds have left the window
    assert log.z_score("loss", 4.5) == pytest.approx(2.5)
    assert log.z_score("grad_norm", 9.0) == 0.0  # never varied: no scale to measure by
    log.close()


def test_a_spike_that_was_skipped_is_no_measure_for_the_next(tmp_path: Path) -> None:
    log = Log(tmp_path / "log.jsonl", 0)
    for step in range(10):
        log.append(line(step, 1.0 + 2 * (step % 2)))  # mean 2, deviation 1
    log.append({**line(10, 500.0), "skipped": "a spike"})
    log.append({**line(11, 500.0), "skipped": "a spike"})
    assert log.z_score("loss", 4.5) == pytest.approx(2.5)
    assert log.last is not None
    assert log.last["step"] == 11
    log.close()
    again = Log(tmp_path / "log.jsonl", 11)
    assert again.z_score("loss", 4.5) == pytest.approx(2.5)
    again.close()


def test_a_run_that_never_saved_begins_its_log_anew(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = Log(path, 0)
    log.append({"step": 0, "heldout": {}})
    log.append(line(1))
    log.close()
    log = Log(path, 0)
    assert path.read_text() == ""
    assert log.first is None
    assert log.heldout == {}
    log.close()


def test_every_number_is_a_curve_and_heldout_losses_are_per_byte() -> None:
    record = {"step": 7, "loss": 2.5, "g": 70, "grad_norm": None, "skipped": "why", "sources": {"web": 2.25, "code": 3}}
    assert dict(curves(record)) == {
        "train/loss": 2.5,
        "train/g": 70,
        "loss_by_source/web": 2.25,
        "loss_by_source/code": 3,
    }
    scores = {"web": {"bits": 30.0, "bytes": 20, "tokens": 9}, "code": {"bits": 10.0, "bytes": 20, "tokens": 9}}
    assert dict(curves({"step": 7, "heldout": scores})) == {
        "heldout_bits_per_byte/web": 1.5,
        "heldout_bits_per_byte/code": 0.5,
        "heldout_bits_per_byte/all": 1.0,
    }
    assert dict(curves({"step": 7, "heldout": {}})) == {}


def points(directory: Path, name: str) -> list[tuple[int, float]]:
    """A curve as TensorBoard shows it."""
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = reader.EventAccumulator(str(directory), size_guidance={"scalars": 0})
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(name)]


def wait_a_second() -> None:
    """Event files are read in the order of their names: the second, and then a number as text, where 10 precedes 9."""
    now = int(time.time())
    while int(time.time()) == now:
        time.sleep(0.01)


def test_tensorboard_shows_each_step_once_after_an_interruption(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    log = Log(tmp_path / "log.jsonl", 0)
    heldout = {"web": {"bits": 16.0, "bytes": 4}}
    for step in (1, 2, 3, 4):
        log.append({**line(step, step * 0.5), "sources": {"web": step * 0.25}})
        if step % 2 == 0:
            log.append({"step": step, "heldout": heldout})
    # no close: the process was killed, and what it wrote is there all the same
    assert points(tmp_path / "tensorboard", "train/loss") == [(1, 0.5), (2, 1.0), (3, 1.5), (4, 2.0)]
    wait_a_second()
    again = Log(tmp_path / "log.jsonl", 2)
    for step in (3, 4, 5):
        again.append({**line(step, step * 8.0), "sources": {"web": step * 4.0}})
    again.close()
    assert points(tmp_path / "tensorboard", "train/loss") == [(1, 0.5), (2, 1.0), (3, 24.0), (4, 32.0), (5, 40.0)]
    assert points(tmp_path / "tensorboard", "loss_by_source/web") == [
        (1, 0.25),
        (2, 0.5),
        (3, 12.0),
        (4, 16.0),
        (5, 20.0),
    ]
    assert points(tmp_path / "tensorboard", "heldout_bits_per_byte/all") == [(2, 4.0)]
    log.close()


def test_tensorboard_forgets_an_attempt_that_never_saved(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    for loss in (1.0, 2.0):
        log = Log(tmp_path / "log.jsonl", 0)
        for step in (1, 2):
            log.append(line(step, loss))
        log.close()
        wait_a_second()
    assert points(tmp_path / "tensorboard", "train/loss") == [(1, 2.0), (2, 2.0)]


def test_without_tensorboard_there_is_the_log_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # as if it were not installed
    log = Log(tmp_path / "log.jsonl", 0)
    log.append(line(1))
    log.close()
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]
