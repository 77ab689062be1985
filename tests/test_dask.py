"""Estimators on Dask: those on one machine, bit for bit, for any chunks and whoever is lost."""

import copy
import math
import os
import pickle

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

import children
import datasets_for_search as data
import fastnn
import fastnn.linear_model
import fastnn.neighbors

dask = pytest.importorskip("dask", reason="dask is not installed")
da = pytest.importorskip("dask.array", reason="Dask's arrays are not installed")

from fastnn.dask import (  # noqa: E402
    KNeighborsClassifier,
    KNeighborsRegressor,
    NearestNeighbors,
    SoftmaxClassifier,
    SVMClassifier,
)
from fastnn.dask import _neighbors as inside  # noqa: E402

PLANNING = dask.config.get("array.query-planning", False)
CHUNKS = [(700,), (1, 699), (300, 0, 3, 397), (7,) * 100]


@pytest.fixture(autouse=True)
def _synchronous():
    with dask.config.set(scheduler="synchronous"):
        yield


def chunked(rows, chunks, columns=None):
    """A Dask array whose rows have these chunks."""
    widths = (columns or size for size in rows.shape[1:])
    return da.from_array(rows, chunks=(chunks, *widths))


def ties(rng, n, d=8, dtype=np.float32):
    return rng.integers(0, 4, (n, d)).astype(dtype)


# ---- searches ------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunks", CHUNKS)
@pytest.mark.parametrize("persist", [True, False])
def test_any_chunks(chunks, persist, rng):
    Y, X = ties(rng, 700), ties(rng, 50)
    expected = fastnn.kneighbors(X, Y, 9)
    model = NearestNeighbors(n_neighbors=9, persist=persist).fit(chunked(Y, chunks, columns=3))
    found = model.kneighbors(X)
    assert all(type(values) is np.ndarray for values in found)
    np.testing.assert_array_equal(found, expected)
    lazily = model.kneighbors(chunked(X, (20, 0, 1, 29), columns=5))
    assert [values.shape for values in lazily] == [(50, 9)] * 2
    assert [values.dtype for values in lazily] == [np.float64, np.int64]
    np.testing.assert_array_equal(dask.compute(*lazily), expected)
    np.testing.assert_array_equal(model.kneighbors(X, 2, return_distance=False), expected[1][:, :2])


@pytest.mark.parametrize("metric", ["l1", "l2", "sqeuclidean", "chebyshev", "cosine"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, np.int32, bool])
def test_metrics_and_types(metric, dtype, rng):
    Y, X = ties(rng, 300, dtype=dtype), ties(rng, 40, dtype=np.float64)
    model = NearestNeighbors(n_neighbors=5, metric=metric).fit(chunked(Y, (100, 150, 50)))
    np.testing.assert_array_equal(model.kneighbors(X), fastnn.kneighbors(X, Y, 5, metric))


def test_chunks_of_several_types(rng):
    Y = ties(rng, 300)
    chunks = [Y[:100].astype(np.uint8), Y[100:150].astype(np.float64), Y[150:]]
    rows = da.map_blocks(
        lambda i: chunks[int(i[0])], da.from_array(np.arange(3), chunks=1), new_axis=1,
        chunks=((100, 50, 150), (8,)), dtype=np.float32, meta=np.empty((0, 0), np.float32),
    )  # fmt: skip
    found = NearestNeighbors().fit(rows).kneighbors(Y[:20])
    np.testing.assert_array_equal(found, fastnn.kneighbors(Y[:20], Y))


def test_weights_of_features(rng):
    Y, X, w = rng.random((300, 4)), rng.random((20, 4)), rng.random(4)
    model = NearestNeighbors(p=1, metric_params={"w": w}).fit(chunked(Y, (100, 200)))
    expected = fastnn.kneighbors(X, Y, p=1, metric_params={"w": w})
    np.testing.assert_array_equal(model.kneighbors(X), expected)


@pytest.mark.parametrize("family", [data.normal, data.duplicated])
def test_samples_among_themselves(family, rng):
    Y = family(rng, 400, 3)
    expected = fastnn.neighbors.NearestNeighbors(n_neighbors=6).fit(Y).kneighbors()
    for chunks in [(400,), (150, 250), (2, 0, 398)]:
        model = NearestNeighbors(n_neighbors=6).fit(chunked(Y, chunks))
        np.testing.assert_array_equal(dask.compute(*model.kneighbors()), expected)


def test_many_chunks_are_merged_in_turn(rng):
    Y, X = ties(rng, 700), ties(rng, 20)
    expected = fastnn.kneighbors(X, Y, 9)
    for split_every in (2, 3, 100):
        model = NearestNeighbors(n_neighbors=9, split_every=split_every)
        found = model.fit(chunked(Y, (7,) * 100)).kneighbors(X)
        np.testing.assert_array_equal(found, expected)


def test_arrays_in_memory(rng):
    Y, X = ties(rng, 300), ties(rng, 20)
    expected = fastnn.kneighbors(X, Y)
    with dask.config.set({"array.chunk-size": "2kiB"}):
        model = NearestNeighbors().fit(Y)
        assert len(model._rows.chunks[0]) > 2
        np.testing.assert_array_equal(model.kneighbors(X), expected)
        lists = NearestNeighbors().fit(Y.tolist())
        np.testing.assert_array_equal(lists.kneighbors(X.tolist()), expected)


@pytest.mark.skipif(PLANNING, reason="data frames make arrays of the other kind")
def test_frames(rng):
    pd, dd = pytest.importorskip("pandas"), pytest.importorskip("dask.dataframe")
    Y, X = rng.random((300, 3)), rng.random((20, 3))
    frame = dd.from_pandas(pd.DataFrame(Y, columns=list("abc")), npartitions=4)
    model = NearestNeighbors().fit(frame)
    np.testing.assert_array_equal(model.kneighbors(X), fastnn.kneighbors(X, Y))
    near = frame[frame.a < 0.5]  # partitions of unknown sizes, one may be empty
    some = Y[Y[:, 0] < 0.5]
    found = NearestNeighbors().fit(near).kneighbors(frame)
    np.testing.assert_array_equal(dask.compute(*found), fastnn.kneighbors(Y, some))


@pytest.mark.skipif(PLANNING, reason="has no arrays of unknown shape yet")
def test_unknown_chunk_sizes(rng):
    Y, X = ties(rng, 300), ties(rng, 20)
    rows = chunked(Y, (100, 50, 150))
    rows = rows[rows[:, 0] > 1]
    found = NearestNeighbors().fit(rows).kneighbors(X)
    np.testing.assert_array_equal(found, fastnn.kneighbors(X, Y[Y[:, 0] > 1]))
    assert math.isnan(rows.shape[0])  # the user's array is as it was


# ---- what travels --------------------------------------------------------------------------------


def graph_of(collection):
    return pickle.dumps(dict(collection.__dask_graph__()))


def test_a_mapped_file_is_read_by_tasks(tmp_path, rng):
    Y, X = rng.standard_normal((5000, 20)), rng.standard_normal((10, 20))
    np.save(tmp_path / "Y.npy", Y)
    mapped = np.load(tmp_path / "Y.npy", mmap_mode="r")
    with dask.config.set({"array.chunk-size": "100kiB"}):
        for some, rows in ((mapped, Y), (mapped[1000:4000], Y[1000:4000])):
            model = NearestNeighbors(persist=False).fit(some)
            assert len(model._rows.chunks[0]) > 2
            assert len(dask.base.tokenize(model._rows)) > 0
            np.testing.assert_array_equal(model.kneighbors(X), fastnn.kneighbors(X, rows))
        for some, rows in ((mapped[::2], Y[::2]), (mapped[:, 2:], Y[:, 2:])):
            queries = X[:, : rows.shape[1]]
            found = NearestNeighbors().fit(some).kneighbors(queries)
            np.testing.assert_array_equal(found, fastnn.kneighbors(queries, rows))


def test_what_is_written_to_a_private_map_counts(tmp_path, rng):
    Y = rng.standard_normal((300, 3))
    np.save(tmp_path / "Y.npy", Y)
    private = np.load(tmp_path / "Y.npy", mmap_mode="c")
    private[:100] += 5.0
    found = NearestNeighbors().fit(private).kneighbors(Y)
    np.testing.assert_array_equal(found, fastnn.kneighbors(Y, np.array(private)))


@pytest.mark.skipif(PLANNING, reason="graphs are made when they are computed")
def test_graphs_hold_no_samples(tmp_path, rng):
    cloudpickle = pytest.importorskip("cloudpickle")
    Y, X = rng.standard_normal((20_000, 20)), rng.standard_normal((10, 20))
    np.save(tmp_path / "Y.npy", Y)
    model = NearestNeighbors(persist=False)
    for rows in (
        np.load(tmp_path / "Y.npy", mmap_mode="r"),
        da.random.default_rng(0).random((20_000, 20), chunks=(2000, 20)),
    ):
        cells = model.fit(rows)._cells(X)
        assert len(cloudpickle.dumps(dict(cells.__dask_graph__()))) < 50_000


def test_a_search_reads_each_chunk_once(rng):
    """Also where there are several chunks of queries, and nothing is kept."""
    Y, X, reads = ties(rng, 300), ties(rng, 40), []

    def read(i):
        reads.append(int(i[0]))
        return Y[100 * int(i[0]) :][:100]

    rows = da.map_blocks(
        read, da.from_array(np.arange(3), chunks=1), new_axis=1, chunks=((100,) * 3, (8,)),
        dtype=np.float32, meta=np.empty((0, 0), np.float32),
    )  # fmt: skip
    model = NearestNeighbors(persist=False).fit(rows)
    assert reads == []
    found = dask.compute(*model.kneighbors(chunked(X, (10,) * 4)))
    assert sorted(reads) == [0, 1, 2]
    np.testing.assert_array_equal(found, fastnn.kneighbors(X, Y))
    reads.clear()
    model.set_params(persist=True).fit(rows).kneighbors(X)
    model.kneighbors(X)
    assert sorted(reads) == [0, 1, 2]


def test_shards_tell_their_size(rng):
    Y = rng.standard_normal((2000, 20))
    shard = inside.Shard.of(
        Y,
        np.array([[0, 2000]]),
        np.zeros(2000),
        n_features=20,
        space=inside.check_space("l2"),
        algorithm="brute",
        recall=1.0,
    )
    size = dask.sizeof.sizeof(shard)
    assert Y.nbytes + 16_000 <= size < Y.nbytes + 50_000
    for _ in range(3):  # packed rows stay
        shard.searcher.kneighbors(Y, 3, 1)
    assert dask.sizeof.sizeof(shard) > size


@pytest.mark.parametrize("persist", [True, False])
def test_models_are_pickled_and_copied(persist, tmp_path, rng):
    Y, X = ties(rng, 300), ties(rng, 20)
    y = Y[:, 0].astype(int)
    np.save(tmp_path / "Y.npy", Y)
    mapped = np.load(tmp_path / "Y.npy", mmap_mode="r")
    for rows in (chunked(Y, (100, 200)), mapped):
        for kind in (NearestNeighbors, KNeighborsClassifier, KNeighborsRegressor):
            model = kind(persist=persist).fit(rows, y)
            for again in (model, pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
                np.testing.assert_array_equal(again.kneighbors(X), fastnn.kneighbors(X, Y))
        model = SoftmaxClassifier(max_iter=3, tol=None, persist=persist).fit(rows, y)
        again = pickle.loads(pickle.dumps(model))
        np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))


def test_a_file_that_changes(tmp_path, rng):
    Y, X = rng.standard_normal((300, 4)), rng.standard_normal((20, 4))
    queries = chunked(X, (20,))

    def fitted(rows, persist):
        np.save(tmp_path / "Y.npy", rows)
        os.utime(tmp_path / "Y.npy", ns=(0, int(rows[0, 0] * 1e9) % 10**15))
        return NearestNeighbors(persist=persist).fit(np.load(tmp_path / "Y.npy", mmap_mode="r"))

    first, second = fitted(Y, True), fitted(Y[::-1], True)
    found = dask.compute(first.kneighbors(queries)[1], second.kneighbors(queries)[1])
    np.testing.assert_array_equal(found[0], fastnn.kneighbors(X, Y)[1])
    np.testing.assert_array_equal(found[1], fastnn.kneighbors(X, Y[::-1])[1])
    # Samples that are kept are the queries, too.
    expected = fastnn.neighbors.NearestNeighbors().fit(Y).kneighbors()
    np.testing.assert_array_equal(dask.compute(*first.kneighbors()), expected)
    read_again = fitted(Y, False)
    np.save(tmp_path / "Y.npy", Y[:50])
    with pytest.raises(ValueError, match=r"Y\.npy has become shorter: it has no rows 0 to 300"):
        read_again.kneighbors(X)


@pytest.mark.skipif(PLANNING, reason="data frames make arrays of the other kind")
def test_names_of_columns(rng):
    pd, dd = pytest.importorskip("pandas"), pytest.importorskip("dask.dataframe")
    Y = pd.DataFrame(rng.random((300, 3)), columns=list("abc"))
    y = pd.Series(rng.integers(0, 2, 300))
    frame, series = dd.from_pandas(Y, npartitions=3), dd.from_pandas(y, npartitions=3)
    for rows in (Y, frame):
        for model in (
            NearestNeighbors().fit(rows),
            KNeighborsClassifier().fit(rows, series),
            SoftmaxClassifier(max_iter=3, tol=None).fit(rows, series),
        ):
            search = getattr(model, "kneighbors", None) or model.predict
            for queries in (Y, frame):
                dask.compute(search(queries))
                with pytest.raises(ValueError, match="The feature names should match"):
                    search(queries[list("cba")])
    assert 0.0 <= model.score(frame, series) <= 1.0
    assert model.score(frame, series, y * 0 + 1) == model.score(Y, y)


@pytest.mark.skipif(PLANNING, reason="data frames make arrays of the other kind")
def test_frames_of_several_types(rng):
    pd, dd = pytest.importorskip("pandas"), pytest.importorskip("dask.dataframe")
    Y = pd.DataFrame(rng.random((300, 3)), columns=list("abc"))
    for other in (Y.assign(b=Y.b > 0.5), Y.astype("Float64")):
        found = NearestNeighbors().fit(dd.from_pandas(other, npartitions=3)).kneighbors(other)
        np.testing.assert_array_equal(found, fastnn.kneighbors(other, other))


@pytest.mark.skipif(not PLANNING, reason="data frames make arrays of this kind")
def test_frames_while_arrays_are_planned(rng):
    pd, dd = pytest.importorskip("pandas"), pytest.importorskip("dask.dataframe")
    frame = dd.from_pandas(pd.DataFrame(rng.random((300, 3))), npartitions=3)
    with pytest.raises(TypeError, match=r"X must be an array while .* is on, got a data frame"):
        NearestNeighbors().fit(frame)


def test_reads_of_training(rng):
    """What is kept is read once, weights among them."""
    reads = []

    def read(i):
        reads.append(int(i[0]))
        return rng.random(100)

    weights = da.map_blocks(
        read, da.from_array(np.arange(3), chunks=1), chunks=((100,) * 3,), dtype=np.float64,
        meta=np.empty(0),
    )  # fmt: skip
    rows = chunked(rng.random((300, 4)), (100,) * 3)
    SoftmaxClassifier(max_iter=5, tol=None, class_weight="balanced").fit(
        rows, np.arange(300) % 3, weights
    )
    assert sorted(reads) == [0, 1, 2]


def test_a_fit_that_fails_changes_nothing(rng):
    Y, X = ties(rng, 300), ties(rng, 20)
    model = KNeighborsClassifier().fit(chunked(Y, (100, 200)), Y[:, 0])
    before = model.predict(X)
    with pytest.raises(ValueError, match="got NaN"):
        model.fit(nan_in_a_chunk(), np.arange(300) % 2)
    np.testing.assert_array_equal(model.predict(X), before)
    first = NearestNeighbors()
    with pytest.raises(ValueError, match="got NaN"):
        first.fit(nan_in_a_chunk())
    with pytest.raises(NotFittedError):
        first.kneighbors(X)


# ---- votes ---------------------------------------------------------------------------------------

WEIGHTS = ["uniform", "distance", None, lambda distances: 1.0 / (1.0 + distances)]


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("labels", [np.arange(5), np.array(list("abcde")), np.arange(5) > 2])
def test_the_vote(weights, labels, rng):
    Y, X, y = ties(rng, 400, 4), ties(rng, 60, 4), labels[rng.integers(0, 5, 400)]
    expected = fastnn.neighbors.KNeighborsClassifier(7, weights=weights).fit(Y, y)
    rows, queries = chunked(Y, (150, 0, 3, 247)), chunked(X, (20, 0, 40))
    for targets in (y, chunked(y, (399, 1)), y[:, None]):
        model = KNeighborsClassifier(7, weights=weights).fit(rows, targets)
        np.testing.assert_array_equal(model.classes_, expected.classes_)
        np.testing.assert_array_equal(model.predict(X), expected.predict(X))
        np.testing.assert_array_equal(model.predict(queries).compute(), expected.predict(X))
        shares = model.predict_proba(queries)
        assert shares.shape == (60, len(expected.classes_))
        np.testing.assert_array_equal(shares.compute(), expected.predict_proba(X))
    truth = chunked(expected.predict(X), (60,))
    assert model.score(queries, truth) == model.score(X, expected.predict(X)) == 1.0
    np.testing.assert_array_equal(model.predict().compute(), expected.predict(None))


@pytest.mark.parametrize("weights", WEIGHTS)
def test_several_outputs(weights, rng):
    Y, X = ties(rng, 400, 4), ties(rng, 60, 4)
    y = rng.integers(0, 3, (400, 2))
    rows, queries = chunked(Y, (150, 250)), chunked(X, (20, 40))
    expected = fastnn.neighbors.KNeighborsClassifier(7, weights=weights).fit(Y, y)
    model = KNeighborsClassifier(7, weights=weights).fit(rows, y)
    np.testing.assert_array_equal(model.predict(queries).compute(), expected.predict(X))
    for shares, others in zip(model.predict_proba(X), expected.predict_proba(X), strict=True):
        np.testing.assert_array_equal(shares, others)


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("shape", [(), (1,), (3,)])
def test_the_mean(weights, shape, rng):
    Y, X, y = ties(rng, 400, 4), ties(rng, 60, 4), rng.standard_normal((400, *shape))
    rows, queries = chunked(Y, (150, 0, 250)), chunked(X, (20, 40))
    expected = fastnn.neighbors.KNeighborsRegressor(7, weights=weights).fit(Y, y).predict(X)
    model = KNeighborsRegressor(7, weights=weights).fit(rows, y)
    np.testing.assert_array_equal(model.predict(X), expected)
    np.testing.assert_array_equal(model.predict(queries).compute(), expected)
    assert model.score(X, expected) == 1.0


def test_a_recall_below_1_holds_for_the_whole(rng):
    centers = rng.standard_normal((60, 24))
    rows = (centers[rng.integers(0, 60, 9000)] + 0.4 * rng.standard_normal((9000, 24))).astype("f")
    Y, X = rows[:8000], rows[8000:]
    model = NearestNeighbors(n_neighbors=10, algorithm="ivf", recall=0.9)
    found = model.fit(chunked(Y, (4000, 4000))).kneighbors(X)
    expected = fastnn.kneighbors(X, Y, 10)
    assert 0.88 <= (found[0] <= expected[0][:, -1:]).mean() < 1.0


# ---- linear classifiers --------------------------------------------------------------------------

LINEAR = [
    (SoftmaxClassifier, fastnn.linear_model.SoftmaxClassifier),
    (SVMClassifier, fastnn.linear_model.SVMClassifier),
]


@pytest.mark.parametrize(("ours", "local"), LINEAR)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, np.int32])
@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("options", [{}, {"fit_intercept": False, "class_weight": "balanced"}])
def test_what_is_learned(ours, local, dtype, n_classes, options, rng):
    y = rng.integers(0, n_classes, 600)
    X = (120 + 20 * rng.standard_normal((600, 6)) + 8 * (y[:, None] == np.arange(6))).astype(dtype)
    if dtype not in (np.uint8, np.int32):
        X = (X - 120) / 20
    weights = rng.random(600)
    # Few steps: hinges make the path of a long search depend on the last bits.
    options = options | {"max_iter": 4, "alpha": 0.1, "tol": None}
    rows = chunked(X, (250, 0, 1, 349), columns=4)
    model = ours(**options).fit(rows, y, weights)
    same = local(solver="lbfgs", **options).fit(X, y, weights)
    np.testing.assert_allclose(model.coef_, same.coef_, rtol=2e-3, atol=1e-5)
    np.testing.assert_allclose(model.intercept_, same.intercept_, rtol=2e-3, atol=1e-5)
    np.testing.assert_allclose(model.loss_curve_, same.loss_curve_, rtol=1e-5)
    assert model.coef_.dtype == same.coef_.dtype
    assert type(model.estimator_) is local
    for method in ("predict", "decision_function", "predict_proba"):
        if hasattr(model, method):
            lazily = getattr(model, method)(rows)
            expected = getattr(model.estimator_, method)(X)
            assert lazily.shape == expected.shape
            assert lazily.dtype == lazily.compute().dtype == expected.dtype
            np.testing.assert_array_equal(lazily.compute(), expected)
            np.testing.assert_array_equal(getattr(model, method)(X), expected)
    assert model.score(rows, y) == model.estimator_.score(X, y)


@pytest.mark.parametrize(("ours", "local"), LINEAR)
def test_the_same_chunks_give_the_same_bits(ours, local, rng):
    X, y = rng.standard_normal((600, 6)).astype(np.float32), rng.integers(0, 3, 600)
    rows = chunked(X, (50,) * 12)
    first = ours(max_iter=30, tol=None).fit(rows, y)
    for scheduler in ("threads", "synchronous"):
        for persist in (True, False):
            with dask.config.set(scheduler=scheduler):
                again = ours(max_iter=30, tol=None, persist=persist).fit(rows, y)
            np.testing.assert_array_equal(again.coef_, first.coef_)
            np.testing.assert_array_equal(again.loss_curve_, first.loss_curve_)


# ---- what is wrong -------------------------------------------------------------------------------


def nan_in_a_chunk():
    Y = np.zeros((300, 3))
    Y[170, 1] = np.nan
    return chunked(Y, (100, 200))


def uneven_widths():
    return da.map_blocks(
        lambda i: np.zeros((100, 3 + int(i[0]))), da.from_array(np.arange(2), chunks=1), new_axis=1,
        chunks=((100, 100), (3,)), dtype=np.float64, meta=np.empty((0, 0)),
    )  # fmt: skip


def wrong_lengths():
    return da.map_blocks(
        lambda i: np.zeros((90, 3)), da.from_array(np.arange(2), chunks=1), new_axis=1,
        chunks=((100, 100), (3,)), dtype=np.float64, meta=np.empty((0, 0)),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (nan_in_a_chunk, ValueError, "X must hold finite numbers, got NaN at row 170, column 1"),
        (
            uneven_widths,
            ValueError,
            r"X must have chunks of the shapes.* \(100, 3\) for rows 100 to 200, got \(100, 4\)",
        ),
        (
            wrong_lengths,
            ValueError,
            r"X must have chunks of the shapes that it says.* got \(90, 3\)",
        ),
        (lambda: chunked(np.zeros(30), (30,)), ValueError, "X must be 2-D"),
        (lambda: chunked(np.zeros((0, 3)), (0,)), ValueError, "at least one row and one feature"),
        (lambda: chunked(np.zeros((9, 3), "U1"), (9,)), TypeError, "X must hold real numbers"),
        (lambda: dask.delayed(np.zeros)(3), TypeError, "X must be a Dask array or data frame"),
        (lambda: [[1.0], ["a"]], TypeError, "X must hold real numbers"),
    ],
)
def test_wrong_samples(make, error, message):
    with pytest.raises(error, match=message):
        NearestNeighbors().fit(make())


def test_nan_that_searches_meet():
    model = NearestNeighbors(persist=False).fit(nan_in_a_chunk())
    with pytest.raises(ValueError, match="X must hold finite numbers, got NaN at row 170"):
        model.kneighbors(np.zeros((2, 3)))


@pytest.mark.parametrize("persist", [True, False])
@pytest.mark.parametrize("shape", [(100, 2), (100, 4), (90, 3)])
def test_chunks_that_are_not_what_they_say(persist, shape, rng):
    def lying(n):
        return da.map_blocks(
            lambda i: np.zeros(shape), da.from_array(np.arange(n), chunks=1), new_axis=1,
            chunks=((100,) * n, (3,)), dtype=np.float64, meta=np.empty((0, 0)),
        )  # fmt: skip

    message = r"X must have chunks of the shapes that it says, \(100, 3\) for rows"
    y, honest = np.arange(300) % 2, chunked(rng.random((300, 3)), (100, 200))
    for kind in (NearestNeighbors, KNeighborsClassifier, SoftmaxClassifier):
        with pytest.raises(ValueError, match=message):
            dask.compute(kind(persist=persist).fit(lying(3), y).kneighbors(honest))
        model = kind(persist=persist).fit(honest, y)
        search = getattr(model, "kneighbors", None) or model.predict
        with pytest.raises(ValueError, match=message):
            dask.compute(search(lying(2)))
    weights = da.map_blocks(
        lambda i: np.zeros(shape[0] - 20), da.from_array(np.arange(3), chunks=1),
        chunks=((100,) * 3,), dtype=np.float64, meta=np.empty(0),
    )  # fmt: skip
    with pytest.raises(
        ValueError, match=r"sample_weight must have chunks as long as it says, [12]00"
    ):
        SoftmaxClassifier(persist=persist).fit(honest, y, weights)


@pytest.mark.skipif(PLANNING, reason="has no masked arrays yet")
def test_masked_chunks(rng):
    masked = da.ma.masked_greater(chunked(rng.random((300, 3)), (100, 200)), 0.9)
    for kind in (NearestNeighbors, SoftmaxClassifier):
        with pytest.raises(ValueError, match="X must have no masked values"):
            kind().fit(masked, np.arange(300) % 2)
    with pytest.raises(ValueError, match="y must have no masked values"):
        KNeighborsRegressor().fit(np.zeros((300, 3)), masked[:, 0])


def test_wrong_queries(rng):
    model = NearestNeighbors().fit(chunked(rng.random((300, 3)), (100, 200)))
    queries = rng.random((50, 3))
    queries[33] = np.inf
    with pytest.raises(ValueError, match="X must hold finite numbers, got infinity at row 33"):
        model.kneighbors(queries)
    with pytest.raises(ValueError, match="X must hold finite numbers, got infinity at row 33"):
        dask.compute(model.kneighbors(chunked(queries, (30, 20))))
    with pytest.raises(ValueError, match="X has 2 features, but NearestNeighbors is expecting 3"):
        model.kneighbors(queries[:, :2])


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"n_neighbors": 0}, ValueError, "Expected n_neighbors > 0"),
        ({"n_neighbors": "a"}, TypeError, "n_neighbors must be an integer"),
        ({"algorithm": "best"}, ValueError, "algorithm must be one of"),
        ({"metric": "braycurtis"}, ValueError, "metric must be one of"),
        ({"recall": 2}, ValueError, "recall must be above 0 and at most 1"),
        ({"split_every": 1}, ValueError, "split_every must be at least 2"),
        ({"n_jobs": 0}, ValueError, "n_jobs"),
    ],
)
def test_wrong_parameters(parameters, error, message, rng):
    with pytest.raises(error, match=message):
        NearestNeighbors(**parameters).fit(rng.random((30, 3)))


def test_more_neighbors_than_samples(rng):
    model = NearestNeighbors(n_neighbors=31).fit(chunked(rng.random((30, 3)), (10, 20)))
    with pytest.raises(ValueError, match="n_neighbors = 31, n_samples_fit = 30"):
        model.kneighbors(rng.random((5, 3)))
    with pytest.raises(ValueError, match="n_neighbors = 30, n_samples_fit = 29"):
        model.kneighbors(n_neighbors=30)


def test_not_fitted():
    for kind in (NearestNeighbors, KNeighborsRegressor):
        with pytest.raises(NotFittedError):
            kind().kneighbors(np.zeros((2, 2)))
    for kind in (KNeighborsClassifier, KNeighborsRegressor, SVMClassifier, SoftmaxClassifier):
        with pytest.raises(NotFittedError):
            kind().predict(np.zeros((2, 2)))


def test_targets_that_are_not_finite(rng):
    rows, y = chunked(rng.random((30, 3)), (10, 20)), np.arange(30.0) % 2
    y[17] = np.nan
    for kind in (KNeighborsClassifier, KNeighborsRegressor, SoftmaxClassifier):
        with pytest.raises(ValueError, match="y must hold finite numbers, got NaN at row 17"):
            kind().fit(rows, y)
    with pytest.raises(
        ValueError, match="sample_weight must hold finite numbers, got NaN at row 17"
    ):
        SoftmaxClassifier().fit(rows, np.arange(30) % 2, y)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64])
@pytest.mark.parametrize("weights", ["uniform", "distance", None])
def test_dtypes_of_means(dtype, weights, rng):
    Y, X, y = ties(rng, 300), rng.random((20, 8), np.float32), rng.integers(0, 9, 300).astype(dtype)
    expected = fastnn.neighbors.KNeighborsRegressor(weights=weights).fit(Y, y).predict(X)
    found = KNeighborsRegressor(weights=weights).fit(chunked(Y, (100, 200)), y)
    for lazily in (found.predict(chunked(X, (0, 5, 15))), chunked(found.predict(X), (20,))):
        assert lazily.dtype == lazily.compute().dtype == expected.dtype
        np.testing.assert_array_equal(lazily.compute(), expected)


def test_wrong_targets(rng):
    rows = chunked(rng.random((30, 3)), (10, 20))
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        KNeighborsClassifier().fit(rows, rng.random(30))
    with pytest.raises(TypeError, match="y must hold classes of one type, which can be sorted"):
        KNeighborsClassifier().fit(rows, np.array(["a", 1, None] * 10, object))
    with pytest.raises(ValueError, match=r"sample_weight must be 1-D and hold numbers, got shape"):
        SoftmaxClassifier().fit(rows, np.arange(30) % 2, np.ones((30, 2)))
    with pytest.raises(ValueError, match="The 'max_iter' parameter of SoftmaxClassifier must be"):
        SoftmaxClassifier(max_iter=-1).fit(rows, np.arange(30) % 2)
    for kind in (KNeighborsClassifier, KNeighborsRegressor, SoftmaxClassifier):
        with pytest.raises(
            ValueError, match=r"y must have a value for each of the 30 rows, got sh"
        ):
            kind().fit(rows, np.arange(29))
    with pytest.raises(ValueError, match="y must hold numbers, got dtype <U1"):
        KNeighborsRegressor().fit(rows, np.full(30, "a"))
    with pytest.raises(ValueError, match="weights must be one of 'uniform', 'distance'"):
        KNeighborsClassifier(weights="none").fit(rows, np.arange(30) > 9)
    with pytest.raises(ValueError, match="y must be 1-D, a class for each row"):
        SoftmaxClassifier().fit(rows, rng.integers(0, 2, (30, 2)))
    with pytest.raises(ValueError, match="y must have at least 2 classes, got one class: 4"):
        SoftmaxClassifier().fit(rows, np.full(30, 4))
    with pytest.raises(ValueError, match=r"sample_weight must be at least zero, got -1\.0"):
        SoftmaxClassifier().fit(rows, np.arange(30) > 9, np.full(30, -1.0))
    with pytest.raises(ValueError, match="must have a finite sum above 0, got 0"):
        SoftmaxClassifier().fit(rows, np.arange(30) > 9, np.zeros(30))
    with pytest.raises(ValueError, match="alpha"):
        SoftmaxClassifier(alpha=-1.0).fit(rows, np.arange(30) > 9)
    with pytest.raises(ValueError, match="X must hold finite numbers, got NaN at row 170"):
        SoftmaxClassifier().fit(nan_in_a_chunk(), np.arange(300) > 9)
    model = SoftmaxClassifier().fit(rows, np.arange(30) > 9)
    with pytest.raises(ValueError, match="X has 2 features, but SoftmaxClassifier is expecting 3"):
        model.predict(rows[:, :2])


def test_parameters_are_scikit_learns():
    from sklearn.base import clone

    for kind in (NearestNeighbors, KNeighborsClassifier, KNeighborsRegressor):
        theirs = getattr(fastnn.neighbors, kind.__name__)().get_params()
        ours = clone(kind(n_neighbors=3)).get_params()
        assert ours.pop("n_neighbors") == 3
        for name in set(ours) - {"persist", "split_every", "n_jobs"}:
            assert ours[name] == theirs[name]


def test_without_dask():
    children.run(
        """
import sys
sys.modules["dask"] = None
try:
    import fastnn.dask
except ImportError as error:
    assert "pip install 'fastnn-kernels[dask]'" in str(error)
else:
    raise AssertionError
"""
    )


# ---- workers that are lost -----------------------------------------------------------------------

LOST_WORKER = """
import os, signal
import numpy as np
import dask, dask.array as da
from distributed import Client, LocalCluster
import fastnn
from fastnn.dask import NearestNeighbors, SoftmaxClassifier

N = 12


def make(i):
    rng = np.random.default_rng(int(i[0]))
    return rng.integers(0, 4, (2000, 16)).astype(np.float32)


def rows():
    return da.map_blocks(
        make, da.from_array(np.arange(N), chunks=1), new_axis=1, chunks=((2000,) * N, (16,)),
        dtype=np.float32, meta=np.empty((0, 0), np.float32),
    )


def kill_one(client, cluster):
    pid = next(iter(cluster.workers.values())).process.process.pid
    os.kill(pid, signal.SIGKILL)


class Dying:
    # Kills its worker the first time that a chunk passes.
    def __init__(self, name):
        self.path = os.path.join(os.environ["MARKS"], name)

    def __call__(self, block):
        try:
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return block
        os.kill(os.getpid(), signal.SIGKILL)


def main():
    dask.config.set({"distributed.scheduler.allowed-failures": 10})
    Y = np.concatenate([make([i]) for i in range(N)])
    X = np.random.default_rng(99).integers(0, 4, (400, 16)).astype(np.float32)
    y = (Y.sum(axis=1) > 24).astype(int)
    expected = fastnn.kneighbors(X, Y, 10)
    with dask.config.set(scheduler="synchronous"):
        weights = SoftmaxClassifier(max_iter=10, tol=None).fit(rows(), y).coef_
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        with Client(cluster) as client:
            # In mid-fit.
            dying = rows().map_blocks(Dying("fit"), dtype=np.float32, meta=np.empty((0, 0), "f"))
            search = NearestNeighbors(n_neighbors=10).fit(dying)
            np.testing.assert_array_equal(search.kneighbors(X), expected)
            # Between fit and search: shards are lost.
            kill_one(client, cluster)
            np.testing.assert_array_equal(search.kneighbors(X), expected)
            # In mid-search.
            queries = da.from_array(X, chunks=(100, 16)).map_blocks(
                Dying("search"), dtype=np.float32, meta=np.empty((0, 0), "f")
            )
            np.testing.assert_array_equal(dask.compute(*search.kneighbors(queries)), expected)
            # In mid-training.
            dying = rows().map_blocks(Dying("train"), dtype=np.float32, meta=np.empty((0, 0), "f"))
            for persist in (True, False):
                model = SoftmaxClassifier(max_iter=10, tol=None, persist=persist)
                np.testing.assert_array_equal(model.fit(dying, y).coef_, weights)
        try:
            search.kneighbors(X)
        except RuntimeError as error:
            assert "a Dask client that is closed" in str(error)
        else:
            raise AssertionError("no error")


if __name__ == "__main__":
    main()
"""


def test_workers_that_are_lost(tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setenv("MARKS", str(tmp_path))
    script = tmp_path / "lost_worker.py"
    script.write_text(LOST_WORKER)
    children.run(f"import runpy; runpy.run_path({str(script)!r}, run_name='__main__')")
    assert {path.name for path in tmp_path.iterdir()} == {
        script.name, "fit", "search", "train"
    }  # fmt: skip
