"""The vote against its oracle."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import oracles
from fastnn._core._vote import sum_votes


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 30),
    k=st.integers(1, 9),
    n_classes=st.integers(1, 5),
    weighted=st.booleans(),
)
def test_sums(seed, n, k, n_classes, weighted):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, 50)
    neighbors = rng.integers(0, 50, (n, k))
    weights = rng.random((n, k)) if weighted else None
    np.testing.assert_array_equal(
        sum_votes(neighbors, labels, n_classes, weights, 1),
        oracles.votes(neighbors, labels, n_classes, weights),
    )


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_threads(rng, n_threads):
    labels = rng.integers(0, 10, 100)
    neighbors = rng.integers(0, 100, (20_000, 8))
    weights = rng.random((20_000, 8))
    one = sum_votes(neighbors, labels, 10, weights, 1)
    np.testing.assert_array_equal(sum_votes(neighbors, labels, 10, weights, n_threads), one)


def test_nothing_to_sum():
    labels = np.zeros(3, np.int64)
    assert sum_votes(np.empty((0, 2), np.int64), labels, 2, None, 1).shape == (0, 2)
