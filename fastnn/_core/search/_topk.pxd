"""The one selection structure: candidates in a plain array, cut back to the k first by quickselect.

A heap sifts for every candidate that passes the threshold; here a candidate is appended, and only
when the array is full are the k first found, in linear time. With room for at least k more, that
is a constant number of moves a candidate whatever k is.

Candidates ascend by (-key, index): larger keys are nearer, ties go to the smaller index. Indices
differ, so the order is total and what is selected does not depend on the order of arrival. Whole
numbers, which must differ, too, descend.
"""

from libc.math cimport exp, log, sqrt
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset


cdef enum:
    # Items that are sorted by insertion.
    MAX_INSERTED = 16
    # The same for those that are sorted by index, and at most so many bits at a time else.
    MAX_INSERTED_INDICES = 32
    MAX_DIGIT_BITS = 10
    # Up to here quickselect with branches is as fast as one without,
    MAX_WITH_BRANCHES = 48
    # and from here on a pivot is worth a sample.
    MIN_SAMPLED = 600


cdef struct Candidate:
    double key
    int64_t index


ctypedef fused Ordered:
    Candidate
    uint64_t


# What is sorted by index: a number is its own.
ctypedef fused Indexed:
    Candidate
    uint32_t


cdef inline bint precedes(Ordered a, Ordered b) noexcept nogil:
    if Ordered is Candidate:
        return (a.key > b.key) | ((a.key == b.key) & (a.index < b.index))
    else:
        return a > b


cdef inline void swap(Ordered *a, Ordered *b) noexcept nogil:
    cdef Ordered kept = a[0]
    a[0] = b[0]
    b[0] = kept


cdef inline void sift_down(Ordered *items, Py_ssize_t start, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t parent = start, child
    while 2 * parent + 1 < n:
        child = 2 * parent + 1
        if child + 1 < n and precedes(items[child], items[child + 1]):
            child += 1
        if not precedes(items[parent], items[child]):
            return
        swap(&items[parent], &items[child])
        parent = child


cdef inline void sort_heap(Ordered *items, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n // 2 - 1, -1, -1):
        sift_down(items, i, n)
    for i in range(n - 1, 0, -1):
        swap(&items[0], &items[i])
        sift_down(items, 0, i)


cdef inline Py_ssize_t partition(
    Ordered *items, Py_ssize_t n, Py_ssize_t pivot_place
) noexcept nogil:
    """Put what precedes the pivot before it and the rest behind; return its new place.

    No branch depends on a comparison, of which the processor would guess half wrong: each item
    takes the place after those that precede, and what was there its own; it stays if it precedes.
    """
    cdef Ordered pivot = items[pivot_place], item
    cdef Py_ssize_t place = 0, i
    items[pivot_place] = items[n - 1]
    for i in range(n - 1):
        item = items[i]
        items[i] = items[place]
        items[place] = item
        place += precedes(item, pivot)
    items[n - 1] = items[place]
    items[place] = pivot
    return place


cdef inline Py_ssize_t middle_of_three(const Ordered *items, Py_ssize_t n) noexcept nogil:
    """Return the place of the median of the first, the middle and the last item."""
    cdef Py_ssize_t first = 0, middle = n // 2, last = n - 1
    if precedes(items[middle], items[first]):
        first, middle = middle, first
    if precedes(items[last], items[middle]):
        return first if precedes(items[last], items[first]) else last
    return middle


cdef inline void sort_candidates(Ordered *items, Py_ssize_t n) noexcept nogil:
    """Sort: in parts that are short by insertion, by heapsort where pivots are bad."""
    cdef Py_ssize_t i, j, place, rounds = 0
    cdef Ordered item
    while n > MAX_INSERTED:
        rounds += 1
        if rounds > 64:
            sort_heap(items, n)
            return
        place = partition(items, n, middle_of_three(items, n))
        if place < n // 2:
            sort_candidates(items, place)
            items += place + 1
            n -= place + 1
        else:
            sort_candidates(items + place + 1, n - place - 1)
            n = place
    for i in range(1, n):
        item = items[i]
        j = i
        while j > 0 and precedes(item, items[j - 1]):
            items[j] = items[j - 1]
            j -= 1
        items[j] = item


cdef inline void select_first(Ordered *items, Py_ssize_t n, Py_ssize_t k) noexcept nogil:
    """Move the k first of n candidates to the front, the k-th itself to items[k - 1].

    Hoare's quickselect with the median of three; an input that defeats it is sorted instead, so
    the worst case is n log n.
    """
    cdef Py_ssize_t low = 0, high = n - 1, target = k - 1, i, j, middle, rounds = 0
    cdef Ordered pivot
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


cdef inline void select_first_of_many(
    Ordered *items, Py_ssize_t n, Py_ssize_t k
) noexcept nogil:
    """What select_first does, several times as fast for large n.

    The pivot is the k-th's counterpart in a part of the items, selected in the same way, and moved
    a little to where most items are: it cuts these off, and little more than one pass over all of
    them is left (Floyd and Rivest, Algorithm 489, CACM 18, 1975).
    """
    cdef Py_ssize_t rounds = 0, place, start, size
    cdef double log_n, wanted, aside
    while n > MAX_WITH_BRANCHES and rounds < 32:
        rounds += 1
        place = n // 2
        if n > MIN_SAMPLED:
            log_n = log(<double>n)
            wanted = 0.5 * exp(2.0 * log_n / 3.0)
            aside = 0.5 * sqrt(log_n * wanted * (n - wanted) / n)
            size = <Py_ssize_t>wanted
            place = k - 1
            start = place - <Py_ssize_t>(wanted * k / n + (-aside if 2 * k > n else aside))
            start = max(0, min(start, place))
            size = max(place - start + 1, min(size, n - start))
            select_first_of_many(items + start, size, place - start + 1)
        place = partition(items, n, place)
        if place >= k:
            n = place
        elif place == k - 1:
            return
        else:
            items += place + 1
            n -= place + 1
            k -= place + 1
    select_first(items, n, k)


cdef inline void insert_candidate(Candidate *items, Py_ssize_t k, Candidate item) noexcept nogil:
    """Insert into k sorted candidates, of which the last is dropped.

    Halves are moved one by one: both come from stores of this size, and a load of the whole would
    have to wait for these.
    """
    cdef Py_ssize_t place = k - 1
    cdef double key
    cdef int64_t index
    while place > 0:
        key = items[place - 1].key
        index = items[place - 1].index
        if key > item.key or (key == item.key and index < item.index):
            break
        items[place].key = key
        items[place].index = index
        place -= 1
    items[place].key = item.key
    items[place].index = item.index


cdef inline bint insert_key(double *keys, Py_ssize_t k, double key) noexcept nogil:
    """Insert into k keys that descend, of which the last is dropped; return whether that is so."""
    cdef Py_ssize_t place = k - 1
    if key <= keys[place]:
        return False
    while place > 0 and keys[place - 1] < key:
        keys[place] = keys[place - 1]
        place -= 1
    keys[place] = key
    return True


cdef inline int64_t index_of(Indexed item) noexcept nogil:
    if Indexed is Candidate:
        return item.index
    else:
        return item


cdef inline Py_ssize_t leave_out(Indexed *items, Py_ssize_t n, int64_t itself) noexcept nogil:
    """Drop the sample itself; the first, as scikit-learn does, where duplicates displaced it."""
    cdef Py_ssize_t place = 0, i
    for i in range(n):
        if index_of(items[i]) == itself:
            place = i
    for i in range(place, n - 1):
        items[i] = items[i + 1]
    return n - 1


cdef inline void sort_by_digit(
    const Indexed *items, Py_ssize_t n, int shift, int digit_bits, Indexed *sorted
) noexcept nogil:
    """Write the items in the order of a digit of their indices; equals stay in theirs."""
    cdef Py_ssize_t starts[1 << MAX_DIGIT_BITS]
    cdef Py_ssize_t n_digits = 1 << digit_bits, total = 0, count, digit, i
    memset(starts, 0, n_digits * sizeof(Py_ssize_t))
    for i in range(n):
        starts[index_of(items[i]) >> shift & (n_digits - 1)] += 1
    for digit in range(n_digits):
        count = starts[digit]
        starts[digit] = total
        total += count
    for i in range(n):
        digit = index_of(items[i]) >> shift & (n_digits - 1)
        sorted[starts[digit]] = items[i]
        starts[digit] += 1


cdef inline void sort_by_index(Indexed *items, Py_ssize_t n, Indexed *spare) noexcept nogil:
    """Sort by index alone: digit by digit, to the spare room for n items and back."""
    cdef int64_t bits = 0
    cdef int n_bits = 0, n_digits, digit_bits, digit
    cdef Py_ssize_t i, j
    cdef Indexed item
    if n <= MAX_INSERTED_INDICES:
        for i in range(1, n):
            item = items[i]
            j = i
            while j > 0 and index_of(items[j - 1]) > index_of(item):
                items[j] = items[j - 1]
                j -= 1
            items[j] = item
        return
    for i in range(n):
        bits |= index_of(items[i])
    while bits >> n_bits:
        n_bits += 1
    n_digits = 2 * ((n_bits + 2 * MAX_DIGIT_BITS - 1) // (2 * MAX_DIGIT_BITS))
    digit_bits = (n_bits + n_digits - 1) // n_digits
    for digit in range(0, n_digits, 2):
        sort_by_digit(items, n, digit * digit_bits, digit_bits, spare)
        sort_by_digit(spare, n, (digit + 1) * digit_bits, digit_bits, items)
