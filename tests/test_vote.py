"""The vote against its oracle."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import oracles
from fastnn._core.search._vote import neighbors_in_resample, predict_for_each_k, sum_votes


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


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 30),
    n_neighbors=st.integers(1, 40),
    n_classes=st.integers(1, 5),
    weights=st.sampled_from(["none", "ties", "reals"]),
    n_threads=st.integers(1, 3),
)
def test_winners_for_each_k(seed, n, n_neighbors, n_classes, weights, n_threads):
    """The first of the largest sums, which are those of sum_votes bit for bit."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, 50)
    neighbors = rng.integers(0, 50, (n, n_neighbors))
    values = {
        "none": None,
        "ties": rng.integers(0, 3, (n, n_neighbors)) / 2,
        "reals": rng.random((n, n_neighbors)),
    }[weights]
    numbers = np.unique(rng.integers(1, n_neighbors + 1, 6))
    winners = predict_for_each_k(neighbors, labels, n_classes, values, numbers, n_threads)
    assert winners.shape == (n, len(numbers))
    for k, column in zip(numbers, winners.T, strict=True):
        first = None if values is None else values[:, :k]
        sums = oracles.votes(neighbors[:, :k], labels, n_classes, first)
        np.testing.assert_array_equal(column, sums.argmax(axis=1))


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_threads_of_the_vote_for_each_k(rng, n_threads):
    labels = rng.integers(0, 10, 100)
    neighbors = rng.integers(0, 100, (20_000, 8))
    numbers = np.array([1, 5, 8])
    winners = predict_for_each_k(neighbors, labels, 10, None, numbers, n_threads)
    for k, column in zip(numbers, winners.T, strict=True):
        expected = oracles.votes(neighbors[:, :k], labels, 10).argmax(axis=1)
        np.testing.assert_array_equal(column, expected)


def test_nobody_votes():
    none = np.empty((0, 3), np.int64)
    labels, numbers = np.zeros(3, np.int64), np.array([1, 3])
    assert predict_for_each_k(none, labels, 2, None, numbers, 1).shape == (0, 2)
    found = neighbors_in_resample(none, np.empty((0, 3)), labels, 2)
    assert [part.shape for part in found] == [(0, 2), (0, 2), (0,)]


@given(seed=st.integers(0, 2**32 - 1), n_neighbors=st.integers(1, 30), k=st.integers(1, 40))
def test_neighbors_in_a_resample(seed, n_neighbors, k):
    rng = np.random.default_rng(seed)
    n = 30
    neighbors = np.array([rng.permutation(n)[:n_neighbors] for _ in range(7)])
    distances = np.sort(rng.random(neighbors.shape), axis=1)
    counts = np.bincount(rng.integers(0, n, n), minlength=n)
    resample = np.repeat(np.arange(n), counts)
    found = neighbors_in_resample(neighbors, distances, counts, k)
    for i in range(7):
        positions = [p for j in neighbors[i] for p in np.flatnonzero(resample == j)]
        expected = np.repeat(distances[i], counts[neighbors[i]])
        assert found[2][i] == min(k, len(positions))
        np.testing.assert_array_equal(found[1][i, : found[2][i]], positions[:k])
        np.testing.assert_array_equal(found[0][i, : found[2][i]], expected[:k])
