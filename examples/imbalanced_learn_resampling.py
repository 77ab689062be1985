"""imbalanced-learn's SMOTE and edited nearest neighbors with fastnn's search inside.

pip install "fastnn-kernels[ecosystem]"; python examples/imbalanced_learn_resampling.py
"""

from collections import Counter

from imblearn.over_sampling import SMOTE
from imblearn.under_sampling import EditedNearestNeighbours
from sklearn.datasets import make_classification

from fastnn.neighbors import NearestNeighbors


def main():
    X, y = make_classification(
        2000, n_features=20, n_informative=6, weights=[0.9], flip_y=0.05, random_state=0
    )
    # Both expect estimators that count the sample itself: one neighbor more.
    more = SMOTE(k_neighbors=NearestNeighbors(n_neighbors=6), random_state=0)
    fewer = EditedNearestNeighbours(n_neighbors=NearestNeighbors(n_neighbors=4))
    results = [sampler.fit_resample(X, y) for sampler in (more, fewer)]
    for name, (_, labels) in zip(("SMOTE", "edited neighbors"), results, strict=True):
        print(f"{name}: {dict(Counter(y.tolist()))} -> {dict(Counter(labels.tolist()))}")
    return results


if __name__ == "__main__":
    main()
