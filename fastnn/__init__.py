"""Exact nearest neighbors and linear classifiers at the speed of the hardware.

Public names are imported when they are first used, so that ``import fastnn`` stays cheap.
"""

from importlib import import_module as _import_module

try:
    from ._core._dispatch import available_isas, get_isa, set_isa
except ModuleNotFoundError as error:
    if error.name != f"{__name__}._core._dispatch":
        raise
    raise ImportError(
        f"the compiled modules of fastnn are not in {__path__[0]}: this is a source tree that has "
        "not been built. Start Python in another folder to use an installed fastnn, or build this "
        "one with 'pip install -e .'"
    ) from error
from ._version import __version__

_LAZY = {
    "accel": None,
    "circuit": None,
    "datasets": None,
    "gradcheck": None,
    "inspection": None,
    "kneighbors": "neighbors",
    "linear_model": None,
    "losses": None,
    "metrics": None,
    "model_selection": None,
    "neighbors": None,
    "neural_network": None,
    "optimize": None,
    "pairwise_distances": "metrics",
    "radius_neighbors": "neighbors",
}

__all__ = [
    "__version__",
    "accel",
    "available_isas",
    "circuit",
    "datasets",
    "get_isa",
    "gradcheck",
    "inspection",
    "kneighbors",
    "linear_model",
    "losses",
    "metrics",
    "model_selection",
    "neighbors",
    "neural_network",
    "optimize",
    "pairwise_distances",
    "radius_neighbors",
    "set_isa",
]


def __getattr__(name):
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = _LAZY[name]
    if module is None:
        return _import_module(f".{name}", __name__)
    value = getattr(_import_module(f".{module}", __name__), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted(set(globals()) | set(_LAZY))
