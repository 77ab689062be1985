"""What stands in the place of scikit-learn's methods and functions, and how it gets there."""

import contextlib
import functools
import sys

import numpy as np
from sklearn.impute import KNNImputer
from sklearn.metrics import pairwise
from sklearn.neighbors import (
    KNeighborsClassifier,
    KNeighborsRegressor,
    RadiusNeighborsClassifier,
    RadiusNeighborsRegressor,
)

from .. import _validation, metrics
from .._observation import observe
from .._sklearn.imputation import transform as impute
from .._sklearn.kd_tree import KDTree, ScikitLearnsKDTree
from .._sklearn.originals import ORIGINALS
from .._sklearn.private import (
    KNeighborsMixin,
    NeighborsBase,
    RadiusNeighborsMixin,
    wrap_method_output,
)
from .._sklearn.searches import (
    fit_neighbors,
    kneighbors,
    kneighbors_graph,
    radius_neighbors,
    radius_neighbors_graph,
)
from .._sklearn.votes import (
    predict,
    predict_proba,
    radius_predict_proba,
    radius_regressor_predict,
    regressor_predict,
)

# By class and name of the method.
REPLACEMENTS = {
    (NeighborsBase, "_fit"): fit_neighbors,
    (KNeighborsMixin, "kneighbors"): kneighbors,
    (KNeighborsMixin, "kneighbors_graph"): kneighbors_graph,
    (RadiusNeighborsMixin, "radius_neighbors"): radius_neighbors,
    (RadiusNeighborsMixin, "radius_neighbors_graph"): radius_neighbors_graph,
    (KNeighborsClassifier, "predict"): predict,
    (KNeighborsClassifier, "predict_proba"): predict_proba,
    (KNeighborsRegressor, "predict"): regressor_predict,
    (RadiusNeighborsClassifier, "predict_proba"): radius_predict_proba,
    (RadiusNeighborsRegressor, "predict"): radius_regressor_predict,
    (KNNImputer, "transform"): wrap_method_output(impute, "transform"),
}

# scikit-learn's functions and what stands in for them, while anyone wants that.
_replaced_functions = {}


def replace():
    """Put ours in the place of scikit-learn's, if it is not there."""
    if _replaced_functions:
        return
    for (owner, name), replacement in REPLACEMENTS.items():
        # What others have put there is what they want.
        original = ORIGINALS[owner, name]
        if vars(owner)[name] is original and original.__module__.startswith("sklearn."):
            setattr(owner, name, replacement)
    _replaced_functions.update(
        (getattr(pairwise, name), replacement) for name, replacement in _function_replacements()
    )
    _exchange(_replaced_functions)
    _exchange_trees(ScikitLearnsKDTree, KDTree)


def restore():
    """Make scikit-learn what it was."""
    if not _replaced_functions:
        return
    for (owner, name), original in ORIGINALS.items():
        if vars(owner)[name] is REPLACEMENTS[owner, name]:
            setattr(owner, name, original)
    _exchange({ours: theirs for theirs, ours in _replaced_functions.items()})
    _exchange_trees(KDTree, ScikitLearnsKDTree)
    _replaced_functions.clear()


def _modules():
    """Return scikit-learn's modules by name."""
    return {
        name: module
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] == "sklearn"
    }


def _exchange_trees(before, after):
    """Replace a class of trees where scikit-learn's users and its other packages find it.

    Its own searches in trees, which know more of them, keep theirs.
    """
    for name, module in _modules().items():
        inside = name.startswith("sklearn.neighbors._")
        if not inside and vars(module).get("KDTree") is before:
            module.KDTree = after


def _exchange(functions):
    """Replace functions by others in all of scikit-learn's modules that hold them."""
    for module in _modules().values():
        for name, value in list(vars(module).items()):
            with contextlib.suppress(TypeError):  # values that cannot be hashed
                if value in functions:
                    setattr(module, name, functions[value])
    table = pairwise.PAIRWISE_DISTANCE_FUNCTIONS
    for name, value in table.items():
        with contextlib.suppress(TypeError):
            table[name] = functions.get(value, value)


# ---- functions -----------------------------------------------------------------------------------


def _are_plain(*arrays):
    """Whether the kernels take these arrays as they are. All else is scikit-learn's."""
    return all(map(_validation.is_native, arrays)) and len({X.shape[1] for X in arrays}) == 1


def _substitute(name, ours):
    """Return scikit-learn's function of that name, but with `ours` for plain arguments.

    `ours` returns NotImplemented for other arguments that it does not serve.
    """
    theirs = getattr(pairwise, name)

    @functools.wraps(theirs)
    def substitute(X, Y=None, *args, **kwargs):
        if not _replaced_functions:  # a program may have imported it in between
            return theirs(X, Y, *args, **kwargs)
        reason = "not plain numeric arrays"
        if _are_plain(*([X] if Y is None else [X, Y])):
            # Errors are scikit-learn's, too: those of NaN, for one.
            with contextlib.suppress(TypeError, ValueError):
                result = ours(X, Y, *args, **kwargs)
                if result is not NotImplemented:
                    return result
            reason = "a metric or parameters of scikit-learn's"
        with observe(name, reason):
            return theirs(X, Y, *args, **kwargs)

    return substitute


def _pairwise(X, Y=None, metric="euclidean", *, n_jobs=None, ensure_all_finite=True, **kwds):
    if ensure_all_finite is not True or not isinstance(metric, str):
        return NotImplemented
    entry = pairwise.PAIRWISE_DISTANCE_FUNCTIONS.get(metric)
    if entry is not None and entry not in _replaced_functions.values():  # a user's own
        return NotImplemented
    if metric in ("euclidean", "l2") and set(kwds) <= {"squared"}:
        return metrics.euclidean_distances(X, Y, n_jobs=n_jobs, **kwds)
    if metric == "nan_euclidean" and set(kwds) <= {"squared", "missing_values"}:
        return metrics.nan_euclidean_distances(X, Y, n_jobs=n_jobs, **kwds)
    if metrics.fallback_reason(X, Y, metric, kwds) is not None:
        return NotImplemented
    if metric == "cosine":
        narrow = X.dtype == np.float32 and (Y is None or Y.dtype == np.float32)
        if narrow and _is_a_large_product(X, Y):
            return NotImplemented
        distances = metrics.cosine_distances(X, Y, n_jobs=n_jobs)
        return distances.astype(np.float32 if narrow else np.float64, copy=False)
    # SciPy computes these for scikit-learn, in float64.
    X, Y = X.astype(np.float64, copy=False), None if Y is None else Y.astype(np.float64, copy=False)
    return metrics.pairwise_distances(X, Y, metric, n_jobs=n_jobs, **kwds)


def _is_a_large_product(X, Y):
    """Whether scikit-learn's cosine distances of float32, one unchecked product, are faster."""
    with_itself = Y is None or Y is X
    n_rows = len(X) if with_itself else min(len(X), len(Y))
    return n_rows >= 256 and X.shape[1] >= (768 if with_itself else 128)


def _euclidean(X, Y=None, *, Y_norm_squared=None, squared=False, X_norm_squared=None):
    if Y_norm_squared is not None or X_norm_squared is not None:
        return NotImplemented  # scikit-learn checks their shapes
    return metrics.euclidean_distances(X, Y, squared=squared)


def _manhattan(X, Y=None):
    return _pairwise(X, Y, "manhattan")


def _cosine(X, Y=None):
    return _pairwise(X, Y, "cosine")


def _nan_euclidean(X, Y=None, *, squared=False, missing_values=np.nan, copy=True):
    if not isinstance(missing_values, float):
        return NotImplemented
    return metrics.nan_euclidean_distances(X, Y, squared=squared, missing_values=missing_values)


def _argmin_min(X, Y, *, axis=1, metric="euclidean", metric_kwargs=None):
    parameters = dict(metric_kwargs or {})
    if metric == "euclidean":
        parameters.pop("squared", None)
    if axis not in (0, 1) or metrics.fallback_reason(X, Y, metric, parameters) is not None:
        return NotImplemented
    return metrics.pairwise_distances_argmin_min(
        X, Y, axis=axis, metric=metric, metric_kwargs=metric_kwargs
    )


def _argmin(X, Y, **kwargs):
    result = _argmin_min(X, Y, **kwargs)
    return result if result is NotImplemented else result[0]


def _function_replacements():
    """Yield (name in sklearn.metrics.pairwise, replacement).

    pairwise_distances_chunked needs none: it calls pairwise_distances for each chunk.
    """
    for name, ours in [
        ("pairwise_distances", _pairwise),
        ("euclidean_distances", _euclidean),
        ("manhattan_distances", _manhattan),
        ("cosine_distances", _cosine),
        ("nan_euclidean_distances", _nan_euclidean),
        ("pairwise_distances_argmin", _argmin),
        ("pairwise_distances_argmin_min", _argmin_min),
    ]:
        yield name, _substitute(name, ours)
