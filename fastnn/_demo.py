"""The main job on real images: choose k, metric and weights, try the other models, then test.

`fastnn demo` prints what `run` returns.
"""

import math
import time
from collections import namedtuple
from dataclasses import asdict, dataclass

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from . import _tour
from ._core._dispatch import get_isa
from ._core._threads import effective_n_threads
from ._core.search._vote import sum_votes
from ._sklearn.private import get_weights
from .datasets import load_cifar10
from .neighbors import kneighbors

METRICS = ("l1", "l2")
WEIGHTS = ("uniform", "distance")
NUMBERS_OF_NEIGHBORS = (1, 3, 5, 7, 9, 12, 15, 20, 30)
N_CLASSES = 10
SEED = 0

N_WARM_UP = 32
# Work this short is timed several times, and the median taken.
SHORT_SECONDS = 2.0
MAX_TURNS = 15
# NumPy's work is cut off here and scaled.
MAX_NUMPY_SECONDS = 2.5
SHORT_NAMES = {"n_neighbors": "k", "learning_rate_init": "rate"}
# NumPy is fastest where a block of differences stays in cache (1 MiB of float32) and where a
# block of the matrix product is large (16 MiB).
L1_ELEMENTS = 1 << 18
L2_ELEMENTS = 1 << 22

Images = namedtuple("Images", "X y")


@dataclass(frozen=True)
class Task:
    """Images to learn from, of which `train` and `validation` are the rows, and to test on."""

    name: str
    learning: Images
    test: Images
    train: np.ndarray
    validation: np.ndarray
    class_names: tuple = tuple(map(str, range(10)))


@dataclass
class Result:
    """The best model of one metric on the validation set, and how long the search took."""

    metric: str
    n_neighbors: int
    weights: str
    n_correct: int
    validation_accuracy: float
    seconds: float
    numpy_seconds: float
    numpy_queries: int
    ratio: float
    test_accuracy: float | None = None


def run(data=None, n_jobs=None, report=None):
    """Choose models on validation images and test them.

    Parameters
    ----------
    data : str or path-like, optional
        A folder or archive that holds CIFAR-10. Default: scikit-learn's handwritten digits.
    n_jobs : int, optional
        Threads, as in scikit-learn; None: all the cores that this process may use.
    report : str or path-like, optional
        A folder for a page with the tables and pictures.

    Returns
    -------
    dict
        What `format_report` takes; all of it can be written as JSON.

    Raises
    ------
    OSError, ValueError
        As `fastnn.datasets.load_cifar10`; also for too few images to split and n_jobs=0, and for a
        report without matplotlib or a folder that cannot be made.
    """
    n_threads = effective_n_threads(n_jobs)
    if report is not None:
        from . import _report

        folder = _report.prepare(report)
    n_steps = 1 + 2 * len(METRICS) + 2 * len(_tour.MODELS) + (report is not None)
    with _progress_bar(n_steps) as bar:
        bar.set_description_str("load")
        task = load_digits_task() if data is None else load_cifar10_task(data)
        results = [try_metric(task, metric, n_threads, bar) for metric in METRICS]
        best = min(results, key=_order_of_choice)
        trials, estimators = _run_tour(task, best, n_threads, bar)
        best.test_accuracy = trials["k-NN"].test_accuracy
        found = {
            "data": task.name,
            "n_train": len(task.train),
            "n_validation": len(task.validation),
            "n_test": len(task.test.y),
            "n_features": task.test.X.shape[1],
            "n_threads": n_threads,
            "isa": get_isa(),
            "results": [asdict(result) for result in results],
            "chosen": asdict(best),
            "models": [asdict(trial) for trial in trials.values()],
        }
        if report is not None:
            _next_step(bar, "report")
            page = _report.write(folder, task, _sections(found), estimators, n_threads)
            found["report"] = str(page)
    return found


def _run_tour(task, best, n_threads, bar):
    """Return trials and fitted estimators by the names of the models.

    All is chosen before anything is tested.
    """
    best_neighbors = {name: getattr(best, name) for name in ("n_neighbors", "weights", "metric")}
    trials, estimators = {}, {}
    for model in _tour.MODELS:
        _next_step(bar, f"{model.name}: choose")
        trials[model.name], estimators[model.name] = _tour.choose(
            model, task, n_threads, best_neighbors
        )
    for name, trial in trials.items():
        _next_step(bar, f"{name}: test")
        _tour.test_once(trial, estimators[name], task)
    return trials, estimators


def _progress_bar(n_steps):
    """Return a bar on stderr, which shows nothing unless that is a terminal."""
    return tqdm(
        total=n_steps,
        bar_format="{desc:<16}|{bar:30}| {n}/{total} [{elapsed}]",
        mininterval=0.0,
        leave=False,
        disable=None,
    )


def _next_step(bar, name):
    bar.set_description_str(name, refresh=False)
    bar.update()


def load_digits_task():
    """Return the handwritten digits: 60 % to train, 20 % to validate, 20 % to test."""
    X, y = load_digits(return_X_y=True)
    X = X.astype(np.uint8)  # the values are 0 to 16
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.2, stratify=y, random_state=SEED)
    return _split("handwritten digits", Images(X, y), Images(X_test, y_test), 0.25)


def load_cifar10_task(path):
    """Return CIFAR-10 with its own test set; up to 1,000 training images are to validate."""
    cifar = load_cifar10(path)
    learning = Images(cifar.X_train, cifar.y_train)
    n_validation = min(1000, math.ceil(len(learning.y) / 10))
    test = Images(cifar.X_test, cifar.y_test)
    return _split("CIFAR-10", learning, test, n_validation, tuple(cifar.target_names.tolist()))


def _split(name, learning, test, validation_size, class_names=Task.class_names):
    rows = np.arange(len(learning.y))
    try:
        train, validation = train_test_split(
            rows, test_size=validation_size, stratify=learning.y, random_state=SEED
        )
    except ValueError as error:
        raise ValueError(
            f"{name}: cannot split {len(rows)} training images by class: {error}"
        ) from None
    return Task(name, learning, test, train, validation, class_names)


def try_metric(task, metric, n_threads, bar):
    """Search once under a metric, choose k and the weights by the result, and time NumPy's way."""
    samples, queries = task.learning.X[task.train], task.learning.X[task.validation]
    numbers = [k for k in NUMBERS_OF_NEIGHBORS if k <= len(samples)]

    _next_step(bar, f"{metric}: fastnn")
    kneighbors(queries[:N_WARM_UP], samples, numbers[-1], metric, n_jobs=n_threads)
    seconds, (distances, indices) = _median_time(
        lambda: kneighbors(queries, samples, numbers[-1], metric, n_jobs=n_threads)
    )
    n_correct, k, weights = choose_vote(task, distances, indices, numbers, n_threads)

    _next_step(bar, f"{metric}: NumPy")
    numpy_seconds, numpy_distances = time_numpy(queries, samples, numbers[-1], metric, n_threads)
    n_timed = len(numpy_distances)
    require_agreement(numpy_distances, distances[:n_timed], metric, queries.shape[1])
    numpy_seconds *= len(queries) / n_timed
    return Result(
        metric,
        k,
        weights,
        n_correct,
        n_correct / len(queries),
        seconds,
        numpy_seconds,
        n_timed,
        numpy_seconds / seconds,
    )


def choose_vote(task, distances, indices, numbers, n_threads):
    """Return (validation images classified rightly, k, weights) of the best vote.

    The k nearest neighbors are the first k of more, so one search serves every k and weighting.
    Ties go to the smaller k, then to uniform weights.
    """
    train_labels, labels = task.learning.y[task.train], task.learning.y[task.validation]
    best = (-1, None, None)
    for k in numbers:
        nearest = np.ascontiguousarray(indices[:, :k])
        for weights in WEIGHTS:
            values = get_weights(np.ascontiguousarray(distances[:, :k]), weights)
            votes = sum_votes(nearest, train_labels, N_CLASSES, values, n_threads)
            n_correct = int(np.count_nonzero(votes.argmax(axis=1) == labels))
            if n_correct > best[0]:
                best = (n_correct, k, weights)
    return best


def _order_of_choice(result):
    return (-result.n_correct, result.n_neighbors, WEIGHTS.index(result.weights))


def _median_time(work):
    """Return (seconds, result) of the work; the median of some turns where it is short."""
    turns = []
    while True:
        start = time.perf_counter()
        result = work()
        turns.append(time.perf_counter() - start)
        if len(turns) == MAX_TURNS or sum(turns) > SHORT_SECONDS:
            return float(np.median(turns)), result


# ---- the same work in NumPy ---------------------------------------------------------------------


def time_numpy(queries, samples, k, metric, n_threads):
    """Return (seconds, distances) of NumPy's search for as many queries as there is time for.

    What is done once for all queries (float32 samples and their norms) is not counted.
    """
    search = NumpyL1(samples) if metric == "l1" else NumpyL2(samples)
    step = search.queries_per_step

    def search_first(n_queries, max_seconds=math.inf):
        start = time.perf_counter()
        found = []
        for first in range(0, n_queries, step):
            part = queries[first : min(first + step, n_queries)]
            found.append(search.kneighbors(part, k)[0])
            if time.perf_counter() - start > max_seconds:
                break
        return np.concatenate(found)

    with threadpool_limits(n_threads, user_api="blas"):  # as many as fastnn's
        # The warm-up also tells for how many queries there is time.
        n_queries = len(search_first(len(queries), MAX_NUMPY_SECONDS))
        return _median_time(lambda: search_first(n_queries))


class NumpyL1:
    """k nearest neighbors under L1 by broadcasting.

    float32 holds the sums exactly: they are integers under 2**24 (up to 65,793 features).
    """

    def __init__(self, samples):
        self.samples = samples.astype(np.float32)
        self.queries_per_step = max(1, L1_ELEMENTS // samples.size)

    def kneighbors(self, queries, k):
        queries = queries.astype(np.float32)[:, None]
        n_rows = max(1, L1_ELEMENTS // queries.size)
        distances = np.empty((len(queries), len(self.samples)), np.float32)
        for first in range(0, len(self.samples), n_rows):
            rows = slice(first, first + n_rows)
            differences = queries - self.samples[rows]
            np.abs(differences, out=differences).sum(axis=2, out=distances[:, rows])
        return smallest(distances, k)


class NumpyL2:
    """k nearest neighbors under L2 by a matrix product: |x|² - 2 x·y + |y|²."""

    def __init__(self, samples):
        self.samples = samples.astype(np.float32)
        self.norms = self.squared_norms(self.samples)
        self.queries_per_step = max(1, L2_ELEMENTS // len(samples))

    def kneighbors(self, queries, k):
        queries = queries.astype(np.float32)
        squares = queries @ self.samples.T
        squares *= -2.0
        squares += self.norms
        squares += self.squared_norms(queries)[:, None]
        squares, indices = smallest(squares, k)
        return np.sqrt(np.maximum(squares, 0.0)), indices

    @staticmethod
    def squared_norms(X):
        # einsum adds one by one, which in float32 would lose more than the product does.
        return np.einsum("ij,ij->i", X, X, dtype=np.float64).astype(np.float32)


def smallest(distances, k):
    """Return the k smallest distances of each row, ascending, and where they are."""
    indices = np.argpartition(distances, k - 1, axis=1)[:, :k]
    values = np.take_along_axis(distances, indices, axis=1)
    order = values.argsort(axis=1)
    return np.take_along_axis(values, order, axis=1), np.take_along_axis(indices, order, axis=1)


def require_agreement(numpy_distances, distances, metric, n_features):
    """Raise a RuntimeError unless both searches found the same distances.

    L1's are exact in both. Under L2 the matrix product is rounded to float32, relative to the
    squared norms, which are at most 255² a feature.
    """
    if metric == "l1":
        agree = np.array_equal(numpy_distances, distances)
    else:
        rounding = 1e-5 * n_features * 255.0**2
        agree = np.allclose(numpy_distances**2, distances**2, rtol=0.0, atol=rounding)
    if not agree:
        raise RuntimeError(f"NumPy and fastnn found different {metric} distances")


# ---- the report ---------------------------------------------------------------------------------


def format_report(report):
    """Return the tables and the closing sentences that `fastnn demo` prints."""
    lines = [
        f"{report['data']}: {report['n_train']:,} training, {report['n_validation']:,} validation "
        f"and {report['n_test']:,} test images of {report['n_features']:,} values"
    ]
    for title, rows, text_columns, notes in _sections(report):
        lines += ["", f"{title}:", "", *_align(rows, text_columns), *notes]
    chosen = report["chosen"]
    lines += [
        "",
        f"Chosen on the validation images: {chosen['metric']}, k = {chosen['n_neighbors']}, "
        f"{chosen['weights']} weights; {chosen['test_accuracy']:.2%} of the test images are "
        "classified correctly.",
    ]
    if "report" in report:
        lines.append(f"The report is in {report['report']}.")
    return "\n".join(lines)


def _sections(report):
    """Return (title, rows, columns of text, notes) of each table."""
    threads = "1 thread" if report["n_threads"] == 1 else f"{report['n_threads']} threads"
    return [
        (
            f"Search for the neighbors of the validation images, {threads}, {report['isa']}",
            *_rows_of_metrics(report["results"], report["n_validation"]),
        ),
        (
            "All models, chosen on the validation images, trained anew with them and tested",
            *_rows_of_models(report["models"]),
        ),
    ]


def _rows_of_models(models):
    header = ("model", "chosen", "validation", "test", "fit", "predict")
    rows = [
        (
            model["model"],
            ", ".join(
                f"{SHORT_NAMES.get(name, name)} = {value}"
                for name, value in model["parameters"].items()
            ),
            f"{model['validation_accuracy']:.2%}",
            f"{model['test_accuracy']:.2%}",
            _format_seconds(model["fit_seconds"]),
            _format_seconds(model["predict_seconds"]),
        )
        for model in models
    ]
    return [header, *rows], (0, 1), []


def _rows_of_metrics(results, n_queries):
    header = ("metric", "best k", "weights", "validation", "fastnn", "NumPy", "ratio")
    rows, notes = [header], []
    for result in results:
        timed = result["numpy_queries"]
        mark = "~" if timed < n_queries else ""
        if mark:
            scaled = f"timed on {timed:,} of {n_queries:,} queries and scaled"
            notes.append(f"~ {result['metric']}: NumPy {scaled}")
        rows.append(
            (
                result["metric"],
                str(result["n_neighbors"]),
                result["weights"],
                f"{result['validation_accuracy']:.2%}",
                _format_seconds(result["seconds"]),
                mark + _format_seconds(result["numpy_seconds"]),
                mark + _format_ratio(result["ratio"]),
            )
        )
    return rows, (0, 2), notes


def _align(rows, words):
    """Return the rows as lines, columns of words to the left and numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if column in words else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _format_seconds(seconds):
    return f"{seconds:.2f} s" if seconds >= 1.0 else f"{1000.0 * seconds:.1f} ms"


def _format_ratio(ratio):
    return f"{ratio:.0f}x" if ratio >= 100.0 else f"{ratio:.1f}x"
