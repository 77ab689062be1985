"""Lower bounds: what they promise, pair by pair; a search by them is the exhaustive one."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_info

import datasets_for_search as data
import fastnn
import oracles
from fastnn._search import bounded
from fastnn._search.metric_spaces import space_of
from fastnn._search.searcher import Searcher
from oracles import assert_same

METRICS = ("l1", "l2", "sqeuclidean")
metrics = pytest.mark.parametrize("metric", METRICS)


def correlated(rng, n, d):
    """Few directions hold nearly all of the variance, as in images."""
    return rng.standard_normal((n, 6)) @ rng.standard_normal((6, d)) + 0.05 * rng.standard_normal(
        (n, d)
    )


def by_bounds(X, Y, k, metric, n_threads=2, exclude_self=False):
    """Search, and say whether bounds could serve."""
    index = Searcher(Y, metric, "bounded")
    found = index.kneighbors(X, k, n_threads, None, exclude_self)
    return found, not isinstance(index._built["bounded"], str)


def assert_same_slices(found, expected):
    for i in range(3):
        parts = [np.concatenate([part[i] for part in slices]) for slices in (found, expected)]
        np.testing.assert_array_equal(*parts)


@pytest.fixture(params=[1, 2], ids=["one stage", "two stages"])
def stages(request, monkeypatch):
    """So many stages, whatever they cost, of as few and as many codes as there may be."""
    choose = bounded._Bounds._choose

    def choose_all(self, stages, X, n_neighbors):
        choose(self, stages, X, n_neighbors)
        return sorted({0, len(stages) - 1} if request.param == 2 else {len(stages) - 1})

    monkeypatch.setattr(bounded._Bounds, "_choose", choose_all)


def made_bounds(Y, metric):
    design = bounded.design_bounds(Y, metric, 2)
    return design and design.encode_samples(2)


# ---- bounds --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "generator"), data.CASES, ids=data.CASE_NAMES)
@pytest.mark.parametrize("metric", ["l1", "l2"])
def test_bounds_never_exceed_distances(isa, stages, metric, dtype, generator, rng):
    Y = data.make(generator, rng, 150, 130, dtype)
    X = np.concatenate([data.make(generator, rng, 20, 130, dtype), Y[:10]])
    bounds = made_bounds(Y, metric)
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
    for i, (codes, margins) in enumerate(bounds.encode(X, 2)):
        of_codes = oracles.distances(codes, bounds.codes[i], bounds.metric, np.longdouble)
        of_codes *= bounds.units[i]
        assert (of_codes <= exact + margins[:, None] + bounds.margins[i]).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_that_projections_leave_nothing_of(isa, stages, dtype, rng):
    """The norm of the rest is all rounding then, and larger than distances between near rows."""
    plane = rng.standard_normal((24, 130))
    Y = rng.standard_normal((300, 24))
    X = Y[:100] + 1e-7 * rng.standard_normal((100, 24))
    X, Y = (X @ plane).astype(dtype), (Y @ plane).astype(dtype)
    bounds = made_bounds(Y, "l2")
    exact = oracles.distances(X, Y, "l2", np.longdouble)
    for i, (codes, margins) in enumerate(bounds.encode(X, 2)):
        of_codes = oracles.distances(codes, bounds.codes[i], "l2", np.longdouble) * bounds.units[i]
        assert (of_codes <= exact + margins[:, None] + bounds.margins[i]).all()
    assert_same(by_bounds(X, Y, 3, "l2")[0], oracles.kneighbors(X, Y, 3, "l2"))


@pytest.mark.parametrize("metric", ["l1", "l2"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_bounds_are_tight_where_features_go_together(metric, dtype, rng):
    """Else there would be nothing to gain: nine tenths of the distance, and margins of 5 %."""
    X = data.make(correlated, rng, 300, 600, dtype)
    bounds = made_bounds(X, metric)
    exact = oracles.distances(X, X, metric)
    of_bounds = oracles.distances(bounds.codes[-1], bounds.codes[-1], metric) * bounds.units[-1]
    apart = exact > 0
    assert np.median(of_bounds[apart] / exact[apart]) > (0.9 if metric == "l2" else 0.6)
    assert bounds.margins[-1] < 0.1 * np.median(exact[apart])


def test_features_are_grouped_by_what_they_do(rng):
    """Sixteen groups of eight copies each, shuffled, are found."""
    places = np.repeat(rng.standard_normal((16, 3)), 8, axis=0)
    shuffled = rng.permutation(128)
    order, (pairs_of_copies, copies) = bounded.group_features(places[shuffled], (16, 8))
    assert np.diff(pairs_of_copies).tolist() == [16] * 8
    assert np.diff(copies).tolist() == [8] * 16
    for group in np.split(shuffled[order] // 8, copies[1:-1]):
        assert len(set(group)) == 1


@pytest.mark.parametrize("d", [1, 2, 7, 8, 9, 17, 100, 777])
def test_groups_are_nested_and_of_at_most_so_many(d, rng):
    sizes = (32, 8, 3)
    order, levels = bounded.group_features(rng.standard_normal((d, 2)), sizes)
    assert sorted(order) == list(range(d))
    for starts, size in zip(levels, sizes, strict=True):
        assert (starts[0], starts[-1]) == (0, d)
        assert 1 <= np.diff(starts).min() <= np.diff(starts).max() <= size
    for coarse, fine in itertools.pairwise(levels):
        assert set(coarse) <= set(fine)


def test_directions_are_orthonormal_and_lead(rng):
    S = correlated(rng, 200, 90).astype(np.float32)
    directions = bounded.leading_directions(S, 6)
    np.testing.assert_allclose(directions @ directions.T, np.eye(6), atol=1e-9)
    left = S - S @ directions.T @ directions
    assert np.square(left).sum() < 0.01 * np.square(S).sum()


def test_limits_of_small_shares(rng):
    """Of a Gaussian cloud, the nearest of 256 tell how near the nearest of 100,000 are."""
    X, Y = rng.standard_normal((50, 60)), rng.standard_normal((100_000, 60))
    exact = fastnn.kneighbors(X, Y, 10, "l2")[0][:, 9]
    some = fastnn.pairwise_distances(X, Y[:256], "l2")
    limits = bounded.limits_of(some, 9.5 / 100_000)
    assert limits.shape == (50, 1)
    assert 0.97 < np.median(limits[:, 0] / exact) < 1.03
    ascending = np.sort(some, axis=1)
    np.testing.assert_array_equal(bounded.limits_of(some, 9.5 / 256)[:, 0], ascending[:, 9])
    np.testing.assert_array_equal(bounded.limits_of(some[:, :5], 1e-4)[:, 0], some[:, :5].min(1))
    assert (bounded.limits_of(np.zeros((3, 256)), 1e-4) == 0.0).all()


@pytest.mark.parametrize("steps", [(1,), (8,)])
@pytest.mark.parametrize("d", [24, 35, 36, 64, 96, 800])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
@pytest.mark.parametrize("metric", ["l1", "l2"])
def test_codes_take_a_quarter_of_the_memory_of_rows(monkeypatch, metric, dtype, d, steps, rng):
    """With those that are there twice for seeds, and after several searches."""
    monkeypatch.setattr(bounded, "SEED_STEPS", steps)
    Y = data.make(correlated, rng, 2000, d, dtype)
    index = Searcher(Y, metric, "bounded")
    for _ in range(3):
        index.kneighbors(Y[:200], 3, 2)
    built = index._built["bounded"]
    if isinstance(built, str):
        assert d < (64 if metric == "l1" else 44)
        return
    bounds = built.bounds
    kept = list(bounds.codes)
    if bounds.seed_step > 1:
        kept.append(bounds.seed_index.rows.values)
    assert sum(codes.nbytes for codes in kept) == built.nbytes <= 0.25 * Y.nbytes
    assert bounds.index.resident_rows == bounds.seed_index.resident_rows == 0


def test_a_quick_look_takes_few_rows(rng):
    """Yet it tells data that bounds are for from others."""
    Y = correlated(rng, 3000, 2000)
    few = bounded.design_bounds(Y, "l2", 2, k=5, quick=True)
    assert len(few.directions) <= 32
    assert few.survivor_fractions[-1] < 0.02
    none = bounded.design_bounds(rng.standard_normal(Y.shape), "l2", 2, k=5, quick=True)
    assert none.survivor_fractions[-1] > 0.2


# ---- searches ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "generator"), data.CASES, ids=data.CASE_NAMES)
@metrics
def test_hard_data(isa, stages, metric, dtype, generator, rng):
    Y = data.make(generator, rng, 400, 130, dtype)
    X = np.concatenate([data.make(generator, rng, 30, 130, dtype), Y[:10]])
    assert_same(by_bounds(X, Y, 7, metric)[0], oracles.kneighbors(X, Y, 7, metric))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
@pytest.mark.parametrize("n_queries", [1, 4, 5, 100, 5000])
@metrics
def test_correlated_data(stages, metric, dtype, n_queries, rng):
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
def test_threads_and_batches_change_nothing(stages, metric, dtype, rng):
    Y = data.make(correlated, rng, 2000, 100, dtype)
    X = data.make(correlated, rng, 70, 100, dtype)
    expected = by_bounds(X, Y, 20, metric, 1)[0]
    for n_threads in (2, 3, 7):
        assert_same(by_bounds(X, Y, 20, metric, n_threads)[0], expected)
    index = Searcher(Y, metric, "bounded")
    for size in (1, 3, 30):
        parts = [index.kneighbors(X[i : i + size], 20, 2) for i in range(0, 70, size)]
        assert_same(
            [np.concatenate(p) for p in zip(*(part[:2] for part in parts), strict=True)], expected
        )


@metrics
def test_rows_among_themselves(stages, metric, rng):
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


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
@metrics
def test_all_within_a_radius(isa, stages, metric, dtype, rng):
    Y = data.make(correlated, rng, 600, 130, dtype)
    X = np.concatenate([data.make(correlated, rng, 30, 130, dtype), Y[:9]])
    for rank in (0, 20, 400):
        radius = float(oracles.kneighbors(X, Y, 500, metric)[0][:, rank].max())
        for by_distance, n_threads in ((True, 1), (False, 3)):
            found, expected = (
                Searcher(Y, metric, kind).radius_neighbors(X, radius, n_threads, by_distance).slices
                for kind in ("bounded", "brute")
            )
            assert_same_slices(found, expected)


@metrics
def test_rows_within_a_radius_of_each_other(stages, metric, rng):
    X = np.concatenate([correlated(rng, 300, 80), np.zeros((12, 80))])
    radius = float(np.median(oracles.kneighbors_of_itself(X, 5, metric)[0][:, 4]))
    found, expected = (
        Searcher(X, metric, kind).radius_neighbors(X, radius, 2, True, exclude_self=True).slices
        for kind in ("bounded", "brute")
    )
    assert sum(len(part[1]) for part in expected) > 100
    assert_same_slices(found, expected)


@metrics
@pytest.mark.parametrize("factor", [1e5, 1e15, 1e22])
def test_odd_queries_do_not_spoil_bounds_for_others(metric, factor, rng):
    """What the first queries set stays."""
    both = correlated(rng, 540, 128)
    Y, X = both[:500], both[500:]
    index, brute = Searcher(Y, metric, "bounded"), Searcher(Y, metric, "brute")
    assert_same(index.kneighbors(X * factor, 5, 1), brute.kneighbors(X * factor, 5, 1))
    radius = float(np.median(brute.kneighbors(X, 20, 1)[0]))
    for n_queries in (1, 40):
        some = X[:n_queries]
        assert_same(index.kneighbors(some, 5, 2), brute.kneighbors(some, 5, 2))
        assert_same_slices(
            index.radius_neighbors(some, radius, 2, True).slices,
            brute.radius_neighbors(some, radius, 2, True).slices,
        )
    assert not isinstance(index._built["bounded"], str)


@pytest.mark.parametrize("exponent", [-590, -560, 0, 400])
def test_extreme_weights(exponent, rng):
    """Squares that are lost before they are weighted."""
    both = correlated(rng, 520, 64) * 2.0**exponent
    space = space_of("minkowski", p=2, w=np.full(64, 2.0**1000))
    found, expected = (
        Searcher(both[:500], space, kind).kneighbors(both[500:], 5, 2)
        for kind in ("bounded", "brute")
    )
    assert_same(found, expected)


def test_progress_is_told_once(rng):
    """Also where the bounds serve some slices of the queries and not the last one."""
    Y = correlated(rng, 500, 100)
    X = np.concatenate([correlated(rng, 4096, 100), 1e30 * correlated(rng, 10, 100)])
    told = []
    found = Searcher(Y, "l2", "bounded").kneighbors(X, 3, 2, told.append)
    assert sum(told) == pytest.approx(1.0)
    assert_same(found, fastnn.kneighbors(X, Y, 3, "l2", algorithm="brute"))


def test_threads_wait_for_bounds_that_are_being_made(monkeypatch, rng):
    Y, X = correlated(rng, 3000, 300), correlated(rng, 40, 300)
    make, made = bounded._Bounds.encode_samples, []

    def counted_make(self, n_threads):
        made.append(make(self, n_threads))
        return made[-1]

    monkeypatch.setattr(bounded._Bounds, "encode_samples", counted_make)
    index = Searcher(Y, "l2", "bounded")
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: index.kneighbors(X, 7, 1), range(8)))
    assert len(made) == 1
    for found in results:
        assert_same(found, fastnn.kneighbors(X, Y, 7, "l2", algorithm="brute"))


@pytest.mark.parametrize("k", [3, 40, 390])
@metrics
def test_seeds_from_some_samples(monkeypatch, metric, k, rng):
    """Or from all of them, where some are too few."""
    monkeypatch.setattr(bounded, "SEED_STEPS", (8,))
    X, Y = correlated(rng, 30, 130), correlated(rng, 400, 130)
    index = Searcher(Y, metric, "bounded")
    assert_same(index.kneighbors(X, k, 2), oracles.kneighbors(X, Y, k, metric))
    assert len(index._built["bounded"].bounds.seed_index) == 50


@metrics
def test_one_index_in_many_threads(metric, rng):
    Y, X = correlated(rng, 3000, 300), correlated(rng, 400, 300)
    index = Searcher(Y, metric, "bounded")
    with ThreadPoolExecutor(4) as pool:
        parts = pool.map(lambda i: index.kneighbors(X[i : i + 20], 7, 1), range(0, 400, 20))
    expected = fastnn.kneighbors(X, Y, 7, metric, algorithm="brute")
    found = (part[:2] for part in parts)
    assert_same([np.concatenate(part) for part in zip(*found, strict=True)], expected)


def test_queries_far_from_all_samples(rng):
    Y = correlated(rng, 500, 100)
    for scale in (1e3, 1e10, 1e25, 1e-25):
        X = scale * correlated(rng, 20, 100)
        for metric in METRICS:
            assert_same(by_bounds(X, Y, 4, metric)[0], oracles.kneighbors(X, Y, 4, metric))


def test_most_pairs_are_passed_over(rng):
    from fastnn._core.search._bounded import find_neighbors_by_bounds

    X = correlated(rng, 4000, 300)
    for metric in METRICS:
        bounds = made_bounds(X, metric)
        evaluated = find_neighbors_by_bounds(X[:100], X, 10, metric, bounds, 2)[2][1]
        assert evaluated < 0.2 * 100 * 4000


def test_limits_of_other_libraries_are_as_before(rng):
    def limits():
        return [(library["filepath"], library["num_threads"]) for library in threadpool_info()]

    Y, before = rng.standard_normal((500, 64)), limits()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: bounded.design_bounds(Y, "l2", 1), range(20)))
    assert limits() == before
