"""Scans of bytes under L2, with each table: four features a step where the CPU has VNNI, or where
bytes have seven bits. Builds for debugging have a table that does without the CPU's instructions.

Sums of quads are half of the others', so that a bit for each sample decides among neighbors: data
are such that distances are close, and odd and even.
"""

import pickle

import numpy as np
import pytest

import fastnn
import oracles
from fastnn._core.search._flat import find_neighbors
from fastnn._core.search._index import FlatIndex
from fastnn._search.searcher import Searcher

TABLES = fastnn.available_isas()


@pytest.fixture(params=TABLES)
def table(request):
    before = fastnn.get_isa()
    fastnn.set_isa(request.param)
    yield request.param
    fastnn.set_isa(before)


def close(rng, n, d):
    """Distances differ by few, and are as often odd as even."""
    return (128 + rng.integers(0, 2, (n, d)) * rng.integers(0, 3, (n, 1))).astype(np.uint8)


def extreme(rng, n, d):
    return (255 * rng.integers(0, 2, (n, d))).astype(np.uint8)


def anything(rng, n, d):
    return rng.integers(0, 256, (n, d)).astype(np.uint8)


@pytest.mark.parametrize("family", [close, extreme, anything])
@pytest.mark.parametrize("d", [1, 2, 3, 4, 5, 7, 8, 9, 33, 64, 127, 600])
@pytest.mark.parametrize("n", [5, 33, 700])
def test_all_tables_find_the_same(table, family, d, n, rng):
    Y, X = family(rng, n, d), family(rng, 40, d)
    Y[: n // 3] = Y[n - n // 3 :]
    for k in {1, min(n, 12)}:
        for metric in ("l2", "sqeuclidean"):
            expected = oracles.kneighbors(X, Y, k, metric)
            for n_threads in (1, 3):
                searcher = Searcher(Y, metric, "brute")
                for _ in range(3):  # packed panels stay
                    found = searcher.kneighbors(X, k, n_threads)[:2]
                    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("family", [close, extreme, anything])
@pytest.mark.parametrize("d", [3, 64, 130])
def test_radius(table, family, d, rng):
    Y, X = family(rng, 300, d), family(rng, 30, d)
    radius = float(np.median(oracles.distances(X, Y, "sqeuclidean")))
    expected = oracles.radius_neighbors(X, Y, radius, "sqeuclidean")
    slices = Searcher(Y, "sqeuclidean", "brute").radius_neighbors(X, radius, 2, True).slices
    for i in range(2):
        np.testing.assert_array_equal(
            np.concatenate([part[1 + i] for part in slices]),
            np.concatenate([found[i] for found in expected]),
        )


@pytest.mark.parametrize("family", [close, extreme])
def test_samples_in_another_order(table, family, rng):
    """Ties go to the smaller index all the same."""
    Y, X = family(rng, 500, 20), family(rng, 40, 20)
    order = rng.permutation(500)
    index = FlatIndex(Y, "sqeuclidean", None, None, order)
    found = find_neighbors(X, index, 9, "sqeuclidean", 2)
    np.testing.assert_array_equal(found, oracles.kneighbors(X, Y, 9, "sqeuclidean"))


@pytest.mark.parametrize("family", [extreme, anything])
def test_rows_that_are_scanned_in_parts(table, family, rng):
    Y, X = family(rng, 90, 39_999), family(rng, 20, 39_999)
    found = Searcher(Y, "l2", "brute").kneighbors(X, 5, 2)[:2]
    np.testing.assert_array_equal(found, oracles.kneighbors(X, Y, 5, "l2"))


@pytest.mark.parametrize("family", [close, extreme, anything])
@pytest.mark.parametrize("d", [1, 2, 3, 4, 5, 7, 8, 9, 13, 33, 64, 127, 600, 9_001])
def test_bytes_of_seven_bits(table, family, d, rng):
    """The largest products of the largest sums fit, or they would be cut off."""
    Y, X = family(rng, 300, d) // 2, family(rng, 40, d) // 2
    assert Y.max() <= 127
    index = FlatIndex(Y, "sqeuclidean", narrow=True)
    for _ in range(3):
        found = find_neighbors(X, index, 9, "sqeuclidean", 2)
        np.testing.assert_array_equal(found, oracles.kneighbors(X, Y, 9, "sqeuclidean"))
    again = pickle.loads(pickle.dumps(index))
    assert again.narrow
    np.testing.assert_array_equal(find_neighbors(X, again, 9, "sqeuclidean", 2), found)


def test_an_index_that_another_table_has_packed(rng):
    Y, X = close(rng, 300, 30), close(rng, 40, 30)
    expected = oracles.kneighbors(X, Y, 7, "l2")
    before = fastnn.get_isa()
    try:
        for first in TABLES:
            fastnn.set_isa(first)
            searcher = Searcher(Y, "l2", "brute")
            for isa in TABLES:
                fastnn.set_isa(isa)
                np.testing.assert_array_equal(searcher.kneighbors(X, 7, 1)[:2], expected)
    finally:
        fastnn.set_isa(before)
