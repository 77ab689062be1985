"""The flat index: panels that stay, and values that must not spoil what others cost or give."""

import itertools
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastnn
import oracles
from fastnn._core.search._flat import find_neighbors, find_within_radius
from fastnn._core.search._index import FlatIndex
from oracles import assert_same

METRICS = ("l1", "l2", "sqeuclidean", "chebyshev")
metrics = pytest.mark.parametrize("metric", METRICS)
DTYPES = (np.float32, np.float64, np.uint8)
dtypes = pytest.mark.parametrize("dtype", DTYPES)
# No kernel has Chebyshev distances of bytes: searchers widen these.
kinds = pytest.mark.parametrize(
    ("metric", "dtype"),
    [pair for pair in itertools.product(METRICS, DTYPES) if pair != ("chebyshev", np.uint8)],
)


def rows(rng, n, d, dtype):
    values = rng.standard_normal((n, d)) * 30.0 + 100.0
    return np.clip(values, 0, 255).astype(dtype) if dtype == np.uint8 else values.astype(dtype)


@kinds
@pytest.mark.parametrize("share", [0.0, 0.4, 1.0, 8.0])
def test_resident_panels_change_nothing(isa, rng, metric, dtype, share):
    Y, X = rows(rng, 5000, 33, dtype), rows(rng, 60, 33, dtype)
    index = FlatIndex(Y, metric, int(share * Y.nbytes))
    expected = oracles.kneighbors(X, Y, 7, metric)
    radius = float(np.median(expected[0]))
    neighbors = oracles.radius_neighbors(X, Y, radius, metric)
    for _ in range(3):
        assert_same(find_neighbors(X, index, 7, metric, 2), expected)
        counts, distances, _ = find_within_radius(X, index, radius, metric, 2, True)[0]
        np.testing.assert_array_equal(counts, [len(found) for found, _ in neighbors])
        np.testing.assert_array_equal(distances, np.concatenate([d for d, _ in neighbors]))
    for n in (1, 2, 5):  # few queries go by rows as long as packing is dearer
        assert_same(find_neighbors(X[:n], index, 7, metric, 2), [part[:n] for part in expected])
    if share == 0.0:
        assert index.resident_rows == 0
    if share == 8.0:
        assert index.resident_rows == len(Y)


@kinds
@pytest.mark.parametrize("d", [5, 1100])
def test_threads_take_samples_or_queries(isa, rng, metric, dtype, d):
    """Blocks of samples where queries are few, and the other way round, for packed ones as well."""
    Y, X = rows(rng, 1500 if d > 100 else 12_000, d, dtype), rows(rng, 400, d, dtype)
    Y[700:900] = Y[:200]
    expected = oracles.kneighbors(X[::20], Y, 3, metric)
    for n, n_threads in itertools.product((20, 400), (1, 2, 3)):
        index = FlatIndex(Y, metric, Y.nbytes)
        for _ in range(3):  # by rows, packed, and packed before
            found = find_neighbors(X[:n], index, 3, metric, n_threads)
            for part, whole in zip(found, expected, strict=True):
                np.testing.assert_array_equal(part[::20], whole[: n // 20])


def test_panels_stay_from_the_second_search_on(rng):
    Y = rows(rng, 5000, 16, np.float32)
    index = FlatIndex(Y, "l2")
    for expected in (0, len(Y), len(Y)):
        find_neighbors(Y[:50], index, 3, "l2", 1)
        assert index.resident_rows == expected


def test_threads_share_an_index(rng):
    Y, X = rows(rng, 20_000, 24, np.float32), rows(rng, 400, 24, np.float32)
    expected = find_neighbors(X, Y, 5, "l2", 1)
    index = FlatIndex(Y, "l2")
    with ThreadPoolExecutor(4) as pool:
        searches = [pool.submit(find_neighbors, X, index, 5, "l2", 1 + i % 2) for i in range(24)]
    for search in searches:
        assert_same(search.result(), expected)


def test_an_index_outlives_a_change_of_the_instruction_set(rng):
    before = fastnn.get_isa()
    Y, X = rows(rng, 3000, 40, np.float32), rows(rng, 40, 40, np.float32)
    index, expected = FlatIndex(Y, "l1"), oracles.kneighbors(X, Y, 4, "l1")
    try:
        for isa in fastnn.available_isas() * 2:
            fastnn.set_isa(isa)
            assert_same(find_neighbors(X, index, 4, "l1", 2), expected)
    finally:
        fastnn.set_isa(before)


# ---- rows that no tile can hold ------------------------------------------------------------------


@metrics
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_queries", [3, 50])
def test_huge_rows_among_others(isa, rng, metric, dtype, n_queries):
    """They are decided exactly; so are infinite distances, of finite values, which come last."""
    Y, X = rows(rng, 2000, 21, dtype), rows(rng, n_queries, 21, dtype)
    huge = [1e30, 3e38] if dtype == np.float32 else [1e30, 1e160, 1.7e308]
    for i, value in enumerate(huge):
        Y[7 * i + 3, 5] = value
        Y[500 + i] = -value
        X[i] = value
    for k in (5, 1999, 2000):
        assert_same(find_neighbors(X, Y, k, metric, 2), oracles.kneighbors(X, Y, k, metric))
    for radius in (0.0, 200.0, 1e31, np.inf):
        slices = find_within_radius(X, Y, radius, metric, 2, True)
        expected = oracles.radius_neighbors(X, Y, radius, metric)
        np.testing.assert_array_equal(
            np.concatenate([found for _, _, found in slices]),
            np.concatenate([indices for _, indices in expected]),
        )


@metrics
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("n_queries", [1, 20])
def test_what_is_not_finite_is_found_beside_huge_values(rng, metric, value, n_queries):
    Y, X = rows(rng, 3000, 9, np.float64), rows(rng, n_queries, 9, np.float64)
    Y[11] = 1e300
    X[0, 2] = 1e300
    assert find_neighbors(X, Y, 4, metric, 2) is not None
    for values in (X, Y):
        kept = values[-1, 4]
        values[-1, 4] = value
        assert find_neighbors(X, Y, 4, metric, 2) is None
        assert find_within_radius(X, Y, 1.0, metric, 2, True) is None
        values[-1, 4] = kept


# ---- near-ties -----------------------------------------------------------------------------------


def two_clusters(rng, n, d):
    return np.repeat([[0.0], [1000.0]], n // 2, axis=0) + 1e-3 * rng.standard_normal((n, d))


def constant(rng, n, d):
    return np.full((n, d), 0.1)


def cloud(rng, n, d):
    return 1.0 + 1e-7 * rng.standard_normal((n, d))


@metrics
@pytest.mark.parametrize("generator", [two_clusters, constant, cloud])
@pytest.mark.parametrize("k", [1, 10, 200])
def test_blocks_that_are_settled_by_rows(isa, rng, metric, generator, k):
    Y = generator(rng, 3000, 12).astype(np.float32)
    for X in (Y[::150].copy(), rng.standard_normal((20, 12)).astype(np.float32)):
        expected = oracles.kneighbors(X, Y, k, metric)
        for n_threads in (1, 2):
            assert_same(find_neighbors(X, Y, k, metric, n_threads), expected)
        radius = float(expected[0].max())
        counts, distances, _ = find_within_radius(X, Y, radius, metric, 2, False)[0]
        neighbors = oracles.radius_neighbors(X, Y, radius, metric)
        np.testing.assert_array_equal(counts, [len(found) for found, _ in neighbors])
        np.testing.assert_array_equal(
            np.sort(distances), np.sort(np.concatenate([d for d, _ in neighbors]))
        )


# ---- approximate distances -----------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["l1", "l2", "sqeuclidean"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1e-44, 1e-25, 1.0, 1e18, 1e37])
def test_few_queries_whatever_the_size_of_values(isa, rng, metric, dtype, scale):
    for d in (1, 3, 17, 64, 100):
        Y = (rng.standard_normal((700, d)) * scale).astype(dtype)
        Y[350:] = Y[:350] * dtype(1 + 2e-7)
        for n_queries in (1, 2, 3, 4, 5, 12):
            X = Y[5 : 5 + n_queries] * dtype(0.99)
            expected = oracles.kneighbors(X, Y, 6, metric)
            assert_same(find_neighbors(X, Y, 6, metric, 2, True), expected)


@pytest.mark.parametrize("metric", ["l1", "l2", "sqeuclidean"])
@pytest.mark.parametrize("d", [1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 130, 16383, 16400, 33000])
def test_few_queries_of_bytes(isa, rng, metric, d):
    Y = rng.integers(0, 256, (47, d), dtype=np.uint8)
    Y[20:30] = rng.choice(np.array([0, 255], np.uint8), (10, d))
    Y[30], Y[31], Y[40:] = 0, 255, Y[:7]
    for n_queries in (1, 2, 3, 4, 5, 8):
        X = np.vstack((255 - Y[24 : 22 + n_queries], Y[30 : 32 if n_queries > 1 else 31]))
        expected = oracles.kneighbors(X, Y, 9, metric)
        assert_same(find_neighbors(X, Y, 9, metric, 2, True), expected)


# ---- memory --------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_lists_of_a_radius_do_not_hold_what_they_will_not_keep():
    """Where a town is tight, its samples pass all bounds, and few are within the radius."""
    program = """
        import numpy as np
        from fastnn.neighbors import NearestNeighbors

        def peak():
            with open("/proc/self/status") as status:
                return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))

        rng = np.random.default_rng(0)
        towns = rng.random((20, 8)) * 1e4
        Y = towns[rng.integers(0, 20, 100_000)] + 1e-3 * rng.standard_normal((100_000, 8))
        model = NearestNeighbors(algorithm="brute").fit(Y.astype(np.float32))
        model.radius_neighbors(model._fit_X[:64], radius=1e-9)
        before = peak()
        found = model.radius_neighbors(model._fit_X[:4096], radius=1e-9, return_distance=False)
        assert len(found) == 4096
        print(peak() - before)
    """
    program = textwrap.dedent(program)
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert int(run.stdout) < 40 << 10


# ---- shards --------------------------------------------------------------------------------------


@metrics
def test_shards_merge_in_any_partition(rng, metric):
    """Neighbors ascend by (distance, index), so that those of parts make up those of the whole."""
    Y = np.repeat(rows(rng, 400, 6, np.float32), 3, axis=0)
    X = rows(rng, 20, 6, np.float32)
    whole = find_neighbors(X, Y, 8, metric, 2)
    for n_shards in (2, 5):
        shard_of = rng.integers(0, n_shards, len(Y))
        parts = []
        for shard in range(n_shards):
            ids = np.flatnonzero(shard_of == shard)
            distances, indices = find_neighbors(X, Y[ids], 8, metric, 2)
            parts.append((distances, ids[indices]))
        distances, indices = (np.hstack(part) for part in zip(*parts, strict=True))
        order = np.lexsort((indices, distances))[:, :8]
        found = (np.take_along_axis(part, order, axis=1) for part in (distances, indices))
        assert_same(tuple(found), whole)


def test_no_kernel_takes_chebyshev_distances_of_bytes():
    with pytest.raises(TypeError, match="no kernel takes 'chebyshev' of uint8"):
        FlatIndex(np.zeros((3, 2), np.uint8), "chebyshev")
