"""Losses of scores and of linear classifiers with their gradients, the rectifier, and training."""

import numpy as np
import pytest

import numpy_reference
import rows_linear
from fastnn import losses

LOSSES = ["softmax", "svm"]
# How far values may be off in float32, as a share of the largest one.
RTOL = 1e-4


def import_torch():
    """Return PyTorch with the thread limit; skip the contestant where it is not installed."""
    return rows_linear.import_torch() or pytest.skip("PyTorch is not installed")


def agrees_with(exact_loss, exact_gradient):
    """Return a check of (loss, gradient) against float64's."""
    atol = RTOL * np.abs(exact_gradient).max()

    def check(result):
        loss, gradient = result
        np.testing.assert_allclose(loss, exact_loss, rtol=RTOL)
        np.testing.assert_allclose(gradient, exact_gradient, rtol=0, atol=atol)

    return check


# ---- losses of scores ---------------------------------------------------------------------------

# (n, n_classes)
SCORES = [
    (256, 10),
    (50_000, 10),
    (2_000, 1_000),  # rows as long as those of ImageNet
]


def fastnn_loss(scores, y, loss, n_threads):
    function = {"softmax": losses.softmax_loss, "svm": losses.svm_loss}[loss]
    return lambda: function(scores, y, n_jobs=n_threads)


def numpy_loss(scores, y, loss, n_threads):
    return lambda: numpy_reference.LOSSES[loss](scores, y)


def torch_loss(scores, y, loss, n_threads):
    return rows_linear.torch_loss_of_scores(import_torch(), scores, y, loss)


SCORERS = {"fastnn": fastnn_loss, "numpy": numpy_loss, "torch": torch_loss}


@pytest.mark.parametrize("contestant", SCORERS)
@pytest.mark.parametrize(("n", "n_classes"), SCORES)
@pytest.mark.parametrize("loss", LOSSES)
def test_loss_of_scores(loss, n, n_classes, contestant, draw, n_threads, measure):
    scores = draw(1, n, n_classes, "float32")
    y = np.random.default_rng(2).integers(0, n_classes, n)
    check = agrees_with(*numpy_reference.LOSSES[loss](scores.astype(np.float64), y))
    call = SCORERS[contestant](scores, y, loss, n_threads)
    measure(f"{loss}_loss/float32/{n:,} x {n_classes:,}", contestant, call, check)


# ---- losses of linear scores --------------------------------------------------------------------

N_FEATURES, N_CLASSES, L2 = 3072, 10, 1e-3
# Bytes stand for (X - mean) * scale.
MEAN, SCALE = 128.0, 1 / 64


def as_floats(X):
    return (X.astype(np.float32) - MEAN) * np.float32(SCALE) if X.dtype == np.uint8 else X


def fastnn_linear(W, X, y, loss, n_threads):
    affine = {"mean": MEAN, "scale": SCALE} if X.dtype == np.uint8 else {}
    return lambda: losses.linear_loss(W, X, y, loss, L2, n_jobs=n_threads, **affine)


def numpy_linear(W, X, y, loss, n_threads):
    X = as_floats(X)
    return lambda: numpy_reference.linear_loss(W, X, y, loss, L2)


def torch_linear(W, X, y, loss, n_threads):
    torch = import_torch()
    return rows_linear.torch_linear_loss(torch, W, as_floats(X), y, loss, L2)


LINEAR = {"fastnn": fastnn_linear, "numpy": numpy_linear, "torch": torch_linear}


@pytest.mark.parametrize("contestant", LINEAR)
@pytest.mark.parametrize("n", [256, 5_000])
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("loss", LOSSES)
def test_linear_loss(loss, dtype, n, contestant, draw, n_threads, measure):
    X = draw(1, n, N_FEATURES, dtype)
    W = 0.01 * draw(2, N_CLASSES, N_FEATURES, "float32")
    y = np.random.default_rng(3).integers(0, N_CLASSES, n)
    # With these mean and scale, floats of bytes are exact in float32.
    wide = W.astype(np.float64), as_floats(X).astype(np.float64)
    check = agrees_with(*numpy_reference.linear_loss(*wide, y, loss, L2))
    call = LINEAR[contestant](W, X, y, loss, n_threads)
    group = f"linear_loss {loss}/{dtype}/{n:,} x {N_FEATURES:,}, {N_CLASSES} classes"
    measure(group, contestant, call, check)


# ---- the rectifier ------------------------------------------------------------------------------


def torch_relu(x, n_threads):
    torch = import_torch()
    x = torch.from_numpy(x)
    return lambda: torch.relu(x)


def torch_relu_backward(dout, x, n_threads):
    return rows_linear.torch_relu_backward(import_torch(), dout, x, in_place=False)


RELUS = {
    "fastnn": lambda x, n_threads: lambda: losses.relu(x, n_jobs=n_threads),
    "numpy": lambda x, n_threads: lambda: numpy_reference.relu(x),
    "torch": torch_relu,
}
BACKWARD = {
    "fastnn": lambda dout, x, n_threads: lambda: losses.relu_backward(dout, x, n_jobs=n_threads),
    "numpy product": lambda dout, x, n_threads: (
        lambda: numpy_reference.relu_backward_by_product(dout, x)
    ),
    "numpy where": lambda dout, x, n_threads: (
        lambda: numpy_reference.relu_backward_by_where(dout, x)
    ),
    "torch": torch_relu_backward,
}
# In the second-level cache, and out of all of them.
SHAPES = [(128, 512), (4096, 4096)]


@pytest.mark.parametrize("contestant", RELUS)
@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_relu(n, d, contestant, draw, n_threads, measure):
    x = draw(1, n, d, "float32")

    def check(result):
        np.testing.assert_array_equal(result, np.where(x > 0, x, 0))

    measure(f"relu/float32/{n:,} x {d:,}", contestant, RELUS[contestant](x, n_threads), check)


@pytest.mark.parametrize("contestant", BACKWARD)
@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_relu_backward(n, d, contestant, draw, n_threads, measure):
    dout, x = draw(1, n, d, "float32"), draw(2, n, d, "float32")

    def check(result):
        np.testing.assert_array_equal(result, np.where(x > 0, dout, 0))

    call = BACKWARD[contestant](dout, x, n_threads)
    measure(f"relu_backward/float32/{n:,} x {d:,}", contestant, call, check)


# ---- an epoch -----------------------------------------------------------------------------------

BATCH_SIZE = 256


def torch_epoch(X, y, n_threads):
    return rows_linear.torch_epoch(import_torch(), X, y, N_CLASSES, BATCH_SIZE)


EPOCHS = {
    "fastnn": lambda X, y, n_threads: rows_linear.fastnn_epoch(X, y, BATCH_SIZE),
    "numpy": lambda X, y, n_threads: rows_linear.numpy_epoch(X, y, N_CLASSES, BATCH_SIZE),
    "torch": torch_epoch,
}


@pytest.mark.parametrize("contestant", EPOCHS)
def test_sgd_epoch(contestant, draw, n_threads, measure):
    n = 5_000
    X = draw(1, n, N_FEATURES, "float32")
    y = np.random.default_rng(2).integers(0, N_CLASSES, n)
    exact = EPOCHS["numpy"](X.astype(np.float64), y, n_threads)()
    expected = rows_linear.penalized_loss(*exact, X, y, 0.0)

    def check(result):
        # Each has its own order of the rows.
        loss = rows_linear.penalized_loss(*result, X, y, 0.0)
        np.testing.assert_allclose(loss, expected, rtol=rows_linear.EPOCH_RTOL)

    call = EPOCHS[contestant](X, y, n_threads)
    group = f"SGD epoch softmax/float32/{n:,} x {N_FEATURES:,}, batches of {BATCH_SIZE}"
    measure(group, contestant, call, check)
