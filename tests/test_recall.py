"""A recall below 1: what is found is exact, as much of it as promised, and always the same.

tests/fuzzing.py compares what is found in the lists that queries visit with the oracle, on data of
every kind. Here are the promise and all around it.
"""

import copy
import math
import pickle
import threading

import joblib
import numpy as np
import pytest
import sklearn.neighbors
from sklearn.base import clone

import children
import datasets_for_search as data
import fastnn
import fastnn.accel
import oracles
from fastnn._search import ivf, kd_tree, planner
from fastnn._search.costs import current_costs
from fastnn._search.ivf import Calibration, Centroids, InvertedLists, random_rows, train_centroids
from fastnn._search.metric_spaces import space_of
from fastnn._search.planner import BoundEstimate, Request, Statistics, TryLists, plan
from fastnn._search.protocol import CannotServe
from fastnn._search.searcher import Searcher
from fastnn.neighbors import (
    KNeighborsClassifier,
    KNeighborsRegressor,
    KNeighborsTransformer,
    LocalOutlierFactor,
    NearestNeighbors,
    Recall,
    precomputed_knn,
)

ESTIMATORS = (
    KNeighborsClassifier, KNeighborsRegressor, KNeighborsTransformer, LocalOutlierFactor,
    NearestNeighbors,
)  # fmt: skip
EXACT = Recall(0.9, 1.0, (1.0, 1.0), 0, 1.0)


def topics(rng, n, d=24, n_topics=60, spread=0.4):
    """Rows around some centers, so that lists pay."""
    centers = rng.standard_normal((n_topics, d))
    rows = centers[rng.integers(0, n_topics, n)] + spread * rng.standard_normal((n, d))
    return rows.astype(np.float32)


def recall_of(found, expected):
    """Return the share of the k nearest, by distance, that each query has found."""
    return (found <= expected[:, -1:]).mean(axis=1)


# ---- the promise ---------------------------------------------------------------------------------


def heavy_cluster(rng, n, d=16):
    """Nine of ten rows in one place, the others anywhere."""
    rows = rng.standard_normal((n, d))
    rows[rng.random(n) < 0.9] *= 1e-3
    return rows


def heavy_tails(rng, n, d=16):
    return rng.standard_cauchy((n, d))


def one_row_lists(rng, n, d=16):
    """Most lists hold a single row, far from all."""
    rows = rng.standard_normal((n, d))
    rows[rng.random(n) < 0.02] *= 1e4
    return rows


def few_values(rng, n, d=16):
    return rng.integers(0, 3, (n, d)).astype(float)


def low_dimensional(rng, n, d=40):
    return rng.standard_normal((n, 4)) @ rng.standard_normal((4, d))


FAMILIES = [
    topics, heavy_cluster, heavy_tails, one_row_lists, few_values, low_dimensional, data.normal,
    data.outliers, data.offset, data.two_clusters, data.duplicated, data.wide_range,
]  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("metric", ["l1", "l2", "cosine"])
@pytest.mark.parametrize(("k", "recall"), [(1, 0.8), (10, 0.95), (30, 0.9)])
def test_the_promise_is_kept(family, metric, k, recall, rng):
    rows = rng.permutation(family(rng, 7000, 16))
    Y, X = rows[:5000], rows[5000:]
    searcher = Searcher(Y, space_of(metric), "ivf", recall=recall)
    found = searcher.kneighbors(X, k, 2)
    expected = fastnn.kneighbors(X, Y, k, metric)[0]
    assert found.algorithm == "ivf"
    assert (found.distances >= expected).all()
    recalls = recall_of(found.distances, expected)
    noise = 3.0 * recalls.std() / math.sqrt(len(X))
    assert recalls.mean() >= recall - ivf.SLACK - noise
    promised = searcher.recall_of(k, 2)
    assert promised.asked == recall
    assert promised.measured >= recall
    assert promised.interval[0] <= promised.measured <= promised.interval[1] <= 1.0
    assert promised.n_queries == 500


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
@pytest.mark.parametrize("metric", ["l1", "l2", "sqeuclidean", "chebyshev", "cosine"])
def test_distances_are_those_of_the_rows_returned(dtype, metric, rng):
    rows = data.make(data.normal, rng, 3300, 20, dtype)
    Y, X = rows[:3000], rows[3000:]
    distances, indices = fastnn.kneighbors(X, Y, 7, metric, algorithm="ivf", recall=0.7)
    of_rows = [oracles.distances(x[None], Y[i], metric)[0] for x, i in zip(X, indices, strict=True)]
    np.testing.assert_array_equal(distances, of_rows)
    order = [np.lexsort(pair) for pair in zip(indices, distances, strict=True)]
    np.testing.assert_array_equal(order, np.broadcast_to(np.arange(7), (300, 7)))


def test_equal_rows_are_all_in_one_list(rng):
    Y = np.full((3000, 12), 0.3)
    distances, indices = fastnn.kneighbors(Y[:50], Y, 5, algorithm="ivf", recall=0.9)
    assert (distances == 0.0).all()
    np.testing.assert_array_equal(indices, np.broadcast_to(np.arange(5), (50, 5)))


def test_queries_from_elsewhere_need_a_calibration(rng):
    Y = rng.standard_normal((6000, 8)).astype(np.float32)
    Y *= (1 + 0.1 * rng.random((6000, 1), dtype=np.float32)) / np.linalg.norm(
        Y, axis=1, keepdims=True
    )
    # Nearest to the middle of a sphere are rows in all directions.
    X = 0.01 * rng.standard_normal((3000, 8)).astype(np.float32)
    model = NearestNeighbors(n_neighbors=30, algorithm="ivf", recall=0.9).fit(Y)
    expected = NearestNeighbors(n_neighbors=30).fit(Y).kneighbors(X[1000:])[0]
    assert recall_of(model.kneighbors(X[1000:])[0], expected).mean() < 0.6
    assert model.calibrate(X[:1000]) is model
    recalls = recall_of(model.kneighbors(X[1000:])[0], expected)
    assert recalls.mean() > 0.9 - ivf.SLACK - 3 * recalls.std() / math.sqrt(2000)
    assert model.recall_.n_queries == 1000
    # It lasts until the next fit.
    again = pickle.loads(pickle.dumps(model))
    assert again.recall_ == model.recall_
    assert model.fit(Y).recall_.n_queries == 500


def test_the_number_of_probes_is_that_of_conformal_risk_control():
    known = object.__new__(Calibration)
    known.n_queries, known.n_samples = 99, 10
    # Of each query the first neighbor is near, and the second needs one probe more each.
    known.needed = np.stack([np.zeros(99), np.arange(99.0)], axis=1)
    known.scores, known.sizes = np.tile(np.arange(10.0), (99, 1)), np.ones((99, 10))
    # (99 missed + 1) / 100 <= 0.1 where at most 18 of 198 are missed: the last 18 of the second.
    assert known.n_probes_missing((0.1 * 100 - 1) / 99) == 80.0
    assert known.visited(4.0) == 0.5
    setting = known.setting(0.9)
    assert setting.recall.measured == known.recall(setting.n_probes)
    # The half of the neighbors that the queries differ in scatters; more probes make sure.
    assert setting.n_probes == 89.0
    for n_probes, is_sure in [(89.0, True), (88.0, False)]:
        low, high = known.interval(n_probes, ivf.SLACK_Z)
        assert (low >= 0.9 - ivf.SLACK) is is_sure
        assert low < known.recall(n_probes) < high
    with pytest.raises(CannotServe, match=r"99 queries cannot confirm a recall of 0\.98"):
        known.setting(0.98)


def test_an_interval_has_a_width_where_all_is_found():
    known = object.__new__(Calibration)
    known.n_queries, known.needed = 50, np.zeros((50, 1))
    assert known.recall(0.0) == 1.0
    low, high = known.interval(0.0, ivf.INTERVAL_Z)
    assert 0.93 < low < 0.96
    assert high == 1.0


def test_how_many_queries_it_takes():
    for recall, fewest in [(0.5, 7), (0.8, 19), (0.9, 36), (0.95, 66), (0.99, 199), (0.998, 499)]:
        assert ivf.fewest_queries(recall) == fewest
        known = object.__new__(Calibration)
        known.n_queries, known.n_samples = fewest, 1
        known.needed = known.scores = known.sizes = np.zeros((fewest, 1))
        assert known.setting(recall).recall.measured == 1.0


@pytest.mark.parametrize("recall", [0.999, 1.0 - 1e-12])
def test_what_no_sample_can_tell_is_searched_exactly(recall, rng):
    Y = topics(rng, 2000)
    searcher = Searcher(Y, "l2", "ivf", recall=recall)
    found = searcher.kneighbors(Y[:100], 5, 2)
    assert_same = np.testing.assert_array_equal
    assert_same(found.indices, fastnn.kneighbors(Y[:100], Y, 5)[1])
    assert searcher.recall_of(5, 2) == Recall.exact(recall)


# ---- the same answer always ----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
@pytest.mark.parametrize("metric", ["l1", "l2", "cosine"])
def test_threads_batches_and_layouts_change_nothing(dtype, metric, rng):
    Y = topics(rng, 4000)
    Y = Y if dtype == np.float32 else (128 + 30 * Y).clip(0, 255).astype(np.uint8)
    X = Y[::7] + dtype(1)
    searcher = Searcher(Y, space_of(metric), "ivf", recall=0.9)
    expected = searcher.kneighbors(X, 6, 1)
    for n_threads, size in [(2, len(X)), (3, 1), (1, 13), (7, 200)]:
        other = Searcher(np.asfortranarray(Y).copy(order="C"), space_of(metric), "ivf", recall=0.9)
        parts = [
            other.kneighbors(X[i : i + size], 6, n_threads)[:2] for i in range(0, len(X), size)
        ]
        for found, wanted in zip(zip(*parts, strict=True), expected, strict=False):
            np.testing.assert_array_equal(np.concatenate(found), wanted)


def test_instruction_sets_change_nothing(isa, rng):
    Y = topics(rng, 4000)
    found = Searcher(Y, space_of("cosine"), "ivf", recall=0.9).kneighbors(Y[:500] + 1, 6, 2)
    fastnn.set_isa("baseline")
    expected = Searcher(Y, space_of("cosine"), "ivf", recall=0.9).kneighbors(Y[:500] + 1, 6, 2)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.distances, expected.distances)


def test_random_rows_differ_and_stay(rng):
    for n, n_wanted in [(10, 10), (10, 3), (1000, 20), (100_000, 49_000)]:
        rows = random_rows(n, n_wanted)
        assert len(np.unique(rows)) == len(rows) == n_wanted
        assert 0 <= rows.min() <= rows.max() < n
        assert not (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(random_rows(10, 10), [2, 8, 4, 9, 1, 6, 7, 3, 0, 5])
    np.testing.assert_array_equal(random_rows(1000, 4), [684, 559, 629, 192])


def test_rows_among_themselves(rng):
    X = topics(rng, 3000)
    for k in (1, 8):
        searcher = Searcher(X, "l2", "ivf", recall=0.9)
        found = searcher.kneighbors(X, k, 2, exclude_self=True)
        assert not (found.indices == np.arange(3000)[:, None]).any()
        expected = oracles.kneighbors_of_itself(X, k, "l2")[0]
        recalls = recall_of(found.distances, expected)
        assert recalls.mean() > 0.9 - ivf.SLACK - 3 * recalls.std() / math.sqrt(3000)


def test_concurrent_first_searches_share_the_lists(rng):
    Y, found = topics(rng, 4000), []
    model = NearestNeighbors(n_neighbors=4, algorithm="ivf", recall=0.9).fit(Y)
    threads = [
        threading.Thread(target=lambda: found.append(model.kneighbors(Y[:200]))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for distances, indices in found:
        np.testing.assert_array_equal(distances, found[0][0])
        np.testing.assert_array_equal(indices, found[0][1])


# ---- where lists do not serve --------------------------------------------------------------------


def test_few_samples_are_searched_exactly(rng):
    Y = topics(rng, ivf.MIN_SAMPLES - 1)
    model = NearestNeighbors(n_neighbors=5, algorithm="ivf", recall=0.9).fit(Y)
    assert model.recall_ == EXACT
    np.testing.assert_array_equal(model.kneighbors(Y[:9])[1], fastnn.kneighbors(Y[:9], Y)[1])
    assert "999 samples are too few for lists" in model.explain_algorithm()
    with pytest.raises(CannotServe):
        train_centroids(Searcher(Y, "l2").samples, 1)


@pytest.mark.parametrize("k", [1499, 1500])
def test_k_near_n_is_exact(k, rng):
    Y = topics(rng, 1500)
    found = fastnn.kneighbors(Y[:9], Y, k, algorithm="ivf", recall=0.5)
    np.testing.assert_array_equal(found, fastnn.kneighbors(Y[:9], Y, k))


@pytest.mark.parametrize("algorithm", ["brute", "bounded", "kd_tree"])
def test_exact_algorithms_stay_exact(algorithm, rng):
    Y = topics(rng, 3000)
    model = NearestNeighbors(n_neighbors=4, algorithm=algorithm, recall=0.9).fit(Y)
    np.testing.assert_array_equal(model.kneighbors(Y[:99])[1], fastnn.kneighbors(Y[:99], Y, 4)[1])
    assert model.recall_ == EXACT


def test_a_recall_of_1_is_exact_by_any_name(rng):
    Y = topics(rng, 3000)
    model = NearestNeighbors(n_neighbors=4, algorithm="ivf").fit(Y)
    np.testing.assert_array_equal(model.kneighbors(Y[:99])[1], fastnn.kneighbors(Y[:99], Y, 4)[1])
    assert model.recall_ == Recall.exact(1.0)
    assert model.effective_algorithm_ != "ivf"


def test_a_radius_is_exact(rng):
    Y = topics(rng, 3000)
    model = NearestNeighbors(radius=1.5, algorithm="ivf", recall=0.5).fit(Y)
    found = model.radius_neighbors(Y[:50])[1]
    for indices, expected in zip(found, fastnn.radius_neighbors(Y[:50], Y, 1.5)[1], strict=True):
        np.testing.assert_array_equal(indices, expected)


@pytest.mark.parametrize("metric", ["canberra", "braycurtis"])
def test_other_metrics_are_scikit_learns(metric, rng):
    Y = np.abs(topics(rng, 1200))
    model = NearestNeighbors(n_neighbors=3, metric=metric, algorithm="ivf", recall=0.9).fit(Y)
    theirs = NearestNeighbors(n_neighbors=3, metric=metric).fit(Y)
    np.testing.assert_array_equal(model.kneighbors(Y[:5])[1], theirs.kneighbors(Y[:5])[1])
    assert model.recall_ == EXACT


# ---- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("recall", [0.0, -0.5, 1.0001, np.nan, np.inf])
def test_a_recall_outside_its_range(recall):
    Y = np.eye(5)
    with pytest.raises(ValueError, match="recall must be"):
        fastnn.kneighbors(Y, Y, 2, recall=recall)
    with pytest.raises(ValueError, match="recall must be"):
        precomputed_knn(Y, 2, recall=recall)
    for estimator in ESTIMATORS:
        with pytest.raises(ValueError, match="'recall' parameter"):
            estimator(recall=recall).fit(Y, np.arange(5) % 2)


def test_a_recall_of_another_type():
    with pytest.raises(TypeError, match="recall must be a number, got str"):
        fastnn.kneighbors(np.eye(5), np.eye(5), 2, recall="high")


def test_ivf_is_no_name_for_a_radius():
    with pytest.raises(ValueError, match="algorithm must be one of"):
        fastnn.radius_neighbors(np.eye(5), np.eye(5), algorithm="ivf")
    with pytest.raises(ValueError, match="'algorithm' parameter"):
        fastnn.neighbors.RadiusNeighborsClassifier(algorithm="ivf").fit(np.eye(2), [0, 1])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_that_are_not_finite(bad, dtype, rng):
    Y = topics(rng, 2000).astype(dtype)
    X = Y[:20].copy()
    X[7, 3] = bad
    searcher = Searcher(Y, "l2", "ivf", recall=0.9)
    for n in (20, 8):
        with pytest.raises(ValueError, match="X must hold finite numbers"):
            searcher.kneighbors(X[:n], 3, 2)
    model = NearestNeighbors(algorithm="ivf", recall=0.9).fit(Y)
    with pytest.raises(ValueError, match="Input X contains"):
        model.kneighbors(X)
    with pytest.raises(ValueError, match="X must hold finite numbers"):
        model.calibrate(X)
    Y = Y.copy()
    Y[1234, 5] = bad
    with pytest.raises(ValueError, match="Y must hold finite numbers"):
        fastnn.kneighbors(X[:3], Y, 3, algorithm="ivf", recall=0.9)


def test_calibrations_that_cannot_be(rng):
    Y = topics(rng, 2000)
    model = NearestNeighbors(algorithm="ivf", recall=0.95)
    with pytest.raises(ValueError, match="not fitted"):
        model.calibrate(Y)
    model.fit(Y)
    with pytest.raises(ValueError, match=r"at least 66 rows for recall=0\.95, got 65"):
        model.calibrate(Y[:65])
    with pytest.raises(ValueError, match="features"):
        model.calibrate(Y[:100, :5])
    assert model.calibrate(Y[:66] + 0.1).recall_.n_queries == 66


def test_the_largest_numbers_make_no_centroid(rng):
    Y = 1e308 * rng.random((2000, 3))
    found = fastnn.kneighbors(Y[:50], Y, 3, "l1", algorithm="ivf", recall=0.9)
    recalls = recall_of(found[0], fastnn.kneighbors(Y[:50], Y, 3, "l1")[0])
    assert recalls.mean() > 0.8


# ---- estimators ----------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_recall_is_a_parameter(estimator, rng):
    X = topics(rng, 2000)
    y = rng.integers(0, 3, 2000)
    model = estimator(n_neighbors=5, algorithm="ivf", recall=0.9)
    assert clone(model).recall == model.get_params()["recall"] == 0.9
    model.fit(X, y)
    assert model.effective_algorithm_ == "ivf"
    assert 0.9 <= model.recall_.measured <= 1.0
    expected = precomputed_knn(X, 6, algorithm="ivf", recall=0.9)[0][:, 1:]
    np.testing.assert_array_equal(model.kneighbors(return_distance=False), expected)
    assert estimator().recall == 1.0


def test_votes_go_by_the_neighbors_found(rng):
    X, y = topics(rng, 3000), rng.integers(0, 3, 3000)
    model = KNeighborsClassifier(3, algorithm="ivf", recall=0.6).fit(X, y)
    found = model.kneighbors(X[:300] + 0.1, return_distance=False)
    counts = (y[found][:, :, None] == np.arange(3)).sum(axis=1)
    np.testing.assert_array_equal(model.predict(X[:300] + 0.1), counts.argmax(axis=1))


def test_lists_are_small_and_last(tmp_path, rng):
    Y = topics(rng, 6000)
    model = NearestNeighbors(n_neighbors=5, algorithm="ivf", recall=0.9).fit(Y)
    found = model.kneighbors(Y[:500] + 0.1)
    assert 0 < model.nbytes_ < 0.35 * Y.nbytes
    stored = pickle.dumps(model)
    assert len(stored) < 1.35 * Y.nbytes
    path = tmp_path / "model"
    joblib.dump(model, path)
    trained, ivf.train_centroids = ivf.train_centroids, None  # nobody trains again
    try:
        for again in (
            pickle.loads(stored), copy.deepcopy(model), joblib.load(path, mmap_mode="r"),
            pickle.loads(pickle.dumps(pickle.loads(stored))),
        ):  # fmt: skip
            assert again.recall_ == model.recall_
            for a, b in zip(again.kneighbors(Y[:500] + 0.1), found, strict=True):
                np.testing.assert_array_equal(a, b)
        # Another recall needs no other lists.
        model.set_params(recall=0.99)
        assert model.recall_.asked == 0.99
    finally:
        ivf.train_centroids = trained
    searcher = pickle.loads(pickle.dumps(prepared(model)))
    for a, b in zip(searcher.kneighbors(Y[:500] + 0.1, 5, 2), model.kneighbors(Y[:500] + 0.1),
                    strict=False):  # fmt: skip
        np.testing.assert_array_equal(a, b)


def prepared(model):
    from fastnn._sklearn.preparation import prepare

    return prepare(model).searcher


def test_a_fit_forgets_the_lists(rng):
    Y, X = topics(rng, 2000), topics(rng, 50)
    model = NearestNeighbors(n_neighbors=3, algorithm="ivf", recall=0.9).fit(Y)
    before = model.kneighbors(X)
    for again in (model, pickle.loads(pickle.dumps(model))):
        # The same array with other values.
        samples = again._fit_X
        samples *= -1
        expected = fastnn.kneighbors(X, samples, 3, algorithm="ivf", recall=0.9)
        found = again.fit(samples).kneighbors(X)
        np.testing.assert_array_equal(found[1], expected[1])
        assert not np.array_equal(found[0], before[0])


def test_a_radius_search_changes_nothing_about_the_neighbors(rng):
    Y = topics(rng, 3000)
    model = NearestNeighbors(n_neighbors=5, algorithm="ivf", recall=0.9).fit(Y)
    model.radius_neighbors(Y[:5], 0.5)
    promised = model.recall_
    assert promised.n_queries == 300
    expected = model.kneighbors(Y[:200] + 0.1)
    model.radius_neighbors(Y[:5], 0.5)
    assert model.recall_ == promised
    again = pickle.loads(pickle.dumps(model))
    assert "_lists_state" in vars(again)
    np.testing.assert_array_equal(again.kneighbors(Y[:200] + 0.1), expected)


@pytest.mark.parametrize("of_samples", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("of_queries", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("metric", ["l1", "l2", "chebyshev", "cosine"])
def test_calibration_queries_of_any_dtype(of_samples, of_queries, metric, rng):
    rows = (128 + 30 * topics(rng, 4000)).clip(0, 255).astype(np.uint8)
    model = NearestNeighbors(n_neighbors=5, metric=metric, algorithm="ivf", recall=0.9)
    model.fit(rows[:3000].astype(of_samples)).calibrate(rows[3000:].astype(of_queries))
    same = NearestNeighbors(n_neighbors=5, metric=metric, algorithm="ivf", recall=0.9)
    same.fit(rows[:3000].astype(of_samples)).calibrate(rows[3000:].astype(of_samples))
    assert model.recall_ == same.recall_
    assert model.recall_.n_queries == 1000


@pytest.mark.parametrize("place", ["training", "calibration"])
def test_nan_among_the_samples_is_found_wherever_it_is(place, monkeypatch, rng):
    monkeypatch.setattr(planner, "TRIED_LISTS_SHARE", 1.0)
    Y = topics(rng, 30_000, 128)
    row = random_rows(30_000, 600)[550 if place == "training" else 5]
    Y[row, 7] = np.nan
    for algorithm in ("auto", "ivf"):
        with pytest.raises(ValueError, match=f"Y must hold finite numbers, got NaN at row {row}"):
            fastnn.kneighbors(topics(rng, 10_000, 128), Y, 10, algorithm=algorithm, recall=0.9)
    searcher = Searcher(Y, "l2", "ivf", recall=0.9)
    with pytest.raises(ValueError, match="Y must hold finite numbers"):
        searcher.recall_of(5, 2)


@pytest.mark.parametrize("recall", [2, -1.0, np.nan, "x", None])
def test_a_recall_that_is_set_later_is_checked(recall, rng):
    model = NearestNeighbors(n_neighbors=3, recall=0.9).fit(topics(rng, 2000))
    model.set_params(recall=recall)
    with pytest.raises((ValueError, TypeError), match="recall must be"):
        model.kneighbors()


def test_memory_mapped_samples(tmp_path, rng):
    Y = topics(rng, 3000)
    np.save(tmp_path / "Y.npy", Y)
    mapped = np.load(tmp_path / "Y.npy", mmap_mode="r")
    found = fastnn.kneighbors(Y[:100], mapped, 4, algorithm="ivf", recall=0.9)
    np.testing.assert_array_equal(found, fastnn.kneighbors(Y[:100], Y, 4, algorithm="ivf",
                                                           recall=0.9))  # fmt: skip


def test_a_forked_child_searches(rng):
    children.run(
        """
import os, numpy as np, fastnn
from fastnn.neighbors import NearestNeighbors
rng = np.random.default_rng(0)
Y = rng.standard_normal((3000, 8)).astype(np.float32)
model = NearestNeighbors(n_neighbors=3, algorithm="ivf", recall=0.9).fit(Y)
expected = model.kneighbors(Y[:200])[1]
child = os.fork()
if child == 0:
    ok = np.array_equal(model.kneighbors(Y[:200])[1], expected)
    ok &= NearestNeighbors(algorithm="ivf", recall=0.9).fit(Y).recall_.n_queries == 300
    os._exit(0 if ok else 1)
assert os.waitpid(child, 0)[1] == 0
"""
    )


# ---- what "auto" takes ---------------------------------------------------------------------------


def request(**changes):
    return Request(
        n_queries=10_000, n_expected=10_000, n_samples=100_000, n_features=128, k=10, metric="l2",
        recall=0.95,
    )._replace(**changes)  # fmt: skip


NO_BOUNDS = Statistics(design=False, quick_look=False)


def test_lists_are_tried_where_that_is_cheap():
    costs = current_costs()
    assert plan(request(), costs, NO_BOUNDS) == TryLists()
    assert plan(request(recall=1.0), costs, NO_BOUNDS).algorithm == "brute"
    assert plan(request(n_queries=100, n_expected=100), costs, NO_BOUNDS).algorithm == "brute"
    assert plan(request(n_samples=2000), costs, NO_BOUNDS).algorithm == "brute"
    few_features = Statistics(trials=(kd_tree.Trial(100.0, None),))
    assert plan(request(n_features=8), costs, few_features).algorithm == "kd_tree"


def test_what_queries_visit_decides():
    costs = current_costs()
    chosen = plan(request(), costs, NO_BOUNDS._replace(visited=0.02))
    assert chosen.algorithm == "ivf"
    assert chosen.reason.startswith("queries visit about 2 % of the samples for a recall of 0.95")
    for visited in (0.9, False):
        assert plan(request(), costs, NO_BOUNDS._replace(visited=visited)).algorithm == "brute"
    # Bounds that leave next to nothing are hard to beat.
    tight = Statistics(design=BoundEstimate(0.01, 100.0, (0.001,)), visited=0.2)
    assert plan(request(), costs, tight).algorithm == "bounded"


def test_auto_takes_lists_and_stays_with_them(monkeypatch, rng):
    monkeypatch.setattr(planner, "TRIED_LISTS_SHARE", 1.0)
    rows = topics(rng, 40_000, 128)
    Y, X = rows[:30_000], rows[30_000:]
    model = NearestNeighbors(n_neighbors=10, recall=0.9).fit(Y)
    assert model.recall_ == EXACT
    found = model.kneighbors(X)
    assert model.effective_algorithm_ == "ivf"
    assert model.recall_.measured >= 0.9
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.kneighbors(X[:5])[1], found[1][:5])
    assert again.effective_algorithm_ == "ivf"


def test_auto_stays_exact_where_lists_do_not_pay(rng):
    rows = rng.standard_normal((24_000, 64)).astype(np.float32)
    searcher = Searcher(rows[:16_000], "l2", recall=0.95)
    found = searcher.kneighbors(rows[16_000:], 10, 2)
    assert found.algorithm == "brute"
    assert searcher.recall_of(10, 2) == Recall.exact(0.95)


def test_a_tried_centroid_is_not_trained_again(monkeypatch, rng):
    calls = []
    monkeypatch.setattr(planner, "TRIED_LISTS_SHARE", 1.0)
    monkeypatch.setattr(
        "fastnn._search.searcher.train_centroids",
        lambda *arguments: calls.append(1) or train_centroids(*arguments),
    )
    rows = topics(rng, 40_000, 128)
    found = Searcher(rows[:30_000], "l2", recall=0.9).kneighbors(rows[30_000:], 10, 2)
    assert found.algorithm == "ivf"
    assert calls == [1]


@pytest.mark.parametrize("algorithm", ["auto", "ivf"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_queries_of_a_wider_type_visit_the_same_lists(algorithm, dtype, monkeypatch, rng):
    calls = []
    monkeypatch.setattr(planner, "TRIED_LISTS_SHARE", 1.0)
    monkeypatch.setattr(
        "fastnn._search.searcher.train_centroids",
        lambda *arguments: calls.append(1) or train_centroids(*arguments),
    )
    rows = (128 + 30 * topics(rng, 40_000, 128)).clip(0, 255).astype(dtype)
    Y, X = rows[:30_000], rows[30_000:]
    searcher = Searcher(Y, "l2", algorithm, recall=0.9)
    if algorithm == "auto":
        assert searcher.kneighbors(X, 10, 2).algorithm == "ivf"
    wider = X.astype(np.float64) + 1e-9
    found = searcher.kneighbors(wider, 10, 2)
    assert found.algorithm == "ivf"
    assert calls == [1]
    expected = fastnn.kneighbors(wider, Y, 10)
    assert recall_of(found.distances, expected[0]).mean() > 0.85
    same = searcher.kneighbors(X, 10, 2)
    # Lists that are equally near may change places.
    assert np.isclose(found.distances, same.distances).all(axis=1).mean() > 0.99


def test_threads_share_a_calibration(monkeypatch, rng):
    calls = []
    original = Calibration.of
    monkeypatch.setattr(
        Calibration, "of", lambda *arguments: calls.append(1) or original(*arguments)
    )
    searcher = Searcher(topics(rng, 5000), "l2", "ivf", recall=0.9)
    threads = [threading.Thread(target=searcher.recall_of, args=(3, 1)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls == [1]


def test_lists_of_no_rows(rng):
    """Of centroids that nothing is near, lists are empty, and stay out of the way."""
    Y = topics(rng, 2000)
    samples = Searcher(Y, "l2").samples
    values = np.concatenate([Y[:20], np.full((30, Y.shape[1]), 1e6, np.float32)])
    centroids = Centroids(samples, values, np.ones(50), np.arange(10))
    index = InvertedLists.build(samples, centroids, 2)
    assert (index.sizes == 0).sum() >= 29
    found = index.kneighbors(Y[:30], 9, 2, n_probes=3.0)
    assert (found[0] >= fastnn.kneighbors(Y[:30], Y, 9)[0]).all()
    np.testing.assert_array_equal(found[1][:, 0], np.arange(30))


def test_accel_never_approximates(rng):
    Y = topics(rng, 3000)

    class Hasty(sklearn.neighbors.NearestNeighbors):
        recall = 0.1

    with fastnn.accel.enabled():
        found = Hasty(n_neighbors=4, algorithm="brute").fit(Y).kneighbors(Y[:500])
    np.testing.assert_array_equal(found, fastnn.kneighbors(Y[:500], Y, 4))
