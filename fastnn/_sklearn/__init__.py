"""All that knows scikit-learn's insides, so that a release that changes them is met here.

| module        | what it has                                                                    |
|---------------|--------------------------------------------------------------------------------|
| `private`     | scikit-learn's private names                                                   |
| `originals`   | the methods that are replaced, as scikit-learn has them                        |
| `preparation` | what a search needs of a fitted estimator and of its queries                   |
| `searches`    | what stands in for `fit`, `kneighbors` and `radius_neighbors`                  |
| `votes`       | what stands in for `predict` and `predict_proba`                               |
| `mixins`      | these in the estimators of `fastnn.neighbors`                                  |

`fastnn.accel` puts the same into scikit-learn's own estimators.
"""
