"""CIFAR-10 and CIFAR-100 from their official files: python and binary version, packed or not."""

import gzip
import tarfile
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

from ._pickles import Array, unpickle

N_FEATURES = 3 * 32 * 32
# An archive's files claim their sizes in a few bytes. The official batches have 31 MB each, but for
# the one of CIFAR-100, which has 155.
MAX_ARCHIVED_BYTES = 1 << 28
MAX_ARCHIVE_BYTES = 1 << 30
MAX_MEMBERS = 10_000
GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True)
class _Labels:
    """One of the labels of an image.

    In the python version a batch has them at `key`, and the meta file their names at `names_key`;
    the binary version has the names in a file of their own.
    """

    key: bytes
    n_classes: int
    names_key: bytes
    names_file: str


@dataclass(frozen=True)
class _DataSet:
    """How a data set lies in its files; the binary version's batches have .bin added."""

    title: str
    folders: tuple
    training: tuple
    test: str
    meta: str
    labels: tuple
    # Where the labels stand in the rows of the binary version.
    binary_columns: tuple

    def files(self, is_binary):
        """Return the names of the batches to train on, those to test on, and the others."""
        if is_binary:
            training = [f"{name}.bin" for name in self.training]
            return training, [f"{self.test}.bin"], [labels.names_file for labels in self.labels]
        return list(self.training), [self.test], [self.meta]


CIFAR10 = _DataSet(
    "CIFAR-10",
    ("cifar-10-batches-py", "cifar-10-batches-bin"),
    tuple(f"data_batch_{number}" for number in range(1, 6)),
    "test_batch",
    "batches.meta",
    (_Labels(b"labels", 10, b"label_names", "batches.meta.txt"),),
    (0,),
)
CIFAR100 = _DataSet(
    "CIFAR-100",
    ("cifar-100-python", "cifar-100-binary"),
    ("train",),
    "test",
    "meta",
    (
        _Labels(b"fine_labels", 100, b"fine_label_names", "fine_label_names.txt"),
        _Labels(b"coarse_labels", 20, b"coarse_label_names", "coarse_label_names.txt"),
    ),
    (1, 0),
)


def load_cifar10(path: str | PathLike[str]) -> Bunch:
    """Read CIFAR-10 from the files of its official "python version" or "binary version".

    Nothing in the files is executed: the only values they can make are the arrays, lists, numbers
    and strings that the official files hold, and every one that is used is checked.

    Parameters
    ----------
    path : str or path-like
        The folder `cifar-10-batches-py` or `cifar-10-batches-bin`, the one around it, or the
        archive (.tar.gz, .tar) that it came in. It holds data_batch_1 to data_batch_5, test_batch
        and batches.meta, or these with .bin and .txt added; a batch may have any number of images.
        Batches that a program has loaded and saved again are read, too.

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

    See Also
    --------
    load_cifar100

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
    X_train, (y_train,), X_test, (y_test,), (names,) = _load(CIFAR10, path)
    return Bunch(X_train=X_train, y_train=y_train, X_test=X_test, y_test=y_test, target_names=names)


def load_cifar100(path: str | PathLike[str]) -> Bunch:
    """Read CIFAR-100 from the files of its official "python version" or "binary version".

    Parameters
    ----------
    path : str or path-like
        The folder `cifar-100-python` or `cifar-100-binary`, the one around it, or the archive
        (.tar.gz, .tar) that it came in. It holds train, test and meta, or train.bin, test.bin,
        fine_label_names.txt and coarse_label_names.txt.

    Returns
    -------
    sklearn.utils.Bunch
        With the attributes of `load_cifar10`'s, where the classes are the 100 fine ones, and those
        of the 20 coarse ones:

        - y_train_coarse: ndarray of shape (n_train,), int64. Classes 0 to 19.
        - y_test_coarse: ndarray of shape (n_test,), int64.
        - coarse_target_names: ndarray of shape (20,), str.

    Raises
    ------
    FileNotFoundError, ValueError
        As `load_cifar10`.

    Examples
    --------
    Not run as doctests, which would need the data set (161 MB):

    >>> from fastnn.datasets import load_cifar100
    >>> cifar = load_cifar100("cifar-100-python")  # doctest: +SKIP
    >>> cifar.target_names[cifar.y_train[0]]  # doctest: +SKIP
    'cattle'
    """
    X_train, y_train, X_test, y_test, names = _load(CIFAR100, path)
    return Bunch(
        X_train=X_train,
        y_train=y_train[0],
        y_train_coarse=y_train[1],
        X_test=X_test,
        y_test=y_test[0],
        y_test_coarse=y_test[1],
        target_names=names[0],
        coarse_target_names=names[1],
    )


def _load(data, path):
    """Return the images and labels to train on, those to test on, and the names of the classes."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    files = _Folder(path, data) if path.is_dir() else _Archive(path, data)
    is_binary = files.has(f"{data.test}.bin") and not files.has(data.test)
    training, test, meta = data.files(is_binary)
    missing = [name for name in (*training, *test, *meta) if not files.has(name)]
    if missing:
        raise FileNotFoundError(f"{files.path} lacks {', '.join(missing)}")
    read_batch = _read_binary_batch if is_binary else _read_batch
    X_train, y_train = _read_batches(files, training, read_batch, data)
    X_test, y_test = _read_batches(files, test, read_batch, data)
    read_names = _read_binary_class_names if is_binary else _read_class_names
    return X_train, y_train, X_test, y_test, read_names(files, meta, data)


# ---- files ---------------------------------------------------------------------------------------


class _Folder:
    """The files of a folder, or of the official folder in it."""

    def __init__(self, path, data):
        inner = [path / name for name in data.folders if (path / name).is_dir()]
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

    def __init__(self, path, data):
        self.path = path
        wanted = {name for kind in (False, True) for names in data.files(kind) for name in names}
        with open(path, "rb") as file:
            self.contents = self._unpack(file, wanted)

    def _unpack(self, file, wanted):
        try:
            return _unpack(file, wanted)
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


def _unpack(file, wanted):
    """Return {name without folders: content} of the regular files that may matter.

    Headers that only say more about the next one are passed over: what they claim could be long.
    """
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


def _read_batches(files, names, read_batch, data):
    """Return the images and the labels of all the batches, one after the other."""
    # A file has at most this many images, which is 1 % too many in the official ones. Pages that
    # nothing is written to take no memory, and what is too much is given back at the end, so the
    # images are copied once and only one batch is held beside them.
    most = sum(files.size(name) // N_FEATURES for name in names)
    images = np.empty((most, N_FEATURES), np.uint8)
    labels = []
    n = 0
    for name in names:
        batch_images, batch_labels = read_batch(files.read(name), files.title(name), data)
        images[n : n + len(batch_images)] = batch_images
        labels.append(batch_labels)
        n += len(batch_images)
        del batch_images  # else it would be held while the next one is read
    images.resize((n, N_FEATURES), refcheck=False)
    return images, [np.concatenate(parts) for parts in zip(*labels, strict=True)]


def _read_binary_batch(content, path, data):
    """Return the images and labels of rows of a byte for each label and 3,072 for the pixels."""
    n_labels = len(data.labels)
    row_bytes = n_labels + N_FEATURES
    if len(content) == 0 or len(content) % row_bytes:
        raise ValueError(f"{path}: must hold rows of {row_bytes} bytes, got {len(content)} bytes")
    rows = np.frombuffer(content, np.uint8).reshape(-1, row_bytes)
    return rows[:, n_labels:], [
        _check_labels_in_range(rows[:, column], labels, path)
        for labels, column in zip(data.labels, data.binary_columns, strict=True)
    ]


def _read_batch(content, path, data):
    batch = _unpickle(content, path, data)
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
    all_labels = []
    for labels in data.labels:
        found = _check_labels(_entry(batch, labels.key, path), labels, path)
        if len(found) != len(images):
            raise ValueError(
                f"{path}: there must be one label for each image, got {len(found)} "
                f"{labels.key.decode()} for {len(images)} images"
            )
        all_labels.append(found)
    return images, all_labels


def _check_labels(found, labels, path):
    """Return a batch's labels, a list of ints or an array of integers, as int64."""
    key = labels.key.decode()
    if isinstance(found, Array):
        found = found.values
        if found.ndim != 1:
            raise ValueError(f"{path}: {key} must be one-dimensional, got {found.ndim} dimensions")
    elif type(found) is list:
        strange = {type(label).__name__ for label in found} - {"int"}
        if strange:
            raise ValueError(f"{path}: {key} must be integers, got {', '.join(sorted(strange))}")
        try:
            found = np.array(found, dtype=np.int64)
        except OverflowError:
            raise ValueError(
                f"{path}: {key} must be from 0 to {labels.n_classes - 1}, got one beyond 64 bits"
            ) from None
    else:
        raise ValueError(f"{path}: {key} must be a list or an array, got {type(found).__name__}")
    return _check_labels_in_range(found, labels, path)


def _check_labels_in_range(found, labels, path):
    outside = np.flatnonzero((found < 0) | (found >= labels.n_classes))
    if outside.size:
        raise ValueError(
            f"{path}: {labels.key.decode()} must be from 0 to {labels.n_classes - 1}, "
            f"got {found[outside[0]]} for image {outside[0]}"
        )
    return found.astype(np.int64, copy=False)


# ---- names of classes ----------------------------------------------------------------------------


def _read_class_names(files, meta, data):
    return _class_names(files.read(meta[0]), files.title(meta[0]), data)


def _class_names(content, path, data):
    content, found = _unpickle(content, path, data), []
    for labels in data.labels:
        key, names = labels.names_key.decode(), _entry(content, labels.names_key, path)
        if type(names) is not list or len(names) != labels.n_classes:
            got = f"{len(names)} of them" if type(names) is list else type(names).__name__
            raise ValueError(f"{path}: {key} must be a list of {labels.n_classes} names, got {got}")
        strange = {type(name).__name__ for name in names} - {"bytes", "str"}
        if strange:
            raise ValueError(f"{path}: {key} must be text, got {', '.join(sorted(strange))}")
        found.append(_decode(names, path))
    return found


def _read_binary_class_names(files, meta, data):
    found = []
    for name, labels in zip(meta, data.labels, strict=True):
        names, path = files.read(name).split(), files.title(name)
        if len(names) != labels.n_classes:
            raise ValueError(
                f"{path}: must hold {labels.n_classes} names, got {len(names)} of them"
            )
        found.append(_decode(names, path))
    return found


def _decode(names, path):
    try:
        return np.array([name.decode() if type(name) is bytes else name for name in names])
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: label_names must be UTF-8: {error}") from None


# ---- the python version's content ----------------------------------------------------------------


def _unpickle(content, path, data):
    """Return what a pickle holds; whatever is wrong with it is a ValueError that names the file."""
    try:
        return unpickle(content)
    except Exception as error:  # there is no limit to what a corrupt pickle can raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path}: not a file of {data.title}, or damaged: {reason}") from error


def _entry(content, key, path):
    if type(content) is not dict:
        raise ValueError(f"{path}: must hold a dict, got {type(content).__name__}")
    # Programs that have read the files as text save them so again.
    for spelling in (key, key.decode()):
        if spelling in content:
            return content[spelling]
    raise ValueError(f"{path}: lacks the entry {key.decode()!r}")
