"""fastnn.pairwise_distances against the oracle, entry by entry."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import datasets_for_search as data
import fastnn
import oracles
from fastnn._core._rows import Rows
from fastnn._core.search._pairwise import expansions

METRICS = ["l1", "l2", "sqeuclidean"]
FLOATS = [np.float32, np.float64]


def assert_close(found, X, Y, metric):
    """Every entry is within the promised relative error of the exact distance."""
    dtype = X.dtype.type
    wider = np.longdouble if dtype == np.float64 else np.float64
    expected = oracles.distances(X, Y, metric, wider)
    if dtype == np.uint8:
        np.testing.assert_array_equal(found, expected)
        return
    assert found.dtype == dtype
    error = np.abs(found - expected)
    most = oracles.promised_error(dtype, metric) * expected
    assert (error <= most).all(), (error[error > most], expected[error > most])


GENERATORS = [data.normal, data.offset, data.duplicated, data.integers, data.outliers]
GENERATORS += [data.two_clusters, data.near_ties]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("generator", GENERATORS, ids=lambda g: g.__name__)
@pytest.mark.parametrize("dtype", [*FLOATS, np.uint8])
def test_relative_error_of_every_entry(isa, rng, dtype, generator, metric):
    for d in (1, 2, 7, 16, 33, 200):
        both = data.make(generator, rng, 70, d, dtype)
        X, Y = both[:33], both[20:]
        assert_close(fastnn.pairwise_distances(X, Y, metric), X, Y, metric)


def constant_rows(rng, n, d):
    return np.repeat(rng.standard_normal((n, 1)), d, axis=1)


def one_sided(rng, n, d):
    return np.abs(rng.standard_normal((n, 1))) * (1 + 0.01 * rng.random((n, d)))


def trending(rng, n, d):
    return np.outer(rng.standard_normal(n), np.linspace(0, 1, d))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("d", [784, 3072, 20_000])
@pytest.mark.parametrize("generator", [data.normal, constant_rows, one_sided, trending])
@pytest.mark.parametrize("dtype", FLOATS)
def test_rounding_that_agrees_in_sign_does_not_add_up(isa, rng, dtype, generator, d, metric):
    both = generator(rng, 24, d).astype(dtype)
    assert_close(
        fastnn.pairwise_distances(both[:12], both[12:], metric), both[:12], both[12:], metric
    )


def test_few_constant_rows_among_others(rng):
    """Rounding in float32 tiles would be 4 and 9 times 1e-6 here, in one direction all along."""
    X, Y = (rng.standard_normal((400, 784)).astype(np.float32) for _ in range(2))
    X[5], Y[7] = 0.9167726, 0.40524980
    assert_close(fastnn.pairwise_distances(X, Y, "sqeuclidean"), X, Y, "sqeuclidean")
    X = np.repeat(rng.standard_normal((1024, 1)), 128, axis=1).astype(np.float32)
    X[::16] = rng.integers(-2, 3, (64, 128))
    assert_close(fastnn.pairwise_distances(X, X[::-1], "l1"), X, X[::-1], "l1")


def test_near_rows_whose_squares_are_rounded_in_one_direction(isa, rng):
    """They are evaluated again, in chains of float32 that must be short."""
    Y = rng.integers(-1000, 1000, (1, 20_000)).astype(np.float32)
    X = Y + (rng.integers(1 << 14, 1 << 15, (64, 1)) * 2.0**-12).astype(np.float32)
    assert_close(fastnn.pairwise_distances(X, Y, "sqeuclidean"), X, Y, "sqeuclidean")


def signs(rng, n, d):
    """Every product has the same sign: sums grow from end to end of a chain."""
    pattern = np.where(np.arange(d) % 2, 1.0, -1.0)
    return pattern * (1.0 + rng.random((n, 1))) * (1 + 1e-3 * rng.random((n, d)))


def far_off(rng, n, d):
    """What rows have around centers of their own is little beside the centers."""
    return 1e4 * rng.standard_normal((n, 1)) + rng.standard_normal((n, d))


def mixed(rng, n, d):
    """Small values lose digits when the center of large ones is taken from them."""
    X = rng.standard_normal((n, d))
    X[:, ::2] = 2.0**-12 * rng.random((n, len(X[0, ::2]))) + 4.0
    return X


def short(rng, n, d):
    """The most digits that products and their sums in float32 have room for."""
    return rng.choice([-1.0, 1.0], (n, 1)) * (
        255.5 - 0.5 * rng.integers(0, 3, (n, d)) * signs(rng, 1, d)
    )


def nearly_short(rng, n, d):
    """Products fill float32's digits, and their sums are rounded in the same way all along."""
    return np.where(np.arange(d) % 2, 1.0, -1.0) * rng.integers(1024, 4096, (n, 1))


def short_and_long(rng, n, d):
    X = rng.integers(0, 256, (n, d)).astype(np.float64)
    X[::3] += rng.standard_normal(X[::3].shape)
    return X


BOUNDED = [data.normal, data.offset, signs, far_off, mixed, trending, short, nearly_short]
BOUNDED += [short_and_long]


@pytest.mark.parametrize("d", [17, 64, 784, 5000])
@pytest.mark.parametrize("generator", BOUNDED)
@pytest.mark.parametrize("dtype", FLOATS)
def test_the_bound_of_an_expansion(isa, rng, dtype, generator, d):
    """Each expansion is as near to the squared distance as the module's docstring proves."""
    X, Y = np.split(generator(rng, 24, d).astype(dtype), 2)
    squares, sizes = expansions(X, Y)
    wider = np.float64 if dtype == np.float32 else np.longdouble
    expected = oracles.distances(X, Y, "sqeuclidean", wider)
    u, relative = (2.0**-24, 4.0) if dtype == np.float32 else (2.0**-53, 135.0)
    assert (np.abs(squares - expected) <= u * (sizes + relative * expected)).all()


@pytest.mark.parametrize("d", [17, 784])
@pytest.mark.parametrize("generator", [*BOUNDED])
@pytest.mark.parametrize("dtype", [*FLOATS, np.uint8])
def test_the_bound_of_an_expansion_of_unit_rows(isa, rng, dtype, generator, d):
    values = generator(rng, 24, d)
    X, Y = np.split((np.abs(values) % 255 + 1 if dtype == np.uint8 else values).astype(dtype), 2)
    squares, sizes = expansions(Rows(X, normalized=True), Rows(Y, normalized=True))
    exact_X, exact_Y = X.astype(np.longdouble), Y.astype(np.longdouble)
    exact_X /= np.sqrt((exact_X**2).sum(axis=1, keepdims=True))
    exact_Y /= np.sqrt((exact_Y**2).sum(axis=1, keepdims=True))
    expected = oracles.distances(exact_X, exact_Y, "sqeuclidean", np.longdouble)
    u, relative = (2.0**-24, 4.0) if dtype == np.float32 else (2.0**-53, 135.0)
    of_norms = 1e-15 * np.sqrt(expected)
    assert (np.abs(squares - expected) <= u * (sizes + relative * expected) + of_norms).all()


def test_nothing_is_rounded_in_products_of_short_rows(isa, rng):
    X, Y = rng.integers(0, 256, (2, 30, 784)).astype(np.float32)
    Z = X + rng.random((30, 784)).astype(np.float32)
    (_, short_sizes), (_, sizes) = expansions(X, Y), expansions(Z, Y)
    assert (4 * short_sizes < sizes).all()


@pytest.mark.parametrize("d", [20, 300, 784])
@pytest.mark.parametrize("dtype", FLOATS)
def test_whole_numbers_are_exact(isa, rng, dtype, d):
    X, Y = rng.integers(0, 256, (2, 40, d)).astype(dtype)
    expected = oracles.distances(X, Y, "sqeuclidean", np.float64).astype(dtype)
    np.testing.assert_array_equal(fastnn.pairwise_distances(X, Y, "sqeuclidean"), expected)


@pytest.mark.parametrize("metric", [*METRICS, "chebyshev", "cosine"])
@pytest.mark.parametrize("generator", GENERATORS, ids=lambda g: g.__name__)
@pytest.mark.parametrize("dtype", [*FLOATS, np.uint8])
def test_an_entry_depends_on_its_two_rows_alone(isa, rng, dtype, generator, metric):
    X, Y = np.split(data.make(generator, rng, 140, 130, dtype), [65])
    whole = fastnn.pairwise_distances(X, Y, metric)
    for rows, columns in [
        (slice(0, 1), slice(0, None)),
        (slice(3, 4), slice(5, 6)),
        (slice(0, 33), slice(0, 40)),
        (slice(40, 43), slice(17, None)),
        (slice(None, None, -1), slice(None, None, 2)),
    ]:
        part = fastnn.pairwise_distances(X[rows], Y[columns], metric)
        np.testing.assert_array_equal(part, whole[rows, columns])
    np.testing.assert_array_equal(fastnn.pairwise_distances(Y, X, metric), whole.T)
    both = fastnn.pairwise_distances(np.concatenate([X, Y]), metric=metric)
    np.testing.assert_array_equal(both[:65, 65:], whole)
    np.testing.assert_array_equal(fastnn.pairwise_distances(np.asfortranarray(X), Y, metric), whole)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("dtype", "scale"),
    [(np.float32, 1e-30), (np.float32, 1e30), (np.float64, 1e-100), (np.float64, 1e100)],
)
def test_range(isa, rng, dtype, scale, metric):
    if dtype == np.float32 and metric == "sqeuclidean":
        pytest.skip("squares of 1e+-30 have no float32")
    both = (scale * rng.standard_normal((60, 30))).astype(dtype)
    assert_close(
        fastnn.pairwise_distances(both[:30], both[30:], metric), both[:30], both[30:], metric
    )


def test_values_beyond_any_tile(rng):
    X = 1e300 * rng.standard_normal((6, 4))
    assert_close(fastnn.pairwise_distances(X, X[::-1].copy(), "l1"), X, X[::-1], "l1")
    with np.errstate(over="ignore"):
        assert np.isinf(fastnn.pairwise_distances(X, -X, "sqeuclidean")).all()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", [*FLOATS, np.uint8])
@pytest.mark.parametrize("n", [1, 2, 5, 16, 33, 300])
def test_symmetric_case(isa, rng, n, dtype, metric):
    X = data.make(data.duplicated, rng, n, 19, dtype)
    result = fastnn.pairwise_distances(X, metric=metric)
    np.testing.assert_array_equal(result, result.T)
    assert (np.diag(result) == 0.0).all()
    assert_close(result, X, X, metric)


def test_symmetric_case_over_several_chunks(rng):
    X = rng.standard_normal((900, 700))
    result = fastnn.pairwise_distances(X)
    np.testing.assert_array_equal(result, result.T)
    assert_close(result[:50], X[:50], X, "l2")


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", [*FLOATS, np.uint8])
def test_same_answer_for_any_number_of_threads(rng, dtype, metric):
    X, Y = (data.make(data.normal, rng, n, 50, dtype) for n in (300, 500))
    one = fastnn.pairwise_distances(X, Y, metric, n_jobs=1)
    for n_jobs in (2, 3, 5, None):
        np.testing.assert_array_equal(fastnn.pairwise_distances(X, Y, metric, n_jobs=n_jobs), one)


@settings(max_examples=100)
@given(
    X=hnp.arrays(np.float64, (5, 6), elements=st.floats(-1e100, 1e100)),
    Y=hnp.arrays(np.float64, (7, 6), elements=st.floats(-1e100, 1e100)),
    metric=st.sampled_from(METRICS),
)
def test_any_values(X, Y, metric):
    smallest = np.finfo(float).tiny  # below, the exact distance itself has few digits
    expected = oracles.distances(X, Y, metric, np.longdouble)
    found = fastnn.pairwise_distances(X, Y, metric)
    assert (np.abs(found - expected) <= 1e-12 * expected + np.sqrt(smallest)).all()


@pytest.mark.parametrize("metric", [*METRICS, "chebyshev", "cosine"])
@pytest.mark.parametrize("dtype", FLOATS)
def test_short_rows_have_the_distances_of_neighbors(isa, rng, dtype, metric):
    for d in (1, 2, 5, 15, 16):
        both = data.make(data.near_ties, rng, 200, d, dtype)
        X, Y = both[:60], both[40:]
        found = fastnn.pairwise_distances(X, Y, metric)
        distances, indices = fastnn.kneighbors(X, Y, len(Y), metric)
        expected = distances.astype(found.dtype)
        np.testing.assert_array_equal(np.take_along_axis(found, indices, axis=1), expected)
        of_itself = fastnn.pairwise_distances(both, metric=metric)
        np.testing.assert_array_equal(of_itself[:60, 40:], found)
        np.testing.assert_array_equal(of_itself, of_itself.T)


def test_short_rows_over_several_chunks(rng):
    X, Y = rng.standard_normal((3, 16)), rng.standard_normal((100_000, 16))
    assert_close(fastnn.pairwise_distances(X, Y, "l1"), X, Y, "l1")


@pytest.mark.parametrize("metric", ["l1", "l2", "cosine"])
def test_long_rows_take_little_memory(rng, metric):
    X = rng.random((90, 50_000))
    out = np.empty((50, 40))
    fastnn.pairwise_distances(X[:1], X[:1], metric)  # what is imported on the way does not count
    tracemalloc.start()
    try:
        fastnn.pairwise_distances(X[:50], X[50:], metric, out=out, n_jobs=1)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


def test_out(rng):
    X, Y = rng.standard_normal((4, 3)), rng.standard_normal((6, 3))
    out = np.empty((4, 6))
    assert fastnn.pairwise_distances(X, Y, out=out) is out
    np.testing.assert_array_equal(out, fastnn.pairwise_distances(X, Y))


def test_out_is_checked(rng):
    X = rng.standard_normal((4, 4))
    with pytest.raises(TypeError, match="out must be an ndarray, got list"):
        fastnn.pairwise_distances(X, out=[[0.0] * 4] * 4)
    with pytest.raises(ValueError, match=r"out must have shape \(4, 4\) and dtype float64"):
        fastnn.pairwise_distances(X, out=np.empty((4, 5)))
    with pytest.raises(ValueError, match=r"dtype float64, got .* float32"):
        fastnn.pairwise_distances(X, out=np.empty((4, 4), np.float32))
    with pytest.raises(ValueError, match="C-contiguous, aligned and writeable"):
        fastnn.pairwise_distances(X, out=np.empty((4, 4), order="F"))
    for parameters in ({}, {"metric": "cosine"}, {"metric": "minkowski", "p": 1, "w": [1.0] * 4}):
        for arrays in ([X], [X, X + 1.0], [X + 1.0, X]):
            with pytest.raises(ValueError, match="must not overlap"):
                fastnn.pairwise_distances(*arrays, out=X, **parameters)


@pytest.mark.parametrize("metric", [*METRICS, "chebyshev", "cosine"])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ["X", "Y"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("d", [3, 40])
def test_non_finite_values_are_refused(rng, isa, dtype, name, value, d, metric):
    arrays = {"X": rng.standard_normal((4, d)), "Y": rng.standard_normal((50, d))}
    arrays = {name: rows.astype(dtype) for name, rows in arrays.items()}
    arrays[name][2, 1] = value
    with pytest.raises(
        ValueError, match=f"{name} must hold finite numbers, got .* at row 2, column 1"
    ):
        fastnn.pairwise_distances(**arrays, metric=metric)


def test_finite_values_whose_squares_overflow_are_not_refused(rng, isa):
    X = 1e200 * rng.standard_normal((30, 40))
    assert np.isinf(fastnn.pairwise_distances(X, X[::2])).any()


def test_rows_given_twice_are_one_set(rng, isa):
    X = rng.standard_normal((50, 40)).astype(np.float32)
    whole = fastnn.pairwise_distances(X)
    np.testing.assert_array_equal(fastnn.pairwise_distances(X, X), whole)
    np.testing.assert_array_equal(fastnn.pairwise_distances(X, X.copy()), whole)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.uint16])
@pytest.mark.parametrize("metric", METRICS)
def test_distances_of_small_integers_are_float64(rng, dtype, metric):
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    X = rng.integers(low, high, (30, 300), dtype)
    for Y in (X[::-1].copy(), X[:7].astype(np.uint8)):
        found = fastnn.pairwise_distances(X, Y, metric)
        assert found.dtype == np.float64
        expected = oracles.distances(X, Y, metric)
        assert (np.abs(found - expected) <= 1e-12 * expected).all()
    assert fastnn.pairwise_distances(X, X.astype(np.float32), metric).dtype == np.float32
    chunk = next(iter(fastnn.metrics.pairwise_distances_chunked(X, metric=metric)))
    assert chunk.dtype == np.float64
