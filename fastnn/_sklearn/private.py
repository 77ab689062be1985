"""Every private name of scikit-learn that is used, so that a release that moves one is met here.

`tools/their_tests.py` runs scikit-learn's own tests, which say whether they still mean the same.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from sklearn.metrics.pairwise import _check_chunk_size as check_chunk_size
from sklearn.neighbors import _graph as graph
from sklearn.neighbors._base import (
    KNeighborsMixin,
    NeighborsBase,
    RadiusNeighborsMixin,
)
from sklearn.neighbors._base import _get_weights as get_weights
from sklearn.utils import _safe_indexing as safe_indexing
from sklearn.utils._chunking import get_chunk_n_rows
from sklearn.utils._mask import _get_mask as get_mask
from sklearn.utils._missing import is_scalar_nan
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils._set_output import _wrap_method_output as wrap_method_output
from sklearn.utils.metaestimators import _safe_split as safe_split
from sklearn.utils.multiclass import _check_partial_fit_first_call as check_partial_fit_first_call
from sklearn.utils.validation import _check_feature_names as check_feature_names
from sklearn.utils.validation import _num_samples as num_samples


def with_option(constraints: list[Any], name: str) -> list[Any]:
    """Return a parameter's constraints with one more name that it may be."""
    return [
        StrOptions(constraint.options | {name})
        if isinstance(constraint, StrOptions)
        else constraint
        for constraint in constraints
    ]


if TYPE_CHECKING:
    # scikit-learn has no types: as they are, these would take those of what they decorate.
    _Function = TypeVar("_Function", bound=Callable[..., Any])

    def available_if(check: Callable[..., Any]) -> Callable[[_Function], _Function]: ...

    def fit_context(*, prefer_skip_nested_validation: bool) -> Callable[[_Function], _Function]: ...

    def validate_params(
        parameter_constraints: Any, *, prefer_skip_nested_validation: bool
    ) -> Callable[[_Function], _Function]: ...
else:
    from sklearn.base import _fit_context as fit_context
    from sklearn.utils._param_validation import validate_params
    from sklearn.utils.metaestimators import available_if

__all__ = [
    "Interval",
    "KNeighborsMixin",
    "NeighborsBase",
    "Options",
    "RadiusNeighborsMixin",
    "StrOptions",
    "available_if",
    "check_chunk_size",
    "check_feature_names",
    "check_partial_fit_first_call",
    "fit_context",
    "get_chunk_n_rows",
    "get_mask",
    "get_weights",
    "graph",
    "is_scalar_nan",
    "num_samples",
    "safe_indexing",
    "safe_split",
    "validate_params",
    "with_option",
    "wrap_method_output",
]

# Of scikit-learn's grid search, which takes a fifth of a second to import.
_SEARCH = {
    "BaseSearchCV": "BaseSearchCV",
    "yield_masked_array_for_each_param": "_yield_masked_array_for_each_param",
}


def __getattr__(name):
    if name in _SEARCH:
        from sklearn.model_selection import _search

        return getattr(_search, _SEARCH[name])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
