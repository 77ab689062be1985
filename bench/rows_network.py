"""Rows of ratios.py: networks, their epochs and predictions.

The data are those of rows_linear.py, and scikit-learn's digits. All contestants make the same
updates, with gradient descent and momentum, from the same weights.

Limit: "sgemm" are the operations of the matrix products that a contestant cannot do without, in one
matrix product that is close to a cube, where NumPy is at its best.
"""

import copy
import itertools
import warnings

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

import fastnn
import numpy_reference
from contest import N_THREADS, Row
from rows_linear import (
    EPOCH_RTOL,
    MOMENTUM,
    RATE,
    described,
    float_images,
    images,
    import_torch,
    sgemm,
    test_images,
)

ALPHA = 1e-4
# Until an accuracy.
RATE_TO_LEARN, MOST_EPOCHS = 1e-2, 30


def first_weights(sizes):
    """He's, in float32."""
    rng = np.random.default_rng(0)
    pairs = list(itertools.pairwise(sizes))
    weights = [rng.uniform(-1, 1, pair) * np.sqrt(6 / pair[0]) for pair in pairs]
    return [w.astype(np.float32) for w in weights], [np.zeros(n, np.float32) for _, n in pairs]


def parameters_of(sizes, batch_size):
    return {
        "hidden_layer_sizes": tuple(sizes[1:-1]),
        "solver": "sgd",
        "alpha": ALPHA,
        "batch_size": batch_size,
        "learning_rate_init": RATE,
        "momentum": MOMENTUM,
        "nesterovs_momentum": False,
        "max_iter": 1,
        "warm_start": True,
        "random_state": 0,
    }


def start_anew(estimator, X, y, sizes):
    """Put the first weights into an estimator, which remembers nothing of steps before."""
    if not hasattr(estimator, "coefs_"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            estimator.fit(X[:256], y[:256])
    estimator.coefs_, estimator.intercepts_ = first_weights(sizes)
    estimator._moments = None
    vars(estimator).pop("_optimizer", None)


def estimator_epoch(estimator, X, y, sizes):
    """Return a function that runs an epoch from the first weights, and returns them afterwards."""
    start_anew(estimator, X, y, sizes)

    def run():
        start_anew(estimator, X, y, sizes)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            estimator.fit(X, y)
        return estimator.coefs_, estimator.intercepts_

    return run


def numpy_epoch(X, y, sizes, batch_size):
    def run():
        parts = copy.deepcopy(first_weights(sizes))
        return numpy_reference.network_epoch(X, y, *parts, batch_size, RATE, MOMENTUM, ALPHA)

    return run


class TorchNetwork:
    """The same network and updates in PyTorch."""

    def __init__(self, torch, sizes, batch_size, rate=RATE):
        torch.set_num_threads(N_THREADS)
        self.torch, self.batch_size, layers = torch, batch_size, []
        for W, b in zip(*first_weights(sizes), strict=True):
            layer = torch.nn.Linear(*W.shape)
            layer.weight.data, layer.bias.data = torch.tensor(W.T.copy()), torch.tensor(b)
            layers += [layer, torch.nn.ReLU()]
        self.linear, self.model = layers[::2], torch.nn.Sequential(*layers[:-1])
        decay = ALPHA / batch_size
        groups = [
            {"params": [layer.weight for layer in self.linear], "weight_decay": decay},
            {"params": [layer.bias for layer in self.linear]},
        ]
        self.descent = torch.optim.SGD(groups, rate, MOMENTUM)
        self.loss_of = torch.nn.CrossEntropyLoss()

    def train(self, inputs, labels):
        """Descend for an epoch."""
        order = self.torch.randperm(len(inputs))
        for first in range(0, len(inputs), self.batch_size):
            rows = order[first : first + self.batch_size]
            self.descent.zero_grad(set_to_none=True)
            self.loss_of(self.model(inputs[rows]), labels[rows]).backward()
            self.descent.step()

    def predict(self, inputs):
        with self.torch.no_grad():
            return self.model(inputs).argmax(1).numpy()

    def weights(self):
        return (
            [layer.weight.detach().numpy().T for layer in self.linear],
            [layer.bias.detach().numpy() for layer in self.linear],
        )


def torch_epoch(torch, X, y, sizes, batch_size):
    inputs, labels = torch.from_numpy(X), torch.from_numpy(y.astype(np.int64))

    def run():
        network = TorchNetwork(torch, sizes, batch_size)
        network.train(inputs, labels)
        return network.weights()

    return run


def operations(sizes, n):
    """Multiply-adds of an epoch: forward, gradient, and back but for the first layer."""
    products = [a * b for a, b in itertools.pairwise(sizes)]
    return n * (2 * sum(products) + sum(products[1:]))


def cube(count):
    """Return the sides of a matrix product with so many multiply-adds, at most 2,000 deep."""
    side = round(count ** (1 / 3))
    return side, side, round(count / side**2)


def epoch_row(name, X, y, sizes, batch_size, targets, peers_X=None, calls=1):
    peers_X = X if peers_X is None else peers_X
    ours = fastnn.neural_network.MLPClassifier(**parameters_of(sizes, batch_size), n_jobs=N_THREADS)
    theirs = MLPClassifier(**parameters_of(sizes, batch_size))
    contestants = {
        "fastnn": estimator_epoch(ours, X, y, sizes),
        "numpy": numpy_epoch(peers_X, y, sizes, batch_size),
        "scikit-learn": estimator_epoch(theirs, peers_X, y, sizes),
    }
    if torch := import_torch():
        contestants["torch"] = torch_epoch(torch, peers_X, y, sizes, batch_size)
    limits = {"sgemm": sgemm(*cube(operations(sizes, len(X))))}

    def loss_after(run):
        weights, offsets = run()
        return numpy_reference.network_loss(peers_X[:2000], y[:2000], weights, offsets)

    def check():
        expected = loss_after(contestants["numpy"])
        for contestant, run in contestants.items():
            if contestant != "fastnn" or X is peers_X:
                found = loss_after(run)
                np.testing.assert_allclose(found, expected, rtol=EPOCH_RTOL, err_msg=contestant)

    layers = "-".join(map(str, sizes))
    return Row(
        f"MLPClassifier {layers}, batch {batch_size}, one epoch, {name}",
        targets,
        contestants | limits,
        tuple(limits),
        check,
        calls,
    )


def images_row():
    X, y = float_images()
    targets = {"numpy": 1.45, "torch": 1.7, "scikit-learn": 2}
    return epoch_row(f"f32, {described(len(X))}", X, y, (3072, 100, 10), 256, targets)


def bytes_row():
    pixels, y, _ = images()
    X, _ = float_images()
    name = f"uint8 (peers: a float32 copy), {described(len(X))}"
    targets = {"numpy": 1.45, "torch": 1.7, "scikit-learn": 2}
    return epoch_row(name, pixels, y, (3072, 100, 10), 256, targets, X)


def three_layers_row():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20_000, 784), dtype=np.float32)
    y = rng.integers(0, 10, len(X))
    targets = {"numpy": 1.2, "torch": 1.2, "scikit-learn": 1.2}
    return epoch_row("f32, 20,000 rows", X, y, (784, 512, 256, 10), 128, targets)


def digits_row():
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)
    targets = {"torch": 10, "scikit-learn": 5}
    return epoch_row("f32, the digits", X, y, (64, 32, 10), 32, targets, calls=20)


def predict_row():
    X, y = float_images()
    sizes = (3072, 100, 10)
    ours = fastnn.neural_network.MLPClassifier(**parameters_of(sizes, 256), n_jobs=N_THREADS)
    theirs = MLPClassifier(**parameters_of(sizes, 256))
    for model in (ours, theirs):
        start_anew(model, X, y, sizes)
    X = X[:10_000]
    (W1, W2), _ = first_weights(sizes)
    contestants = {
        "fastnn": lambda: ours.predict(X),
        "scikit-learn": lambda: theirs.predict(X),
        "numpy": lambda: (np.maximum(X @ W1, 0) @ W2).argmax(axis=1),
    }
    if torch := import_torch():
        inputs, network = torch.from_numpy(X), TorchNetwork(torch, sizes, 256)
        contestants["torch"] = lambda: network.predict(inputs)
    limits = {"sgemm": sgemm(*cube(len(X) * (3072 * 100 + 1000)))}

    def check():
        for name, call in contestants.items():
            assert (call() == contestants["numpy"]()).mean() > 0.999, name

    name = f"MLPClassifier.predict 3072-100-10, {described(len(X))}"
    return Row(name, 1.1, contestants | limits, tuple(limits), check, 3)


def accuracies(train, predict, y):
    """Yield the accuracy after each epoch, in per cent."""
    for _ in range(MOST_EPOCHS):
        train()
        yield 100 * np.mean(predict() == y)


def torch_accuracies(torch, X, y, sizes, test):
    torch.manual_seed(0)
    network = TorchNetwork(torch, sizes, 256, RATE_TO_LEARN)
    parts = torch.from_numpy(X), torch.from_numpy(y.astype(np.int64))
    inputs = torch.from_numpy(test[0])
    return accuracies(lambda: network.train(*parts), lambda: network.predict(inputs), test[1])


def estimator_accuracies(estimator, X, y, sizes, test):
    estimator.set_params(learning_rate_init=RATE_TO_LEARN)
    start_anew(estimator, X, y, sizes)
    return accuracies(
        lambda: estimator.partial_fit(X, y), lambda: estimator.predict(test[0]), test[1]
    )


def data_to_learn():
    """Return rows, labels, the same of the test, layers, and a name: of CIFAR-10, or the digits."""
    if test := test_images():
        return *float_images(), test, (3072, 100, 10), "CIFAR-10's"
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)
    return X[:1300], y[:1300], (X[1300:], y[1300:]), (64, 32, 10), "the digits'"


def accuracy_row():
    """Epochs until the test images are told apart as well as PyTorch ever does, or half of them."""
    X, y, test, sizes, name = data_to_learn()
    data = X, y, sizes, test
    ours = fastnn.neural_network.MLPClassifier(**parameters_of(sizes, 256), n_jobs=N_THREADS)
    theirs = MLPClassifier(**parameters_of(sizes, 256))
    starts = {
        "fastnn": lambda: estimator_accuracies(ours, *data),
        "scikit-learn": lambda: estimator_accuracies(theirs, *data),
    }
    if torch := import_torch():
        starts["torch"] = lambda: torch_accuracies(torch, *data)
    goal = min(50.0, max(starts["torch" if torch else "scikit-learn"]()))

    def until_the_goal(start):
        return lambda: next((n for n, accuracy in enumerate(start(), 1) if accuracy >= goal), None)

    contestants = {name: until_the_goal(start) for name, start in starts.items()}

    def check():
        for contestant, run in contestants.items():
            n_epochs = run()
            assert n_epochs, f"{contestant} does not reach {goal:.1f} % in {MOST_EPOCHS} epochs"

    layers = "-".join(map(str, sizes))
    name = f"MLPClassifier {layers}, batch 256, until {goal:.1f} % of {name} test images are right"
    return Row(name, {"torch": 1.5}, contestants, (), check)


ROWS = {
    "network-images": images_row,
    "network-uint8": bytes_row,
    "network-three-layers": three_layers_row,
    "network-digits": digits_row,
    "network-predict": predict_row,
    "network-accuracy": accuracy_row,
}
