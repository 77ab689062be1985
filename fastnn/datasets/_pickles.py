"""Unpickling without trust.

A pickle is a program. The only functions that it can call here are the ones below, which check
their arguments; NumPy's own reconstruction, which believes what it reads, takes no part.

    bytes --> one pass over the opcodes: what would claim memory is refused, long strings of bytes
              are set apart and a reference takes their place
          --> Python's unpickler on the rest, which is short
"""

import io
import math
import pickle
import pickletools

import numpy as np

INTEGER_DTYPES = ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")
# Bytes longer than this are not copied.
LONG = 1 << 12


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
    rest, parts = _set_long_bytes_apart(content)
    return _Unpickler(rest, parts, budget=len(content)).load()


# ---- the pass over the opcodes -------------------------------------------------------------------

# What follows an opcode: a number of bytes, or one of these.
LINE, TWO_LINES, COUNTED, NUMBERED_LINE, NUMBERED, FRAME, END, UNKNOWN = range(-1, -9, -1)


def _argument_sizes():
    """Return for each byte what follows it as an opcode, and the sizes of its count."""
    sizes, counts = [UNKNOWN] * 256, {}
    for opcode in pickletools.opcodes:
        code, argument = ord(opcode.code), opcode.arg
        if argument is None:
            sizes[code] = 0
        elif argument.n >= 0:
            sizes[code] = argument.n
        elif argument.n == pickletools.UP_TO_NEWLINE:
            sizes[code] = TWO_LINES if argument.name == "stringnl_noescape_pair" else LINE
        else:
            sizes[code] = COUNTED
            counts[code] = {
                pickletools.TAKEN_FROM_ARGUMENT1: 1,
                pickletools.TAKEN_FROM_ARGUMENT4: 4,
                pickletools.TAKEN_FROM_ARGUMENT4U: 4,
                pickletools.TAKEN_FROM_ARGUMENT8U: 8,
            }[argument.n]
    sizes[pickle.PUT[0]] = NUMBERED_LINE
    sizes[pickle.LONG_BINPUT[0]] = NUMBERED
    sizes[pickle.FRAME[0]] = FRAME
    sizes[pickle.STOP[0]] = END
    for code in pickle.EXT1 + pickle.EXT2 + pickle.EXT4:  # would go by a table of the process
        sizes[code] = UNKNOWN
    return tuple(sizes), counts


SIZES, COUNT_SIZES = _argument_sizes()
KINDS_OF_BYTES = tuple(code[0] for code in (pickle.BINSTRING, pickle.BINBYTES, pickle.BINBYTES8))


def _set_long_bytes_apart(content):
    """Return (a pickle without them, long bytes as views of the content).

    Refuses a pickle that is cut off, or that numbers its objects beyond their count: the
    unpickler's table of objects is as long as the largest number, so a few bytes could claim any
    amount of memory.
    """
    view, pieces, parts = memoryview(content), [], []
    sizes, count_sizes = SIZES, COUNT_SIZES
    position = start = count = 0
    try:
        while True:
            code = content[position]
            size = sizes[code]
            count += 1
            if size >= 0:
                position += size + 1
                continue
            if size == COUNTED:
                first = position + 1 + count_sizes[code]
                length = int.from_bytes(content[position + 1 : first], "little")
                position = first + length
                if length > LONG and code in KINDS_OF_BYTES and position < len(content):
                    pieces += [view[start : first - 1 - count_sizes[code]], _reference(len(parts))]
                    parts.append(view[first:position])
                    start = position
            elif size == NUMBERED:
                number = int.from_bytes(content[position + 1 : position + 5], "little")
                _check_number(number, count)
                position += 5
            elif size == FRAME:  # says how much to read at a time, and would be wrong from now on
                pieces.append(view[start:position])
                position = start = position + 9
            elif size == END:
                pieces.append(view[start : position + 1])
                return b"".join(pieces), parts
            else:
                position = _end_of_lines(content, position, size, count)
    except IndexError:
        pass
    raise pickle.UnpicklingError("the file is cut off")


def _reference(number):
    """Return opcodes that make persistent_load() put a part in place of bytes."""
    return pickle.BININT + number.to_bytes(4, "little") + pickle.BINPERSID


def _end_of_lines(content, position, size, count):
    """Return where the next opcode is after one that is followed by a line or two."""
    if size == UNKNOWN:
        raise pickle.UnpicklingError(f"no opcode {content[position : position + 1]!r}")
    end = position
    for _ in range(2 if size == TWO_LINES else 1):
        end = content.find(b"\n", end + 1)
        if end < 0:
            raise IndexError
    if size == NUMBERED_LINE:
        _check_number(int(content[position + 1 : end]), count)
    return end + 1


def _check_number(number, count):
    if number > count:
        raise pickle.UnpicklingError(f"object number {number} among the first {count}")


# ---- what is left ------------------------------------------------------------------------------


class _Unpickler(pickle.Unpickler):
    def __init__(self, content, parts, budget):
        super().__init__(io.BytesIO(content), encoding="bytes")
        self.parts = parts
        # How many bytes may still be made of text.
        self.budget = budget

    def find_class(self, module, name):
        if (module, name) == ("_codecs", "encode"):
            return _Global(self.encode)
        found = ALLOWED_GLOBALS.get((module, name))
        if found is None:
            raise pickle.UnpicklingError(f"refused global {f'{module}.{name}'!r}")
        return found

    def persistent_load(self, number):
        if type(number) is not int or not 0 <= number < len(self.parts):
            raise pickle.UnpicklingError("refused a reference")
        return self.parts[number]

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
    """What a file says of a dtype: taken down, and looked at where the dtype is used."""

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
        if type(shape) is not tuple or len(shape) > 2:
            raise pickle.UnpicklingError("the shape of an array must be a tuple of one or two")
        if not all(type(n) is int and n > 0 for n in shape):
            raise pickle.UnpicklingError("the shape of an array must hold positive integers")
        if type(dtype) is not _Dtype:
            raise pickle.UnpicklingError("an array must have a dtype")
        dtype = dtype.to_numpy()
        if type(content) not in (bytes, memoryview):
            raise pickle.UnpicklingError("the content of an array must be bytes")
        n_bytes = math.prod(shape) * dtype.itemsize
        if n_bytes != len(content):
            raise pickle.UnpicklingError(
                f"an array of shape {shape} and dtype {dtype} needs {n_bytes} bytes, got "
                f"{len(content)}"
            )
        order = "F" if fortran_order else "C"
        self.values = np.frombuffer(content, dtype).reshape(shape, order=order)


def _start_array(subtype, shape, typecode):
    if subtype is not NDARRAY:
        raise pickle.UnpicklingError("refused a subclass of ndarray")
    return Array()


def _read_scalar(dtype, content):
    """Return the bytes of a NumPy scalar: some files have their file names so, which go unused."""
    if type(dtype) is not _Dtype or type(content) is not bytes:
        raise pickle.UnpicklingError("a scalar must have a dtype and bytes")
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
    ("numpy.core.multiarray", "scalar"): _Global(_read_scalar),
    ("numpy._core.multiarray", "scalar"): _Global(_read_scalar),
}
