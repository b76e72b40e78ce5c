"""The ledger: what went in, and where every bit of it went (docs/ledger.md).

A balance holds for one part of one stage, in one unit:

    incoming + split == kept + dropped + failed + merged + skipped
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from curation.errors import LedgerError


@dataclass(slots=True)
class Balance:
    """One unit's account. Rules and reasons count by name; `incoming` is counted by code that is not the stage's."""

    unit: str
    incoming: int = 0
    split: int = 0
    kept: int = 0
    merged: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)

    @property
    def outgoing(self) -> int:
        return self.kept + self.merged + self.dropped.total() + self.failed.total() + self.skipped.total()

    def check(self, where: str) -> None:
        """Raise LedgerError unless the account balances to the unit, and no negative count hides a lost one."""
        counts = [self.incoming, self.split, self.kept, self.merged]
        for by_name in (self.dropped, self.failed, self.skipped):
            counts += by_name.values()
        if min(counts) < 0:
            raise LedgerError(f"{where}: a count of {self.unit} is negative: {self.to_json()}")
        if self.incoming + self.split != self.outgoing:
            raise LedgerError(
                f"{where}: {self.incoming} {self.unit} in + {self.split} split, but {self.kept} kept + "
                f"{self.dropped.total()} dropped + {self.failed.total()} failed + {self.merged} merged + "
                f"{self.skipped.total()} skipped = {self.outgoing}"
            )

    def __add__(self, other: Balance) -> Balance:
        if self.unit != other.unit:
            raise LedgerError(f"{self.unit} and {other.unit} are different units and are never added")
        return Balance(
            self.unit,
            self.incoming + other.incoming,
            self.split + other.split,
            self.kept + other.kept,
            self.merged + other.merged,
            self.dropped + other.dropped,
            self.failed + other.failed,
            self.skipped + other.skipped,
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "unit": self.unit,
            "in": self.incoming,
            "split": self.split,
            "kept": self.kept,
            "merged": self.merged,
            "dropped": dict(sorted(self.dropped.items())),
            "failed": dict(sorted(self.failed.items())),
            "skipped": dict(sorted(self.skipped.items())),
        }

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Balance:
        return cls(
            row["unit"],
            row["in"],
            row["split"],
            row["kept"],
            row["merged"],
            Counter(row["dropped"]),
            Counter(row["failed"]),
            Counter(row["skipped"]),
        )


def total(unit: str, balances: Iterable[Balance]) -> Balance:
    """Sum the balances of one unit; the empty sum is the empty account."""
    result = Balance(unit)
    for balance in balances:
        if balance.unit == unit:
            result = result + balance
    return result
