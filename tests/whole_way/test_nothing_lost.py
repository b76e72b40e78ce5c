"""Swallow one thing in each place that handles things, and the run must fail."""

from __future__ import annotations

import pytest

from curation.errors import LedgerError
from pipelines import apply_steps, curate, dedup, mix, part_files, read, run, tokens
from tests.whole_way.test_same_bytes import arguments


def swallow_first(function):
    """A generator function that loses its first item."""

    def wrapped(*args, **kwargs):
        items = iter(function(*args, **kwargs))
        next(items, None)
        yield from items

    return wrapped


def lose_record(patch):
    patch.setattr(read, "read_range", swallow_first(read.read_range))


def lose_last_record(patch):
    whole = read.read_range
    patch.setattr(read, "read_range", lambda *args: iter(list(whole(*args))[:-1]))


def lose_page(patch):
    patch.setattr(read.Reading, "pages", swallow_first(read.Reading.pages))


def lose_extracted(patch):
    patch.setattr(curate, "extract", swallow_first(curate.extract))


def lose_between_steps(patch):
    patch.setattr(curate, "apply_steps", swallow_first(curate.apply_steps))


def lose_in_a_step(patch):
    judge = apply_steps._judge
    patch.setattr(apply_steps, "_judge", lambda *args: judge(*args)[1:])


def lose_row(patch):
    add = part_files._TableWriter.add

    def forgetful(self, row):
        if self._rows or "text" not in row:
            add(self, row)
        else:
            self._rows.append(row)
            self._rows.pop()

    patch.setattr(part_files._TableWriter, "add", forgetful)


def lose_masked(patch):
    patch.setattr(curate.Mask, "apply", swallow_first(curate.Mask.apply))


def lose_claims(patch):
    patch.setattr(dedup.SendClaims, "__call__", swallow_first(dedup.SendClaims.__call__))


def lose_verdicts(patch):
    patch.setattr(dedup, "judge", swallow_first(dedup.judge))


def lose_tokenized(patch):
    patch.setattr(tokens, "read_documents", swallow_first(tokens.read_documents))


def lose_copies(patch):
    patch.setattr(mix.SendCopies, "_training", swallow_first(mix.SendCopies._training))


def lose_held_out(patch):
    whole = mix.SendCopies.__call__
    patch.setattr(
        mix.SendCopies, "__call__", lambda *args: (item for item in whole(*args) if not item[0].startswith("heldout"))
    )


BREAKS = [
    lose_record, lose_last_record, lose_page, lose_extracted, lose_between_steps, lose_in_a_step, lose_row,
    lose_masked, lose_claims, lose_verdicts, lose_tokenized, lose_copies, lose_held_out,
]  # fmt: skip


@pytest.mark.parametrize("lose", BREAKS, ids=lambda f: f.__name__)
def test_the_run_fails(models, wet, tmp_path, monkeypatch, lose):
    lose(monkeypatch)
    # Which part loses its verdicts is up to the runner's order; one that comes first in every bucket is never written.
    noticed = r"in \+|says|ends at byte|read to|sent|verdict|unread|not committed"
    with pytest.raises((LedgerError, RuntimeError), match=noticed):
        run.main([*arguments(wet, models, tmp_path / "run"), "--workers", "1"])
    assert not (tmp_path / "run" / "shards" / "manifest.json").exists()
