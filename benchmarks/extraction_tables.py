"""The tables of `python -m benchmarks.extraction`, in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.extraction_scores import (
    RESAMPLES,
    Row,
    by_extractor,
    cascade,
    f1_of_resamples,
    interval,
    score,
)

REFERENCES = ("trafilatura fast", "trafilatura default")  # whose F1 is subtracted
SHARES = (0.0, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0)


def table(rows: Sequence[Row], title: str, resamples: int = RESAMPLES) -> str:
    """One line an extractor, in the order in which they were measured."""
    groups = by_extractor(rows)
    references = [name for name in REFERENCES if name in groups]
    samples = f1_of_resamples(groups, resamples)
    heads = ["pages", "F1", "95 %", *(f"less {name}" for name in references)]
    heads += ["precision", "recall", "without text", "CPU ms a page", "99th percentile"]
    lines = [f"| extractor ({title}) | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    scores = {name: score(some) for name, some in groups.items()}
    for name, s in scores.items():
        around = interval(s.f1, samples[name])
        cells = [f"{s.pages}", f"{s.f1:.3f}", f"{around.low:.3f} to {around.high:.3f}"]
        for other in references:
            difference = interval(s.f1 - scores[other].f1, samples[name] - samples[other])
            cells.append("" if name == other else str(difference))
        cells += [f"{s.precision:.3f}", f"{s.recall:.3f}", f"{s.empty}", f"{s.ms:.1f}", f"{s.p99_ms:.0f}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def curve(rows: Sequence[Row], fast: str, slow: str, title: str) -> str:
    """F1 and time where the pages that `fast` doubts most go on to `slow`, by their share."""
    groups = by_extractor(rows)
    lines = [f"| {fast}, then {slow} ({title}) | doubt beyond | F1 | CPU ms a page |", "|---|---|---|---|"]
    for share in SHARES:
        mixed, limit, sent = cascade(groups[fast], groups[slow], share)
        s = score(mixed)
        lines.append(f"| {100 * sent:.1f} % | {limit:.3f} | {s.f1:.3f} | {s.ms:.1f} |")
    return "\n".join(lines)
