from typing_extensions import disjoint_base

# Used by compiled code alone.
@disjoint_base
class Collector: ...

@disjoint_base
class ListOfNearest(Collector): ...

class Nearest(ListOfNearest):
    def __init__(self, k: int, n_samples: int) -> None: ...

@disjoint_base
class Within(Collector):
    def __init__(self, radius: float, by_distance: bool) -> None: ...
