"""openTSNE on neighbors that fastnn has found: `PrecomputedNeighbors`, without the sample itself.

pip install "fastnn-kernels[ecosystem]"; python examples/opentsne_precomputed.py
"""

import openTSNE
import openTSNE.nearest_neighbors
from sklearn.datasets import load_digits

from fastnn.neighbors import precomputed_knn

PERPLEXITY = 20


def main():
    X, y = load_digits(return_X_y=True)
    # openTSNE looks at three times as many neighbors as the perplexity.
    indices, distances = precomputed_knn(X, n_neighbors=3 * PERPLEXITY, include_self=False)
    affinities = openTSNE.affinity.PerplexityBasedNN(
        perplexity=PERPLEXITY,
        knn_index=openTSNE.nearest_neighbors.PrecomputedNeighbors(indices, distances),
    )
    start = openTSNE.initialization.pca(X, random_state=0)
    embedding = openTSNE.TSNEEmbedding(start, affinities, random_state=0, n_jobs=1)
    embedding = embedding.optimize(n_iter=100, exaggeration=12, momentum=0.5)
    embedding = embedding.optimize(n_iter=200, momentum=0.8)
    print(f"{len(X)} digits embedded in {embedding.shape[1]} dimensions")
    return embedding, y


if __name__ == "__main__":
    main()
