"""Searches among some of the samples, at a cost that follows how many these are.

where --read--> parts: which samples, for which queries
  brute force   meets the rows that are left alone, in their order
  bounds        codes of these
  tree          leaves have a bit for each sample
  many queries  and no index that is there: those of a copy of the rows
"""

from typing import NamedTuple

import numpy as np

from .protocol import Subset

# Up to so many queries rows are searched where they lie: to copy them pays for more.
FEW_QUERIES = 256


class Part(NamedTuple):
    """What some queries are compared with.

    Attributes
    ----------
    queries : ndarray of int64, or None
        Which they are; None: all.
    subset : Subset
    """

    queries: np.ndarray | None
    subset: Subset


def read_where(where, n_queries, n_samples):
    """Return a list of Part.

    Parameters
    ----------
    where : array-like of bool of shape (n_samples,), or pair of array-likes
        Which samples may be found; or the groups of the queries and of the samples: each query
        finds samples of its own group.
    n_queries, n_samples : int

    Raises
    ------
    TypeError, ValueError
    """
    if isinstance(where, tuple):
        return _read_groups(where, n_queries, n_samples)
    try:
        mask = np.asarray(where)
    except ValueError:  # ragged
        mask = np.empty(0)
    if mask.dtype == object and all(isinstance(value, (bool, np.bool_)) for value in mask.flat):
        mask = mask.astype(np.bool_)
    if mask.dtype != np.bool_:
        raise TypeError(
            "where must be a mask (an array of bool), or a tuple (groups of queries, groups of "
            f"samples), got {type(where).__name__} of dtype {mask.dtype}"
        )
    if mask.shape != (n_samples,):
        raise ValueError(
            f"where must have one entry for each sample, shape ({n_samples},), got {mask.shape}"
        )
    return [Part(None, Subset(np.ascontiguousarray(mask)))]


def _read_groups(where, n_queries, n_samples):
    if len(where) != 2:
        raise TypeError(
            "where must be a mask (an array of bool), or a tuple (groups of queries, groups of "
            f"samples), got a tuple of {len(where)} items"
        )
    groups = []
    for labels, n, of in zip(where, (n_queries, n_samples), ("queries", "samples"), strict=True):
        labels = np.asarray(labels)
        if labels.shape != (n,):
            raise ValueError(
                f"where must have one group for each of the {of}, shape ({n},), got {labels.shape}"
            )
        if labels.dtype.kind == "f" and np.isnan(labels).any():
            raise ValueError(f"where must have groups that are not NaN, got one of the {of}")
        groups.append(labels)
    numbers = _numbers_of(*groups)
    of_queries, of_samples = numbers[:n_queries], numbers[n_queries:]
    n_groups = n_queries + n_samples
    queries, samples = _members(of_queries, n_groups), _members(of_samples, n_groups)
    return [
        Part(queries(group), Subset(None, samples(group), n_samples))
        for group in np.unique(of_queries)
    ]


# Kinds of dtypes whose values can be told apart: whole numbers, texts, and so on.
KINDS = ("biu", "f", "US", "O", "M", "m")


def _numbers_of(of_queries, of_samples):
    """Return a number for each group, first those of queries."""
    dtypes = of_queries.dtype, of_samples.dtype
    if not any(all(dtype.kind in kinds for dtype in dtypes) for kinds in KINDS):
        raise TypeError(
            f"where must have groups of one kind, got {dtypes[0]} of queries and {dtypes[1]} of "
            "samples"
        )
    if all(dtype.kind in "biu" for dtype in dtypes) and np.result_type(*dtypes).kind == "f":
        of_queries, of_samples = of_queries.astype(object), of_samples.astype(object)
    try:
        return np.unique(np.concatenate([of_queries, of_samples]), return_inverse=True)[1]
    except TypeError as error:
        raise TypeError(f"where must have groups that can be sorted: {error}") from None


def _members(numbers, n_groups):
    """Return a function that gives the rows of a group, ascending."""
    order = np.argsort(numbers, kind="stable")
    stops = np.cumsum(np.bincount(numbers, minlength=n_groups))
    return lambda group: order[stops[group - 1] if group else 0 : stops[group]]


def parts_between(parts, start, stop):
    """Return the parts of some queries in a row, whose numbers start from 0."""
    return parts_of(parts, np.arange(start, stop))


def parts_of(parts, rows):
    """Return the parts of some queries, ascending, which get the numbers from 0 on."""
    if parts[0].queries is None:
        return parts
    some = []
    for queries, subset in parts:
        chosen = np.flatnonzero(np.isin(rows, queries, assume_unique=True))
        if len(chosen):
            some.append(Part(chosen, subset))
    return some


def require_enough(parts, k, exclude_self=False):
    """Raise a ValueError where fewer than k samples are left."""
    for part in parts or ():
        left = len(part.subset) - exclude_self
        if k > left:
            but_itself = " beside the query itself" if exclude_self else ""
            raise ValueError(
                f"Expected n_neighbors <= the number of samples that where leaves, but n_neighbors "
                f"= {k}, and {max(left, 0)} are left{but_itself}"
            )


def without_itself(distances, indices, own, k, displaced=True):
    """Return k of k + 1 neighbors: not the sample itself.

    Where it is not found, equal ones have `displaced` it: then the first is left out instead, and
    else the last. A sample that is not searched, of which `own` is -1, keeps its k nearest.
    """
    itself = indices == own[:, None]
    instead = np.where((own >= 0) & displaced, 0, k)
    dropped = np.where(itself.any(axis=1), itself.argmax(axis=1), instead)
    kept = np.arange(k + 1) != dropped[:, None]
    return distances[kept].reshape(-1, k), indices[kept].reshape(-1, k)


def in_order(found, queries, n_queries, own=None):
    """Return one slice of all queries from those of several searches; see `RadiusNeighbors`.

    Parameters
    ----------
    found : list of lists of slices
        Of each search.
    queries : list of ndarray of int64, or None
        Those of each search; None: all. The neighbors of a query keep the order of the searches.
    n_queries : int
    own : ndarray of shape (n_queries,), int64, optional
        The sample that is left out among the neighbors of each query.
    """
    owners, columns = [], []
    for slices, asked in zip(found, queries, strict=True):
        counts, *values = (
            None if some[0] is None else np.concatenate(some) for some in zip(*slices, strict=True)
        )
        owners.append(np.repeat(np.arange(n_queries) if asked is None else asked, counts))
        columns.append(values)
    owners = np.concatenate(owners)
    order = np.argsort(owners, kind="stable")
    distances, indices = (
        None if some[0] is None else np.concatenate(some)[order]
        for some in zip(*columns, strict=True)
    )
    owners = owners[order]
    if own is not None:
        kept = indices != own[owners]
        owners, indices = owners[kept], indices[kept]
        distances = None if distances is None else distances[kept]
    return [(np.bincount(owners, minlength=n_queries), distances, indices)]


def require_valid_among(space, values, subset):
    """Raise a ValueError, with the number of the row, if a sample that is left is not valid."""
    rows = values[subset.indices]
    valid = ~np.isinf(rows) if space.allows_nan else np.isfinite(rows)
    for row in subset.indices[~valid.all(axis=1)][:1]:
        space.require_valid(values[row : row + 1], "Y", int(row))
