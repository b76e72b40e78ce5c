"""What every shuffle of hashes shares: passes over the hash space, payloads by bucket, verdicts by part.

    a part's sorted hashes ─► payloads ─► bucket ─► GroupByKey ─► verdicts ─► part ─► GroupByKey ─► receipts

One pass takes a slice of the hash space that fits the memory it is given; a bucket is a slice of that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np

from curation.mixture import shard_of
from pipelines import storage
from pipelines.stages import Run

SHUFFLE_BYTES_PER_HASH = 100  # resident, measured with the local runner on claims of 16 bytes (LOG.md)
BUCKET_BYTES = 8 << 20
MIN_BUCKETS = 8


def plan(run: Run, directory: str, hashes: int, itemsize: int) -> tuple[int, int]:
    """Passes, and buckets a pass, for so many hashes in items of `itemsize` bytes.

    Decided once a stage, so that a continued run goes on with the same slices.
    """
    path = storage.join(run.output, directory, "plan.json")
    if storage.exists(path):
        decided = storage.read_json(path)
        return decided["passes"], decided["buckets"]
    passes = max(1, -(-hashes * SHUFFLE_BYTES_PER_HASH // run.memory))
    buckets = max(MIN_BUCKETS, -(-hashes * itemsize // (passes * BUCKET_BYTES)))
    storage.write_json(path, {"passes": passes, "buckets": buckets})
    return passes, buckets


def payloads(
    head: bytes, items: np.ndarray, hashes: np.ndarray, turn: int, passes: int, buckets: int
) -> Iterator[tuple[int, bytes]]:
    """Items of this pass, one packed payload a bucket, `head` before each. `hashes` are the items', ascending.

    The first bucket gets a payload even when it is empty, so that every part hears back.
    """
    slices = shard_of(hashes, passes * buckets)
    first = turn * buckets
    bounds = np.searchsorted(slices, np.arange(first, first + buckets + 1))
    for bucket, (start, end) in enumerate(pairwise(bounds.tolist())):
        if end > start or bucket == 0:
            yield bucket, head + items[start:end].tobytes()


def verdict(received: int, hashes: np.ndarray) -> bytes:
    """What a bucket tells a part: how many of its hashes were received (uint64), then those that were picked out."""
    return np.uint64(received).tobytes() + hashes.tobytes()


def receipts(verdicts: Iterable[bytes]) -> tuple[int, np.ndarray]:
    """What all buckets of a pass told a part: hashes received in all, and those picked out, sorted, uint64."""
    verdicts = list(verdicts)
    received = sum(int.from_bytes(one[:8], "little") for one in verdicts)
    return received, np.sort(np.concatenate([np.frombuffer(one, "<u8", offset=8) for one in verdicts]))
