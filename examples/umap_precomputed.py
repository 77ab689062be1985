"""UMAP on neighbors that fastnn has found: `precomputed_knn`, the sample itself first.

pip install "fastnn-kernels[ecosystem]"; python examples/umap_precomputed.py
"""

import umap
from sklearn.datasets import load_digits

from fastnn.neighbors import precomputed_knn


def main():
    X, y = load_digits(return_X_y=True)
    indices, distances = precomputed_knn(X, n_neighbors=15)
    model = umap.UMAP(
        n_neighbors=15, precomputed_knn=(indices, distances), random_state=0, n_jobs=1
    )
    embedding = model.fit_transform(X)
    print(f"{len(X)} digits embedded in {embedding.shape[1]} dimensions")
    return embedding, y


if __name__ == "__main__":
    main()
