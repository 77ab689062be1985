"""Radius search against the oracle, and the invariants it promises."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import datasets_for_search as data
import oracles
from fastnn._core.search._flat import find_within_radius
from fastnn.neighbors import NearestNeighbors

DTYPES = [np.float32, np.float64, np.uint8]
METRICS = ["l1", "l2", "sqeuclidean", "chebyshev"]


def within(X, Y, radius, metric, n_threads=2, by_distance=True, exclude_self=False):
    """All results as a list of (distances, indices), one for each query."""
    if X.dtype == np.uint8 and metric == "chebyshev":
        X, Y = X.astype(np.float32), Y.astype(np.float32)  # as searchers do
    arguments = (X, Y, radius, metric, n_threads, by_distance)
    slices = find_within_radius(*arguments, exclude_self=exclude_self)
    if slices is None:
        slices = find_within_radius(*arguments, by_rows=True, exclude_self=exclude_self)
    found = []
    for counts, distances, indices in slices:
        assert distances.dtype == np.float64
        assert indices.dtype == np.int64
        assert counts.sum() == distances.size == indices.size
        stops = np.cumsum(counts)[:-1]
        found += zip(np.split(distances, stops), np.split(indices, stops), strict=True)
    return found


def assert_same(found, expected):
    assert len(found) == len(expected)
    for (distances, indices), (expected_distances, expected_indices) in zip(
        found, expected, strict=True
    ):
        np.testing.assert_array_equal(indices, expected_indices)
        np.testing.assert_array_equal(distances, expected_distances)


def some_radii(X, Y, metric):
    """None, few, half and all of the samples, and a distance that occurs exactly."""
    values = oracles.distances(X, Y, metric)
    values = values[np.isfinite(values)]
    return [0.0, *np.quantile(values, [0.02, 0.5], method="lower"), values.max(), np.inf]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("dtype", "generator"), data.CASES, ids=data.CASE_NAMES)
def test_equals_the_oracle(isa, rng, dtype, generator, metric):
    for d in (1, 8, 33, 128):
        Y = data.make(generator, rng, 200, d, dtype)
        X = np.ascontiguousarray(Y[::7])
        for radius in some_radii(X, Y, metric):
            expected = oracles.radius_neighbors(X, Y, radius, metric)
            assert_same(within(X, Y, radius, metric), expected)
            assert_same(within(X[:2], Y, radius, metric), expected[:2])


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_same_answer_for_any_number_of_threads_and_queries(rng, dtype, metric):
    Y = data.make(data.integers, rng, 3000, 12, dtype)
    for n_queries in (1, 3, 30, 300):
        X = np.ascontiguousarray(Y[:n_queries])
        radius = np.quantile(oracles.distances(X, Y, metric), 0.1)
        expected = oracles.radius_neighbors(X, Y, radius, metric)
        for n_threads in (1, 2, 3, 7):
            assert_same(within(X, Y, radius, metric, n_threads), expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_order_by_index(rng, dtype):
    Y = data.make(data.normal, rng, 2000, 6, dtype)
    for n_queries in (1, 9, 400):
        X = np.ascontiguousarray(Y[:n_queries])
        radius = np.quantile(oracles.distances(X, Y, "l2"), 0.2)
        for n_threads in (1, 4):
            found = within(X, Y, radius, "l2", n_threads, by_distance=False)
            expected = oracles.radius_neighbors(X, Y, radius, "l2")
            for (distances, indices), (all_distances, all_indices) in zip(
                found, expected, strict=True
            ):
                order = np.argsort(all_indices)
                np.testing.assert_array_equal(indices, all_indices[order])
                np.testing.assert_array_equal(distances, all_distances[order])


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_no_row_is_its_own_neighbor(rng, dtype, metric):
    X = data.make(data.duplicated, rng, 400, 5, dtype)
    for radius in some_radii(X, X, metric):
        expected = oracles.radius_neighbors(X, X, radius, metric, exclude_self=True)
        assert_same(within(X, X, radius, metric, exclude_self=True), expected)


def test_many_chunks_and_slices(rng):
    """More rows than one packed chunk holds, more queries than one slice."""
    Y = rng.random((70_000, 3), dtype=np.float32)
    found = within(Y[:9000], Y, 0.02, "l2")
    some = rng.choice(9000, 40, replace=False)
    expected = oracles.radius_neighbors(Y[some], Y, 0.02, "l2")
    assert_same([found[i] for i in some], expected)


def test_the_radius_itself_is_within():
    """Rounded roots and squares of the radius must not lose a sample on the boundary."""
    Y = np.arange(1.0, 400.0)[:, None] ** 0.5
    X = np.zeros((6, 1))
    for metric in METRICS:
        for distance in oracles.distances(X[:1], Y, metric)[0]:
            for n_queries in (1, 6):
                for distances, _ in within(X[:n_queries], Y, distance, metric):
                    assert distances[-1] == distance
            below = np.nextafter(distance, 0)
            assert all((d < distance).all() for d, _ in within(X, Y, below, metric))


@settings(max_examples=100)
@given(data=st.data())
def test_any_finite_values(data):
    dtype = data.draw(st.sampled_from(DTYPES))
    d, n, n_queries = (data.draw(st.integers(1, high)) for high in (20, 60, 12))
    if dtype == np.uint8:
        values = st.integers(0, 255)
    else:
        width = np.dtype(dtype).itemsize * 8
        values = st.floats(allow_nan=False, allow_infinity=False, width=width)
    X = data.draw(hnp.arrays(dtype, (n_queries, d), elements=values))
    Y = data.draw(hnp.arrays(dtype, (n, d), elements=values))
    metric = data.draw(st.sampled_from(METRICS))
    every = oracles.distances(X, Y, metric).ravel()
    radius = data.draw(st.one_of(st.sampled_from(every.tolist()), st.floats(0, 1e300)))
    assert_same(within(X, Y, radius, metric), oracles.radius_neighbors(X, Y, radius, metric))


@pytest.mark.parametrize("n_queries", [1, 40])
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("metric", METRICS)
def test_values_that_are_not_finite_are_reported(rng, metric, value, n_queries):
    X, Y = rng.standard_normal((n_queries, 5)), rng.standard_normal((300, 5))
    Y[-1, 2] = value
    assert find_within_radius(X, Y, 1.0, metric, 2, True) is None


def test_rows_of_one_length_stay_rows():
    """An object array of arrays of one length must not become a 2-D array."""
    model = NearestNeighbors(radius=0.5).fit([[0.0], [1.0], [2.0]])
    distances, indices = model.radius_neighbors([[0.1], [1.1]])
    for result in (distances, indices):
        assert result.dtype == object
        assert result.shape == (2,)
        assert [row.shape for row in result] == [(1,), (1,)]
    assert [row.size for row in model.radius_neighbors([[9.0], [8.0]])[1]] == [0, 0]


def test_memory_grows_with_the_results_alone(rng):
    """All pairs of a small set within the radius: every list grows many times."""
    X = rng.standard_normal((1500, 4))
    found = within(X, X, np.inf, "l1", by_distance=False)
    assert all(np.array_equal(indices, np.arange(1500)) for _, indices in found)
