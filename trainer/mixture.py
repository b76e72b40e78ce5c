"""Several datasets in one training, mixed by tokens: `--data A=0.7 --data B=0.3`.

All sequences have T tokens, so shares of sequences are shares of tokens. Of the first g sequences `shares(weights, g)`
come from each dataset: what its weight says, to within half a sequence for two datasets and two for twelve, at every g.
Each more sequence adds one to one of the counts. That says which dataset sequence g is of and, by the count before,
which of that dataset's own: it is read in the order that it has alone (trainer/data.py), epoch after epoch. So there is
no state but g here too, and every step has its share of each dataset, which is less noise than drawing lots.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from curation.errors import UserError
from curation.token_shard import TAKEN_DOWN, Dataset
from trainer.data import Loader, Piece

SEVERAL = "dataset directory; several with a weight each, as in --data A=0.7 --data B=0.3"


def shares(weights: Sequence[int], g: int) -> list[int]:
    """How many of the first g sequences come from each dataset. Weights in descending order.

    The first takes its share of g, rounded, the second its share of what is left, and so on: no count falls as g grows.
    The half that the i-th is off is spread over those after it, of which the j-th has at most 1/(j - i) of the weight:
    so the j-th is off by at most (1 + 1 + 1/2 + … + 1/(j - 1)) / 2, whatever g is.
    """
    counts, total = [], sum(weights)
    for weight in weights:
        counts.append((2 * weight * g + total) // (2 * total))
        g, total = g - counts[-1], total - weight
    return counts


@dataclass(frozen=True)
class Mixture:
    """What a training reads. Whoever takes a Mixture takes a Dataset too, by `Mixture.of`."""

    datasets: tuple[Dataset, ...]  # the heaviest first, then by id: in what order they were named is no matter
    weights: tuple[int, ...]  # without a common divisor

    @classmethod
    def of(cls, data: Dataset | Mixture) -> Mixture:
        return data if isinstance(data, Mixture) else cls((data,), (1,))

    @classmethod
    def open(cls, named: Sequence[str]) -> Mixture:
        """From what the command line names: DIRECTORY, or DIRECTORY=WEIGHT for each of several. Raises UserError."""
        datasets: list[Dataset] = []
        weights: list[Fraction] = []
        for name in named:
            directory, weight = name, "1" if len(named) == 1 else ""
            if "=" in name and not Path(name).is_dir():
                directory, _, weight = name.rpartition("=")
            if not re.fullmatch(r"\d+(\.\d*)?|\.\d+", weight) or not Fraction(weight):
                raise UserError(
                    f"--data {name}: each of several needs a weight above 0, a plain number, as in {directory}=0.3"
                )
            datasets.append(Dataset.open(directory))
            weights.append(Fraction(weight))
        return cls.mixed(datasets, weights)

    @classmethod
    def mixed(cls, datasets: Sequence[Dataset], weights: Sequence[Fraction]) -> Mixture:
        """Raises UserError if two are one, or have been tokenized differently."""
        pairs = sorted(zip(weights, datasets, strict=True), key=lambda pair: (-pair[0], pair[1].root))
        first = pairs[0][1]
        for place, (_, dataset) in enumerate(pairs):
            if dataset.root in [other.root for _, other in pairs[:place]]:
                raise UserError(f"{dataset.directory} is named twice, or made by take-downs from another that is named")
            if any(dataset.manifest["tokenizer"][key] != first.manifest["tokenizer"][key] for key in _TOKENIZER):
                raise UserError(f"{dataset.directory} and {first.directory} have different tokenizers")
        whole = [int(weight * math.lcm(*(weight.denominator for weight in weights))) for weight, _ in pairs]
        return cls(tuple(dataset for _, dataset in pairs), tuple(weight // math.gcd(*whole) for weight in whole))

    @property
    def ids(self) -> list[dict[str, Any]]:
        """What identifies the mixture, for a checkpoint."""
        return [{"id": dataset.id, "weight": weight} for dataset, weight in self._pairs]

    @property
    def places(self) -> list[str]:
        """What `open` would make this mixture of, from any working directory."""
        return [f"{dataset.directory.resolve()}={weight}" for dataset, weight in self._pairs]

    def refuses(self, ids: Sequence[dict[str, Any]]) -> str:
        """Why what was trained on a mixture of these `ids` may not go on with this one, or "".

        It may if the weights are the same, and the datasets too, or made from those by take-downs.
        """
        known = {id: weight for dataset, weight in self._pairs for id in (*dataset.ancestors, dataset.id)}
        here = ", ".join(f"{dataset.directory} is {dataset.id[:12]}" for dataset in self.datasets)
        if strange := [entry["id"][:12] for entry in ids if entry["id"] not in known]:
            return f"was trained on dataset {', '.join(strange)}, and {here}"
        if len(ids) != len(self.datasets) or any(known[entry["id"]] != entry["weight"] for entry in ids):
            was = ", ".join(f"{entry['id'][:12]} with weight {entry['weight']}" for entry in ids)
            return f"was trained on {was}, and {here} with weights {', '.join(map(str, self.weights))}"
        return ""

    @property
    def _pairs(self) -> list[tuple[Dataset, int]]:
        return list(zip(self.datasets, self.weights, strict=True))

    @property
    def tokenizer(self) -> dict[str, Any]:
        """As in the manifests."""
        known: dict[str, Any] = self.datasets[0].manifest["tokenizer"]
        return known

    @cached_property
    def first_source(self) -> list[int]:
        """The number, among all sources, of each dataset's source 0."""
        return [0, *np.cumsum([len(dataset.sources) for dataset in self.datasets]).tolist()][:-1]

    @cached_property
    def sources(self) -> list[str]:
        """Names of the sources of all datasets, one after the other. "web" of two is A/web and B/web."""
        names = [name for dataset in self.datasets for name in dataset.sources]
        return [
            f"{label}/{name}" if names.count(name) > 1 else name
            for label, dataset in zip(self.labels, self.datasets, strict=True)
            for name in dataset.sources
        ]

    @cached_property
    def labels(self) -> list[str]:
        """The shortest ends of the datasets' paths that differ, without the `shards` that every run has."""
        paths = [dataset.directory.resolve() for dataset in self.datasets]
        paths = [path.parent if path.name == "shards" else path for path in paths]
        for depth in range(1, max(len(path.parts) for path in paths)):
            labels = ["/".join(path.parts[-depth:]) for path in paths]
            if len(set(labels)) == len(labels):
                return labels
        return [str(dataset.directory.resolve()) for dataset in self.datasets]


_TOKENIZER = ("sha256", "vocabulary", "bos", "eos")


@dataclass(frozen=True)
class Blend:
    """The sequences of a mixture by number. Two of equal fields give equal sequences, always."""

    mixture: Mixture
    seed: int
    length: int  # T: a sequence is T + 1 tokens

    def __post_init__(self) -> None:
        _ = self.loaders  # one with too few tokens is heard of now

    @cached_property
    def loaders(self) -> list[Loader]:
        return [Loader(dataset, self.seed, self.length) for dataset in self.mixture.datasets]

    def counts(self, g: int) -> list[int]:
        """How many of the first g sequences are of each dataset."""
        return shares(self.mixture.weights, g)

    def datasets(self, g: int, count: int) -> np.ndarray:
        """The dataset of each of sequences g … g + count - 1: int64 [count]."""
        counts = np.array([self.counts(n) for n in range(g, g + count + 1)])
        return np.asarray(np.diff(counts, axis=0).argmax(axis=1))

    def read(self, g: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Sequences g … g + count - 1, and the source of each of their tokens.

        int64 [count, T + 1], IGNORED where a document was taken down; uint16 [count, T + 1], numbers as in the
        mixture's `sources`, or TAKEN_DOWN.
        """
        tokens = np.empty((count, self.length + 1), dtype=np.int64)
        sources = np.empty(tokens.shape, dtype=np.uint16)
        of = self.datasets(g, count)
        for number, (loader, own) in enumerate(zip(self.loaders, self.counts(g), strict=True)):
            rows = np.flatnonzero(of == number)
            if len(rows):
                tokens[rows], ids = loader.batch(own, len(rows)), loader.sources(own, len(rows))
                ids[ids != TAKEN_DOWN] += self.mixture.first_source[number]
                sources[rows] = ids
        return tokens, sources

    def pieces(self, g: int) -> tuple[int, Iterator[Piece]]:
        """The dataset of sequence g, by its number, and the documents that the T tokens it predicts belong to."""
        number = int(self.datasets(g, 1)[0])
        loader = self.loaders[number]
        (window,) = loader.order(self.counts(g)[number], 1).tolist()
        return number, loader.pieces(window * self.length + 1, self.length)
