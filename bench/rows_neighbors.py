"""Rows of ratios.py: searches for neighbors, their votes and graphs.

A limit is NumPy's matrix product of the same shape (multiply-adds for L2, at the same rate
additions for L1), reading the samples once, or for votes and graphs the search alone.
"""

import numpy as np

import fastnn
import fastnn.neighbors
from contest import N_THREADS, Row, import_or_none, read_once
from fastnn.neighbors import KNeighborsClassifier

CHECKED_QUERIES = 10


def oracle(X, Y, k, metric):
    """The k first rows of Y by (distance, index), in float64 difference form."""
    indices = np.empty((len(X), k), np.int64)
    X, Y = X.astype(np.float64), Y.astype(np.float64)
    if metric == "cosine":
        X, Y = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (X, Y))
    for i, x in enumerate(X):
        difference = x - Y
        terms = np.abs(difference) if metric == "l1" else difference**2
        indices[i] = np.argsort(terms.sum(axis=1), kind="stable")[:k]
    return indices


def sklearn_search(module, X, Y, k, metric):
    long_name = {"l1": "manhattan", "l2": "euclidean"}[metric]
    model = module.NearestNeighbors(
        n_neighbors=k, algorithm="brute", metric=long_name, n_jobs=N_THREADS
    ).fit(Y)
    return lambda: model.kneighbors(X)


def faiss_search(faiss, X, Y, k, metric):
    faiss.omp_set_num_threads(N_THREADS)
    index = faiss.IndexFlat(Y.shape[1], {"l1": faiss.METRIC_L1, "l2": faiss.METRIC_L2}[metric])
    index.add(Y)
    return lambda: index.search(X, k)


def torch_search(torch, X, Y, k, metric):
    torch.set_num_threads(N_THREADS)
    queries, samples = torch.from_numpy(X), torch.from_numpy(Y)
    step = max(1, (1 << 26) // len(Y))  # 256 MB of distances at a time

    def search():
        for start in range(0, len(X), step):
            part = queries[start : start + step]
            torch.cdist(part, samples, p=1.0 if metric == "l1" else 2.0).topk(k, largest=False)

    return search


def usearch_search(usearch, X, Y, k, metric):
    kind = "u8" if X.dtype == np.uint8 else "f32"
    return lambda: usearch.search(Y, X, k, metric="l2sq", exact=True, threads=N_THREADS, dtype=kind)


def peers_for(X, Y, k, metric):
    """Return {name: call} of the installed peers that can do this work."""
    found = {}
    if X.dtype == np.uint8:  # of them, only usearch takes bytes
        if metric == "l2" and (usearch := import_or_none("usearch.index")):
            found["usearch on bytes"] = usearch_search(usearch, X, Y, k, metric)
        X, Y = X.astype(np.float32), Y.astype(np.float32)
    import sklearn.neighbors

    found["scikit-learn"] = sklearn_search(sklearn.neighbors, X, Y, k, metric)
    for name, module, search in [
        ("sklearnex", "sklearnex.neighbors", sklearn_search),
        ("faiss", "faiss", faiss_search),
        ("torch", "torch", torch_search),
        ("usearch", "usearch.index", usearch_search),
    ]:
        if name == "usearch" and metric == "l1":
            continue  # it has no L1
        if name != "sklearnex" and X.dtype == np.float64:
            continue  # float32 only, or an answer to another question
        if imported := import_or_none(module):
            found[name] = search(imported, X, Y, k, metric)
    return found


def matrix_product(X, Y):
    """The same multiply-adds as one product, in pieces whose result stays small."""
    dtype = np.float64 if X.dtype == np.float64 else np.float32
    X = X.astype(dtype)
    columns = np.ascontiguousarray(Y[: min(len(Y), 4096)].T.astype(dtype))
    out = np.empty((len(X), columns.shape[1]), dtype)
    whole, rest = divmod(len(Y), columns.shape[1])

    def multiply():
        for _ in range(whole):
            np.matmul(X, columns, out=out)
        if rest:
            np.matmul(X, columns[:, :rest])

    return multiply


def make(rng, n, d, dtype):
    if dtype == np.uint8:
        return rng.integers(0, 256, (n, d), dtype=np.uint8)
    return rng.standard_normal((n, d)).astype(dtype)


def search_row(name, target, n, d, n_queries, k, metric, dtype, one_query=False, calls=1):
    rng = np.random.default_rng(0)
    Y, X = make(rng, n, d, dtype), make(rng, n_queries, d, dtype)

    def search():
        return fastnn.kneighbors(X, Y, k, metric, n_jobs=N_THREADS)

    def check():
        expected = oracle(X[:CHECKED_QUERIES], Y, k, metric)
        np.testing.assert_array_equal(search()[1][:CHECKED_QUERIES], expected)

    limit = "read" if one_query else "product"
    contestants = {"fastnn": search, limit: read_once(Y) if one_query else matrix_product(X, Y)}
    contestants |= peers_for(X, Y, k, metric)
    if calls > 1:
        del contestants[limit]
    limits = (limit,) if limit in contestants else ()
    return Row(name, target, contestants, limits, check, calls)


def products_row():
    """The largest inner products; of a matrix product alone it should come near."""
    rng = np.random.default_rng(0)
    Y, X = make(rng, 100_000, 128, np.float32), make(rng, 1000, 128, np.float32)

    def search():
        return fastnn.kneighbors(X, Y, 10, "ip", n_jobs=N_THREADS)

    def check():
        products = (X[:CHECKED_QUERIES, None].astype(np.float64) * Y).sum(axis=2)
        expected = np.argsort(-products, axis=1, kind="stable")[:, :10]
        np.testing.assert_array_equal(search()[1][:CHECKED_QUERIES], expected)

    contestants = {"fastnn": search, "product": matrix_product(X, Y)}
    if faiss := import_or_none("faiss"):
        index = faiss.IndexFlatIP(128)
        index.add(Y)
        contestants["faiss"] = lambda: index.search(X, 10)
    name = "inner products f32, 100,000 x 128, 1,000 queries"
    return Row(name, 1.5, contestants, ("product",), check)


def fitted_row(name, target, n, d, n_queries, k, dtype=np.float32, spoil=None):
    """Queries of a model that is fitted, and has been asked before."""
    import sklearn.neighbors

    rng = np.random.default_rng(0)
    Y, X = make(rng, n, d, dtype), make(rng, n_queries, d, dtype)
    if spoil is not None:
        spoil(Y, rng)
    models = {"fastnn": fastnn.neighbors, "scikit-learn": sklearn.neighbors}
    if sklearnex := import_or_none("sklearnex.neighbors"):
        models["sklearnex"] = sklearnex
    contestants = {name: sklearn_search(module, X, Y, k, "l2") for name, module in models.items()}
    if faiss := import_or_none("faiss"):
        contestants["faiss"] = faiss_search(faiss, X, Y, k, "l2")

    def check():
        expected = oracle(X[:CHECKED_QUERIES], Y, k, "l2")
        np.testing.assert_array_equal(contestants["fastnn"]()[1][:CHECKED_QUERIES], expected)

    return Row(name, target, contestants, (), check)


def spoil_some(Y, rng):
    """One sample of a thousand is a thousand times as large."""
    Y[rng.choice(len(Y), len(Y) // 1000, replace=False)] *= 1000


def predict_row():
    import sklearn.neighbors

    rng = np.random.default_rng(0)
    X, y, query = (
        make(rng, 1000, 64, np.float32),
        rng.integers(0, 10, 1000),
        make(rng, 1, 64, np.float32),
    )
    ours = KNeighborsClassifier(n_jobs=N_THREADS).fit(X, y)
    contestants = {"fastnn": lambda: ours.predict(query)}
    for name, module in [("scikit-learn", sklearn.neighbors)]:
        model = module.KNeighborsClassifier(n_jobs=N_THREADS).fit(X, y)
        contestants[name] = lambda model=model: model.predict(query)

    def check():
        assert ours.predict(query) == model.predict(query)

    return Row("predict, 1 query on 1,000 x 64", 5.0, contestants, (), check, 200)


def fit_predict_row():
    import sklearn.neighbors

    rng = np.random.default_rng(0)
    X, y = make(rng, 1000, 64, np.float32), rng.integers(0, 10, 1000)
    query = make(rng, 1, 64, np.float32)

    def classify(module):
        return lambda: module.KNeighborsClassifier(n_jobs=N_THREADS).fit(X, y).predict(query)

    contestants = {
        "fastnn": classify(fastnn.neighbors),
        "scikit-learn": classify(sklearn.neighbors),
    }

    def check():
        assert contestants["fastnn"]() == contestants["scikit-learn"]()

    return Row("fit and predict, 1 query on 1,000 x 64", 4.0, contestants, (), check, 100)


def vote_row(method, weights):
    """The limit is the search alone: of it the whole should reach 1 / 1.05."""
    import sklearn.neighbors

    rng = np.random.default_rng(0)
    X, y = make(rng, 20_000, 64, np.float32), rng.integers(0, 10, 20_000)
    queries = make(rng, 10_000, 64, np.float32)
    models = {}
    for name, module in [("fastnn", fastnn.neighbors), ("scikit-learn", sklearn.neighbors)]:
        model = module.KNeighborsClassifier(15, weights=weights, n_jobs=N_THREADS)
        models[name] = model.fit(X, y)
    contestants = {
        name: lambda model=model: getattr(model, method)(queries) for name, model in models.items()
    }
    contestants["kneighbors"] = lambda: models["fastnn"].kneighbors(queries)

    def check():
        ours, theirs = (getattr(model, method)(queries[:200]) for model in models.values())
        np.testing.assert_allclose(ours, theirs, rtol=1e-4)

    name = f"{method}, weights={weights!r}, k=15, 10,000 queries on 20,000 x 64"
    return Row(name, 1.0, contestants, ("kneighbors",), check)


def regression_row():
    """Means of several targets; of the search alone the whole should reach 1 / 1.1."""
    import sklearn.neighbors

    rng = np.random.default_rng(0)
    X, y = make(rng, 20_000, 64, np.float32), rng.standard_normal((20_000, 8))
    queries = make(rng, 10_000, 64, np.float32)
    ours, theirs = (
        module.KNeighborsRegressor(15, weights="distance", n_jobs=N_THREADS).fit(X, y)
        for module in (fastnn.neighbors, sklearn.neighbors)
    )

    def check():
        np.testing.assert_allclose(ours.predict(queries[:200]), theirs.predict(queries[:200]), 1e-3)

    contestants = {
        "fastnn": lambda: ours.predict(queries),
        "scikit-learn": lambda: theirs.predict(queries),
        "kneighbors": lambda: ours.kneighbors(queries),
    }
    name = "KNeighborsRegressor, 8 outputs by distance, k=15, 10,000 queries on 20,000 x 64"
    return Row(name, 1.0, contestants, ("kneighbors",), check)


def radius_row(dtype):
    """About 30 neighbors each: with fit, and all samples as queries."""
    rng = np.random.default_rng(0)
    X = make(rng, 50_000, 32, dtype)
    radius = float(np.median(fastnn.kneighbors(X[:500], X, 31)[0][:, -1]))

    def search(module, **parameters):
        model = module.NearestNeighbors(radius=radius, n_jobs=N_THREADS, **parameters)
        return lambda: model.fit(X).radius_neighbors(X)

    contestants = {"fastnn": search(fastnn.neighbors), "product": matrix_product(X, X)}
    for name, module in [
        ("scikit-learn", "sklearn.neighbors"),
        ("sklearnex", "sklearnex.neighbors"),
    ]:
        if imported := import_or_none(module):
            contestants[name] = search(imported, algorithm="brute")

    def check():
        some = X[:: len(X) // CHECKED_QUERIES]
        model = fastnn.neighbors.NearestNeighbors(radius=radius).fit(X)
        for query, found in zip(some, model.radius_neighbors(some)[1], strict=True):
            difference = query.astype(np.float64) - X.astype(np.float64)
            exact = np.sqrt((difference**2).sum(axis=1))
            np.testing.assert_array_equal(found, np.flatnonzero(exact <= radius))

    kind = {np.float32: "f32", np.float64: "f64"}[dtype]
    name = f"radius_neighbors {kind}, 50,000 x 32, all queried, about 30 each"
    return Row(name, 1.0, contestants, ("product",), check)


def where_row(n, d, n_queries):
    """Among a tenth of the samples: of all, and of a copy that is searched as a set of its own."""
    rng = np.random.default_rng(0)
    Y, X = make(rng, n, d, np.float32), make(rng, n_queries, d, np.float32)
    mask = rng.random(n) < 0.1
    model = fastnn.neighbors.NearestNeighbors(n_neighbors=10, n_jobs=N_THREADS)
    model.fit(Y).kneighbors(X)

    def copied():
        other = fastnn.neighbors.NearestNeighbors(n_neighbors=10, n_jobs=N_THREADS)
        return other.fit(Y[mask]).kneighbors(X)

    def check():
        expected = oracle(X[:CHECKED_QUERIES], Y[mask], 10, "l2")
        found = model.kneighbors(X[:CHECKED_QUERIES], where=mask)[1]
        np.testing.assert_array_equal(found, np.flatnonzero(mask)[expected])

    return Row(
        f"where: a tenth of {n:,} x {d}, {n_queries} queries",
        {"all samples": 5, "a copied subset": 3},
        {
            "fastnn": lambda: model.kneighbors(X, where=mask),
            "all samples": lambda: model.kneighbors(X),
            "a copied subset": copied,
        },
        (),
        check,
        max(1, 100 // n_queries),  # a call alone would find cold caches and sleeping threads
    )


def growing_row(algorithm, n, d, **parameters):
    """One percent more, and ten queries; or all that by another fit."""
    rng = np.random.default_rng(0)
    Y = rng.standard_normal((n, min(d, 8))) @ rng.standard_normal((min(d, 8), d))
    Y = Y.astype(np.float32)
    more, queries = make(rng, n // 100, d, np.float32), Y[:: n // 10] + np.float32(0.01)
    both = np.concatenate([Y, more])

    def fitted(Y):
        model = fastnn.neighbors.NearestNeighbors(
            algorithm=algorithm, n_jobs=N_THREADS, **parameters
        )
        return model.fit(Y)

    model = fitted(Y)
    model.kneighbors(queries)

    def search():
        return model.partial_fit(more).kneighbors(queries)

    def check():
        if not parameters:
            expected = fitted(both).kneighbors(queries)
            np.testing.assert_array_equal(search()[0], expected[0])

    name = f"1 % more of {n:,} x {d} in {algorithm!r}, and 10 queries"
    contestants = {"fastnn": search, "a fit on all": lambda: fitted(both).kneighbors(queries)}
    return Row(name, {"a fit on all": 33}, contestants, (), check)


def haversine_row():
    rng = np.random.default_rng(0)
    sines, longitudes = rng.uniform(-1, 1, 100_000), rng.uniform(-np.pi, np.pi, 100_000)
    places = np.stack([np.arcsin(sines), longitudes], axis=1)

    def search(module, **parameters):
        model = module.NearestNeighbors(metric="haversine", n_jobs=N_THREADS, **parameters)
        return lambda: model.fit(places).kneighbors(places)[0]

    ours = search(fastnn.neighbors)
    theirs = search(import_or_none("sklearn.neighbors"), algorithm="ball_tree")

    def check():
        np.testing.assert_allclose(ours(), theirs(), atol=1e-7)

    contestants = {"fastnn": ours, "scikit-learn": theirs}
    return Row("haversine, 100,000 places, all queried, with fit", 10.0, contestants, (), check)


def graph_row():
    rng = np.random.default_rng(0)
    X = make(rng, 20_000, 50, np.float32)

    def graph(module, **parameters):
        model = module.NearestNeighbors(n_neighbors=15, n_jobs=N_THREADS, **parameters)
        return lambda: model.fit(X).kneighbors_graph(mode="distance")

    contestants = {"fastnn": graph(fastnn.neighbors)}
    model = fastnn.neighbors.NearestNeighbors(n_neighbors=15, n_jobs=N_THREADS).fit(X)
    contestants["kneighbors"] = model.kneighbors
    for name, module in [
        ("scikit-learn", "sklearn.neighbors"),
        ("sklearnex", "sklearnex.neighbors"),
    ]:
        if imported := import_or_none(module):
            contestants[name] = graph(imported, algorithm="brute")

    def check():
        some = contestants["fastnn"]()[:CHECKED_QUERIES]
        expected = oracle(X[:CHECKED_QUERIES], X, 16, "l2")[:, 1:]
        np.testing.assert_array_equal(some.indices.reshape(-1, 15), expected)

    return Row("kneighbors_graph, 20,000 x 50, k=15", 1.25, contestants, ("kneighbors",), check)


ROWS = {
    "l2": lambda: search_row(
        "L2 f32, 100,000 x 128, 2,000 queries", 1.25, 100_000, 128, 2000, 10, "l2", np.float32
    ),
    "l2-k100": lambda: search_row(
        "the same, k=100", 1.25, 100_000, 128, 2000, 100, "l2", np.float32
    ),
    "l2-784": lambda: search_row(
        "L2 f32, 60,000 x 784, 1,000 queries", 1.0, 60_000, 784, 1000, 10, "l2", np.float32
    ),
    "l2-16": lambda: search_row(
        "L2 f32, 100,000 x 16, 2,000 queries", 1.4, 100_000, 16, 2000, 10, "l2", np.float32
    ),
    "l2-f64": lambda: search_row(
        "L2 f64, 100,000 x 128, 1,000 queries", 2.0, 100_000, 128, 1000, 10, "l2", np.float64
    ),
    "l1": lambda: search_row(
        "L1 f32, 100,000 x 128, 500 queries", 1.6, 100_000, 128, 500, 10, "l1", np.float32
    ),
    "l1-uint8": lambda: search_row(
        "L1 uint8, 50,000 x 3,072, 200 queries", 5.0, 50_000, 3072, 200, 10, "l1", np.uint8
    ),
    "l2-uint8": lambda: search_row(
        "L2 uint8, 50,000 x 3,072, 200 queries", 1.15, 50_000, 3072, 200, 10, "l2", np.uint8
    ),
    "fitted-4": lambda: fitted_row(
        "fitted, 4 queries, L2 f32, 100,000 x 128", 1.0, 100_000, 128, 4, 10
    ),
    "fitted-16": lambda: fitted_row("the same, 16 queries", 1.0, 100_000, 128, 16, 10),
    "fitted-100": lambda: fitted_row("the same, 100 queries", 1.0, 100_000, 128, 100, 10),
    "outliers": lambda: fitted_row(
        "1,000 queries, 20,000 x 64, a sample of 1,000 is far off",
        1.0,
        20_000,
        64,
        1000,
        10,
        spoil=spoil_some,
    ),
    "one-query": lambda: search_row(
        "L2 f32, 100,000 x 128, 1 query", 2.0, 100_000, 128, 1, 10, "l2", np.float32, True
    ),
    "call": lambda: search_row(
        "kneighbors, 1 query on 1,000 x 64", 0.5, 1000, 64, 1, 5, "l2", np.float32, True, 200
    ),
    "predict": predict_row,
    "fit-predict": fit_predict_row,
    "vote": lambda: vote_row("predict", "uniform"),
    "vote-distance": lambda: vote_row("predict", "distance"),
    "proba": lambda: vote_row("predict_proba", "uniform"),
    "proba-distance": lambda: vote_row("predict_proba", "distance"),
    "regression": regression_row,
    "radius": lambda: radius_row(np.float32),
    "radius-f64": lambda: radius_row(np.float64),
    "graph": graph_row,
    "ip": products_row,
    "where-1": lambda: where_row(100_000, 128, 1),
    "where-100": lambda: where_row(100_000, 128, 100),
    "where-2000": lambda: where_row(100_000, 128, 2000),
    "grow-tree": lambda: growing_row("kd_tree", 1_000_000, 3),
    "grow-bounds": lambda: growing_row("bounded", 60_000, 384),
    "grow-lists": lambda: growing_row("ivf", 100_000, 64, recall=0.9),
    "haversine": haversine_row,
}
