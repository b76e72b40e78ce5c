"""The funnel of a run, as text and as ledger.json."""

from __future__ import annotations

from collections.abc import Sequence

from curation.ledger import Balance
from pipelines.stages import Result


def funnel(results: Sequence[Result]) -> str:
    """A table of every stage's books: what came in, what was kept, and what went where, by rule."""
    balances = [balance for result in results for balance in result.balances.values()]
    first = max(28, *(len(result.name) for result in results)) + 2
    number = max(8, *(len(f"{balance.incoming + balance.split:,}") for balance in balances)) + 2
    header = f"{'stage':<{first}}{'unit':<11}{'in':>{number}}{'kept':>{number}}{'gone':>{number}}"
    lines = [header, "-" * len(header)]
    for result in results:
        for place, balance in enumerate(result.balances.values()):
            name = result.name if place == 0 else ""
            counts = (balance.incoming, balance.kept, balance.outgoing - balance.kept)
            lines.append(f"{name:<{first}}{balance.unit:<11}" + "".join(f"{count:>{number},}" for count in counts))
            lines.extend(_gone(balance, len(header), number))
    return "\n".join(lines)


def _gone(balance: Balance, width: int, number: int) -> list[str]:
    by_name = (("dropped", balance.dropped), ("failed", balance.failed), ("skipped", balance.skipped))
    merged = {"into others": balance.merged}
    return [
        f"    {verb:<8}{rule}".ljust(width - number) + f"{count:>{number},}"
        for verb, counts in (*by_name, ("merged", merged))
        for rule, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        if count
    ]


def slowest(results: Sequence[Result], most: int = 5) -> str:
    """The steps that took most time, over all parts and workers."""
    seconds = [(value, f"{result.name}: {label}") for result in results for label, value in result.seconds.items()]
    return "\n".join(f"  {value:8.1f} s  {label}" for value, label in sorted(seconds, reverse=True)[:most])
