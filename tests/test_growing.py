"""Samples that are added and removed: the result is that of a fit on those that are there."""

import copy
import pickle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone

import oracles
from fastnn._sklearn.preparation import held_by, prepare
from fastnn.inspection import NeighborsDisplay
from fastnn.neighbors import (
    KNeighborsClassifier,
    KNeighborsRegressor,
    LocalOutlierFactor,
    NearestNeighbors,
)

METRICS = ["l1", "l2", "sqeuclidean", "chebyshev", "cosine", "correlation", "nan_euclidean"]
ALGORITHMS = ["auto", "brute", "bounded", "kd_tree", "ivf"]


def rows(rng, n, d, dtype=np.float64):
    """With ties, between blocks as well."""
    if dtype == np.uint8:
        return rng.integers(0, 4, (n, d), dtype=dtype)
    X = rng.standard_normal((n, d)).astype(dtype)
    X[n // 2 :] = X[: n - n // 2]
    return X


def changed(model, Y, rng, y=None):
    """Return a model that has had all rows of Y, and which of them are left."""
    some = [slice(0, 60), slice(60, 75), slice(75, 76), slice(76, 150), slice(150, len(Y))]
    left = np.empty(0, np.int64)
    for part in some:
        model.partial_fit(Y[part], *(() if y is None else (y[part],)))
        left = np.append(left, np.arange(len(Y))[part])
        gone = rng.permutation(left)[: len(left) // 3]
        left = np.setdiff1d(left, gone)
        model.remove(gone)
    return model, left


def assert_like_a_fit(model, fitted, left, X):
    """On the samples that are left: neighbors, with the indices of before."""
    distances, indices = fitted.kneighbors(X)
    oracles.assert_same(model.kneighbors(X), (distances, left[indices]))
    distances, indices = fitted.kneighbors()
    oracles.assert_same(model.kneighbors(), (distances, left[indices]))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("d", [3, 70])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_like_a_fit(metric, algorithm, d, dtype, rng):
    if metric not in ("l1", "l2", "chebyshev") and algorithm in ("kd_tree", "bounded"):
        algorithm = "auto"
    X, Y = rows(rng, 40, d, dtype), rows(rng, 300, d, dtype)
    plain = NearestNeighbors(n_neighbors=7, metric=metric, algorithm=algorithm)
    model, left = changed(clone(plain), Y, rng)
    fitted = clone(plain).fit(Y[left])
    for _ in range(2):
        assert_like_a_fit(model, fitted, left, X)
    np.testing.assert_array_equal(model.sample_indices_, left)
    assert model.n_samples_fit_ == 300
    graph = model.kneighbors_graph(X, mode="distance")
    assert graph.shape == (40, 300)
    np.testing.assert_array_equal(graph.indices.reshape(40, 7), model.kneighbors(X)[1])


@pytest.mark.parametrize("metric", ["l1", "l2", "cosine", "nan_euclidean"])
@pytest.mark.parametrize("algorithm", ["auto", "brute", "bounded", "kd_tree"])
@pytest.mark.parametrize("d", [3, 70])
def test_within_a_radius(metric, algorithm, d, rng):
    if metric in ("cosine", "nan_euclidean"):
        algorithm = "auto"
    X, Y = rows(rng, 20, d), rows(rng, 300, d)
    plain = NearestNeighbors(metric=metric, algorithm=algorithm)
    model, left = changed(clone(plain), Y, rng)
    fitted = clone(plain).fit(Y[left])
    radius = float(np.median(fitted.kneighbors(X, 9)[0][:, -1]))
    for queries in (X, None):
        for sort_results in (False, True):
            found = model.radius_neighbors(queries, radius, sort_results=sort_results)
            expected = fitted.radius_neighbors(queries, radius, sort_results=sort_results)
            for i in range(len(expected[0])):
                np.testing.assert_array_equal(found[0][i], expected[0][i])
                np.testing.assert_array_equal(found[1][i], left[expected[1][i]])
        alone = model.radius_neighbors(queries, radius, return_distance=False)
        assert all(np.array_equal(a, np.sort(b)) for a, b in zip(alone, found[1], strict=True))
    radii = radius * rng.random(len(X))
    found, expected = (m.radius_neighbors(X, radii)[1] for m in (model, fitted))
    assert all(np.array_equal(a, left[b]) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("d", [3, 70])
def test_where(algorithm, d, rng):
    """Masks and groups count the samples that are gone; these are not found all the same."""
    X, Y = rows(rng, 20, d), rows(rng, 300, d)
    model, left = changed(NearestNeighbors(n_neighbors=4, algorithm=algorithm), Y, rng)
    mask = rng.random(300) < 0.5
    there = left[mask[left]]
    fitted = NearestNeighbors(n_neighbors=4).fit(Y[there])
    distances, indices = fitted.kneighbors(X)
    oracles.assert_same(model.kneighbors(X, where=mask), (distances, there[indices]))
    for sort_results in (False, True):
        found = model.radius_neighbors(X, 2.0, where=mask, sort_results=sort_results)[1]
        expected = fitted.radius_neighbors(X, 2.0, sort_results=sort_results)[1]
        assert all(np.array_equal(a, there[b]) for a, b in zip(found, expected, strict=True))
    groups = np.arange(300) % 3
    distances, indices = model.kneighbors(where=(groups[left], groups))
    assert (groups[indices] == groups[left][:, None]).all()
    assert np.isin(indices, left).all()
    assert (indices != left[:, None]).all()
    of_one = left[groups[left] == 1]
    expected = NearestNeighbors(n_neighbors=4).fit(Y[of_one]).kneighbors()
    itself = groups[left] == 1
    oracles.assert_same((distances[itself], indices[itself]), (expected[0], of_one[expected[1]]))
    few = np.zeros(300, bool)
    few[left[:3]] = few[np.setdiff1d(np.arange(300), left)] = True
    with pytest.raises(ValueError, match="and 3 are left"):
        model.kneighbors(X, where=few)
    nowhere = model.radius_neighbors(X, 2.0, where=np.zeros(300, bool))[1]
    assert all(len(found) == 0 for found in nowhere)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 30)), min_size=1, max_size=25))
def test_any_order_of_changes(changes):
    rng = np.random.default_rng(0)
    Y = rng.integers(0, 3, (30 * 26, 2)).astype(np.float64)
    model, n, left = NearestNeighbors(n_neighbors=1).fit(Y[:5]), 5, np.arange(5)
    for adds, size in changes:
        if adds:
            model.partial_fit(Y[n : n + size])
            n, left = n + size, np.append(left, np.arange(n, n + size))
        else:
            gone = rng.permutation(left)[:size]
            model.remove(gone)
            left = np.setdiff1d(left, gone)
        np.testing.assert_array_equal(model.sample_indices_, left)
        if len(left):
            k = min(4, len(left))
            distances, indices = oracles.kneighbors(Y[:9], Y[left], k, "l2")
            oracles.assert_same(model.kneighbors(Y[:9], k), (distances, left[indices]))
    blocks = held_by(model)
    if changes and not isinstance(blocks, np.ndarray):
        sizes = [block.n_left for block in blocks.blocks]
        assert len(sizes) <= 12
        assert all(len(block.rows) <= 2 * block.n_left for block in blocks.blocks)


def test_an_index_is_not_made_anew(rng):
    Y = rng.random((20_000, 3))
    model = NearestNeighbors(algorithm="kd_tree").fit(Y)
    model.kneighbors(Y[:10])
    searcher = prepare(model).searcher
    tree = searcher._built["kd_tree"]
    for i in range(20):
        model.partial_fit(rng.random((100, 3))).remove(np.arange(200 * i, 200 * i + 150))
        model.kneighbors(Y[:10])
        assert prepare(model).searcher.searchers[0] is searcher
        assert searcher._built["kd_tree"] is tree
    assert len(prepare(model).searcher.searchers) < 8
    assert model.effective_algorithm_ == "kd_tree"
    assert model.nbytes_ > tree.nbytes
    model.remove(np.arange(8000, 17_000))  # more than half is gone
    assert prepare(model).searcher.searchers[0] is not searcher


def test_what_brute_force_and_bounds_pack_is_kept(rng):
    Y = (rng.standard_normal((4000, 5)) @ rng.standard_normal((5, 64))).astype(np.float32)
    for algorithm in ("brute", "bounded"):
        model = NearestNeighbors(algorithm=algorithm).fit(Y).remove([1, 2])
        for _ in range(3):
            model.kneighbors(Y[:500])
        index = prepare(model).searcher.searchers[0]._built[algorithm]
        _, kept = index._kept._latest
        model.kneighbors(Y[:500])
        assert index._kept._latest[1] is kept
        assert index._kept.nbytes >= (4000 * 64 * 4 if algorithm == "brute" else 0)
        assert pickle.loads(pickle.dumps(index._kept))._latest == (None, None)


@pytest.mark.parametrize("of_itself", [False, True])
def test_a_recall_below_1_is_kept(of_itself, rng):
    centers = rng.standard_normal((40, 24)) * 4
    Y = (centers[rng.integers(0, 40, 9000)] + rng.standard_normal((9000, 24))).astype(np.float32)
    X = Y[:300] + np.float32(0.01)
    model = NearestNeighbors(n_neighbors=10, algorithm="ivf", recall=0.9).fit(Y[:7000])
    model.kneighbors(X)
    lists = prepare(model).searcher._built["ivf"]
    model.partial_fit(Y[7000:]).remove(np.arange(0, 9000, 5))
    left = model.sample_indices_
    indices = model.kneighbors(None if of_itself else X)[1]
    assert np.isin(indices, left).all()
    assert prepare(model).searcher.searchers[0]._built["ivf"] is lists
    exact = NearestNeighbors(n_neighbors=10).fit(Y[left])
    expected = left[exact.kneighbors(None if of_itself else X)[1]]
    n_found = sum(len(np.intersect1d(a, b)) for a, b in zip(indices, expected, strict=True))
    assert 0.87 < n_found / expected.size < 1.0
    assert 0.87 < model.recall_.measured < 1.0
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.kneighbors(None if of_itself else X)[1], indices)
    assert again.recall_ == model.recall_
    model.set_params(recall=1.0)
    np.testing.assert_array_equal(model.kneighbors(None if of_itself else X)[1], expected)
    assert model.recall_.measured == 1.0
    model.set_params(recall=0.9).calibrate(rng.permutation(X))
    assert model.recall_.n_queries == len(X)


def test_the_recall_of_no_samples():
    model = NearestNeighbors(recall=0.9).fit(np.eye(3)).remove([0, 1, 2])
    assert model.recall_.measured == 1.0


# ---- values --------------------------------------------------------------------------------------


def test_dtypes_of_what_is_added(rng):
    """Values that the samples' dtype holds are of this dtype; others have a wider one."""
    Y = rng.integers(0, 256, (50, 5)).astype(np.uint8)
    X = rng.integers(0, 256, (9, 5)).astype(np.uint8)
    model = NearestNeighbors(n_neighbors=3).fit(Y[:20]).partial_fit(Y[20:].tolist())
    assert model._fit_X.dtype == np.uint8
    oracles.assert_same(model.kneighbors(X), oracles.kneighbors(X, Y, 3, "l2"))
    more = rng.random((5, 5))
    model.partial_fit(more)
    all_rows = np.concatenate([Y, more])
    assert model._fit_X.dtype == np.float64
    np.testing.assert_array_equal(model._fit_X, all_rows)
    oracles.assert_same(model.kneighbors(X), oracles.kneighbors(X * 1.0, all_rows, 3, "l2"))
    model.partial_fit(Y[:1])
    assert model._fit_X.dtype == np.float64


@pytest.mark.parametrize("metric", ["l2", "l1", "cosine"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_wider_queries_and_samples_after_others_were_removed(metric, algorithm, dtype, rng):
    """What was packed of some rows is not taken for those of another type."""
    if metric == "cosine" and algorithm in ("kd_tree", "bounded"):
        algorithm = "auto"
    Y, wide = (200 * rng.random((400, 70))).astype(dtype), 200 * rng.random((9, 70))
    model = NearestNeighbors(n_neighbors=3, metric=metric, algorithm=algorithm).fit(Y)
    model.remove([0, 5])
    left = model.sample_indices_
    for queries in (Y[:9], wide, Y[:9], wide):
        distances, indices = oracles.kneighbors(queries * 1.0, Y[left] * 1.0, 3, metric)
        oracles.assert_same(model.kneighbors(queries), (distances, left[indices]))
    model.partial_fit(wide)
    left, all_rows = model.sample_indices_, np.concatenate([Y, wide])
    distances, indices = oracles.kneighbors(wide, all_rows[left], 3, metric)
    oracles.assert_same(model.kneighbors(wide), (distances, left[indices]))


def test_an_array_may_get_other_values_afterwards(rng):
    buffer = rng.random((10, 2))
    model = NearestNeighbors(n_neighbors=1).fit(rng.random((30, 2)))
    first = buffer.copy()
    model.partial_fit(buffer)
    buffer[:] = rng.random((10, 2))
    model.partial_fit(buffer)
    assert (model.kneighbors(first)[1][:, 0] == np.arange(30, 40)).all()
    assert (model.kneighbors(buffer)[1][:, 0] == np.arange(40, 50)).all()
    y = np.arange(10.0)
    model = KNeighborsRegressor(n_neighbors=1).partial_fit(buffer, y)
    rows, buffer[:], y[:] = buffer.copy(), 9.0, 9.0
    wide = rng.random((5, 2))
    narrow = NearestNeighbors(n_neighbors=1).fit(buffer.astype(np.float32)).partial_fit(wide)
    first, wide[:] = wide.copy(), 7.0
    assert (narrow.kneighbors(first)[1][:, 0] == np.arange(10, 15)).all()
    np.testing.assert_array_equal(model.predict(rows), np.arange(10.0))


def test_missing_values(rng):
    Y = np.where(rng.random((60, 4)) < 0.4, np.nan, rng.random((60, 4)))
    Y[[3, 40]] = np.nan
    model = NearestNeighbors(metric="nan_euclidean", n_neighbors=58).fit(Y[:30])
    model.partial_fit(Y[30:])
    fitted = NearestNeighbors(metric="nan_euclidean", n_neighbors=58).fit(Y)
    found, expected = model.kneighbors(Y), fitted.kneighbors(Y)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])
    with pytest.raises(ValueError, match="infinity"):
        model.partial_fit(np.full((1, 4), np.inf))


def test_haversine(rng):
    Y = np.stack([rng.uniform(-1.5, 1.5, 200), rng.uniform(-3.0, 3.0, 200)], axis=1)
    model = NearestNeighbors(metric="haversine").fit(Y[:100]).partial_fit(Y[100:])
    fitted = NearestNeighbors(metric="haversine").fit(Y)
    oracles.assert_same(model.kneighbors(Y[:20]), fitted.kneighbors(Y[:20]))
    for found, expected in zip(
        model.radius_neighbors(Y[:20], 0.3, sort_results=True),
        fitted.radius_neighbors(Y[:20], 0.3, sort_results=True),
        strict=True,
    ):
        assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


# ---- targets -------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", ["uniform", "distance", lambda distances: 1 / (1 + distances)])
@pytest.mark.parametrize("outputs", [(), (2,)])
def test_classifiers(weights, outputs, rng):
    X, Y = rows(rng, 40, 3), rows(rng, 300, 3)
    y = rng.integers(0, 4, (300, *outputs))
    y[100:] = rng.integers(2, 7, (200, *outputs))
    y = np.array(["a", "bb", "ccc", "dd", "e", "ffff", "g"])[y]
    model, left = changed(KNeighborsClassifier(weights=weights), Y, rng, y)
    fitted = KNeighborsClassifier(weights=weights).fit(Y[left], y[left])
    np.testing.assert_array_equal(model.predict(X), fitted.predict(X))
    assert model.score(Y[left], y[left]) == fitted.score(Y[left], y[left]) if not outputs else True
    found, expected = model.predict_proba(X), fitted.predict_proba(X)
    np.testing.assert_array_equal(np.array(found), np.array(expected))
    for classes in model.classes_ if outputs else [model.classes_]:
        np.testing.assert_array_equal(classes, ["a", "bb", "ccc", "dd", "e", "ffff", "g"])


@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize("outputs", [(), (2,)])
@pytest.mark.parametrize("dtype", [np.int64, np.float64])
def test_regressors(weights, outputs, dtype, rng):
    X, Y = rows(rng, 40, 3), rows(rng, 300, 3)
    y = (10 * rng.random((300, *outputs))).astype(dtype)
    model, left = changed(KNeighborsRegressor(weights=weights), Y, rng, y)
    fitted = KNeighborsRegressor(weights=weights).fit(Y[left], y[left])
    np.testing.assert_array_equal(model.predict(X), fitted.predict(X))


def test_classes_that_will_come(rng):
    X, y = rng.random((20, 2)), np.arange(20) % 2
    model = KNeighborsClassifier(n_neighbors=3)
    model.partial_fit(X, y, classes=[0, 1, 5])
    np.testing.assert_array_equal(model.classes_, [0, 1, 5])
    assert model.predict_proba(X).shape == (20, 3)
    model.partial_fit(X[:1], [3])
    np.testing.assert_array_equal(model.classes_, [0, 1, 3, 5])
    model.partial_fit(X[:1], [5], classes=[7])
    np.testing.assert_array_equal(model.classes_, [0, 1, 3, 5, 7])
    fitted = KNeighborsClassifier(n_neighbors=3).fit(X[[*range(20), 0, 0]], [*y, 3, 5])
    np.testing.assert_array_equal(model.predict(X), fitted.predict(X))
    model.remove([20, 21])
    assert model.predict_proba(X)[:, 2:].max() == 0.0  # classes stay
    several = KNeighborsClassifier(n_neighbors=1).partial_fit(
        X, np.stack([y, y], axis=1), classes=[[0, 1], [0, 1, 2]]
    )
    assert [len(classes) for classes in several.classes_] == [2, 3]


def test_pictures_of_neighbors(rng):
    images = rng.integers(0, 256, (30, 16)).astype(np.uint8)
    model = KNeighborsClassifier(n_neighbors=3).fit(images[:20], np.arange(20) % 3)
    model.partial_fit(images[20:], np.arange(10) % 3).remove([0, 4, 5])
    display = NeighborsDisplay.from_estimator(model, images[6:8])
    plt.close(display.figure_)
    np.testing.assert_array_equal(display.neighbors[:, 0], images[6:8])
    assert (display.neighbor_labels[:, 0] == np.arange(6, 8) % 3).all()


# ---- estimators ----------------------------------------------------------------------------------


def test_pickles_copies_and_parameters(rng):
    X, Y = rows(rng, 20, 3), rows(rng, 300, 3)
    model, left = changed(NearestNeighbors(n_neighbors=4), Y, rng)
    expected = model.kneighbors(X)
    for other in (pickle.loads(pickle.dumps(model)), copy.copy(model), copy.deepcopy(model)):
        oracles.assert_same(other.kneighbors(X), expected)
        other.remove(left[:5]).partial_fit(X)
        oracles.assert_same(model.kneighbors(X), expected)
    for algorithm in ALGORITHMS:
        model.set_params(algorithm=algorithm)
        oracles.assert_same(model.kneighbors(X), expected)
    assert not hasattr(clone(model), "sample_indices_")
    assert not hasattr(clone(model), "_fit_X")
    model.fit(Y)
    np.testing.assert_array_equal(model.sample_indices_, np.arange(300))
    oracles.assert_same(model.kneighbors(X), oracles.kneighbors(X, Y, 4, "l2"))


def test_a_fit_on_an_estimator_whose_samples_have_changed(rng):
    X = rng.random((30, 2))
    model = NearestNeighbors(n_neighbors=3).fit(X).remove(range(0, 30, 2))
    fitted = NearestNeighbors(n_neighbors=3).fit(model)
    assert fitted.n_samples_fit_ == 15
    oracles.assert_same(fitted.kneighbors(X), oracles.kneighbors(X, X[1::2], 3, "l2"))


def test_lists_of_a_pickle_are_those_of_its_samples(rng):
    Y = rng.standard_normal((6000, 20)).astype(np.float32)
    model = NearestNeighbors(n_neighbors=5, algorithm="ivf", recall=0.9).fit(Y)
    model.kneighbors(Y[:10])
    for change in (lambda m: m.partial_fit(Y[:4000]), lambda m: m.remove(np.arange(4000))):
        other = pickle.loads(pickle.dumps(model)).set_params(recall=1.0)
        other.kneighbors(Y[:10])
        change(other).set_params(recall=0.9)
        indices, left = other.kneighbors(Y[-300:])[1], other.sample_indices_
        expected = NearestNeighbors(n_neighbors=5).fit(other._fit_X).kneighbors(Y[-300:])[1]
        found = (indices[:, :, None] == left[expected][:, None]).any(axis=2).mean()
        assert found > 0.87


def test_a_recall_is_measured_again_where_many_are_gone(rng):
    Y = rng.standard_normal((20_000, 12)).astype(np.float32)
    model = NearestNeighbors(n_neighbors=10, algorithm="ivf", recall=0.9).fit(Y)
    before = model.recall_
    model.remove(np.arange(1000))
    assert model.recall_ == before
    model.remove(np.arange(1000, 9000))
    again = model.recall_
    assert again != before
    assert again.n_queries < before.n_queries
    X = rng.standard_normal((500, 12))
    found, expected = (
        m.kneighbors(X)[1] for m in (model, clone(model).set_params(recall=1.0).fit(Y[9000:]))
    )
    shared = (found[:, :, None] == 9000 + expected[:, None]).any(axis=2).mean()
    assert shared > 0.885
    copied = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copied.kneighbors(X)[1], found)
    assert copied.recall_ == again
    model.remove(np.arange(9000, 10_000))
    assert model.recall_ == again
    assert pickle.loads(pickle.dumps(model)).recall_ == again


def test_nothing_changes_where_something_is_wrong(rng):
    X, y = rng.random((9, 2)), np.arange(9) % 2
    fresh = KNeighborsClassifier(2)
    with pytest.raises(ValueError, match="like those before"):
        fresh.partial_fit(X, y, classes=["a"])
    assert not hasattr(fresh, "classes_")
    model = KNeighborsClassifier(2).fit(X, y).set_params(class_weight={0: -1})
    for change in (lambda: model.partial_fit(X, y), lambda: model.remove(0)):
        with pytest.raises(ValueError, match="class_weight"):
            change()
    assert len(model.sample_indices_) == 9
    tree = KNeighborsClassifier(2, algorithm="kd_tree").fit(X, y)
    for model in (tree, copy.deepcopy(tree).remove(3)):
        before = model.predict(X)
        with pytest.raises(ValueError, match="NaN"):
            model.fit(np.full((9, 2), np.nan), y)
        np.testing.assert_array_equal(model.predict(X), before)


def test_radii_that_are_none(rng):
    X = np.arange(6.0)[:, None]
    model = NearestNeighbors().fit(X).remove([0])
    np.testing.assert_array_equal(model.radius_neighbors(X[3:4], np.array(1.0))[1][0], [2, 3, 4])
    with pytest.raises(ValueError, match="radius must not be NaN"):
        model.radius_neighbors(X[3:4], [np.nan])
    for wrong in (np.array([None], object), "a", -1.0):
        with pytest.raises(ValueError, match="radius must be a number of at least 0"):
            model.radius_neighbors(X[3:4], wrong)
    with pytest.raises(ValueError, match="radii that do not fit"):
        model.radius_neighbors(X[3:4], [1.0, 2.0])


def test_an_override_of_probabilities(rng):
    class Mine(KNeighborsClassifier):
        def predict_proba(self, X):
            return 1.0 - super().predict_proba(X)

    X = np.arange(8.0)[:, None]
    model = Mine(1, algorithm="brute").fit(X, np.arange(8) % 2).remove([0])
    np.testing.assert_array_equal(model.predict(X[1:4]), [0, 1, 0])


def test_many_groups_after_changes(rng):
    Y, groups = rng.random((3000, 2)), np.arange(3000) % 300
    model = NearestNeighbors(n_neighbors=2).fit(Y[:2000]).partial_fit(Y[2000:]).remove([7, 8])
    left = model.sample_indices_
    found = model.kneighbors(Y[:300], where=(groups[:300], groups))[1]
    for i in (0, 7, 8, 299):
        members = left[groups[left] == i]
        expected = members[oracles.kneighbors(Y[i : i + 1], Y[members], 2, "l2")[1][0]]
        np.testing.assert_array_equal(found[i], expected)


def test_kinds_of_classes(rng):
    X = rng.random((4, 2))
    model = KNeighborsClassifier(1).fit(X, pd.Series(["a", "b", "a", "b"]))
    model.partial_fit(X[:1] + 3, ["c"], classes=["d"])
    np.testing.assert_array_equal(model.classes_, ["a", "b", "c", "d"])
    model = KNeighborsClassifier(1).fit(X, ["a", "b", "a", "b"])
    model.partial_fit(X[:1] + 3, np.array(["c"], object))
    np.testing.assert_array_equal(model.predict(X[:1] + 3), ["c"])
    model = KNeighborsClassifier(1).fit(X, np.arange(4, dtype=np.uint8))
    model.partial_fit(X[:1] + 3, [300]).partial_fit(X[:1] + 6, [2.0])
    np.testing.assert_array_equal(model.classes_, [0, 1, 2, 3, 300])
    many = np.arange(40)
    model.partial_fit(rng.random((40, 2)), many)  # without a warning


def test_weights_of_one_sample_may_be_zero(rng):
    X, y = rng.random((9, 2)), np.arange(9) % 2
    model = KNeighborsClassifier(2).fit(X, y).partial_fit(X[:1], [0], sample_weight=[0.0])
    fitted = KNeighborsClassifier(2).fit(X, y)
    np.testing.assert_array_equal(model.predict(X), fitted.predict(X))


def test_partial_fit_first(rng):
    Y = rng.random((30, 2))
    model = NearestNeighbors(n_neighbors=2).partial_fit(Y[:10])
    assert model.n_samples_fit_ == 10
    model.partial_fit(Y[10:])
    oracles.assert_same(model.kneighbors(Y), oracles.kneighbors(Y, Y, 2, "l2"))


def test_names_of_features(rng):
    frame = pd.DataFrame(rng.random((20, 2)), columns=["a", "b"])
    model = NearestNeighbors(n_neighbors=2).fit(frame[:10])
    model.partial_fit(frame[10:])
    assert model.kneighbors(frame)[1][15, 0] == 15
    with pytest.raises(ValueError, match="feature names"):
        model.partial_fit(frame[["b", "a"]])


def test_nothing_is_left(rng):
    Y = rng.random((6, 2))
    model = KNeighborsClassifier(n_neighbors=2).fit(Y, np.arange(6) % 2)
    model.remove(range(6))
    assert len(model.sample_indices_) == 0
    assert model._fit_X.shape == (0, 2)
    with pytest.raises(ValueError, match="n_neighbors = 2, and there are 0"):
        model.kneighbors(Y)
    with pytest.raises(ValueError, match="among sample_indices_"):
        model.remove(0)
    model.partial_fit(Y, np.arange(6) % 2)
    np.testing.assert_array_equal(model.sample_indices_, np.arange(6, 12))
    assert (model.kneighbors(Y)[1][:, 0] == np.arange(6, 12)).all()
    assert (model.predict(Y) == KNeighborsClassifier(2).fit(Y, np.arange(6) % 2).predict(Y)).all()


def test_removing_nothing_and_twice(rng):
    model = NearestNeighbors(n_neighbors=2).fit(rng.random((6, 2)))
    assert model.remove([]) is model
    assert isinstance(held_by(model), np.ndarray)
    model.remove([3, 3, 1])
    np.testing.assert_array_equal(model.sample_indices_, [0, 2, 4, 5])
    model.remove(np.uint8(4))
    np.testing.assert_array_equal(model.sample_indices_, [0, 2, 5])


# ---- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("removed", [False, True])
def test_indices_that_are_not_there(removed, rng):
    model = NearestNeighbors().fit(rng.random((9, 2)))
    if removed:
        model.remove([4])
    before = model.sample_indices_
    for wrong in ([0, 9], -1, [4, 100] if removed else 99):
        with pytest.raises(ValueError, match="indices must be among sample_indices_"):
            model.remove(wrong)
    for wrong in (1.0, "a", [True] * 9, None):
        with pytest.raises(TypeError, match="indices must be integers"):
            model.remove(wrong)
    for wrong in ([[0], [1]], [[1], [2, 3]], np.ma.masked_array([1, 2], [True, False])):
        with pytest.raises(
            ValueError, match=r"indices must be a number or an array of shape \(n,\)"
        ):
            model.remove(wrong)
    with pytest.raises(
        ValueError, match="indices must be among sample_indices_, got 1180591620717"
    ):
        model.remove([0, 2**70])
    np.testing.assert_array_equal(model.sample_indices_, before)


def test_more_neighbors_than_are_left(rng):
    model = NearestNeighbors().fit(rng.random((9, 2))).remove([4, 5, 6])
    with pytest.raises(ValueError, match="n_neighbors = 7, and there are 6"):
        model.kneighbors(rng.random((1, 2)), 7)
    with pytest.raises(ValueError, match="n_neighbors = 6, and there are 6"):
        model.kneighbors(None, 6)
    with pytest.raises(ValueError, match="n_neighbors"):
        model.kneighbors(None, 0)
    with pytest.raises(TypeError, match="n_neighbors must be an integer"):
        model.kneighbors(None, 2.5)
    with pytest.raises(ValueError, match="n_jobs must not be 0"):
        model.set_params(n_jobs=0).kneighbors(None, 2)


def test_what_is_added_is_checked(rng):
    X, y = rng.random((9, 2)), np.arange(9) % 2
    model = KNeighborsClassifier(n_neighbors=2).fit(X, y)
    for wrong, words in [
        ((np.full((1, 2), np.nan), [0]), "NaN"),
        ((rng.random((1, 3)), [0]), "3 features"),
        ((X, y[:4]), "inconsistent"),
        ((X, None), "requires y"),
        ((X[:0], y[:0]), "0 sample"),
        ((X, y[:, None] * [1, 1]), "y must have the outputs"),
        ((X, y.astype(str)), r"classes must be like those before, \[0 1\]..., got \['0' '1'\]"),
        ((X, y.astype(np.uint64) << 63), "classes must be like those before"),
        (([[2**60 + 1, 3]], [0]), "^X must hold integers"),
        ((scipy.sparse.csr_array(X), y), "must be dense, got sparse"),
    ]:
        with pytest.raises(ValueError, match=words):
            model.partial_fit(*wrong)
    for classes, words in [
        (["a"], "like those before"),
        ([0.5], "like those before"),
        ([np.nan], "like those before"),
        ([[0, 1], [1, 2]], "of shape"),
    ]:
        with pytest.raises(ValueError, match=words):
            model.partial_fit(X[:1], [0], classes=classes)
    several = KNeighborsClassifier(n_neighbors=2).fit(X, np.stack([y, y], axis=1))
    with pytest.raises(ValueError, match="one for each of 2 outputs"):
        several.partial_fit(X[:1], [[0, 0]], classes=[[0, 1]])
    with pytest.raises(ValueError, match=r"classes must be a list of arrays, .* got int"):
        several.partial_fit(X[:1], [[0, 0]], classes=5)
    regressor = KNeighborsRegressor().fit(X, y)
    with pytest.raises(ValueError, match="y must have the outputs"):
        regressor.partial_fit(X, y[:, None])
    with pytest.raises(ValueError, match="y must be like the targets before, of int64, got <U1"):
        regressor.partial_fit(X[:1], ["a"])
    with pytest.raises(ValueError, match="0 sample"):
        NearestNeighbors().fit(X).partial_fit(X[:0])


def test_classes_of_objects_that_have_no_order(rng):
    X, y = rng.random((4, 2)), np.array(["a", "b", "a", "b"], dtype=object)
    model = KNeighborsClassifier(n_neighbors=1).fit(X, y)
    with pytest.raises(ValueError, match="classes must be like those before"):
        model.partial_fit(X[:1], ["a"], classes=np.array([1], dtype=object))


def test_where_scikit_learn_searches(rng):
    X = rng.random((9, 2))
    sparse = NearestNeighbors(n_neighbors=2).fit(scipy.sparse.csr_array(X))
    with pytest.raises(ValueError, match="scikit-learn searches: sparse"):
        sparse.partial_fit(X)
    with pytest.raises(ValueError, match="scikit-learn searches: sparse"):
        sparse.remove([0])
    np.testing.assert_array_equal(sparse.sample_indices_, np.arange(9))
    model = NearestNeighbors(n_neighbors=2).fit(X).remove([0])
    for search in (model.kneighbors, model.radius_neighbors):
        with pytest.raises(ValueError, match="have been added or removed, and scikit-learn cannot"):
            search(scipy.sparse.csr_array(X))


def test_estimators_that_do_not_grow():
    assert not hasattr(LocalOutlierFactor(), "partial_fit")
    with pytest.raises(Exception, match="not fitted"):
        NearestNeighbors().remove([0])
