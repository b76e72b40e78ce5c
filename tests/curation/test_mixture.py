from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.document import document_key
from curation.errors import RecipeError
from curation.mixture import TOLERANCE, Mixture, keys64, mix_order, one_more, prefix_order, shard_of, warnings

WORDS64 = st.integers(0, (1 << 64) - 1)
KEYS = st.lists(WORDS64, max_size=40)
ORDERS: list[Callable[[np.ndarray, int], np.ndarray]] = [
    prefix_order,
    lambda keys, seed: mix_order(keys, seed, 0),
    lambda keys, seed: mix_order(keys, seed, 3),
]


def uint64(values: list[int]) -> np.ndarray:
    return np.array(values, dtype=np.uint64)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": {"a": 1.0}, "tokens": 1, "epochs": {"a": 1.0}}, "not both"),
        ({"weights": {"a": 1.0}, "epochs": {"a": 1.0}}, "not both"),
        ({"weights": {"a": 1.0}}, "go together"),
        ({"tokens": 1}, "go together"),
        ({"epochs": {"a": 1.0}, "tokens": 1}, "go together"),
        ({"weights": {"a": 1.0}, "tokens": -1}, "not negative"),
        ({"weights": {}, "tokens": 1}, "weights are"),
        ({"weights": {"a": 0.0}, "tokens": 1}, "weights are"),
        ({"weights": {"a": 1.0, "b": -1e-9}, "tokens": 1}, "weights are"),
        ({"weights": {"a": math.inf}, "tokens": 1}, "weights are"),
        ({"weights": {"a": math.nan}, "tokens": 1}, "weights are"),
        ({"epochs": {}}, "epochs are"),
        ({"epochs": {"a": 0.0}}, "epochs are"),
        ({"epochs": {"a": -1.0}}, "epochs are"),
        ({"epochs": {"a": math.inf}}, "epochs are"),
        ({"seed": -1}, "seed"),
        ({"seed": 1 << 64}, "seed"),
    ],
)
def test_what_a_mixture_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Mixture(**options)


def test_the_largest_and_smallest_seed_order_documents() -> None:
    for seed in (0, (1 << 64) - 1):
        assert len(prefix_order(uint64([1, 2]), Mixture(seed=seed).seed)) == 2


def test_without_a_mixture_every_source_is_seen_once() -> None:
    assert Mixture().passes({"a": 5, "b": 0}) == {"a": 1.0, "b": 1.0}


def test_epochs_are_as_asked_and_0_where_not_named() -> None:
    mixture = Mixture(epochs={"a": 1.5, "b": 0.0, "c": 0.0})
    assert mixture.passes({"a": 5, "b": 7, "d": 9}) == {"a": 1.5, "b": 0.0, "d": 0.0}


def test_weights_share_the_tokens() -> None:
    mixture = Mixture(weights={"a": 3, "b": 1, "c": 0}, tokens=1000)
    assert mixture.passes({"a": 250, "b": 500, "c": 10, "d": 10, "e": 0}) == {
        "a": 3.0,
        "b": 0.5,
        "c": 0,
        "d": 0,
        "e": 0,
    }


@given(st.dictionaries(st.sampled_from("abcde"), st.floats(0.01, 100), min_size=1), st.integers(1, 10**13))
def test_weights_spend_the_budget(weights: dict[str, float], tokens: int) -> None:
    available = {source: 1000 + i for i, source in enumerate("abcde")}
    passes = Mixture(weights=weights, tokens=tokens).passes(available)
    spent = {source: passes[source] * count for source, count in available.items()}
    assert sum(spent.values()) == pytest.approx(tokens)
    for source, weight in weights.items():
        assert spent[source] == pytest.approx(tokens * weight / sum(weights.values()))


def test_llama1s_mixture() -> None:
    """LLaMA-1, table 1: 1.4 T tokens. The paper does not state how large its sources are; here that follows."""
    weights = {"cc": 67.0, "c4": 15.0, "github": 4.5, "wikipedia": 4.5, "books": 4.5, "arxiv": 2.5, "se": 2.0}
    epochs = {"cc": 1.10, "c4": 1.06, "github": 0.64, "wikipedia": 2.45, "books": 2.23, "arxiv": 1.06, "se": 1.03}
    tokens = 1_400_000_000_000
    available = {name: round(tokens * weights[name] / 100 / epochs[name]) for name in weights}
    passes = Mixture(weights=weights, tokens=tokens).passes(available)
    assert passes == pytest.approx(epochs, rel=1e-9)


@pytest.mark.parametrize("available", [{"a": 5}, {"a": 5, "gone": 0}])
def test_a_weight_needs_its_source_and_epochs_do_not(available: dict[str, int]) -> None:
    with pytest.raises(RecipeError, match="'gone'"):
        Mixture(weights={"a": 1, "gone": 1}, tokens=5).passes(available)
    assert Mixture(weights={"a": 1, "gone": 0}, tokens=5).passes(available)["a"] == 1.0
    assert Mixture(epochs={"a": 1, "gone": 2}).passes(available)["a"] == 1.0


def test_keys64_is_the_first_half_of_each_key() -> None:
    keys = [document_key(f"web:f#{i}") for i in range(5)]
    packed = np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(-1, 16)
    assert keys64(packed).tolist() == [int.from_bytes(key[:8], "little") for key in keys]
    assert keys64(packed[:0]).shape == (0,)


@pytest.mark.parametrize("order", ORDERS)
@given(KEYS, WORDS64, st.integers(0, 40))
def test_an_order_does_not_depend_on_the_batch(
    order: Callable[[np.ndarray, int], np.ndarray], keys: list[int], seed: int, cut: int
) -> None:
    whole = order(uint64(keys), seed)
    assert whole.dtype == np.uint64
    apart = [*order(uint64(keys[:cut]), seed).tolist(), *order(uint64(keys[cut:]), seed).tolist()]
    assert whole.tolist() == apart
    assert order(uint64(keys[::-1]), seed).tolist() == whole.tolist()[::-1]
    assert len(np.unique(whole)) == len(set(keys))  # a bijection: two documents never share a place


def test_orders_have_nothing_to_do_with_each_other() -> None:
    """The prefix, each pass and each seed order documents anew: rank correlations within 5 standard errors of 0."""
    keys = np.arange(20_000, dtype=np.uint64)
    orders = [prefix_order(keys, 0), prefix_order(keys, 1), *(mix_order(keys, s, t) for s in (0, 1) for t in (0, 1, 2))]
    ranks = np.array([keys, *(np.argsort(np.argsort(order)) for order in orders)])
    correlations = np.corrcoef(ranks) - np.eye(len(ranks))
    assert np.abs(correlations).max() < 5 / math.sqrt(len(keys))


def test_a_prefix_is_a_fair_sample() -> None:
    """A tenth of the line holds a tenth of the documents, within 5 standard deviations."""
    order = prefix_order(np.arange(100_000, dtype=np.uint64), 7)
    inside = int((order < np.uint64((1 << 64) // 10)).sum())
    assert abs(inside - 10_000) < 5 * math.sqrt(100_000 * 0.1 * 0.9)


@given(st.lists(WORDS64), st.integers(1, 1 << 32))
def test_shard_of_in_whole_numbers(order: list[int], shards: int) -> None:
    assert shard_of(uint64(order), shards).tolist() == [place * shards >> 64 for place in order]


@given(st.integers(1, 1 << 32), st.data())
def test_shard_of_at_each_edge(shards: int, data: st.DataObject) -> None:
    """The first place of a shard, and the place before it, which random places never meet."""
    shard = data.draw(st.integers(1, shards)) if shards > 1 else 1
    first = -(-(shard << 64) // shards)
    edge = [place for place in (first - 1, first) if place < 1 << 64]
    assert shard_of(uint64(edge), shards).tolist() == [shard - 1, shard][: len(edge)]


@pytest.mark.parametrize("shards", [1, 2, 3, 7, 64, 1000])
def test_every_shard_is_there_in_order(shards: int) -> None:
    places = np.linspace(0, (1 << 64) - 1, 10 * shards, endpoint=False).astype(np.uint64)
    homes = shard_of(np.append(places, np.uint64((1 << 64) - 1)), shards)
    assert homes.dtype == np.int64
    assert (np.diff(homes) >= 0).all()
    assert np.unique(homes).tolist() == list(range(shards))


SHORT = st.integers(1, 1000).flatmap(lambda size: st.tuples(st.integers(0, size - 1), st.just(size)))


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.tuples(st.integers(1, 1000), SHORT), min_size=1), st.data())
def test_shares_hold_within_one_document(sources: dict[str, tuple[int, tuple[int, int]]], data: st.DataObject) -> None:
    """Whatever the weights, and wherever in a document each budget ends; one document is the largest at an end."""
    whole = sum(weight for weight, _ in sources.values())
    budget = data.draw(st.integers(whole * 1000, whole * 100_000)) // whole * whole
    asked = {name: budget * weight // whole for name, (weight, _) in sources.items()}
    more = one_more({name: short for name, (_, short) in sources.items()})
    mixed = {n: asked[n] - lacks + (size if n in more else 0) for n, (_, (lacks, size)) in sources.items()}
    one = max(size for _, (_, size) in sources.values()) / sum(mixed.values())
    for name, (weight, _) in sources.items():
        assert abs(mixed[name] / sum(mixed.values()) - weight / whole) <= max(TOLERANCE, one)
    assert abs(sum(mixed.values()) - budget) <= max(size for _, (_, size) in sources.values())


def test_one_more_is_given_out_by_largest_remainders() -> None:
    assert one_more({"a": (9, 10), "b": (5, 10), "c": (1, 10)}) == {"a"}  # 15 missing; a second one would overshoot
    assert one_more({"a": (9, 10), "b": (8, 10), "c": (7, 10)}) == {"a", "b"}  # 24 missing
    assert one_more({"a": (5, 10), "b": (5, 10)}) == {"a"}  # 10 missing: by name
    assert one_more({"a": (500, 10_000), "b": (4, 10)}) == {"b"}  # the next of a is far larger than what is missing
    assert one_more({"a": (5, 10)}) == set()  # as far below as above
    assert one_more({"a": (6, 10)}) == {"a"}
    assert one_more({"a": (0, 0)}) == one_more({}) == set()


def source_row(**changes: Any) -> dict[str, Any]:
    """A source of which 1,000 documents of 1,000 tokens are seen once, and are all of the mixture."""
    row = {"name": "web", "documents": 1000, "tokens": 10**6, "epochs_asked": 1.0, "epochs": 1.0}
    row |= {"tokens_asked": 10**6, "mixed_tokens": 10**6, "share_asked": 1.0, "share": 1.0}
    return {**row, **changes}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, None),
        ({"epochs": 4.0}, None),
        ({"epochs": 4.01}, "repeated 4.0 times"),
        ({"tokens": 0, "documents": 0, "mixed_tokens": 0}, "has no training tokens"),
        ({"epochs_asked": 0.0, "tokens_asked": 0, "mixed_tokens": 0}, "asks for nothing"),
        ({"mixed_tokens": 0, "share": 0.0}, "its documents are larger"),
        ({"share_asked": 0.9991}, None),
        ({"share_asked": 0.9989}, "100.00% of the mixture where 99.89% was asked"),
        ({"share_asked": 0.9951, "documents": 200}, None),  # a document is 0.5 % of the mixture
        ({"share_asked": 0.9949, "documents": 200}, "where 99.49% was asked"),
    ],
)
def test_what_a_mixture_warns_of(changes: dict[str, Any], said: str | None) -> None:
    lines = warnings([source_row(**changes)], {})
    assert len(lines) == (said is not None)
    for line in lines:
        assert line.count("web") == 1
        assert said in line


def test_a_source_without_input_is_named_if_it_was_asked_for() -> None:
    assert warnings([source_row()], {"books": 0.0}) == []
    (line,) = warnings([source_row()], {"books": 2.5})
    assert line.startswith("books has no input")
    assert "2.5 epochs" in line
