"""The types of rows, and how bytes are scaled."""

import numpy as np

DTYPES = (np.float64, np.float32, np.uint8)
# Rows that the mean and the scale of bytes are taken from.
ROWS_FOR_SCALE = 256


def mean_and_scale(X, centered):
    """Return the features' means, and a common scale to standard deviation 1, of some rows."""
    some = X[np.linspace(0, len(X) - 1, min(len(X), ROWS_FOR_SCALE)).astype(int)]
    n, d = some.shape
    # Whole numbers are exact, so that constant features have no deviation at all.
    squares = int(np.square(some, dtype=np.uint32).sum(dtype=np.int64))
    sums = some.sum(axis=0, dtype=np.int64) if centered else np.zeros(d, np.int64)
    variance = (n * squares - int((sums * sums).sum())) / (n * n * d)
    return sums / n, 1.0 / np.sqrt(variance) if variance > 0 else 1.0
