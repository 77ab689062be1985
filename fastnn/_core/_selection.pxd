"""The one selection structure: candidates in a plain array, cut back to the k first by quickselect.

A heap sifts for every candidate that passes the threshold; here a candidate is appended, and only
when the array is full are the k first found, in linear time. With room for at least k more, that
is a constant number of moves a candidate whatever k is.

Candidates ascend by (-key, index): larger keys are nearer, ties go to the smaller index. Indices
differ, so the order is total and what is selected does not depend on the order of arrival.
"""

from libc.stdint cimport int64_t


cdef struct Candidate:
    double key
    int64_t index


cdef inline bint precedes(Candidate a, Candidate b) noexcept nogil:
    return a.key > b.key or (a.key == b.key and a.index < b.index)


cdef inline void swap(Candidate *a, Candidate *b) noexcept nogil:
    cdef Candidate kept = a[0]
    a[0] = b[0]
    b[0] = kept


cdef inline void sift_down(Candidate *items, Py_ssize_t start, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t parent = start, child
    while 2 * parent + 1 < n:
        child = 2 * parent + 1
        if child + 1 < n and precedes(items[child], items[child + 1]):
            child += 1
        if not precedes(items[parent], items[child]):
            return
        swap(&items[parent], &items[child])
        parent = child


cdef inline void sort_candidates(Candidate *items, Py_ssize_t n) noexcept nogil:
    """Sort by (-key, index): insertion sort where it is short, else heapsort."""
    cdef Py_ssize_t i, j
    cdef Candidate item
    if n <= 24:
        for i in range(1, n):
            item = items[i]
            j = i
            while j > 0 and precedes(item, items[j - 1]):
                items[j] = items[j - 1]
                j -= 1
            items[j] = item
        return
    for i in range(n // 2 - 1, -1, -1):
        sift_down(items, i, n)
    for i in range(n - 1, 0, -1):
        swap(&items[0], &items[i])
        sift_down(items, 0, i)


cdef inline void select_first(Candidate *items, Py_ssize_t n, Py_ssize_t k) noexcept nogil:
    """Move the k first of n candidates to the front, the k-th itself to items[k - 1].

    Hoare's quickselect with the median of three; an input that defeats it is sorted instead, so
    the worst case is n log n.
    """
    cdef Py_ssize_t low = 0, high = n - 1, target = k - 1, i, j, middle, rounds = 0
    cdef Candidate pivot
    while low < high:
        rounds += 1
        if rounds > 64:
            sort_candidates(items + low, high - low + 1)
            return
        middle = low + (high - low) // 2
        if precedes(items[middle], items[low]):
            swap(&items[middle], &items[low])
        if precedes(items[high], items[low]):
            swap(&items[high], &items[low])
        if precedes(items[high], items[middle]):
            swap(&items[high], &items[middle])
        pivot = items[middle]
        i = low
        j = high
        while i <= j:
            while precedes(items[i], pivot):
                i += 1
            while precedes(pivot, items[j]):
                j -= 1
            if i <= j:
                swap(&items[i], &items[j])
                i += 1
                j -= 1
        if target <= j:
            high = j
        elif target >= i:
            low = i
        else:
            return
