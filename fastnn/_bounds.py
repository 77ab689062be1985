"""Lower bounds on distances: a few numbers for each row, whose distances never exceed the rows'.

Two kinds, which `_core/_bounded.pyx` searches with; its docstring says how a limit on distances
becomes one on bounds.

**Projections, for L2.** Let P be m orthonormal directions, z = x - c, and r(x) the norm of what P
leaves of z. Splitting z into P z and the rest, and with | |a| - |b| | <= |a - b| for the rests,

    |P z(x) - P z(y)|² + (r(x) - r(y))² <= |x - y|²,

which is the squared L2 distance of the bounding rows (P z, r), m + 1 numbers. Directions that the
data vary along most make bounds that are tight.

What is stored differs. With u the unit roundoff of the products (2^-24, or 2^-53 for float64 rows),
gamma_n = n u / (1 - n u), Q the directions as stored, delta >= |Q Q^T - 1| and s >= the spectral
norm of Q's magnitudes, the nearest matrix with orthonormal rows is within delta of Q [singular
values: |v - 1| <= |v² - 1|], and

    e = s gamma_n (1 + delta) (|z| + 2 |c|) + delta |z| + 2^-23 |Q z| + 2^-50 (|z| + 2 |c|)

bounds |stored Q z - P z|: `LinearModel` computes Q x and Q c apart; each lane adds up at most n - 8
of their terms, and float64 the lanes, so that component i errs by at most gamma_n times the sum
over j of |Q_ij| (|x_j| + |c_j|) [Higham, section 3.1]; the last terms are the rounding to
float32, and that of weighted rows, which are multiplied by the roots of the weights first.
|z|² comes with a relative error of f, so r² = |z|² - |Q z|² is known to within
g = f |z|² + 2 e |Q z| + e², and r, since |a - b| = |a² - b²| / (a + b), to within
g / max(r, sqrt(g)). The margin is e plus that, plus the rounding of r, with 1 % on top for the
rounding of the margin itself, and FLOOR times the largest |z| for underflow of products; that of
squares, stored as float32, adds 2^-140 to g.

**Sums of groups of features, for L1.** By the triangle inequality

    sum over the groups g of |sum over g of (x_j - y_j)| <= sum over j of |x_j - y_j|,

the L1 distance of the rows of sums. Groups of features that rise and fall together are tight. Sums
are stored in units, as whole numbers of 8 bits: floor((sum - center) / unit), cut off at both ends.
Cutting brings no two numbers further apart, and floor by less than 1. So the distance of the codes,
times the unit, exceeds that of the sums by at most a unit for each group, which is the samples'
margin; the sums themselves, in float64 of at most d terms, add (d + 8) 2^-53 (|x|_1 + |centers|_1)
to either row's.
"""

import functools

import numpy as np
from threadpoolctl import ThreadpoolController

from ._core._bounded import sum_groups
from ._core._index import FlatIndex
from ._core._linear import LinearModel
from ._core._pairwise import fill_distances
from ._core._rows import Rows
from ._core._threads import RenewedLock

__all__ = ["bounds_for"]

# Held while BLAS is limited, as threads that do so at once would restore each other's limit.
limiting = RenewedLock()

# Rows that directions and groups are taken from.
SAMPLE_ROWS = 1024
# Rows that are moved at a time.
MOVED_ROWS = 4096
# More make tighter bounds and take longer to compare.
MOST_DIRECTIONS = 64
# Where the rows themselves take so many times as much, pairs that are left meet finer bounds first.
FINER_DIRECTIONS = 128
FINER_BYTES_RATIO = 8
POWER_ITERATIONS = 1
FEATURES_PER_GROUP = 8
# What features are placed by when they are grouped.
LOADINGS = 16
# Codes reach so many standard deviations to both sides.
CODED_DEVIATIONS = 2.5
# The largest norm is between these, so that nothing overflows, and what underflow may do is far
# below FLOOR of it.
NORMS = (2.0**-60, 2.0**60)
FLOOR = 2.0**-60


def bounds_for(Y, metric, n_threads, finer=True):
    """Return bounds for the rows of Y, or None where there are none that could serve.

    Parameters
    ----------
    Y : Rows, or ndarray of shape (n, d), float32, float64 or uint8
        C-contiguous.
    metric : {"l1", "l2", "sqeuclidean", "chebyshev"}
    n_threads : int
    finer : bool
        With a second stage, where it pays.
    """
    Y = as_rows(Y)
    kind = {"l1": GroupSums, "l2": Projections, "sqeuclidean": Projections}.get(metric)
    if kind is None or Y.n_features < kind.FEWEST_FEATURES:
        return None
    # Products are small here. BLAS's other threads would wait for more of them on the cores that
    # the search needs: OpenBLAS's do for 0.1 s.
    with np.errstate(all="ignore"), limiting, libraries().limit(limits=1, user_api="blas"):
        bounds = kind(Y, n_threads, finer)
    if bounds.rows is None:
        return None
    bounds.index = FlatIndex(bounds.rows, bounds.metric)
    return bounds


@functools.cache
def libraries():
    """Return what limits the threads of loaded libraries; to look for these takes 7 ms."""
    return ThreadpoolController()


def as_rows(X):
    return X if isinstance(X, Rows) else Rows(X)


def sampled_rows(Y):
    """Return some rows, and their mean as float64."""
    step = max(1, len(Y) // SAMPLE_ROWS)
    rows = Y.moved_values(slice(0, step * SAMPLE_ROWS, step))
    return rows, rows.mean(axis=0, dtype=np.float64)


def centered(rows, center):
    """Return rows - center as float32; the difference is taken in the rows' own precision."""
    own = np.float64 if rows.dtype == np.float64 else np.float32
    return (rows.astype(own, copy=False) - center.astype(own)).astype(np.float32, copy=False)


class _Bounds:
    """What both kinds share: rows that a metric moves are moved a chunk at a time."""

    def move(self, X, n_threads):
        """Return [(bounding rows, margins) of each stage], or None where values are too large."""
        X = as_rows(X)
        if not X.moved:
            return self._move(X.values, n_threads)
        parts = []
        for start in range(0, len(X), MOVED_ROWS):
            rows = X.moved_values(slice(start, start + MOVED_ROWS))
            parts.append(self._move(rows, n_threads))
            if parts[-1] is None:
                return None
        return [
            tuple(np.concatenate(array) for array in zip(*stage, strict=True))
            for stage in zip(*parts, strict=True)
        ]

    def _hold(self, Y, n_threads):
        """Keep what belongs to the samples."""
        moved = self.move(Y, n_threads)
        if moved is not None:
            (self.rows, margins), *finer = moved
            self.margin = float(margins.max())
            self.finer = [(rows, float(margins.max())) for rows, margins in finer]


def leading_directions(S, n_directions):
    """Return orthonormal rows near the first right singular vectors of S, in order, as float64.

    By a randomized range finder with power iterations [1]_. What is not exact makes bounds looser,
    never wrong.

    References
    ----------
    .. [1] N. Halko, P. G. Martinsson, J. A. Tropp, "Finding structure with randomness", SIAM Review
       53 (2011), algorithm 4.4.
    """
    rng = np.random.default_rng(0)
    basis = S.T @ rng.standard_normal((len(S), n_directions), dtype=S.dtype)
    for _ in range(POWER_ITERATIONS):
        basis = S.T @ (S @ orthonormal_columns(basis))
    basis = orthonormal_columns(orthonormal_columns(basis.astype(np.float64)))
    projected = (S @ basis.astype(S.dtype)).astype(np.float64)
    vectors = np.linalg.eigh(projected.T @ projected)[1]
    return (basis @ vectors[:, ::-1]).T


def orthonormal_columns(B):
    """Return nearly orthonormal columns that span those of B, by the eigenvectors of BᵀB.

    For few long columns this takes a fraction of a QR decomposition's time; done twice, it is as
    exact. How exact it is, the bounds' margins count in.
    """
    values, vectors = np.linalg.eigh(B.T @ B)
    kept = values > values[-1] * np.finfo(B.dtype).eps
    return B @ (vectors[:, kept] / np.sqrt(values[kept]))


class Projections(_Bounds):
    """Rows projected on the directions that they vary along most, and the norms of the rest.

    Parameters
    ----------
    Y : Rows
    n_threads : int

    Attributes
    ----------
    metric : str
        In which the bounding rows are compared.
    unit : float
        What a distance of 1 between bounding rows stands for.
    rows : ndarray of shape (n, m + 1), float32, or None
        None where values are too large.
    margin : float
        The largest error of a row.
    finer : list of (rows, margin)
        Of the second stage, if there is one: the same with more directions.
    """

    FEWEST_FEATURES = 24
    metric = "l2"
    unit = 1.0

    def __init__(self, Y, n_threads, finer=True):
        S, center = sampled_rows(Y)
        dtype = np.dtype(np.float64) if Y.moved else Y.values.dtype
        self.center = (np.rint(center) if dtype == np.uint8 else center).astype(dtype)
        S = centered(S, self.center)
        self.rows, self.margin, self.finer, self.largest = None, np.inf, [], 0.0
        scale = np.abs(S).max()
        if not (np.isfinite(scale) and scale > 0):
            return
        S /= scale
        self.widths = [min(MOST_DIRECTIONS, Y.n_features // 4, *S.shape)]
        finer_bytes = 4 * (FINER_DIRECTIONS + 1)
        if finer and FINER_BYTES_RATIO * finer_bytes <= Y.n_features * dtype.itemsize:
            self.widths.append(min(FINER_DIRECTIONS, *S.shape))
        dtype = np.float64 if dtype == np.float64 else np.float32
        self.directions = np.ascontiguousarray(leading_directions(S, self.widths[-1]), dtype)
        Q = self.directions.astype(np.float64)
        self.delta = np.linalg.norm(Q @ Q.T - np.eye(len(Q))) + Y.n_features * 2.0**-50
        magnitudes = np.abs(Q)
        self.spread = 1.001 * np.sqrt(np.linalg.eigvalsh(magnitudes @ magnitudes.T)[-1])
        self._hold(Y, n_threads)

    def _move(self, X, n_threads):
        center = self.center.astype(np.float64)
        m, d = self.directions.shape
        model = LinearModel(X, m, mean=center, scale=np.ones(d), n_threads=n_threads)
        model.set_weights(self.directions, np.zeros(m))
        projected = model.scores()
        distances = np.empty((1, len(X)), np.float32 if X.dtype == np.float32 else np.float64)
        fill_distances(
            self.center[None], X, "sqeuclidean", distances, False, n_threads, None, 1.0, False
        )
        distances = distances[0].astype(np.float64)
        self.largest = max(self.largest, float(np.sqrt(distances.max())))
        if not NORMS[0] < self.largest < NORMS[1]:
            return None
        n = min(d, model.terms_per_sum()) + 8
        stages = [self._stage(projected[:, :width], distances, X.dtype, n) for width in self.widths]
        return stages if all(np.isfinite(margins).all() for _, margins in stages) else None

    def _stage(self, projected, distances, dtype, n):
        """Return bounding rows and margins: see the module's docstring."""
        m, d = projected.shape[1], self.directions.shape[1]
        rows = np.empty((len(projected), m + 1), np.float32)
        rows[:, :m] = projected
        stored = rows[:, :m].astype(np.float64)
        squares = np.einsum("ij,ij->i", stored, stored)
        with np.errstate(all="ignore"):
            norms, projected_norms = np.sqrt(distances), np.sqrt(squares)
            u = 2.0**-53 if dtype == np.float64 else 2.0**-24
            gamma = n * u / (1.0 - n * u)
            size = norms + 2.0 * np.sqrt(np.square(self.center.astype(np.float64)).sum())
            e = (
                self.spread * gamma * (1.0 + self.delta) * size
                + self.delta * norms
                + 2.0**-23 * projected_norms
                + 2.0**-50 * size
            )
            f = (d + 8) * 2.0**-53 + (2.0**-23 if dtype == np.float32 else 0.0)
            g = f * distances + 2.0 * e * projected_norms + e * e + 2.0**-140
            rest = np.sqrt(np.maximum(distances - squares, 0.0))
            of_rest = g / np.maximum(rest, np.sqrt(g))
            margins = 1.01 * (e + of_rest + 2.0**-23 * rest) + FLOOR * self.largest
        rows[:, m] = rest
        return rows, margins


class GroupSums(_Bounds):
    """Sums of features that rise and fall together.

    Parameters, attributes and methods are those of `Projections`.
    """

    FEWEST_FEATURES = 64
    metric = "l1"

    def __init__(self, Y, n_threads, finer=True):
        S, mean = sampled_rows(Y)
        S = centered(S, mean)
        self.rows, self.margin, self.finer = None, np.inf, []
        scale = np.abs(S).max()
        if not (np.isfinite(scale) and scale > 0):
            return
        directions = leading_directions(S / scale, min(LOADINGS, *S.shape)).astype(np.float32)
        # Features are near each other if the sample has them rise and fall together.
        self.groups = group_features(directions.T * np.linalg.norm(S @ directions.T, axis=0))
        n_groups = int(self.groups.max()) + 1
        # Of the sample, around zero.
        sums = S @ (self.groups[:, None] == np.arange(n_groups)).astype(np.float32)
        self.centers = np.bincount(self.groups, mean, n_groups)
        self.unit = float(CODED_DEVIATIONS * sums.std() / 127)
        if not (np.isfinite(self.unit) and self.unit > 0):
            return
        self._hold(Y, n_threads)
        self.margin += 1.01 * n_groups * self.unit

    def _move(self, X, n_threads):
        rows = np.empty((len(X), len(self.centers)), np.uint8)
        sizes = np.empty(len(X))
        sum_groups(X, self.groups, self.centers, self.unit, rows, sizes, n_threads)
        sizes += np.abs(self.centers).sum()
        margins = 1.01 * (X.shape[1] + 8) * 2.0**-53 * sizes
        return [(rows, margins)] if np.isfinite(margins).all() else None


def group_features(places):
    """Divide features into groups of up to FEATURES_PER_GROUP that are near each other.

    As a k-d tree divides points: in halves, across the axis along which they differ most.

    Parameters
    ----------
    places : ndarray of shape (d, n_axes)

    Returns
    -------
    ndarray of shape (d,), int64
        Each feature's group.
    """
    order, starts = np.arange(len(places)), np.array([0])
    while True:
        sizes = np.diff(starts, append=len(places))
        part = np.repeat(np.arange(len(starts)), sizes)
        if sizes.max() <= FEATURES_PER_GROUP:
            break
        here = places[order]
        widths = np.maximum.reduceat(here, starts) - np.minimum.reduceat(here, starts)
        along = here[np.arange(len(order)), widths.argmax(axis=1)[part]]
        order = order[np.lexsort((along, part))]
        starts = np.sort(np.concatenate([starts, (starts + (sizes + 1) // 2)[sizes > 1]]))
    groups = np.empty(len(places), np.int64)
    groups[order] = part
    return groups
