"""Unpickling without trust.

A pickle is a program. The only opcodes that run here are those of the official files, and the only
functions that it can call are the ones below, which check their arguments; NumPy's own
reconstruction, which believes what it reads, takes no part.

Python's unpickler in Python serves, the one with a table of opcodes to choose from. It takes no
longer than the one in C would with a check of each opcode before it.
"""

import io
import math
import pickle
from functools import partial
from typing import ClassVar

import numpy as np

INTEGER_DTYPES = ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")
# Bytes longer than this are not copied.
LONG = 1 << 12
# How many opcodes a file may have: so many, and one more for each of these bytes.
FEWEST_OPCODES, BYTES_OF_AN_OPCODE = 1 << 16, 48


def unpickle(content):
    """Return what a pickle of arrays of integers, lists, dicts, numbers and strings holds.

    Parameters
    ----------
    content : bytes

    Returns
    -------
    object
        With an `Array` for each array. Long bytes, also those of arrays, are views of `content`.

    Raises
    ------
    Exception
        There is no limit to what a corrupt pickle can raise.
    """
    try:
        return _Unpickler(content).load()
    except EOFError:
        raise pickle.UnpicklingError("the file is cut off") from None


# What arrays, lists, dicts, numbers and strings are written in, by all protocols.
ALLOWED_OPCODES = (
    "PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE "
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT "
    "STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 "
    "BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 "
    "EMPTY_LIST LIST APPEND APPENDS EMPTY_DICT DICT SETITEM SETITEMS "
    "EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 "
    "GET BINGET LONG_BINGET PUT BINPUT LONG_BINPUT MEMOIZE GLOBAL STACK_GLOBAL REDUCE BUILD"
)


class _Opcodes:
    """The table of opcodes, for so many of them.

    One byte can make an object of a hundred. In the official files an image has 3,072 bytes, and
    some 40 opcodes for its label and its name at most.
    """

    def __init__(self, n_bytes):
        self.n_left = FEWEST_OPCODES + n_bytes // BYTES_OF_AN_OPCODE

    def __getitem__(self, code):
        self.n_left -= 1
        if self.n_left < 0:
            raise pickle.UnpicklingError("too many opcodes for its size")
        run = _Unpickler.allowed.get(code)
        if run is None:
            raise pickle.UnpicklingError(f"refused opcode {bytes([code])!r}")
        return run


class _Unpickler(pickle._Unpickler):
    allowed: ClassVar[dict] = {
        code: pickle._Unpickler.dispatch[code]
        for code in (getattr(pickle, name)[0] for name in ALLOWED_OPCODES.split())
    }

    def __init__(self, content):
        self.file, self.content = io.BytesIO(content), memoryview(content)
        super().__init__(self.file, encoding="bytes")
        self.dispatch = _Opcodes(len(content))
        # How many bytes may still be made of text.
        self.budget = len(content)

    def _take_bytes(self, size_of_length):
        """Append bytes, and a view where they are many."""
        n = int.from_bytes(self.read(size_of_length), "little")
        if n <= LONG or self._unframer.current_frame is not None:
            taken = self.read(n)
        else:
            first = self.file.tell()
            taken = self.content[first : first + n]
            self.file.seek(first + n)
        if len(taken) != n:
            raise EOFError
        self.append(taken)

    for code, size in (
        (pickle.BINSTRING, 4), (pickle.BINBYTES, 4), (pickle.BINBYTES8, 8), (pickle.BYTEARRAY8, 8),
    ):  # fmt: skip
        allowed[code[0]] = partial(_take_bytes, size_of_length=size)

    # The hash of a tuple of tuples can take forever, and so can integers that collide.
    def _check_keys(self, keys):
        if not all(type(key) in (bytes, str) for key in keys):
            raise pickle.UnpicklingError("refused a key that is no string")

    def load_setitem(self):
        self._check_keys(self.stack[-2:-1])
        super().load_setitem()

    def load_setitems(self):
        self._check_keys(self.stack[::2])
        super().load_setitems()

    def load_dict(self):
        self._check_keys(self.stack[::2])
        super().load_dict()

    allowed[pickle.SETITEM[0]] = load_setitem
    allowed[pickle.SETITEMS[0]] = load_setitems
    allowed[pickle.DICT[0]] = load_dict

    def find_class(self, module, name):
        if (module, name) == ("_codecs", "encode"):
            return _Global(self.encode)
        found = ALLOWED_GLOBALS.get((module, name))
        if found is None:
            raise pickle.UnpicklingError(f"refused global {f'{module}.{name}'!r}")
        return found

    def encode(self, text, encoding):
        """Return the bytes that Python 3 writes as text in a pickle of protocol 2."""
        if type(text) is not str or _to_text(encoding) != "latin1":
            raise pickle.UnpicklingError("refused an encoding other than latin1")
        self.budget -= len(text)
        if self.budget < 0:
            raise pickle.UnpicklingError("the same text over and over again")
        return text.encode("latin1")


class _Global:
    """A function that a file may call, and that it cannot change."""

    __slots__ = ("function",)

    def __init__(self, function):
        self.function = function

    def __call__(self, *args):
        return self.function(*args)

    def __setstate__(self, state):
        raise pickle.UnpicklingError("refused to change the state of a global")


class _Dtype:
    """What a file says of a dtype: taken down, and checked where the dtype is used."""

    __slots__ = ("byte_order", "name")

    def __init__(self, name, align, copy):
        self.name = _to_text(name)
        self.byte_order = "|"

    def __setstate__(self, state):
        self.byte_order = _to_text(state[1])

    def to_numpy(self):
        if self.name not in INTEGER_DTYPES or self.byte_order not in ("|", "<", ">"):
            raise pickle.UnpicklingError("refused an array whose dtype is not one of integers")
        return np.dtype(self.name).newbyteorder(self.byte_order)


class Array:
    """An array of integers in the making: empty until the file gives its content."""

    __slots__ = ("values",)

    def __init__(self):
        self.values = np.empty(0, np.uint8)

    def __setstate__(self, state):
        _, shape, dtype, fortran_order, content = state
        self.values = _values(content, dtype, shape, "F" if fortran_order else "C")


def _values(content, dtype, shape, order):
    """Return an array of integers, a view of its bytes, if all that a file says of it agrees."""
    if type(shape) is not tuple or len(shape) > 2:
        raise pickle.UnpicklingError("the shape of an array must be a tuple of one or two")
    if not all(type(n) is int and n > 0 for n in shape):
        raise pickle.UnpicklingError("the shape of an array must hold positive integers")
    if type(dtype) is not _Dtype:
        raise pickle.UnpicklingError("an array must have a dtype")
    dtype = dtype.to_numpy()
    if type(content) not in (bytes, memoryview):
        raise pickle.UnpicklingError("the content of an array must be bytes")
    # Integers can have millions of digits.
    n_bytes = math.prod(min(n, 1 << 40) for n in shape) * dtype.itemsize
    if n_bytes != len(content):
        raise pickle.UnpicklingError(
            f"an array of this shape and dtype {dtype} needs {n_bytes} bytes, got {len(content)}"
        )
    return np.frombuffer(content, dtype).reshape(shape, order=order)


def _read_array(content, dtype, shape, order, axis_order=None):
    """Return an array of protocol 5, whose content comes with it."""
    order = _to_text(order)
    if order not in ("C", "F") or axis_order is not None:
        raise pickle.UnpicklingError("refused an array in an order other than C and F")
    array = Array()
    array.values = _values(content, dtype, shape, order)
    return array


def _start_array(subtype, shape, typecode):
    if subtype is not NDARRAY:
        raise pickle.UnpicklingError("refused a subclass of ndarray")
    return Array()


def _read_scalar(dtype, content):
    """Return a NumPy integer as an int, and the bytes of others: some files have names so."""
    if type(dtype) is not _Dtype or type(content) is not bytes:
        raise pickle.UnpicklingError("a scalar must have a dtype and bytes")
    if dtype.name in INTEGER_DTYPES:
        return int(_values(content, dtype, (1,), "C")[0])
    return content


def _to_text(value):
    return value.decode("latin1") if type(value) is bytes else value


def _refuse_call(*args):
    raise pickle.UnpicklingError("refused a call of ndarray")


NDARRAY = _Global(_refuse_call)
ALLOWED_GLOBALS = {
    ("numpy", "ndarray"): NDARRAY,
    ("numpy", "dtype"): _Global(_Dtype),
    ("numpy.core.multiarray", "_reconstruct"): _Global(_start_array),
    ("numpy._core.multiarray", "_reconstruct"): _Global(_start_array),
    ("numpy.core.numeric", "_frombuffer"): _Global(_read_array),
    ("numpy._core.numeric", "_frombuffer"): _Global(_read_array),
    ("numpy.core.multiarray", "scalar"): _Global(_read_scalar),
    ("numpy._core.multiarray", "scalar"): _Global(_read_scalar),
}
