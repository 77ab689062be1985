"""Searches and descents on losses whose way can be computed by hand."""

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from fastnn import losses
from fastnn.optimize import gradient_descent, random_local_search, random_search, sgd

SEARCHES = {"random_search": random_search, "random_local_search": random_local_search}
searches = pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)


def bowl(x):
    """Smallest at 1."""
    return float(np.sum((x - 1) ** 2))


def bowl_with_gradient(x):
    return bowl(x), 2 * (x - 1)


# ---- searches ------------------------------------------------------------------------------------


def test_random_search_by_the_book():
    x0 = np.array([5.0, 5.0])
    result = random_search(bowl, x0, step_size=2.0, n_trials=50, random_state=0)
    random = np.random.RandomState(0)
    points = [x0] + [2.0 * random.standard_normal(2) for _ in range(49)]
    values = np.array([bowl(point) for point in points])
    np.testing.assert_array_equal(result.history, np.minimum.accumulate(values))
    np.testing.assert_array_equal(result.x, points[values.argmin()])
    assert (result.fun, result.nit, result.nfev) == (values.min(), 50, 50)
    assert (result.success, result.status) == (True, 0)


def test_random_local_search_by_the_book():
    x = np.array([[5.0, 5.0]])
    result = random_local_search(bowl, x, step_size=0.5, n_trials=50, random_state=0)
    random = np.random.RandomState(0)
    best, history = bowl(x), [bowl(x)]
    for _ in range(49):
        trial = x + 0.5 * random.standard_normal((1, 2))
        if bowl(trial) < best:
            x, best = trial, bowl(trial)
        history.append(best)
    np.testing.assert_array_equal(result.history, history)
    np.testing.assert_array_equal(result.x, x)
    assert result.fun < 0.5


@searches
def test_searches_find_the_way_around_nan(search):
    def loss(x):
        return np.nan if x[0] < 1 else x[0]

    result = search(loss, [0.0], step_size=1.0, n_trials=200, random_state=0)
    assert result.history[0] == np.inf
    assert 1 <= result.fun < 2
    nowhere = search(lambda x: np.nan, [3.0], step_size=1.0, n_trials=5)
    assert (nowhere.x, nowhere.fun) == ([3.0], np.inf)


@searches
def test_searches_keep_float32_and_the_start(search):
    x0 = np.zeros(3, np.float32)
    seen = []
    result = search(lambda x: seen.append(x.dtype) or bowl(x), x0, step_size=1.0, n_trials=5)
    assert {result.x.dtype, *seen} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(x0, 0.0)
    x0.flags.writeable = False
    search(bowl, x0, step_size=1.0, n_trials=2)
    assert search(bowl, [0, 0], step_size=1.0, n_trials=2).x.dtype == np.float64


@searches
def test_seeds(search):
    results = [search(bowl, [0.0], step_size=1.0, random_state=s).x for s in (1, 1, 2)]
    assert results[0] == results[1] != results[2]


@searches
def test_callbacks_of_searches(search):
    seen = []

    def callback(intermediate_result):
        seen.append(intermediate_result.fun)
        if len(seen) == 4:
            raise StopIteration

    result = search(bowl, [0.0], step_size=1.0, random_state=0, callback=callback)
    np.testing.assert_array_equal(result.history, seen)
    assert (result.nit, result.success, result.status) == (4, False, 1)
    assert "callback" in result.message


# ---- descents ------------------------------------------------------------------------------------


@pytest.mark.parametrize("momentum", [0.0, 0.5])
@pytest.mark.parametrize("nesterov", [False, True])
def test_gradient_descent_by_the_book(momentum, nesterov):
    result = gradient_descent(
        bowl_with_gradient, [4.0], step_size=0.1, max_iter=6, momentum=momentum, nesterov=nesterov
    )
    x, velocity, history = 4.0, 0.0, [9.0]
    for _ in range(6):
        slope = 2 * (x - 1)
        velocity = momentum * velocity - 0.1 * slope
        x += momentum * velocity - 0.1 * slope if nesterov else velocity
        history.append((x - 1) ** 2)
    np.testing.assert_allclose(result.x, [x], rtol=1e-14)
    np.testing.assert_allclose(result.history, history, rtol=1e-13)
    np.testing.assert_allclose(result.jac, [2 * (x - 1)], rtol=1e-13)
    assert (result.nit, result.nfev, result.success) == (6, 7, True)
    assert result.fun == result.history[-1]


@pytest.mark.parametrize("gradient", [None, lambda x: 2 * (x - 1)])
def test_gradients_from_elsewhere(gradient):
    expected = gradient_descent(bowl_with_gradient, [4.0, 0.0], step_size=0.1)
    result = gradient_descent(bowl, [4.0, 0.0], step_size=0.1, gradient=gradient)
    np.testing.assert_allclose(result.x, expected.x, atol=1e-8)


def test_step_sizes_from_a_schedule():
    sizes = [0.3, 0.2, 0.1]
    result = gradient_descent(
        bowl_with_gradient, [2.0], step_size=lambda step: sizes[step], max_iter=3
    )
    np.testing.assert_allclose(result.x, 1 + 0.4 * 0.6 * 0.8)


def test_tolerance_ends_the_descent():
    result = gradient_descent(bowl_with_gradient, [2.0], step_size=0.25, tol=0.3)
    np.testing.assert_array_equal(result.history, [1.0, 0.25, 0.0625, 0.015625])
    assert gradient_descent(bowl_with_gradient, [1.0], step_size=0.25).nit == 0


def test_divergence_leaves_the_last_finite_point():
    with pytest.warns(ConvergenceWarning, match=r"not finite after step \d+.*step_size") as record:
        result = gradient_descent(bowl_with_gradient, [2.0], step_size=1e80, max_iter=50)
    assert record[0].filename == __file__
    assert np.isfinite(result.x).all()
    assert np.isfinite(result.history).all()
    assert (result.success, result.status) == (False, 2)
    assert result.fun == result.history[-1] == bowl(result.x)


def test_callbacks_of_gradient_descent():
    seen = []

    def callback(intermediate_result):
        seen.append((intermediate_result.fun, intermediate_result.jac[0]))
        if len(seen) == 3:
            raise StopIteration

    result = gradient_descent(bowl_with_gradient, [2.0], step_size=0.25, callback=callback)
    assert seen == [(1.0, 2.0), (0.25, 1.0), (0.0625, 0.5)]
    assert (result.nit, result.fun, result.status) == (2, 0.0625, 1)


def test_sgd_by_the_book(rng):
    X, y = rng.standard_normal((10, 3)), rng.integers(0, 2, 10)
    W0 = rng.standard_normal((2, 3))
    batches = []

    def loss(W, batch):
        batches.append(batch)
        return losses.linear_loss(W, X[batch], y[batch], "softmax")

    result = sgd(
        loss, W0, 10, step_size=0.5, batch_size=4, max_iter=3, momentum=0.5, random_state=0
    )
    assert [len(batch) for batch in batches] == [4, 4, 2] * 3
    random = np.random.RandomState(0)
    W, velocity, history = W0, np.zeros_like(W0), []
    for epoch in range(3):
        order = random.permutation(10)
        np.testing.assert_array_equal(np.concatenate(batches[3 * epoch : 3 * epoch + 3]), order)
        total = 0.0
        for start in (0, 4, 8):
            batch = order[start : start + 4]
            value, slope = losses.linear_loss(W, X[batch], y[batch], "softmax")
            total += value * len(batch)
            velocity = 0.5 * velocity - 0.5 * slope
            W = W + velocity
        history.append(total / 10)
    np.testing.assert_allclose(result.x, W, rtol=1e-13)
    np.testing.assert_allclose(result.history, history, rtol=1e-13)
    assert (result.nit, result.nfev, result.success) == (3, 9, True)


def mean_of_squares(x, batch):
    return float(np.mean((x - batch) ** 2)), np.full_like(x, 2 * np.mean(x - batch))


def test_sgd_in_order_and_in_one_batch():
    seen = []
    sgd(
        lambda x, batch: seen.append(batch.tolist()) or (0.0, np.zeros(1)),
        [0.0],
        5,
        step_size=0.1,
        batch_size=100,
        max_iter=2,
        shuffle=False,
    )
    assert seen == [[0, 1, 2, 3, 4]] * 2


def test_sgd_diverges():
    with pytest.warns(ConvergenceWarning, match="batch .* in epoch .*step_size") as record:
        result = sgd(mean_of_squares, [0.0], 8, step_size=1e60, batch_size=2, max_iter=50)
    assert record[0].filename == __file__
    assert np.isfinite(result.x).all()
    assert (result.success, result.status) == (False, 2)
    assert len(result.history) == result.nit


def test_callbacks_of_sgd():
    seen = []

    def callback(intermediate_result):
        seen.append(intermediate_result.fun)
        if len(seen) == 2:
            raise StopIteration

    result = sgd(mean_of_squares, [0.0], 8, step_size=0.1, callback=callback)
    np.testing.assert_array_equal(result.history, seen)
    assert (result.nit, result.status) == (2, 1)


# ---- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"loss": 3}, TypeError, "loss must be callable, got int"),
        ({"loss": lambda x: None}, TypeError, "loss must return a number, got NoneType"),
        ({"x0": []}, ValueError, "x0 must hold finite numbers and not be empty"),
        ({"x0": [np.nan]}, ValueError, "x0 must hold finite numbers"),
        ({"x0": ["a"]}, TypeError, "x0 must hold real numbers"),
        ({"step_size": 0}, ValueError, "step_size must be above 0, got 0.0"),
        ({"step_size": None}, TypeError, "step_size must be a number, got NoneType"),
        ({"n_trials": 0}, ValueError, "n_trials must be at least 1, got 0"),
        ({"n_trials": 2.5}, TypeError, "n_trials must be an integer, got float"),
        ({"random_state": "a"}, ValueError, "cannot be used to seed"),
        ({"callback": 3}, TypeError, "callback must be callable"),
        ({"callback": lambda: None}, TypeError, "callback must be callable as callback"),
    ],
)
@searches
def test_bad_arguments_of_searches(search, arguments, error, message):
    with pytest.raises(error, match=message):
        search(**{"loss": bowl, "x0": [0.0], "step_size": 1.0} | arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"loss": bowl}, TypeError, r"loss must return a tuple \(loss, gradient\), got float"),
        ({"loss": lambda x: (0.0, x[:1])}, ValueError, "gradient must have the shape of x0"),
        ({"loss": lambda x: ("a", x)}, TypeError, "loss must return a number, got str"),
        ({"loss": lambda x: (np.nan, x)}, ValueError, "loss must be finite at x0"),
        ({"loss": lambda x: (0.0, x + np.inf)}, ValueError, "loss must be finite at x0"),
        ({"gradient": 3}, TypeError, "gradient must be callable"),
        ({"max_iter": 0}, ValueError, "max_iter must be at least 1"),
        ({"momentum": 1.0}, ValueError, "momentum must be below 1, got 1.0"),
        ({"momentum": -0.1}, ValueError, "momentum must be a finite number >= 0"),
        ({"step_size": -1.0}, ValueError, "step_size must be above 0"),
        ({"step_size": lambda step: 0.0}, ValueError, "step_size must be above 0"),
        ({"tol": -1}, ValueError, "tol must be a finite number >= 0"),
        ({"callback": 3}, TypeError, "callback must be callable"),
    ],
)
def test_bad_arguments_of_gradient_descent(arguments, error, message):
    defaults = {"loss": bowl_with_gradient, "x0": [0.0, 0.0], "step_size": 0.1}
    with pytest.raises(error, match=message):
        gradient_descent(**defaults | arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"loss": 3}, TypeError, "loss must be callable"),
        ({"loss": lambda x, b: 0.0}, TypeError, r"loss must return a tuple \(loss, gradient\)"),
        ({"loss": lambda x, b: (0.0, [1.0, 2.0])}, ValueError, "gradient must have the shape"),
        ({"n_samples": 0}, ValueError, "n_samples must be at least 1"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1"),
        ({"max_iter": 1.0}, TypeError, "max_iter must be an integer"),
        ({"momentum": 2}, ValueError, "momentum must be below 1"),
    ],
)
def test_bad_arguments_of_sgd(arguments, error, message):
    defaults = {"loss": mean_of_squares, "x0": [0.0], "n_samples": 8, "step_size": 0.1}
    with pytest.raises(error, match=message):
        sgd(**defaults | arguments)


def test_a_loss_that_is_never_a_number():
    result = random_search(lambda x: np.nan, np.zeros(2), step_size=1.0, n_trials=5)
    assert not result.success
    assert result.fun == np.inf


def test_the_tolerance_is_named():
    result = gradient_descent(lambda x: (float(x @ x), 2 * x), [1.0], step_size=0.4, tol=1e-3)
    assert result.success
    assert result.message == "No derivative is larger than tol."


def test_one_buffer_for_all_gradients():
    buffer = np.empty(1)

    def loss(x):
        buffer[:] = 2 * x if abs(x[0]) < 1e3 else np.nan
        return float(x @ x), buffer

    with pytest.warns(ConvergenceWarning, match="Lower step_size, now 10"):
        result = gradient_descent(loss, [1.0], step_size=10.0)
    np.testing.assert_array_equal(result.jac, 2 * result.x)


def test_a_first_batch_that_is_not_finite():
    with pytest.warns(ConvergenceWarning, match="The start may be at fault"):
        result = sgd(lambda x, batch: (np.nan, x), [1.0], 4, step_size=0.1)
    assert not result.success


def test_complex_gradients():
    with pytest.raises(TypeError, match="gradient must hold real numbers, got dtype complex128"):
        gradient_descent(lambda x: (1.0, 1j * x), [1.0], step_size=0.1)
