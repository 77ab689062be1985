"""Metrics that are those of the kernels, once rows are mapped: correlation and haversine."""

import pickle

import numpy as np
import pytest
import scipy.spatial.distance
import sklearn.neighbors
from sklearn.metrics.pairwise import haversine_distances

import datasets_for_search as data
import fastnn
import oracles
from fastnn._search import metric_spaces
from fastnn.metrics import pairwise_distances, pairwise_distances_chunked
from fastnn.neighbors import KNeighborsClassifier, NearestNeighbors, kneighbors_of_blocks

ALGORITHMS = ["auto", "brute", "bounded", "kd_tree", "ivf"]


def angles(rng, n, dtype=np.float64):
    """Of places, some of them twice, some at the poles, and some beside others."""
    X = np.stack([np.arcsin(rng.uniform(-1, 1, n)), rng.uniform(-np.pi, np.pi, n)], axis=1)
    X[n // 2 : n // 2 + n // 8] = X[: n // 8]
    X[-3:, 0] = np.pi / 2
    X[n // 4 : n // 3] = X[0] + 1e-7 * rng.standard_normal((n // 3 - n // 4, 2))
    return X.astype(dtype)


# ---- correlation ---------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
@pytest.mark.parametrize("d", [2, 5, 70])
def test_correlation(algorithm, dtype, d, rng):
    X, Y = (data.make(data.normal, rng, n, d, dtype) for n in (40, 200))
    Y[7] = 3  # constant: at distance 1 from all others, and at none from the next
    Y[11] = 5
    expected = oracles.kneighbors(X, Y, 9, "correlation")
    oracles.assert_same(fastnn.kneighbors(X, Y, 9, "correlation", algorithm=algorithm), expected)
    model = NearestNeighbors(metric="correlation", algorithm="auto").fit(Y)
    oracles.assert_same(model.kneighbors(X, 9), expected)
    itself = oracles.kneighbors_of_itself(Y, 5, "correlation")
    oracles.assert_same(model.kneighbors(), itself)
    assert itself[1][7, 0] == 11
    mask = rng.random(200) < 0.5
    distances, indices = oracles.kneighbors(X, Y[mask], 9, "correlation")
    found = model.kneighbors(X, 9, where=mask)
    oracles.assert_same(found, (distances, np.flatnonzero(mask)[indices]))


@pytest.mark.parametrize("d", [1, 3, 7, 100])
def test_rows_of_one_value_correlate_with_none(d, rng):
    """Whatever rounding leaves of them."""
    X = np.repeat(rng.random((50, 1)), d, axis=1)
    assert (pairwise_distances(X, metric="correlation") == 0).all()
    found = pairwise_distances(X, np.arange(1.0, d + 1)[None], "correlation")
    np.testing.assert_allclose(found, d > 1, rtol=1e-15)


def test_correlation_of_huge_and_tiny_values(rng):
    X = rng.random((20, 6))
    expected = fastnn.kneighbors(X, X, 5, "correlation")
    for scale in (2.0**1022, 2.0**-900):
        oracles.assert_same(fastnn.kneighbors(X * scale, X * scale, 5, "correlation"), expected)


def test_correlation_is_scipys(rng):
    X = 10.0 + rng.standard_normal((50, 9))
    expected = scipy.spatial.distance.cdist(X, X, "correlation")
    found = pairwise_distances(X, metric="correlation")
    np.testing.assert_allclose(found, expected, atol=1e-14)
    assert (np.diag(found) == 0).all()
    chunks = list(pairwise_distances_chunked(X, metric="correlation"))
    np.testing.assert_array_equal(np.concatenate(chunks), found)


@pytest.mark.parametrize("n_values", [1, 100, 1000])
def test_correlation_part_by_part(n_values, monkeypatch, rng):
    """However many rows are centered at a time."""
    X = data.make(data.normal, rng, 60, 70, np.float32)
    expected = fastnn.kneighbors(X, X, 5, "correlation")
    monkeypatch.setattr(metric_spaces, "HELD_VALUES", n_values)
    oracles.assert_same(fastnn.kneighbors(X, X, 5, "correlation"), expected)


# ---- haversine -----------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_haversine(algorithm, dtype, rng):
    X, Y = angles(rng, 60, dtype), angles(rng, 400, dtype)
    expected = oracles.kneighbors(X, Y, 7, "haversine")
    oracles.assert_same(fastnn.kneighbors(X, Y, 7, "haversine", algorithm=algorithm), expected)
    model = NearestNeighbors(metric="haversine").fit(Y)
    oracles.assert_same(model.kneighbors(X, 7), expected)
    oracles.assert_same(pickle.loads(pickle.dumps(model)).kneighbors(X, 7), expected)
    oracles.assert_same(
        model.kneighbors(n_neighbors=7), oracles.kneighbors_of_itself(Y, 7, "haversine")
    )
    oracles.assert_same(
        kneighbors_of_blocks(X, [Y[:150], Y[150:]], 7, "haversine", algorithm=algorithm), expected
    )
    theirs = sklearn.neighbors.NearestNeighbors(metric="haversine", algorithm="ball_tree").fit(Y)
    np.testing.assert_allclose(theirs.kneighbors(X, 7)[0], expected[0], atol=1e-7)


@pytest.mark.parametrize("radius", [1e-7, 0.1, 1.0, 3.0, np.pi, 4.0])
@pytest.mark.parametrize("sort_results", [False, True])
def test_haversine_within_a_radius(radius, sort_results, rng):
    X, Y = angles(rng, 60), angles(rng, 400)
    exact = oracles.distances(X, Y, "haversine")
    if radius == 1.0:
        radius = float(exact[3, 5])  # this very one is within
    model = NearestNeighbors(metric="haversine").fit(Y)
    found = model.radius_neighbors(X, radius, sort_results=sort_results)
    alone = model.radius_neighbors(X, radius, return_distance=False)
    for i in range(60):
        indices = np.flatnonzero(exact[i] <= radius)
        np.testing.assert_array_equal(alone[i], indices)
        if sort_results:
            indices = indices[np.argsort(exact[i][indices], kind="stable")]
        np.testing.assert_array_equal(found[1][i], indices)
        np.testing.assert_array_equal(found[0][i], exact[i][indices])


def test_haversine_distances_are_scikit_learns(rng):
    X, Y = angles(rng, 60), angles(rng, 90)
    for rows in (Y, None):
        found = pairwise_distances(X, rows, "haversine")
        np.testing.assert_allclose(found, haversine_distances(X, rows), atol=5e-8)
    assert (np.diag(found) == 0).all()
    narrow = pairwise_distances(X.astype(np.float32), metric="haversine")
    assert narrow.dtype == np.float32
    exact = pairwise_distances(X.astype(np.float32).astype(float), metric="haversine")
    np.testing.assert_array_equal(narrow, exact.astype(np.float32))
    chunks = list(pairwise_distances_chunked(X, metric="haversine"))
    np.testing.assert_array_equal(np.concatenate(chunks), found)


def test_a_tree_serves_haversine(rng):
    Y = angles(rng, 50_000)
    model = NearestNeighbors(metric="haversine").fit(Y)
    model.kneighbors(Y)
    assert model.effective_algorithm_ == "kd_tree"


def test_labels_by_place(rng):
    X = angles(rng, 200)
    y = (X[:, 0] > 0).astype(int)
    ours = KNeighborsClassifier(3, metric="haversine").fit(X, y)
    theirs = sklearn.neighbors.KNeighborsClassifier(3, metric="haversine").fit(X, y)
    Q = angles(rng, 100)
    np.testing.assert_array_equal(ours.predict(Q), theirs.predict(Q))


def test_errors(rng):
    X = rng.standard_normal((30, 3))
    message = "metric 'haversine' takes 2 features, latitude and longitude, got 3"
    with pytest.raises(ValueError, match=message):
        fastnn.kneighbors(X, X, 3, "haversine")
    with pytest.raises(ValueError, match=message):
        pairwise_distances(X, metric="haversine")
    with pytest.raises(ValueError, match=r"2 dimensions|2 features"):
        NearestNeighbors(metric="haversine").fit(X).kneighbors(X)
    for metric in ("haversine", "correlation"):
        bad = X[:, :2].copy()
        bad[3, 1] = np.inf
        with pytest.raises(ValueError, match="got infinity at row 3, column 1"):
            fastnn.kneighbors(bad, X[:, :2], 3, metric)
        with pytest.raises(ValueError, match="got infinity at row 3, column 1"):
            pairwise_distances(bad, metric=metric)
