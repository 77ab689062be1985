"""Every metric in terms of the kernels' four: rows moved there, distances moved back.

| metric                    | rows             | kernel's metric | distance |
|---------------------------|------------------|-----------------|----------|
| l1, l2, sqeuclidean,      | as they are      | the same        | the same |
| chebyshev                 |                  |                 |          |
| cosine                    | x / |x|          | sqeuclidean     | half     |
| minkowski, p=1, weights w | w x              | l1              | the same |
| minkowski, p=2, weights w | sqrt(w) x        | l2              | the same |

Rows are moved in float64, and the neighbors are those of the moved rows, exactly.
"""

from dataclasses import dataclass

import numpy as np

from . import _validation

KERNEL_METRICS = {
    "l1": "l1",
    "manhattan": "l1",
    "cityblock": "l1",
    "l2": "l2",
    "euclidean": "l2",
    "sqeuclidean": "sqeuclidean",
    "chebyshev": "chebyshev",
}


@dataclass(frozen=True)
class MetricSpace:
    """Where the kernels search on behalf of a metric.

    Attributes
    ----------
    kernel : {"l1", "l2", "sqeuclidean", "chebyshev"}
    unit : bool
        Rows are divided by their norms (cosine).
    factors : ndarray of shape (n_features,), optional
        What features are multiplied by.
    """

    kernel: str
    unit: bool = False
    factors: np.ndarray | None = None

    def move(self, X):
        """Return rows that have passed the border as the kernels' rows; as they are if possible."""
        if self.unit:
            return unit_rows(X)
        return X if self.factors is None else X * self.factors

    def is_same(self, other):
        """Whether rows and distances are moved in the same way."""
        return (self.kernel, self.unit) == (other.kernel, other.unit) and np.array_equal(
            self.factors, other.factors
        )

    def distances(self, found):
        """Return the metric's distances for the kernels'; may write to `found`."""
        if not self.unit:
            return found
        # Norms are rounded, so opposite rows may come out a little beyond 2.
        return np.minimum(np.multiply(found, 0.5, out=found), 2.0, out=found)

    def radius(self, radius):
        """Return the kernels' distance for one of the metric."""
        if self.unit:
            return 2.0 * radius if radius < 2.0 else np.inf
        return radius


def space_of(metric, **parameters):
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
        return MetricSpace("sqeuclidean", unit=True)
    return f"metric {metric!r}"


def _minkowski_space(p=2, w=None, **others):
    if others or p not in (1, 2, np.inf):
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
    return MetricSpace(kernel, factors=w if p == 1 else np.sqrt(w))


def unit_rows(X):
    """Divide rows by their norms, in float64, whatever their size.

    Half the squared L2 distance of such rows is the cosine distance. A column is added that is 1
    for rows of zeros and 0 for others: so rows of zeros are at distance 1 from all other rows, as
    in scikit-learn, and at distance 0 from each other.

    Parameters
    ----------
    X : ndarray of shape (n, d)

    Returns
    -------
    ndarray of shape (n, d + 1), float64
    """
    units = np.zeros((X.shape[0], X.shape[1] + 1))
    rows = units[:, :-1]
    rows[:] = X
    largest = np.abs(rows).max(axis=1, keepdims=True)
    # A power of two is an exact factor, and keeps squares in range.
    np.ldexp(rows, -np.frexp(largest)[1], out=rows, where=np.isfinite(largest))
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
    with np.errstate(invalid="ignore"):
        np.divide(rows, norms, out=rows, where=norms != 0.0)
    units[:, -1] = norms[:, 0] == 0.0
    return units


def check_space(metric, **parameters):
    """Return the space of a metric by name, for functions without a fallback.

    Raises
    ------
    TypeError, ValueError
        If `metric` is not a string, or not one that the kernels serve.
    """
    if not isinstance(metric, str):
        raise TypeError(f"metric must be a string, got {type(metric).__name__}")
    space = space_of(metric, **parameters)
    if isinstance(space, str):
        names = sorted([*KERNEL_METRICS, "cosine", "minkowski"])
        raise ValueError(f"metric must be one of {names}, got {metric!r}")
    return space


def check_moved_pair(X, Y, metric, **parameters):
    """Return (rows of X, rows of Y, space), checked and moved; one array where X is Y."""
    space = check_space(metric, **parameters)
    same = Y is X
    X, Y = _validation.check_pair(X, Y)
    if space.factors is not None and space.factors.shape != X.shape[1:]:
        raise ValueError(
            f"w must have one weight per feature, got {space.factors.size} for {X.shape[1]}"
        )
    if space.unit or space.factors is not None:
        _validation.require_finite(X, "X")
        _validation.require_finite(Y, "Y")
        moved = space.move(X)
        return moved, moved if same else space.move(Y), space
    return X, X if same else Y, space
