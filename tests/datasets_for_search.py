"""Point sets that are hard on a search: each a function of (rng, n, d) -> float64 array."""

import numpy as np


def normal(rng, n, d):
    return rng.standard_normal((n, d))


def offset(rng, n, d):
    """Norm expansion in float32 cannot tell these apart."""
    return 1e3 + 0.1 * rng.standard_normal((n, d))


def duplicated(rng, n, d):
    return np.repeat(rng.standard_normal((n // 4 + 1, d)), 4, axis=0)[:n]


def constant(rng, n, d):
    return np.full((n, d), 0.3)


def integers(rng, n, d):
    """Ties everywhere."""
    return rng.integers(0, 3, (n, d)).astype(float)


def tiny(rng, n, d):
    return 1e-30 * rng.standard_normal((n, d))


def large(rng, n, d):
    return 1e30 * rng.standard_normal((n, d))


def two_clusters(rng, n, d):
    """Far apart and tight: error bounds cannot separate neighbors within a cluster."""
    return 1e5 * rng.integers(0, 2, (n, 1)) + 0.01 * rng.standard_normal((n, d))


def near_ties(rng, n, d):
    """Distances that differ in float64's last bits only."""
    return 1.0 + 2.0**-40 * rng.integers(-4, 5, (n, d))


def outliers(rng, n, d):
    X = rng.standard_normal((n, d))
    X[:: max(1, n // 7)] *= 1e8
    return X


def wide_range(rng, n, d):
    return np.exp(20 * rng.standard_normal((n, d)))


def float32_denormal(rng, n, d):
    return 1e-42 * rng.standard_normal((n, d))


def denormal(rng, n, d):
    """float64 only: the squares underflow."""
    return 1e-160 * rng.standard_normal((n, d))


def overflowing(rng, n, d):
    """float64 only: the squares overflow to infinity."""
    return 1e200 * rng.standard_normal((n, d))


FOR_ALL_FLOATS = [
    normal,
    offset,
    duplicated,
    constant,
    integers,
    tiny,
    large,
    two_clusters,
    near_ties,
    outliers,
    wide_range,
    float32_denormal,
]
FOR_FLOAT64 = [*FOR_ALL_FLOATS, denormal, overflowing]
FOR_UINT8 = [normal, duplicated, constant, integers]


# What each native dtype can hold of them.
CASES = [
    (dtype, generator)
    for dtype, generators in (
        (np.float32, FOR_ALL_FLOATS),
        (np.float64, FOR_FLOAT64),
        (np.uint8, FOR_UINT8),
    )
    for generator in generators
]
CASE_NAMES = [f"{dtype.__name__}-{generator.__name__}" for dtype, generator in CASES]


def make(generator, rng, n, d, dtype):
    X = generator(rng, n, d)
    if dtype == np.uint8:
        return np.clip(40 * X + 128, 0, 255).astype(np.uint8)
    with np.errstate(over="ignore"):
        return np.clip(X, -1e38, 1e38).astype(dtype) if dtype == np.float32 else X
