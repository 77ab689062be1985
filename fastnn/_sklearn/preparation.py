"""What a search needs of an estimator, made once for each fit, and of its queries.

Or the reason, a str, why the kernels do not serve.
"""

import weakref
from typing import NamedTuple

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import get_tags
from sklearn.utils.validation import validate_data

from .. import _validation
from .._core._threads import RenewedLock
from .._search.base import BaseSearcher
from .._search.growing import Blocks, GrowingSearcher
from .._search.metric_spaces import space_of
from .._search.searcher import ALGORITHMS, Searcher


def numeric_rows(X):
    """Return X as the kernels take it, or the reason (a str) why they cannot."""
    if issparse(X):
        return "sparse input"
    try:
        return _validation.check_rows(X, "X")
    except (TypeError, ValueError) as error:
        return str(error)


class Prepared(NamedTuple):
    """What a search needs, made once for each fit."""

    # The estimator's samples, as it holds them.
    fitted: np.ndarray | Blocks
    searcher: BaseSearcher


# By the estimator's identity, with a weak reference: estimators may compare as equal, and need not
# be hashable. Not kept on the estimator, which stays as it was fitted: it is made again where it is
# needed, pickles hold nothing twice, and those of scikit-learn's estimators load without fastnn.
_prepared = {}
_prepared_lock = RenewedLock()


def prepare(estimator):
    """Return what a search needs, or the reason why the kernels do not serve (a str)."""
    space = space_of(estimator.effective_metric_, **estimator.effective_metric_params_)
    if isinstance(space, str):
        return space
    # A tree by name is ours in our own estimators, which make scikit-learn's when it is asked for.
    has_tree = vars(estimator).get("_has_lazy_tree", False)
    if estimator._fit_method != "brute" and not has_tree:
        return f"algorithm {estimator._fit_method!r}"
    algorithm = estimator.algorithm
    if algorithm != "auto" and algorithm not in ALGORITHMS:
        algorithm = "brute"
    if has_tree or algorithm == "kd_tree":
        algorithm = estimator._fit_method  # parameters may have changed since
    recall, calibration_queries = 1.0, None
    if getattr(estimator, "_may_miss", False):
        state = vars(estimator)
        recall, calibration_queries = state.get("recall", 1.0), state.get("_calibration_queries")
    key, fitted = id(estimator), held_by(estimator)
    with _prepared_lock:  # threads that search for the first time share one searcher
        reference, kept = _prepared.get(key, (None, None))
        is_same = (
            kept is not None
            and kept.fitted is fitted
            and kept.searcher.space.is_same(space)
            and kept.searcher.algorithm == algorithm
        )
        old = kept.searcher if is_same else None
        if old and old.recall == recall and old.calibration_queries is calibration_queries:
            return kept
        recall = _validation.check_recall(recall)

        grown = isinstance(fitted, Blocks)
        rows = fitted.empty if grown else numeric_rows(fitted)
        if isinstance(rows, str):
            return rows
        if not space.fits(rows.shape[1]):
            return "weights that do not fit the features"
        if not space.accepts(rows):
            return f"metric {estimator.effective_metric_!r} of such values"
        searcher = Searcher(rows, space, algorithm, None, recall, calibration_queries)
        if grown:
            searcher = GrowingSearcher(fitted, searcher)
        if recall < 1.0:
            lists = vars(estimator).pop("_lists_state", None) or (old and old.lists_state)
        if recall < 1.0 and lists:
            searcher.restore_lists(lists, not old or old.calibration_queries is calibration_queries)
        kept = Prepared(fitted, searcher)
        if reference is None:
            reference = weakref.ref(estimator, lambda _: _prepared.pop(key, None))
        _prepared[key] = reference, kept
    return kept


def hold(estimator, contents):
    """Have the estimator hold other samples: `contents`, of the Blocks that it is prepared for."""
    reference, kept = _prepared[id(estimator)]
    searcher = kept.searcher
    if not isinstance(searcher, GrowingSearcher):
        searcher = GrowingSearcher(Blocks.of(searcher.Y), searcher, [searcher])
    prepared = Prepared(contents, searcher.with_contents(contents))
    for name in ("_fit_X", "_lists_state", "_tree"):  # of the samples before
        vars(estimator).pop(name, None)
    estimator._blocks = contents
    _prepared[id(estimator)] = reference, prepared


def held_by(estimator):
    """Return the samples that an estimator holds, as it holds them, or None before a fit."""
    state = vars(estimator)
    return state["_blocks"] if "_blocks" in state else state.get("_fit_X")


def n_samples_of(estimator):
    """Return how many samples there are to find."""
    held = held_by(estimator)
    return held.n_samples if isinstance(held, Blocks) else estimator.n_samples_fit_


def n_features_of(estimator):
    """Return how many features the samples have, of fits that do not check it, too."""
    held = held_by(estimator)
    return (held.empty if isinstance(held, Blocks) else held).shape[1]


def prepared_before(estimator):
    """Return what searches since the last fit have prepared, or None."""
    _, kept = _prepared.get(id(estimator), (None, None))
    return kept if kept and kept.fitted is held_by(estimator) else None


def discard_searches(estimator):
    """Forget what was made for the samples before: they may be other values in the same array."""
    _prepared.pop(id(estimator), None)
    for name in ("_has_lazy_tree", "_calibration_queries", "_lists_state"):
        vars(estimator).pop(name, None)


def queries_for(estimator, X, space=None):
    """Return X checked as scikit-learn does, or a reason why the kernels cannot take it.

    Arrays that are right as they are pass quickly; the search itself meets NaN and infinity.
    """
    n_features = n_features_of(estimator)
    if (
        not _validation.is_native(X)
        or X.shape[1] != n_features
        or "feature_names_in_" in vars(estimator)
    ):
        X = validate_data(
            estimator,
            X,
            accept_sparse="csr",
            reset=False,
            order="C",
            ensure_all_finite=_finite_for(estimator),
        )
    rows = numeric_rows(X)
    if isinstance(rows, str):
        return rows
    if rows.shape[1] != n_features:  # after a fit with an estimator scikit-learn does not check
        raise ValueError(
            f"X has {rows.shape[1]} features, but {type(estimator).__name__} is expecting "
            f"{n_features} features as input."
        )
    if space is not None and not space.accepts(rows):
        return f"metric {estimator.effective_metric_!r} of such values"
    return rows


def _finite_for(estimator):
    """Return which values scikit-learn's checks let pass."""
    return "allow-nan" if get_tags(estimator).input_tags.allow_nan else True


def refuse_non_finite(estimator, rows):
    """Raise scikit-learn's error for NaN and infinity among queries."""
    if rows.dtype != _validation.UINT8 and not np.isfinite(rows).all():
        validate_data(estimator, rows, reset=False, ensure_all_finite=_finite_for(estimator))
        # Where scikit-learn's check is switched off:
        _validation.require_finite(rows, "X", allow_nan=_finite_for(estimator) == "allow-nan")


def labels_of(estimator):
    """Return the targets that an estimator was fitted with: for classes, numbers among them."""
    return estimator._y


def samples_of(estimator):
    """Return the rows that an estimator was fitted with, or why the kernels cannot take them."""
    return numeric_rows(estimator._fit_X)
