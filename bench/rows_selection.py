"""Rows of ratios.py: choosing k, filling in what is missing, and reading images.

The data are 5,000 digits of 784 bytes (see digits.py). Peers get them as the floats that suit them:
scikit-learn float64, scikit-learn-intelex float32. Limits: "search" is the search of all rows among
all for 50 neighbors; "read" is reading the same files into one buffer.
"""

import os
import pickle
import struct
import tempfile
from functools import lru_cache
from pathlib import Path

import numpy as np
import sklearn.impute
import sklearn.neighbors
from sklearn.model_selection import GridSearchCV

import fastnn
import fastnn.impute
from contest import N_THREADS, Row, import_or_none
from digits import make_digits
from fastnn.datasets import load_cifar10
from fastnn.model_selection import KNeighborsClassifierCV
from fastnn.neighbors import KNeighborsClassifier

N_IMAGES, LARGEST = 5000, 50
WEIGHTS = ["uniform", "distance"]
CHECKED = [1, 7, LARGEST]
N_IN_BATCH, N_PIXELS = 10_000, 3072


@lru_cache
def digits():
    return make_digits(N_IMAGES)


def peers():
    """Return {name: (module, images)} of those installed."""
    X, _ = digits()
    found = {"scikit-learn": (sklearn.neighbors, X.astype(np.float64))}
    if module := import_or_none("sklearnex.neighbors"):
        found["sklearnex"] = (module, X.astype(np.float32))
    return found


def grid_search(classifier, numbers, X, y):
    grid = {"n_neighbors": numbers, "weights": WEIGHTS}
    return GridSearchCV(classifier, grid, cv=5, refit=False).fit(X, y)


def selection_row():
    X, y = digits()

    def select(numbers=range(1, LARGEST + 1)):
        search = KNeighborsClassifierCV(numbers, WEIGHTS, cv=5, refit=False, n_jobs=N_THREADS)
        return search.fit(X, y)

    def check():
        ours = select(CHECKED).cv_results_
        theirs = grid_search(KNeighborsClassifier(n_jobs=N_THREADS), CHECKED, X, y).cv_results_
        for key in ("mean_test_score", "std_test_score", "rank_test_score"):
            np.testing.assert_array_equal(ours[key], theirs[key])

    def their_search(module, images):
        model = module.KNeighborsClassifier(algorithm="brute", n_jobs=N_THREADS)
        return lambda: grid_search(model, list(range(1, LARGEST + 1)), images, y)

    contestants = {"fastnn": select}
    contestants |= {name: their_search(*peer) for name, peer in peers().items()}
    return Row(
        "k of 1 to 50, 2 weightings, 5 folds, 5,000 x 784 digits",
        {"scikit-learn": 250, "sklearnex": 100},
        contestants,
        (),
        check,
    )


def imputation_row(n, d, target):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d)) @ rng.standard_normal((d, d))
    X[rng.random((n, d)) < 0.25] = np.nan

    def check():
        some = X[:200]
        ours, theirs = fastnn.impute.KNNImputer(), sklearn.impute.KNNImputer()
        found = ours.fit(X).transform(some)
        np.testing.assert_allclose(found, theirs.fit(X).transform(some), rtol=1e-6, atol=1e-9)

    return Row(
        f"KNNImputer, {n:,} x {d}, a quarter missing",
        {"scikit-learn": target},
        {
            "fastnn": lambda: fastnn.impute.KNNImputer().fit_transform(X),
            "scikit-learn": lambda: sklearn.impute.KNNImputer().fit_transform(X),
        },
        (),
        check,
    )


def leave_one_out_row():
    X, y = digits()

    def select(numbers=range(1, LARGEST + 1)):
        search = KNeighborsClassifierCV(numbers, WEIGHTS, cv="loo", refit=False, n_jobs=N_THREADS)
        return search.fit(X, y)

    def check():
        _, indices = fastnn.kneighbors(X, X, 8, n_jobs=N_THREADS)
        votes = [
            np.bincount(y[row[row != i][:7]], minlength=10).argmax()
            for i, row in enumerate(indices)
        ]
        assert select([7]).cv_results_["mean_test_score"][0] == np.mean(votes == y)

    def their_search(module, images):
        model = module.NearestNeighbors(
            n_neighbors=LARGEST, algorithm="brute", n_jobs=N_THREADS
        ).fit(images)
        return model.kneighbors

    contestants = {
        "fastnn": select,
        "search": lambda: fastnn.kneighbors(X, X, LARGEST, n_jobs=N_THREADS),
    }
    contestants |= {name: their_search(*peer) for name, peer in peers().items()}
    return Row(
        "the same leave-one-out (peers: the search alone)", 1.0, contestants, ("search",), check
    )


# ---- files --------------------------------------------------------------------------------------


def as_python_2_pickles(labels, images):
    """Return a batch in the opcodes of the official files, which Python 2 wrote."""

    def text(value):
        return b"U" + bytes([len(value)]) + value

    def memoized(number):
        return b"r" + struct.pack("<I", number)

    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text(b"b")
    dtype = b"cnumpy\ndtype\n" + text(b"u1") + b"K\x00K\x01\x87R(K\x03" + text(b"|")
    dtype += b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    sizes = b"J" + struct.pack("<i", len(images)) + b"M" + struct.pack("<H", images.shape[1])
    names = (text(b"image_s_%06d.png" % i) + memoized(9 + i) for i in range(len(images)))
    return b"".join(
        [
            b"\x80\x02}q\x01(" + text(b"labels") + b"]q\x02(",
            b"".join(b"K%c" % label for label in labels.tolist()),
            b"e" + text(b"data") + array + b"\x87R(K\x01" + sizes + b"\x86" + dtype,
            b"\x89T" + struct.pack("<i", images.size) + images.tobytes() + b"tb",
            text(b"filenames") + b"]q\x03(",
            *names,
            b"eu.",
        ]
    )


@lru_cache
def cifar10_files():
    """Return a folder with files of CIFAR-10's layout and size, of random pixels, until exit."""
    folder = tempfile.TemporaryDirectory()
    rng = np.random.default_rng(0)
    for name in [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]:
        labels = rng.integers(0, 10, N_IN_BATCH)
        images = rng.integers(0, 256, (N_IN_BATCH, N_PIXELS), dtype=np.uint8)
        Path(folder.name, name).write_bytes(as_python_2_pickles(labels, images))
    names = {b"label_names": [b"class %d" % number for number in range(10)]}
    Path(folder.name, "batches.meta").write_bytes(pickle.dumps(names, protocol=2))
    return folder


def load_row():
    folder = Path(cifar10_files().name)
    paths = sorted(path for path in folder.iterdir() if path.name.startswith("data"))
    paths.append(folder / "test_batch")

    def unpickle():
        batches = [pickle.loads(path.read_bytes(), encoding="bytes") for path in paths]
        images = np.concatenate([batch[b"data"] for batch in batches[:-1]])
        labels = np.concatenate([batch[b"labels"] for batch in batches[:-1]])
        return images, labels, batches[-1][b"data"], np.array(batches[-1][b"labels"])

    def read():
        buffer = bytearray(max(os.path.getsize(path) for path in paths))
        for path in paths:
            with open(path, "rb", buffering=0) as file:
                file.readinto(buffer)

    def check():
        images, labels, test_images, test_labels = unpickle()
        cifar = load_cifar10(folder)
        np.testing.assert_array_equal(cifar.X_train, images)
        np.testing.assert_array_equal(cifar.y_train, labels)
        np.testing.assert_array_equal(cifar.X_test, test_images)
        np.testing.assert_array_equal(cifar.y_test, test_labels)

    contestants = {"fastnn": lambda: load_cifar10(folder), "read": read, "numpy": unpickle}
    # A disk takes 0.05 s or more for these files; the check of the opcodes takes as long as that.
    name = "load_cifar10, 184 MB in memory (peer: pickle, which trusts them)"
    return Row(name, 0.4, contestants, ("read",), check)


ROWS = {
    "select-k": selection_row,
    "select-k-loo": leave_one_out_row,
    "impute-8": lambda: imputation_row(20_000, 8, 30),
    "impute-100": lambda: imputation_row(20_000, 100, 30),
    "load-cifar10": load_row,
}
