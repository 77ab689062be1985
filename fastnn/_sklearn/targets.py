"""Targets and weights of fitted samples, to which others may be added."""

import numpy as np
from sklearn.base import is_classifier

from .private import check_sample_weight


def joined_targets(estimator, added):
    """Return the attributes of targets for the samples of both estimators, by name."""
    if estimator._y.shape[1:] != added._y.shape[1:]:
        raise ValueError(
            f"y must have the outputs of the targets before, of shape {estimator._y.shape}, got "
            f"{added._y.shape}"
        )
    if not is_classifier(estimator):
        return {"_y": np.concatenate([estimator._y, added._y])}
    return with_labels(estimator, as_list(added.classes_, added), added._y)


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
    """Return the classes that are in either of two arrays, ascending."""
    new = np.asarray(new)
    kinds = [("number" if kind in "biuf" else kind) for kind in (old.dtype.kind, new.dtype.kind)]
    if new.ndim != 1 or (kinds[0] != kinds[1] and new.size):
        raise ValueError(
            f"classes must be like those before, of {old.dtype}, got {new.dtype} of shape "
            f"{new.shape}"
        )
    try:
        return np.union1d(old, new) if new.size else old
    except TypeError as error:
        raise ValueError(f"classes must be like those before: {error}") from None


def with_classes(estimator, classes):
    """Return a classifier's attributes of targets with classes that will come, by name."""
    several = list(classes) if estimator.outputs_2d_ else [classes]
    return with_labels(estimator, several, estimator._y[:0])


# ---- weights -------------------------------------------------------------------------------------


def check_weights(sample_weight, X):
    """Return weights as float64, or None: all are 1.

    Raises
    ------
    ValueError
        Unless there is one for each row of X, none of them negative, nor all of them 0.
    """
    if sample_weight is None:
        return None
    weights = check_sample_weight(
        sample_weight, X, dtype=np.float64, ensure_non_negative=True, copy=True
    )
    if not weights.any():  # earlier releases of scikit-learn let them pass
        raise ValueError("sample_weight must have weights that are not zero")
    return weights


def joined_weights(before, n_before, more, n_more):
    """Return the weights of samples and of more of them, or None: all are 1."""
    if before is None and more is None:
        return None
    both = (before, n_before), (more, n_more)
    return np.concatenate([np.ones(n) if some is None else some for some, n in both])


def set_weights(estimator, sample_weight):
    """Note what the samples' votes and targets weigh, given these weights or None."""
    class_weight = getattr(estimator, "class_weight", None)
    state = vars(estimator)
    if class_weight is None and sample_weight is None:
        state.pop("_given_weights", None)
        state.pop("_sample_weights", None)
        return
    of_classes = 1.0 if class_weight is None else weights_by_class(estimator, class_weight)
    state["_given_weights"] = sample_weight
    state["_sample_weights"] = of_classes * (1.0 if sample_weight is None else sample_weight)


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
