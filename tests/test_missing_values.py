"""Neighbors among rows of which values are missing, and what is filled in from them."""

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn.impute
import sklearn.neighbors
from sklearn.metrics import pairwise
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastnn
import fastnn.accel
from fastnn._core.search._missing import RowsWithMissing, find_present_neighbors
from fastnn._sklearn import imputation
from fastnn.impute import KNNImputer
from fastnn.metrics import (
    nan_euclidean_distances,
    pairwise_distances,
    pairwise_distances_chunked,
)
from fastnn.neighbors import NearestNeighbors, kneighbors_of_blocks, precomputed_knn


def with_gaps(rng, n, d, share=0.3, dtype=np.float64):
    X = rng.standard_normal((n, d)).astype(dtype)
    X[rng.random((n, d)) < share] = np.nan
    return X


def of_few_values(rng, n, d, share=0.3, dtype=np.float64):
    """Many distances tie."""
    X = rng.integers(0, 3, (n, d)).astype(dtype)
    X[rng.random((n, d)) < share] = np.nan
    return X


def squared_distances(X, Y):
    """The formula, feature by feature."""
    X, Y = X.astype(np.float64), Y.astype(np.float64)
    sums, counts = np.zeros((len(X), len(Y))), np.zeros((len(X), len(Y)))
    for x, y in zip(X.T, Y.T, strict=True):
        gap = x[:, None] - y
        both = ~np.isnan(gap)
        sums[both] += gap[both] ** 2
        counts += both
    with np.errstate(invalid="ignore"):
        return sums / counts * X.shape[1]


def nearest(X, Y, k, own=None):
    """The k first by (distance, index); rows at no distance come last."""
    distances = np.sqrt(squared_distances(X, Y))
    keys = np.where(np.isnan(distances), np.inf, distances)
    result = np.empty((len(X), k)), np.empty((len(X), k), np.int64)
    for i, row in enumerate(keys):
        order = np.argsort(row, kind="stable")[: k + (own is not None)]
        if own is not None:  # itself, or the first where others displaced it
            order = order[order != own[i]] if own[i] in order else order[1:]
        result[0][i], result[1][i] = distances[i, order], order
    return result


# ---- searches ------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", [with_gaps, of_few_values])
@pytest.mark.parametrize("d", [1, 2, 3, 8, 33])
@pytest.mark.parametrize("n", [1, 2, 31, 32, 33, 64, 200])
def test_lists_of_each_feature(isa, family, n, d, rng):
    X, Y = family(rng, 30, d), family(rng, n, d)
    X[3], X[4] = np.nan, 1.0
    Y[n // 2] = np.nan
    queries, wanted = map(np.ascontiguousarray, np.nonzero(np.isnan(X)))
    starts = np.searchsorted(queries, np.arange(len(X) + 1))
    squares = squared_distances(X, Y)
    for k in (1, 3, n + 2):
        for n_threads in (1, 3):
            packed = RowsWithMissing(Y, n_threads)
            distances, indices = find_present_neighbors(X, packed, k, starts, wanted, n_threads)
            assert distances.shape == indices.shape == (len(wanted), k)
            for i, (query, column) in enumerate(zip(queries, wanted, strict=True)):
                there = np.flatnonzero(~np.isnan(Y[:, column]) & ~np.isnan(squares[query]))
                expected = np.sqrt(squares[query, there])
                order = np.argsort(expected, kind="stable")[:k]
                m = len(order)
                np.testing.assert_array_equal(indices[i, :m], there[order])
                np.testing.assert_array_equal(distances[i, :m], expected[order])
                assert (indices[i, m:] == -1).all()
                assert np.isnan(distances[i, m:]).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("family", [with_gaps, of_few_values])
def test_kneighbors(isa, family, dtype, rng):
    X, Y = family(rng, 40, 5, 0.5, dtype), family(rng, 90, 5, 0.5, dtype)
    X[7] = np.nan
    for k in (1, 8, 90):
        expected = nearest(X, Y, k)
        for algorithm in ("auto", "kd_tree", "bounded", "ivf"):
            found = fastnn.kneighbors(X, Y, k, "nan_euclidean", algorithm=algorithm)
            np.testing.assert_array_equal(found, expected)
        model = NearestNeighbors(n_neighbors=k, metric="nan_euclidean").fit(Y)
        np.testing.assert_array_equal(model.kneighbors(X), expected)
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).kneighbors(X), expected)
    itself = nearest(Y, Y, 6, np.arange(len(Y)))
    np.testing.assert_array_equal(model.kneighbors(n_neighbors=6), itself)
    found = precomputed_knn(Y, 6, "nan_euclidean", include_self=False)
    np.testing.assert_array_equal(found[::-1], itself)
    assert model.explain_algorithm() == "brute: metric 'nan_euclidean' has no other search"
    assert model.nbytes_ > 0


def test_rows_of_other_types(rng):
    X = rng.integers(0, 9, (50, 6)).astype(np.uint8)
    for dtype in (np.uint8, np.int64, np.float32):
        found = fastnn.kneighbors(X.astype(dtype), X, 5, "nan_euclidean")
        np.testing.assert_array_equal(found, fastnn.kneighbors(X, X, 5, "l2"))
    Y = with_gaps(rng, 30, 4).astype(np.float32)
    frame = pd.DataFrame(Y).astype("Float64")
    model = NearestNeighbors(n_neighbors=3, metric="nan_euclidean").fit(frame)
    np.testing.assert_array_equal(model.kneighbors(frame), nearest(Y, Y, 3))


@pytest.mark.parametrize("sort_results", [False, True])
def test_within_a_radius(monkeypatch, sort_results, rng):
    monkeypatch.setattr("fastnn._search.brute.HELD_DISTANCES", 300)  # some queries at a time
    X, Y = of_few_values(rng, 40, 4), of_few_values(rng, 90, 4)
    model = NearestNeighbors(metric="nan_euclidean").fit(Y)
    theirs = sklearn.neighbors.NearestNeighbors(metric="nan_euclidean").fit(Y)
    for queries in (X, None):
        found = model.radius_neighbors(queries, 1.1, sort_results=sort_results)
        expected = theirs.radius_neighbors(queries, 1.1, sort_results=sort_results)
        for ours, other in zip(found[1], expected[1], strict=True):
            assert set(ours) == set(other)
        for distances, indices in zip(*found, strict=True):
            order = np.lexsort((indices, distances) if sort_results else (indices,))
            np.testing.assert_array_equal(order, np.arange(len(order)))


# ---- distances -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("d", [1, 5, 40])
def test_distances(monkeypatch, isa, dtype, d, rng):
    monkeypatch.setattr("fastnn.metrics.HELD_DISTANCES", 300)
    X, Y = with_gaps(rng, 40, d, dtype=dtype), with_gaps(rng, 65, d, dtype=dtype)
    for rows in (Y, None):
        expected = squared_distances(X, X if rows is None else rows)
        found = nan_euclidean_distances(X, rows, squared=True)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, expected.astype(dtype))
        found = pairwise_distances(X, rows, "nan_euclidean", ensure_all_finite="allow-nan")
        np.testing.assert_array_equal(found, np.sqrt(expected).astype(dtype))
        theirs = pairwise.nan_euclidean_distances(X, rows)
        np.testing.assert_allclose(found, theirs, atol=1e-6 if dtype == np.float64 else 5e-3)
    out = np.empty((40, 65), dtype)
    assert pairwise_distances(X, Y, "nan_euclidean", out=out) is out
    np.testing.assert_array_equal(out, nan_euclidean_distances(X, Y))


def test_distances_by_chunks_and_blocks(rng):
    X, Y = with_gaps(rng, 500, 4), with_gaps(rng, 400, 4)
    chunks = pairwise_distances_chunked(X, Y, metric="nan_euclidean", working_memory=1)
    found = np.concatenate(list(chunks))
    np.testing.assert_array_equal(found, np.sqrt(squared_distances(X, Y)))
    itself = next(pairwise_distances_chunked(X, metric="nan_euclidean"))
    np.testing.assert_array_equal(itself, np.sqrt(squared_distances(X, X)))
    for k in (5, 400):
        found = kneighbors_of_blocks(X, [Y[:250], Y[250:]], k, "nan_euclidean")
        np.testing.assert_array_equal(found, nearest(X, Y, k))


def test_another_number_stands_for_what_is_missing(rng):
    X = with_gaps(rng, 30, 4)
    found = nan_euclidean_distances(np.where(np.isnan(X), -1.0, X), missing_values=-1)
    np.testing.assert_array_equal(found, nan_euclidean_distances(X))


def test_errors(rng):
    X = with_gaps(rng, 30, 4)
    bad = X.copy()
    bad[3, 2] = np.inf
    model = NearestNeighbors(metric="nan_euclidean").fit(X)
    message = "got infinity at row 3, column 2"
    with pytest.raises(ValueError, match=message):
        fastnn.kneighbors(bad, X, 3, "nan_euclidean")
    with pytest.raises(ValueError, match="Y must hold finite numbers, " + message):
        fastnn.kneighbors(X, bad, 3, "nan_euclidean")
    with pytest.raises(ValueError, match=message):
        nan_euclidean_distances(X, bad)
    for search in (model.kneighbors, model.radius_neighbors):
        with pytest.raises(ValueError, match="Input X contains infinity"):
            search(bad)
    with pytest.raises(TypeError, match="missing_values must be a number, got str"):
        nan_euclidean_distances(X, missing_values="?")
    with pytest.raises(ValueError, match="X must hold finite numbers, got NaN at row"):
        nan_euclidean_distances(X, missing_values=-1)
    with pytest.raises(ValueError, match="NaN"):
        fastnn.kneighbors(X, X, 3, "l2")


# ---- imputation ----------------------------------------------------------------------------------


def inverse_of_one_more(distances):
    return 1.0 / (1.0 + distances)


def both(**parameters):
    return [module.KNNImputer(**parameters) for module in (fastnn.impute, sklearn.impute)]


@parametrize_with_checks([KNNImputer()])
@pytest.mark.filterwarnings("ignore")
def test_scikit_learn_contract(estimator, check):
    check(estimator)


@pytest.mark.parametrize("weights", ["uniform", "distance", inverse_of_one_more])
@pytest.mark.parametrize("n_neighbors", [1, 5, 400])
@pytest.mark.parametrize("d", [2, 5, 30])
def test_values_are_scikit_learns(monkeypatch, weights, n_neighbors, d, rng):
    """But for its cancellation, which weights of small distances amplify."""
    monkeypatch.setattr(imputation, "CHUNK_BYTES", 1 << 12)
    X, Y = with_gaps(rng, 100, d), with_gaps(rng, 120, d)
    X[3], X[4:6] = np.nan, Y[4:6]
    Y[:, 1] = np.where(rng.random(120) < 0.03, Y[:, 1], np.nan)
    ours, theirs = both(weights=weights, n_neighbors=n_neighbors)
    for rows in (X, Y):
        expected = theirs.fit(Y).transform(rows)
        np.testing.assert_allclose(ours.fit(Y).transform(rows), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    "parameters",
    [
        {"add_indicator": True},
        {"keep_empty_features": True},
        {"add_indicator": True, "keep_empty_features": True},
        {"missing_values": -1.0},
        {"copy": False},
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_parameters_are_scikit_learns(parameters, dtype, rng):
    X = with_gaps(rng, 60, 5, dtype=dtype)
    X[:, 2] = np.nan
    if "missing_values" in parameters:
        X[np.isnan(X)] = -1.0
    for rows in (X, np.delete(X, np.s_[10:], axis=0), np.ones_like(X)):
        found, expected = (
            model.fit(X.copy()).transform(rows.copy()) for model in both(**parameters)
        )
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=1e-3 if dtype == np.float32 else 1e-9)


def test_weights_that_look_at_a_row(rng):
    """They get as many distances as there are donors."""
    X = rng.random((10, 3))
    X[3:, 0] = np.nan
    found, expected = (
        model.fit_transform(X)
        for model in both(weights=lambda d: 1 / (d + d.max(axis=1, keepdims=True)))
    )
    np.testing.assert_allclose(found, expected)


def test_where_nothing_counts_it_is_the_mean_of_the_column(rng):
    X = with_gaps(rng, 50, 3)
    found = KNNImputer(weights=np.zeros_like).fit_transform(X)
    for column, filled in zip(X.T, found.T, strict=True):
        np.testing.assert_array_equal(filled[np.isnan(column)], np.nanmean(column))
    assert np.isfinite(KNNImputer(weights="distance").fit_transform(1e200 * X)).all()


def test_ties_go_to_the_smaller_index():
    Y = np.array([[0.0, 1.0], [0.0, 2.0], [0.0, 4.0], [0.0, 8.0]])
    X = np.array([[0.0, np.nan]])
    np.testing.assert_array_equal(KNNImputer(n_neighbors=2).fit(Y).transform(X), [[0.0, 1.5]])


def test_frames_and_their_names(rng):
    frame = pd.DataFrame(with_gaps(rng, 50, 3), columns=["a", "b", "c"])
    found, expected = (
        model.set_output(transform="pandas").fit_transform(frame)
        for model in both(add_indicator=True)
    )
    pd.testing.assert_frame_equal(found, expected)


def test_a_metric_that_is_called_is_scikit_learns(rng):
    def first_feature(x, y, *, missing_values):
        return abs(x[0] - y[0])

    X = with_gaps(rng, 30, 3)
    X[:, 0] = rng.random(30)
    found, expected = (model.fit_transform(X) for model in both(metric=first_feature))
    np.testing.assert_array_equal(found, expected)


def test_errors_are_scikit_learns(rng):
    X = with_gaps(rng, 30, 3)
    for model in both():
        with pytest.raises(ValueError, match="infinity"):
            model.fit(X).transform([[1.0, np.inf, np.nan]])
        with pytest.raises(ValueError, match="features"):
            model.transform([[1.0, np.nan]])
        with pytest.raises(ValueError, match="n_neighbors"):
            model.set_params(n_neighbors=0).fit(X)


def test_under_accel(rng):
    X = with_gaps(rng, 200, 4)
    frame = pd.DataFrame(X, columns=list("abcd"))
    model = sklearn.impute.KNNImputer().set_output(transform="pandas")
    expected, distances = model.fit_transform(frame), pairwise.nan_euclidean_distances(X)
    report = fastnn.accel.Report()
    with fastnn.accel.enabled(report):
        found = model.fit_transform(frame)
        ours = pairwise.nan_euclidean_distances(X)
    pd.testing.assert_frame_equal(found, expected)
    np.testing.assert_allclose(ours, distances, atol=1e-6)
    assert ("KNNImputer.transform", None) in [row[:2] for row in report.rows()]
