"""How unlike the corpus are the tokens of a text? (Dubey et al. 2024, section 3.1.1)

Llama 3 leaves out documents with too many outlier tokens by the Kullback-Leibler divergence of their token distribution
from the corpus's. It gives no number, and does not say how short texts are judged; what is done about them is ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from curation.document import Document
from curation.errors import ModelError
from curation.steps import Score
from models.tokenizer import Tokenizer

TOKENIZER = "tokenizer.model"
COUNTS = "counts.npy"  # int64 [vocabulary]: how often the corpus holds each token
EXPECTED = "expected.npy"  # float64 [len(LENGTHS)]: mean divergence of the corpus's own texts of so many tokens
LENGTHS = (32, 64, 128, 256, 512, 1024, 2048, 4096)
CHARACTERS = 16 * LENGTHS[-1]  # of a text that are tokenized; more than 4,096 tokens have, but for very long words


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenDivergence:
    """KL(document || corpus) in nats, less the mean of the corpus's own texts of that length, to 4 decimals.

    A short text is far from any distribution, since it can hold but few of the tokens: 32 tokens of plain prose are
    further off than 4,000 of junk. With the mean taken off, 0 is a usual text at any length. The first 4,096 tokens are
    read. None for fewer than 32, and for a language that is not among `languages`: each has a distribution of its own,
    the artifact `token_distribution-LANGUAGE`.
    """

    languages: tuple[str, ...] = ("en",)

    writes: ClassVar[tuple[str, ...]] = ("token_divergence",)
    reads: ClassVar[tuple[str, ...]] = ("language",)

    def artifacts(self) -> tuple[str, ...]:
        return tuple(f"token_distribution-{language}" for language in self.languages)

    def load(self, artifacts: Mapping[str, Path]) -> Score:
        distributions = {
            language: load_distribution(artifacts[f"token_distribution-{language}"]) for language in self.languages
        }

        def score(document: Document) -> Document:
            distribution = distributions.get(document.language or "")
            return replace(document, token_divergence=distribution.score(document.text) if distribution else None)

        return lambda documents: list(map(score, documents))


@dataclass(frozen=True, slots=True)
class Distribution:
    """A corpus's distribution over the tokens of its tokenizer: log of each token's smoothed share, float64."""

    tokenizer: Tokenizer
    logs: npt.NDArray[np.float64]
    expected: npt.NDArray[np.float64]

    def score(self, text: str) -> float | None:
        """As in TokenDivergence."""
        ids = tokens(self.tokenizer, text)
        if len(ids) < LENGTHS[0]:
            return None
        usual = np.interp(np.log2(len(ids)), np.log2(LENGTHS), self.expected)
        return round(float(divergence(ids, self.logs) - usual), 4)


def tokens(tokenizer: Tokenizer, text: str) -> npt.NDArray[np.int32]:
    """The first tokens of a text, as many as are read."""
    return tokenizer.encode(text[:CHARACTERS])[: LENGTHS[-1]]


def log_shares(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Logs of the shares of tokens, each counted once more than it occurred, so that none has none."""
    logs: npt.NDArray[np.float64] = np.log(counts + 1.0) - np.log(float(counts.sum() + len(counts)))
    return logs


def divergence(ids: npt.NDArray[np.int32], logs: npt.NDArray[np.float64]) -> float:
    """KL(p || q) in nats, p the shares of the tokens among `ids`, q those whose logs are given."""
    found, counts = np.unique(ids, return_counts=True)
    shares = counts / len(ids)
    return float(np.sum(shares * (np.log(shares) - logs[found])))


def load_distribution(directory: Path) -> Distribution:
    """Read the artifact. Raises ModelError."""
    try:
        counts = np.load(directory / COUNTS, allow_pickle=False)
        expected = np.load(directory / EXPECTED, allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise ModelError(
            f"{directory} does not hold a token distribution ({error}): use python -m models.train_token_distribution"
        ) from None
    tokenizer = Tokenizer.load(directory / TOKENIZER)
    if counts.shape != (tokenizer.vocabulary,) or expected.shape != (len(LENGTHS),):
        raise ModelError(f"{directory} is not of one piece: use python -m models.train_token_distribution again")
    return Distribution(tokenizer, log_shares(counts), expected)
