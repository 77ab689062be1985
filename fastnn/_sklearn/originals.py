"""scikit-learn's methods that others stand in for, as scikit-learn has them."""

import functools
import re
import textwrap

from sklearn.impute import KNNImputer
from sklearn.neighbors import (
    KNeighborsClassifier,
    KNeighborsRegressor,
    RadiusNeighborsClassifier,
    RadiusNeighborsRegressor,
)

from .private import KNeighborsMixin, NeighborsBase, RadiusNeighborsMixin

# What scikit-learn's own classes do, whatever accel puts in its place.
ORIGINALS = {
    (owner, name): vars(owner)[name]
    for owner, name in [
        (NeighborsBase, "_fit"),
        (KNeighborsMixin, "kneighbors"),
        (KNeighborsMixin, "kneighbors_graph"),
        (RadiusNeighborsMixin, "radius_neighbors"),
        (RadiusNeighborsMixin, "radius_neighbors_graph"),
        (KNeighborsClassifier, "predict"),
        (KNeighborsClassifier, "predict_proba"),
        (KNeighborsRegressor, "predict"),
        (RadiusNeighborsClassifier, "predict_proba"),
        (RadiusNeighborsRegressor, "predict"),
        (KNNImputer, "transform"),
    ]
}


def in_place_of(owner, name, more_parameters=""):
    """Return a decorator for a method that stands in for another: all but the module is that one's.

    So one can see whose method an estimator has. Its signature is its own; `more_parameters` says
    what that one does not know.
    """

    def decorate(method):
        names = "__name__", "__qualname__", "__doc__"
        functools.update_wrapper(method, ORIGINALS[owner, name], assigned=names)
        del method.__wrapped__
        if method.__doc__ and more_parameters:
            # Pythons from 3.13 on indent no docstrings.
            before, indent, after = re.split(r"\n( *)Returns\n", method.__doc__, maxsplit=1)
            text = textwrap.indent(more_parameters, indent)
            method.__doc__ = f"{before}\n{text}\n{indent}Returns\n{after}"
        return method

    return decorate


def asks_for(estimator, name):
    """Return the function that ``estimator.name(...)`` calls, whichever package put it there."""
    if name in vars(estimator):
        return vars(estimator)[name]
    return getattr(type(estimator), name)
