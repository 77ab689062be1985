"""Rows of ratios.py: losses of scores, linear classifiers and their training, the rectifier.

The data are images of CIFAR-10, or random pixels of the same shapes: see `images`.

Limits: "read" is reading the rows (of the rectifier: both inputs) once. "sgemm" are the 4 n d c
operations that scores and gradient take (n rows, d features, c classes), in one matrix product that
is close to a cube, where NumPy is at its best.
"""

import os
import time
import warnings
from functools import lru_cache

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, SGDClassifier

import fastnn
import numpy_reference
from contest import N_THREADS, Row, import_or_none, read_once
from fastnn import losses
from fastnn.datasets import load_cifar10

N_IMAGES, N_FEATURES, N_CLASSES = 20_000, 3072, 10
N_SAMPLED = 5000
BATCH_SIZE = 256
L2 = 1e-3
PIXEL_SCALE = 1 / 64
RATE, MOMENTUM, ALPHA = 1e-3, 0.9, 1e-4
# How far a loss and a gradient in float32 may be from float64's, as a share of the loss and of the
# largest derivative.
RTOL = 1e-4
# Losses after an epoch depend on the order of the rows, which is each contestant's own.
EPOCH_RTOL = 0.1
# Sides of products that take 2 n d c multiply-adds, for all images and for one batch.
SGEMM_OF_ALL = (400, 3072, 1000)
SGEMM_OF_BATCH = (256, 256, 240)


# ---- data ---------------------------------------------------------------------------------------


@lru_cache
def images():
    """Return pixels as bytes, labels, and how the table calls them.

    They are the first training images of the CIFAR-10 in the folder that the environment variable
    FASTNN_CIFAR10 names, or else random.
    """
    if folder := os.environ.get("FASTNN_CIFAR10"):
        cifar = load_cifar10(folder)
        if len(cifar.X_train) < N_IMAGES:
            raise ValueError(f"at least {N_IMAGES:,} images are needed, got {len(cifar.X_train):,}")
        return cifar.X_train[:N_IMAGES].copy(), cifar.y_train[:N_IMAGES].copy(), "CIFAR-10 images"
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (N_IMAGES, N_FEATURES), dtype=np.uint8)
    return pixels, rng.integers(0, N_CLASSES, N_IMAGES), "images of random pixels"


@lru_cache
def test_images():
    """Return the test set of the same CIFAR-10 as float32, scaled as `float_images`, or None."""
    if folder := os.environ.get("FASTNN_CIFAR10"):
        cifar = load_cifar10(folder)
        return scaled(cifar.X_test), cifar.y_test
    return None


@lru_cache
def mean_pixels():
    return images()[0].mean(axis=0)


@lru_cache
def float_images():
    """Return the images as float32, (pixel - mean) * PIXEL_SCALE, and the labels."""
    pixels, labels, _ = images()
    return scaled(pixels), labels


def scaled(pixels):
    X = pixels.astype(np.float32)
    X -= mean_pixels().astype(np.float32)
    X *= np.float32(PIXEL_SCALE)
    return X


def described(n_rows):
    return f"{n_rows:,} {images()[2]}"


def small_weights(n_columns=N_FEATURES, seed=1):
    """Return weights that give scores of the order of 1."""
    rng = np.random.default_rng(seed)
    return 0.01 * rng.standard_normal((N_CLASSES, n_columns), dtype=np.float32)


# ---- contestants --------------------------------------------------------------------------------


def fastest(*calls):
    """Return the fastest of the forms that a peer has for the same work."""
    best = {}
    for call in calls:
        call()
        seconds = []
        for _ in range(3):
            start = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - start)
        best[call] = min(seconds)
    return min(best, key=best.get)


def import_torch():
    """Return PyTorch, limited to our number of threads, or None."""
    if torch := import_or_none("torch"):
        torch.set_num_threads(N_THREADS)
    return torch


def torch_loss(torch, scores, y, loss):
    functional = torch.nn.functional
    if loss == "softmax":
        return functional.cross_entropy(scores, y)
    # PyTorch divides a row's sum over the classes by their number.
    return functional.multi_margin_loss(scores, y) * scores.shape[1]


def torch_loss_of_scores(torch, scores, y, loss):
    scores = torch.tensor(scores, requires_grad=True)
    y = torch.from_numpy(y)

    def evaluate():
        value = torch_loss(torch, scores, y, loss)
        return value.item(), torch.autograd.grad(value, scores)[0]

    return evaluate


def torch_linear_loss(torch, W, X, y, loss, l2):
    W = torch.tensor(W, requires_grad=True)
    X, y = torch.from_numpy(X), torch.from_numpy(y)

    def evaluate(score):
        value = torch_loss(torch, score(), y, loss) + 0.5 * l2 * (W * W).sum()
        return value.item(), torch.autograd.grad(value, W)[0]

    return fastest(
        lambda: evaluate(lambda: torch.nn.functional.linear(X, W)),
        lambda: evaluate(lambda: (W @ X.T).T),
    )


def torch_epoch(torch, X, y, n_classes, batch_size):
    """The same updates as in `numpy_reference.sgd_epoch`."""
    X, y = torch.from_numpy(X), torch.from_numpy(y)

    def run():
        model = torch.nn.Linear(X.shape[1], n_classes)
        for parameter in model.parameters():
            torch.nn.init.zeros_(parameter)
        groups = [{"params": [model.weight], "weight_decay": ALPHA}, {"params": [model.bias]}]
        optimizer = torch.optim.SGD(groups, lr=RATE, momentum=MOMENTUM)
        order = torch.randperm(len(X))
        for start in range(0, len(X), batch_size):
            batch = order[start : start + batch_size]
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(X[batch]), y[batch]).backward()
            optimizer.step()
        return model.weight.detach().numpy(), model.bias.detach().numpy()

    return run


def torch_relu_backward(torch, dout, x, in_place):
    """What autograd calls."""
    backward = torch.ops.aten.threshold_backward
    dout, x = torch.from_numpy(dout), torch.from_numpy(x)
    if in_place:
        return lambda: backward.grad_input(dout, x, 0, grad_input=dout)
    return lambda: backward(dout, x, 0)


# ---- limits and checks --------------------------------------------------------------------------


def sgemm(n_rows, n_inner, n_columns):
    rng = np.random.default_rng(0)
    left = rng.standard_normal((n_rows, n_inner), dtype=np.float32)
    right = rng.standard_normal((n_inner, n_columns), dtype=np.float32)
    out = np.empty((n_rows, n_columns), np.float32)
    return lambda: np.matmul(left, right, out=out)


def read_bytes(n_bytes):
    """Read so many bytes once; as floats of 1, since those of arbitrary bytes are slow to add."""
    return read_once(np.ones(n_bytes // 4, np.float32))


def check_gradients(contestants, exact_loss, exact_gradient):
    """Raise unless each contestant returns this loss and this gradient, within rounding."""
    atol = RTOL * np.abs(exact_gradient).max()
    for name, call in contestants.items():
        loss, gradient = call()
        np.testing.assert_allclose(loss, exact_loss, rtol=RTOL, err_msg=name)
        np.testing.assert_allclose(gradient, exact_gradient, rtol=0, atol=atol, err_msg=name)


def penalized_loss(W, intercept, X, y, alpha):
    """The softmax loss of scores, these in the dtype of the rows, and the penalty."""
    scores = (X @ W.T + intercept).astype(np.float64)
    squares = float(np.square(W, dtype=np.float64).sum())
    return numpy_reference.softmax_loss(scores, y, with_gradient=False)[0] + 0.5 * alpha * squares


# ---- losses and gradients -----------------------------------------------------------------------


def linear_row(loss, n_rows, targets, sgemm_sides, calls):
    X, y = (array[:n_rows] for array in float_images())
    W = small_weights()
    contestants = {
        "fastnn": lambda: losses.linear_loss(W, X, y, loss, L2, n_jobs=N_THREADS),
        "numpy": lambda: numpy_reference.linear_loss(W, X, y, loss, L2),
    }
    if torch := import_torch():
        contestants["torch"] = torch_linear_loss(torch, W, X, y, loss, L2)
    limits = {"read": read_once(X), "sgemm": sgemm(*sgemm_sides)}

    def check():
        wide = W.astype(np.float64), X.astype(np.float64)
        check_gradients(contestants, *numpy_reference.linear_loss(*wide, y, loss, L2))

    name = f"linear_loss {loss} f32, {described(n_rows)}"
    return Row(name, targets, contestants | limits, tuple(limits), check, calls)


def linear_uint8_row():
    pixels, y, _ = images()
    X, _ = float_images()
    W, mean = small_weights(), mean_pixels()

    def ours():
        return losses.linear_loss(
            W, pixels, y, "softmax", L2, mean=mean, scale=PIXEL_SCALE, n_jobs=N_THREADS
        )

    contestants = {
        "fastnn": ours,
        "numpy": lambda: numpy_reference.linear_loss(W, X, y, "softmax", L2),
    }
    if torch := import_torch():
        contestants["torch"] = torch_linear_loss(torch, W, X, y, "softmax", L2)
    limits = {"read": read_bytes(pixels.nbytes), "sgemm": sgemm(*SGEMM_OF_ALL)}

    def check():
        exact = (pixels - mean) * PIXEL_SCALE
        wide_W = W.astype(np.float64)
        check_gradients(contestants, *numpy_reference.linear_loss(wide_W, exact, y, "softmax", L2))

    name = (
        f"linear_loss softmax uint8, {described(N_IMAGES)}, "
        f"{pixels.nbytes / 1e6:.0f} MB (peers: a float32 copy, {X.nbytes / 1e6:.0f} MB)"
    )
    return Row(name, {"numpy": 3}, contestants | limits, tuple(limits), check, 3)


def scores_row(loss):
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((50_000, N_CLASSES), dtype=np.float32)
    y = rng.integers(0, N_CLASSES, len(scores))
    function = {"svm": losses.svm_loss, "softmax": losses.softmax_loss}[loss]
    contestants = {
        "fastnn": lambda: function(scores, y, n_jobs=N_THREADS),
        "numpy": lambda: numpy_reference.LOSSES[loss](scores, y),
    }
    if torch := import_torch():
        contestants["torch"] = torch_loss_of_scores(torch, scores, y, loss)

    def check():
        check_gradients(contestants, *numpy_reference.LOSSES[loss](scores.astype(np.float64), y))

    return Row(f"{loss}_loss f32, 50,000 x 10", {"numpy": 4}, contestants, (), check, 20)


def numpy_relu_backward(dout, x, in_place):
    if not in_place:
        return fastest(
            lambda: numpy_reference.relu_backward_by_product(dout, x),
            lambda: numpy_reference.relu_backward_by_where(dout, x),
        )
    return fastest(
        lambda: numpy_reference.relu_backward_by_product(dout, x, out=dout),
        lambda: numpy_reference.relu_backward_by_copyto(dout, x),
    )


def relu_row(in_place, target):
    """Twice in place is the same as once, so that nothing is to be set back between the calls."""
    rng = np.random.default_rng(0)
    original, x = rng.standard_normal((2, 4096, 4096), dtype=np.float32)
    dout = original.copy()
    out = dout if in_place else None
    contestants = {
        "fastnn": lambda: losses.relu_backward(dout, x, out=out, n_jobs=N_THREADS),
        "numpy": numpy_relu_backward(dout, x, in_place),
    }
    if torch := import_torch():
        contestants["torch"] = torch_relu_backward(torch, dout, x, in_place)

    def check():
        expected = np.where(x > 0, original, 0)
        for name, call in contestants.items():
            dout[:] = original
            np.testing.assert_array_equal(call(), expected, err_msg=name)

    name = f"relu_backward f32{' in place' if in_place else ''}, 4,096 x 4,096"
    all_of_them = contestants | {"read": lambda: np.vdot(dout, x)}
    return Row(name, {"numpy": target}, all_of_them, ("read",), check)


# ---- training -----------------------------------------------------------------------------------


def fastnn_epoch(X, y, batch_size):
    """The same updates as in `numpy_reference.sgd_epoch`."""
    model = fastnn.linear_model.SoftmaxClassifier(
        ALPHA,
        solver="sgd",
        batch_size=batch_size,
        learning_rate_init=RATE,
        momentum=MOMENTUM,
        nesterovs_momentum=False,
        max_iter=1,
        tol=None,
        random_state=0,
        n_jobs=N_THREADS,
    )

    def run():
        model.fit(X, y)
        return model.coef_, model.intercept_

    return run


def numpy_epoch(X, y, n_classes, batch_size):
    return lambda: numpy_reference.sgd_epoch(X, y, n_classes, batch_size, RATE, MOMENTUM, ALPHA)


def sklearn_epoch(X, y):
    """One row at a time, and a binary loss for each class against the others."""
    model = SGDClassifier(
        loss="log_loss", alpha=ALPHA, max_iter=1, tol=None, random_state=0, n_jobs=N_THREADS
    )
    return lambda: model.fit(X, y)


def epoch_row(of_bytes):
    pixels, y, _ = images()
    X, _ = float_images()
    data = pixels if of_bytes else X
    same_updates = {
        "fastnn": fastnn_epoch(data, y, BATCH_SIZE),
        "numpy": numpy_epoch(X, y, N_CLASSES, BATCH_SIZE),
    }
    if torch := import_torch():
        same_updates["torch"] = torch_epoch(torch, X, y, N_CLASSES, BATCH_SIZE)
    limits = {"read": read_bytes(data.nbytes), "sgemm": sgemm(*SGEMM_OF_ALL)}
    contestants = {**same_updates, "scikit-learn": sklearn_epoch(X, y), **limits}

    def check():
        exact = numpy_epoch(X.astype(np.float64), y, N_CLASSES, BATCH_SIZE)()
        expected = penalized_loss(*exact, X, y, 0.0)
        for name, run in same_updates.items():
            rows = data.astype(np.float64) if name == "fastnn" and of_bytes else X
            loss = penalized_loss(*run(), rows, y, 0.0)
            np.testing.assert_allclose(loss, expected, rtol=EPOCH_RTOL, err_msg=name)

    kind = "uint8 (peers: a float32 copy)" if of_bytes else "f32"
    name = f"SoftmaxClassifier, one epoch of SGD {kind}, {described(N_IMAGES)}"
    targets = {"numpy": 3.5, "torch": 10, "scikit-learn": 30}
    return Row(name, targets, contestants, tuple(limits), check)


def landscape_row():
    """NumPy does all of the plane too, which takes many seconds: hence few turns."""
    X, y = (array[:N_SAMPLED] for array in float_images())
    W, *directions = (small_weights(N_FEATURES + 1, seed) for seed in (1, 2, 3))
    steps = np.linspace(-1.0, 1.0, 41)
    plane = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)

    def evaluate():
        return losses.losses_on_plane(W, directions, plane, X, y, bias=True, n_jobs=N_THREADS)

    def check():
        some = slice(None, None, 97)
        wide = [matrix.astype(np.float64) for matrix in (W, *directions, X)]
        exact = numpy_reference.losses_on_plane(wide[0], wide[1:3], plane[some], wide[3], y)
        np.testing.assert_allclose(evaluate()[some], exact, rtol=RTOL)

    contestants = {
        "fastnn": evaluate,
        "numpy": lambda: numpy_reference.losses_on_plane(W, directions, plane, X, y),
    }
    name = f"losses_on_plane, 41 x 41 points, {described(N_SAMPLED)}, at most 3 turns"
    return Row(name, {"numpy": 10}, contestants, (), check, most_turns=3)


# ---- L-BFGS to a common loss --------------------------------------------------------------------

# The loss to reach is within 1 % of fastnn's after so many iterations.
LBFGS_ALPHA = 0.01
LBFGS_ITERATIONS = 100
LBFGS_NEARNESS = 1.01


def smallest_max_iter(reaches, most=1 << 12):
    """Return the smallest number of iterations that `reaches` is true of: doubling, then halving.

    Iterations of L-BFGS are deterministic and lower the loss, so that there is one such number.
    """
    low, high = 0, 1
    while not reaches(high):
        if high >= most:
            raise RuntimeError(f"{most} iterations do not reach the loss")
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(middle) else (middle, high)
    return high


def lbfgs_contestants(X, y):
    """Return {name: fit(max_iter)}, both for the same loss and with no other reason to stop."""

    def ours(max_iter):
        return fastnn.linear_model.SoftmaxClassifier(
            LBFGS_ALPHA, solver="lbfgs", max_iter=max_iter, tol=1e-9, n_jobs=N_THREADS
        ).fit(X, y)

    def theirs(max_iter):
        C = 1.0 / (LBFGS_ALPHA * len(X))
        return LogisticRegression(C=C, max_iter=max_iter, tol=1e-9).fit(X, y)

    def silent(fit):
        def run(max_iter):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                return fit(max_iter)

        return run

    return {"fastnn": silent(ours), "scikit-learn": silent(theirs)}


def logistic_row():
    """Each gets as many iterations as it needs for the loss, which the check finds out."""
    X, y = (array[:N_SAMPLED] for array in float_images())
    fits = lbfgs_contestants(X, y)
    iterations = {}

    def loss_of(model):
        return penalized_loss(model.coef_, model.intercept_, X, y, LBFGS_ALPHA)

    def check():
        goal = LBFGS_NEARNESS * loss_of(fits["fastnn"](LBFGS_ITERATIONS))
        for name, fit in fits.items():
            iterations[name] = smallest_max_iter(
                lambda max_iter, fit=fit: loss_of(fit(max_iter)) <= goal
            )

    contestants = {name: lambda name=name: fits[name](iterations[name]) for name in fits}
    name = f"SoftmaxClassifier by L-BFGS to the same loss, {described(N_SAMPLED)}"
    return Row(name, {"scikit-learn": 3}, contestants, (), check)


ALL_TARGETS, BATCH_TARGETS = {"numpy": 3, "torch": 10}, {"numpy": 2, "torch": 7}

ROWS = {
    "linear-softmax": lambda: linear_row("softmax", N_IMAGES, ALL_TARGETS, SGEMM_OF_ALL, 3),
    "linear-svm": lambda: linear_row("svm", N_IMAGES, ALL_TARGETS, SGEMM_OF_ALL, 3),
    "linear-uint8": linear_uint8_row,
    "batch-softmax": lambda: linear_row("softmax", BATCH_SIZE, BATCH_TARGETS, SGEMM_OF_BATCH, 200),
    "batch-svm": lambda: linear_row("svm", BATCH_SIZE, BATCH_TARGETS, SGEMM_OF_BATCH, 200),
    "epoch": lambda: epoch_row(of_bytes=False),
    "epoch-uint8": lambda: epoch_row(of_bytes=True),
    "scores-softmax": lambda: scores_row("softmax"),
    "scores-svm": lambda: scores_row("svm"),
    "relu-new": lambda: relu_row(False, 1.8),
    "relu-inplace": lambda: relu_row(True, 2.5),
    "landscape": landscape_row,
    "logistic": logistic_row,
}
