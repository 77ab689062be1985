"""KDTree as scikit-learn's users know it, what SciPy's do with theirs, and counts."""

import pickle

import numpy as np
import pytest
import scipy.spatial
import sklearn.neighbors
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_selection import mutual_info_regression
from sklearn.metrics import DistanceMetric

import fastnn
import fastnn.accel
import oracles
from fastnn._core.search._kd_tree import KDTree as CoreTree
from fastnn._search.growing import Blocks, GrowingSearcher
from fastnn._search.searcher import Searcher
from fastnn._search.subsets import read_where
from fastnn.neighbors import KDTree, NearestNeighbors

METRICS = ["euclidean", "manhattan", "chebyshev"]
ORDERS = {"euclidean": 2, "manhattan": 1, "chebyshev": np.inf}


def around(X, Y, periods, metric):
    """Distances on circles, in the order of the features."""
    gaps = np.abs(X[:, None] - Y)
    gaps = np.minimum(gaps, periods - gaps)
    if metric == "chebyshev":
        return gaps.max(axis=2)
    return gaps.sum(axis=2) if metric == "manhattan" else np.sqrt((gaps**2).sum(axis=2))


def nearest(distances, k):
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distances, order, 1), order


# ---- the interface -------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("d", [1, 3, 20])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_like_scikit_learns(metric, d, dtype, rng):
    Y = (100 * rng.random((300, d))).astype(dtype)
    X = (100 * rng.random((40, d))).astype(dtype)
    ours, theirs = (module(Y, metric=metric) for module in (KDTree, sklearn.neighbors.KDTree))
    distances, indices = ours.query(X, k=5)
    np.testing.assert_allclose(distances, theirs.query(X, k=5)[0], rtol=1e-12)
    oracles.assert_same(
        (distances, indices), oracles.kneighbors(X, Y, 5, ours._searcher.space.kernel)
    )
    np.testing.assert_array_equal(ours.query(X, 5, return_distance=False), indices)
    radius = float(np.median(distances)) * (1 + 1e-9)
    for r in (radius, radius * rng.random(40), np.array([radius]), 0.0, -1.0, np.nan, np.inf):
        counts = ours.query_radius(X, r, count_only=True)
        np.testing.assert_array_equal(counts, theirs.query_radius(X, r, count_only=True))
        assert counts.dtype == np.int64
        found, expected = ours.query_radius(X, r), theirs.query_radius(X, r)
        assert found.shape == expected.shape
        assert all(np.array_equal(a, np.sort(b)) for a, b in zip(found, expected, strict=True))
        found, their = (
            tree.query_radius(X, r, return_distance=True, sort_results=True)
            for tree in (ours, theirs)
        )
        for i in range(40):
            np.testing.assert_allclose(found[1][i], their[1][i], rtol=1e-12)
            assert set(found[0][i]) == set(their[0][i])


def test_what_is_handed_on(rng):
    Y, X = rng.random((200, 2)), rng.random((9, 2))
    ours, theirs = KDTree(Y, leaf_size=7), sklearn.neighbors.KDTree(Y, leaf_size=7)
    np.testing.assert_array_equal(ours.kernel_density(X, 0.1), theirs.kernel_density(X, 0.1))
    np.testing.assert_array_equal(
        ours.two_point_correlation(X, [0.1, 0.3]), theirs.two_point_correlation(X, [0.1, 0.3])
    )
    np.testing.assert_array_equal(ours.get_arrays()[1], theirs.get_arrays()[1])
    assert ours.valid_metrics == theirs.valid_metrics
    np.testing.assert_array_equal(np.asarray(ours.data), Y)
    with pytest.raises(AttributeError, match="no attribute 'leaves'"):
        ours.leaves  # noqa: B018
    periodic = KDTree(Y, boxsize=1.0)
    with pytest.raises(ValueError, match="has no periodic box"):
        periodic.kernel_density(X, 0.1)
    with pytest.raises(AttributeError, match="has no periodic box"):
        periodic.node_data  # noqa: B018
    for found in (lambda tree: tree.query(X, k=201), lambda tree: tree.query_radius(X, [0.1] * 3)):
        with pytest.raises(ValueError, match=r"k must be|r must be"):
            found(periodic)


def test_what_the_kernels_do_not_serve_is_a_tree_of_scikit_learns(rng):
    Y = rng.random((50, 3))
    for parameters in (
        {"metric": "minkowski", "p": 3},
        {"metric": DistanceMetric.get_metric("euclidean")},
        {"sample_weight": rng.random(50)},
    ):
        tree, theirs = KDTree(Y, **parameters), sklearn.neighbors.KDTree(Y, **parameters)
        assert isinstance(tree, KDTree)
        np.testing.assert_array_equal(tree.query(Y, 3)[1], theirs.query(Y, 3)[1])
        np.testing.assert_array_equal(
            tree.query_radius(Y, 0.3, count_only=True), theirs.query_radius(Y, 0.3, count_only=True)
        )
        np.testing.assert_array_equal(tree.kernel_density(Y, 0.1), theirs.kernel_density(Y, 0.1))
        np.testing.assert_array_equal(tree.data, Y)
        again = pickle.loads(pickle.dumps(tree))
        np.testing.assert_array_equal(again.query(Y, 3)[1], theirs.query(Y, 3)[1])
        with pytest.raises(ValueError, match="distance_upper_bound needs metric"):
            tree.query(Y, distance_upper_bound=1.0)
        with pytest.raises(ValueError, match="boxsize needs dense, finite samples without weights"):
            KDTree(Y, boxsize=1.0, **parameters)
    assert KDTree(Y, metric="minkowski", p=1)._searcher.space.kernel == "l1"
    assert KDTree(Y, metric="p", p=np.inf)._searcher.space.kernel == "chebyshev"


def test_errors_are_scikit_learns(rng):
    Y = rng.random((50, 3))
    ours, theirs = KDTree(Y), sklearn.neighbors.KDTree(Y)
    cases = [
        lambda tree: tree.query(Y[0]),
        lambda tree: tree.query(Y[:, :2]),
        lambda tree: tree.query(Y, k=51),
        lambda tree: tree.query(Y, k=2.0),
        lambda tree: tree.query(Y * np.nan),
        lambda tree: tree.query_radius(Y, np.arange(2.0)),
        lambda tree: tree.query_radius(Y, 0.1, count_only=True, return_distance=True),
        lambda tree: tree.query_radius(Y, 0.1, sort_results=True),
        lambda tree: tree.query_radius(Y, "a"),
        lambda tree: type(tree)(Y, leaf_size=0),
        lambda tree: type(tree)(Y[:0]),
        lambda tree: type(tree)(Y, metric="cosine"),
        lambda tree: type(tree)(Y * np.nan),
        lambda tree: type(tree)(Y[0]),
    ]
    for case in cases:
        with pytest.raises((TypeError, ValueError)) as expected:
            case(theirs)
        with pytest.raises(type(expected.value)) as found:
            case(ours)
        assert str(found.value) == str(expected.value)
    with pytest.raises(ValueError, match="distance_upper_bound must be"):
        ours.query(Y, distance_upper_bound=-1.0)
    with pytest.raises(ValueError, match="n_jobs"):
        KDTree(Y, n_jobs=0)


def test_rows_that_scikit_learn_converts(rng):
    Y = rng.random((50, 3))
    for rows in (Y[:5].astype(object), Y[:5].astype(np.longdouble), [[2**60 + 1, 0, 1]]):
        found = KDTree(Y).query(rows, 3)
        np.testing.assert_array_equal(found[0], sklearn.neighbors.KDTree(Y).query(rows, 3)[0])


def test_pickles(rng):
    Y, X = rng.random((200, 2)), rng.random((9, 2))
    for tree in (KDTree(Y), KDTree(Y, boxsize=[1, 2]), KDTree(rng.random((200, 30)))):
        X = rng.random((9, tree.data.shape[1]))
        other = pickle.loads(pickle.dumps(tree))
        oracles.assert_same(other.query(X, 3), tree.query(X, 3))
        np.testing.assert_array_equal(other.data, tree.data)


def test_an_estimator_takes_its_samples(rng):
    Y, X = rng.random((200, 2)), rng.random((9, 2))
    model = NearestNeighbors(n_neighbors=3).fit(KDTree(Y))
    oracles.assert_same(model.kneighbors(X), oracles.kneighbors(X, Y, 3, "l2"))
    model = NearestNeighbors(n_neighbors=3, metric="l1").fit(KDTree(Y, metric="manhattan"))
    oracles.assert_same(model.kneighbors(X), oracles.kneighbors(X, Y, 3, "l1"))
    for metric in ("manhattan", "chebyshev"):
        ours, theirs = (
            NearestNeighbors(n_neighbors=3).fit(module(Y, metric=metric))
            for module in (KDTree, sklearn.neighbors.KDTree)
        )
        np.testing.assert_array_equal(ours.kneighbors(X)[0], theirs.kneighbors(X)[0])
    weighted = NearestNeighbors(n_neighbors=3).fit(KDTree(Y, sample_weight=np.ones(200)))
    np.testing.assert_array_equal(weighted.kneighbors(X)[1], oracles.kneighbors(X, Y, 3, "l2")[1])
    with pytest.raises(ValueError, match="X must not be a tree with a periodic box"):
        NearestNeighbors().fit(KDTree(Y, boxsize=1.0))


def test_under_accel(rng):
    X, y = rng.random((300, 3)), rng.random(300)
    expected = mutual_info_regression(X, y, random_state=0)
    original = sklearn.neighbors.KDTree
    density = sklearn.neighbors.KernelDensity(algorithm="kd_tree").fit(X)
    with fastnn.accel.enabled():
        assert sklearn.neighbors.KDTree is KDTree
        found = mutual_info_regression(X, y, random_state=0)
        again = sklearn.neighbors.KernelDensity(algorithm="kd_tree").fit(X)
        model = sklearn.neighbors.NearestNeighbors().fit(sklearn.neighbors.KDTree(X))
        theirs = sklearn.neighbors.NearestNeighbors().fit(original(X))
        np.testing.assert_array_equal(model.kneighbors(X)[1], theirs.kneighbors(X)[1])
    np.testing.assert_allclose(found, expected)
    np.testing.assert_array_equal(again.score_samples(X), density.score_samples(X))
    assert sklearn.neighbors.KDTree is original


# ---- what SciPy's users do -----------------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("d", [2, 20])
@pytest.mark.parametrize("k", [1, 4, 60])
def test_neighbors_within_a_limit(metric, d, k, rng):
    Y, X = rng.random((500, d)), rng.random((60, d))
    tree, theirs = KDTree(Y, metric=metric), scipy.spatial.KDTree(Y)
    all_distances = tree.query(X, k)[0]
    for bound in (np.median(all_distances), all_distances.min(), all_distances.max(), 0.0, np.inf):
        distances, indices = tree.query(X, k, distance_upper_bound=bound)
        unlimited = tree.query(X, k)
        beyond = unlimited[0] > bound
        np.testing.assert_array_equal(distances, np.where(beyond, np.inf, unlimited[0]))
        np.testing.assert_array_equal(indices, np.where(beyond, 500, unlimited[1]))
        between = bound * (1 + 1e-9)  # where rounding does not matter
        found = tree.query(X, k, distance_upper_bound=between)[0]
        ranks, order = np.arange(1, k + 1), ORDERS[metric]
        expected = theirs.query(X, ranks, p=order, distance_upper_bound=between)[0]
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("d", [1, 2, 3, 7, 8, 9, 17, 40])
@pytest.mark.parametrize("isa", fastnn.available_isas())
def test_a_periodic_box(metric, d, isa, rng, monkeypatch):
    before = fastnn.get_isa()
    fastnn.set_isa(isa)
    try:
        periods = rng.choice([1.0, 0.3, 7.0], d)
        Y, X = rng.random((700, d)) * periods, rng.random((40, d)) * periods
        Y[:50] = 0.0
        Y[50:90] = np.nextafter(periods, 0.0)
        X[:5], X[5:9] = 0.0, Y[60:64]
        lines = periods.copy()
        lines[::3] = np.inf
        for box in (periods, lines):
            tree = KDTree(Y, metric=metric, boxsize=np.where(np.isinf(box), 0.0, box))
            expected = around(X, Y, box, metric)
            for k in (1, 6, 150):
                oracles.assert_same(tree.query(X, k), nearest(expected, k))
            radius = float(np.sort(expected, axis=1)[:, 20].max())
            counts = tree.query_radius(X, radius, count_only=True)
            np.testing.assert_array_equal(counts, (expected <= radius).sum(axis=1))
            found, distances = tree.query_radius(X, radius, return_distance=True)
            for i in range(len(X)):
                np.testing.assert_array_equal(found[i], np.flatnonzero(expected[i] <= radius))
                np.testing.assert_array_equal(distances[i], expected[i][found[i]])
    finally:
        fastnn.set_isa(before)


def test_queries_anywhere_and_scipy(rng):
    Y, X = rng.random((400, 3)) * [1, 2, 3], 20 * rng.standard_normal((60, 3))
    for box in (3.0, [1, 2, 3], [0, 2, 3]):
        box = np.broadcast_to(np.array(box, float), 3)
        for metric in METRICS:
            distances, _ = KDTree(Y, metric=metric, boxsize=box).query(X, 5)
            theirs = scipy.spatial.KDTree(Y, boxsize=box).query(X, 5, p=ORDERS[metric])[0]
            np.testing.assert_allclose(distances, theirs, rtol=1e-9, atol=1e-12)
    tree = KDTree(Y.astype(np.float32), boxsize=3.0)
    wide = Y.astype(np.float32).astype(np.float64)
    oracles.assert_same(tree.query(wide, 2), KDTree(wide, boxsize=3.0).query(wide, 2))
    itself = tree.query([[-1e-30, 0, 0]], 1)[0]
    assert np.isfinite(itself).all()


def test_lines_in_a_box_may_be_of_any_size():
    Y = np.array([[-1.7e308, 0.1], [1.7e308, 0.2], [0.0, 0.3]])
    tree = KDTree(Y, boxsize=[0, 1])
    np.testing.assert_array_equal(tree.query([[1.7e308, 0.2]], 3)[1], [[1, 0, 2]])
    np.testing.assert_array_equal(tree.query_radius([[1.7e308, 0.2]], np.inf)[0], [0, 1, 2])


@pytest.mark.parametrize(
    ("boxsize", "words"),
    [
        ("a", "boxsize must be a number or one for each of 2 features, got 'a'"),
        ([1.0, 2.0, 3.0], "boxsize must be a number or one for each of 2 features"),
        ([1.0, [1.0]], "boxsize must be a number or one for each of 2 features"),
        (-1.0, "boxsize must be finite and at least 0, got -1.0"),
        (np.inf, "boxsize must be finite and at least 0"),
        (np.nan, "boxsize must be finite and at least 0"),
        (0.5, "less than 0.5 in feature 1, got 0.75 in row 1"),
        ([0.0, 0.75], "less than 0.75 in feature 1, got 0.75 in row 1"),
    ],
)
def test_boxes_that_are_none(boxsize, words):
    with pytest.raises(ValueError, match=words):
        KDTree([[0.25, 0.25], [0.25, 0.75]], boxsize=boxsize)
    with pytest.raises(
        ValueError, match="at least 0 and less than 1 in feature 0, got -1 in row 0"
    ):
        KDTree([[-1.0, 0.0]], boxsize=1.0)


def test_equivalents(rng):
    """Of the table in the documentation."""
    Y, X = rng.random((200, 3)), rng.random((50, 3))
    theirs, tree = scipy.spatial.KDTree(Y), KDTree(Y)
    pairs = scipy.sparse.triu(fastnn.neighbors.radius_neighbors_graph(Y, 0.2)).nonzero()
    expected = theirs.query_pairs(0.2, output_type="ndarray")
    assert set(zip(*pairs, strict=True)) == set(map(tuple, expected))
    n = tree.query_radius(X, 0.2, count_only=True).sum()
    assert n == scipy.spatial.KDTree(X).count_neighbors(theirs, 0.2)
    model = NearestNeighbors(radius=0.2).fit(Y)
    graph = model.radius_neighbors_graph(X, mode="distance")
    other = scipy.spatial.KDTree(X).sparse_distance_matrix(theirs, 0.2, output_type="coo_matrix")
    np.testing.assert_allclose(graph.toarray(), other.toarray())


# ---- counts --------------------------------------------------------------------------------------


@given(
    seed=st.integers(0, 1000),
    metric=st.sampled_from(["l1", "l2", "sqeuclidean", "chebyshev"]),
    dtype=st.sampled_from([np.float32, np.float64, np.uint8]),
    scale=st.sampled_from([1e-300, 1e-160, 1e-40, 1.0, 1e30, 1e155, 1e300]),
)
def test_counts_at_the_very_distances(seed, metric, dtype, scale):
    """A radius that is a distance, or next to one, before and after the root."""
    rng = np.random.default_rng(seed)
    scale = min(scale, 1e30) if dtype == np.float32 else scale
    Y, X = (rng.integers(0, 9, (n, 3)) * (1.0 if dtype == np.uint8 else scale) for n in (90, 12))
    with np.errstate(over="ignore", under="ignore"):
        Y, X = Y.astype(dtype), X.astype(dtype)
        expected = oracles.distances(X, Y, metric)
        tree = CoreTree(Y, metric, 2)
        radii = expected[np.arange(12), rng.integers(0, 90, 12)]
        for some in (radii, np.nextafter(radii, np.inf), np.nextafter(radii, -np.inf)):
            counts = tree.count_within(X, some, 2)
            np.testing.assert_array_equal(counts, (expected <= some[:, None]).sum(axis=1))
    for one in (-1.0, np.inf, -1e200, -np.inf):
        assert (tree.count_within(X, np.array([one]), 2) == (90 if one > 0 else 0)).all()


@pytest.mark.parametrize("algorithm", ["auto", "brute", "bounded", "kd_tree"])
@pytest.mark.parametrize("metric", ["l1", "l2", "cosine", "haversine", "nan_euclidean"])
@pytest.mark.parametrize("d", [2, 40])
def test_counts_of_every_kind(algorithm, metric, d, rng, monkeypatch):
    if metric == "haversine" and d != 2:
        pytest.skip("latitude and longitude are two features")
    monkeypatch.setattr("fastnn._search.base.PAIRS_AT_A_TIME", 500)
    Y, X = rng.standard_normal((300, d)), rng.standard_normal((150, d))
    if metric == "nan_euclidean":
        Y[::3, 0] = X[::2, 1] = np.nan
    plain = Searcher(Y[:0], fastnn._search.metric_spaces.space_of(metric), algorithm)
    searcher = plain.of_other_rows(Y, algorithm)
    contents = Blocks.of(Y[:200]).append(Y[200:]).remove(np.array([3, 5]))
    radius = float(np.nanmedian(searcher.kneighbors(X, 12, 1).distances))
    mask = rng.random(300) < 0.4
    for some in (searcher, GrowingSearcher(contents, plain)):
        for where in (None, mask, (np.arange(150) % 4, np.arange(300) % 5)):
            parts = None if where is None else some.read_where(where, 150)
            for radii in (np.array([radius]), radius * rng.random(150)):
                counts = some.count_neighbors(X, radii, 2, where=parts)
                for i in range(0, 150, 7):
                    r = float(np.broadcast_to(radii, 150)[i])
                    part = None if where is None else parts
                    if isinstance(where, tuple):
                        part = some.read_where((where[0][i : i + 1], where[1]), 1)
                    slices = some.radius_neighbors(X[i : i + 1], r, 1, False, where=part).slices
                    assert counts[i] == sum(len(indices) for _, _, indices in slices)
    itself = searcher.count_neighbors(searcher.Y, np.array([radius]), 2, exclude_self=True)
    listed = searcher.radius_neighbors(searcher.Y, radius, 2, False, exclude_self=True).slices
    np.testing.assert_array_equal(itself, np.concatenate([n for n, _, _ in listed]))
    parts = read_where(mask, 300, 300)
    itself = searcher.count_neighbors(searcher.Y, np.array([radius]), 2, True, parts)
    listed = searcher.radius_neighbors(searcher.Y, radius, 2, False, True, where=parts).slices
    np.testing.assert_array_equal(itself, np.concatenate([n for n, _, _ in listed]))


# ---- more pairs than memory holds ----------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["auto", "brute", "bounded", "kd_tree"])
@pytest.mark.parametrize("mode", ["connectivity", "distance"])
@pytest.mark.parametrize("sort_results", [False, True])
def test_slices_of_a_graph(algorithm, mode, sort_results, rng):
    Y, X = rng.random((700, 3)), rng.random((300, 3))
    model = NearestNeighbors(radius=0.2, algorithm=algorithm).fit(Y)
    groups = np.arange(300) % 2, np.arange(700) % 2
    changed = NearestNeighbors(radius=0.2, algorithm=algorithm).fit(Y).remove([3, 600])
    for some, queries, where in (
        (model, X, None),
        (model, None, None),
        (model, X, groups),
        (model, X, np.arange(700) < 100),
        (changed, None, None),
        (changed, X, groups),
    ):
        slices = list(
            some.iter_radius_neighbors_graph(
                queries, None, mode, sort_results, max_pairs=900, where=where
            )
        )
        assert len(slices) > (where is None)
        assert max(graph.nnz for graph in slices) <= 900
        graph = scipy.sparse.vstack(slices).tocsr()
        if where is None:
            expected = some.radius_neighbors_graph(queries, None, mode, sort_results)
            np.testing.assert_array_equal(graph.toarray(), expected.toarray())
            assert graph.shape == expected.shape
        distances, indices = some.radius_neighbors(
            queries, sort_results=sort_results and mode == "distance", where=where
        )
        np.testing.assert_array_equal(graph.indices, np.concatenate(indices))
        if mode == "distance":
            np.testing.assert_array_equal(graph.data, np.concatenate(distances))
        counts = some.radius_neighbors(queries, where=where, count_only=True)
        np.testing.assert_array_equal(np.diff(graph.indptr), counts)
        assert all(graph.indices.dtype == graph.indptr.dtype == np.int32 for graph in slices)


def test_slices_of_clusters_behind_lone_samples():
    """Of these nobody can tell what comes."""
    Y = np.concatenate([10.0 * np.arange(1, 601), np.zeros(300)])[:, None]
    for algorithm in ("kd_tree", "brute", "auto"):
        model = NearestNeighbors(radius=1.0, algorithm=algorithm).fit(Y)
        sizes = [graph.nnz for graph in model.iter_radius_neighbors_graph(max_pairs=1000)]
        assert max(sizes) <= 1000
        assert sum(sizes) == 300 * 299


def test_a_radius_for_each_query(rng, monkeypatch):
    """Nobody lists more than that."""
    Y, radii = rng.random((500, 2)), np.full(500, 1e-3)
    radii[0], radii[1] = 2.0, -1.0
    expected = oracles.distances(Y, Y, "l2") <= radii[:, None]
    for algorithm in ("kd_tree", "brute"):
        model = NearestNeighbors(algorithm=algorithm).fit(Y)
        for sort_results in (False, True):
            distances, indices = model.radius_neighbors(Y, radii, sort_results=sort_results)
            for i in range(500):
                assert set(indices[i]) == set(np.flatnonzero(expected[i]))
                assert (distances[i] <= radii[i]).all()
        itself = model.radius_neighbors(None, radii, return_distance=False)
        assert [len(row) for row in itself] == list(expected.sum(axis=1) - (radii >= 0))
        counts = model.radius_neighbors(None, radii, count_only=True)
        np.testing.assert_array_equal(counts, [len(row) for row in itself])
    with pytest.raises(ValueError, match="radius must not be NaN"):
        model.radius_neighbors(Y, np.full(500, np.nan))


def test_counts_of_functions_and_estimators(rng):
    Y, X = rng.random((300, 3)), rng.random((20, 3))
    expected = (oracles.distances(X, Y, "l2") <= 0.3).sum(axis=1)
    np.testing.assert_array_equal(fastnn.radius_neighbors(X, Y, 0.3, count_only=True), expected)
    model = NearestNeighbors(radius=0.3).fit(Y)
    np.testing.assert_array_equal(model.radius_neighbors(X, count_only=True), expected)
    radii = 0.3 * rng.random(20)
    each = (oracles.distances(X, Y, "l2") <= radii[:, None]).sum(axis=1)
    np.testing.assert_array_equal(model.radius_neighbors(X, radii, count_only=True), each)
    sparse = NearestNeighbors(radius=0.3).fit(scipy.sparse.csr_array(Y))
    np.testing.assert_array_equal(sparse.radius_neighbors(X, count_only=True), expected)
    with pytest.raises(ValueError, match="NaN"):
        model.radius_neighbors(X * np.nan, count_only=True)
    empty = model.radius_neighbors(X + 100, count_only=True)
    assert empty.sum() == 0
    graphs = list(model.iter_radius_neighbors_graph(X + 100))
    assert sum(graph.nnz for graph in graphs) == 0
    assert sum(graph.shape[0] for graph in graphs) == 20


def test_slices_that_cannot_be_had(rng):
    X = rng.random((30, 3))
    model = NearestNeighbors().fit(X)
    for arguments, words in (
        ({"mode": "edges"}, "mode must be one of"),
        ({"max_pairs": 0}, "max_pairs must be"),
        ({"radius": -1.0}, "radius must be"),
        ({"where": [True]}, "where must have one entry"),
    ):
        with pytest.raises(ValueError, match=words):
            model.iter_radius_neighbors_graph(X, **arguments)
    with pytest.raises(ValueError, match="scikit-learn searches: sparse"):
        NearestNeighbors().fit(scipy.sparse.csr_array(X)).iter_radius_neighbors_graph(X)
    with pytest.raises(Exception, match="not fitted"):
        NearestNeighbors().iter_radius_neighbors_graph(X)
