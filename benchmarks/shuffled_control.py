"""Does the model learn order, or only which tokens are frequent? Train it on a dataset and on its shuffled twin.

    python -m benchmarks.shuffled_control --data DATASET --out DIR --preset tiny

The twin has the tokens of each training document permuted between BOS and EOS: the same counts in every document, no
order. Both runs have the same settings and initial weights and are scored on the real held-out documents. The real run
must win; exit status 1 if it does not.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from curation.errors import CommandLine, InputError, UserError, exit_on_user_error
from curation.token_shard import MANIFEST, Dataset, dataset_id, write_shard
from trainer import checkpoint
from trainer import config as configuration
from trainer.device import DEVICES, pick
from trainer.evaluate import Score, evaluate, evaluate_unigram, table, total, unigram
from trainer.pretrain import Stop, train


def shuffle_document(tokens: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """[BOS] t1 … tn [EOS] with t1 … tn in random order."""
    return np.concatenate([tokens[:1], generator.permutation(tokens[1:-1]), tokens[-1:]])


def shuffled_twin(data: Path, out: Path, seed: int) -> None:
    """Write the twin of a dataset to `out`: its own dataset id, the same held-out files. Left alone if it is there."""
    if (out / MANIFEST).exists():
        return
    dataset = Dataset.open(data)
    manifest = dict(dataset.manifest)
    manifest["shards"] = [
        write_shard(
            out,
            entry["name"],
            [
                shuffle_document(document, np.random.default_rng([seed, i, j]))
                for j, document in enumerate(shard.documents())
            ],
            shard.sources,
            shard.nbytes,
            shard.provenance(),
            shard.dtype,
        )
        for i, (entry, shard) in enumerate(zip(manifest["shards"], dataset.shards(), strict=True))
    ]
    for file in [manifest["tokenizer"]["file"], *(f"{e['name']}{s}" for e in manifest["heldout"] for s in e["sha256"])]:
        (out / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(data / file, out / file)
    manifest["dataset_id"] = dataset_id(manifest["shards"] + manifest["heldout"], manifest["tokenizer"]["sha256"])
    (out / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")


def main(argv: Sequence[str] | None = None) -> int:
    parser = CommandLine(prog="python -m benchmarks.shuffled_control", description="Real order against shuffled.")
    parser.add_argument("--data", type=Path, required=True, help="dataset directory")
    parser.add_argument("--out", type=Path, required=True, help="for the twin and both runs")
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="override the preset")
    args = parser.parse_args(argv)
    config = configuration.load(args.preset, args.set)
    device, real = pick(args.device), Dataset.open(args.data)
    if not real.manifest["heldout"]:
        raise InputError(f"{args.data} has no held-out documents")
    shuffled_twin(args.data, args.out / "shuffled-data", config.run.seed)
    columns: dict[str, Sequence[Score]] = {"unigram": evaluate_unigram(unigram(real), real)}
    for name, data in {"shuffled": args.out / "shuffled-data", "real": args.data}.items():
        print(f"\n{name}", flush=True)
        with Stop() as stop:
            train(config, Dataset.open(data), args.out / name, device, stop)
        if stop.signal:
            raise UserError("stopped and saved; the same command continues")
        found = checkpoint.find(args.out / name)
        columns[name] = evaluate(checkpoint.load_model(found, device), real, config.model.context, device)
    print(f"\nbits per byte on the real held-out documents\n{table(columns)}")
    unigrams, shuffled, ordered = (total(scores).bits_per_byte for scores in columns.values())
    won = ordered < min(unigrams, shuffled)
    print(f"\nthe real run {'beats' if won else 'DOES NOT BEAT'} both the shuffled one and the unigram")
    return 0 if won else 1


if __name__ == "__main__":
    sys.exit(exit_on_user_error(main))
