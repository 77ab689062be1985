"""Networks: scores, losses, gradients and steps against plain NumPy; the estimator around them."""

import copy
import itertools
import pickle
import sys

import numpy as np
import pytest
import scipy.sparse
import sklearn.neural_network
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import train_test_split
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import has_fit_parameter

import children
import fastnn
import oracles
from fastnn._core.training._network import Network
from fastnn._training.trainer import Trainer
from fastnn.gradcheck import check_gradient
from fastnn.neural_network import MLPClassifier, MLPRegressor

ACTIVATIONS = ("relu", "tanh", "logistic", "identity")
LOSSES = ("softmax", "svm")
# Around the widths of vectors and tiles.
SIZES = ([3, 2], [5, 1, 2], [7, 6, 3], [64, 32, 10], [17, 33, 12, 13, 5], [300, 16, 31, 70, 10])
TOLERANCE = {np.float32: 3e-5, np.float64: 1e-11}
brief = {"hidden_layer_sizes": (9,), "max_iter": 5, "tol": 0.0, "random_state": 0}
hushed = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


EXPECTED_TO_FAIL = {
    "dropout": {"check_sample_weight_equivalence_on_dense_data": "dropout draws for each row anew"},
    "poisson": {"check_regressor_multioutput": "its targets are negative"},
}


@parametrize_with_checks(
    [
        MLPClassifier(),
        MLPClassifier((7, 5), solver="sgd", activation="tanh", learning_rate_init=0.05),
        MLPClassifier((12,), solver="lbfgs", alpha=0.1, activation="logistic"),
        MLPClassifier((30,), loss="svm"),
        MLPClassifier((50,), dropout=0.2),
        MLPRegressor(),
        MLPRegressor("poisson", (7, 5), solver="lbfgs", activation="tanh"),
    ],
    expected_failed_checks=lambda estimator: EXPECTED_TO_FAIL.get(
        "dropout" if estimator.dropout else estimator.loss, {}
    ),
)
@hushed
def test_scikit_learn_contract(estimator, check):
    check(estimator)


# ---- the compiled network ------------------------------------------------------------------------


def make_weights(sizes, seed=0, spread=0.4):
    rng = np.random.default_rng(seed)
    pairs = list(itertools.pairwise(sizes))
    weights = [rng.standard_normal(pair) * spread / np.sqrt(pair[0]) for pair in pairs]
    return weights, [0.1 * rng.standard_normal(n) for _, n in pairs]


def make_rows(n, sizes, dtype=np.float64, seed=1):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, sizes[0]))
    if dtype == np.uint8:
        X = rng.integers(0, 256, (n, sizes[0]))
    return np.ascontiguousarray(X, dtype=dtype), rng.integers(0, sizes[-1], n)


def relative_error(found, expected):
    return np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-9)


def assert_same(found, expected, tolerance):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        assert relative_error(one, other) < tolerance


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("n", [1, 7, 16, 33, 700])
def test_scores_losses_and_gradients(isa, sizes, n):
    weights, offsets = make_weights(sizes)
    for dtype, activation, loss in itertools.product(TOLERANCE, ACTIVATIONS, LOSSES):
        X, labels = make_rows(n, sizes, dtype)
        network = Network(X, sizes, labels, loss, activation, 0.7, n_threads=2)
        network.set_weights(weights, offsets)
        expected = oracles.network(X, labels, weights, offsets, activation, loss, 0.7)
        tolerance = TOLERANCE[dtype]
        assert relative_error(network.scores(), expected[0]) < tolerance
        assert network.loss_and_gradient(False)[0] == pytest.approx(expected[1], rel=tolerance)
        value, *gradients = network.loss_and_gradient()
        assert value == pytest.approx(expected[1], rel=tolerance)
        # Hinges and rectifiers may tip over where float32 rounds.
        if dtype == np.float64 or (loss == "softmax" and activation != "relu"):
            assert_same(gradients[0], expected[2], 10 * tolerance)
            assert_same(gradients[1], expected[3], 10 * tolerance)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_rows_that_stand_for_scaled_ones(isa, dtype):
    sizes = [50, 9, 4]
    weights, offsets = make_weights(sizes)
    X, labels = make_rows(90, sizes, np.uint8)
    mean, scale = X.mean(axis=0), 1 / 64
    network = Network(X.astype(dtype), sizes, labels, alpha=0.1, mean=mean, scale=scale)
    network.set_weights(weights, offsets)
    scaled = (X - mean) * scale
    expected = oracles.network(scaled, labels, weights, offsets, "relu", "softmax", 0.1)
    tolerance = TOLERANCE.get(dtype, 3e-5)
    assert relative_error(network.scores(), expected[0]) < tolerance
    assert_same(network.loss_and_gradient()[1], expected[2], 10 * tolerance)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("loss", LOSSES)
def test_check_gradient(activation, loss):
    sizes = [6, 5, 4, 3]
    X, labels = make_rows(40, sizes)
    network = Network(X, sizes, labels, loss, activation, 0.3)
    weights, offsets = make_weights(sizes)
    shapes = [part.shape for part in weights + offsets]

    def value_and_gradient(line):
        parts = np.split(line, np.cumsum([np.prod(shape) for shape in shapes])[:-1])
        parts = [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
        network.set_weights(parts[:3], parts[3:])
        value, *gradients = network.loss_and_gradient()
        return value, np.concatenate([g.ravel() for g in gradients[0] + gradients[1]])

    start = np.concatenate([part.ravel() for part in weights + offsets])
    check_gradient(value_and_gradient, start, rtol=1e-6)


def test_the_two_layers_of_the_course():
    """s = W2 max(0, W1 x + b1) + b2 with the softmax loss, from the formulas."""
    rng = np.random.default_rng(0)
    X, y = 10 * rng.standard_normal((5, 4)), np.array([0, 1, 2, 2, 1])
    W1, W2 = 0.1 * rng.standard_normal((4, 10)), 0.1 * rng.standard_normal((10, 3))
    b1, b2 = rng.standard_normal(10), rng.standard_normal(3)
    hidden = np.maximum(0, X @ W1 + b1)
    scores = hidden @ W2 + b2
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    loss = -np.log(shares[np.arange(5), y]).mean()
    dscores = (shares - np.eye(3)[y]) / 5
    dhidden = dscores @ W2.T * (hidden > 0)
    network = Network(X, [4, 10, 3], y)
    network.set_weights([W1, W2], [b1, b2])
    np.testing.assert_allclose(network.scores(), scores, rtol=1e-12)
    value, gradients, of_offsets = network.loss_and_gradient()
    assert value == pytest.approx(loss, rel=1e-12)
    assert_same(gradients, [X.T @ dhidden, hidden.T @ dscores], 1e-12)
    assert_same(of_offsets, [dhidden.sum(axis=0), dscores.sum(axis=0)], 1e-12)


def naive_epoch(weights, offsets, moments, X, labels, batch_size, step, **options):
    """Gradient descent written out; returns the mean loss."""
    total = 0.0
    for first in range(0, len(X), batch_size):
        rows = slice(first, first + batch_size)
        _, loss, *gradients = oracles.network(X[rows], labels[rows], weights, offsets, **options)
        total += loss * len(X[rows])
        parts, gradients = weights + offsets, gradients[0] + gradients[1]
        step(parts, gradients, moments)
    return total / len(X)


def momentum_step(rate, momentum, nesterov):
    def step(parts, gradients, moments):
        for part, gradient, velocity in zip(parts, gradients, moments, strict=True):
            velocity *= momentum
            velocity -= rate * gradient
            part += momentum * velocity - rate * gradient if nesterov else velocity

    return step


def adam_step(rate, beta_1, beta_2, epsilon):
    t = itertools.count(1)

    def step(parts, gradients, moments):
        n = next(t)
        for part, gradient, (m, v) in zip(parts, gradients, moments, strict=True):
            m *= beta_1
            m += (1 - beta_1) * gradient
            v *= beta_2
            v += (1 - beta_2) * gradient**2
            corrected = m / (1 - beta_1**n), v / (1 - beta_2**n)
            part -= rate * corrected[0] / (np.sqrt(corrected[1]) + epsilon)

    return step


@pytest.mark.parametrize("sizes", [[7, 6, 3], [37, 17, 33, 4], [9, 4]], ids=str)
@pytest.mark.parametrize("batch_size", [1, 10, 64, 1100])
@pytest.mark.parametrize("method", ["momentum", "nesterov", "adam"])
def test_epochs(isa, sizes, batch_size, method):
    n = 1300 if batch_size > 1000 else 75
    X, labels = make_rows(n, sizes)
    order = np.random.default_rng(3).permutation(n)
    weights, offsets = make_weights(sizes)
    network = Network(X, sizes, labels, "softmax", "tanh", 0.4, n_threads=2)
    network.set_weights(weights, offsets)
    rates = np.full(-(-n // batch_size), 0.02)
    if method == "adam":
        # Where the gradient is almost 0, epsilon decides; the corrections go with it otherwise.
        moments = [(np.zeros_like(p), np.zeros_like(p)) for p in weights + offsets]
        step = adam_step(0.02, 0.9, 0.99, 1e-300)
        arguments = {"adam": (0.9, 0.99, 1e-300)}
    else:
        moments = [np.zeros_like(p) for p in weights + offsets]
        step = momentum_step(0.02, 0.9, method == "nesterov")
        arguments = {"momentum": 0.9, "nesterov": method == "nesterov"}
    for _ in range(2):
        expected = naive_epoch(
            weights, offsets, moments, X[order], labels[order], batch_size, step,
            activation="tanh", loss="softmax", alpha=0.4,
        )  # fmt: skip
        found, accuracy = network.train(order, batch_size, rates, **arguments)
        assert found == pytest.approx(expected, rel=1e-9)
        assert 0 <= accuracy <= 1
    assert_same(network.get_weights()[0], weights, 1e-8)
    assert_same(network.get_weights()[1], offsets, 1e-8)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
@pytest.mark.parametrize("adam", [None, (0.9, 0.999, 1e-8)])
@pytest.mark.parametrize("batch_size", [100, 600])
def test_any_number_of_threads_gives_the_same_bits(isa, dtype, adam, batch_size):
    sizes = [200, 40, 30, 10]
    X, labels = make_rows(777, sizes, dtype)
    results = []
    for n_threads in (1, 2, 3, 5):
        network = Network(X, sizes, labels, "svm", dropout=0.3, seed=5, n_threads=n_threads)
        network.set_weights(*make_weights(sizes))
        order = np.random.default_rng(0).permutation(777)
        losses = network.train(order, batch_size, np.full(8, 1e-3), 0.9, True, adam)
        results.append((losses, network.get_weights(), network.loss_and_gradient()))
    for result in results[1:]:
        np.testing.assert_equal(result, results[0])


def test_accuracy_is_that_of_the_scores_of_each_batch():
    sizes = [8, 3]
    X, labels = make_rows(50, sizes)
    network = Network(X, sizes, labels)
    network.set_weights(*make_weights(sizes))
    hits = (network.scores().argmax(axis=1) == labels).mean()
    assert network.train(np.arange(50), 50, np.array([0.1]))[1] == hits


@pytest.mark.parametrize("n_out", [1, 5, 6, 12, 13, 24])
def test_weights_that_were_given_out_stay_as_they_are(n_out):
    sizes = [8, n_out, 3]
    X, labels = make_rows(30, sizes)
    network = Network(X, sizes, labels)
    weights, offsets = make_weights(sizes)
    network.set_weights(weights, offsets)
    kept = network.get_weights()
    network.train(np.arange(30), 10, np.full(3, 0.1))
    np.testing.assert_equal(kept, (weights, offsets))
    assert not np.array_equal(network.get_weights()[0][0], weights[0])


def test_optimizers_go_on_where_they_were():
    sizes = [8, 5, 3]
    X, labels = make_rows(60, sizes)
    for adam in (None, (0.9, 0.999, 1e-8)):
        arguments = (np.arange(60), 20, np.full(3, 0.01), 0.9, False, adam)
        whole = Network(X, sizes, labels)
        whole.set_weights(*make_weights(sizes))
        whole.train(*arguments)
        part = Network(X, sizes, labels)
        part.set_weights(*whole.get_weights())
        part.set_moments(whole.get_moments())
        whole.train(*arguments)
        part.train(*arguments)
        np.testing.assert_equal(part.get_weights(), whole.get_weights())


# ---- dropout -------------------------------------------------------------------------------------


def test_dropout_silences_a_share_and_scales_the_rest():
    """Scores of a network whose last layer sums up tell how many units were left."""
    n_units, n_rows, share = 400, 500, 0.3
    X, labels = np.ones((n_rows, 1)), np.zeros(n_rows, np.int64)
    network = Network(X, [1, n_units, 2], labels, "svm", "identity", dropout=share, seed=1)
    # The SVM's loss is s_1 - s_0 + 1 while that is positive: the sum of the units, plus 1.
    weights = [np.ones((1, n_units)), np.array([[0.0, 1.0]] * n_units)]
    network.set_weights(weights, [np.zeros(n_units), np.zeros(2)])
    left = (network.train(np.arange(n_rows), n_rows, np.array([0.0]))[0] - 1) / n_units
    assert left == pytest.approx(1.0, abs=5 * np.sqrt(share / (1 - share) / (n_units * n_rows)))
    single = [
        (network.train(np.array([r]), 1, np.array([0.0]))[0] - 1) * (1 - share) for r in range(20)
    ]
    assert len(set(np.rint(single))) > 5, "rows lose different units"
    np.testing.assert_allclose(single, np.rint(single), rtol=1e-9)
    assert network.loss_and_gradient()[0] == pytest.approx(n_units + 1), "none outside of training"


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_dropout_goes_back_as_it_came(activation):
    """The step of an epoch is the gradient of that epoch's loss."""
    sizes = [4, 6, 5, 3]
    X, labels = make_rows(30, sizes)
    weights, offsets = make_weights(sizes)

    def loss_after(changed, rate=0.0):
        network = Network(X, sizes, labels, "softmax", activation, dropout=0.4, seed=3)
        network.set_weights(changed, offsets)
        loss, _ = network.train(np.arange(30), 30, np.array([rate]))
        return loss, network.get_weights()[0]

    after = loss_after(weights, rate=1.0)[1]
    for layer, place in [(0, (1, 2)), (0, (3, 5)), (1, (2, 4)), (2, (4, 1))]:
        higher, lower = copy.deepcopy(weights), copy.deepcopy(weights)
        higher[layer][place] += 1e-6
        lower[layer][place] -= 1e-6
        slope = (loss_after(higher)[0] - loss_after(lower)[0]) / 2e-6
        step = weights[layer][place] - after[layer][place]
        assert step == pytest.approx(slope, rel=1e-5, abs=1e-9)


# ---- the estimator -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X / 16, y


@hushed
@pytest.mark.parametrize(
    "parameters",
    [
        {"solver": "adam"},
        {"solver": "sgd", "learning_rate_init": 0.05},
        {"solver": "sgd", "nesterovs_momentum": False, "learning_rate": "invscaling"},
        {"solver": "adam", "activation": "logistic", "hidden_layer_sizes": (8, 7)},
        {"solver": "adam", "activation": "tanh", "batch_size": 33, "beta_2": 0.9},
    ],
    ids=str,
)
def test_from_the_same_weights_scikit_learn_gets_the_same(digits, parameters):
    X, y = digits[0][:500], digits[1][:500]
    shared = {
        "hidden_layer_sizes": (12,), "alpha": 0.5, "max_iter": 1, "shuffle": False, "tol": 0.0,
        "warm_start": True, "random_state": 0, **parameters,
    }  # fmt: skip
    ours = MLPClassifier(**shared).fit(X, y)
    theirs = sklearn.neural_network.MLPClassifier(**shared).fit(X, y)
    theirs.coefs_ = copy.deepcopy(ours.coefs_)
    theirs.intercepts_ = copy.deepcopy(ours.intercepts_)
    ours._moments = None  # scikit-learn's optimizer starts anew in each fit
    ours._history.n_seen = theirs.t_ = 0
    ours.set_params(max_iter=6).fit(X, y)
    theirs.set_params(max_iter=6).fit(X, y)
    np.testing.assert_allclose(ours.loss_curve_[1:], theirs.loss_curve_[1:], rtol=1e-6)
    for mine, other in zip(ours.coefs_, theirs.coefs_, strict=True):
        assert relative_error(mine, other) < 1e-5
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-6)


@hushed
def test_default_parameters_are_those_of_scikit_learn():
    ours = MLPClassifier().get_params()
    theirs = sklearn.neural_network.MLPClassifier().get_params()
    assert {name: ours[name] for name in theirs} == theirs
    assert set(ours) - set(theirs) == {
        "loss",
        "class_weight",
        "decay_every",
        "decay_factor",
        "dropout",
        "n_jobs",
    }
    X, y = make_rows(60, [4, 3])
    model = MLPClassifier(**brief).fit(X, y)
    other = sklearn.neural_network.MLPClassifier(**brief).fit(X, y)
    public = {name for name in vars(other) if name.endswith("_") and not name.startswith("_")}
    assert public <= set(vars(model))
    for name in ("n_layers_", "n_outputs_", "n_iter_", "t_", "out_activation_"):
        assert getattr(model, name) == getattr(other, name)
    assert [c.shape for c in model.coefs_] == [c.shape for c in other.coefs_]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@hushed
def test_learns(digits, loss, solver):
    X, y = digits
    rate = 0.05 if solver == "sgd" else 1e-3
    model = MLPClassifier(
        (40,), solver=solver, loss=loss, max_iter=60, learning_rate_init=rate, random_state=0
    )
    assert model.fit(X[:1200], y[:1200]).score(X[1200:], y[1200:]) > 0.9
    assert model.loss_curve_[-1] < 0.3 * model.loss_curve_[0]
    assert model.loss_ == model.loss_curve_[-1]
    assert model.best_loss_ == min(model.loss_curve_)
    assert hasattr(model, "predict_proba") == (loss == "softmax")
    if loss == "softmax":
        np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1.0)
        np.testing.assert_array_equal(model.predict_proba(X).argmax(axis=1), model.predict(X))


def test_bytes_learn_as_scaled_floats_do(digits):
    X, y = digits
    pixels = np.rint(X * 16).astype(np.uint8)
    model = MLPClassifier((20,), max_iter=300, random_state=0, tol=1e-3).fit(pixels, y)
    assert model.score(pixels, y) > 0.97
    by_hand = oracles.network(
        pixels, y, model.coefs_, model.intercepts_, "relu", "softmax", 0.0
    )[0]  # fmt: skip
    assert relative_error(model.decision_function(pixels), by_hand) < 1e-4
    for dtype in (np.float32, np.float64):
        np.testing.assert_array_equal(model.predict(pixels.astype(dtype)), model.predict(pixels))


@hushed
def test_results_do_not_depend_on_threads_or_layout(digits):
    X, y = digits
    parameters = {**brief, "dropout": 0.2, "early_stopping": True}
    models = [MLPClassifier(**parameters, n_jobs=n).fit(X, y) for n in (1, 2, 5)]
    models.append(MLPClassifier(**parameters).fit(np.asfortranarray(X), y))
    frozen = X.copy()
    frozen.setflags(write=False)
    models.append(MLPClassifier(**parameters).fit(frozen, y))
    for model in models[1:]:
        np.testing.assert_equal(model.coefs_, models[0].coefs_)
        assert model.history_ == models[0].history_
    np.testing.assert_array_equal(models[0].predict_proba(X), models[3].predict_proba(X[:, :]))


@hushed
def test_first_weights():
    X, y = make_rows(50, [30, 3])
    for activation, bound in [
        ("relu", np.sqrt(6 / 30)),
        ("tanh", np.sqrt(6 / 430)),
        ("logistic", np.sqrt(2 / 430)),
    ]:
        model = MLPClassifier(400, activation, solver="sgd", learning_rate_init=1e-30, max_iter=1)
        first = model.set_params(momentum=0.0, alpha=0.0).fit(X, y).coefs_[0]
        assert 0.98 * bound < np.abs(first).max() <= bound
        assert np.abs(model.intercepts_[0]).max() < 1e-20


@hushed
def test_early_stopping_keeps_the_best_weights(digits):
    X, y = digits
    model = MLPClassifier(
        (20,), solver="sgd", learning_rate_init=0.3, early_stopping=True, max_iter=60,
        random_state=1, n_iter_no_change=3,
    ).fit(X, y)  # fmt: skip
    assert model.best_validation_score_ == max(model.validation_scores_)
    assert model.best_loss_ is None
    assert model.history_["val_accuracy"] == model.validation_scores_
    assert len(model.history_["accuracy"]) == len(model.history_["loss"]) == model.n_iter_ < 60


@hushed
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint8])
def test_a_weight_is_a_number_of_repetitions(digits, loss, dtype):
    X, y = (16 * digits[0][:300]).astype(dtype), digits[1][:300]
    weights = np.random.default_rng(0).integers(0, 4, 300)
    parameters = {"loss": loss, "alpha": 2.0, "solver": "sgd", "shuffle": False}
    weighted = MLPClassifier(**{**brief, **parameters}, batch_size=300)
    repeated = clone(weighted).set_params(batch_size=int(weights.sum()))
    weighted.fit(X, y, weights)
    with pytest.MonkeyPatch.context() as patch:  # bytes take their scale from some of the rows
        scale = weighted._mean, weighted._scale
        patch.setattr("fastnn._training.estimators.mean_and_scale", lambda *_, **__: scale)
        repeated.fit(np.repeat(X, weights, axis=0), np.repeat(y, weights))
    tolerance = 1e-9 if dtype == np.float64 else 2e-4
    np.testing.assert_allclose(weighted.loss_curve_, repeated.loss_curve_, rtol=tolerance)
    np.testing.assert_allclose(
        weighted.history_["accuracy"], repeated.history_["accuracy"], atol=1e-9
    )
    assert_same(weighted.coefs_, repeated.coefs_, tolerance)
    assert_same(weighted.intercepts_, repeated.intercepts_, tolerance)


@hushed
@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_scikit_learn_weighs_rows_in_the_same_way(digits, solver):
    if not has_fit_parameter(sklearn.neural_network.MLPClassifier, "sample_weight"):
        pytest.skip("scikit-learn's networks take weights of rows from 1.7 on")
    X, y = digits[0][:400], digits[1][:400]
    weights = np.random.default_rng(1).exponential(3.0, 400)
    shared = {
        "hidden_layer_sizes": (12,), "solver": solver, "alpha": 0.5, "max_iter": 1,
        "shuffle": False, "tol": 0.0, "warm_start": True, "batch_size": 50,
    }  # fmt: skip
    ours = MLPClassifier(**shared, random_state=0).fit(X, y, sample_weight=weights)
    theirs = sklearn.neural_network.MLPClassifier(**shared, random_state=0)
    theirs.fit(X, y, sample_weight=weights)
    theirs.coefs_ = copy.deepcopy(ours.coefs_)
    theirs.intercepts_ = copy.deepcopy(ours.intercepts_)
    ours._moments = None
    ours.set_params(max_iter=4).fit(X, y, weights)
    theirs.set_params(max_iter=4).fit(X, y, sample_weight=weights)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-6)
    assert_same(ours.coefs_, theirs.coefs_, 1e-5)


@hushed
def test_batches_without_weight_change_nothing(digits):
    X, y = digits[0][:100], digits[1][:100]
    weights = np.repeat([1.0, 0.0, 2.0], [40, 40, 20])
    model = MLPClassifier(**{**brief, "solver": "sgd"}, batch_size=20, shuffle=False, momentum=0.0)
    weighted = clone(model).fit(X, y, weights)
    chosen = weights > 0
    fewer = clone(model).fit(X[chosen], y[chosen], weights[chosen])
    assert_same(weighted.coefs_, fewer.coefs_, 1e-12)


@hushed
def test_weights_count_in_early_stopping(digits):
    X, y = digits
    # What is wrong weighs nothing.
    wrong = np.random.default_rng(0).random(len(y)) < 0.3
    model = MLPClassifier((30,), max_iter=60, early_stopping=True, random_state=0)
    model.fit(X, np.where(wrong, (y + 1) % 10, y), np.where(wrong, 0.0, 5.0))
    assert model.best_validation_score_ > 0.9
    with pytest.raises(ValueError, match="rows whose sample_weight is not 0 both"):
        model.fit(X, y, np.eye(len(y))[5])


@hushed
def test_training_goes_on_in_other_ways(digits):
    """Solvers, losses and early stopping may change between fits; all curves keep in step."""
    X, y = digits
    ways = [
        {"solver": "lbfgs"}, {"solver": "adam"}, {"early_stopping": True}, {"loss": "svm"},
        {"early_stopping": False}, {"solver": "sgd"}, {"solver": "lbfgs", "early_stopping": True},
    ]  # fmt: skip
    model = MLPClassifier(**{**brief, "max_iter": 2, "warm_start": True})
    for way in ways:
        model.set_params(**way).fit(X, y)
        assert (model.best_loss_ is None) == model.early_stopping
        assert model.out_activation_ == ("identity" if model.loss == "svm" else "softmax")
        assert model.history_["loss"] is model.loss_curve_
        assert len({len(curve) for curve in model.history_.values()}) == 1
    with_accuracy = np.repeat([solver != "l" for solver in "laaaasl"], 2)
    np.testing.assert_array_equal(np.isfinite(model.history_["accuracy"]), with_accuracy)
    measured = np.repeat([0, 0, 1, 1, 0, 0, 0], 2)
    np.testing.assert_array_equal(np.isfinite(model.history_["val_accuracy"]), measured)
    model.set_params(solver="adam", early_stopping=False).partial_fit(X, y)
    assert model.best_loss_ == model.loss_
    assert np.isnan(model.history_["val_accuracy"][-1])


@hushed
def test_parameters_that_change_after_fit_leave_predictions(digits):
    X, y = digits
    model = MLPClassifier(**brief).fit(X, y)
    before = model.predict_proba(X)
    model.set_params(hidden_layer_sizes=(4, 3))
    np.testing.assert_array_equal(model.predict_proba(X), before)
    with pytest.raises(ValueError, match=r"training can only go on with the layers as they are"):
        model.partial_fit(X, y)


@hushed
@pytest.mark.parametrize("epochs_before", [0, 3])
def test_interrupts_with_early_stopping(digits, epochs_before, monkeypatch):
    """Nothing measured: the last batch's weights. Else the best ones."""
    X, y = digits

    run_epoch, last = Trainer.run_epoch, []

    def interrupted(trainer, epoch, advance):
        if epoch == epochs_before:
            trainer.rows = trainer.rows[:400]
        measured = run_epoch(trainer, epoch, advance)
        last[:] = trainer.model.get_weights()[0]
        if epoch == epochs_before:
            raise KeyboardInterrupt
        return measured

    monkeypatch.setattr(Trainer, "run_epoch", interrupted)
    model = MLPClassifier(**{**brief, "early_stopping": True, "max_iter": 9})
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    monkeypatch.undo()
    if epochs_before == 0:
        np.testing.assert_equal(model.coefs_, last)
    else:
        best = MLPClassifier(**{**brief, "early_stopping": True, "max_iter": epochs_before})
        np.testing.assert_equal(model.coefs_, best.fit(X, y).coefs_)


@hushed
def test_early_stopping_on_few_rows(digits):
    X, y = digits
    first = np.concatenate([np.flatnonzero(y == 0), np.flatnonzero(y == 1)[:1]])
    model = MLPClassifier(**{**brief, "early_stopping": True})
    assert len(model.fit(X[first], y[first]).validation_scores_) == 5  # one row of a class
    assert len(model.fit(X[:20], y[:20]).validation_scores_) == 5  # fewer set aside than classes
    with pytest.raises(
        ValueError, match=r"early_stopping with validation_fraction=0.9 sets aside 2"
    ):
        model.set_params(validation_fraction=0.9).fit(X[:2], y[:2])


@hushed
def test_partial_fit_is_one_epoch(digits):
    X, y = digits
    for solver in ("sgd", "adam"):
        whole = MLPClassifier(**{**brief, "max_iter": 3, "solver": solver}).fit(X, y)
        part = MLPClassifier(**{**brief, "solver": solver})
        for _ in range(3):
            part.partial_fit(X, y, classes=np.arange(10))
        np.testing.assert_equal(part.coefs_, whole.coefs_)
        assert part.loss_curve_ == whole.loss_curve_
        assert part.n_iter_ == 3
    with pytest.raises(ValueError, match=r"not in `self.classes_`"):
        part.partial_fit(X[:1], [11])
    with pytest.raises(ValueError, match="does not support early_stopping"):
        MLPClassifier(early_stopping=True).partial_fit(X, y, classes=np.arange(10))
    assert not hasattr(MLPClassifier(solver="lbfgs"), "partial_fit")


@hushed
def test_warm_start(digits):
    X, y = digits
    model = MLPClassifier(**{**brief, "warm_start": True}).fit(X, y)
    loss = model.loss_
    assert model.fit(X, y).loss_curve_[5] < loss
    assert (model.n_iter_, len(model.loss_curve_)) == (5, 10)
    with pytest.raises(ValueError, match="same classes"):
        model.fit(X, y % 3)
    with pytest.raises(ValueError, match="layers as they are"):
        model.set_params(hidden_layer_sizes=(3,)).fit(X, y)


def test_without_tol_all_epochs_run_and_nothing_is_said(digits, recwarn):
    model = MLPClassifier((3,), max_iter=30, n_iter_no_change=1, tol=None).fit(*digits)
    assert model.n_iter_ == len(model.loss_curve_) == 30
    assert not recwarn.list


def test_no_hidden_layer_is_a_linear_classifier(digits):
    X, y = digits
    X, y = X[:300], y[:300]
    model = MLPClassifier((), solver="lbfgs", alpha=1.0, tol=1e-6, max_iter=500).fit(X, y)
    reference = sklearn.linear_model.LogisticRegression(C=1.0, tol=1e-6, max_iter=500).fit(X, y)
    np.testing.assert_allclose(model.predict_proba(X), reference.predict_proba(X), atol=1e-3)


@hushed
def test_two_classes_and_names():
    X, _ = make_rows(200, [3, 2])
    y = np.where(X[:, 0] > 0, "yes", "no")
    model = MLPClassifier((5,), batch_size=20, max_iter=100, random_state=0).fit(X, y)
    assert model.score(X, y) > 0.9
    assert model.decision_function(X).shape == (200,)
    np.testing.assert_array_equal(model.predict(X) == "yes", model.decision_function(X) > 0)


@hushed
def test_pickles_and_clones(digits):
    X, y = digits
    model = MLPClassifier(**brief).fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    np.testing.assert_equal(clone(model).fit(X, y).coefs_, model.coefs_)


@hushed
def test_progress_bar(digits, capsys):
    MLPClassifier(**{**brief, "verbose": True}).fit(*digits)
    shown = capsys.readouterr().err
    assert "MLPClassifier" in shown
    assert "loss=" in shown
    assert "rows" in shown


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent the POSIX way")
def test_interrupt_keeps_the_weights():
    out, error = children.interrupt("""
import io, sys
import numpy as np
from fastnn.neural_network import MLPClassifier

class Progress(io.StringIO):
    def write(self, text):
        if "loss=" in text:  # at least one epoch has changed the weights
            print("started", flush=True)
        return len(text)

rng = np.random.default_rng(0)
X, y = rng.integers(0, 256, (2_000, 1000), dtype=np.uint8), rng.integers(0, 10, 2_000)
model = MLPClassifier(max_iter=100_000, n_iter_no_change=100_000, verbose=True)
sys.stderr = Progress()
try:
    model.fit(X, y)
except KeyboardInterrupt:
    sys.stderr = sys.__stderr__
    print("interrupted", all(np.isfinite(part).all() for part in model.coefs_), flush=True)
    print(model.predict(X).shape)
""")
    assert out.splitlines()[-2:] == ["interrupted True", "(2000,)"], error


# ---- bad input -----------------------------------------------------------------------------------


def test_divergence_leaves_finite_weights(digits):
    X, y = digits
    model = MLPClassifier((9,), "identity", solver="sgd", learning_rate_init=1e10, random_state=0)
    with pytest.warns(ConvergenceWarning, match="not finite in epoch"):
        model.fit(1e10 * X, y)
    assert all(np.isfinite(part).all() for part in model.coefs_ + model.intercepts_)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("parameters", [{}, {"solver": "lbfgs"}, {"early_stopping": True}], ids=str)
@hushed
def test_what_is_not_finite(digits, bad, parameters):
    X, y = digits
    X = X.copy()
    X[700, 30] = bad
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        MLPClassifier(**{**brief, **parameters}).fit(X, y)
    # Activations may hide it from the scores.
    for activation in ("relu", "tanh", "logistic", "identity"):
        model = MLPClassifier(**brief, activation=activation).fit(digits[0], y)
        for dtype in (np.float32, np.float64):
            with pytest.raises(ValueError, match=r"NaN|infinity"):
                model.predict(X.astype(dtype))


@hushed
def test_sums_that_overflow_are_no_error(digits):
    model = MLPClassifier(**brief, activation="tanh").fit(digits[0].astype(np.float32), digits[1])
    huge = np.full((40, digits[0].shape[1]), 3e38, np.float32)
    assert set(model.predict(huge)) <= set(model.classes_)


@hushed
def test_bad_arguments(digits):
    X, y = digits
    with pytest.raises(NotFittedError, match="not fitted yet"):
        MLPClassifier().predict(X)
    with pytest.raises(ValueError, match="at least 2 classes, got one class"):
        MLPClassifier().fit(X, np.full(len(X), 3))
    with pytest.raises(ValueError, match="classes must name at least 2 classes"):
        MLPClassifier().partial_fit(X, y, classes=[1])
    with pytest.raises(ValueError, match="Unknown label type"):
        MLPClassifier().fit(X, X[:, 0] + 0.5)
    with pytest.raises(ValueError, match="hidden_layer_sizes must be whole numbers > 0"):
        MLPClassifier((5, 0)).fit(X, y)
    with pytest.raises(ValueError, match="hidden_layer_sizes must be whole numbers > 0"):
        MLPClassifier((2.5,)).fit(X, y)
    with pytest.raises(ValueError, match="expecting 64 features"):
        MLPClassifier(**brief).fit(X, y).predict(X[:, :5])
    with pytest.warns(UserWarning, match="larger than the sample size, 20"):
        MLPClassifier(**brief, batch_size=21).fit(X[:20], y[:20])
    for bad in (np.ones(3), -np.ones(len(X)), np.zeros(len(X)), np.full(len(X), np.nan)):
        with pytest.raises(ValueError, match="sample_weight must"):
            MLPClassifier(**brief).fit(X, y, sample_weight=bad)
        if bad.any():
            with pytest.raises(ValueError, match="sample_weight must"):
                MLPClassifier(**brief).partial_fit(X, y, bad, classes=np.arange(10))
    for name, value in [("dropout", 1.0), ("loss", "hinge"), ("momentum", 1.1), ("tol", -1)]:
        with pytest.raises(ValueError, match=f"'{name}' parameter"):
            MLPClassifier(**{name: value}).fit(X, y)


def test_module_is_public():
    assert fastnn.neural_network.MLPClassifier is MLPClassifier


@pytest.mark.parametrize("adam", [None, (0.9, 0.999, 1e-8)])
def test_batches_without_weight_take_no_step(adam, rng):
    """Nor do momentum and Adam, whose steps they do not count among."""
    X, y = rng.standard_normal((96, 5)), rng.integers(0, 3, 96)
    weights = np.repeat([1.0, 0.0, 1.0], 32)
    results = []
    for rows, of_rows in ((np.ones(96, bool), weights), (weights > 0, None)):
        network = Network(X[rows], [5, 7, 3], y[rows], alpha=0.1, sample_weights=of_rows)
        network.set_weights(*make_weights([5, 7, 3]))
        order = np.arange(rows.sum())
        network.train(order, 16, np.full(len(order) // 16, 0.01), 0.9, True, adam)
        results.append((network.get_weights(), network.get_moments()))
    np.testing.assert_equal(*results)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_a_stream_without_weight_teaches_nothing(solver, rng):
    X, y = rng.standard_normal((64, 4)), rng.integers(0, 3, 64)
    model = MLPClassifier(5, solver=solver, random_state=0)
    model.partial_fit(X, y, np.zeros(64), classes=[0, 1, 2])
    assert (model.n_iter_, model.loss_curve_) == (0, [])
    model.partial_fit(X, y)
    before = [coef.copy() for coef in model.coefs_]
    model.partial_fit(X, y, sample_weight=np.zeros(64))
    for coef, other in zip(model.coefs_, before, strict=True):
        np.testing.assert_array_equal(coef, other)


# ---- numbers, and several labels a row -----------------------------------------------------------


def go_on_from_the_same_weights(ours, theirs, X, y, n_epochs=5):
    """Fit both for one epoch, hand our weights over, and let both go on from there."""
    for model in (ours, theirs):
        model.set_params(max_iter=1, shuffle=False, tol=0.0, warm_start=True).fit(X, y)
    theirs.coefs_ = copy.deepcopy(ours.coefs_)
    theirs.intercepts_ = copy.deepcopy(ours.intercepts_)
    ours._moments = None  # scikit-learn's optimizer starts anew in each fit
    for model in (ours, theirs):
        model.set_params(max_iter=n_epochs).fit(X, y)


def make_targets(X, loss, n_outputs, seed=0):
    rng = np.random.default_rng(seed)
    values = X[:, :3] @ rng.standard_normal((3, n_outputs))
    if loss == "poisson":
        values = rng.poisson(np.exp(values / 4))
    return values[:, 0] if n_outputs == 1 else values


@hushed
@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_regressors_go_the_way_of_scikit_learn(solver, loss, n_outputs, rng):
    theirs = sklearn.neural_network.MLPRegressor
    if "loss" not in theirs().get_params() and loss == "poisson":
        pytest.skip("scikit-learn's networks know the Poisson loss from 1.7 on")
    X = rng.standard_normal((150, 6))
    y = make_targets(X, loss, n_outputs)
    shared = {
        "hidden_layer_sizes": (8,), "alpha": 0.3, "solver": solver, "batch_size": 40,
        "learning_rate_init": 0.01, "random_state": 0,
    }  # fmt: skip
    of_theirs = {"loss": loss} if "loss" in theirs().get_params() else {}
    ours, theirs = MLPRegressor(loss, **shared), theirs(**shared, **of_theirs)
    go_on_from_the_same_weights(ours, theirs, X, y)
    assert_same(ours.coefs_, theirs.coefs_, 1e-9)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), atol=1e-9)
    assert ours.predict(X).shape == y.shape
    assert (ours.out_activation_, ours.n_outputs_) == (theirs.out_activation_, theirs.n_outputs_)
    if n_outputs == 1:  # of several, theirs tell the mean
        np.testing.assert_allclose(ours.loss_curve_[1:], theirs.loss_curve_[1:], rtol=1e-9)
    assert set(ours.history_) == {"loss"}


@hushed
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_several_labels_go_the_way_of_scikit_learn(solver, rng):
    X = rng.standard_normal((150, 6))
    Y = (X[:, :4] + 0.3 * rng.standard_normal((150, 4)) > 0).astype(int)
    shared = {
        "hidden_layer_sizes": (8,), "alpha": 0.3, "solver": solver, "batch_size": 40,
        "learning_rate_init": 0.01, "random_state": 0,
    }  # fmt: skip
    ours, theirs = MLPClassifier(**shared), sklearn.neural_network.MLPClassifier(**shared)
    go_on_from_the_same_weights(ours, theirs, X, Y)
    assert_same(ours.coefs_, theirs.coefs_, 1e-9)
    np.testing.assert_allclose(ours.loss_curve_[1:], theirs.loss_curve_[1:], rtol=1e-9)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-9)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    np.testing.assert_array_equal(ours.classes_, theirs.classes_)
    assert (ours.out_activation_, ours.n_outputs_) == (theirs.out_activation_, theirs.n_outputs_)
    scores = ours.decision_function(X)
    np.testing.assert_array_equal(scores > 0, ours.predict(X))
    # What the epoch tells is what `score` would have said before the last step.
    still = clone(ours).set_params(learning_rate_init=1e-300, warm_start=False, batch_size=150)
    still.fit(X, Y)
    assert still.history_["accuracy"][-1] == pytest.approx(still.score(X, Y))


@hushed
def test_labels_of_other_kinds(rng):
    X = rng.standard_normal((60, 5))
    Y = X[:, :3] > 0
    model = MLPClassifier(**brief).fit(X, Y.astype(int))
    for kind in (Y, scipy.sparse.csr_matrix(Y.astype(int)), Y.astype(np.float32)):
        np.testing.assert_equal(clone(model).fit(X, kind).coefs_, model.coefs_)
    part = MLPClassifier(**brief).partial_fit(X, Y, classes=[0, 1, 2])
    assert part.predict(X).shape == (60, 3)
    with pytest.raises(ValueError, match=r"y must have shape \(60, 3\), as before, got \(60, 2\)"):
        part.partial_fit(X, Y[:, :2])
    with pytest.raises(ValueError, match=r"y must have shape \(60, 3\), as before, got \(60,\)"):
        part.partial_fit(X, np.arange(60) % 3)
    with pytest.raises(ValueError, match=r"y must have shape \(60,\), as before, got \(60, 3\)"):
        MLPClassifier(**brief).fit(X, np.arange(60) % 3).partial_fit(X, Y)
    with pytest.raises(ValueError, match="same classes as in the previous"):
        model.set_params(warm_start=True).fit(X, np.arange(60) % 3)
    for fit in (MLPClassifier(loss="svm").fit, part.set_params(loss="svm").partial_fit):
        with pytest.raises(ValueError, match="learned with loss='softmax' only, got 'svm'"):
            fit(X, Y)
    for values in ([-1, 1], [0, 2], [0, 255]):
        with pytest.raises(ValueError, match="y of several labels a row must hold 0 and 1 alone"):
            MLPClassifier().fit(X, np.where(Y, values[1], values[0]))
    with pytest.raises(ValueError, match=r"classes must number all labels of a row, got \[0 1\]"):
        MLPClassifier().partial_fit(X, Y, classes=[0, 1])
    with pytest.raises(ValueError, match="class_weight is for rows of one class each"):
        MLPClassifier(class_weight="balanced").fit(X, Y)
    early = MLPClassifier(**{**brief, "early_stopping": True}).fit(X, Y)
    assert 0 <= early.best_validation_score_ <= 1


@hushed
def test_partial_fit_of_numbers_is_one_epoch(rng):
    X = rng.standard_normal((80, 4)).astype(np.float32)
    y = make_targets(X, "squared_error", 2)
    whole = MLPRegressor(**{**brief, "max_iter": 3}).fit(X, y)
    part = MLPRegressor(**brief)
    for kind in (np.asarray, scipy.sparse.csr_matrix, list):
        part.partial_fit(X, kind(y))
    np.testing.assert_equal(part.coefs_, whole.coefs_)
    assert part.coefs_[0].dtype == part.predict(X).dtype == np.float32
    with pytest.raises(ValueError, match="y must have 2 outputs a row, got 1"):
        part.partial_fit(X, y[:, 0])
    with pytest.raises(ValueError, match="as many outputs as in the previous call to fit: 2, got"):
        whole.set_params(warm_start=True).fit(X, y[:, 0])
    with pytest.raises(ValueError, match="does not support early_stopping"):
        MLPRegressor(early_stopping=True).partial_fit(X, y)
    assert not hasattr(MLPRegressor(solver="lbfgs"), "partial_fit")


@hushed
def test_regressors_that_stop_early(rng):
    X = rng.standard_normal((300, 4))
    y = make_targets(X, "squared_error", 1) + 0.1 * rng.standard_normal(300)
    model = MLPRegressor(
        hidden_layer_sizes=(20,), early_stopping=True, max_iter=300, learning_rate_init=0.01,
        random_state=0,
    ).fit(X, y)  # fmt: skip
    assert model.best_validation_score_ == max(model.history_["val_r2"]) > 0.9
    _, others = train_test_split(
        np.arange(300), test_size=0.1, random_state=_after_initialization(4, 20, 1)
    )
    assert model.score(X[others], y[others]) == pytest.approx(model.best_validation_score_)
    with pytest.raises(ValueError, match="The validation set is too small"):
        model.fit(X[:5], y[:5])


def _after_initialization(*sizes):
    """Return the random state of a network with random_state=0 once it has its first weights."""
    random_state = np.random.RandomState(0)
    for pair in itertools.pairwise(sizes):
        random_state.uniform(size=pair)
    return random_state


def test_bad_numbers(rng):
    X, y = rng.standard_normal((20, 3)), rng.standard_normal(20)
    with pytest.raises(ValueError, match="loss='poisson' needs targets of at least 0, got -"):
        MLPRegressor("poisson").fit(X, y)
    with pytest.raises(ValueError, match="within the range of float32, the type of X, got"):
        MLPRegressor().fit(X.astype(np.float32), 1e300 * y)
    with pytest.raises(ValueError, match="Input y contains NaN"):
        MLPRegressor().fit(X, np.where(y > 0, np.nan, y))
    for strings in (y.astype(str), np.array(["1"] * 20)):
        with pytest.raises(ValueError, match="y must hold numbers, got <U"):
            MLPRegressor().fit(X, strings)
    with pytest.raises(ValueError, match="'loss' parameter of MLPRegressor must be"):
        MLPRegressor("absolute_error").fit(X, y)


@hushed
def test_predictions_that_overflow_score_nan(rng):
    X = rng.standard_normal((60, 3))
    model = MLPRegressor(
        activation="identity", solver="sgd", learning_rate_init=1.0, early_stopping=True,
        random_state=0, max_iter=60, tol=None,
    ).fit(100 * X, X[:, 0])  # fmt: skip
    assert all(np.isfinite(part).all() for part in model.coefs_)


# ---- weights of classes --------------------------------------------------------------------------


@hushed
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("class_weight", ["balanced", {0: 3.0, 4: 0.5}])
def test_weights_of_classes_are_weights_of_their_rows(digits, loss, class_weight):
    X, y = digits[0][:300], digits[1][:300] // 2
    weights = compute_sample_weight(class_weight, y)
    model = MLPClassifier(**brief, loss=loss, alpha=0.5)
    ours = clone(model).set_params(class_weight=class_weight).fit(X, y)
    # The penalty is divided by the sum of weights that are given, but not of those of classes.
    plain = clone(model).set_params(alpha=0.5 * weights.mean()).fit(X, y, weights)
    assert_same(ours.coefs_, plain.coefs_, 1e-10)
    assert clone(ours).set_params(class_weight=None).fit(X, y).loss_ != ours.loss_
    with pytest.raises(ValueError, match="'balanced' is not supported by partial_fit"):
        MLPClassifier(class_weight="balanced").partial_fit(X, y, classes=np.arange(5))
