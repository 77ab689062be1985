"""CIFAR-10 from its official files: the python and the binary version, packed or not."""

import gzip
import tarfile
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

from ._pickles import Array, unpickle

FOLDERS = ("cifar-10-batches-py", "cifar-10-batches-bin")
TRAINING_NAMES = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST_NAME = "test_batch"
# What the binary version adds to the names of batches, and of the names of classes.
BINARY_SUFFIX, BINARY_META_SUFFIX = ".bin", ".txt"
META_NAME = "batches.meta"
N_FEATURES = 3 * 32 * 32
N_CLASSES = 10
# An archive's files claim their sizes in a few bytes. The official batches have 31 MB each.
MAX_ARCHIVED_BYTES = 1 << 28
MAX_ARCHIVE_BYTES = 1 << 30
MAX_MEMBERS = 10_000
GZIP_MAGIC = b"\x1f\x8b"


def load_cifar10(path):
    """Read CIFAR-10 from the files of its official "python version" or "binary version".

    Nothing in the files is executed: the only values they can make are the arrays, lists, numbers
    and strings that the official files hold, and every one that is used is checked.

    Parameters
    ----------
    path : str or path-like
        The folder `cifar-10-batches-py` or `cifar-10-batches-bin`, the one around it, or the
        archive (.tar.gz, .tar) that it came in. It holds data_batch_1 to data_batch_5, test_batch
        and batches.meta, or these with .bin and .txt added; a batch may have any number of images.

    Returns
    -------
    sklearn.utils.Bunch
        With the attributes:

        - X_train: ndarray of shape (n_train, 3072), uint8. One image a row: 1,024 values of red,
          then green, then blue, each 32 rows of 32. The batches in their order.
        - y_train: ndarray of shape (n_train,), int64. Classes 0 to 9.
        - X_test: ndarray of shape (n_test, 3072), uint8.
        - y_test: ndarray of shape (n_test,), int64.
        - target_names: ndarray of shape (10,), str.

    Raises
    ------
    FileNotFoundError
        If the folder or one of its files is missing, in an archive too.
    ValueError
        If a file is truncated or corrupt, asks for anything that CIFAR-10's files do not need,
        holds data of another type or shape, or labels that are out of range or do not match the
        images in number. The message names the file.

    Notes
    -----
    Beside its results it holds one batch at a time, or the unpacked content of an archive. A folder
    is read about as fast as the disk delivers it, an archive as fast as gzip unpacks it.

    Examples
    --------
    Not run as doctests, which would need the data set (163 MB):

    >>> from fastnn.datasets import load_cifar10
    >>> cifar = load_cifar10("cifar-10-batches-py")  # doctest: +SKIP
    >>> cifar.X_train.shape  # doctest: +SKIP
    (50000, 3072)
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    files = _Folder(path) if path.is_dir() else _Archive(path)
    is_binary = files.has(TEST_NAME + BINARY_SUFFIX) and not files.has(TEST_NAME)
    suffix, meta_suffix = (BINARY_SUFFIX, BINARY_META_SUFFIX) if is_binary else ("", "")
    training = [name + suffix for name in TRAINING_NAMES]
    test, meta = TEST_NAME + suffix, META_NAME + meta_suffix
    missing = [name for name in (*training, test, meta) if not files.has(name)]
    if missing:
        raise FileNotFoundError(f"{files.path} lacks {', '.join(missing)}")
    read_batch = _read_binary_batch if is_binary else _read_batch
    X_train, y_train = _read_batches(files, training, read_batch)
    X_test, y_test = _read_batches(files, [test], read_batch)
    read_names = _read_binary_class_names if is_binary else _read_class_names
    names = read_names(files.read(meta), files.title(meta))
    return Bunch(X_train=X_train, y_train=y_train, X_test=X_test, y_test=y_test, target_names=names)


# ---- files ---------------------------------------------------------------------------------------


class _Folder:
    """The files of a folder, or of the official folder in it."""

    def __init__(self, path):
        inner = [path / name for name in FOLDERS if (path / name).is_dir()]
        self.path = inner[0] if inner else path

    def has(self, name):
        return (self.path / name).is_file()

    def title(self, name):
        return str(self.path / name)

    def size(self, name):
        return (self.path / name).stat().st_size

    def read(self, name):
        return (self.path / name).read_bytes()


class _Archive:
    """The files of a tar archive, unpacked in memory; each is given away once."""

    def __init__(self, path):
        self.path = path
        with open(path, "rb") as file:
            self.contents = self._unpack(file)

    def _unpack(self, file):
        try:
            return _unpack(file)
        except Exception as error:  # there is no limit to what a corrupt archive can raise
            raise ValueError(f"{self.path}: not a tar archive, or damaged: {error}") from error

    def has(self, name):
        return name in self.contents

    def title(self, name):
        return f"{self.path}: {name}"

    def size(self, name):
        return len(self.contents[name])

    def read(self, name):
        return self.contents.pop(name)


def _unpack(file):
    """Return {name without folders: content} of the regular files that may matter.

    Headers that only say more about the next one are passed over: what they claim could be long.
    """
    wanted = {*TRAINING_NAMES, TEST_NAME, META_NAME, META_NAME + BINARY_META_SUFFIX}
    wanted |= {name + BINARY_SUFFIX for name in (*TRAINING_NAMES, TEST_NAME)}
    contents = {}
    is_packed = file.read(2) == GZIP_MAGIC
    file.seek(0)
    with gzip.GzipFile(fileobj=file) if is_packed else file as stream:
        for member in _members(stream):
            name = member.name.rsplit("/", 1)[-1]
            is_plain = member.type in (tarfile.REGTYPE, tarfile.AREGTYPE)
            if name not in wanted or name in contents or not is_plain:
                continue
            if member.size > MAX_ARCHIVED_BYTES:
                raise tarfile.TarError(f"{name} has {member.size:,} bytes")
            contents[name] = stream.read(member.size)
            if len(contents[name]) != member.size:
                raise tarfile.TarError(f"{name} is cut off")
        while stream.read(1 << 20):  # gzip's checksum comes last
            _check_place(stream.tell())
    return contents


def _members(stream):
    """Yield the headers of an archive's members, each with the stream where its content begins."""
    for number in range(MAX_MEMBERS):
        header = stream.read(tarfile.BLOCKSIZE)
        if not header.strip(b"\0") and number > 0:
            return
        member = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
        end = stream.tell() + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
        if member.size < 0:
            raise tarfile.TarError(f"a member of {member.size} bytes")
        _check_place(end)
        yield member
        stream.seek(end)
    raise tarfile.TarError(f"more than {MAX_MEMBERS:,} members")


def _check_place(place):
    if place > MAX_ARCHIVE_BYTES:
        raise tarfile.TarError(f"more than {MAX_ARCHIVE_BYTES:,} bytes")


# ---- batches -------------------------------------------------------------------------------------


def _read_batches(files, names, read_batch):
    """Return the images and the labels of all the batches, one after the other."""
    # A file has at most this many images, which is 1 % too many in the official ones. Pages that
    # nothing is written to take no memory, and what is too much is given back at the end, so the
    # images are copied once and only one batch is held beside them.
    most = sum(files.size(name) // N_FEATURES for name in names)
    images = np.empty((most, N_FEATURES), np.uint8)
    labels = []
    n = 0
    for name in names:
        batch_images, batch_labels = read_batch(files.read(name), files.title(name))
        images[n : n + len(batch_images)] = batch_images
        labels.append(batch_labels)
        n += len(batch_images)
        del batch_images  # else it would be held while the next one is read
    images.resize((n, N_FEATURES), refcheck=False)
    return images, np.concatenate(labels)


def _read_binary_batch(content, path):
    """Return the images and labels of rows of one byte for the class and 3,072 for the pixels."""
    if len(content) == 0 or len(content) % (1 + N_FEATURES):
        raise ValueError(
            f"{path}: must hold rows of {1 + N_FEATURES} bytes, got {len(content)} bytes"
        )
    rows = np.frombuffer(content, np.uint8).reshape(-1, 1 + N_FEATURES)
    return rows[:, 1:], _check_labels_in_range(rows[:, 0], path)


def _read_batch(content, path):
    batch = _unpickle(content, path)
    images = _entry(batch, b"data", path)
    if not isinstance(images, Array):
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
    if isinstance(labels, Array):
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
    return _check_labels_in_range(labels, path)


def _check_labels_in_range(labels, path):
    outside = np.flatnonzero((labels < 0) | (labels >= N_CLASSES))
    if outside.size:
        raise ValueError(
            f"{path}: labels must be from 0 to {N_CLASSES - 1}, got {labels[outside[0]]} for image "
            f"{outside[0]}"
        )
    return labels.astype(np.int64, copy=False)


# ---- names of classes ----------------------------------------------------------------------------


def _read_class_names(content, path):
    names = _entry(_unpickle(content, path), b"label_names", path)
    if type(names) is not list or len(names) != N_CLASSES:
        got = f"{len(names)} of them" if type(names) is list else type(names).__name__
        raise ValueError(f"{path}: label_names must be a list of {N_CLASSES} names, got {got}")
    strange = {type(name).__name__ for name in names} - {"bytes"}
    if strange:
        raise ValueError(f"{path}: label_names must be bytes, got {', '.join(sorted(strange))}")
    return _decode(names, path)


def _read_binary_class_names(content, path):
    names = content.split()
    if len(names) != N_CLASSES:
        raise ValueError(f"{path}: must hold {N_CLASSES} names, got {len(names)} of them")
    return _decode(names, path)


def _decode(names, path):
    try:
        return np.array([name.decode() for name in names])
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: label_names must be UTF-8: {error}") from None


# ---- the python version's content ----------------------------------------------------------------


def _unpickle(content, path):
    """Return what a pickle holds; whatever is wrong with it is a ValueError that names the file."""
    try:
        return unpickle(content)
    except Exception as error:  # there is no limit to what a corrupt pickle can raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path}: not a file of CIFAR-10, or damaged: {reason}") from error


def _entry(content, key, path):
    if type(content) is not dict:
        raise ValueError(f"{path}: must hold a dict, got {type(content).__name__}")
    if key not in content:
        raise ValueError(f"{path}: lacks the entry {key.decode()!r}")
    return content[key]
