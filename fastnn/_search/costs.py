"""What the steps of a search cost, in nanoseconds of one thread.

The one model that the planner and the bounds' design share. Constants belong to an instruction set;
`tools/fit_costs.py` measures what a pair takes in tiles, and what trees take, for the table below.
"""

import functools
import math
from dataclasses import dataclass, replace

from .._core._dispatch import get_isa
from .._core.search._kd_tree import LEAF_SAMPLES, MAX_SORTED_NEIGHBORS


@dataclass(frozen=True)
class Costs:
    """Constants of one instruction set.

    Attributes
    ----------
    tile_pair : dict of (metric, type) to (float, float)
        A pair in tiles: beside the features, and for each of them. Types are "u" for bytes, "c" for
        those of seven bits, if they differ, and "f" for floats, whose tiles are float32.
    row_feature : dict of int to float
        A feature of a distance of a row that comes from the last-level cache, by bytes of a value.
    bits_of_codes : int
        Those that serve best under L2: 7 where they are narrow.
    normalized_feature, weighted_feature : float
        What such a feature takes more where rows are normalized, or weighted.
    row_pair : float
        Such a distance beside its features, and the bound before it that was too low.
    seed : float
        A sample that a list of seeds takes up.
    encoded_feature : dict of str to float
        A feature of a row that is encoded, by metric; and
    projected_feature : float
        of a row that is projected on a direction.
    query : float
        What a query takes beside all that.
    tie : float
        A sample that is evaluated as float32 cannot tell it from the k-th neighbor.
    one_feature_pair : float
        In one dimension float32 tells few near samples apart: many are evaluated.
    neighbor, neighbor_within : float
        A neighbor, or what is one for a while; one within a radius.
    tree_neighbor, tree_neighbor_within : float
        The same in a tree.
    tree_point : float
        A sample that a tree visits.
    split, split_feature, tree_overhead : float
        A sample on each level of halving while a tree is built, beside the features and for each;
        and the tree.
    listed_pair : float
        What a pair takes more where queries visit lists: rows and queries are gathered.
    summed_feature : float
        A feature of a row that is added to the mean of its list.
    far_bytes : float
        Samples of so many bytes are so far from the processor that it waits as long as it computes.
    """

    tile_pair: dict
    row_feature: dict
    bits_of_codes: int = 7
    normalized_feature: float = 0.03
    weighted_feature: float = 1.0
    row_pair: float = 10.0
    seed: float = 40.0
    encoded_feature: dict = None
    projected_feature: float = 0.0085
    query: float = 300.0
    tie: float = 30.0
    one_feature_pair: float = 0.1
    neighbor: float = 60.0
    neighbor_within: float = 40.0
    tree_neighbor: float = 40.0
    tree_neighbor_within: float = 20.0
    tree_point: float = 3.5
    split: float = 6.0
    split_feature: float = 0.3
    tree_overhead: float = 40_000.0
    listed_pair: float = 0.6
    summed_feature: float = 2.0
    far_bytes: float = 28e6

    def pair_of_codes(self, metric, n_codes):
        """Return the same of codes of bounds, which may be narrow."""
        beside, feature = self.tile_pair.get((metric, "c"), self.tile_pair[metric, "u"])
        return beside + feature * n_codes

    def pair_in_tiles(self, metric, type_, n_features):
        """Return what a pair takes in tiles."""
        beside, feature = self.tile_pair[metric, type_]
        return beside + feature * n_features


# Of AVX-512, the middle between processors that compute 32 bytes at a time and those that compute
# 64: they differ by up to a third either way.
AVX512 = Costs(
    tile_pair={
        ("l1", "f"): (0.095, 0.019),
        ("l1", "u"): (0.12, 0.0045),
        ("l2", "f"): (0.08, 0.0165),
        ("l2", "u"): (0.075, 0.009),
        ("l2", "c"): (0.09, 0.0064),
        ("chebyshev", "f"): (0.07, 0.072),
    },
    row_feature={1: 0.033, 4: 0.12, 8: 0.25},
    encoded_feature={"l1": 0.8, "l2": 0.4},
    tree_point=4.0,
)
AVX2 = replace(
    AVX512,
    tile_pair={
        ("l1", "f"): (0.086, 0.0205),
        ("l1", "u"): (0.135, 0.0057),
        ("l2", "f"): (0.085, 0.019),
        ("l2", "u"): (0.115, 0.0115),
        ("l2", "c"): (0.13, 0.0078),
        ("chebyshev", "f"): (0.073, 0.072),
    },
    tree_point=4.8,
)


def _with_whole_bytes(costs, tile):
    """Return costs where a pair of bytes takes the same, whatever their bits."""
    tiles = costs.tile_pair | {("l2", "u"): tile, ("l2", "c"): tile}
    return replace(costs, tile_pair=tiles, bits_of_codes=8)


AVX512_VNNI = _with_whole_bytes(AVX512, (0.07, 0.0042))
AVX2_VNNI = _with_whole_bytes(AVX2, (0.105, 0.0045))
# Nothing else was measured there.
BASELINE = _with_whole_bytes(AVX2, AVX2.tile_pair["l2", "u"])
COSTS = {
    "avx512_vnni": AVX512_VNNI, "avx512": AVX512, "avx2_vnni": AVX2_VNNI, "avx2": AVX2,
}  # fmt: skip


def current_costs():
    """Return the costs of the instruction set in use, or of the nearest that was measured."""
    return COSTS.get(get_isa(), BASELINE)


def family_of(metric):
    """Return the metric whose tiles serve this one."""
    return "l2" if metric == "sqeuclidean" else metric


class SearchCosts:
    """What whole searches cost, for samples of one shape, type and metric.

    **How many samples the tree visits.** Let n samples lie uniformly in a cube, and a leaf with b
    of them be a cube of side 1, which makes it a cube of side s = (n / b)^(1/d) in all. The k
    nearest of a query are within a ball of k / b leaves' volume, of radius r; the tree visits the
    leaves that the ball meets, whose number is on average the volume of the cube of side 1
    thickened by the ball. That is Steiner's formula [1]_, with c_j the volume of the unit ball of j
    dimensions in the metric,

        sum over j of C(d, j) c_j r^j,   c_d r^d = k / b.

    Near the border there is less to visit, and with many features all of the cube is near it: r is
    taken (1 - 1/s)^0.9 times as long, which fits what was counted for 1 to 16 features, 10^3 to
    10^6 samples and k up to 24 to a quarter, mostly; of more neighbors it expects up to twice too
    many.

    Parameters
    ----------
    costs : Costs
    n, n_features : int
    value_bytes : int
        Of a value as trees hold it.
    metric : {"l1", "l2", "sqeuclidean", "chebyshev"}
    bytes_in_tiles : bool
        Whether tiles take values as whole numbers.
    within_radius : bool
        Whether neighbors are those within a radius, of which k are to be expected.

    References
    ----------
    .. [1] R. Schneider, "Convex Bodies: The Brunn-Minkowski Theory", 2nd ed., section 4.2.
    """

    def __init__(
        self, costs, n, n_features, value_bytes, metric, bytes_in_tiles, within_radius=False
    ):
        self.costs, self.n, self.d, self.within = costs, n, n_features, within_radius
        self.metric = family_of(metric)
        self.pair = costs.pair_in_tiles(self.metric, "u" if bytes_in_tiles else "f", n_features)
        self.tie = 0.0 if bytes_in_tiles else costs.tie
        if n_features == 1 and self.metric == "l2" and not bytes_in_tiles:
            self.pair += costs.one_feature_pair
        self.row_bytes = value_bytes * n_features

    def brute(self, k, ties=0.0):
        """Return what a query for k neighbors takes by brute force."""
        if self.within:
            taken = self.costs.neighbor_within * k
        else:
            taken = self.costs.neighbor * k * (1 + math.log(self.n / k)) + self.tie * ties
        return self.costs.query + self.n * self.pair + taken

    def build(self, n):
        """Return what a tree of n samples takes to build."""
        levels = max(1.0, math.log2(n / LEAF_SAMPLES))
        split = self.costs.split + self.costs.split_feature * self.d
        return self.costs.tree_overhead + n * levels * split * self._waiting(n)

    def search(self, k, points):
        """Return what a query takes, for which the tree visits so many samples."""
        taken = self.costs.tree_neighbor_within if self.within else self.costs.tree_neighbor
        visited = self.costs.tree_point * points * self._waiting(self.n)
        return self.costs.query + taken * k + visited

    def _waiting(self, n):
        return 1.0 + n * self.row_bytes / self.costs.far_bytes

    def uniform_points(self, n, k, within_radius=False):
        """Return how many of n samples, uniform in a cube, the tree visits for k neighbors."""
        if k > MAX_SORTED_NEIGHBORS and not within_radius:
            k = 2 * k + 48  # so many are collected before there is a limit
        side = max(1.0, (n / LEAF_SAMPLES) ** (1 / self.d))
        radius = (k / LEAF_SAMPLES / _unit_ball(self.metric, self.d)) ** (1 / self.d)
        radius *= (1 - 1 / side) ** 0.9
        leaves = sum(volume * radius**j for j, volume in enumerate(_volumes(self.metric, self.d)))
        return min(float(n), LEAF_SAMPLES * leaves)


@functools.cache
def _volumes(metric, d):
    """Return the coefficients C(d, j) c_j of Steiner's formula."""
    return [math.comb(d, j) * _unit_ball(metric, j) for j in range(d + 1)]


def _unit_ball(metric, j):
    if metric == "l1":
        return 2.0**j / math.factorial(j)
    if metric == "l2":
        return math.pi ** (j / 2) / math.gamma(j / 2 + 1)
    return 2.0**j
