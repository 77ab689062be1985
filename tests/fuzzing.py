"""Random searches, all of a case drawn from one seed: `find_error(seed)` names what disagrees.

tests/test_fuzzing.py runs a few, tools/fuzz.py as many as wanted. Distances and indices have to be
the oracle's bit for bit: for every kind of index, instruction set, number of threads, batch and
layout, and on data that are made to be hard.
"""

import itertools

import numpy as np

import datasets_for_search as data
import fastnn
import oracles
from fastnn._search.growing import Blocks, GrowingSearcher
from fastnn._search.ivf import Centroids, InvertedLists, ListRanking
from fastnn._search.metric_spaces import MetricSpace, space_of
from fastnn._search.protocol import Subset
from fastnn._search.searcher import Searcher
from fastnn._search.subsets import Part
from fastnn.metrics import pairwise_distances_argmin_min

KINDS = ("brute", "bounded", "kd_tree")
METRICS = ("l1", "l2", "sqeuclidean", "chebyshev", "cosine", "correlation", "minkowski")
# Around the widths of vectors, tiles and strips.
FEATURES = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 97, 127, 128, 130, 200, 520)
SAMPLES = (1, 2, 3, 7, 23, 24, 25, 31, 32, 33, 64, 65, 193, 400, 900)
QUERIES = (1, 2, 3, 4, 5, 12, 13, 17, 60)


# ---- families of data, beside those of datasets_for_search ---------------------------------------


def half_ulps(rng, n, d):
    """Values that float32 rounds one way or the other."""
    return 1.0 + 2.0**-24 * rng.integers(-3, 4, (n, d))


def powers_of_two(rng, n, d):
    return 2.0 ** rng.integers(-30, 31, (n, d)) * rng.choice([-1.0, 1.0], (n, d))


def nearly_copied(rng, n, d):
    """Copies of other rows, off by nothing to 1e-7."""
    X = rng.standard_normal((n, d))
    copies = np.flatnonzero(rng.random(n) < 0.4)
    error = 10.0 ** -rng.integers(7, 17, (len(copies), 1)) * rng.integers(0, 3, (len(copies), 1))
    X[copies] = X[rng.integers(0, n, len(copies))] * (1.0 + error)
    return X


def few_directions(rng, n, d):
    """What bounds are for."""
    return rng.standard_normal((n, 4)) @ rng.standard_normal((4, d)) + 1e-3 * rng.standard_normal(
        (n, d)
    )


def some_constant(rng, n, d):
    """Rows of one value among others, as images of one brightness."""
    X = rng.integers(-2, 3, (n, d)).astype(float)
    X[rng.random(n) < 0.7] = 0.40524980 * rng.standard_normal()
    return X


FAMILIES = [
    *data.FOR_FLOAT64, half_ulps, powers_of_two, nearly_copied, few_directions, some_constant,
]  # fmt: skip


# ---- cases ---------------------------------------------------------------------------------------


class Case:
    """What is searched for in what, and how."""

    def __init__(self, seed):
        self.seed, self.rng = seed, np.random.default_rng(seed)
        rng = self.rng
        self.family = FAMILIES[rng.integers(len(FAMILIES))]
        self.dtype = (np.float32, np.float64, np.uint8)[rng.integers(3)]
        self.metric = METRICS[rng.integers(len(METRICS))]
        self.isa = rng.choice(fastnn.available_isas())
        d, n, n_queries = (int(rng.choice(some)) for some in (FEATURES, SAMPLES, QUERIES))
        if n * n_queries * d > 4_000_000:
            n_queries = 5
        with np.errstate(all="ignore"):
            both = data.make(self.family, rng, n + n_queries, d, self.dtype)
        self.X, self.Y = both[:n_queries].copy(), both[n_queries:].copy()
        if rng.random() < 0.4:  # samples among the queries
            m = min(n_queries, n)
            self.X[:m] = self.Y[rng.permutation(n)[:m]]
        self.k = (
            int(rng.integers(1, n + 1)) if rng.random() < 0.3 else int(min(n, rng.integers(1, 12)))
        )
        self.parameters, self.oracle = {}, self.metric
        if self.metric == "minkowski":
            p, w = int(rng.integers(1, 3)), np.round(rng.random(d) * 4) / rng.choice([1.0, 3.0])
            self.parameters, self.oracle = {"p": p, "w": w}, ("minkowski", p, tuple(w))

    def __str__(self):
        return (
            f"seed {self.seed}: {self.family.__name__}, {np.dtype(self.dtype)}, {self.metric}, "
            f"{len(self.X)} queries, {self.Y.shape[0]} x {self.Y.shape[1]}, k={self.k}, {self.isa}"
        )

    def layout(self, rows):
        """Return the same rows, as they may lie in memory."""
        choice = self.rng.integers(4)
        if choice == 0:
            return np.asfortranarray(rows)
        if choice == 1:
            return np.repeat(rows, 2, axis=1)[:, ::2]
        if choice == 2:
            rows = rows.copy()
            rows.flags.writeable = False
        return rows


def find_error(seed):
    """Return what is wrong with the case of a seed, or None."""
    case = Case(seed)
    before = fastnn.get_isa()
    fastnn.set_isa(str(case.isa))
    try:
        with np.errstate(all="ignore"):
            for name, found, expected in itertools.chain(
                searches(case),
                changes(case),
                boxes(case),
                inner_products(case),
                bits(case),
                lists(case),
                entries(case),
            ):
                if not all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True)):
                    return f"{case}: {name}"
    finally:
        fastnn.set_isa(before)
    return None


def searches(case):
    """Yield (what was done, what was found, what the oracle says)."""
    rng, X, Y, k = case.rng, case.X, case.Y, case.k
    expected = oracles.kneighbors(X, Y, k, case.oracle)
    radius = float(expected[0][:, rng.integers(k)].max())
    within = oracles.radius_neighbors(X, Y, radius, case.oracle)
    for kind in KINDS:
        index = Searcher(Y, space_of(case.metric, **case.parameters), kind)
        for _ in range(int(rng.integers(1, 4))):  # packed panels stay from the second search on
            n_threads, size = int(rng.integers(1, 4)), int(rng.integers(1, len(X) + 1))
            parts = [
                index.kneighbors(X[i : i + size], k, n_threads)[:2] for i in range(0, len(X), size)
            ]
            found = [np.concatenate(part) for part in zip(*parts, strict=True)]
            yield f"{kind}, {n_threads} threads, batches of {size}", found, expected
        if np.isfinite(radius):
            slices = index.radius_neighbors(X, radius, n_threads, True).slices
            found = [np.concatenate([part[i] for part in slices]) for i in range(3)]
            counts = np.array([len(distances) for distances, _ in within])
            both = [np.concatenate([found[i] for found in within]) for i in range(2)]
            yield f"{kind}, within {radius}", found, [counts, *both]
            counted = index.count_neighbors(X, np.array([radius]), n_threads)
            yield f"{kind}, counts within {radius}", [counted], [counts]
    some = np.sort(rng.permutation(len(Y))[: rng.integers(k, len(Y) + 1)])
    among = oracles.kneighbors(X, Y[some], k, case.oracle)
    parts = [Part(None, Subset(None, some, len(Y)))]
    for kind in (*KINDS, "auto"):
        index = Searcher(Y, space_of(case.metric, **case.parameters), kind)
        found = index.kneighbors(X, k, int(rng.integers(1, 4)), where=parts)[:2]
        yield f"{kind}, among {len(some)}", found, [among[0], some[among[1]]]
    if len(Y) > k:
        index = Searcher(Y, space_of(case.metric, **case.parameters), KINDS[rng.integers(3)])
        found = index.kneighbors(Y, k, 2, exclude_self=True)[:2]
        yield "rows among themselves", found, oracles.kneighbors_of_itself(Y, k, case.oracle)
    X, Y = case.layout(X), case.layout(Y)
    if case.metric != "minkowski":
        yield "another layout", fastnn.kneighbors(X, Y, k, case.metric), expected
    nearest = pairwise_distances_argmin_min(
        X, Y, metric=case.metric, metric_kwargs=case.parameters or None
    )
    yield "argmin", nearest[:1], [expected[1][:, 0]]


def changes(case):
    """Searches of samples that come block by block, and of which some are gone again."""
    rng, X, Y = case.rng, case.X, case.Y
    kind = str(rng.choice((*KINDS, "auto")))
    plain = Searcher(Y[:0], space_of(case.metric, **case.parameters), kind)
    first, *others = np.split(Y, np.sort(rng.integers(1, len(Y) + 1, 4)))
    index, left = GrowingSearcher(Blocks.of(first), plain), np.arange(len(first))
    for rows in others:
        contents = index.contents
        if len(rows):
            left = np.append(left, contents.n_indices + np.arange(len(rows)))
            contents = contents.append(rows)
        if rng.integers(2):
            gone = rng.permutation(left)[: int(len(left) * rng.random())]
            left = np.setdiff1d(left, gone)
            contents = contents.remove(np.sort(gone))
        index = index.with_contents(contents)
        if not len(left):
            continue
        k, name = min(case.k, len(left)), f"{kind}, {len(left)} left of {contents.n_indices}"
        expected = oracles.kneighbors(X, Y[left], k, case.oracle)
        expected = expected[0], left[expected[1]]
        yield name, index.kneighbors(X, k, int(rng.integers(1, 4)))[:2], expected
        radius = float(expected[0][:, -1].max())
        if np.isfinite(radius):
            counts, *found = index.radius_neighbors(X, radius, 2, True).slices[0]
            within = oracles.radius_neighbors(X, Y[left], radius, case.oracle)
            distances, indices = (np.concatenate([row[i] for row in within]) for i in range(2))
            expected = np.array([len(row[0]) for row in within]), distances, left[indices]
            yield f"{name}, within {radius}", (counts, *found), expected


def inner_products(case):
    """The largest products first."""
    rng, X, Y = case.rng, case.X, case.Y
    if case.family is data.overflowing:  # NaN where infinities of both signs meet
        return
    index = Searcher(Y, MetricSpace("ip"))
    exact = (X.astype(np.float64)[:, None] * Y.astype(np.float64)).sum(axis=2)
    order = np.argsort(-exact, axis=1, kind="stable")[:, : case.k]
    expected = np.take_along_axis(exact, order, 1) + 0.0, order
    for _ in range(int(rng.integers(1, 4))):
        n_threads, size = int(rng.integers(1, 4)), int(rng.integers(1, len(X) + 1))
        parts = [
            index.kneighbors(X[i : i + size], case.k, n_threads)[:2] for i in range(0, len(X), size)
        ]
        found = [np.concatenate(part) for part in zip(*parts, strict=True)]
        yield f"products, {n_threads} threads, batches of {size}", found, expected


def bits(case):
    """Zeros and ones, of which many are equally far."""
    rng, space = case.rng, MetricSpace("l1", mapping="bits")
    X, Y = ((rows > np.median(case.Y)).astype(case.dtype) for rows in (case.X, case.Y))
    exact = (X[:, None] != Y).sum(axis=2) / Y.shape[1]
    order = np.argsort(exact, axis=1, kind="stable")[:, : case.k]
    expected = np.take_along_axis(exact, order, 1), order
    for kind in (*KINDS, "auto"):
        index = Searcher(Y, space, kind)
        found = index.kneighbors(X, case.k, int(rng.integers(1, 4)))[:2]
        yield f"{kind}, zeros and ones", found, expected


def boxes(case):
    """Searches where features are on circles, or some of them."""
    if case.metric not in ("l1", "l2", "chebyshev"):
        return
    rng, d = case.rng, case.Y.shape[1]
    periods = rng.choice([1.0, 0.25, 3.0, np.inf], d)
    lines = np.isinf(periods)
    X, Y = (rows.astype(np.float64) for rows in (case.X, case.Y))
    X, Y = (np.where(lines, rows, np.mod(rows, np.where(lines, 1.0, periods))) for rows in (X, Y))
    Y = np.where(periods > Y, Y, 0.0)
    gaps = np.abs(X[:, None] - Y)
    gaps = np.where(lines, gaps, np.minimum(gaps, periods - gaps))
    if case.metric == "chebyshev":
        expected = gaps.max(axis=2)
    else:
        expected = gaps.sum(axis=2) if case.metric == "l1" else np.sqrt((gaps**2).sum(axis=2))
    order = np.argsort(expected, axis=1, kind="stable")[:, : case.k]
    nearest = np.take_along_axis(expected, order, 1)
    index = Searcher(Y, MetricSpace(case.metric, periods=periods), "kd_tree")
    yield "in a box", index.kneighbors(X, case.k, int(rng.integers(1, 4)))[:2], (nearest, order)
    radii = nearest[:, -1]
    counts = index.count_neighbors(X, radii, int(rng.integers(1, 4)))
    yield "counts in a box", [counts], [(expected <= radii[:, None]).sum(axis=1)]
    found = index.radius_neighbors(X, radii, 2, False).slices
    listed = [np.concatenate([part[i] for part in found]) for i in (0, 2)]
    yield "within radii in a box", listed, [counts, np.nonzero(expected <= radii[:, None])[1]]


def lists(case):
    """Searches of inverted lists: the oracle's, among the rows that a query visits."""
    rng, X, Y, k = case.rng, case.X, case.Y, case.k
    samples = Searcher(Y, space_of(case.metric, **case.parameters)).samples
    queries, n_lists = X.astype(samples.values.dtype), int(rng.integers(1, len(Y) + 1))
    chosen = samples.values[rng.integers(0, len(Y), n_lists)]
    if samples.space.normalized and case.dtype == np.uint8:
        chosen = chosen.astype(np.float32)
    centroids = Centroids(samples, chosen, np.ones(n_lists), np.arange(1))
    index = InvertedLists.build(samples, centroids, 2)
    of_itself = bool(rng.integers(2)) and len(Y) > k
    if of_itself:
        X = Y
        queries = samples.values
        everything = oracles.kneighbors_of_itself(Y, k, case.oracle)
    else:
        everything = oracles.kneighbors(X, Y, k, case.oracle)
    for n_probes in (float(rng.integers(0, n_lists + 1)), n_lists * rng.random(), np.inf):
        ranking = ListRanking(centroids, index.sizes, k, min(n_probes, n_lists))
        ranked, scores = ranking.scores(samples.space.rows(queries), 1)
        expected = [np.empty((len(X), k)), np.empty((len(X), k), np.int64)]
        for i, (row, of_row) in enumerate(zip(ranked, scores, strict=True)):
            places = [np.arange(*index.starts[j : j + 2]) for j in row[~(of_row > n_probes)]]
            visited = np.sort(index.index.order[np.concatenate(places)])
            found = oracles.kneighbors(X[i : i + 1], Y[visited], k + of_itself, case.oracle)
            found = found[0], visited[found[1]]
            if of_itself:
                found = oracles.without_itself(*found, i)
            expected[0][i], expected[1][i] = found[0][0], found[1][0]
        if n_probes == np.inf:
            expected = everything
        n_threads = int(rng.integers(1, 4))
        size = len(X) if of_itself else int(rng.integers(1, len(X) + 1))
        parts = [
            index.kneighbors(queries[i : i + size] if size < len(X) else queries, k, n_threads,
                             exclude_self=of_itself, n_probes=n_probes)
            for i in range(0, len(X), size)
        ]  # fmt: skip
        found = [np.concatenate(part) for part in zip(*parts, strict=True)]
        found[0] = samples.space.distances(found[0])
        name = f"{n_lists} lists, {n_probes} probes, {n_threads} threads, batches of {size}"
        yield f"{name}, among themselves: {of_itself}", found, expected


def entries(case):
    """Pairwise distances: of their two rows alone, and within the promised error."""
    if case.metric not in ("l1", "l2", "sqeuclidean"):
        return
    rng, Y = case.rng, case.Y
    X = np.concatenate([case.X, Y[::-1]])
    found = fastnn.pairwise_distances(X, Y, case.metric, n_jobs=int(rng.integers(1, 4)))
    some, others = rng.integers(0, len(X), 1 + len(X) // 3), rng.integers(0, len(Y), 9)
    yield "some rows", fastnn.pairwise_distances(X[some], Y, case.metric), found[some]
    few = fastnn.pairwise_distances(case.layout(X), Y[others], case.metric)
    yield "few rows", few, found[:, others]
    itself = fastnn.pairwise_distances(Y, metric=case.metric)
    yield "rows and themselves", itself, found[len(case.X) :][::-1] * (1 - np.eye(len(Y)))
    exact = oracles.distances(X, Y[others], case.metric, np.longdouble)
    if few.dtype != np.uint8:
        promised = oracles.promised_error(case.dtype, case.metric) * exact
        # Nothing is promised where squares leave float64, or entries their dtype.
        sums = exact**2 if case.metric == "l2" else exact
        limits = [np.finfo(np.float64), np.finfo(few.dtype)]
        kept = np.abs(few - exact) <= promised
        for values, limit in zip((sums, exact), limits, strict=True):
            kept |= (values >= limit.max) | (values <= 2.0**60 * limit.tiny)
        yield "errors of entries", [kept], [np.ones_like(kept)]
