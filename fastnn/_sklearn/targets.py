"""Targets and weights of fitted samples, to which others may be added."""

import copy
import numbers

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils import check_array

from .._search.searcher import as_narrow_as

# Kinds of dtypes.
NUMBERS = "biufc"


def joined_targets(estimator, added):
    """Return the attributes of targets for the samples of both estimators, by name."""
    y, more = estimator._y, added._y
    if y.shape[1:] != more.shape[1:]:
        raise ValueError(
            f"y must have the outputs of the targets before, of shape {y.shape}, got {more.shape}"
        )
    if is_classifier(estimator):
        return with_labels(estimator, as_list(added.classes_, added), more)
    if (y.dtype.kind in NUMBERS) != (more.dtype.kind in NUMBERS):
        raise ValueError(f"y must be like the targets before, of {y.dtype}, got {more.dtype}")
    return {"_y": np.concatenate([y, more])}


def with_labels(estimator, classes, labels):
    """Return a classifier's attributes of targets with more classes and labels, by name.

    Parameters
    ----------
    estimator : estimator
    classes : list of array-like
        Of each output.
    labels : ndarray of shape (n,) or (n, n_outputs)
        Numbers of these.

    Raises
    ------
    ValueError
        For classes of another kind.
    """
    known = as_list(estimator.classes_, estimator)
    if len(known) != len(classes):
        raise ValueError(
            f"classes must be a list of arrays, one for each of {len(known)} outputs, got "
            f"{len(classes)}"
        )
    columns, all_classes = [], []
    pairs = (estimator._y.reshape(-1, len(known)), labels.reshape(-1, len(known)))
    for i, (old, new) in enumerate(zip(known, classes, strict=True)):
        both = union_of_classes(old, new)
        columns.append(
            np.concatenate(
                [
                    np.searchsorted(both, names)[column[:, i]]
                    for names, column in zip((old, new), pairs, strict=True)
                ]
            )
        )
        all_classes.append(both)
    if not estimator.outputs_2d_:
        return {"classes_": all_classes[0], "_y": columns[0].astype(np.intp, copy=False)}
    return {"classes_": all_classes, "_y": np.stack(columns, axis=1)}


def as_list(classes, estimator):
    """Return the classes of each output."""
    return list(classes) if estimator.outputs_2d_ else [classes]


def union_of_classes(old, new):
    """Return the classes that are in either of two arrays, ascending, in a dtype like the old one.

    Raises
    ------
    ValueError
        For classes of another kind, or that would change those before: fractions among whole
        numbers, say.
    """
    new = np.asarray(new)
    if new.ndim != 1:
        raise ValueError(f"classes must be of shape (n,), got {new.shape}")
    if not new.size:
        return old
    numeric = old.dtype.kind in NUMBERS and new.dtype.kind in NUMBERS
    if numeric:
        new = as_narrow_as(new, old.dtype)
        alike = np.result_type(old, new).kind in (
            "iu" if old.dtype.kind in "iu" else old.dtype.kind
        )
    else:
        alike = {old.dtype.kind, new.dtype.kind} in ({"U"}, {"O"}, {"U", "O"}, {"S"})
        if "O" in (old.dtype.kind, new.dtype.kind):
            old, new = old.astype(object), new.astype(object)
    try:
        if alike:
            return np.union1d(old, new)
    except TypeError:  # objects that have no order
        pass
    raise ValueError(f"classes must be like those before, {old[:3]}..., got {new[:3]}")


def with_classes(estimator, classes):
    """Return a classifier's attributes of targets with classes that will come, by name."""
    if estimator.outputs_2d_ and not isinstance(classes, (list, tuple)):
        raise ValueError(
            f"classes must be a list of arrays, one for each output, got {type(classes).__name__}"
        )
    several = list(classes) if estimator.outputs_2d_ else [classes]
    return with_labels(estimator, several, estimator._y[:0])


# ---- weights -------------------------------------------------------------------------------------


def check_weights(sample_weight, n_samples, all_zero=False):
    """Return weights as float64.

    Raises
    ------
    ValueError
        Unless there is one for each sample, all finite and none negative; and for zeros alone,
        unless `all_zero`.
    """
    if isinstance(sample_weight, numbers.Number):
        sample_weight = np.full(n_samples, sample_weight)
    weights = check_array(
        sample_weight, ensure_2d=False, dtype=np.float64, copy=True, input_name="sample_weight"
    )
    if weights.shape != (n_samples,):
        raise ValueError(
            f"sample_weight must have one weight for each sample, shape ({n_samples},), got "
            f"{weights.shape}"
        )
    if (weights < 0.0).any():
        raise ValueError(f"sample_weight must be at least 0, got {weights.min():g}")
    if not (all_zero or weights.any()):
        raise ValueError("sample_weight must have weights that are not zero")
    return weights


def joined_weights(before, n_before, more, n_more):
    """Return the weights of samples and of more of them, or None: all are 1."""
    if before is None and more is None:
        return None
    both = (before, n_before), (more, n_more)
    return np.concatenate([np.ones(n) if some is None else some for some, n in both])


def with_weights(estimator, targets, sample_weight=None):
    """Return attributes of targets and those of weights, which are None where all are 1.

    Parameters
    ----------
    estimator : estimator
    targets : dict
        Attributes that take the place of the estimator's.
    sample_weight : ndarray of shape (n,), optional
        As given, for all samples.
    """
    weights, class_weight = sample_weight, getattr(estimator, "class_weight", None)
    if class_weight is not None:
        twin = copy.copy(estimator)
        vars(twin).update(targets)
        weights = weights_by_class(twin, class_weight)
        if sample_weight is not None:
            weights *= sample_weight
    return {**targets, "_given_weights": sample_weight, "_sample_weights": weights}


def weights_by_class(estimator, class_weight):
    """Return the weight of each sample's class, or for several outputs the product of theirs."""
    weights = np.ones(len(estimator._y))
    outputs = as_list(estimator.classes_, estimator)
    several = class_weight if isinstance(class_weight, list) else [class_weight] * len(outputs)
    if len(several) != len(outputs):
        raise ValueError(
            f"class_weight must have one dict for each of {len(outputs)} outputs, got "
            f"{len(several)}"
        )
    labels = estimator._y.reshape(-1, len(outputs))
    for classes, column, given in zip(outputs, labels.T, several, strict=True):
        weights *= weights_of_classes(given, classes, column)[column]
    return weights


def weights_of_classes(class_weight, classes, labels):
    """Return the weight of each class: as given, or n / (n_classes * count) if "balanced"."""
    if isinstance(class_weight, str):
        counts = np.bincount(labels, minlength=len(classes))
        return len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1.0))
    weights = np.array([class_weight.get(label, 1.0) for label in classes.tolist()], np.float64)
    if not (weights >= 0.0).all():
        raise ValueError(f"class_weight must have weights of at least 0, got {weights.min():g}")
    return weights
