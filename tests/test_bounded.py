"""Lower bounds: what they promise, pair by pair; a search by them is the exhaustive one."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_info

import datasets_for_search as data
import fastnn
import oracles
from fastnn import _bounds
from fastnn._indexes import Index

METRICS = ("l1", "l2", "sqeuclidean")
metrics = pytest.mark.parametrize("metric", METRICS)


def correlated(rng, n, d):
    """Few directions hold nearly all of the variance, as in images."""
    return rng.standard_normal((n, 6)) @ rng.standard_normal((6, d)) + 0.05 * rng.standard_normal(
        (n, d)
    )


def by_bounds(X, Y, k, metric, n_threads=2, exclude_self=False):
    """Search, and say whether bounds could serve."""
    index = Index(Y, metric, "bounded")
    found = index.kneighbors(X, k, n_threads, None, exclude_self)
    return found, index._structures["bounded"] is not None


def assert_same(found, expected):
    np.testing.assert_array_equal(found[1], expected[1])
    np.testing.assert_array_equal(found[0], expected[0])


@pytest.fixture(params=[True, False], ids=["two stages", "one stage"])
def with_finer(request, monkeypatch):
    """Finer bounds for rows of any length, or for none."""
    monkeypatch.setattr(_bounds, "FINER_BYTES_RATIO", 0 if request.param else np.inf)


# ---- bounds --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "generator"), data.CASES, ids=data.CASE_NAMES)
@pytest.mark.parametrize("metric", ["l1", "l2"])
def test_bounds_never_exceed_distances(isa, with_finer, metric, dtype, generator, rng):
    Y = data.make(generator, rng, 150, 130, dtype)
    X = np.concatenate([data.make(generator, rng, 20, 130, dtype), Y[:10]])
    bounds = _bounds.bounds_for(Y, metric, 2)
    if bounds is None:
        assert generator in (
            data.constant,
            data.tiny,
            data.large,
            data.wide_range,
            data.float32_denormal,
            data.denormal,
            data.overflowing,
        ) or (generator, dtype) == (data.near_ties, np.float32)  # all of them equal
        return
    exact = oracles.distances(X, Y, metric, np.longdouble)
    stages = [(bounds.rows, bounds.margin), *bounds.finer]
    for (rows, margins), (of_samples, margin) in zip(bounds.move(X, 2), stages, strict=True):
        of_bounds = oracles.distances(rows, of_samples, metric, np.longdouble) * bounds.unit
        assert (of_bounds <= exact + margins[:, None] + margin).all()


@pytest.mark.parametrize("metric", ["l1", "l2"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_bounds_are_tight_where_features_go_together(metric, dtype, rng):
    """Else there would be nothing to gain: nine tenths of the distance, and margins of 5 %."""
    X = data.make(correlated, rng, 300, 600, dtype)
    bounds = _bounds.bounds_for(X, metric, 2)
    exact = oracles.distances(X, X, metric)
    of_bounds = oracles.distances(bounds.rows, bounds.rows, metric) * bounds.unit
    apart = exact > 0
    assert np.median(of_bounds[apart] / exact[apart]) > (0.9 if metric == "l2" else 0.6)
    assert bounds.margin < 0.1 * np.median(exact[apart])


def test_features_are_grouped_by_what_they_do(rng):
    """Sixteen groups of eight copies each, shuffled, are found."""
    places = np.repeat(rng.standard_normal((16, 3)), 8, axis=0)
    order = rng.permutation(128)
    groups = _bounds.group_features(places[order])
    assert np.bincount(groups).tolist() == [8] * 16
    for group in range(16):
        assert len(set(order[groups == group] // 8)) == 1


@pytest.mark.parametrize("d", [1, 2, 7, 8, 9, 17, 100, 777])
def test_groups_are_of_at_most_eight(d, rng):
    sizes = np.bincount(_bounds.group_features(rng.standard_normal((d, 2))))
    assert sizes.sum() == d
    assert 1 <= sizes.min() <= sizes.max() <= 8


def test_directions_are_orthonormal_and_lead(rng):
    S = correlated(rng, 200, 90).astype(np.float32)
    directions = _bounds.leading_directions(S, 6)
    np.testing.assert_allclose(directions @ directions.T, np.eye(6), atol=1e-12)
    left = S - S @ directions.T @ directions
    assert np.square(left).sum() < 0.01 * np.square(S).sum()
    assert (np.diff(np.square(S @ directions.T).sum(axis=0)) < 0).all()


# ---- searches ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "generator"), data.CASES, ids=data.CASE_NAMES)
@metrics
def test_hard_data(isa, with_finer, metric, dtype, generator, rng):
    Y = data.make(generator, rng, 400, 130, dtype)
    X = np.concatenate([data.make(generator, rng, 30, 130, dtype), Y[:10]])
    assert_same(by_bounds(X, Y, 7, metric)[0], oracles.kneighbors(X, Y, 7, metric))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
@pytest.mark.parametrize("n_queries", [1, 4, 5, 100, 5000])
@metrics
def test_correlated_data(with_finer, metric, dtype, n_queries, rng):
    Y = data.make(correlated, rng, 3000, 200, dtype)
    X = data.make(correlated, rng, n_queries, 200, dtype)
    found, served = by_bounds(X, Y, 10, metric)
    assert served
    assert_same(found, fastnn.kneighbors(X, Y, 10, metric, algorithm="brute"))


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 200),
    d=st.sampled_from([64, 65, 71, 96, 127, 129, 520]),
    dtype=st.sampled_from([np.float32, np.float64, np.uint8]),
    metric=st.sampled_from(METRICS),
    digits=st.integers(0, 3),
)
def test_any_data(seed, n, d, dtype, metric, digits):
    """Rounded, so that ties and duplicates are common."""
    rng = np.random.default_rng(seed)
    values = np.round(correlated(rng, n + 9, d), digits) * 10.0 ** rng.integers(-3, 4)
    both = np.clip(values, 0, 255).astype(dtype)
    X, Y = both[:9], both[9:]
    k = int(rng.integers(1, n + 1))
    assert_same(by_bounds(X, Y, k, metric)[0], oracles.kneighbors(X, Y, k, metric))


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
@metrics
def test_threads_and_batches_change_nothing(with_finer, metric, dtype, rng):
    Y = data.make(correlated, rng, 2000, 100, dtype)
    X = data.make(correlated, rng, 70, 100, dtype)
    expected = by_bounds(X, Y, 20, metric, 1)[0]
    for n_threads in (2, 3, 7):
        assert_same(by_bounds(X, Y, 20, metric, n_threads)[0], expected)
    index = Index(Y, metric, "bounded")
    for size in (1, 3, 30):
        parts = [index.kneighbors(X[i : i + size], 20, 2) for i in range(0, 70, size)]
        assert_same([np.concatenate(p) for p in zip(*parts, strict=True)], expected)


@metrics
def test_rows_among_themselves(with_finer, metric, rng):
    X = np.concatenate([correlated(rng, 300, 80), np.zeros((12, 80))])
    found, served = by_bounds(X, X, 5, metric, exclude_self=True)
    assert served
    assert_same(found, oracles.kneighbors_of_itself(X, 5, metric))


@metrics
def test_all_of_the_samples(metric, rng):
    Y = correlated(rng, 150, 90)
    X = correlated(rng, 6, 90)
    assert_same(by_bounds(X, Y, 150, metric)[0], oracles.kneighbors(X, Y, 150, metric))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["X", "Y"])
@metrics
def test_what_is_not_finite_is_named(metric, where, bad, rng):
    X, Y = correlated(rng, 10, 90), correlated(rng, 3000, 90)
    {"X": X, "Y": Y}[where][7, 3] = bad
    with pytest.raises(ValueError, match=f"{where} must hold finite numbers, got .* at row 7"):
        fastnn.kneighbors(X, Y, 3, metric, algorithm="bounded")


def test_queries_far_from_all_samples(rng):
    Y = correlated(rng, 500, 100)
    for scale in (1e3, 1e10, 1e25, 1e-25):
        X = scale * correlated(rng, 20, 100)
        for metric in METRICS:
            assert_same(by_bounds(X, Y, 4, metric)[0], oracles.kneighbors(X, Y, 4, metric))


def test_most_pairs_are_passed_over(rng):
    from fastnn._core._bounded import find_neighbors_by_bounds

    X = correlated(rng, 4000, 300)
    for metric in METRICS:
        bounds = _bounds.bounds_for(X, metric, 2)
        evaluated = find_neighbors_by_bounds(X[:100], X, 10, metric, bounds, 2)[2]
        assert evaluated < 0.2 * 100 * 4000


def test_limits_of_other_libraries_are_as_before(rng):
    def limits():
        return [(library["filepath"], library["num_threads"]) for library in threadpool_info()]

    Y, before = rng.standard_normal((500, 64)), limits()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: _bounds.bounds_for(Y, "l2", 1), range(20)))
    assert limits() == before
