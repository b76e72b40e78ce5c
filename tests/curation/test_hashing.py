from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.hashing import folded, hash64, splitmix64

GAMMA = 0x9E3779B97F4A7C15
MASK = (1 << 64) - 1
VALUES = st.integers(0, MASK)


def reference(value: int) -> int:
    z = (value + GAMMA) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


@pytest.mark.parametrize("text", ["", "a", "é語", "a.example/x?y"])
def test_a_hash_is_the_beginning_of_a_blake2b(text: str) -> None:
    assert hash64(text) == int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def test_lone_surrogates_have_hashes_of_their_own() -> None:
    assert len({hash64("\ud800"), hash64("\ud801"), hash64("?"), hash64("")}) == 4


@pytest.mark.parametrize("text", ["Some Text", " some\t TEXT\n", "some\u3000text", "SOME\xa0text"])
def test_folded(text: str) -> None:
    assert folded(text) == "some text"


def test_published_stream() -> None:
    """The first outputs of the SplitMix64 generator for the seed 1234567."""
    states = np.array([(1234567 + i * GAMMA) & MASK for i in range(5)], dtype=np.uint64)
    assert splitmix64(states).tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


@given(st.lists(VALUES))
def test_element_by_element(values: list[int]) -> None:
    hashed = splitmix64(np.array(values, dtype=np.uint64))
    assert hashed.dtype == np.uint64
    assert hashed.tolist() == [reference(value) for value in values]


def test_shape_stays_and_the_argument_is_untouched() -> None:
    values = np.arange(6, dtype=np.uint64).reshape(2, 3)
    assert splitmix64(values).shape == (2, 3)
    assert values.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_no_two_of_a_range_meet() -> None:
    assert len(np.unique(splitmix64(np.arange(100_000, dtype=np.uint64)))) == 100_000
