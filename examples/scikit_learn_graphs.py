"""One graph of fastnn's neighbors for t-SNE, Isomap, DBSCAN and LocalOutlierFactor.

pip install fastnn-kernels; python examples/scikit_learn_graphs.py
"""

from sklearn.cluster import DBSCAN
from sklearn.datasets import load_digits
from sklearn.manifold import TSNE, Isomap
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline

from fastnn.neighbors import KNeighborsTransformer, RadiusNeighborsTransformer

PERPLEXITY = 10


def main():
    X, y = load_digits(return_X_y=True)
    X, y = X[:600], y[:600]
    # t-SNE needs 3 * perplexity + 1 neighbors, the others take what they need of the same graph.
    graph = KNeighborsTransformer(n_neighbors=3 * PERPLEXITY + 1).fit_transform(X)
    results = {
        "TSNE": TSNE(
            perplexity=PERPLEXITY, metric="precomputed", init="random", random_state=0, max_iter=300
        ).fit_transform(graph),
        "Isomap": Isomap(n_neighbors=20, metric="precomputed").fit_transform(graph),
        "LocalOutlierFactor": LocalOutlierFactor(n_neighbors=20, metric="precomputed").fit_predict(
            graph
        ),
        "DBSCAN": make_pipeline(
            RadiusNeighborsTransformer(radius=22.0), DBSCAN(eps=22.0, metric="precomputed")
        ).fit_predict(X),
    }
    for name, result in results.items():
        print(f"{name}: {result.shape}")
    return results, y


if __name__ == "__main__":
    main()
