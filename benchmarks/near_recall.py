"""Does near-deduplication find what its formula promises? And what does a signature cost?

    python -m benchmarks.near_recall

Texts are random words. Copies have some of their words replaced, so that the Jaccard similarity of the n-grams lies
near a planted value from 0.5 to 0.95; every figure is against the exact similarity, computed from the sets.

1. The share of equal rows as an estimate of Jaccard: mean error and root mean square error, beside datasketch's.
2. Pairs that share a bucket, beside 1 - (1 - s^rows)^bands and beside datasketch's LSH with as many bands and rows.
3. A corpus through the whole deduplication: recall and precision of its drops against exact Jaccard, for thresholds.
4. Milliseconds from text to signature, beside datasketch and (where it is installed) datatrove.
"""

from __future__ import annotations

import math
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import datasketch
import numpy as np

from curation.dedup.near import Near, minhash, shingles, tokens
from curation.dedup.verdict import rule_of
from curation.document import Document
from curation.errors import CommandLine, exit_on_user_error

SIMILARITIES = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
WORDS = 200  # of a text


def base_text(generator: np.random.Generator) -> list[str]:
    return [f"w{number}" for number in generator.zipf(1.3, WORDS) % 50_000]


def near_copy(words: Sequence[str], similarity: float, ngram: int, generator: np.random.Generator) -> list[str]:
    """The words with some replaced, so that the n-grams' Jaccard similarity comes near to what is asked.

    Where c of N n-grams change, (N - c) / (N + c) is what is shared. Words that are replaced stand n or more apart and
    away from the ends, so that each changes n of its own.
    """
    count = len(words) - ngram + 1
    changes = round((1 - similarity) / (1 + similarity) * count / ngram)
    copy = list(words)
    for number, place in enumerate(generator.choice(range(ngram - 1, count, ngram), changes, replace=False)):
        copy[place] = f"new{generator.integers(1 << 60)}-{number}"
    return copy


def jaccard(a: np.ndarray, b: np.ndarray) -> float:
    shared = len(np.intersect1d(a, b, assume_unique=True))
    return shared / (len(a) + len(b) - shared)


def pairs(near: Near, count: int, seed: int) -> Iterator[tuple[float, str, str]]:
    """`count` pairs of texts for each planted similarity."""
    generator = np.random.default_rng(seed)
    for similarity in SIMILARITIES:
        for _ in range(count):
            words = base_text(generator)
            yield similarity, " ".join(words), " ".join(near_copy(words, similarity, near.ngram, generator))


def sketch(text: str, near: Near) -> datasketch.MinHash:
    """datasketch's own signature of the same n-grams."""
    words = tokens(text.lower())
    length = min(near.ngram, len(words))
    ngrams = {" ".join(words[i : i + length]).encode() for i in range(len(words) - length + 1)}
    result = datasketch.MinHash(num_perm=near.bands * near.rows, seed=1)
    result.update_batch(ngrams)
    return result


@dataclass(frozen=True, slots=True)
class Curve:
    """Of the pairs of one planted similarity: exact Jaccard, errors of both estimates, and who shared a bucket."""

    exact: np.ndarray
    error: np.ndarray
    error_datasketch: np.ndarray
    met: np.ndarray
    met_datasketch: np.ndarray


def curves(near: Near, count: int, seed: int = 0) -> dict[float, Curve]:
    rows: dict[float, list[tuple[float, ...]]] = defaultdict(list)
    for planted, left, right in pairs(near, count, seed):
        a, b = (shingles(text, near.ngram) for text in (left, right))
        exact = jaccard(a, b)
        ours = [minhash(hashes, near.bands * near.rows).reshape(near.bands, near.rows) for hashes in (a, b)]
        theirs = [sketch(text, near) for text in (left, right)]
        lsh = datasketch.MinHashLSH(num_perm=near.bands * near.rows, params=(near.bands, near.rows))
        lsh.insert("left", theirs[0])
        bands = [near.hashes(Document(id="", url="", date="", digest="", text=text)) for text in (left, right)]
        rows[planted].append(
            (
                exact,
                float((ours[0] == ours[1]).mean()) - exact,
                theirs[0].jaccard(theirs[1]) - exact,
                float((bands[0] == bands[1]).any()),
                float(bool(lsh.query(theirs[1]))),
            )
        )
    return {planted: Curve(*map(np.array, zip(*found, strict=True))) for planted, found in rows.items()}


def promised(similarity: np.ndarray, near: Near) -> np.ndarray:
    result: np.ndarray = 1 - (1 - similarity**near.rows) ** near.bands
    return result


def corpus(near: Near, families: int, seed: int) -> list[str]:
    """Texts, each with up to three near copies at planted similarities, in random order."""
    generator = np.random.default_rng(seed)
    texts = []
    for _ in range(families):
        words = base_text(generator)
        texts.append(" ".join(words))
        for similarity in generator.choice(SIMILARITIES, generator.integers(4)):
            texts.append(" ".join(near_copy(words, float(similarity), near.ngram, generator)))
    generator.shuffle(texts)
    return texts


def best_before(sets: Sequence[np.ndarray]) -> np.ndarray:
    """The largest exact Jaccard similarity of each set with one that comes before it: float64 [sets]."""
    holders: dict[int, list[int]] = defaultdict(list)
    result = np.zeros(len(sets))
    for number, values in enumerate(sets):
        shared: dict[int, int] = defaultdict(int)
        for value in values.tolist():
            for other in holders[value]:
                shared[other] += 1
            holders[value].append(number)
        for other, count in shared.items():
            result[number] = max(result[number], count / (len(values) + len(sets[other]) - count))
    return result


def dropped(near: Near, texts: Sequence[str], parts: int) -> np.ndarray:
    """Which texts the deduplication drops, cut into parts: bool [texts]."""
    rule = rule_of(near)
    hashes = [near.hashes(Document(id="", url="", date="", digest="", text=text)) for text in texts]
    edges = np.linspace(0, len(texts), parts + 1).astype(int)
    made = []
    for start, end in pairwise(edges):
        ordinals = np.repeat(np.arange(end - start, dtype=np.uint32), [len(h) for h in hashes[start:end]])
        made.append(rule.claims(np.concatenate(hashes[start:end]), ordinals, np.zeros_like(ordinals)))
    rows = np.concatenate(made)
    numbers = np.repeat(np.arange(parts), [len(claims) for claims in made])
    lost = rule.losing(rows["hash"], numbers, rows["weight"])
    verdicts = []
    for number, (start, end) in enumerate(pairwise(edges)):
        losers = np.sort(rows["hash"][lost & (numbers == number)])
        verdicts += [
            not rule.survives(hashes[i], i - start, made[number], losers).all() for i in range(int(start), int(end))
        ]
    return np.array(verdicts)


def milliseconds(call: Callable[[str], Any], texts: Sequence[str], rounds: int = 5) -> float:
    """Process time a text, the best of some rounds."""
    best = math.inf
    for _ in range(rounds):
        started = time.process_time()
        for text in texts:
            call(text)
        best = min(best, time.process_time() - started)
    return best / len(texts) * 1000


def datatrove_signature(near: Near) -> Callable[[str], Any] | None:
    try:
        from datatrove.data import Document as TheirDocument  # type: ignore[import-not-found]
        from datatrove.pipeline.dedup import MinhashDedupSignature  # type: ignore[import-not-found]
        from datatrove.pipeline.dedup.minhash import MinhashConfig  # type: ignore[import-not-found]
    except ImportError:
        return None
    config = MinhashConfig(n_grams=near.ngram, num_buckets=near.bands, hashes_per_bucket=near.rows)
    step = MinhashDedupSignature("unused", config)
    return lambda text: step.get_signature(step.get_shingles(TheirDocument(text=text, id="").text))


def print_curves(near: Near, count: int) -> None:
    print(f"\n{near.bands} bands of {near.rows}, {near.ngram}-grams, {count} pairs a line")
    print(f"{'':9}{'error of the estimate':>31}{'':9}{'share a bucket':>26}")
    heads = (f"{'Jaccard':>9}", f"{'mean':>10}", f"{'rms':>9}", f"{'datasketch':>12}")
    print(*heads, f"{'formula':>13}", f"{'found':>9}", f"{'s.e.':>8}", f"{'datasketch':>12}", sep="")
    for curve in curves(near, count).values():
        expected = promised(curve.exact, near)
        deviation = math.sqrt(float((expected * (1 - expected)).sum())) / count
        rms, theirs = (float(np.sqrt((e**2).mean())) for e in (curve.error, curve.error_datasketch))
        print(
            f"{curve.exact.mean():>9.3f}{curve.error.mean():>+10.4f}{rms:>9.4f}{theirs:>12.4f}{expected.mean():>13.3f}"
            f"{curve.met.mean():>9.3f}{deviation:>8.3f}{curve.met_datasketch.mean():>12.3f}"
        )


def print_corpus(near: Near, families: int) -> None:
    texts = corpus(near, families, seed=1)
    best, went = best_before([shingles(text, near.ngram) for text in texts]), dropped(near, texts, parts=7)
    print(f"\n{len(texts)} texts, {families} families, 7 parts: {went.sum()} dropped")
    print(f"{'Jaccard >=':>10}{'true':>8}{'recall':>9}{'formula':>9}{'precision':>11}")
    for threshold in (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9):
        true = best >= threshold
        print(
            f"{threshold:>10.2f}{true.sum():>8}{went[true].mean():>9.3f}{promised(best[true], near).mean():>9.3f}"
            f"{true[went].mean():>11.3f}"
        )


def print_speed(near: Near) -> None:
    generator = np.random.default_rng(2)
    texts = [" ".join(f"w{number}" for number in generator.zipf(1.3, 550) % 50_000) for _ in range(100)]
    count = near.bands * near.rows
    timed: dict[str, Callable[[str], Any] | None] = {
        "Winnow": lambda text: minhash(shingles(text, near.ngram), count),
        "datasketch": lambda text: sketch(text, near),
        "datatrove": datatrove_signature(near),
    }
    print(f"\ntext of 550 words to {count} rows, ms of process time")
    ours = 0.0
    for name, call in timed.items():
        if call is None:
            print(f"{name:<12}{'not installed':>14}")
            continue
        found = milliseconds(call, texts)
        ours = ours or found
        print(f"{name:<12}{found:>14.3f}{found / ours:>8.1f} x")


def main(argv: Sequence[str] | None = None) -> int:
    parser = CommandLine(prog="python -m benchmarks.near_recall", description=__doc__.partition("\n")[0])
    parser.add_argument("--ngram", type=int, default=5)
    parser.add_argument("--bands", type=int, default=14)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--pairs", type=int, default=500, help="for each similarity")
    parser.add_argument("--families", type=int, default=2000, help="of near duplicates in the corpus")
    arguments = parser.parse_args(argv)
    near = Near(ngram=arguments.ngram, bands=arguments.bands, rows=arguments.rows)
    print_curves(near, arguments.pairs)
    print_corpus(near, arguments.families)
    print_speed(near)
    return 0


if __name__ == "__main__":
    sys.exit(exit_on_user_error(main))
