"""Image data sets: reading CIFAR-10 from its official files without trusting them."""

import io
import math
import pickle
import pickletools
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

__all__ = ["load_cifar10"]

FOLDER = "cifar-10-batches-py"
TRAINING_FILES = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST_FILE = "test_batch"
META_FILE = "batches.meta"
N_FEATURES = 3 * 32 * 32
N_CLASSES = 10
INTEGER_DTYPES = ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")


def load_cifar10(path):
    """Read CIFAR-10 from the files of its official "python version".

    Nothing in the files is executed: the only values they can make are the arrays, lists, numbers
    and strings that the official files hold, and every one that is used is checked.

    Parameters
    ----------
    path : str or path-like
        The folder `cifar-10-batches-py` or the one around it. It holds data_batch_1 to
        data_batch_5, test_batch and batches.meta; a batch may have any number of images.

    Returns
    -------
    sklearn.utils.Bunch
        With the attributes:

        X_train : ndarray of shape (n_train, 3072), uint8
            One image a row: 1,024 values of red, then green, then blue, each 32 rows of 32. The
            batches in their order.
        y_train : ndarray of shape (n_train,), int64
            Classes 0 to 9.
        X_test : ndarray of shape (n_test, 3072), uint8
        y_test : ndarray of shape (n_test,), int64
        target_names : ndarray of shape (10,), str

    Raises
    ------
    FileNotFoundError
        If the folder or one of its files is missing.
    NotADirectoryError
        If `path` is a file.
    ValueError
        If a file is truncated or corrupt, asks for anything that CIFAR-10's files do not need,
        holds data of another type or shape, or labels that are out of range or do not match the
        images in number. The message names the file.

    Examples
    --------
    Not run as doctests, which would need the data set (163 MB):

    >>> from fastnn.datasets import load_cifar10
    >>> cifar = load_cifar10("cifar-10-batches-py")  # doctest: +SKIP
    >>> cifar.X_train.shape  # doctest: +SKIP
    (50000, 3072)
    """
    folder = _find_folder(Path(path))
    X_train, y_train = _read_batches([folder / name for name in TRAINING_FILES])
    X_test, y_test = _read_batches([folder / TEST_FILE])
    return Bunch(
        X_train=X_train,
        y_train=y_train,
        X_test=X_test,
        y_test=y_test,
        target_names=_read_class_names(folder / META_FILE),
    )


def _find_folder(path):
    """Return the folder that holds the batches, all of them."""
    folder = path / FOLDER if (path / FOLDER).is_dir() else path
    if not folder.exists():
        raise FileNotFoundError(f"{folder} does not exist")
    if not folder.is_dir():
        raise NotADirectoryError(
            f"{folder} is not a folder; expected {FOLDER}, unpacked, or the folder around it"
        )
    files = (*TRAINING_FILES, TEST_FILE, META_FILE)
    missing = [name for name in files if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{folder} lacks {', '.join(missing)}")
    return folder


def _read_batches(paths):
    """Return the images and the labels of all the batches, one after the other."""
    # A file has at most this many images, which is 1 % too many in the official ones. Pages that
    # nothing is written to take no memory, and what is too much is given back at the end, so the
    # images are copied once and only one batch is held beside them.
    most = sum(path.stat().st_size // N_FEATURES for path in paths)
    images = np.empty((most, N_FEATURES), np.uint8)
    labels = []
    n = 0
    for path in paths:
        batch_images, batch_labels = _read_batch(path)
        images[n : n + len(batch_images)] = batch_images
        labels.append(batch_labels)
        n += len(batch_images)
    images.resize((n, N_FEATURES), refcheck=False)
    return images, np.concatenate(labels)


def _read_batch(path):
    batch = _unpickle(path)
    images = _entry(batch, b"data", path)
    if not isinstance(images, _Array):
        raise ValueError(f"{path}: data must be an array, got {type(images).__name__}")
    images = images.values
    if images.dtype != np.uint8:
        raise ValueError(f"{path}: data must be of dtype uint8, got {images.dtype}")
    if images.ndim != 2 or images.shape[1] != N_FEATURES:
        raise ValueError(
            f"{path}: data must be of shape (n_images, {N_FEATURES}), got {images.shape}"
        )
    labels = _check_labels(_entry(batch, b"labels", path), path)
    if len(labels) != len(images):
        raise ValueError(
            f"{path}: there must be one label for each image, got {len(labels)} labels for "
            f"{len(images)} images"
        )
    return images, labels


def _check_labels(labels, path):
    """Return a batch's labels, a list of ints or an array of integers, as int64."""
    if isinstance(labels, _Array):
        labels = labels.values
        if labels.ndim != 1:
            raise ValueError(
                f"{path}: labels must be one-dimensional, got {labels.ndim} dimensions"
            )
    elif type(labels) is list:
        strange = {type(label).__name__ for label in labels} - {"int"}
        if strange:
            raise ValueError(f"{path}: labels must be integers, got {', '.join(sorted(strange))}")
        try:
            labels = np.array(labels, dtype=np.int64)
        except OverflowError:
            raise ValueError(
                f"{path}: labels must be from 0 to {N_CLASSES - 1}, got one beyond 64 bits"
            ) from None
    else:
        raise ValueError(f"{path}: labels must be a list or an array, got {type(labels).__name__}")
    outside = np.flatnonzero((labels < 0) | (labels >= N_CLASSES))
    if outside.size:
        raise ValueError(
            f"{path}: labels must be from 0 to {N_CLASSES - 1}, got {labels[outside[0]]} for image "
            f"{outside[0]}"
        )
    return labels.astype(np.int64, copy=False)


def _read_class_names(path):
    names = _entry(_unpickle(path), b"label_names", path)
    if type(names) is not list or len(names) != N_CLASSES:
        got = f"{len(names)} of them" if type(names) is list else type(names).__name__
        raise ValueError(f"{path}: label_names must be a list of {N_CLASSES} names, got {got}")
    strange = {type(name).__name__ for name in names} - {"bytes"}
    if strange:
        raise ValueError(f"{path}: label_names must be bytes, got {', '.join(sorted(strange))}")
    try:
        return np.array([name.decode() for name in names])
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: label_names must be UTF-8: {error}") from None


def _entry(content, key, path):
    if type(content) is not dict:
        raise ValueError(f"{path}: must hold a dict, got {type(content).__name__}")
    if key not in content:
        raise ValueError(f"{path}: lacks the entry {key.decode()!r}")
    return content[key]


# ---- unpickling without trust -------------------------------------------------------------------
# A pickle is a program. The only functions that it can call here are the ones below, which check
# their arguments; NumPy's own reconstruction, which believes what it reads, takes no part.


def _unpickle(path):
    """Return what a file holds; whatever is wrong with it is a ValueError that names it."""
    content = path.read_bytes()
    try:
        _check_memo(content)
        return _Unpickler(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # there is no limit to what a corrupt pickle can raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path}: not a file of CIFAR-10, or damaged: {reason}") from error


def _check_memo(content):
    """Refuse a pickle that is cut off, or that numbers its objects beyond their count.

    The unpickler's table of objects is as long as the largest number, so a few bytes could claim
    any amount of memory.
    """
    for count, (opcode, argument, _) in enumerate(pickletools.genops(content)):
        if opcode.name in ("PUT", "LONG_BINPUT") and argument > count:
            raise pickle.UnpicklingError(f"object number {argument} among the first {count}")


class _Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        found = ALLOWED_GLOBALS.get((module, name))
        if found is None:
            raise pickle.UnpicklingError(f"refused global {f'{module}.{name}'!r}")
        return found


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


class _Array:
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
        if type(content) is not bytes:
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
    return _Array()


def _read_scalar(dtype, content):
    """Return the bytes of a NumPy scalar: some files have their file names so, which go unused."""
    if type(dtype) is not _Dtype or type(content) is not bytes:
        raise pickle.UnpicklingError("a scalar must have a dtype and bytes")
    return content


def _encode(text, encoding):
    """Return the bytes that Python 3 writes as text in a pickle of protocol 2."""
    if type(text) is not str or _to_text(encoding) != "latin1":
        raise pickle.UnpicklingError("refused an encoding other than latin1")
    return text.encode("latin1")


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
    ("_codecs", "encode"): _Global(_encode),
}
