"""The funnel of a run, as text and as ledger.json."""

from __future__ import annotations

from collections.abc import Sequence

from curation.ledger import Balance
from pipelines.stages import Result

WIDTH = 76


def funnel(results: Sequence[Result]) -> str:
    """A table of every stage's books: what came in, what was kept, and what went where, by rule."""
    lines = [f"{'stage':<30}{'unit':<11}{'in':>10}{'kept':>10}{'gone':>10}", "-" * (WIDTH - 5)]
    for result in results:
        for number, balance in enumerate(result.balances.values()):
            gone = balance.dropped.total() + balance.failed.total() + balance.skipped.total() + balance.merged
            name = result.name if number == 0 else ""
            lines.append(f"{name:<30}{balance.unit:<11}{balance.incoming:>10,}{balance.kept:>10,}{gone:>10,}")
            lines.extend(_gone(balance))
    return "\n".join(lines)


def _gone(balance: Balance) -> list[str]:
    return [
        f"    {verb:<8}{rule:<48}{count:>10,}"
        for verb, counts in (("dropped", balance.dropped), ("failed", balance.failed), ("skipped", balance.skipped))
        for rule, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        if count
    ]


def slowest(results: Sequence[Result], most: int = 5) -> str:
    """The steps that took most time, over all parts and workers."""
    seconds = [(value, f"{result.name}: {label}") for result in results for label, value in result.seconds.items()]
    return "\n".join(f"  {value:8.1f} s  {label}" for value, label in sorted(seconds, reverse=True)[:most])
