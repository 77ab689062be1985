"""MNIST and data sets of its form, from their official files (IDX)."""

import gzip
import math
import os
import struct
import zlib
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

# The official names, each in two spellings, packed by gzip or not.
NAMES = {
    "train_images": "train-images{}idx3-ubyte",
    "train_labels": "train-labels{}idx1-ubyte",
    "test_images": "t10k-images{}idx3-ubyte",
    "test_labels": "t10k-labels{}idx1-ubyte",
}
SPELLINGS = ("-", ".")
PACKED = ("", ".gz")
N_CLASSES = 10
UINT8_CODE = 8
GZIP_MAGIC = b"\x1f\x8b"
# Deflate makes at most so many bytes of one.
MOST_OF_ONE_BYTE = 1032


def load_mnist(path):
    """Read MNIST, Fashion-MNIST or another data set of this form from its official files.

    Parameters
    ----------
    path : str or path-like, or sequence of four of them
        The folder with train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte
        and t10k-labels-idx1-ubyte, with or without .gz; or the four files in this order.

    Returns
    -------
    sklearn.utils.Bunch
        With the attributes:

        - X_train: ndarray of shape (n_train, n_pixels), uint8. One image a row, 28 x 28 pixels in
          the official files.
        - y_train: ndarray of shape (n_train,), int64. Classes 0 to 9.
        - X_test: ndarray of shape (n_test, n_pixels), uint8.
        - y_test: ndarray of shape (n_test,), int64.
        - image_shape: (h, w) of an image.

    Raises
    ------
    FileNotFoundError
        If the folder or one of the files is missing.
    TypeError, ValueError
        If `path` is neither a path nor four of them.
    ValueError
        If a file is truncated, too long, corrupt or of another kind, or if labels are out of range
        or do not match the images in number. The message names the file.

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
    files = _find_files(path)
    X_train, y_train, train_shape = _read_pair(files["train_images"], files["train_labels"])
    X_test, y_test, test_shape = _read_pair(files["test_images"], files["test_labels"])
    if test_shape != train_shape:
        raise ValueError(
            f"{files['test_images']}: images must be of shape {train_shape} as those to train on, "
            f"got {test_shape}"
        )
    return Bunch(
        X_train=X_train, y_train=y_train, X_test=X_test, y_test=y_test, image_shape=train_shape
    )


def _find_files(path):
    """Return {role: path} of the four files."""
    if not isinstance(path, (str, os.PathLike)):
        paths = list(map(Path, path))
        if len(paths) != len(NAMES):
            raise ValueError(f"path must be a folder or four files, got {len(paths)} paths")
        missing = [str(path) for path in paths if not path.is_file()]
        if missing:
            raise FileNotFoundError(f"there is no file {', '.join(missing)}")
        return dict(zip(NAMES, paths, strict=True))
    folder = Path(path)
    if not folder.is_dir():
        state = "is not a folder" if folder.exists() else "does not exist"
        kind = NotADirectoryError if folder.exists() else FileNotFoundError
        raise kind(f"{folder} {state}; expected the folder of MNIST's files")
    found, missing = {}, []
    for role, name in NAMES.items():
        names = [name.format(spelling) + suffix for suffix in PACKED for spelling in SPELLINGS]
        present = [folder / name for name in names if (folder / name).is_file()]
        if present:
            found[role] = present[0]
        else:
            missing.append(names[0])
    if missing:
        raise FileNotFoundError(f"{folder} lacks {', '.join(missing)}")
    return found


def _read_pair(images_path, labels_path):
    """Return images as rows, labels, and the shape of an image."""
    images = _read_idx(images_path, 3)
    labels = _read_idx(labels_path, 1).astype(np.int64)
    if len(labels) != len(images):
        raise ValueError(
            f"{labels_path}: there must be one label for each image, got {len(labels)} labels for "
            f"{len(images)} images"
        )
    outside = np.flatnonzero(labels >= N_CLASSES)
    if outside.size:
        raise ValueError(
            f"{labels_path}: labels must be from 0 to {N_CLASSES - 1}, got {labels[outside[0]]} "
            f"for image {outside[0]}"
        )
    return images.reshape(len(images), -1), labels, images.shape[1:]


def _read_idx(path, n_dimensions):
    """Return the array of bytes that a file holds, packed by gzip or not."""
    with open(path, "rb") as plain:
        is_packed = plain.read(2) == GZIP_MAGIC
        plain.seek(0)
        n_bytes = os.fstat(plain.fileno()).st_size * (MOST_OF_ONE_BYTE if is_packed else 1)
        try:
            with gzip.GzipFile(fileobj=plain) if is_packed else plain as file:
                return _read_array(file, n_dimensions, n_bytes)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{path}: not a gzip file, or damaged: {error}") from error
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None


def _read_array(file, n_dimensions, n_bytes):
    """Return a file's array; the file cannot hold more than n_bytes."""
    magic = file.read(4)
    expected = bytes([0, 0, UINT8_CODE, n_dimensions])
    if magic != expected:
        raise ValueError(
            f"not an IDX file of bytes in {n_dimensions} dimensions: must start with "
            f"{expected.hex()}, got {magic.hex() or 'nothing'}"
        )
    sizes = file.read(4 * n_dimensions)
    if len(sizes) != 4 * n_dimensions:
        raise ValueError("the file is cut off")
    shape = struct.unpack(f">{n_dimensions}I", sizes)
    if 0 in shape:
        raise ValueError(f"must hold images, got an array of shape {shape}")
    # Nothing is allocated for what a header merely claims.
    if math.prod(shape) > n_bytes:
        raise ValueError(f"the file is cut off: too short for an array of shape {shape}")
    values = np.empty(shape, np.uint8)
    rest = memoryview(values).cast("B")
    while rest:
        n_read = file.readinto(rest)
        if n_read == 0:
            raise ValueError(f"the file is cut off: too short for an array of shape {shape}")
        rest = rest[n_read:]
    if file.read(1):
        raise ValueError(f"the file is too long for an array of shape {shape}")
    return values
