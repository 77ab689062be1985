"""Choice of the instruction set: which table of micro-kernels is active."""

import os

cdef enum:
    MAX_TABLES = 8

cdef const fnn_kernels *available[MAX_TABLES]
cdef Py_ssize_t n_available = fnn_available(available, MAX_TABLES)
cdef const fnn_kernels *active = available[0]

# Names that some build knows, to tell "not on this CPU" from "no such thing".
KNOWN_ISAS = ("avx512_vnni", "avx512", "avx2_vnni", "avx2", "neon", "baseline")


cdef const fnn_kernels *active_kernels() noexcept nogil:
    return active


def available_isas():
    """Return the names of the instruction sets that this build and CPU can use, best first."""
    return tuple(available[i].name.decode() for i in range(n_available))


def get_isa():
    """Return the name of the instruction set in use.

    Returns
    -------
    str
        ``"avx512"`` or ``"avx2"``, with ``"_vnni"`` where the CPU adds up products of bytes;
        ``"neon"`` or ``"baseline"``.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.get_isa() in fastnn.available_isas()
    True
    """
    return active.name.decode()


def set_isa(isa):
    """Use the kernels of one instruction set from the next call on, in all threads.

    Parameters
    ----------
    isa : str
        One of `available_isas()`.

    Raises
    ------
    TypeError
        If `isa` is not a string.
    ValueError
        If this CPU or this build lacks `isa`, or no instruction set has that name.

    Examples
    --------
    >>> import fastnn
    >>> before = fastnn.get_isa()
    >>> fastnn.set_isa(fastnn.available_isas()[-1])
    >>> fastnn.set_isa(before)
    """
    choose(isa, "isa")


cdef object choose(object isa, str argument):
    global active
    if not isinstance(isa, str):
        raise TypeError(f"{argument} must be a string, got {type(isa).__name__}")
    for i in range(n_available):
        if isa == available[i].name.decode():
            active = available[i]
            return
    usable = ", ".join(repr(name) for name in available_isas())
    if isa in KNOWN_ISAS:
        raise ValueError(f"{argument}={isa!r} is not available on this CPU; available: {usable}")
    raise ValueError(f"{argument}={isa!r} is not an instruction set; available: {usable}")


if os.environ.get("FASTNN_ISA"):
    choose(os.environ["FASTNN_ISA"], "FASTNN_ISA")
