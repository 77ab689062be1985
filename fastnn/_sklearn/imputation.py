"""What stands in for scikit-learn's imputation by neighbors."""

import numpy as np
from sklearn.impute import KNNImputer
from sklearn.utils.validation import check_is_fitted, validate_data

from .._core._threads import effective_n_threads
from .._core.search._missing import RowsWithMissing, find_present_neighbors
from .._observation import observe
from .._validation import FLOATS
from .originals import ORIGINALS, in_place_of
from .private import get_mask, get_weights, is_scalar_nan

# What the neighbors of a chunk of rows may take.
CHUNK_BYTES = 16 << 20


@in_place_of(KNNImputer, "transform")
def transform(self, X):
    if self.metric != "nan_euclidean":
        with observe("KNNImputer.transform", "a callable metric"):
            return ORIGINALS[KNNImputer, "transform"](self, X)
    check_is_fitted(self)
    with observe("KNNImputer.transform"):
        X = validate_data(
            self,
            X,
            dtype=list(FLOATS)[::-1],
            force_writeable=True,
            ensure_all_finite="allow-nan" if is_scalar_nan(self.missing_values) else True,
            copy=self.copy,
            reset=False,
        )
        mask = get_mask(X, self.missing_values)
        indicator = self._transform_indicator(mask)
        _impute(self, X, mask)
        if self.keep_empty_features:
            X[:, ~self._valid_mask] = 0
        else:
            X = X[:, self._valid_mask]
        return self._concatenate_indicator(X, indicator)


def _impute(self, X, mask):
    """Write to X what is missing, where samples have a value, a chunk of rows at a time."""
    missing = mask & self._valid_mask
    rows = np.flatnonzero(missing.any(axis=1))
    if not len(rows):
        return
    n_threads = effective_n_threads(None)
    samples = _with_nan(self._fit_X, self._mask_fit_X)
    packed = RowsWithMissing(samples, n_threads)
    n_donors = (~self._mask_fit_X).sum(axis=0)
    k = min(self.n_neighbors, len(samples))
    row_bytes = 16 * k * missing[rows].sum(axis=1, dtype=np.int64)
    chunks = np.split(rows, np.flatnonzero(np.diff(row_bytes.cumsum() // CHUNK_BYTES)) + 1)
    for chunk in chunks:
        in_chunk, columns = map(np.ascontiguousarray, np.nonzero(missing[chunk]))
        starts = np.searchsorted(in_chunk, np.arange(len(chunk) + 1))
        distances, indices = find_present_neighbors(
            _with_nan(X[chunk], mask[chunk]), packed, k, starts, columns, n_threads
        )
        weights = _weights(self.weights, n_donors, columns, distances)
        values = _means(samples, columns, indices, weights)
        # No sample is at any distance, or none counts.
        unknown = np.isnan(values)
        for column in np.unique(columns[unknown]):
            of_column = samples[:, column]
            values[(columns == column) & unknown] = of_column[~np.isnan(of_column)].mean()
        X[chunk[in_chunk], columns] = values


def _with_nan(X, mask):
    """Return rows as float64, NaN for what is missing."""
    X = np.array(X, np.float64, order="C")
    X[mask] = np.nan
    return X


def _weights(weights, n_donors, columns, distances):
    """Return what neighbors count; 0 where there is none.

    Callables get the distances of a column at a time, to as many neighbors as it may have.
    """
    if callable(weights):
        result = np.zeros(distances.shape)
        for column in np.unique(columns):
            of_column = columns == column
            k = min(distances.shape[1], n_donors[column])
            found = get_weights(distances[of_column, :k], weights)
            result[of_column, :k] = 1.0 if found is None else found
    else:
        result = get_weights(distances.copy(), weights)
        result = np.ones(distances.shape) if result is None else result
    return np.where(np.isnan(result) | np.isnan(distances), 0.0, result)


def _means(samples, columns, indices, weights):
    """Return the weighted means of neighbors' values of a column each, NaN without weights."""
    values = np.where(indices >= 0, samples[indices, columns[:, None]], 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (weights * values).sum(axis=1) / weights.sum(axis=1)
