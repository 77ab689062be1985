"""Classification from file to file: `fastnn knn`."""

import os
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from stat import S_IMODE

import numpy as np
from numpy.lib.format import open_memmap
from tqdm import tqdm

from .neighbors import KNeighborsClassifier

# Between two looks at the progress bar and at Ctrl-C; the search wants many at a time.
QUERIES_PER_STEP = 2048


def classify(train, labels, queries, out, *, n_neighbors, metric, weights, n_jobs):
    """Classify the rows of a file by their nearest neighbors among those of another.

    float32, float64 and uint8 in C order are mapped and not read as a whole; samples that the
    metric or the queries' dtype want otherwise are converted. The result replaces a file that is
    there already only when it is complete, and keeps its mode.

    Parameters
    ----------
    train, labels, queries, out : str or path-like
    n_neighbors, metric, weights, n_jobs
        As for `KNeighborsClassifier`.

    Returns
    -------
    dict
        n_samples, n_queries, n_features, seconds, out.

    Raises
    ------
    OSError
        If a file cannot be read or written.
    ValueError
        If a file is no array of this kind, or a parameter is out of range.
    """
    start = time.perf_counter()
    X, y, Q = _load(train, 2), _load(labels, 1), _load(queries, 2)
    if len(y) != len(X):
        raise ValueError(
            f"{labels}: there must be one label for each sample, got {len(y)} labels for {len(X)} "
            "samples"
        )
    if Q.shape[1] != X.shape[1]:
        raise ValueError(
            f"{queries}: must have {X.shape[1]} features as the samples, got {Q.shape[1]}"
        )
    out = _check_out(out)
    model = KNeighborsClassifier(n_neighbors, metric=metric, weights=weights, n_jobs=n_jobs)
    with _told_of(train):
        model.fit(X, y)
    with _told_of(queries):
        model.kneighbors(Q[:1])  # raises what is wrong with the parameters
        predictions = _predict(model, Q)
    _save(out, predictions)
    return {
        "n_samples": len(X),
        "n_queries": len(Q),
        "n_features": X.shape[1],
        "seconds": time.perf_counter() - start,
        "out": str(out),
    }


def _load(path, n_dimensions):
    """Return a file's array, mapped; objects, whose reading could execute anything, are refused."""
    try:
        array = open_memmap(path, mode="r")
    except OSError:
        raise
    except Exception as error:  # there is no limit to what a damaged header can raise
        raise ValueError(f"{path}: not a file of NumPy's (.npy), or damaged: {error}") from None
    if array.ndim != n_dimensions or array.size == 0:
        raise ValueError(f"{path}: must be {n_dimensions}-D and not empty, got shape {array.shape}")
    return np.asarray(array)


def _check_out(path):
    """Return where the result goes: better now than after the work."""
    path = Path(path).resolve()
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} for {path}")
    if path.exists() and not path.is_file():
        raise ValueError(f"{path}: cannot be replaced by the result, since it is no regular file")
    return path


@contextmanager
def _told_of(path):
    """Let errors about X tell of the file that it is, and parameters be no matter of types."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise ValueError(str(error).replace("Input X", str(path))) from error


def _predict(model, queries):
    """Return the classes of all queries, step by step behind a progress bar on a terminal."""
    predictions = np.empty(len(queries), model.classes_.dtype)
    with tqdm(
        total=len(queries), desc="knn", unit=" queries", unit_scale=True, disable=None
    ) as bar:
        for first in range(0, len(queries), QUERIES_PER_STEP):
            part = slice(first, first + QUERIES_PER_STEP)
            predictions[part] = model.predict(queries[part])
            bar.update(len(predictions[part]))
    return predictions


def _save(path, values):
    """Write an array such that the path never holds half of it."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(handle, "wb") as file:
            np.save(file, values, allow_pickle=False)
        os.chmod(name, S_IMODE(path.stat().st_mode) if path.exists() else 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
