"""The list of what was taken down from a run, which every stage of it honours: OUTPUT/tombstones.jsonl.

A stage's key does not cover the list: what a tombstone covers is purged from the parts that are there when it is laid,
and dropped by name (`tombstones.taken_down`) from every part that is made afterwards.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import TypeVar

from curation.document import Document, Drop, Page
from curation.errors import InputError
from curation.tombstones import RULE, Tombstones
from pipelines import storage
from pipelines.apply_steps import Account

FILE = "tombstones.jsonl"
STEP = "tombstones"

Item = TypeVar("Item", Page, Document)


def read(output: str) -> Tombstones:
    """The list of a run or a dataset; an empty one where nothing was taken down."""
    path = storage.join(output, FILE)
    return Tombstones.parse(storage.read_bytes(path), path) if storage.exists(path) else Tombstones()


def identity(output: str) -> str:
    """SHA-256 of the list; "" where nothing was taken down. Workers are given it, and `load` checks it."""
    path = storage.join(output, FILE)
    return hashlib.sha256(storage.read_bytes(path)).hexdigest() if storage.exists(path) else ""


@lru_cache(maxsize=4)
def load(output: str, identity: str) -> Tombstones:
    """The list of this identity, read once a process. Raises InputError if it has become another meanwhile."""
    if not identity:
        return Tombstones()
    path = storage.join(output, FILE)
    content = storage.read_bytes(path)
    if hashlib.sha256(content).hexdigest() != identity:
        raise InputError(f"{path} changed while the run was going on: give the same command again")
    return Tombstones.parse(content, path)


def standing(items: Iterable[Item], tombstones: Tombstones, account: Account) -> Iterator[Item]:
    """Those that no tombstone covers; the others are dropped by name."""
    for item in items:
        drop = verdict(tombstones, item.id, item.url)
        if drop is None:
            yield item
        else:
            known = {name: getattr(item, name) for name in ("id", "url", "date", "digest")}
            account.drop(Document(**known, text=""), STEP, drop)


def verdict(tombstones: Tombstones, id: str, url: str) -> Drop | None:
    """The drop of a document that a tombstone covers; None if it stands."""
    if not tombstones:
        return None
    return next((Drop(RULE, f"{kind} {value}", "") for kind, value in tombstones.covering(id, url)), None)
