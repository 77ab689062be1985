"""What makes scikit-learn's estimators ours: see `fastnn.neighbors`."""

import numbers
from typing import ClassVar

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .. import _validation
from .._core._threads import effective_n_threads
from .._search.ivf import Recall, fewest_queries
from . import searches
from .kd_tree import ScikitLearnsKDTree
from .originals import asks_for
from .preparation import discard_searches, n_samples_of, prepare, prepared_before, queries_for
from .private import Interval, StrOptions

PLAIN_METRICS = ("l1", "manhattan", "cityblock", "l2", "euclidean", "sqeuclidean")


class Neighbors:
    """Puts the kernels in the place of scikit-learn's searches.

    `algorithm` may be "bounded" too, and "ivf" for the k nearest. The ball tree is scikit-learn's,
    and so are the metrics that "kd_tree" may be named with; "auto" takes the tree for all that the
    kernels serve.
    """

    _fit = searches.fit_neighbors
    _native_algorithms = ("auto", "brute", "bounded", "kd_tree")
    _more_constraints: ClassVar = {}

    @property
    def _tree(self):
        """scikit-learn's tree, for what the kernels do not serve: radii that differ, say."""
        if vars(self).get("_tree") is None and "_has_lazy_tree" in vars(self):
            vars(self)["_tree"] = ScikitLearnsKDTree(
                self._fit_X,
                self.leaf_size,
                metric=self.effective_metric_,
                **self.effective_metric_params_,
            )
        return vars(self).get("_tree")

    @_tree.setter
    def _tree(self, tree):
        vars(self)["_tree"] = tree

    def __init_subclass__(cls, **arguments):
        super().__init_subclass__(**arguments)
        constraints = getattr(cls, "_parameter_constraints", {})
        if "algorithm" in constraints:
            names = {"ball_tree", *cls._native_algorithms}
            cls._parameter_constraints = {
                **constraints, "algorithm": [StrOptions(names)], **cls._more_constraints
            }  # fmt: skip

    @property
    def effective_algorithm_(self):
        """What a search uses: an algorithm's name; scikit-learn's, where it searches.

        With ``algorithm="auto"`` searches settle it: a large one, or many.
        """
        return self._index_or_method()[0]

    @property
    def nbytes_(self):
        """How many bytes searches have kept beside the samples: packed rows, codes, a tree, lists.

        They are made again where they are needed. Of all these, pickles have lists alone.
        """
        check_is_fitted(self)
        prepared = prepare(self)
        return 0 if isinstance(prepared, str) else prepared.searcher.nbytes

    def explain_algorithm(self):
        """Return why `effective_algorithm_` is what it is, as a sentence."""
        return "{}: {}".format(*self._index_or_method())

    def _index_or_method(self):
        check_is_fitted(self)
        prepared = prepare(self)
        if isinstance(prepared, str):
            return self._fit_method, f"scikit-learn's own, for {prepared}"
        return prepared.searcher.latest_plan


class KNeighbors(Neighbors):
    """Searches for the k nearest, all of them or as many as `recall` asks for."""

    kneighbors = searches.kneighbors
    kneighbors_graph = searches.kneighbors_graph
    _native_algorithms = (*Neighbors._native_algorithms, "ivf")
    _more_constraints: ClassVar = {"recall": [Interval(numbers.Real, 0.0, 1.0, closed="right")]}
    _may_miss = True

    @property
    def recall_(self):
        """What share of the `n_neighbors` nearest is found: a `fastnn.neighbors.Recall`.

        Exact searches find all: those of "auto" until it has chosen lists, which takes a search
        that is large enough, or many. With ``algorithm="ivf"`` lists are made here, if no search
        has come before.
        """
        check_is_fitted(self)
        prepared = prepare(self)
        if isinstance(prepared, str):
            return Recall.exact(vars(self).get("recall", 1.0))
        k = min(self.n_neighbors, n_samples_of(self))
        return prepared.searcher.recall_of(k, effective_n_threads(self.n_jobs))

    def calibrate(self, X):
        """Measure the recall with queries like these, and not with some of the samples.

        For queries that are unlike the samples: their neighbors are found exactly, and lists are
        visited accordingly from now on, until the next fit.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features)
            A few hundred, none of them a sample: those would find themselves. They are rounded to
            the samples' dtype.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If there are too few queries for the recall.
        """
        check_is_fitted(self)
        queries = queries_for(self, X)
        if isinstance(queries, str):
            raise ValueError(f"X must be dense numbers, got {queries}")
        _validation.require_finite(queries, "X")
        recall = _validation.check_recall(vars(self).get("recall", 1.0))
        fewest = fewest_queries(recall) if recall < 1.0 else 1
        if len(queries) < fewest:
            raise ValueError(
                f"X must have at least {fewest} rows for recall={recall:g}, got {len(queries)}"
            )
        self._calibration_queries = queries.copy()
        return self

    def __getstate__(self):
        state = super().__getstate__()
        prepared = prepared_before(self)
        lists = prepared and prepared.searcher.lists_state
        return state if lists is None else state | {"_lists_state": lists}


class RadiusNeighbors(Neighbors):
    radius_neighbors = searches.radius_neighbors
    radius_neighbors_graph = searches.radius_neighbors_graph
    iter_radius_neighbors_graph = searches.iter_radius_neighbors_graph


def fit_plain(self, X, y):
    """Fit a classifier to what is plainly right.

    scikit-learn's checks take longer than a small search. Returns False, and leaves the rest to it,
    for parameters and data out of the ordinary, wrong ones among them.
    """
    # Types first: what else a parameter may be need not compare.
    plain = (
        _validation.is_native(X)
        and X.flags.c_contiguous
        and type(y) is np.ndarray
        and y.dtype.kind in "iu"
        and y.shape == (X.shape[0],)
        and type(self.metric) is type(self.weights) is type(self.algorithm) is str
        and type(self.n_neighbors) is type(self.leaf_size) is type(self.p) is int
        and min(self.n_neighbors, self.leaf_size, self.p) >= 1
        and self.weights in ("uniform", "distance")
        and self.algorithm in ("auto", "brute")
        and type(self.recall) is float
        and 0.0 < self.recall <= 1.0
        and self.metric_params is None
        and self.class_weight is None
        and (self.n_jobs is None or type(self.n_jobs) is int)
        and asks_for(self, "_fit") is searches.fit_neighbors
    )
    if not plain:
        return False
    metric = self.metric
    if metric == "minkowski":
        metric = {1: "manhattan", 2: "euclidean"}.get(self.p)
    if metric not in PLAIN_METRICS or not _validation.is_finite(X):
        return False
    classes, labels = np.unique(y, return_inverse=True)
    if 2 * classes.size > y.size:  # scikit-learn warns that these may not be classes
        return False
    vars(self).pop("feature_names_in_", None)
    discard_searches(self)
    self.n_features_in_ = X.shape[1]
    self.outputs_2d_ = False
    self.classes_ = classes
    self._y = labels.astype(np.intp, copy=False)
    self.effective_metric_params_ = {}
    self.effective_metric_ = metric
    self._fit_X = X
    self._tree = None
    self._fit_method = "brute"
    self.n_samples_fit_ = X.shape[0]
    return True
