"""Programs that take their neighbors from elsewhere: the examples run, and results are the same.

"The same" is what scikit-learn's k-d tree gives, whose distances are float64 in difference form as
ours are. Data are without ties, among which the tree may choose any.
"""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import sklearn.cluster
import sklearn.manifold
import sklearn.neighbors

import fastnn.neighbors

EXAMPLES = Path(__file__).parent.parent / "examples"
# Their packages warn on import, about themselves and others.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def X():
    """Three clouds in ten dimensions, all distances different."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((400, 10)) + 1.5 * rng.integers(0, 3, (400, 1))


def need(package):
    return pytest.importorskip(package, reason=f"{package} is not installed")


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("imbalanced_learn_resampling", "imblearn"),
        ("opentsne_precomputed", "openTSNE"),
        ("scanpy_transformer", "scanpy"),
        ("scikit_learn_graphs", "sklearn"),
        ("umap_precomputed", "umap"),
    ],
)
def test_example(name, package):
    need(package)
    result = run_example(name)
    if name.endswith("precomputed"):
        embedding, labels = result
        # Neighbors in the picture are of the same class: the neighbors that went in were right.
        model = sklearn.neighbors.KNeighborsClassifier(5).fit(embedding, labels)
        assert model.score(embedding, labels) > 0.9


def run_example(name):
    path = EXAMPLES / f"{name}.py"
    if not path.exists():
        pytest.skip("the examples are not beside the tests")
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main()


@pytest.mark.parametrize("engine", ["ray", "pyspark"])
def test_blocks_on_engines(engine):
    need(engine)
    queries, samples, *found = run_example(f"{engine.removeprefix('py')}_blocks")
    expected = fastnn.neighbors.kneighbors(queries, samples, found[0].shape[1])
    np.testing.assert_array_equal(found, expected)


def tree(X, k, include_self=True):
    """(indices, distances) of scikit-learn's k-d tree."""
    model = sklearn.neighbors.NearestNeighbors(algorithm="kd_tree").fit(X)
    distances, indices = model.kneighbors(X if include_self else None, k)
    return indices, distances


def test_umap(X):
    umap = need("umap")
    embeddings = [
        umap.UMAP(
            n_neighbors=12, precomputed_knn=knn, random_state=0, n_epochs=50, n_jobs=1
        ).fit_transform(X)
        for knn in (fastnn.neighbors.precomputed_knn(X, 12), tree(X, 12))
    ]
    np.testing.assert_allclose(*embeddings, rtol=1e-5)


def test_opentsne(X):
    openTSNE = need("openTSNE")
    from openTSNE.nearest_neighbors import PrecomputedNeighbors

    affinities = [
        openTSNE.affinity.PerplexityBasedNN(perplexity=10, knn_index=PrecomputedNeighbors(*knn)).P
        for knn in (
            fastnn.neighbors.precomputed_knn(X, 30, include_self=False),
            tree(X, 30, include_self=False),
        )
    ]
    assert affinities[0].nnz == affinities[1].nnz
    assert abs(affinities[0] - affinities[1]).max() < 1e-15


def test_imbalanced_learn(X):
    need("imblearn")
    from imblearn.over_sampling import SMOTE
    from imblearn.under_sampling import EditedNearestNeighbours

    y = (X[:, 0] + X[:, 1] > 5).astype(int)
    for sampler, parameter in (
        (SMOTE(random_state=0), "k_neighbors"),
        (EditedNearestNeighbours(), "n_neighbors"),
    ):
        results = []
        for model in (
            fastnn.neighbors.NearestNeighbors(n_neighbors=5),
            sklearn.neighbors.NearestNeighbors(n_neighbors=5, algorithm="kd_tree"),
        ):
            results.append(sampler.set_params(**{parameter: model}).fit_resample(X, y))
        for mine, other in zip(*results, strict=True):
            np.testing.assert_array_equal(mine, other)


def test_scanpy(X):
    scanpy = need("scanpy")
    import anndata

    graphs = []
    for transformer in (
        fastnn.neighbors.KNeighborsTransformer(n_neighbors=11),
        sklearn.neighbors.KNeighborsTransformer(n_neighbors=11, algorithm="kd_tree"),
    ):
        data = anndata.AnnData(X)
        scanpy.pp.neighbors(data, n_neighbors=12, use_rep="X", transformer=transformer)
        graphs.append(data.obsp)
    for key in ("distances", "connectivities"):
        assert graphs[0][key].nnz == graphs[1][key].nnz
        assert abs(graphs[0][key] - graphs[1][key]).max() < 1e-6


def test_scikit_learn(X):
    graphs = [
        module.KNeighborsTransformer(n_neighbors=31, algorithm=algorithm).fit_transform(X)
        for module, algorithm in ((fastnn.neighbors, "auto"), (sklearn.neighbors, "kd_tree"))
    ]
    np.testing.assert_array_equal(graphs[0].indices, graphs[1].indices)
    np.testing.assert_allclose(graphs[0].data, graphs[1].data, rtol=1e-12)
    for estimator in (
        sklearn.manifold.Isomap(n_neighbors=30, metric="precomputed"),
        sklearn.cluster.DBSCAN(eps=2.5, metric="precomputed"),
        sklearn.neighbors.LocalOutlierFactor(metric="precomputed"),
    ):
        results = [
            estimator.fit_transform(graph)
            if hasattr(estimator, "transform")
            else estimator.fit_predict(graph)
            for graph in graphs
        ]
        np.testing.assert_allclose(np.abs(results[0]), np.abs(results[1]), rtol=1e-6, atol=1e-9)
