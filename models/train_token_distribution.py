"""Count the tokens of a corpus: python -m models.train_token_distribution --tokenizer T.model --out MODELS INPUT...

An INPUT is a run's folder of kept documents (…/kept) or a JSON Lines file of {"text": …}. Nine texts in ten are
counted; the tenth shows how far off usual texts of each length are, and what share of them a threshold would drop.
"""

from __future__ import annotations

import heapq
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from curation.errors import CommandLine, InputError, UserError, exit_on_user_error
from curation.hashing import hash64
from models import jsonl
from models.artifact import npy, write_artifact
from models.token_divergence import (
    COUNTS,
    EXPECTED,
    LENGTHS,
    TOKENIZER,
    Distribution,
    divergence,
    log_shares,
    tokens,
)
from models.tokenizer import Tokenizer

FEWEST = 20  # held-out texts without which nothing is said
_FEWEST_LONG = 5  # of one length; a longer text is then measured by the last length of which there are as many
_SAMPLE = 2000  # held-out texts that are looked at
_PERCENTILES = (50, 90, 95, 99, 99.9)
_EVERY = 20_000  # texts between two signs of life


@dataclass(frozen=True, slots=True)
class Report:
    """What was counted, and percentiles of the score of held-out texts."""

    texts: int
    tokens: int
    held_out: int
    percentiles: dict[str, float]


def train_token_distribution(
    texts: Iterable[str], tokenizer: Path, models_dir: Path, *, language: str, origin: str, licence: str
) -> Report:
    """Write the artifact `models_dir/token_distribution-LANGUAGE`. The order of the texts does not matter.

    Raises UserError for fewer than some 200 texts of 32 tokens or more.
    """
    loaded = Tokenizer.load(tokenizer)
    counts = np.zeros(loaded.vocabulary, dtype=np.int64)
    counted = 0
    sample: list[tuple[int, str]] = []  # a heap of the held-out texts with the smallest hashes, negated
    places: set[int] = set()  # of the texts in it
    for number, text in enumerate(texts, 1):
        if number % _EVERY == 0:
            _say(f"{number:,} texts")
        place = hash64(text)
        if place % 10:
            counts += np.bincount(loaded.encode(text), minlength=loaded.vocabulary)
            counted += 1
        elif place not in places:
            places.add(place)
            heapq.heappush(sample, (-place, text))
            if len(sample) > _SAMPLE:
                places.remove(-heapq.heappop(sample)[0])
    held_out = [ids for _, text in sorted(sample) if len(ids := tokens(loaded, text)) >= LENGTHS[0]]
    if len(held_out) < FEWEST:
        raise UserError(
            f"only {len(held_out)} held-out texts have {LENGTHS[0]} tokens or more, which is too few to say what is "
            f"usual: give at least {10 * FEWEST} texts"
        )
    logs = log_shares(counts)
    expected = _expected(held_out, logs)
    distribution = Distribution(loaded, logs, expected)
    scores = [score for _, text in sorted(sample) if (score := distribution.score(text)) is not None]
    report = Report(
        counted,
        int(counts.sum()),
        len(held_out),
        {f"{p:g}": round(float(np.percentile(scores, p)), 4) for p in _PERCENTILES},
    )
    write_artifact(
        models_dir / f"token_distribution-{language}",
        {COUNTS: npy(counts), EXPECTED: npy(expected), TOKENIZER: tokenizer},
        kind="token_distribution",
        format="counts of tokens (numpy) and their tokenizer",
        licence=licence,
        origin=origin,
        parameters={
            "texts": report.texts,
            "tokens": report.tokens,
            "held_out": report.held_out,
            "percentiles": report.percentiles,
        },
    )
    return report


def _expected(held_out: Sequence[npt.NDArray[np.int32]], logs: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Mean divergence of the beginnings of held-out texts, by length."""
    means: list[float] = []
    for length in LENGTHS:
        found = [divergence(ids[:length], logs) for ids in held_out if len(ids) >= length]
        means.append(float(np.mean(found)) if len(found) >= _FEWEST_LONG or not means else means[-1])
    return np.round(means, 6)


def read_texts(path: Path, language: str = "") -> Iterator[str]:
    """The texts of a folder of Parquet parts or of a JSON Lines file; of one language, where they name theirs.

    Raises InputError.
    """
    if path.is_dir():
        parts = sorted(path.glob("*.parquet"))
        if not parts:
            raise InputError(f"{path} holds no .parquet files: name the folder `kept` of a stage")
        for part in parts:
            yield from _of_part(part, language)
        return
    for row in jsonl.rows(path, "text"):
        if not (language and row.get("language")) or row["language"] == language:
            yield row["text"]


def _of_part(part: Path, language: str) -> Iterator[str]:
    try:
        with pq.ParquetFile(part) as file:
            names = [name for name in ("text", "language") if name in file.schema_arrow.names]
            if "text" not in names:
                raise InputError(f"{part} has no column called text: name the folder `kept` of a stage")
            for batch in file.iter_batches(batch_size=512, columns=names):
                for row in batch.to_pylist():
                    if not (language and row.get("language")) or row["language"] == language:
                        yield row["text"]
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"cannot read {part}: {error}") from None


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    parser = CommandLine(prog="python -m models.train_token_distribution", description=__doc__.partition("\n")[0])
    parser.add_argument("inputs", type=Path, nargs="+", metavar="INPUT", help="folders `kept`, or JSON Lines")
    parser.add_argument("--tokenizer", type=Path, required=True, help="of models.train_tokenizer, or a run's own")
    parser.add_argument("--out", type=Path, required=True, metavar="MODELS", help="directory of the model artifacts")
    parser.add_argument("--language", default="en", help="of the texts; others are left out (default: en)")
    arguments = parser.parse_args(argv)
    if not re.fullmatch("[a-z]{2,3}", arguments.language):
        raise UserError(f"--language is a code such as en, not {arguments.language!r}")
    report = train_token_distribution(
        (text for path in arguments.inputs for text in read_texts(path, arguments.language)),
        arguments.tokenizer,
        arguments.out,
        language=arguments.language,
        origin="tokens of " + ", ".join("/".join(path.parts[-2:]) for path in arguments.inputs),
        licence="counts only; that of the texts does not extend to them",
    )
    _say(f"counted {report.tokens:,} tokens of {report.texts:,} texts; {report.held_out:,} texts held out")
    for percentile, score in report.percentiles.items():
        _say(f"  max = {score:.4f} drops {100 - float(percentile):g} % of texts like these")
    _say(f"wrote {arguments.out / ('token_distribution-' + arguments.language)}")
    return 0


if __name__ == "__main__":
    sys.exit(exit_on_user_error(main))
