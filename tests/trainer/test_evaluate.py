from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from curation.token_shard import Dataset
from tests.trainer.conftest import token_losses
from trainer.config import ModelConfig
from trainer.evaluate import evaluate, evaluate_unigram, from_log, heldout, table, to_log, total, unigram
from trainer.model import Llama, build

Make = Callable[..., Path]
CPU = torch.device("cpu")
BOS, EOS = 1, 2


def model(vocabulary: int, context: int = 8) -> Llama:
    made = build(
        ModelConfig(dim=16, layers=2, heads=2, kv_heads=1, ffn=24, context=context, vocabulary=vocabulary), CPU
    )
    made.initialise(0)
    return made


def test_unigram_bits_per_byte_by_hand(dataset_of: Make) -> None:
    """Training predicts 3, 3, 4, EOS; vocabulary 6 without BOS leaves 5 kinds, so 4 + 5 counts in all."""
    path = dataset_of(
        [[[BOS, 3, 3, 4, EOS]]], {"web": [([BOS, 3, 5, EOS], 7)], "books": [([BOS, EOS], 0)]}, vocabulary=6
    )
    dataset = Dataset.open(path)
    bits = unigram(dataset)
    assert 2**-bits == pytest.approx([1 / 9, 0, 2 / 9, 3 / 9, 2 / 9, 1 / 9])
    books, web = evaluate_unigram(bits, dataset)[:2]
    assert (web.source, web.documents, web.tokens, web.bytes) == ("web", 1, 3, 7)
    assert web.bits_per_byte == pytest.approx(-(math.log2(3 / 9) + math.log2(1 / 9) + math.log2(2 / 9)) / 7)
    assert (books.tokens, books.bytes) == (1, 0)
    assert math.isnan(books.bits_per_byte)
    assert total([books, web]).bits_per_byte == pytest.approx((books.bits + web.bits) / 7)


def test_a_model_that_knows_nothing_pays_log2_of_the_vocabulary_for_each_prediction(dataset_of: Make) -> None:
    documents = [([BOS, *range(3, 3 + n), EOS], 10 + n) for n in (0, 1, 6, 7, 8, 15, 16, 40)]  # edges of stretches of 8
    dataset = Dataset.open(dataset_of([[[BOS, 3, EOS]]], {"web": documents}, vocabulary=64))
    ignorant = model(64)
    assert ignorant.head is not None
    ignorant.head.weight.data.zero_()
    (score,) = evaluate(ignorant, dataset, 8, CPU)
    predictions = sum(len(tokens) - 1 for tokens, _ in documents)
    assert (score.documents, score.tokens, score.bytes) == (8, predictions, sum(size for _, size in documents))
    assert score.bits == pytest.approx(6 * predictions)


def test_stretches_begin_anew_and_padding_changes_nothing(dataset_of: Make) -> None:
    rng = np.random.default_rng(0)
    documents = [[BOS, *rng.integers(3, 64, n).tolist(), EOS] for n in (3, 19, 7, 30)]
    dataset = Dataset.open(dataset_of([documents], {"web": [(tokens, 5) for tokens in documents]}, vocabulary=64))
    learned = model(64)
    for parameter in learned.parameters():
        parameter.data += torch.randn_like(parameter) * 0.3
    (score,) = evaluate(learned, dataset, 8, CPU)
    nats = 0.0
    for tokens in documents:
        for start in range(0, len(tokens) - 1, 8):
            nats += token_losses(learned, torch.tensor([tokens[start : start + 9]])).sum().item()
    assert score.bits == pytest.approx(nats / math.log(2), rel=1e-5)


def test_a_limit_takes_whole_documents_of_each_source_in_order(dataset_of: Make) -> None:
    web = [([BOS, 3, 4, EOS], i) for i in range(4)]
    path = dataset_of([[[BOS, 3, EOS]]], {"books": [([BOS, 3, EOS], 9)], "web": web}, vocabulary=6)
    taken = [(source, size) for source, _, size in heldout(Dataset.open(path), limit=8)]
    assert taken == [(0, 9), (2, 0), (2, 1)]


def test_scores_survive_the_log_and_print_as_a_table(dataset_of: Make) -> None:
    path = dataset_of([[[BOS, 3, EOS]]], {"web": [([BOS, 3, EOS], 4)], "books": [([BOS, 3, EOS], 2)]}, vocabulary=6)
    scores = evaluate_unigram(unigram(Dataset.open(path)), Dataset.open(path))
    assert from_log(to_log(scores)) == scores
    lines = table({"unigram": scores}).splitlines()
    assert [line.split()[0] for line in lines] == ["source", "books", "web", "all"]
    assert lines[3].split()[-1] == f"{total(scores).bits_per_byte:.4f}"
