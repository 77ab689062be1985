"""Search by lower bounds: a few bytes for each row, whose distances never exceed the rows'.

`_core/search/_encoding.pyx` makes them, `_core/search/_bounded.pyx` searches with them, and says
how a limit on distances becomes one on bounds. With c a center, s a power of two, both near what a
sample of the rows says, and z = s (x - c), there are two kinds of numbers for a row.

**Projections, for L2.** Let P be m orthonormal directions, and r(x) the norm of what P leaves of z.
Splitting z into P z and the rest, and with | |a| - |b| | <= |a - b| for the rests,

    |P z(x) - P z(y)|² + (r(x) - r(y))² <= |z(x) - z(y)|² = s² |x - y|².

Directions that the data vary along most make bounds that are tight. They are turned so that each
holds as much as any other, since codes reach as far for all of them.

**Sums of groups of features, for L1.** By the triangle inequality

    sum over the groups g of |sum over g of (z_j(x) - z_j(y))| <= |z(x) - z(y)|_1 = s |x - y|_1.

Groups of features that rise and fall together are tight.

**Codes.** Numbers are cut off at both ends, which brings no two of them further apart, and rounded
to whole units, of which a code of 8 bits holds up to 255, and one of 7 bits up to 127, which some
tiles take at a higher rate. What rounding takes away is known for
each row: its norm (L1: its sum of magnitudes) is part of the row's margin. The second stage of
projections, which few pairs meet, has numbers as float32.

**Margins.** With D the distance, b the numbers as exact arithmetic would have them, and b~ those
that the codes stand for, |b~(x) - b~(y)| <= s D(x, y) + margin(x) + margin(y), where the margin
bounds |b~ - b|. With u = 2^-24, gamma_n = n u / (1 - n u), and but for what the codes round:

1. Rows are packed as float32: |p - z| <= u' |z|, u' = u (1 + 2^-20), where the last term is for
   float64 arithmetic before (of weighted rows, which meet the roots of the weights). Neither kind
   of numbers moves by more than its row, by the inequalities above.
2. A product is a sum of up to n = TERMS_PER_PRODUCT float32 additions, then of float64, which 8
   more terms are for: it errs by at most gamma_n sum |Q_ij| |p_j| [1]_, so that all of them err by
   gamma_n |Q| |p|, with |Q| the Frobenius norm of the directions as stored. The nearest matrix with
   orthonormal rows is within delta = |Q Q^T - 1| of Q [singular values: |v - 1| <= |v² - 1|]. So

       e = (gamma_n |Q| + delta) |p|

   bounds |stored Q p - P p|. |p|² comes with a relative error of f = (d + 8) 2^-53, as does |Q p|²,
   so r² = |p|² - |Q p|² is known to within g = 2 f |p|² + 2 e |Q p| + e², and r, since
   |a - b| = |a² - b²| / (a + b), to within g / max(r, sqrt(g)).
3. A group's sum, in float32, errs by at most gamma_n times that of its magnitudes, n the largest
   group's size.

The margin is the sum of these, with 1 % on top for its own rounding, and FLOOR times the largest
norm for underflow (of packed values, products and squares; and of the squares of differences, which
evaluated distances lose). Rows whose margins are not finite have no bounds.

References
----------
.. [1] N. J. Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed., section 3.1.
"""

import copy
import functools
import itertools
import logging
import math
import statistics
from typing import NamedTuple

import numpy as np
from threadpoolctl import ThreadpoolController

from .._core._rows import Rows
from .._core._threads import RenewedLock
from .._core.search._bounded import find_neighbors_by_bounds, find_within_radius_by_bounds
from .._core.search._encoding import TERMS_PER_PRODUCT, GroupEncoder, ProjectionEncoder
from .._core.search._index import FlatIndex
from .._core.search._pairwise import fill_distances
from .costs import current_costs
from .protocol import CannotServe, KeptForSubset
from .sampling import spread_out

logger = logging.getLogger("fastnn")

# Held while BLAS is limited, as threads that do so at once would restore each other's limit.
blas_lock = RenewedLock()

# Rows that directions and groups are taken from; others, of which some are queries, on which
# stages are tried.
SAMPLE_ROWS = 1024
TRIED_ROWS = 256
TRIED_QUERIES = 64
# Rows whose distances tell how far neighbors are.
LIMIT_ROWS = 1024
# In a quick look: a part of these rows, and no more directions or smaller groups than these.
QUICK_SHARE = 0.25
QUICK_WIDTH = 32
QUICK_GROUP = 16
# With more of them, such a power of the share of pairs would be left.
QUICK_POWER = 1.5
# Limits fall while a search goes on, and what is tried is few pairs: more are left than these tell,
# by a factor and a share of all.
MORE_LEFT = (2.0, 0.001)
# Of a neighbor that tells how distances grow.
FAR_RANK = 16
# Of the rows whose codes are scanned together, as those that bounds leave are asked for at once: a
# part of most last-level caches.
BLOCK_BYTES = 8 << 20
# Beside a row, codes take up to this share of its bytes.
MEMORY_SHARE = 0.25
# How many directions a stage may have. More make tighter bounds and take longer to compare.
WIDTHS = (8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 320)
# Directions that are looked for have up to so many values, as that takes a second of 10^11 of them.
DIRECTION_VALUES = 192 * 3072
# How many features a group may have.
GROUP_SIZES = (32, 16, 8, 4)
# Seeds of a query are so many more than its neighbors: with them, the first limit is lower.
MORE_SEEDS = 12
# They come from all samples or every so many-th of them: fewer are found sooner, and set limits
# that leave about (step ** exponent) times as many pairs.
SEED_STEPS = (1, 2, 4, 8)
SEED_EXPONENT = 0.35
# What features are placed by when they are grouped.
LOADINGS = 16
AXIS_ITERATIONS = 5
# Codes reach so many standard deviations to both sides.
CODED_DEVIATIONS = 3.0
# The largest norm is between these, so that nothing overflows, and what underflow may do is far
# below FLOOR of it.
NORMS = (2.0**-60, 2.0**60)
FLOOR = 2.0**-60
SCALES = (2.0**-100, 2.0**100)


class BoundedSearch:
    """Brute force on codes; the pairs that these leave are decided by the rows."""

    name = "bounded"

    def __init__(self, samples, bounds):
        self.samples, self.bounds = samples, bounds
        self._kept = KeptForSubset()

    @classmethod
    def build(cls, samples, design, n_threads=1, advance=None):
        bounds = design and design.encode_samples(n_threads)
        if bounds is None:
            raise CannotServe("there are no bounds for such values")
        return cls(samples, bounds)

    @property
    def nbytes(self):
        seeds = self.bounds.seed_index
        codes = sum(codes.nbytes for codes in self.bounds.codes)
        codes += self._kept.nbytes
        return codes + (seeds.rows.values.nbytes if seeds is not self.bounds.index else 0)

    def kneighbors(self, X, k, n_threads, advance=None, exclude_self=False, subset=None):
        bounds = self._bounds_among(subset)
        found = find_neighbors_by_bounds(
            self.samples.queries(X, n_threads), self.samples.rows(n_threads), k,
            self.samples.metric, bounds, n_threads, advance, exclude_self,
        )  # fmt: skip
        distances, indices, _ = self._logged(X, found)
        return distances, indices

    def radius_neighbors(
        self, X, radius, n_threads, sort_results, exclude_self=False, with_distances=True,
        subset=None,
    ):  # fmt: skip
        bounds = self._bounds_among(subset)
        found = find_within_radius_by_bounds(
            self.samples.queries(X, n_threads), self.samples.rows(n_threads), radius,
            self.samples.metric, bounds, n_threads, sort_results, exclude_self,
        )  # fmt: skip
        return self._logged(X, found)[0]

    def _bounds_among(self, subset):
        if subset is None:
            return self.bounds
        return self._kept.get(subset, lambda: self.bounds.among(subset.indices))

    def _logged(self, X, found):
        if found is None:
            raise CannotServe("there are no bounds for such queries")
        n_pairs = len(X) * len(self.samples)
        shares = (f"{100 * n / n_pairs:.3g} %" for n in found[-1])
        logger.debug("of the pairs, codes left %s, and all bounds %s", *shares)
        return found


# ---- design --------------------------------------------------------------------------------------


def design_bounds(Y, metric, n_threads, X=None, k=1, radius=None, quick=False):
    """Return bounds for the rows of Y, designed but without codes, or None if none could serve.

    Parameters
    ----------
    Y : Rows, or ndarray of shape (n, d), float32, float64 or uint8
        C-contiguous.
    metric : {"l1", "l2", "sqeuclidean", "chebyshev"}
    n_threads : int
    X : Rows or ndarray, optional
        Queries that there are bounds for; None: they are like the rows of Y.
    k : int
        How many neighbors they look for.
    radius : float, optional
        Within which they look for all instead.
    quick : bool
        Look for few directions, or large groups, in little time: to see whether it may be
        worthwhile to plan well.
    """
    Y = as_rows(Y)
    X = Y if X is None or X is Y else as_rows(X)
    kind = {"l1": GroupSums, "l2": Projections, "sqeuclidean": Projections}.get(metric)
    if kind is None or Y.n_features < kind.FEWEST_FEATURES:
        return None
    # Products are small here. BLAS's other threads would wait for more of them on the cores that
    # the search needs: OpenBLAS's do for 0.1 s.
    with np.errstate(all="ignore"), blas_lock, libraries().limit(limits=1, user_api="blas"):
        bounds = kind(Y, quick)
        designed = bounds.serves and bounds.design(X, k, radius, n_threads)
        bounds.sample = None
        return bounds if designed else None


@functools.cache
def libraries():
    """Return what limits the threads of loaded libraries; to look for these takes 7 ms."""
    return ThreadpoolController()


def as_rows(X):
    return X if isinstance(X, Rows) else Rows(X)


class Candidate(NamedTuple):
    """A stage that there may be: what it takes, and the share of pairs that it leaves."""

    n_codes: int
    row_cost: float
    left: float
    # As a second stage.
    finer_bytes: int
    finer_cost: float
    finer_left: float


class _Bounds:
    """What both kinds share.

    Attributes
    ----------
    metric : str
        In which codes are compared.
    middle : float
        Of what codes hold, 0 to 2 middle - 1.
    survivor_fractions : list of float
        An estimate of the share of pairs that each stage leaves.
    pair_cost, row_cost : float
        Estimates, in nanoseconds, of what a pair takes, and of what making a row's codes does.
    units : list of float
        What a distance of 1 between codes stands for, by stage.
    codes : list of ndarray of shape (n, n_codes), uint8 or float32
        Of the samples, by stage.
    margins : list of float
        The samples' largest, by stage.
    index : FlatIndex
        Of the first stage's codes.
    more_seeds : int
        How many more seeds there are for a query than it wants neighbors.
    seed_index : FlatIndex
    seed_step : int
        One of the codes of every so many-th sample, from which seeds come.
    """

    more_seeds = MORE_SEEDS
    middle = 128.0

    def __init__(self, Y, quick=False):
        self.Y, self.quick, self.costs = Y, quick, current_costs()
        self.type_ = "u" if Y.values.dtype == np.uint8 and not Y.transformed else "f"
        values = Y.values_to_compare(self._some(Y, SAMPLE_ROWS, 0.0))
        center = values.mean(axis=0, dtype=np.float64)
        if self.type_ == "u":
            center = np.rint(center)
        self.center = center.astype(np.float32).astype(np.float64)
        self.scale, self.largest = 1.0, 0.0
        self.sample = self._framed(values)
        spread = float(np.abs(self.sample).max())
        self.serves = math.isfinite(spread) and spread > 0.0
        # Beyond, distances lose more than rounding takes: see `packing_frame`.
        self.serves &= not Y.weighted or Y.has_mild_weights()
        if self.serves:
            self.scale = 2.0 ** -math.frexp(spread)[1]
            self.serves = SCALES[0] < self.scale < SCALES[1]
            self.sample *= np.float32(self.scale)

    def _framed(self, values):
        """Return rows around the center, scaled; the difference has the rows' own precision."""
        own = np.float64 if values.dtype == np.float64 else np.float32
        moved = self.Y.weigh(values.astype(own, copy=False) - self.center.astype(own))
        return (moved * own(self.scale)).astype(np.float32, copy=False)

    def _some(self, rows, n, start):
        share = QUICK_SHARE if self.quick else 1.0
        return spread_out(len(rows), int(share * n), start)

    def _tried(self, X, k, radius, n_threads):
        """Return some queries and samples, and the limits that neighbors would set."""
        of_samples = self._some(self.Y, TRIED_ROWS, 0.5)
        of_queries = self._some(X, TRIED_QUERIES, 0.25)
        samples = self._framed(self.Y.values_to_compare(of_samples))
        queries = self._framed(X.values_to_compare(of_queries))
        if radius is not None:
            return queries, samples, radius * self.scale
        of_more = self._some(self.Y, LIMIT_ROWS, 0.75)
        more = self._framed(self.Y.values_to_compare(of_more))
        exact = distances_between(queries, more, self.metric, n_threads)
        if X is self.Y:
            exact[of_queries[:, None] == of_more] = np.inf
        return queries, samples, limits_of(exact, (k - 0.5) / len(self.Y))

    def _left(self, bounds, limits):
        """Return an estimate of the share of pairs that bounds leave."""
        share = float((bounds <= limits).mean())
        share = share**QUICK_POWER if self.quick else share
        return min(1.0, MORE_LEFT[0] * share + MORE_LEFT[1])

    def _choose(self, candidates, X, n_neighbors):
        """Return the cheapest stages, one or two, of candidates in ascending order; or none.

        `n_neighbors`: that seeds are for; 0 where there are none.
        """
        n, n_pairs, n_rows = len(self.Y), len(X) * len(self.Y), len(X) + len(self.Y)
        feature_cost = self.costs.row_feature[8 if self.Y.weighted else self.Y.values.itemsize]
        if self.Y.transformed:
            feature_cost += (
                self.costs.normalized_feature if self.Y.normalized else self.costs.weighted_feature
            )
        exact_cost = self.Y.n_features * feature_cost + self.costs.row_pair
        n_seeds = n_neighbors + MORE_SEEDS
        room = MEMORY_SHARE * self.Y.n_features * self.Y.values.itemsize
        best = None
        for i, j in itertools.product(range(len(candidates)), repeat=2):
            if i <= j:  # the same one: a single stage
                first, second = candidates[i], candidates[j] if i < j else None
                n_bytes = first.n_codes + (second.finer_bytes if second else 0)
                last = second or first
                survivors = [first.left, second.finer_left] if second else [first.left]
                decided = survivors[-1] * exact_cost
                if second:
                    decided += survivors[0] * (second.finer_cost + self.costs.row_pair)
                scan = self.costs.pair_of_codes(self.metric, first.n_codes)
                for step in SEED_STEPS if n_neighbors else SEED_STEPS[-1:]:
                    # Codes of some samples are there twice.
                    if n_bytes + (first.n_codes / step if step > 1 else 0) > room:
                        continue
                    pair_cost = scan + decided
                    if n_neighbors:
                        listed = n_seeds * (1.0 + math.log(max(1.0, n / step / n_seeds)))
                        pair_cost = scan * (1.0 + 1.0 / step) + decided * step**SEED_EXPONENT
                        pair_cost += (self.costs.seed * listed + n_seeds * exact_cost) / n
                    cost = n_pairs * pair_cost + n_rows * last.row_cost
                    if best is None or cost < best[0]:
                        chosen = [i, j] if second else [i]
                        best = cost, chosen, survivors, step, pair_cost, last.row_cost
        if best is None:
            return []
        _, chosen, self.survivor_fractions, self.seed_step, self.pair_cost, self.row_cost = best
        return chosen

    def encode_samples(self, n_threads):
        """Encode all samples; return self, or None where values are too large."""
        encoded = self.encode(self.Y, n_threads)
        if encoded is None:
            return None
        self.codes = [codes for codes, _ in encoded]
        self.margins = [float(margins.max()) for _, margins in encoded]
        block_rows = BLOCK_BYTES // (self.Y.n_features * self.Y.values.itemsize)
        # Without a budget: panels are packed by each search.
        narrow = self.middle <= 64.0
        self.index = FlatIndex(self.codes[0], self.metric, 0, block_rows, None, narrow)
        self.seed_index = self.index
        if self.seed_step > 1:
            some = self.codes[0][:: self.seed_step].copy()
            self.seed_index = FlatIndex(some, self.metric, 0, None, None, narrow)
        return self

    @property
    def nbytes(self):
        """How many bytes the indexes hold beside the codes."""
        seeds = 0 if self.seed_index is self.index else self.seed_index.nbytes
        return self.index.nbytes + seeds

    def among(self, indices):
        """Return the same bounds, where some of the samples are scanned and have seeds."""
        some, narrow = copy.copy(self), self.index.narrow
        block_rows = self.index.most_block_rows
        some.index = FlatIndex(self.codes[0], self.metric, 0, block_rows, indices, narrow)
        some.seed_index, some.seed_step = some.index, 1
        if self.seed_step > 1:
            seeds = np.ascontiguousarray(indices[:: self.seed_step])
            some.seed_index = FlatIndex(self.codes[0], self.metric, 0, None, seeds, narrow)
        return some

    def encode(self, X, n_threads):
        """Return [(codes, margins) of each stage], or None where values are too large."""
        X = as_rows(X)
        codes, sizes, errors, held = self.encoder.encode(X, n_threads)
        norms = sizes if self.metric == "l1" else np.sqrt(sizes)
        largest = float(norms.max())  # NaN, if there is one
        if X is self.Y:
            self.largest = largest
        if not (largest < NORMS[1] and NORMS[0] < self.largest < NORMS[1]):
            return None
        largest = max(self.largest, largest)
        stages = []
        for i, of_stage in enumerate(codes):
            margins = self._margins(i, norms, held[i]) + errors[i] + 1.01 * 2.0**-24 * norms
            # The second term: numbers are divided by units before they are rounded.
            margins = 1.01 * margins + 2.0**-40 * of_stage.shape[1] * self.units[i] * self.scale
            stages.append((of_stage, (margins + FLOOR * largest) / self.scale))
        return stages if all(np.isfinite(margins).all() for _, margins in stages) else None


def limits_of(distances, share):
    """Return the distances that about this share of all is within, of shape (n_queries, 1).

    Where the share is less than one of those that are given, logarithms of distances are taken to
    lie on a line over the quantiles of a normal distribution, through the first and another one.
    """
    ascending, n = np.sort(distances, axis=1), distances.shape[1]
    if share >= 0.5 / n or n <= FAR_RANK:
        return ascending[:, min(math.ceil(share * n), n) - 1, None]
    nearest, far = ascending[:, 0, None], ascending[:, FAR_RANK - 1, None]
    growth = float(np.median(far[nearest > 0] / nearest[nearest > 0])) if nearest.any() else 1.0
    quantile = statistics.NormalDist().inv_cdf
    first, second, wanted = quantile(0.5 / n), quantile((FAR_RANK - 0.5) / n), quantile(share)
    return nearest * growth ** ((wanted - first) / (second - first))


def distances_between(X, Y, metric, n_threads):
    """Return L1 or L2 distances between rows of float32."""
    distances = np.empty((len(X), len(Y)), np.float32)
    fill_distances(X, Y, metric, distances, False, n_threads)
    return distances


def leading_directions(S, n_directions):
    """Return orthonormal rows near the first right singular vectors of S, about in order.

    By a range finder with a power iteration [1]_ that starts from some of the rows. What is not
    exact makes bounds looser, never wrong.

    References
    ----------
    .. [1] N. Halko, P. G. Martinsson, J. A. Tropp, "Finding structure with randomness", SIAM Review
       53 (2011), algorithm 4.3.
    """
    some = S[spread_out(len(S), n_directions, 0.5)]
    basis = (S.T @ (S @ some.T)).astype(np.float64)
    # For few long columns the eigenvectors of BᵀB take a fraction of a QR decomposition's time.
    values, vectors = np.linalg.eigh(basis.T @ basis)
    kept = values > values[-1] * 1e-12
    return (basis @ (vectors[:, kept] / np.sqrt(values[kept]))).T[::-1]


class Projections(_Bounds):
    """Rows projected on the directions that they vary along most, and the norms of the rest.

    Parameters
    ----------
    Y : Rows
    """

    FEWEST_FEATURES = 24
    metric = "l2"

    def design(self, X, k, radius, n_threads):
        """Choose directions and stages for queries like X; return whether there are any."""
        self.middle = 2.0 ** (self.costs.bits_of_codes - 1)
        room = int(MEMORY_SHARE * self.Y.n_features * self.Y.values.itemsize)
        d = self.Y.n_features
        most = QUICK_WIDTH if self.quick else WIDTHS[-1]
        most = min(most, max(WIDTHS[0], DIRECTION_VALUES // d), max(WIDTHS[0], room))
        most = min(most, d - 1, len(self.sample))
        directions = leading_directions(self.sample, most)
        if not len(directions):
            return False
        widths = [width for width in WIDTHS if width <= len(directions)] or [len(directions)]
        queries, samples, limits = self._tried(X, k, radius, n_threads)
        directions32 = directions.astype(np.float32)
        p, q = samples @ directions32.T, queries @ directions32.T
        rests = [np.square(rows).sum(axis=1) for rows in (samples, queries)]
        squares, start, bounds, units = 0.0, 0, [], []
        for width in widths:
            new = [np.ascontiguousarray(rows[:, start:width]) for rows in (p, q)]
            squares = squares + np.square(distances_between(*new[::-1], "l2", 1))
            rests = [
                np.maximum(rest - np.square(rows).sum(axis=1), 0.0)
                for rest, rows in zip(rests, new, strict=True)
            ]
            rest = np.sqrt(rests[1])[:, None] - np.sqrt(rests[0])
            bounds.append(np.sqrt(squares + np.square(rest)))
            deviation = float(np.sqrt(np.square(p[:, :width]).mean()))
            units.append(CODED_DEVIATIONS / (self.middle - 1.0) * deviation)
            start = width

        candidates, costs = [], self.costs
        for width, bound, unit in zip(widths, bounds, units, strict=True):
            # Rounding takes a twelfth of a unit's square away, of each number of both rows.
            error = 2.0 * unit * math.sqrt((width + 1) / 12)
            candidates.append(
                Candidate(
                    n_codes=width + 1,
                    row_cost=d
                    * (self.costs.encoded_feature["l2"] + width * self.costs.projected_feature),
                    left=self._left(bound, limits + error),
                    finer_bytes=4 * (width + 1),
                    finer_cost=(width + 1) * costs.row_feature[4],
                    finer_left=self._left(bound, limits),
                )
            )
        chosen = self._choose(candidates, X, 0 if radius is not None else k)
        if not chosen or not 0.0 < units[chosen[0]] < np.inf:
            return False
        widths, unit = [widths[i] for i in chosen], units[chosen[0]]
        self._turn(directions, widths)
        units = np.array([unit, 1.0][: len(widths)])
        rest_center = float(np.sqrt(self._rest(samples, widths[0])).mean())
        self.units = (units / self.scale).tolist()
        self.encoder = ProjectionEncoder(
            self.center, self.scale, units, self.directions, np.array(widths, np.intp), rest_center,
            self.middle,
        )  # fmt: skip
        return True

    def _turn(self, directions, widths):
        """Keep the directions of the stages, turned within each."""
        rng, start, turned = np.random.default_rng(0), 0, []
        for width in widths:
            turn = np.linalg.qr(rng.standard_normal((width - start, width - start)))[0]
            turned.append(turn @ directions[start:width])
            start = width
        self.directions = np.ascontiguousarray(np.vstack(turned), np.float32)
        Q = self.directions.astype(np.float64)
        self.size = 1.001 * float(np.linalg.norm(Q))
        self.delta = float(np.linalg.norm(Q @ Q.T - np.eye(len(Q)))) + Q.shape[1] * 2.0**-50

    def _rest(self, rows, width):
        projected = rows @ self.directions[:width].T
        return np.maximum(np.square(rows).sum(axis=1) - np.square(projected).sum(axis=1), 0.0)

    def _margins(self, stage, norms, held):
        n, u = TERMS_PER_PRODUCT + 8, 2.0**-24
        e = (n * u / (1.0 - n * u) * self.size + self.delta) * norms
        squares, f = np.square(norms), (self.Y.n_features + 10) * 2.0**-53
        g = 2.0 * f * squares + 2.0 * e * np.sqrt(held) + e * e + 2.0**-400
        rest = np.sqrt(np.maximum(squares - held, 0.0))
        return e + g / np.maximum(rest, np.sqrt(g))


class GroupSums(_Bounds):
    """Sums of features that rise and fall together.

    Parameters are those of `Projections`.
    """

    FEWEST_FEATURES = 64
    metric = "l1"

    def design(self, X, k, radius, n_threads):
        """Choose groups and stages for queries like X; return whether there are any."""
        directions = leading_directions(self.sample, LOADINGS).astype(np.float32)
        # Features are near each other if the sample has them rise and fall together.
        places = directions.T * np.linalg.norm(self.sample @ directions.T, axis=0)
        least = QUICK_GROUP if self.quick else 0
        order, starts = group_features(places, [size for size in GROUP_SIZES if size >= least])
        queries, samples, limits = self._tried(X, k, radius, n_threads)
        # Of all rows, feature by feature.
        both = np.ascontiguousarray(np.concatenate([queries, samples]).T)[order]
        bounds, units = [], []
        for of_groups in starts:
            sums = np.ascontiguousarray(np.add.reduceat(both, of_groups[:-1], axis=0).T)
            q, p = np.split(sums, [len(queries)])
            units.append(CODED_DEVIATIONS / 127 * float(np.sqrt(np.square(p).mean())))
            bounds.append(distances_between(q, p, "l1", n_threads))

        candidates = []
        for of_groups, bound, unit in zip(starts, bounds, units, strict=True):
            # Rounding takes a quarter of a unit away, of each number of both rows.
            n_codes = len(of_groups) - 1
            left = self._left(bound, limits + 0.5 * unit * n_codes)
            row_cost = self.Y.n_features * self.costs.encoded_feature["l1"]
            finer_cost = n_codes * self.costs.row_feature[1]
            candidates.append(Candidate(n_codes, row_cost, left, n_codes, finer_cost, left))
        chosen = self._choose(candidates, X, 0 if radius is not None else k)
        starts, units = [starts[i] for i in chosen], [units[i] for i in chosen]
        if not chosen or not 0.0 < min(units) <= max(units) < np.inf:
            return False
        self.largest_group = max(int(np.diff(of_groups).max()) for of_groups in starts)
        self.units = [unit / self.scale for unit in units]
        self.encoder = GroupEncoder(self.center, self.scale, np.array(units), order, starts)
        return True

    def _margins(self, stage, norms, held):
        n, u = self.largest_group, 2.0**-24
        return n * u / (1.0 - n * u) * norms


def group_features(places, sizes):
    """Divide features into groups of up to so many that are near each other.

    In halves and these again, across the axis along which they vary most.

    Parameters
    ----------
    places : ndarray of shape (d, n_axes)
    sizes : sequence of int
        Descending.

    Returns
    -------
    order : ndarray of shape (d,), int64
        Features; those of a group are side by side.
    starts : list of ndarray of shape (n_groups + 1,), int64
        Of each size: where its groups start in that order, and where the last one ends.
    """
    d = len(places)
    order, starts, levels = np.arange(d), np.array([0]), []
    for size in sizes:
        while np.diff(starts, append=d).max() > size:
            order, starts = halved(places, order, starts)
        levels.append(np.append(starts, d))
    return order, levels


def halved(places, order, starts):
    """Return order and starts of the groups' halves."""
    sizes = np.diff(starts, append=len(places))
    group = np.repeat(np.arange(len(starts)), sizes)
    here = places[order]
    here -= (np.add.reduceat(here, starts, axis=0) / sizes[:, None])[group]
    # From a place of each group on, power iterations.
    axes = here[starts]
    for _ in range(AXIS_ITERATIONS):
        along = np.einsum("ij,ij->i", here, axes[group])
        axes = np.add.reduceat(here * along[:, None], starts, axis=0)
        axes /= np.maximum(np.sqrt(np.einsum("ij,ij->i", axes, axes)), 1e-30)[:, None]
    along = np.einsum("ij,ij->i", here, axes[group])
    order = order[np.lexsort((along, group))]
    return order, np.sort(np.concatenate([starts, (starts + (sizes + 1) // 2)[sizes > 1]]))
