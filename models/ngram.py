"""Estimate an n-gram language model: interpolated modified Kneser-Ney, as KenLM's `lmplz` does it, in numpy.

Chen & Goodman 1998, section 3, with the adjusted counts, the pruning and the unknown word of Heafield et al. 2013. The
whole corpus is held in memory, about 60 bytes a word and order: for gigabytes of text, put `lmplz` on the PATH.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

BOS, EOS, UNKNOWN = "<s>", "</s>", "<unk>"
_FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)  # lmplz --discount_fallback, where counts of counts give no valid discount

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Order:
    """All n-grams of one length, each an index into these arrays, sorted by (prefix, word)."""

    prefix: Ints  # index of w1..w(n-1) in the order below
    suffix: Ints  # index of w2..wn in the order below
    word: Ints
    raw: Ints  # how often it occurs
    adjusted: Ints  # what Kneser-Ney counts: occurrences at the highest order or after <s>, else different words before


def write_arpa(sentences: Iterable[Sequence[str]], path: Path, order: int, prune: Sequence[int]) -> list[int]:
    """Estimate the model of `order` and write it to `path` in ARPA format. Returns the number of n-grams per order.

    `prune[n-1]` is for n-grams of length n: those that occur so often or less are left out (0 keeps all, as `lmplz
    --prune`); it must begin with 0 and not decrease. The words never seen share the probability that interpolation
    with the uniform distribution gives to `<unk>`, so the model always has one. Raises ValueError without any word.
    """
    if len(prune) != order or prune[0] != 0 or list(prune) != sorted(prune):
        raise ValueError(f"prune must be {order} numbers that begin with 0 and do not decrease: {list(prune)}")
    words, tokens = _tokens(sentences)
    orders = _count(tokens, len(words), order)
    kept = [counted.raw > threshold for counted, threshold in zip(orders, prune, strict=True)]
    probabilities, backoffs = _estimate(orders, kept)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with open(temporary, "w", encoding="utf-8", newline="\n") as file:
        file.write("\\data\\\n")
        counts = [int(mask.sum()) for mask in kept]
        file.writelines(f"ngram {n}={count}\n" for n, count in enumerate(counts, 1))
        texts: list[str] = []
        for n, counted in enumerate(orders, 1):
            texts = [
                f"{texts[prefix]} {words[word]}" if n > 1 else words[word]
                for prefix, word in zip(counted.prefix.tolist(), counted.word.tolist(), strict=True)
            ]
            file.write(f"\n\\{n}-grams:\n")
            with np.errstate(divide="ignore"):
                logs = np.maximum(np.log10(probabilities[n - 1]), -99)
            if n < order:
                rows = zip(logs.tolist(), texts, np.log10(backoffs[n - 1]).tolist(), kept[n - 1].tolist(), strict=True)
                file.writelines(f"{log:.6f}\t{text}\t{backoff:.6f}\n" for log, text, backoff, keep in rows if keep)
            else:
                leaves = zip(logs.tolist(), texts, kept[n - 1].tolist(), strict=True)
                file.writelines(f"{log:.6f}\t{text}\n" for log, text, keep in leaves if keep)
        file.write("\n\\end\\\n")
    os.replace(temporary, path)
    return counts


def _tokens(sentences: Iterable[Sequence[str]]) -> tuple[list[str], Ints]:
    """The vocabulary, and the corpus as its indices: <unk> is 0 and does not occur, <s> 1 and </s> 2 end sentences."""
    index = {UNKNOWN: 0, BOS: 1, EOS: 2}
    pieces: list[Ints] = []
    for sentence in sentences:
        if any(word in (UNKNOWN, BOS, EOS) for word in sentence):
            raise ValueError("a sentence may not hold <unk>, <s> or </s>")
        pieces.append(np.array([1, *(index.setdefault(word, len(index)) for word in sentence), 2], dtype=np.int64))
    if len(index) == 3:
        raise ValueError("no word to learn from")
    return list(index), np.concatenate(pieces)


def _count(tokens: Ints, vocabulary: int, order: int) -> list[_Order]:
    ends = np.flatnonzero(tokens == 2)
    room = (
        np.repeat(ends, np.diff(ends, prepend=-1)) - np.arange(len(tokens)) + 1
    )  # words from here to </s>, both counted
    raw = np.bincount(tokens, minlength=vocabulary)
    everything = np.arange(vocabulary)
    prefixes, suffixes, words, raws = (
        [np.zeros(vocabulary, np.int64)],
        [np.zeros(vocabulary, np.int64)],
        [everything],
        [raw],
    )
    begins_with_bos = [everything == 1]
    below = tokens  # for each position, the index of the n-gram that begins there, one order below
    for n in range(2, order + 1):
        positions = np.flatnonzero(room >= n)
        keys = below[positions] * vocabulary + tokens[positions + n - 1]
        by_key = np.argsort(keys, kind="stable")
        keys = keys[by_key]
        first = np.flatnonzero(np.diff(keys, prepend=-1))
        current = np.full(len(tokens), -1, dtype=np.int64)
        current[positions[by_key]] = np.repeat(np.arange(len(first)), np.diff(first, append=len(keys)))
        prefixes.append(keys[first] // vocabulary)
        words.append(keys[first] % vocabulary)
        suffixes.append(below[positions[by_key[first]] + 1])
        raws.append(np.diff(first, append=len(keys)))
        begins_with_bos.append(begins_with_bos[-1][prefixes[-1]])
        below = current
    orders = []
    for n in range(order):
        adjusted = raws[n]
        if n + 1 < order:
            different = np.bincount(suffixes[n + 1], minlength=len(raws[n]))
            adjusted = np.where(begins_with_bos[n], raws[n], different)
        if n == 0:
            adjusted = np.where(begins_with_bos[0], 0, adjusted)  # <s> is never predicted
            raws[0] = np.maximum(raws[0], 1)  # <unk> does not occur and is kept
        orders.append(_Order(prefix=prefixes[n], suffix=suffixes[n], word=words[n], raw=raws[n], adjusted=adjusted))
    return orders


def _estimate(orders: list[_Order], kept: list[npt.NDArray[np.bool_]]) -> tuple[list[Floats], list[Floats]]:
    """Probability of each n-gram, interpolated down to uniform, and its back-off weight as a context (1 if none)."""
    probabilities: list[Floats] = []
    backoffs: list[Floats] = []
    for n, (order, keep) in enumerate(zip(orders, kept, strict=True)):
        discounts = _discounts(order.adjusted)
        discount = discounts[np.minimum(order.adjusted, 3)]
        contexts = len(orders[n - 1].raw) if n else 1
        total = np.bincount(order.prefix, order.adjusted, contexts)
        seen = total > 0
        # What a context does not give to the words kept after it: their discounts, and all of those pruned.
        left = np.bincount(order.prefix, np.where(keep, discount, order.adjusted), contexts)
        weight = np.divide(left, total, out=np.ones(contexts), where=seen)
        own = (order.adjusted - discount) / total[order.prefix]
        if n:
            backoffs.append(weight)
            probabilities.append(own + weight[order.prefix] * probabilities[-1][order.suffix])
        else:
            uniform = 1 / (len(order.word) - 1)  # over all words and <unk>, but not <s>
            probabilities.append(np.where(order.word == 1, 0.0, own + weight[0] * uniform))
    return probabilities, backoffs


def _discounts(adjusted: Ints) -> Floats:
    """Discounts of n-grams counted 0, 1, 2, 3 and more times (Chen & Goodman 1998, equation 26)."""
    t1, t2, t3, t4 = (int(count) for count in np.bincount(np.minimum(adjusted, 5), minlength=6)[1:5])
    if t1 and t2 and t3:
        y = t1 / (t1 + 2 * t2)
        discounts = (1 - 2 * y * t2 / t1, 2 - 3 * y * t3 / t2, 3 - 4 * y * t4 / t3)
        if all(0 <= discount <= count for count, discount in enumerate(discounts, 1)):
            return np.array([0, *discounts])
    return np.array([0, *_FALLBACK_DISCOUNTS])
