from __future__ import annotations

import json
from pathlib import Path

import pytest

from trainer.log import Log


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
