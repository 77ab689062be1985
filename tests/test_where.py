"""Searches among some of the samples: the result is that of a search in these alone."""

import numpy as np
import pytest

import fastnn
import fastnn.accel
import oracles
from fastnn._search import subsets
from fastnn.neighbors import KNeighborsClassifier, LocalOutlierFactor, NearestNeighbors

METRICS = ["l1", "l2", "sqeuclidean", "chebyshev", "cosine"]
ALGORITHMS = ["auto", "brute", "bounded", "kd_tree", "ivf"]


def masks(rng, n):
    """Of few, of many, of samples side by side, of all."""
    few, beside = np.zeros(n, bool), np.zeros(n, bool)
    few[rng.permutation(n)[:13]] = True
    beside[n // 3 : n // 2] = True
    return [few, beside, rng.random(n) < 0.6, np.ones(n, bool)]


def expected(X, Y, k, metric, mask):
    distances, indices = oracles.kneighbors(X, Y[mask], k, metric)
    return distances, np.flatnonzero(mask)[indices]


def expected_of_itself(Y, k, metric, mask):
    result = np.empty((len(Y), k)), np.empty((len(Y), k), np.int64)
    for i in range(len(Y)):
        others = mask.copy()
        others[i] = False
        result[0][i], result[1][i] = (
            found[0] for found in expected(Y[i : i + 1], Y, k, metric, others)
        )
    return result


def rows(rng, n, d, dtype):
    if dtype == np.uint8:
        return rng.integers(0, 256, (n, d), dtype=dtype)
    X = rng.standard_normal((n, d)).astype(dtype)
    X[n // 2 :] = X[: n - n // 2]  # ties
    return X


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("d", [3, 70])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_neighbors(metric, algorithm, d, dtype, rng):
    X, Y = rows(rng, 40, d, dtype), rows(rng, 300, d, dtype)
    model = NearestNeighbors(
        metric=metric, algorithm=algorithm if d == 3 or algorithm != "kd_tree" else "auto"
    )
    if metric in ("cosine", "sqeuclidean") and algorithm == "kd_tree":
        model.algorithm = "auto"
    model.fit(Y)
    for mask in masks(rng, 300):
        for k in (1, 7, 13):
            for queries in (X, X[:1]):
                found = fastnn.kneighbors(queries, Y, k, metric, algorithm=algorithm, where=mask)
                oracles.assert_same(found, expected(queries, Y, k, metric, mask))
                oracles.assert_same(model.kneighbors(queries, k, where=mask), found)


@pytest.mark.parametrize("metric", ["l1", "l2", "cosine"])
@pytest.mark.parametrize("algorithm", ["auto", "brute", "bounded", "ivf"])
@pytest.mark.parametrize("d", [3, 70])
def test_neighbors_of_samples_themselves(metric, algorithm, d, rng):
    """Of those in the mask, and of those that are not."""
    Y = rng.standard_normal((200, d))
    model = NearestNeighbors(n_neighbors=5, metric=metric, algorithm=algorithm).fit(Y)
    for mask in masks(rng, 200):
        found = model.kneighbors(where=mask)
        oracles.assert_same(found, expected_of_itself(Y, 5, metric, mask))


def test_with_many_duplicates_a_sample_is_left_out_all_the_same():
    Y = np.zeros((30, 2))
    mask = np.arange(30) < 20
    indices = NearestNeighbors(n_neighbors=3).fit(Y).kneighbors(where=mask)[1]
    assert (indices != np.arange(30)[:, None]).all()
    assert (indices < 20).all()


@pytest.mark.parametrize("few", [0, 256])
def test_an_index_that_is_there_and_copies(monkeypatch, few, rng):
    monkeypatch.setattr("fastnn._search.searcher.FEW_QUERIES", few)
    for d, name in ((2, "kd_tree"), (40, "bounded")):
        Y = (rng.standard_normal((4000, 5)) @ rng.standard_normal((5, d))).astype(np.float32)
        X = Y[::50] + np.float32(0.01)
        model = NearestNeighbors(n_neighbors=4, algorithm=name).fit(Y)
        searched = NearestNeighbors(n_neighbors=4).fit(Y)
        mask = rng.random(4000) < 0.3
        for estimator in (model, searched):
            for _ in range(2):
                oracles.assert_same(
                    estimator.kneighbors(X, where=mask), expected(X, Y, 4, "l2", mask)
                )
                oracles.assert_same(estimator.kneighbors(X), oracles.kneighbors(X, Y, 4, "l2"))
        assert model.effective_algorithm_ == name


def test_bounds_and_trees_take_small_masks_over_from_brute_force(rng):
    Y = rng.standard_normal((20_000, 3))
    model = NearestNeighbors(n_neighbors=1).fit(Y)
    model.kneighbors(Y[:5000])
    assert model.effective_algorithm_ == "kd_tree"
    tiny, half = np.arange(20_000) % 4000 == 0, np.arange(20_000) % 2 == 0
    model.kneighbors(Y[:50], where=tiny)
    assert model.effective_algorithm_ == "brute"
    model.kneighbors(Y[:50], where=half)
    assert model.effective_algorithm_ == "kd_tree"
    assert "10,000 of 20,000 samples are searched" in model.explain_algorithm()


@pytest.mark.parametrize("algorithm", ["auto", "brute", "bounded", "kd_tree"])
@pytest.mark.parametrize("d", [3, 70])
def test_within_a_radius(algorithm, d, rng):
    X, Y = rng.standard_normal((30, d)), rng.standard_normal((250, d))
    model = NearestNeighbors(algorithm=algorithm).fit(Y)
    radius = float(np.median(oracles.distances(X, Y, "l2")))
    for mask in masks(rng, 250):
        distances, indices = zip(*oracles.radius_neighbors(X, Y[mask], radius, "l2"), strict=True)
        indices = [np.flatnonzero(mask)[of_query] for of_query in indices]
        for found in (
            model.radius_neighbors(X, radius, sort_results=True, where=mask),
            fastnn.radius_neighbors(X, Y, radius, sort_results=True, where=mask),
        ):
            np.testing.assert_array_equal(np.concatenate(found[0]), np.concatenate(distances))
            np.testing.assert_array_equal(np.concatenate(found[1]), np.concatenate(indices))
        itself = model.radius_neighbors(radius=radius, where=mask, return_distance=False)
        exact = oracles.distances(Y, Y, "l2") <= radius
        np.fill_diagonal(exact, False)
        for i, of_query in enumerate(itself):
            np.testing.assert_array_equal(of_query, np.flatnonzero(exact[i] & mask))


@pytest.mark.parametrize("algorithm", ["auto", "brute", "bounded", "kd_tree"])
@pytest.mark.parametrize("kind", [int, str])
def test_groups(algorithm, kind, rng):
    """Each query finds samples of its own group."""
    X, Y = rng.standard_normal((60, 3)), rng.standard_normal((250, 3))
    of_queries, of_samples = (rng.integers(0, 5, n).astype(kind) for n in (60, 250))
    model = NearestNeighbors(n_neighbors=6, algorithm=algorithm).fit(Y)
    found = model.kneighbors(X, where=(of_queries, of_samples))
    radii = model.radius_neighbors(X, 1.0, where=(of_queries, list(of_samples)))
    for i in range(60):
        mask = of_samples == of_queries[i]
        oracles.assert_same(
            [rows[i : i + 1] for rows in found], expected(X[i : i + 1], Y, 6, "l2", mask)
        )
        exact = oracles.distances(X[i : i + 1], Y, "l2")[0]
        np.testing.assert_array_equal(radii[1][i], np.flatnonzero(mask & (exact <= 1.0)))
        np.testing.assert_array_equal(radii[0][i], exact[radii[1][i]])
    found = model.kneighbors(where=(of_samples, of_samples))
    radii = model.radius_neighbors(
        radius=1.0, where=(of_samples, of_samples), return_distance=False
    )
    exact = oracles.distances(Y, Y, "l2")
    for i in range(250):
        mask = of_samples == of_samples[i]
        mask[i] = False
        oracles.assert_same(
            [rows[i : i + 1] for rows in found], expected(Y[i : i + 1], Y, 6, "l2", mask)
        )
        np.testing.assert_array_equal(radii[i], np.flatnonzero(mask & (exact[i] <= 1.0)))


def test_queries_of_a_wider_type_and_missing_values(rng):
    Y = rng.standard_normal((90, 4)).astype(np.float32)
    X, mask = rng.standard_normal((20, 4)), rng.random(90) < 0.4
    found = NearestNeighbors(n_neighbors=3).fit(Y).kneighbors(X, where=mask)
    oracles.assert_same(found, expected(X, Y.astype(float), 3, "l2", mask))
    Y[::7, 1] = np.nan
    model = NearestNeighbors(n_neighbors=3, metric="nan_euclidean").fit(Y)
    alone = NearestNeighbors(n_neighbors=3, metric="nan_euclidean").fit(Y[mask])
    for queries in (Y, X):
        distances, indices = model.kneighbors(queries, where=mask)
        np.testing.assert_array_equal(distances, alone.kneighbors(queries)[0])
        np.testing.assert_array_equal(indices, np.flatnonzero(mask)[alone.kneighbors(queries)[1]])
        found = model.radius_neighbors(queries, 1.0, where=mask, return_distance=False)
        within = alone.radius_neighbors(queries, 1.0, return_distance=False)
        for ours, theirs in zip(found, within, strict=True):
            np.testing.assert_array_equal(ours, np.flatnonzero(mask)[theirs])


def test_samples_that_are_left_out_need_not_be_finite(rng):
    Y = rng.standard_normal((90, 4))
    Y[5, 2] = np.nan
    mask = np.arange(90) > 5
    found = fastnn.kneighbors(Y[6:9], Y, 3, where=mask)
    oracles.assert_same(found, expected(Y[6:9], Y, 3, "l2", mask))
    for algorithm in ALGORITHMS:
        found = fastnn.kneighbors(Y[6:9], Y, 3, algorithm=algorithm, where=mask)
        oracles.assert_same(found, expected(Y[6:9], Y, 3, "l2", mask))
        for search in (fastnn.kneighbors, fastnn.radius_neighbors):
            with pytest.raises(ValueError, match=r"Y must hold .* got NaN at row 5, column 2"):
                search(Y[6:9], Y, 3, where=np.arange(90) > 3)
    some = np.arange(90) % 2
    bad = Y[6:20].copy()
    bad[7, 1] = np.inf
    with pytest.raises(ValueError, match=r"X must hold .* got infinity at row 7, column 1"):
        fastnn.kneighbors(bad, Y[6:], 3, where=(some[6:20], some[6:]))


def test_groups_of_large_numbers_and_masks_of_objects(rng):
    Y = rng.standard_normal((3, 2))
    of_queries = np.array([2**53 + 1, 2**53 + 1], np.uint64)
    of_samples = np.array([2**53, 2**53 + 1, 2**53 + 2], np.int64)
    found = fastnn.kneighbors(Y[:2], Y, 1, where=(of_queries, of_samples))[1]
    np.testing.assert_array_equal(found, [[1], [1]])
    found = fastnn.kneighbors(Y[:2], Y, 1, where=np.array([False, True, False], object))[1]
    np.testing.assert_array_equal(found, [[1], [1]])
    assert len(fastnn.radius_neighbors(Y, Y, 9.0, where=np.zeros(3, bool))[0][2]) == 0


def test_other_estimators_and_accel(rng):
    import sklearn.neighbors

    Y, mask = rng.standard_normal((90, 4)), rng.random(90) < 0.4
    answer = expected(Y, Y, 5, "l2", mask)
    classifier = KNeighborsClassifier().fit(Y, rng.integers(0, 2, 90))
    oracles.assert_same(classifier.kneighbors(Y, where=mask), answer)
    oracles.assert_same(
        LocalOutlierFactor(5, novelty=True).fit(Y).kneighbors(Y, where=mask), answer
    )
    with fastnn.accel.enabled():
        model = sklearn.neighbors.NearestNeighbors().fit(Y)
        oracles.assert_same(model.kneighbors(Y, where=mask), answer)


def test_errors(rng):
    Y, mask = rng.standard_normal((90, 4)), np.arange(90) < 5
    model = NearestNeighbors(n_neighbors=6).fit(Y)
    for search in (
        lambda **where: model.kneighbors(Y, **where),
        lambda **where: fastnn.kneighbors(Y, Y, 6, **where),
    ):
        with pytest.raises(ValueError, match=r"n_neighbors = 6, and 5 are left$"):
            search(where=mask)
        with pytest.raises(ValueError, match=r"n_neighbors = 6, and 0 are left$"):
            search(where=(np.ones(90), np.zeros(90)))
        with pytest.raises(TypeError, match=r"where must be a mask .* got ndarray of dtype int64"):
            search(where=np.arange(90))
        with pytest.raises(ValueError, match=r"shape \(90,\), got \(89,\)"):
            search(where=mask[1:])
        with pytest.raises(TypeError, match=r"groups of samples\), got a tuple of 3 items"):
            search(where=(mask, mask, mask))
        with pytest.raises(TypeError, match=r"where must be a mask .*, got list of dtype float64"):
            search(where=[mask, [1, 2]])
        with pytest.raises(TypeError, match="groups of one kind, got int64 of queries and <U1"):
            search(where=(np.arange(90), np.full(90, "a")))
        with pytest.raises(TypeError, match="groups that can be sorted"):
            search(where=(np.array([None] * 90), np.array(["a"] * 90, object)))
        with pytest.raises(ValueError, match="groups that are not NaN, got one of the samples"):
            search(where=(np.zeros(90), np.full(90, np.nan)))
        with pytest.raises(ValueError, match=r"each of the samples, shape \(90,\), got \(4,\)"):
            search(where=(mask, [1, 2, 3, 4]))
    with pytest.raises(ValueError, match="n_neighbors = 5, and 4 are left beside the query itself"):
        model.kneighbors(n_neighbors=5, where=mask)
    model = NearestNeighbors(metric="canberra").fit(Y)
    for search in (model.kneighbors, model.radius_neighbors):
        with pytest.raises(ValueError, match="where scikit-learn searches: metric 'canberra'"):
            search(Y, where=mask)


def test_nobody_is_asked_for_a_copy_of_a_mask(rng):
    """A mask may be a view, and is left as it is."""
    mask = np.zeros(180, bool)
    mask[::4] = True
    part = subsets.read_where(mask[::2], 3, 90)[0]
    assert part.queries is None
    np.testing.assert_array_equal(part.subset.indices, np.arange(0, 90, 2))
    np.testing.assert_array_equal(part.subset.mask, mask[::2])
