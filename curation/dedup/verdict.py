"""Who loses inside a hash bucket. Lines, URLs, whole documents and MinHash bands are all this one shape.

A part emits a *claim* for each distinct hash it holds: the hash, how many of its documents hold it, and the first of
them. Ranks order documents as (part, ordinal), which is the order of (source, file, locator) because parts are cut from
sorted files in ascending ranges. So verdicts do not depend on how files were cut, or on what arrived first.
"""

from __future__ import annotations

import numpy as np

# 16 bytes a claim: what global deduplication costs to move.
CLAIM = np.dtype([("hash", "<u8"), ("first", "<u4"), ("documents", "<u4")])

KEEP = ("smallest", "none")


def claims(hashes: np.ndarray, ordinals: np.ndarray) -> np.ndarray:
    """Claims of a part, sorted by hash: CLAIM [distinct hashes].

    `hashes` uint64 [occurrences] and `ordinals` uint32 [occurrences] run parallel; ordinals say which document of the
    part, counting from 0. A hash that one document holds twice counts once.
    """
    order = np.lexsort((ordinals, hashes))
    hashes, ordinals = hashes[order], ordinals[order]
    new_hash = np.ones(len(hashes), dtype=bool)
    new_hash[1:] = hashes[1:] != hashes[:-1]
    new_document = new_hash.copy()
    new_document[1:] |= ordinals[1:] != ordinals[:-1]
    result = np.empty(int(new_hash.sum()), dtype=CLAIM)
    result["hash"] = hashes[new_hash]
    result["first"] = ordinals[new_hash]
    starts = np.flatnonzero(new_hash)
    result["documents"] = np.add.reduceat(new_document, starts, dtype=np.uint32) if len(starts) else 0
    return result


def losing(hashes: np.ndarray, parts: np.ndarray, documents: np.ndarray, keep: str) -> np.ndarray:
    """Which claims lose: bool [claims]. All claims on a hash must be in the same call.

    keep = "smallest": every part but the smallest loses. keep = "none": every part loses when more than one document,
    here or elsewhere, holds the hash (CCNet).
    """
    order = np.lexsort((parts, hashes))
    sorted_hashes = hashes[order]
    first = np.ones(len(order), dtype=bool)
    first[1:] = sorted_hashes[1:] != sorted_hashes[:-1]
    if keep == "smallest":
        lost = ~first
    elif keep == "none":
        starts = np.flatnonzero(first)
        holders = np.add.reduceat(documents[order].astype(np.int64), starts) if len(starts) else np.empty(0, np.int64)
        lost = (holders > 1)[np.cumsum(first) - 1] if len(starts) else first
    else:
        raise ValueError(f"keep must be one of {KEEP}, not {keep!r}")
    result = np.empty(len(order), dtype=bool)
    result[order] = lost
    return result


def survives(hashes: np.ndarray, ordinal: int, mine: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """Which hash occurrences of one document survive: bool [occurrences].

    `hashes` are the document's, in order; `mine` are its part's claims and `lost` the sorted hashes of those that lost.
    A hash survives where its claim did not lose, this document is the first of the part to hold it, and it has not
    occurred earlier in the document.
    """
    at = np.searchsorted(mine["hash"], hashes)
    if len(hashes) and (at.max(initial=0) >= len(mine) or not np.array_equal(mine["hash"][at], hashes)):
        raise ValueError("the claims are not those of the part that holds this document")
    kept: np.ndarray = mine["first"][at] == ordinal
    if len(lost):
        where = np.minimum(np.searchsorted(lost, hashes), len(lost) - 1)
        kept &= lost[where] != hashes
    repeated = np.ones(len(hashes), dtype=bool)
    repeated[np.unique(hashes, return_index=True)[1]] = False
    return kept & ~repeated
