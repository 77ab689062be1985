"""Sizes of blocks, and what work is worth: each number once, with its reason.

Chosen by bench/ratios.py and flat around these values. Only speed depends on them, but for those
that say otherwise.
"""

cdef enum:
    # ---- threads -------------------------------------------------------------------------------
    # What a thread has to save to be worth waking: 20 to 60 microseconds pass until it is there.
    MIN_NANOSECONDS_PER_THREAD = 40000
    # Queries whose neighbors one task sorts and writes.
    FINISH_QUERIES = 16
    # Votes that one task counts, classes with them.
    VOTES_PER_TASK = 1 << 13
    # Bytes that no two threads should write to: a line, and the next, which is fetched with it.
    CACHE_LINE = 128


# ---- what work takes ---------------------------------------------------------------------------
# One thread, about, on any machine: only whether a second one is worth waking depends on it.


cdef inline double nanoseconds_to_pack(double n_values) noexcept nogil:
    """For values that are read, converted or copied."""
    return 0.5 * n_values


cdef inline double nanoseconds_to_compare(double n_differences) noexcept nogil:
    """For multiply-adds, or differences, of a tile."""
    return 0.03 * n_differences


cdef inline double nanoseconds_to_descend(double n_queries) noexcept nogil:
    """For queries of a tree, which take it 0.2 to 10 microseconds each."""
    return 200.0 * n_queries


cdef inline double nanoseconds_to_build(double n_samples) noexcept nogil:
    """For samples of a tree."""
    return 100.0 * n_samples
