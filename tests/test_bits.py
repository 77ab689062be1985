"""Hamming distances of zeros and ones: L1 of bytes, over the number of features."""

import numpy as np
import pytest
import sklearn.metrics
import sklearn.neighbors

import fastnn
import fastnn.accel
import oracles
from fastnn.metrics import pairwise_distances, pairwise_distances_argmin_min
from fastnn.neighbors import KNeighborsClassifier, NearestNeighbors, kneighbors_of_blocks


def shares(X, Y):
    return (X[:, None] != Y).sum(axis=2) / X.shape[1]


def nearest(X, Y, k):
    exact = shares(X, Y)
    order = np.argsort(exact, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(exact, order, 1), order


def bits(rng, n, d, dtype):
    return (rng.random((n, d)) < 0.3).astype(dtype)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float32, np.float64])
@pytest.mark.parametrize("algorithm", ["auto", "brute", "bounded", "kd_tree", "ivf"])
@pytest.mark.parametrize("d", [1, 3, 49, 130])
def test_neighbors(dtype, algorithm, d, rng):
    X, Y = bits(rng, 20, d, dtype), bits(rng, 300, d, dtype)
    recall = 0.9 if algorithm == "ivf" else 1.0
    found = fastnn.kneighbors(X, Y, 7, "hamming", algorithm=algorithm, recall=recall)
    oracles.assert_same(found, nearest(X, Y, 7))
    model = NearestNeighbors(n_neighbors=7, metric="hamming").fit(Y)
    for queries in (X, X[:1], X.astype(np.float64)):
        oracles.assert_same(model.kneighbors(queries), nearest(queries, Y, 7))
    theirs = sklearn.neighbors.NearestNeighbors(n_neighbors=7, metric="hamming").fit(Y)
    np.testing.assert_array_equal(model.kneighbors(X)[0], theirs.kneighbors(X)[0])
    mask = rng.random(300) < 0.4
    distances, indices = nearest(X, Y[mask], 7)
    oracles.assert_same(model.kneighbors(X, where=mask), (distances, np.flatnonzero(mask)[indices]))
    oracles.assert_same(kneighbors_of_blocks(X, [Y[:90], Y[90:]], 7, "hamming"), nearest(X, Y, 7))
    model.partial_fit(X).remove([0, 1])
    left, all_rows = model.sample_indices_, np.concatenate([Y, X])
    distances, indices = nearest(X, all_rows[left], 7)
    oracles.assert_same(model.kneighbors(X), (distances, left[indices]))


@pytest.mark.parametrize("d", [1, 3, 49, 100])
@pytest.mark.parametrize("algorithm", ["brute", "kd_tree"])
def test_within_a_share(d, algorithm, rng):
    """Every share that there is, and its neighbors on either side."""
    X, Y = bits(rng, 9, d, np.uint8), bits(rng, 80, d, np.uint8)
    exact = shares(X, Y)
    model = NearestNeighbors(metric="hamming", algorithm="brute").fit(Y)
    for share in [*np.arange(d + 1) / d, 0.0, 1.0, 2.0]:
        for radius in (share, np.nextafter(share, 2.0), max(0.0, np.nextafter(share, -1.0))):
            indices = fastnn.radius_neighbors(X, Y, radius, "hamming", algorithm=algorithm)[1]
            for i in range(9):
                np.testing.assert_array_equal(indices[i], np.flatnonzero(exact[i] <= radius))
            counts = model.radius_neighbors(X, radius, count_only=True)
            np.testing.assert_array_equal(counts, (exact <= radius).sum(axis=1))


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float32, np.float64])
def test_distances(dtype, rng):
    X, Y = bits(rng, 30, 49, dtype), bits(rng, 40, 49, dtype)
    found = pairwise_distances(X, Y, "hamming")
    np.testing.assert_allclose(found, shares(X, Y), rtol=1e-7)
    theirs = sklearn.metrics.pairwise_distances(X, Y, "hamming")
    np.testing.assert_array_equal(found, theirs.astype(found.dtype))
    np.testing.assert_array_equal(np.diag(pairwise_distances(X, metric="hamming")), np.zeros(30))
    indices, least = pairwise_distances_argmin_min(X, Y, metric="hamming")
    np.testing.assert_array_equal(indices, nearest(X, Y, 1)[1][:, 0])
    np.testing.assert_array_equal(least, nearest(X, Y, 1)[0][:, 0])


def test_other_values_are_scikit_learns(rng):
    X, Y = rng.integers(0, 5, (20, 9)), rng.integers(0, 5, (100, 9))
    y = np.arange(100) % 3
    for estimator in (NearestNeighbors, KNeighborsClassifier):
        ours = (
            estimator(3, metric="hamming")
            if estimator is KNeighborsClassifier
            else estimator(n_neighbors=3, metric="hamming")
        )
        theirs = getattr(sklearn.neighbors, estimator.__name__)(
            **{n: v for n, v in ours.get_params().items() if n not in ("recall", "class_weight")}
        )
        ours.fit(Y, y)
        theirs.fit(Y, y)
        np.testing.assert_array_equal(ours.kneighbors(X)[0], theirs.kneighbors(X)[0])
    # Samples are zeros and ones, queries are not.
    model = NearestNeighbors(n_neighbors=3, metric="hamming").fit(Y % 2)
    np.testing.assert_array_equal(model.kneighbors(X)[0], nearest(X, Y % 2, 3)[0])
    np.testing.assert_array_equal(
        pairwise_distances(X, Y, "hamming"), sklearn.metrics.pairwise_distances(X, Y, "hamming")
    )
    with pytest.raises(ValueError, match="NaN"):
        model.kneighbors(np.full((1, 9), np.nan))


def test_functions_say_what_they_take(rng):
    Y = bits(rng, 30, 5, np.float64)
    X = Y[:3].copy()
    X[1, 2] = 0.5
    message = "X must have zeros and ones for metric 'hamming', got 0.5 in row 1, feature 2"
    with pytest.raises(ValueError, match=message):
        fastnn.kneighbors(X, Y, 2, "hamming")
    with pytest.raises(ValueError, match=message.replace("X must", "Y must")):
        fastnn.kneighbors(Y, X, 2, "hamming")
    with pytest.raises(ValueError, match=r"blocks\[1\] must have .* in row 31, feature 2"):
        kneighbors_of_blocks(Y, [Y, X], 2, "hamming")
    with pytest.raises(ValueError, match=message):
        NearestNeighbors(metric="hamming").fit(Y).partial_fit(X)


def test_under_accel(rng):
    X, Y = bits(rng, 20, 49, bool), bits(rng, 300, 49, bool)
    theirs = sklearn.neighbors.NearestNeighbors(metric="hamming").fit(Y)
    expected = theirs.kneighbors(X)[0]
    with fastnn.accel.enabled():
        again = sklearn.neighbors.NearestNeighbors(metric="hamming").fit(Y)
        np.testing.assert_array_equal(again.kneighbors(X)[0], expected)
        found = sklearn.metrics.pairwise_distances(X, Y, "hamming")
    np.testing.assert_array_equal(found, sklearn.metrics.pairwise_distances(X, Y, "hamming"))
