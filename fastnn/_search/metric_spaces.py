"""Every metric in terms of the kernels' four: how they have the rows, and distances in its terms.

| metric                    | rows (see `_core/_rows`) | kernel's metric | distance |
|---------------------------|--------------------------|-----------------|----------|
| l1, l2, sqeuclidean,      | plain                    | the same        | the same |
| chebyshev                 |                          |                 |          |
| cosine                    | normalized               | sqeuclidean     | half     |
| minkowski, p=1, weights w | weighted                 | l1              | the same |
| minkowski, p=2, weights w | weighted                 | l2              | the same |
| correlation               | centered, normalized     | sqeuclidean     | half     |
| haversine                 | points on the unit sphere | l2             | its arc  |
| hamming, of 0 and 1       | bytes                    | l1              | divided by n |
| ip                        | plain                    | ip              | the negative |
| nan_euclidean             | see `_core/search/_missing` | nan_euclidean | the same |

Rows of zeros are at cosine distance 1 from all others, as in scikit-learn, and at 0 from each
other.
"""

import math
from dataclasses import dataclass, replace
from numbers import Real

import numpy as np
from sklearn.utils import gen_batches

from .. import _validation
from .._core._rows import Rows
from .protocol import NonFiniteError

KERNEL_METRICS = {
    "l1": "l1",
    "manhattan": "l1",
    "cityblock": "l1",
    "l2": "l2",
    "euclidean": "l2",
    "sqeuclidean": "sqeuclidean",
    "chebyshev": "chebyshev",
}


# That a mapping works on at a time: 2 MiB.
HELD_VALUES = 1 << 18

OTHER_METRICS = (
    "correlation",
    "cosine",
    "hamming",
    "haversine",
    "ip",
    "minkowski",
    "nan_euclidean",
)


def _centered(X):
    """Return rows less their means, scaled by powers of two; of constant rows nothing is left.

    Part by part, since each step makes a copy.
    """
    centered = np.empty(X.shape)
    for part in gen_batches(len(X), max(1, HELD_VALUES // X.shape[1])):
        rows = X[part].astype(np.float64)
        low, high = rows.min(axis=1, keepdims=True), rows.max(axis=1, keepdims=True)
        exponents = np.frexp(np.maximum(np.abs(low), np.abs(high)))[1]
        # In two steps: the power itself may be beyond float64.
        rows = np.ldexp(np.ldexp(rows, -(exponents // 2)), exponents // 2 - exponents)
        centered[part] = np.where(low == high, 0.0, rows - rows.mean(axis=1, keepdims=True))
    return centered


def _on_the_sphere(angles):
    latitude, longitude = angles.astype(np.float64, copy=False).T
    around = np.cos(latitude)
    points = around * np.cos(longitude), around * np.sin(longitude), np.sin(latitude)
    return np.stack(points, axis=1)


def are_bits(X):
    """Whether all values are 0 or 1."""
    if X.dtype == np.uint8:
        return X.max() <= 1
    return ((X == 0) | (X == 1)).all()


def may_be_bits(X):
    """Whether these are zeros and ones, or nothing, or no numbers, which others refuse."""
    values = np.asarray([] if X is None else X)
    return values.dtype.kind not in "biuf" or not values.size or bool(are_bits(values))


def _as_bits(X):
    if not are_bits(X):
        raise NonFiniteError  # the caller finds out what is wrong
    return X.astype(np.uint8, copy=False)


# Of rows as they are given.
MAPPINGS = {"bits": _as_bits, "centered": _centered, "sphere": _on_the_sphere}


@dataclass(frozen=True)
class MetricSpace:
    """Where the kernels search on behalf of a metric.

    Attributes
    ----------
    kernel : {"l1", "l2", "sqeuclidean", "chebyshev", "ip", "nan_euclidean"}
        That of "ip" is minus the inner product, so that the largest comes first.
    normalized : bool
        Rows are divided by their norms (cosine).
    weights : ndarray of shape (n_features,), float64, optional
        Of the features, in the sums.
    mapping : {"", "bits", "centered", "sphere"}
        What is done to rows first: zeros and ones become bytes (hamming), or, in float64, their
        mean is taken away (correlation), or latitude and longitude become a point of the unit
        sphere (haversine).
    n_features : int, optional
        Of the rows, where distances depend on it (hamming): see `of_rows`.
    periods : ndarray of shape (n_features,), float64, optional
        Features are on circles of these lengths, on lines where it is infinity: of plain float64
        rows from 0 to there. Trees alone serve there.
    """

    kernel: str
    normalized: bool = False
    weights: np.ndarray | None = None
    mapping: str = ""
    periods: np.ndarray | None = None
    n_features: int | None = None

    @property
    def is_plain(self):
        """Whether the kernels see the very values."""
        return not self.normalized and self.weights is None and not self.mapping

    @property
    def allows_nan(self):
        """Whether NaN stands for a value that is missing. Brute force alone serves there."""
        return self.kernel == "nan_euclidean"

    @property
    def largest_first(self):
        """Whether what is given is not a distance, but larger for what is nearer."""
        return self.kernel == "ip"

    @property
    def for_brute_force(self):
        """Whether brute force alone serves."""
        return self.allows_nan or self.largest_first

    @property
    def max_distance(self):
        """Where the kernels' distances end."""
        return 4.0 if self.normalized else math.inf

    def of_rows(self, X):
        """Return the space for rows like these."""
        return replace(self, n_features=X.shape[1]) if self.mapping == "bits" else self

    def accepts(self, X):
        """Whether these are values that the metric is served for here."""
        return self.mapping != "bits" or bool(are_bits(X))

    def fits(self, n_features):
        """Whether there is a weight for each feature, if there are weights; or two angles."""
        if self.mapping == "sphere":
            return n_features == 2
        return self.weights is None or self.weights.shape == (n_features,)

    def require_fit(self, n_features):
        """Raise a ValueError unless `fits`."""
        if self.mapping == "sphere" and n_features != 2:
            raise ValueError(
                f"metric 'haversine' takes 2 features, latitude and longitude, got {n_features}"
            )
        if not self.fits(n_features):
            raise ValueError(
                f"w must have one weight per feature, got {self.weights.size} for {n_features}"
            )

    def require_valid(self, X, name, first_row=0):
        """Raise a ValueError if X has infinity or, where it stands for nothing, NaN.

        And for values that the metric is not served for.
        """
        if not self.accepts(X):
            row, feature = np.argwhere((X != 0) & (X != 1))[0]
            raise ValueError(
                f"{name} must have zeros and ones for metric 'hamming', got {X[row, feature]:g} in "
                f"row {first_row + row}, feature {feature}"
            )
        _validation.require_finite(X, name, first_row, self.allows_nan)

    def rows(self, X, n_threads=1):
        """Return rows that have passed the border as the kernels take them.

        Without a copy, unless there is a mapping.
        """
        if self.mapping:
            # Infinity and NaN are for the search to find.
            with np.errstate(invalid="ignore", over="ignore"):
                X = MAPPINGS[self.mapping](X)
        return Rows(X, self.normalized, self.weights, self.kernel, n_threads)

    def is_same(self, other):
        """Whether rows and distances are transformed in the same way."""
        return (self.kernel, self.normalized, self.mapping) == (
            other.kernel,
            other.normalized,
            other.mapping,
        ) and np.array_equal(self.weights, other.weights)

    def distances(self, found):
        """Return the metric's distances for the kernels', or the reverse of "ip".

        May write to `found`.
        """
        if self.largest_first:
            return np.subtract(0.0, found, out=found)
        if self.mapping == "bits":
            return np.divide(found, self.n_features, out=found)
        if self.mapping == "sphere":
            np.multiply(found, 0.5, out=found)
            np.arcsin(np.minimum(found, 1.0, out=found), out=found)
            return np.multiply(found, 2.0, out=found)
        if not self.normalized:
            return found
        # Norms are rounded, so that tiles may give a little more than 2 for opposite rows.
        return np.minimum(np.multiply(found, 0.5, out=found), 2.0, out=found)

    def radius(self, radius):
        """Return the kernels' distance for one of the metric; for arcs, one that is safe."""
        if self.largest_first:
            return -radius
        if self.mapping == "bits":
            return _count_within(radius, self.n_features)
        if self.mapping == "sphere":
            return 2.0 * math.sin(0.5 * radius) * (1.0 + 2.0**-48) if radius < 3.14 else np.inf
        if self.normalized:
            return 2.0 * radius if radius < 2.0 else np.inf
        return radius


def _count_within(share, n):
    """Return the largest count that is at most this share of n, as division rounds."""
    if not 0.0 <= share < 1.0:
        return -1.0 if share < 0.0 else math.inf
    count = math.floor(share * n)
    while (count + 1) / n <= share:
        count += 1
    while count / n > share:
        count -= 1
    return float(count)


def space_of(metric, /, **parameters):
    """Return the metric's space, or the reason (a str) why the kernels have none.

    Parameters
    ----------
    metric : str, callable or object
        A name that scikit-learn knows.
    **parameters
        scikit-learn's `metric_params`: p and w for "minkowski".
    """
    if not isinstance(metric, str):
        called = getattr(metric, "__qualname__", type(metric).__qualname__)
        return f"metric {called} is not a name"
    if metric == "minkowski":
        return _minkowski_space(**parameters)
    parameters = {key: value for key, value in parameters.items() if value is not None}
    if parameters:
        return f"metric {metric!r} with parameters {sorted(parameters)}"
    if metric in KERNEL_METRICS:
        return MetricSpace(KERNEL_METRICS[metric])
    if metric == "cosine":
        return MetricSpace("sqeuclidean", normalized=True)
    if metric in ("ip", "nan_euclidean"):
        return MetricSpace(metric)
    if metric == "hamming":
        return MetricSpace("l1", mapping="bits")
    if metric == "correlation":
        return MetricSpace("sqeuclidean", normalized=True, mapping="centered")
    if metric == "haversine":
        return MetricSpace("l2", mapping="sphere")
    return f"metric {metric!r}"


def _minkowski_space(p=2, w=None, **others):
    if others or not isinstance(p, Real) or p not in (1, 2, np.inf):
        return f"metric 'minkowski' with p={p}" + "".join(f", {name}" for name in others)
    kernel = {1: "l1", 2: "l2", np.inf: "chebyshev"}[p]
    if w is None:
        return MetricSpace(kernel)
    w = np.asarray(w)
    if p == np.inf or w.ndim != 1 or w.dtype.kind not in "biuf":
        return f"metric 'minkowski' with p={p} and such weights"
    w = w.astype(np.float64)
    if not (np.isfinite(w).all() and (w >= 0.0).all()):
        return "metric 'minkowski' with weights that are negative or not finite"
    return MetricSpace(kernel, weights=np.ascontiguousarray(w))


def metric_parameters(metric, p, metric_params):
    """Return a metric's parameters where `p`, as in scikit-learn, is that of "minkowski"."""
    if not isinstance(metric_params, (dict, type(None))):
        raise TypeError(f"metric_params must be a dict, got {type(metric_params).__name__}")
    parameters = dict(metric_params or {})
    return {"p": p, **parameters} if metric == "minkowski" else parameters


def check_space(metric, /, **parameters):
    """Return the space of a metric by name, for functions without a fallback.

    Raises
    ------
    TypeError, ValueError
        If `metric` is not a string, or not one that the kernels serve.
    """
    if not isinstance(metric, str):
        raise TypeError(f"metric must be a string, got {type(metric).__name__}")
    space = space_of(metric, **parameters)
    if not isinstance(space, str):
        return space
    names = sorted([*KERNEL_METRICS, *OTHER_METRICS])
    if metric == "minkowski":
        raise ValueError(
            "metric 'minkowski' must have p = 1, 2 or infinity and, with 1 and 2, finite weights w "
            f"of at least 0, got {space}"
        )
    if metric in names:
        raise ValueError(f"metric {metric!r} takes no parameters, got {space}")
    raise ValueError(f"metric must be one of {names}, got {metric!r}")


def check_pair(X, Y, metric, /, **parameters):
    """Return (X, Y, space): rows that have passed the border; one array where X is Y."""
    space = check_space(metric, **parameters)
    same = Y is X
    X, Y = _validation.check_pair(X, Y)
    space.require_fit(X.shape[1])
    return X, X if same else Y, space
