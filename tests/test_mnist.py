"""MNIST's files: what is read, and that nothing else gets through."""

import gzip
import re
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastnn.datasets import load_mnist

NAMES = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
]


def as_idx(values):
    header = struct.pack(f">4B{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    return header + values.tobytes()


def make_arrays(shape=(4, 3)):
    rng = np.random.default_rng(0)
    return [
        rng.integers(0, 256, (7, *shape), dtype=np.uint8),
        rng.integers(0, 10, 7, dtype=np.uint8),
        rng.integers(0, 256, (5, *shape), dtype=np.uint8),
        rng.integers(0, 10, 5, dtype=np.uint8),
    ]


def write(folder, arrays, packed, spelling="-", suffix=None):
    for name, values in zip(NAMES, arrays, strict=True):
        name = name.replace("-idx", f"{spelling}idx")
        suffix_here = (".gz" if packed else "") if suffix is None else suffix
        content = as_idx(values)
        (folder / (name + suffix_here)).write_bytes(gzip.compress(content) if packed else content)


def check_content(mnist, arrays, shape=(4, 3)):
    np.testing.assert_array_equal(mnist.X_train, arrays[0].reshape(7, -1))
    np.testing.assert_array_equal(mnist.y_train, arrays[1])
    np.testing.assert_array_equal(mnist.X_test, arrays[2].reshape(5, -1))
    np.testing.assert_array_equal(mnist.y_test, arrays[3])
    assert mnist.image_shape == shape
    for X, y in ((mnist.X_train, mnist.y_train), (mnist.X_test, mnist.y_test)):
        assert (X.dtype, y.dtype) == (np.uint8, np.int64)
        assert X.flags.c_contiguous
        assert X.flags.writeable


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("spelling", ["-", "."])
def test_folder(tmp_path, packed, spelling):
    write(tmp_path, make_arrays(), packed, spelling)
    check_content(load_mnist(tmp_path), make_arrays())
    check_content(load_mnist(str(tmp_path)), make_arrays())


def test_official_shape(tmp_path):
    write(tmp_path, make_arrays((28, 28)), True)
    check_content(load_mnist(tmp_path), make_arrays((28, 28)), (28, 28))


@pytest.mark.parametrize("packed", [False, True])
def test_four_files_of_any_name(tmp_path, packed):
    """Whether a file is packed is seen in it."""
    write(tmp_path, make_arrays(), packed, suffix=".data")
    paths = [tmp_path / f"{name}.data" for name in NAMES]
    check_content(load_mnist(paths), make_arrays())
    check_content(load_mnist([str(path) for path in paths]), make_arrays())


# ---- files as people have them -------------------------------------------------------------------


def put_into_folders(folder, name, content):
    (folder / name).mkdir()
    (folder / name / name).write_bytes(content)


def put_into_folders_with_dots(folder, name, content):
    (folder / name).mkdir()
    (folder / name / name.replace("-idx", ".idx")).write_bytes(content)


def put_into_folders_and_beside(folder, name, content):
    put_into_folders(folder, name, b"not this one")
    (folder / name.replace("-idx", ".idx")).write_bytes(content)


def put_as_torchvision(folder, name, content):
    (folder / "FashionMNIST" / "raw").mkdir(parents=True, exist_ok=True)
    (folder / "FashionMNIST" / "raw" / name).write_bytes(content)


def put_packed_and_not(folder, name, content):
    (folder / name).write_bytes(content)
    (folder / f"{name}.gz").write_bytes(b"not this one")


@pytest.mark.parametrize(
    "put",
    [
        put_into_folders,
        put_into_folders_with_dots,
        put_into_folders_and_beside,
        put_as_torchvision,
        put_packed_and_not,
    ],
)
def test_layouts(tmp_path, put):
    for name, values in zip(NAMES, make_arrays(), strict=True):
        put(tmp_path, name, as_idx(values))
    mnist = load_mnist(tmp_path)
    check_content(mnist, make_arrays())
    assert not mnist.is_transposed
    assert set(mnist.classes) == {*mnist.y_train, *mnist.y_test}


def write_emnist(folder, name, high, low=0):
    arrays = make_arrays()
    arrays[1] = np.linspace(low, high, 7).astype(np.uint8)
    arrays[3] = np.linspace(low, high, 5).astype(np.uint8)
    names = [f"emnist-{name}-{official.replace('t10k', 'test')}" for official in NAMES]
    for file, values in zip(names, arrays, strict=True):
        (folder / file).write_bytes(as_idx(values))
    return arrays, [folder / file for file in names]


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("letters", 1, 26), ("byclass", 0, 61), ("balanced", 0, 46), ("digits", 0, 9)],
)
def test_emnist(tmp_path, name, low, high):
    arrays, paths = write_emnist(tmp_path, name, high, low)
    for found in (load_mnist(tmp_path), load_mnist(paths), load_mnist(tmp_path, f"emnist-{name}")):
        check_content(found, arrays)
        assert found.is_transposed
        assert (found.classes.min(), found.classes.max()) == (low, high)
    write_emnist(tmp_path, name, high + 1, low)
    with pytest.raises(ValueError, match=f"from {low} to {high}, got {high + 1} for image 6"):
        load_mnist(tmp_path)


def test_several_sets_in_a_folder(tmp_path):
    letters, _ = write_emnist(tmp_path, "letters", 26, 1)
    write(tmp_path, make_arrays(), True)
    with pytest.raises(ValueError, match=r"several data sets: .*emnist-letters; name one"):
        load_mnist(tmp_path)
    check_content(load_mnist(tmp_path, "emnist-letters"), letters)
    with pytest.raises(FileNotFoundError, match="lacks qmnist-train-images"):
        load_mnist(tmp_path, "qmnist")


def test_qmnist(tmp_path):
    """Labels have eight columns, of which the first is the class."""
    arrays = make_arrays()
    for i, part in enumerate(("train", "test")):
        images, labels = arrays[2 * i : 2 * i + 2]
        (tmp_path / f"qmnist-{part}-images-idx3-ubyte.gz").write_bytes(
            gzip.compress(as_idx(images))
        )
        table = np.hstack([labels[:, None], np.full((len(labels), 7), 99)]).astype(">i4")
        header = struct.pack(">4B2I", 0, 0, 12, 2, *table.shape)
        path = tmp_path / f"qmnist-{part}-labels-idx2-int"
        path.write_bytes(header + table.tobytes())
    check_content(load_mnist(tmp_path), arrays)
    path.write_bytes(header + table.tobytes()[:-1])
    with pytest.raises(ValueError, match="cut off: too short"):
        load_mnist(tmp_path)


# ---- what is missing ----------------------------------------------------------------------------


def test_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        load_mnist(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=f"lacks {', '.join(NAMES)}; looked for these"):
        load_mnist(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="file is not a folder"):
        load_mnist(tmp_path / "file")


@pytest.mark.parametrize("name", NAMES)
def test_missing_file(tmp_path, name):
    write(tmp_path, make_arrays(), False)
    (tmp_path / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"lacks {name}$"):
        load_mnist(tmp_path)
    with pytest.raises(FileNotFoundError, match=f"there is no file .*{name}$"):
        load_mnist([tmp_path / name for name in NAMES])


def test_wrong_kinds_of_path(tmp_path):
    with pytest.raises(ValueError, match="a folder or four files, got 2 paths"):
        load_mnist([tmp_path, tmp_path])
    with pytest.raises(TypeError):
        load_mnist(3)


# ---- what is wrong -------------------------------------------------------------------------------


def check_refused(folder, name, content, message, packed):
    path = folder / (name + ".gz" if packed else name)
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(ValueError, match=message) as caught:
        load_mnist(folder)
    assert str(caught.value).startswith(f"{path}: ")


GOOD_IMAGES = as_idx(make_arrays()[0])


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "must start with 00000803, got nothing"),
        (b"\0\0", "must start with 00000803, got 0000"),
        (as_idx(make_arrays()[1]), "must start with 00000803, got 00000801"),
        (b"\0\0\x09" + GOOD_IMAGES[3:], "must start with 00000803, got 00000903"),
        (GOOD_IMAGES[:10], "the file is cut off"),
        (GOOD_IMAGES[:-1], "cut off: too short for an array of shape"),
        (GOOD_IMAGES + b"\0", "too long for an array of shape"),
        (struct.pack(">4B3I", 0, 0, 8, 3, 0, 4, 3), r"must hold images, got .* \(0, 4, 3\)"),
        (struct.pack(">4B3I", 0, 0, 8, 3, 7, 0, 3), "must hold images"),
        # a few bytes that claim 2**96 of them
        (b"\0\0\x08\x03" + b"\xff" * 12 + bytes(100), "cut off: too short for an array"),
        (as_idx(make_arrays()[0][:6]), "got 7 labels for 6 images"),
    ],
)
def test_wrong_images(tmp_path, content, message, packed):
    write(tmp_path, make_arrays(), packed)
    if "labels for" in message:
        name = NAMES[1] + (".gz" if packed else "")
        (tmp_path / (NAMES[0] + (".gz" if packed else ""))).write_bytes(content)
        with pytest.raises(ValueError, match=message) as caught:
            load_mnist(tmp_path)
        assert str(caught.value).startswith(f"{tmp_path / name}: ")
    else:
        check_refused(tmp_path, NAMES[0], content, message, packed)


def test_wrong_labels(tmp_path):
    write(tmp_path, make_arrays(), False)
    labels = make_arrays()[3]
    labels[2] = 10
    check_refused(tmp_path, NAMES[3], as_idx(labels), "from 0 to 9, got 10 for image 2", False)


def test_images_of_different_shapes(tmp_path):
    write(tmp_path, make_arrays(), False)
    other = make_arrays((4, 4))[2]
    check_refused(tmp_path, NAMES[2], as_idx(other), r"\(4, 3\) .* got \(4, 4\)", False)


def test_damaged_gzip_files(tmp_path):
    write(tmp_path, make_arrays(), True)
    path = tmp_path / f"{NAMES[0]}.gz"
    content = path.read_bytes()
    for damaged in (content[:-4], content[:30], content[:-6] + b"abcdef", content + b"more"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=re.escape(f"{path}: ")):
            load_mnist(tmp_path)


@settings(
    max_examples=200,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data(), packed=st.booleans(), role=st.integers(0, 3))
def test_files_that_are_changed_anywhere(tmp_path, data, packed, role):
    write(tmp_path, make_arrays(), packed)
    path = tmp_path / (NAMES[role] + (".gz" if packed else ""))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, 20) | st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    path.write_bytes(bytes(content))
    try:
        mnist = load_mnist(tmp_path)
    except ValueError as error:
        assert str(error).startswith(str(tmp_path))  # noqa: PT017 - not every byte matters
    else:
        assert len(mnist.X_train) == len(mnist.y_train)
        assert mnist.y_train.max() < 10
    finally:
        path.unlink()
