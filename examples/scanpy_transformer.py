"""scanpy's neighborhood graph from fastnn's KNeighborsTransformer.

pip install "fastnn-kernels[ecosystem]" scanpy; python examples/scanpy_transformer.py
"""

import anndata
import scanpy
from sklearn.datasets import load_digits

from fastnn.neighbors import KNeighborsTransformer


def main():
    X, _ = load_digits(return_X_y=True)
    data = anndata.AnnData(X)
    # scanpy counts the sample itself among the neighbors, the transformer does not.
    scanpy.pp.neighbors(
        data, n_neighbors=15, use_rep="X", transformer=KNeighborsTransformer(n_neighbors=14)
    )
    print(f"{data.obsp['connectivities'].nnz} edges among {data.n_obs} digits")
    return data


if __name__ == "__main__":
    main()
