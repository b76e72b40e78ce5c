"""LLaMA-1's Table 1 (Touvron et al. 2023) at 1:100,000: seven synthetic sources of the sizes it implies, mixed.

    python -m benchmarks.table1

The table gives each source's share of 1.4 T tokens and its epochs; share x 1.4 T / epochs is how large it was, then.
The sources are mixed twice, by the table's epochs and by its shares, and read back through the trainer's loader.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from curation.errors import CommandLine, exit_on_user_error
from curation.mixture import Mixture, warnings
from curation.token_shard import FORMAT, MANIFEST, PROVENANCE, Dataset, dataset_id, write_shard
from pipelines import runner, storage
from pipelines.mix import run_mix
from pipelines.runner import parse_size
from pipelines.stages import Run, part_name
from pipelines.tokens import HELDOUT, TRAIN
from pipelines.turns import Source
from trainer.data import Loader, count_sources

TOKENS = 1_400_000_000_000
TABLE = {  # share of the tokens, epochs
    "commoncrawl": (0.67, 1.10),
    "c4": (0.15, 1.06),
    "github": (0.045, 0.64),
    "wikipedia": (0.045, 2.45),
    "books": (0.045, 2.23),
    "arxiv": (0.025, 1.06),
    "stackexchange": (0.02, 1.03),
}
SIDES = (TRAIN, HELDOUT)
DTYPE, BOS, EOS = "uint16", 1, 2


def sizes(scale: int) -> dict[str, int]:
    """Training tokens of each source at 1:scale."""
    return {name: round(TOKENS * share / epochs / scale) for name, (share, epochs) in TABLE.items()}


def write_source(
    output: str, number: int, name: str, lengths: Sequence[int], parts: int = 3, heldout: Sequence[int] = ()
) -> Source:
    """Token parts of a synthetic source, as the tokens stage would leave them: documents of these lengths in tokens.

    Document i is the same whatever the number of parts; parts hold every so many-th of them.
    """
    for side, of_side in zip(SIDES, (lengths, heldout), strict=True):
        for part in range(parts):
            chosen = range(part, len(of_side), parts)
            rows = [{**dict.fromkeys(PROVENANCE.names, None), "id": f"{name}:{side}#{i}"} for i in chosen]
            folder = Path(storage.join(output, name, "tokens", side))
            write_shard(
                folder,
                part_name(part),
                [_document(number, i, of_side[i]) for i in chosen],
                np.zeros(len(rows), dtype=np.uint16),
                np.array([4 * of_side[i] for i in chosen], dtype=np.uint32),
                pa.Table.from_pylist(rows, PROVENANCE),
                DTYPE,
            )
    totals = len(lengths), int(sum(lengths)), len(heldout), int(sum(heldout))
    return Source(number, name, tuple(range(parts)), f"{name} {totals}", *totals)


def _document(number: int, i: int, length: int) -> np.ndarray:
    """Tokens that name their source and their document, between BOS and EOS."""
    tokens = np.full(length, 3 + (i * 7 + number) % 60_000, dtype=np.uint16)
    tokens[0], tokens[-1] = BOS, EOS
    return tokens


def random_lengths(total: int, seed: int, mean: int = 500) -> list[int]:
    """Lengths of documents that have `total` tokens together: exponential, from 2 up."""
    drawn = 2 + np.random.default_rng(seed).exponential(mean - 2, 2 * total // mean + 10).astype(np.int64)
    count = int(np.searchsorted(np.cumsum(drawn), total - 1))
    lengths: list[int] = drawn[:count].tolist()
    rest = total - sum(lengths)
    return [*lengths, rest] if rest > 1 else [*lengths[:-1], lengths[-1] + rest]


def mix(output: str, mixture: Mixture, shard_tokens: int, sources: Sequence[Source], memory: int = 1 << 30) -> Dataset:
    """Mix token parts with one local worker; the dataset, with what a manifest needs to be read."""
    execute = runner.executor(runner.beam_flags([], 1, CommandLine()))
    notes = run_mix(Run(output, "", execute, memory, progress=False), mixture, shard_tokens, sources, DTYPE).notes
    manifest = {
        "format": FORMAT,
        "dataset_id": dataset_id(notes["shards"] + notes["heldout"], ""),
        "dtype": DTYPE,
        "tokenizer": {"sha256": "", "bos": BOS, "eos": EOS},
        "warnings": warnings(notes["sources"], {}),
        **notes,
    }
    root = Path(output) / "shards"
    (root / MANIFEST).write_text(json.dumps(manifest))
    return Dataset.open(root)


def mixtures(scale: int) -> dict[str, Mixture]:
    shares = {name: share for name, (share, _) in TABLE.items()}
    return {
        "by epochs": Mixture(epochs={name: epochs for name, (_, epochs) in TABLE.items()}),
        "by weights": Mixture(weights=shares, tokens=round(TOKENS / scale)),
    }


def show(label: str, manifest: dict[str, Any], counted: np.ndarray) -> None:
    print(f"\n{label}")
    print(
        f"{'source':<15}{'tokens':>11}{'epochs':>8}{'realised':>10}{'share':>9}{'realised':>10}{'mixed':>12}{'read':>12}"
    )
    for source, read in zip(manifest["sources"], counted.tolist(), strict=True):
        print(
            f"{source['name']:<15}{source['tokens']:>11,}{source['epochs_asked']:>8.3f}{source['epochs']:>10.4f}"
            f"{source['share_asked']:>9.3%}{source['share']:>10.3%}{source['mixed_tokens']:>12,}{read:>12,}"
        )
    for line in manifest["warnings"]:
        print(f"warning: {line}")


def main(argv: Sequence[str] | None = None) -> int:
    parser = CommandLine(prog="python -m benchmarks.table1", description=__doc__.partition("\n")[0])
    parser.add_argument("--scale", type=int, default=100_000, help="1:so many")
    parser.add_argument("--shard-tokens", type=int, default=1 << 21)
    parser.add_argument("--memory", type=parse_size, default=parse_size("1GiB"))
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as output:
        sources = [
            write_source(output, number, name, random_lengths(tokens, number))
            for number, (name, tokens) in enumerate(sizes(arguments.scale).items())
        ]
        for label, mixture in mixtures(arguments.scale).items():
            dataset = mix(output, mixture, arguments.shard_tokens, sources, arguments.memory)
            show(label, dataset.manifest, count_sources(Loader(dataset, 0, 2048)))
    return 0


if __name__ == "__main__":
    sys.exit(exit_on_user_error(main))
