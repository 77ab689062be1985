"""Linear classifiers whose rows are in chunks: L-BFGS, with the loss summed over the chunks.

Each evaluation sends the weights to the chunks' tasks, which return the sums of their rows' losses
and gradients. These are added `split_every` at a time, in float64: a tree that the number of chunks
fixes. All else (targets, bytes, the search itself) is the local estimators'.
"""

import copy
from functools import partial

import dask
import dask.array as da
import numpy as np
from dask import is_dask_collection
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils.validation import check_is_fitted

from .. import _validation, linear_model
from .._core._threads import effective_n_threads
from .._core.training._linear import LinearModel
from .._training.data import ROWS_FOR_SCALE
from .._training.targets import Classes
from ._collections import (
    as_column,
    as_rows,
    as_targets,
    as_they_are,
    check_chunk,
    check_names,
    check_weights,
    check_width,
    checked,
    class_numbers,
    classes_of,
    of_each_chunk,
    ranges_of,
    score,
    some_rows,
)

# ---- what tasks do -------------------------------------------------------------------------------


def sum_losses(rows, y, *arguments, settings, with_gradient):
    """Return the sum of the losses of some rows, then of its derivatives, as an array (1, n).

    `arguments`: weights of the rows, or nothing, and the parameters.
    """
    *weights, parameters = arguments
    sums = np.zeros((1, 1 + with_gradient * len(parameters)))
    if len(rows) == 0:
        return sums
    n_outputs, loss = settings["n_outputs"], settings["loss"]
    if n_outputs == 1:
        y = y[:, None].astype(np.float64 if rows.dtype == np.float64 else np.float32)
    model = LinearModel(
        rows, n_outputs, y, loss, linear_model.MARGIN, 0.0, *(weights or [None]),
        settings["mean"], settings["scale"], settings["moves_bias"],
        effective_n_threads(settings["n_jobs"]),
    )  # fmt: skip
    W, bias = np.split(parameters, [n_outputs * rows.shape[1]])
    model.set_weights([W.reshape(n_outputs, -1)], [bias])
    with np.errstate(over="ignore", invalid="ignore"):
        total, gradients, bias_gradients = model.loss_and_gradient(with_gradient)
        sums[0, 0] = total
        if with_gradient:
            sums[0, 1:] = np.concatenate([np.ravel(gradients[0]), bias_gradients[0]])
        return sums * len(rows)


def add_sums(sums, axis=None, keepdims=True):
    """Return the sum of the rows, one after the other."""
    total = np.add.reduce(sums, axis=0)
    return total[None] if keepdims else total


# ---- the local estimators, on chunks -------------------------------------------------------------


class ChunkedModel:
    """What L-BFGS takes for a model: its loss and gradient are sums over chunks.

    Parameters
    ----------
    rows, y, weights : Dask arrays, of which `weights` may be None
    settings : dict
        For `sum_losses`.
    alpha : float
    split_every : int
    """

    def __init__(self, rows, y, weights, settings, alpha, split_every):
        self.rows, self.y, self.weights = rows, y, weights
        self.settings, self.alpha, self.split_every = settings, alpha, split_every

    def set_weights(self, weights, biases):
        self.W, self.bias = np.asarray(weights[0], np.float64), np.asarray(biases[0], np.float64)

    def loss_and_gradient(self, with_gradient=True):
        """Return what `LinearModel.loss_and_gradient` does."""
        parameters = np.concatenate([self.W.ravel(), self.bias])
        arguments = [self.rows, "ij", self.y, "i"]
        if self.weights is not None:
            arguments += [self.weights, "i"]
        arguments += [da.from_array(parameters, chunks=-1), "p"]
        of_chunks = da.blockwise(
            partial(sum_losses, settings=self.settings, with_gradient=with_gradient), "is",
            *arguments, new_axes={"s": 1 + with_gradient * len(parameters)}, dtype=np.float64,
            concatenate=True, align_arrays=False, adjust_chunks={"i": 1}, meta=np.empty((0, 0)),
        )  # fmt: skip
        sums = da.reduction(
            of_chunks, as_they_are, add_sums, combine=add_sums, axis=0, dtype=np.float64,
            concatenate=True, split_every=self.split_every, meta=np.empty((0, 0)),
        ).compute()  # fmt: skip
        sums /= len(self.rows)
        loss = sums[0] + 0.5 * self.alpha * float((self.W * self.W).sum())
        if not with_gradient:
            return loss, None, None
        gradient = sums[1 : 1 + self.W.size].reshape(self.W.shape) + self.alpha * self.W
        return loss, [gradient], [sums[1 + self.W.size :]]


class _OnChunks:
    """Lets a local estimator learn from Dask arrays."""

    def fit_chunks(self, rows, y, sample_weight, split_every, persist):
        self._split_every = split_every
        self.n_features_in_ = rows.shape[1]
        self._start(rows)
        self._history.start_fit()
        weights = self._weights_of_chunks(y, sample_weight)
        if persist and weights is not None:
            (weights,) = dask.persist(weights)
        self._minimize(rows, y, weights, self.alpha)

    def _rows_for_scale(self, X):
        n = min(len(X), ROWS_FOR_SCALE)
        return some_rows(X, np.linspace(0, len(X) - 1, n).astype(int))

    def _weights_of_chunks(self, y, weights):
        """Return weights of rows with the mean 1, or None."""
        self._weights_of_classes = None
        if self.class_weight is not None:
            n_classes = len(self.classes_)
            arrays = (y,) if weights is None else (y, weights)
            counts = sum(of_each_chunk(partial(count_classes, n_classes), *arrays))
            of_classes = self._weights_of_classes = self._weigh_classes(counts)
            of_rows = y.map_blocks(of_classes.take, dtype=np.float64, meta=np.empty(0))
            weights = of_rows if weights is None else of_rows * weights
        if weights is None:
            return None
        total = sum(of_each_chunk(np.sum, weights))
        if not (np.isfinite(total) and total > 0.0):
            raise ValueError(
                "sample_weight and class_weight together must have a finite sum above 0, got "
                f"{total}"
            )
        return weights / (total / len(y))

    def _make_model(self, X, y, sample_weight, alpha):
        loss, n_outputs = self.loss, len(self.coef_)
        settings = {
            "n_outputs": n_outputs,
            "loss": loss if n_outputs > 1 else {"softmax": "log_loss", "svm": "hinge"}[loss],
            "mean": self._mean,
            "scale": None if self._mean is None else np.full(X.shape[1], self._scale),
            "moves_bias": self.fit_intercept,
            "n_jobs": self.n_jobs,
        }
        return ChunkedModel(X, y, sample_weight, settings, alpha, self._split_every)


def count_classes(n_classes, y, weights=None):
    return np.bincount(y, weights, n_classes).astype(np.float64)


class _OfSVM(_OnChunks, linear_model.SVMClassifier):
    pass


class _OfSoftmax(_OnChunks, linear_model.SoftmaxClassifier):
    pass


# In messages and progress bars they are the local ones.
_OfSVM.__name__, _OfSoftmax.__name__ = "SVMClassifier", "SoftmaxClassifier"


# ---- estimators ----------------------------------------------------------------------------------

_TEXT = """Linear classifier with the {loss} loss, of rows in the chunks of a Dask array.

    The loss, its parameters and the attributes are those of `fastnn.linear_model.{name}`
    with ``solver="lbfgs"``. Each evaluation reads all rows once.

    Parameters
    ----------
    alpha, max_iter, tol, max_fun, fit_intercept, class_weight, verbose
        As for `fastnn.linear_model.{name}`.
    n_jobs : int, default=1
        Threads within a task. Dask runs as many tasks at a time as it has threads.
    persist : bool, default=True
        Whether the rows are kept in Dask's memory while `fit` runs; if False, each evaluation reads
        them again.
    split_every : int, default=8
        How many chunks' sums are added at a time.

    Attributes
    ----------
    coef_, intercept_, classes_, n_features_in_, n_iter_, loss_, loss_curve_
        As of `fastnn.linear_model.{name}`.
    estimator_ : fastnn.linear_model.{name}
        What has been learned, for rows in memory.

    Notes
    -----
    Sums over the rows of a chunk, and over chunks, are added in an order that depends on the chunks
    and on `split_every` alone: with the same chunks the weights are the same, bit for bit,
    whichever workers compute them, or are lost.

    Examples
    --------
    >>> import dask.array as da
    >>> from sklearn.datasets import load_digits
    >>> from fastnn.dask import {name}
    >>> X, y = load_digits(return_X_y=True)
    >>> rows = da.from_array(X / 16, chunks=(500, 64))
    >>> model = {name}(tol=0.01).fit(rows, y)
    >>> model.score(rows, y) > 0.9
    True
    """


# Attributes of the local estimator.
LEARNED = (
    "coef_", "intercept_", "classes_", "n_features_in_", "n_iter_", "loss_", "loss_curve_",
)  # fmt: skip


class _LinearClassifier(ClassifierMixin, BaseEstimator):
    def __init__(
        self,
        alpha=1e-4,
        *,
        max_iter=200,
        tol=1e-4,
        fit_intercept=True,
        class_weight=None,
        max_fun=15000,
        verbose=False,
        n_jobs=1,
        persist=True,
        split_every=8,
    ):
        self.alpha = alpha
        self.max_iter = max_iter
        self.tol = tol
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.max_fun = max_fun
        self.verbose = verbose
        self.n_jobs = n_jobs
        self.persist = persist
        self.split_every = split_every

    def fit(self, X, y, sample_weight=None):
        """Learn the weights from rows and their classes.

        Parameters
        ----------
        X : Dask array or data frame, or array-like, of shape (n_samples, n_features)
        y : Dask collection or array-like of shape (n_samples,)
        sample_weight : Dask collection or array-like of shape (n_samples,), optional
            At least 0.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            As `fastnn.linear_model` does.
        """
        parameters = self.get_params(deep=False)
        persist, split_every = parameters.pop("persist"), parameters.pop("split_every")
        _validation.check_integer(split_every, "split_every", 2)
        local = self._on_chunks(solver="lbfgs", **parameters)
        local._validate_params()
        rows = as_rows(X, "X")
        if rows.dtype not in _validation.NATIVE:
            rows = rows.astype(np.float64)
        y = as_column(as_targets(y, rows))
        if y.ndim > 1:
            raise ValueError(f"y must be 1-D, a class for each row, got shape {y.shape}")
        if sample_weight is not None:
            sample_weight = as_targets(sample_weight, rows, "sample_weight")
            if sample_weight.ndim > 1 or sample_weight.dtype.kind not in "biuf":
                raise ValueError(
                    "sample_weight must be 1-D and hold numbers, got shape "
                    f"{sample_weight.shape} and dtype {sample_weight.dtype}"
                )
            sample_weight = checked(check_weights, sample_weight, rows, np.float64)
            if persist:
                (sample_weight,) = dask.persist(sample_weight)
        check = partial(check_chunk, n_features=rows.shape[1])
        rows = da.blockwise(
            check, "ij", rows, "ij", ranges_of(rows), "ir", dtype=rows.dtype, concatenate=True,
            align_arrays=False, meta=np.empty((0, 0), rows.dtype),
        )  # fmt: skip
        if persist:
            rows, y = dask.persist(rows, y)
        classes = Classes(classes_of(y, rows))
        y = class_numbers(y, classes.classes, persist)
        if persist:
            (y,) = dask.persist(y)
        local._take_targets(classes)
        local.fit_chunks(rows, y, sample_weight, split_every, persist)
        check_names(local, X, reset=True)
        del local._split_every
        local.__class__ = self._local
        self.estimator_ = local
        return self

    def __getattr__(self, name):
        if name in LEARNED:
            check_is_fitted(self, "estimator_")
            return getattr(self.estimator_, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _apply(self, method, X):
        """Return what a method of the local estimator returns, chunk by chunk."""
        check_is_fitted(self, "estimator_")
        if not is_dask_collection(X):
            return getattr(self.estimator_, method)(X)
        check_names(self.estimator_, X, reset=False)
        rows = as_rows(X, "X")
        check_width(rows, self)
        local = copy.copy(self.estimator_)
        vars(local).pop("feature_names_in_", None)  # chunks have none
        like = getattr(local, method)(np.zeros((1, rows.shape[1]), rows.dtype))
        axes = dict(zip("c", like.shape[1:], strict=False))
        return da.blockwise(
            partial(apply_method, local, method, like[:0]), "i" + "".join(axes), rows, "ij",
            ranges_of(rows), "ir", new_axes=axes, dtype=like.dtype, concatenate=True,
            align_arrays=False, meta=like[:0],
        )  # fmt: skip

    def predict(self, X):
        """Return the class of each row: see `fastnn.linear_model`; lazily for Dask collections."""
        return self._apply("predict", X)

    def decision_function(self, X):
        """Return the scores of each row: see `fastnn.linear_model`; lazily for Dask collections."""
        return self._apply("decision_function", X)

    def score(self, X, y, sample_weight=None):
        """Return the accuracy of `predict`."""
        return score(accuracy_score, y, self.predict(X), sample_weight)


def apply_method(local, method, empty, rows, of_chunk):
    rows = check_chunk(rows, of_chunk, local.n_features_in_)
    return getattr(local, method)(rows) if len(rows) else empty


class SVMClassifier(_LinearClassifier):
    __doc__ = _TEXT.format(name="SVMClassifier", loss="multiclass hinge")
    _on_chunks, _local = _OfSVM, linear_model.SVMClassifier


class SoftmaxClassifier(_LinearClassifier):
    __doc__ = _TEXT.format(name="SoftmaxClassifier", loss="softmax")
    _on_chunks, _local = _OfSoftmax, linear_model.SoftmaxClassifier

    def predict_proba(self, X):
        """Return the probability of each class, of shape (n_samples, n_classes)."""
        return self._apply("predict_proba", X)
