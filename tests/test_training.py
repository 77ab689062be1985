"""What linear models and networks share: losses, rounds, optimizers, schedules, histories."""

import itertools

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

import oracles
from fastnn._core.training._linear import LinearModel
from fastnn._core.training._network import Network
from fastnn._training.schedules import Schedule
from fastnn._training.stopping import Patience
from fastnn._training.trainer import History
from fastnn.linear_model import SoftmaxClassifier, SVMClassifier
from fastnn.neural_network import MLPClassifier, MLPRegressor

hushed = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
TOLERANCE = {np.float32: 3e-5, np.float64: 1e-11}
ADAM = (0.9, 0.999, 1e-8)


def make_targets(rng, n, n_outputs, loss, dtype):
    if loss in ("softmax", "svm"):
        return rng.integers(0, n_outputs, n)
    if loss in ("log_loss", "hinge"):
        return rng.integers(0, 2, (n, n_outputs)).astype(dtype)
    values = rng.standard_normal((n, n_outputs))
    return (rng.poisson(np.exp(values)) if loss == "poisson" else values).astype(dtype)


def assert_close(found, expected, tolerance):
    expected = np.asarray(expected)
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize("loss", list(oracles.TARGET_LOSSES))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("n", "d", "n_outputs"), [(1, 1, 1), (7, 5, 1), (300, 17, 3), (5000, 9, 2)]
)
def test_losses_of_numbers(loss, dtype, n, d, n_outputs, rng, isa):
    """Both models, without a hidden layer, are a linear map; sums go over several rounds."""
    X = rng.standard_normal((n, d)).astype(dtype)
    y = make_targets(rng, n, n_outputs, loss, dtype)
    W = (rng.standard_normal((n_outputs, d)) / np.sqrt(d)).astype(dtype)
    bias, weights = rng.standard_normal(n_outputs), rng.integers(0, 3, n) + (n == 1.0)
    scores = X.astype(np.float64) @ W.T.astype(np.float64) + bias
    losses, derivatives = oracles.losses_of_scores(scores, y, loss, 1.0, np.float64)
    derivatives = derivatives * weights[:, None]
    weights = weights.astype(np.float64)
    linear = LinearModel(X, n_outputs, y, loss, alpha=0.3, sample_weights=weights, n_threads=2)
    linear.set_weights([W], [bias])
    network = Network(X, [d, n_outputs], y, loss, alpha=0.3, sample_weights=weights, n_threads=2)
    network.set_weights([W.T], [bias])
    penalty = 0.15 * np.square(W, dtype=np.float64).sum()
    for model, divisor, share in ((linear, n, 1.0), (network, weights.sum(), 1 / weights.sum())):
        value, (gradient,), (bias_gradient,) = model.loss_and_gradient()
        expected = (derivatives.T @ X + 0.3 * share * divisor * W) / divisor
        gradient = gradient if model is linear else gradient.T
        assert value == pytest.approx(weights @ losses / divisor + penalty * share, rel=1e-5)
        assert_close(gradient, expected, TOLERANCE[dtype])
        assert_close(bias_gradient, derivatives.sum(axis=0) / divisor, TOLERANCE[dtype])


@pytest.mark.parametrize("loss", [*oracles.TARGET_LOSSES, "softmax", "svm"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_show_in_the_loss(loss, bad, rng):
    X = rng.standard_normal((40, 3))
    X[7, 1] = bad
    y = make_targets(rng, 40, 2, loss, np.float64)
    for model in (LinearModel(X, 2, y, loss), Network(X, [3, 2], y, loss)):
        shape = (2, 3) if isinstance(model, LinearModel) else (3, 2)
        model.set_weights([np.ones(shape)], [np.zeros(2)])
        before = model.get_weights()
        loss_of_epoch, _ = model.train(np.arange(40), 10, np.full(4, 0.1))
        # An infinite score may be as wanted: then it costs nothing, but its gradient is NaN or 0.
        assert not (np.isfinite(loss_of_epoch) and model.is_finite())
        if not np.isfinite(loss_of_epoch):
            # The first batch, which has the row, took no step.
            np.testing.assert_equal(model.get_weights(), before)


@pytest.mark.parametrize("adam", [None, ADAM])
@pytest.mark.parametrize("batch_size", [33, 700, 4500])
@pytest.mark.parametrize("loss", ["softmax", "svm", "squared_error"])
def test_a_linear_model_is_a_network_without_hidden_layers(loss, batch_size, adam, rng, isa):
    X = rng.standard_normal((4500, 13))
    y = make_targets(rng, 4500, 3, loss, np.float64)
    order = rng.permutation(4500)
    n_batches = -(-4500 // batch_size)
    linear, network = LinearModel(X, 3, y, loss), Network(X, [13, 3], y, loss)
    W, bias = rng.standard_normal((3, 13)), rng.standard_normal(3)
    linear.set_weights([W], [bias])
    network.set_weights([W.T], [bias])
    for _ in range(2):  # the second epoch goes on with the moments of the first one
        told = [
            model.train(order, batch_size, np.full(n_batches, 0.01), 0.9, True, adam)
            for model in (linear, network)
        ]
        np.testing.assert_allclose(*told, rtol=1e-10)
    (found,), (bias,) = linear.get_weights()
    (expected,), (other,) = network.get_weights()
    assert_close(found, expected.T, 1e-10)
    assert_close(bias, other, 1e-10)
    assert linear.steps == network.steps == 2 * n_batches


@pytest.mark.parametrize(
    "make", [lambda X, y: LinearModel(X, 3, y), lambda X, y: Network(X, [5, 4, 3], y)]
)
def test_what_is_saved_comes_back(make, rng):
    X, y = rng.standard_normal((50, 5)), rng.integers(0, 3, 50)
    model = make(X, y)
    saved, scores = model.save(), model.scores()
    model.train(np.arange(50), 10, np.full(5, 0.1), 0.9, False, ADAM)
    assert not np.array_equal(model.scores(), scores) or isinstance(model, Network)
    model.restore(saved)
    np.testing.assert_array_equal(model.scores(), scores)
    steps, first, second = model.get_moments()
    assert steps == 0
    assert second is None
    assert not any(part.any() for part in first)


# ---- schedules -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("constant", [0.2, 0.2, 0.2]),
        ("invscaling", [0.2 / 101**0.7] * 3),
        ("adaptive", [0.2 / 25] * 3),
        ("step", [0.2 * 0.3**2, 0.2 * 0.3**2, 0.2 * 0.3**2]),
        ("cosine", [0.1 * (1 + np.cos(np.pi * (5 + k / 2.5) / 8)) for k in range(3)]),
    ],
)
def test_step_sizes(name, expected):
    schedule = Schedule(name, 0.2, power_t=0.7, decay_factor=0.3, decay_every=2, max_iter=8)
    history = History(n_seen=100, n_reductions=2)
    np.testing.assert_allclose(schedule.step_sizes(5, history, 10, 4), expected)
    assert schedule.reduce(history) == (name == "adaptive")
    assert history.n_reductions == 2 + (name == "adaptive")


ESTIMATORS = {
    "SVMClassifier": SVMClassifier(batch_size=50),
    "SoftmaxClassifier": SoftmaxClassifier(batch_size=50),
    "MLPClassifier": MLPClassifier((8,), batch_size=50),
    "MLPRegressor": MLPRegressor(hidden_layer_sizes=(8,), batch_size=50),
}
of_all = pytest.mark.parametrize("name", ESTIMATORS)


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:300] / 16, y[:300]


def fitted(name, digits, **parameters):
    shared = {"max_iter": 3, "tol": None, "random_state": 0, "momentum": 0.5}
    model = ESTIMATORS[name].__class__(**ESTIMATORS[name].get_params())
    return model.set_params(**shared | parameters).fit(*digits)


def weights_of(model):
    return model.coefs_ if hasattr(model, "coefs_") else [model.coef_]


@hushed
@of_all
@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_every_estimator_takes_every_schedule(name, solver, digits):
    plain = fitted(name, digits, solver=solver)
    # All but the first epoch stand still.
    one = fitted(name, digits, solver=solver, max_iter=1, momentum=0.0)
    step = fitted(
        name, digits, solver=solver, learning_rate="step", decay_every=1, decay_factor=1e-30,
        momentum=0.0,
    )  # fmt: skip
    for found, expected in zip(weights_of(step), weights_of(one), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)
    cosine = fitted(name, digits, solver=solver, learning_rate="cosine")
    assert not np.array_equal(weights_of(cosine)[0], weights_of(plain)[0])
    for schedule in ("invscaling", "adaptive"):
        other = fitted(name, digits, solver=solver, learning_rate=schedule, power_t=2.0)
        same = np.array_equal(weights_of(other)[0], weights_of(plain)[0])
        # "adaptive" differs but where training would end.
        assert same == (solver == "adam" or schedule == "adaptive")


@hushed
@of_all
def test_adaptive_steps_become_smaller_until_the_end(name, digits):
    model = fitted(
        name, digits, solver="sgd", learning_rate="adaptive", learning_rate_init=0.2, tol=1e9,
        n_iter_no_change=1, max_iter=200,
    )  # fmt: skip
    # Two epochs at each of the steps 0.2 / 5 ** k down to 1e-6, and the first.
    assert model.n_iter_ == 1 + 2 * 9


@hushed
@of_all
def test_histories(name, digits):
    model = fitted(name, digits, early_stopping=True)
    told = {"loss", "val_r2"} if name == "MLPRegressor" else {"loss", "accuracy", "val_accuracy"}
    assert set(model.history_) == told
    assert {len(curve) for curve in model.history_.values()} == {3}
    assert model.history_["loss"] is model.loss_curve_
    assert model.loss_ == model.loss_curve_[-1]
    assert model.best_loss_ is None
    model = fitted(name, digits)
    assert model.best_loss_ == min(model.loss_curve_)
    if name != "MLPRegressor":
        # With steps that move nothing, the accuracy of the epoch is the model's.
        still = {"learning_rate_init": 1e-300, "solver": "sgd", "momentum": 0.0}
        model.set_params(**still, warm_start=True, early_stopping=False).fit(*digits)
        assert model.history_["accuracy"][-1] == pytest.approx(model.score(*digits))


@hushed
@of_all
@pytest.mark.parametrize("momentum", [0.0, 1.0])
def test_the_range_of_momentum_is_the_same(name, momentum, digits):
    model = fitted(name, digits, solver="sgd", momentum=momentum, learning_rate_init=1e-4)
    assert all(np.isfinite(part).all() for part in weights_of(model))


@hushed
@pytest.mark.parametrize("name", ["SVMClassifier", "SoftmaxClassifier"])
@pytest.mark.parametrize("n_classes", [2, 10])
def test_linear_classifiers_learn_with_adam(name, n_classes, digits):
    X, y = digits[0], digits[1] % n_classes
    model = fitted(name, (X, y), solver="adam", learning_rate_init=0.01, max_iter=200)
    assert model.score(X, y) > 0.9
    assert model.coef_.shape == (1 if n_classes == 2 else 10, 64)
    part = ESTIMATORS[name].__class__(solver="adam", batch_size=50, random_state=0)
    part.set_params(learning_rate_init=0.01)
    whole = fitted(name, (X, y), solver="adam", learning_rate_init=0.01)
    for _ in range(3):
        part.partial_fit(X, y, classes=np.arange(n_classes))
    np.testing.assert_array_equal(part.coef_, whole.coef_)


def test_parameters_have_the_same_names_and_defaults_everywhere():
    parameters = {name: model.__class__().get_params() for name, model in ESTIMATORS.items()}
    own = {"solver", "loss", "fit_intercept", "hidden_layer_sizes", "activation", "dropout"}
    for one, other in itertools.combinations(parameters, 2):
        assert set(parameters[one]) ^ set(parameters[other]) <= own | {"class_weight"}
        for name in set(parameters[one]) & set(parameters[other]) - {"solver", "loss"}:
            assert parameters[one][name] == parameters[other][name], name


@of_all
def test_docstrings_tell_of_every_parameter(name):
    text = ESTIMATORS[name].__doc__
    for parameter in ESTIMATORS[name].get_params():
        assert f"\n{parameter} : " in text
    assert "{" not in text.replace('{"', "").replace("{'", "")


# ---- going on in other ways ----------------------------------------------------------------------


@hushed
@of_all
@pytest.mark.parametrize("ways", [("adam", "sgd"), ("sgd", "adam"), ("sgd", "lbfgs", "sgd")])
def test_another_solver_starts_with_an_optimizer_of_its_own(name, ways, digits):
    """Moments of one are no moments of the other."""
    model = fitted(name, digits, solver=ways[0], learning_rate_init=0.02, max_iter=20)
    for solver in ways[1:]:
        rate = 1e-3 if solver == "adam" else 1e-6
        model.set_params(solver=solver, learning_rate_init=rate, warm_start=True, max_iter=3)
        before = model.loss_
        model.fit(*digits)
        assert max(model.loss_curve_[-2:]) < 1.05 * before + 1e-3


@of_all
def test_parameters_are_the_users_own_after_an_error(name, digits):
    X, y = digits
    class_weight, sizes = {0: 2.0}, [8]
    model = fitted(name, digits)
    own = {"class_weight": class_weight, "hidden_layer_sizes": sizes}
    own = {key: value for key, value in own.items() if key in model.get_params()}
    curve = list(model.set_params(**own).loss_curve_)
    bad = X.copy()
    bad[3, 2] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        model.fit(bad, y)
    for key, value in own.items():
        assert getattr(model, key) is value
    assert model.loss_curve_ == curve
    assert model.history_["loss"] is model.loss_curve_


@hushed
@pytest.mark.parametrize("name", ["SVMClassifier", "SoftmaxClassifier", "MLPClassifier"])
def test_weights_of_classes_and_of_rows_together(name, digits):
    X, y = digits[0], digits[1] % 2
    weights = (y == 0).astype(float)
    model = ESTIMATORS[name].__class__(class_weight={0: 0.0, 1: 1.0}, max_iter=2, tol=None)
    with pytest.raises(ValueError, match="class_weight and sample_weight together leave no row"):
        model.fit(X, y, weights)
    # A part of the rows may have none: there is nothing to learn.
    model.fit(X, y)
    before = [part.copy() for part in weights_of(model)]
    model.partial_fit(X[y == 0], y[y == 0])
    np.testing.assert_equal(weights_of(model), before)
    alone = np.where(np.arange(len(y)) == 5, 1, 0)
    model.set_params(early_stopping=True, validation_fraction=0.5)
    with pytest.raises(ValueError, match="early_stopping needs rows whose sample_weight is not 0"):
        model.fit(X, alone)
    huge = fitted(name, (X, y), class_weight={0: 1e308, 1: 1e308})
    plain = fitted(name, (X, y))
    for found, expected in zip(weights_of(huge), weights_of(plain), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@hushed
def test_scores_that_are_not_known_are_no_improvement(rng):
    X = rng.standard_normal((200, 3)).astype(np.float32)
    y = np.exp(X[:, 0])
    model = MLPRegressor(
        "poisson", (4,), early_stopping=True, n_iter_no_change=3, max_iter=200, random_state=0
    )
    model._score_validation = lambda *arguments: np.nan
    model.fit(X, y)
    assert model.n_iter_ == 4
    assert np.isnan(model.best_validation_score_)
    assert Patience(0.1, 1).is_over(np.nan) is False


@of_all
def test_divergence_in_a_part_names_the_epoch(name, digits):
    X, y = digits
    kind = ESTIMATORS[name].__class__
    model = kind(solver="sgd", batch_size=50, learning_rate_init=1e-3, alpha=0.1)
    arguments = {} if name == "MLPRegressor" else {"classes": np.arange(10)}
    model.partial_fit(X, y, **arguments).partial_fit(X, y)
    model.set_params(learning_rate_init=1e300)
    with pytest.warns(ConvergenceWarning, match="The loss was not finite in epoch 3: ") as record:
        model.partial_fit(X, y)
    assert record[0].filename == __file__
    assert all(np.isfinite(part).all() for part in weights_of(model))


def test_an_interrupted_epoch_ends_with_a_whole_step(rng):
    """Whoever presses Ctrl-C in the middle of a step gets the step."""
    sizes = [300, 400, 300, 10]
    X, y = rng.standard_normal((4000, 300)).astype(np.float32), rng.integers(0, 10, 4000)
    weights = [rng.standard_normal(pair) / 20 for pair in itertools.pairwise(sizes)]

    def make():
        model = Network(X, sizes, y)
        model.set_weights(weights, [np.zeros(n) for n in sizes[1:]])
        return model

    def interrupt(n_rows):
        raise KeyboardInterrupt

    order, rates = np.arange(4000), np.full(80, 1e-3)

    def train_for_ever(model):
        while True:  # until the job is long enough to be looked at
            model.train(order, 50, rates, adam=ADAM, progress=interrupt)

    for _ in range(3):
        model = make()
        with pytest.raises(KeyboardInterrupt):
            train_for_ever(model)
        same, n_steps = make(), model.steps
        while same.steps < n_steps:
            n = min(4000, 50 * (n_steps - same.steps))
            same.train(order[:n], 50, rates[: n // 50], adam=ADAM)
        np.testing.assert_equal(model.get_weights(), same.get_weights())
        np.testing.assert_equal(model.get_moments(), same.get_moments())


def test_bytes_without_an_intercept_from_now_on(rng):
    X, y = rng.integers(0, 256, (80, 5), dtype=np.uint8), rng.integers(0, 2, 80)
    model = SoftmaxClassifier(batch_size=20).partial_fit(X, y, [0, 1])
    assert model.intercept_.any()
    model.set_params(fit_intercept=False).partial_fit(X, y)
    assert not model.intercept_.any()
