from typing_extensions import disjoint_base

# Used by compiled code alone.
@disjoint_base
class Scan: ...
