"""Who loses inside a hash bucket. Lines, URLs, whole documents and MinHash bands are all this one shape.

A part emits a *claim* for each distinct hash it holds; all claims on a hash meet; the rule says which of them lose.
Ranks order documents as (part, ordinal), which is the order of (source, file, locator) because parts are cut from
sorted files in ascending ranges. So verdicts do not depend on how files were cut, or on what arrived first.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

# 16 bytes a claim: what global deduplication costs to move. What `first` and `weight` are is for the rule to say.
CLAIM = np.dtype([("hash", "<u8"), ("first", "<u4"), ("weight", "<u4")])

KEEP = ("smallest", "newest", "none")
LAST_SECOND = (1 << 32) - 1  # 2106: later dates count as this one


@dataclass(frozen=True, slots=True)
class Rule:
    """Which copy stays, and so what a part says of a hash that it holds.

    ===========  ==============  ===========================  ==============================================
    keep         `first`         `weight`                     who loses
    ===========  ==============  ===========================  ==============================================
    "smallest"   smallest        how many documents hold it   every document but the smallest
    "newest"     newest          its date (`seconds`)         every document but the newest; of equally new
                                                              ones all but the smallest
    "none"       smallest        how many documents hold it   all, when more than `max_documents` hold it
    ===========  ==============  ===========================  ==============================================

    Whatever the rule, of the copies inside one document only the first stays.

    A claim of an earlier run has a negative part number. It wins over every document of this run, whatever its date,
    and counts among the holders.
    """

    keep: str
    max_documents: int = 1

    def __post_init__(self) -> None:
        if self.keep not in KEEP:
            raise ValueError(f"keep must be one of {', '.join(KEEP)}, not {self.keep!r}")

    def claims(self, hashes: np.ndarray, ordinals: np.ndarray, dates: np.ndarray) -> np.ndarray:
        """Claims of a part, sorted by hash: CLAIM [distinct hashes].

        `hashes` uint64, `ordinals` uint32 and `dates` uint32, all [occurrences], run parallel. Ordinals say which
        document of the part, counting from 0; dates are looked at by "newest" alone.
        """
        newest = self.keep == "newest"
        order = np.lexsort((ordinals, LAST_SECOND - dates, hashes) if newest else (ordinals, hashes))
        hashes, ordinals = hashes[order], ordinals[order]
        new_hash = starts_of(hashes)
        starts = np.flatnonzero(new_hash)
        result = np.empty(len(starts), dtype=CLAIM)
        result["hash"] = hashes[starts]
        result["first"] = ordinals[starts]
        if newest:
            result["weight"] = dates[order][starts]
        elif len(starts):
            new_document = new_hash | starts_of(ordinals)  # one that holds the hash twice counts once
            result["weight"] = np.add.reduceat(new_document, starts, dtype=np.uint32)
        return result

    def losing(self, hashes: np.ndarray, parts: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Which claims lose: bool [claims]. All claims on a hash must be in the same call.

        `hashes` uint64, `parts` int64 and `weights` uint32 are all [claims]; their order has no bearing.
        """
        if self.keep == "newest":
            age = np.where(parts < 0, -1, LAST_SECOND - weights.astype(np.int64))
            order = np.lexsort((parts, age, hashes))
        else:
            order = np.lexsort((parts, hashes))
        first = starts_of(hashes[order])
        if self.keep == "none" and len(order):
            holders = np.add.reduceat(weights[order].astype(np.int64), np.flatnonzero(first))
            lost = (holders > self.max_documents)[np.cumsum(first) - 1]
        else:
            lost = ~first
        result = np.empty(len(order), dtype=bool)
        result[order] = lost
        return result

    def survives(self, hashes: np.ndarray, ordinal: int, mine: np.ndarray, lost: np.ndarray) -> np.ndarray:
        """Which hash occurrences of one document survive: bool [occurrences].

        `hashes` are the document's, in order; `mine` are its part's claims and `lost` the sorted hashes of those that
        lost. A hash survives where its claim did not lose, this document is the one of the part that the claim was made
        for (with "none", any), and it has not occurred earlier in the document.
        """
        at = np.searchsorted(mine["hash"], hashes)
        if len(hashes) and (at.max(initial=0) >= len(mine) or not np.array_equal(mine["hash"][at], hashes)):
            raise ValueError("the claims are not those of the part that holds this document")
        kept = np.zeros(len(hashes), dtype=bool)
        kept[np.unique(hashes, return_index=True)[1]] = True
        if self.keep != "none":
            kept &= mine["first"][at] == ordinal
        if len(lost):
            where = np.minimum(np.searchsorted(lost, hashes), len(lost) - 1)
            kept &= lost[where] != hashes
        return kept


def rule_of(dedup: Any) -> Rule:
    """The rule of a deduplication step: its `keep`, and its `max_documents` if it has such an option."""
    return Rule(dedup.keep, getattr(dedup, "max_documents", 1))


def starts_of(values: np.ndarray) -> np.ndarray:
    """Where a value differs from the one before it: bool [values]. The first one does."""
    starts = np.ones(len(values), dtype=bool)
    starts[1:] = values[1:] != values[:-1]
    return starts


def seconds(date: str) -> int:
    """Seconds since 1970 of an ISO 8601 date, UTC unless it says otherwise; within [1, 2^32), and 0 for no date."""
    try:
        moment = datetime.fromisoformat(date)
    except ValueError:
        return 0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max(int(moment.timestamp()), 1), LAST_SECOND)
