"""MNIST and its family (Fashion-MNIST, KMNIST, QMNIST, EMNIST), from their official files (IDX)."""

import gzip
import math
import os
import re
import struct
import zlib
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.utils import Bunch

# The files' names: those of EMNIST and QMNIST begin with the name of the set, and say "test" for
# "t10k"; some archivers put dots for hyphens.
FILE_NAME = re.compile(
    r"(?:(?P<name>emnist-[a-z]+|qmnist)-)?(?P<part>train|t10k|test)-(?P<kind>images|labels)"
    r"[-.]idx[123]-(?:ubyte|int)(?:\.gz)?"
)
ROLES = ("train_images", "train_labels", "test_images", "test_labels")
OFFICIAL_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
# Where torchvision and Keras put them, below the folder that they are given.
SUBFOLDERS = ("", "raw", *(f"{name}MNIST/raw" for name in ("", "Fashion", "K", "Q", "E")))
# EMNIST has up to 62 classes, by set; letters are counted from 1.
LABELS = {
    "emnist-balanced": (0, 46),
    "emnist-byclass": (0, 61),
    "emnist-bymerge": (0, 46),
    "emnist-letters": (1, 26),
}
LABELS_OF_DIGITS = (0, 9)
LABELS_OF_ANY = (0, 61)
UINT8_CODE, INT32_CODE = 8, 12
GZIP_MAGIC = b"\x1f\x8b"
# Deflate makes at most so many bytes of one.
MOST_OF_ONE_BYTE = 1032


class _Set(NamedTuple):
    """The files of a data set, and what its name says of them."""

    name: str | None
    files: dict
    labels: tuple

    @property
    def is_transposed(self):
        return self.name is not None and self.name.startswith("emnist")


def load_mnist(
    path: str | PathLike[str] | Sequence[str | PathLike[str]], name: str | None = None
) -> Bunch:
    """Read MNIST, Fashion-MNIST, KMNIST, QMNIST or EMNIST from their official files.

    Parameters
    ----------
    path : str or path-like, or sequence of four of them
        The folder with train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte
        and t10k-labels-idx1-ubyte, with or without .gz; or the four files in this order. The files
        of EMNIST and QMNIST, whose names begin with those of the sets, as emnist-letters-..., and
        say "test" for "t10k", are found as well; so are those below folders named ``MNIST/raw``,
        as torchvision has them, and in folders named as the file that they hold.
    name : str, optional
        Which of several sets in one folder, by what its files' names begin with: "emnist-letters".

    Returns
    -------
    sklearn.utils.Bunch
        With the attributes:

        - X_train: ndarray of shape (n_train, n_pixels), uint8. One image a row, 28 x 28 pixels in
          the official files, as they are stored.
        - y_train: ndarray of shape (n_train,), int64. Classes as they are stored.
        - X_test: ndarray of shape (n_test, n_pixels), uint8.
        - y_test: ndarray of shape (n_test,), int64.
        - image_shape: (h, w) of an image.
        - classes: ndarray of int64. The labels that there are, ascending: 0 to 9 but for EMNIST,
          which has 1 to 26 in "letters", up to 61 in "byclass".
        - is_transposed: bool. Whether images are stored column by column, as those of EMNIST are:
          ``X.reshape(-1, *image_shape).transpose(0, 2, 1)`` shows them upright.

    Raises
    ------
    FileNotFoundError
        If the folder or one of the files is missing.
    TypeError, ValueError
        If `path` is neither a path nor four of them.
    ValueError
        If the folder holds several sets and `name` is none of them; if a file is truncated, too
        long, corrupt or of another kind, or if labels are out of range or do not match the images
        in number. The message names the file.

    Notes
    -----
    Pixels are read into the array that is returned, packed or not, without a second copy.

    Examples
    --------
    >>> import struct, tempfile
    >>> from pathlib import Path
    >>> from fastnn.datasets import load_mnist
    >>> folder = tempfile.TemporaryDirectory()
    >>> for part, n in (("train", 3), ("t10k", 2)):  # black images, all of class 7
    ...     images = struct.pack(">4B3I", 0, 0, 8, 3, n, 28, 28) + bytes(n * 28 * 28)
    ...     labels = struct.pack(">4BI", 0, 0, 8, 1, n) + bytes([7] * n)
    ...     _ = Path(folder.name, f"{part}-images-idx3-ubyte").write_bytes(images)
    ...     _ = Path(folder.name, f"{part}-labels-idx1-ubyte").write_bytes(labels)
    >>> mnist = load_mnist(folder.name)
    >>> mnist.X_train.shape, mnist.y_test, mnist.image_shape
    ((3, 784), array([7, 7]), (28, 28))
    >>> folder.cleanup()
    """
    if isinstance(path, (str, os.PathLike)):
        found = _find_set(Path(path), name)
    else:
        found = _set_of_files(list(map(Path, path)))
    files = found.files
    X_train, y_train, shape = _read_pair(files["train_images"], files["train_labels"], found.labels)
    X_test, y_test, test_shape = _read_pair(
        files["test_images"], files["test_labels"], found.labels
    )
    if test_shape != shape:
        raise ValueError(
            f"{files['test_images']}: images must be of shape {shape} as those to train on, "
            f"got {test_shape}"
        )
    return Bunch(
        X_train=X_train,
        y_train=y_train,
        X_test=X_test,
        y_test=y_test,
        image_shape=shape,
        classes=np.union1d(y_train, y_test),
        is_transposed=found.is_transposed,
    )


# ---- which files ---------------------------------------------------------------------------------


def _set_of_files(paths):
    """Return the set of four files, which may have any names; those of EMNIST tell."""
    if len(paths) != len(ROLES):
        raise ValueError(f"path must be a folder or four files, got {len(paths)} paths")
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise FileNotFoundError(f"there is no file {', '.join(missing)}")
    match = FILE_NAME.fullmatch(paths[0].name)
    name = match and match["name"]
    return _Set(name, dict(zip(ROLES, paths, strict=True)), LABELS.get(name, LABELS_OF_ANY))


def _find_set(folder, name):
    """Return the set that a folder holds, or the one of this name."""
    if not folder.is_dir():
        state = "is not a folder" if folder.exists() else "does not exist"
        kind = NotADirectoryError if folder.exists() else FileNotFoundError
        raise kind(f"{folder} {state}; expected the folder of MNIST's files")
    sets = {}
    for place in SUBFOLDERS:
        for of_set, files in _files_of(folder / place).items():
            sets.setdefault((of_set, place), files)
    if name is not None:
        sets = {key: files for key, files in sets.items() if key[0] == name}
    complete = [key for key, files in sets.items() if len(files) == len(ROLES)]
    if len(complete) > 1:
        names = ", ".join(sorted(of_set or str(folder / place) for of_set, place in complete))
        raise ValueError(
            f"{folder} holds several data sets: {names}; name one, or give the folder of one"
        )
    if not complete:
        raise FileNotFoundError(_what_is_missing(folder, name, sets))
    of_set, _ = complete[0]
    return _Set(of_set, sets[complete[0]], LABELS.get(of_set, LABELS_OF_DIGITS))


def _files_of(folder):
    """Return {name of a set: {role: path}}; what is not packed and not within comes first."""
    found = {}
    entries = sorted(folder.iterdir(), key=_preference) if folder.is_dir() else ()
    for path in entries:
        match = FILE_NAME.fullmatch(path.name)
        if match is None:
            continue
        if path.is_dir():
            # Some archivers put a file into a folder of its name.
            path = next((inner for inner in sorted(path.iterdir()) if _is_same(inner, match)), path)
        if path.is_file():
            part = "train" if match["part"] == "train" else "test"
            roles = found.setdefault(match["name"], {})
            roles.setdefault(f"{part}_{match['kind']}", path)
    return found


def _is_same(path, match):
    """Whether a file's name says what another one's does."""
    other = FILE_NAME.fullmatch(path.name)
    return path.is_file() and other is not None and other.groups() == match.groups()


def _preference(path):
    return path.is_dir(), path.suffix == ".gz", ".idx" in path.name, path.name


def _what_is_missing(folder, name, sets):
    if not sets:
        prefix = "" if name is None else f"{name}-"
        files = ", ".join(prefix + official for official in OFFICIAL_NAMES)
        return (
            f"{folder} lacks {files}; looked for these, with dots for hyphens, packed (.gz), with "
            f"the names of EMNIST and QMNIST, there and in {', '.join(filter(None, SUBFOLDERS))}"
        )
    (of_set, place), files = max(sets.items(), key=lambda item: len(item[1]))
    prefix = "" if of_set is None else f"{of_set}-"
    official = dict(zip(ROLES, OFFICIAL_NAMES, strict=True))
    lacks = ", ".join(prefix + official[role] for role in ROLES if role not in files)
    return f"{folder / place} lacks {lacks}"


# ---- what they hold ------------------------------------------------------------------------------


def _read_pair(images_path, labels_path, label_range):
    """Return images as rows, labels, and the shape of an image."""
    images = _read_idx(images_path, [(UINT8_CODE, 3)])
    # The first of QMNIST's eight columns is the class.
    labels = _read_idx(labels_path, [(UINT8_CODE, 1), (INT32_CODE, 2)])
    labels = (labels[:, 0] if labels.ndim == 2 else labels).astype(np.int64)
    if len(labels) != len(images):
        raise ValueError(
            f"{labels_path}: there must be one label for each image, got {len(labels)} labels for "
            f"{len(images)} images"
        )
    low, high = label_range
    outside = np.flatnonzero((labels < low) | (labels > high))
    if outside.size:
        raise ValueError(
            f"{labels_path}: labels must be from {low} to {high}, got {labels[outside[0]]} "
            f"for image {outside[0]}"
        )
    return images.reshape(len(images), -1), labels, images.shape[1:]


def _read_idx(path, kinds):
    """Return the array that a file holds, of one of these (type code, number of dimensions)."""
    with open(path, "rb") as plain:
        is_packed = plain.read(2) == GZIP_MAGIC
        plain.seek(0)
        n_bytes = os.fstat(plain.fileno()).st_size * (MOST_OF_ONE_BYTE if is_packed else 1)
        try:
            with gzip.GzipFile(fileobj=plain) if is_packed else plain as file:
                return _read_array(file, kinds, n_bytes)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{path}: not a gzip file, or damaged: {error}") from error
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None


def _read_array(file, kinds, n_bytes):
    """Return a file's array; the file cannot hold more than n_bytes."""
    magic = file.read(4)
    expected = {bytes([0, 0, *kind]): kind for kind in kinds}
    if magic not in expected:
        raise ValueError(
            f"not an IDX file of this kind: must start with "
            f"{' or '.join(known.hex() for known in expected)}, got {magic.hex() or 'nothing'}"
        )
    code, n_dimensions = expected[magic]
    dtype = np.dtype(">i4" if code == INT32_CODE else np.uint8)
    sizes = file.read(4 * n_dimensions)
    if len(sizes) != 4 * n_dimensions:
        raise ValueError("the file is cut off")
    shape = struct.unpack(f">{n_dimensions}I", sizes)
    if 0 in shape:
        raise ValueError(f"must hold images, got an array of shape {shape}")
    # Nothing is allocated for what a header merely claims.
    if math.prod(shape) * dtype.itemsize > n_bytes:
        raise ValueError(f"the file is cut off: too short for an array of shape {shape}")
    values = np.empty(shape, dtype)
    rest = memoryview(values.view(np.uint8)).cast("B")
    while rest:
        n_read = file.readinto(rest)
        if n_read == 0:
            raise ValueError(f"the file is cut off: too short for an array of shape {shape}")
        rest = rest[n_read:]
    if file.read(1):
        raise ValueError(f"the file is too long for an array of shape {shape}")
    return values
