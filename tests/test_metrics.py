"""The functions of fastnn.metrics against scikit-learn's; pairwise_distances has its own file."""

import numpy as np
import pytest
import scipy.sparse
import sklearn
import sklearn.metrics
from sklearn.metrics import pairwise

import fastnn.metrics
import oracles

METRICS = [
    ("l1", {}),
    ("cityblock", {}),
    ("euclidean", {}),
    ("sqeuclidean", {}),
    ("chebyshev", {}),
    ("cosine", {}),
    ("minkowski", {"p": 1}),
    ("minkowski", {"p": 2, "w": np.arange(1.0, 8.0)}),
    ("minkowski", {"p": 1, "w": np.arange(1.0, 8.0)}),
]


@pytest.fixture
def sets(rng):
    return rng.standard_normal((60, 7)), rng.standard_normal((90, 7))


@pytest.mark.parametrize(("metric", "parameters"), METRICS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_pairwise_distances(sets, fallbacks, dtype, metric, parameters):
    X, Y = ((np.abs(40 * A)).astype(dtype) for A in sets)
    tolerance = {"rtol": 1e-5, "atol": 1e-6} if dtype == np.float32 else {"atol": 1e-13}
    for other in (Y, None):
        distances = fastnn.metrics.pairwise_distances(X, other, metric, **parameters)
        wide = other if other is None else other.astype(float)
        expected = sklearn.metrics.pairwise_distances(X.astype(float), wide, metric, **parameters)
        np.testing.assert_allclose(distances, expected, **tolerance)
        if other is None:
            np.testing.assert_array_equal(distances, distances.T)
            assert (distances.diagonal() == 0.0).all()
    assert fallbacks() == []


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
@pytest.mark.parametrize("d", [1, 3, 4, 5, 8, 17, 130])
def test_chebyshev_distances_are_exact(isa, rng, d, dtype):
    X, Y = ((100 * rng.random((n, d))).astype(dtype) for n in (300, 37))
    for Z in (Y, X):
        for n_jobs in (1, 3):
            distances = fastnn.metrics.pairwise_distances(
                X, None if Z is X else Z, "chebyshev", n_jobs=n_jobs
            )
            expected = oracles.distances(X, Z, "chebyshev")
            np.testing.assert_array_equal(distances, expected.astype(distances.dtype))


def test_named_distances(sets):
    X, Y = sets
    for name in ("euclidean_distances", "manhattan_distances", "cosine_distances"):
        for other in (Y, None):
            np.testing.assert_allclose(
                getattr(fastnn.metrics, name)(X, other),
                getattr(pairwise, name)(X, other),
                rtol=1e-12,
                atol=1e-7 if other is None else 1e-14,
            )
    np.testing.assert_allclose(
        fastnn.metrics.euclidean_distances(X, Y, squared=True),
        pairwise.euclidean_distances(X, Y, squared=True),
    )


@pytest.mark.parametrize(("metric", "parameters"), METRICS)
@pytest.mark.parametrize("axis", [0, 1])
def test_nearest(sets, axis, metric, parameters):
    X, Y = sets
    indices, distances = fastnn.metrics.pairwise_distances_argmin_min(
        X, Y, axis=axis, metric=metric, metric_kwargs=parameters
    )
    expected = sklearn.metrics.pairwise_distances(X, Y, metric, **parameters)
    np.testing.assert_array_equal(indices, expected.argmin(axis=axis))
    np.testing.assert_allclose(distances, expected.min(axis=axis), atol=1e-13)
    np.testing.assert_array_equal(
        fastnn.metrics.pairwise_distances_argmin(
            X, Y, axis=axis, metric=metric, metric_kwargs=parameters
        ),
        indices,
    )


def test_nearest_squared_and_out_of_range(sets):
    X, Y = sets
    plain = fastnn.metrics.pairwise_distances_argmin_min(X, Y)
    squared = fastnn.metrics.pairwise_distances_argmin_min(X, Y, metric_kwargs={"squared": True})
    np.testing.assert_array_equal(squared[0], plain[0])
    np.testing.assert_allclose(squared[1], plain[1] ** 2)
    huge = fastnn.metrics.pairwise_distances_argmin_min(1e200 * X, 1e200 * Y, metric="l1")
    expected = fastnn.metrics.pairwise_distances_argmin_min(X, Y, metric="l1")
    np.testing.assert_array_equal(huge[0], expected[0])
    Y[3, 3] = np.nan
    with pytest.raises(ValueError, match="Y must hold finite numbers, got NaN at row 3"):
        fastnn.metrics.pairwise_distances_argmin(X, Y)


@pytest.mark.parametrize(("metric", "parameters"), METRICS)
def test_chunks(sets, metric, parameters):
    X, Y = sets
    for other in (Y, None):
        whole = fastnn.metrics.pairwise_distances(X, other, metric, **parameters)
        with sklearn.config_context(working_memory=0.01):
            chunks = list(
                fastnn.metrics.pairwise_distances_chunked(X, other, metric=metric, **parameters)
            )
        assert len(chunks) >= 3
        np.testing.assert_allclose(np.concatenate(chunks), whole, rtol=1e-12, atol=1e-15)
        (one,) = fastnn.metrics.pairwise_distances_chunked(X, other, metric=metric, **parameters)
        np.testing.assert_allclose(one, whole, rtol=1e-12)


def test_chunks_are_reduced(sets):
    X, Y = sets
    starts = []

    def nearest(distances, start):
        starts.append(start)
        return distances.argmin(axis=1), distances.min(axis=1)

    results = list(
        fastnn.metrics.pairwise_distances_chunked(
            X, Y, reduce_func=nearest, working_memory=0.01, squared=True
        )
    )
    indices, distances = map(np.concatenate, zip(*results, strict=True))
    expected = fastnn.metrics.pairwise_distances_argmin_min(X, Y, metric="sqeuclidean")
    np.testing.assert_array_equal(indices, expected[0])
    np.testing.assert_allclose(distances, expected[1])
    np.testing.assert_array_equal(starts, np.cumsum([0, *(len(r[0]) for r in results)])[:-1])
    with pytest.raises(ValueError, match="same length as input"):
        next(fastnn.metrics.pairwise_distances_chunked(X, reduce_func=lambda d, s: d[1:]))


def test_what_scikit_learn_computes(sets, fallbacks):
    X, Y = sets
    sparse = scipy.sparse.csr_array(X)
    metrics = fastnn.metrics
    for ours, theirs in [
        (
            metrics.pairwise_distances(X, Y, "canberra"),
            pairwise.pairwise_distances(X, Y, "canberra"),
        ),
        (metrics.pairwise_distances(sparse, Y), pairwise.euclidean_distances(X, Y)),
        (metrics.euclidean_distances(sparse, Y), pairwise.euclidean_distances(X, Y)),
        (metrics.manhattan_distances(sparse), pairwise.manhattan_distances(X)),
        (metrics.cosine_distances(sparse, Y), pairwise.cosine_distances(X, Y)),
        (
            metrics.pairwise_distances_argmin(X, Y, metric="canberra"),
            pairwise.pairwise_distances_argmin(X, Y, metric="canberra"),
        ),
        (
            next(metrics.pairwise_distances_chunked(X, Y, metric="canberra")),
            pairwise.pairwise_distances(X, Y, "canberra"),
        ),
        (
            metrics.pairwise_distances(X, Y, lambda x, y: abs(x - y).max()),
            metrics.pairwise_distances(X, Y, "chebyshev"),
        ),
    ]:
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)
    assert any("metric 'canberra'" in message for message in fallbacks())
    assert any("sparse input" in message for message in fallbacks())
    X[3, 3] = np.nan
    distances = metrics.pairwise_distances(X, metric="nan_euclidean", ensure_all_finite="allow-nan")
    np.testing.assert_allclose(distances, pairwise.nan_euclidean_distances(X))


def test_what_is_refused(sets):
    X, Y = sets
    metrics = fastnn.metrics
    with pytest.raises(ValueError, match="out cannot be given where scikit-learn computes"):
        metrics.pairwise_distances(X, Y, "canberra", out=np.empty((60, 90)))
    with pytest.raises(ValueError, match="w must have one weight per feature, got 3 for 7"):
        metrics.pairwise_distances(X, Y, "minkowski", w=np.ones(3))
    with pytest.raises(ValueError, match="NaN at row 0"):
        metrics.cosine_distances([[np.nan, 1.0]])
    with pytest.raises(ValueError, match="axis"):
        metrics.pairwise_distances_argmin(X, Y, axis=2)
    with pytest.raises(ValueError, match="NaN at row 0"):
        metrics.pairwise_distances(np.full((3, 2), np.nan), ensure_all_finite=True)
