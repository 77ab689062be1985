"""What is learned of rows: a class, several labels, or numbers."""

import numpy as np
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import column_or_1d


def check_classes(y, takes_labels):
    """Return a vector of classes, or of several labels a row an array of 0 and 1."""
    check_classification_targets(y)
    if not (takes_labels and type_of_target(y) == "multilabel-indicator"):
        return column_or_1d(y, warn=True)
    y = y.toarray() if hasattr(y, "toarray") else y
    if not np.isin(y, [0, 1]).all():
        raise ValueError(
            "y of several labels a row must hold 0 and 1 alone, got values from "
            f"{y.min()} to {y.max()}"
        )
    return y


class Classes:
    """Classes of rows, or labels of which a row may have several.

    Parameters
    ----------
    y : ndarray
        As `check_classes` returns it.
    announced : array-like or None
        All classes, or the numbers of the labels, that will ever come; None: those of `y`.
    """

    validation_name, has_accuracy = "val_accuracy", True
    min_validation_rows = 1

    def __init__(self, y, announced=None):
        self.is_multilabel = y.ndim == 2
        if announced is not None:
            self.classes = np.unique(announced)
        else:
            self.classes = np.arange(y.shape[1]) if self.is_multilabel else np.unique(y)
        if self.is_multilabel and y.shape[1] != len(self.classes):
            raise ValueError(
                f"classes must number all labels of a row, got {self.classes} for {y.shape[1]} "
                "labels"
            )
        if not self.is_multilabel and len(self.classes) < 2:
            if announced is not None:
                raise ValueError(f"classes must name at least 2 classes, got {self.classes}")
            raise ValueError(f"y must have at least 2 classes, got one class: {self.classes[0]}")

    @property
    def n_outputs(self):
        return len(self.classes)

    @property
    def attributes(self):
        """What the estimator tells of them."""
        return {"classes_": self.classes}

    def require_same(self, others):
        if self.is_multilabel != others.is_multilabel or not np.array_equal(
            self.classes, others.classes
        ):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous "
                f"call to fit. Previously got {self.classes}, `y` has {others.classes}"
            )

    def encode(self, y):
        """Return the number of each row's class, or its labels as they are."""
        wanted = (len(y), len(self.classes)) if self.is_multilabel else (len(y),)
        if y.shape != wanted:
            raise ValueError(f"y must have shape {wanted}, as before, got {y.shape}")
        if self.is_multilabel:
            return y.astype(np.float64)
        labels = np.searchsorted(self.classes, y)
        if not np.all(self.classes[np.minimum(labels, len(self.classes) - 1)] == y):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes}. "
                f"`y` has {np.unique(y)}"
            )
        return labels

    def can_stratify(self, y, n_others):
        """Whether `n_others` rows can be set aside with the same share of each class."""
        if self.is_multilabel:
            return False
        counts = np.bincount(y)
        enough = len(self.classes) <= min(n_others, len(y) - n_others)
        return counts[counts > 0].min() > 1 and enough


def check_numbers(y, nonnegative):
    """Return numbers as float64 of shape (n_samples, n_outputs)."""
    y = y.toarray() if hasattr(y, "toarray") else y
    if y.dtype.kind not in "biuf":
        raise ValueError(f"y must hold numbers, got {y.dtype}")
    if y.ndim == 2 and y.shape[1] == 1:
        y = column_or_1d(y, warn=True)
    y = np.asarray(y, np.float64).reshape(len(y), -1)
    if nonnegative and (y < 0).any():
        raise ValueError(f"loss='poisson' needs targets of at least 0, got {y.min():.4g}")
    return y


class Numbers:
    """As many numbers for each row as `y` has, which `check_numbers` returns."""

    validation_name, has_accuracy = "val_r2", False
    min_validation_rows = 2

    def __init__(self, y):
        self.n_outputs, self.attributes = y.shape[1], {}

    def require_same(self, others):
        if self.n_outputs != others.n_outputs:
            raise ValueError(
                "warm_start can only be used where `y` has as many outputs as in the previous "
                f"call to fit: {self.n_outputs}, got {others.n_outputs}"
            )

    def encode(self, y):
        if y.shape[1] != self.n_outputs:
            raise ValueError(f"y must have {self.n_outputs} outputs a row, got {y.shape[1]}")
        return y

    def can_stratify(self, y, n_others):
        return False
