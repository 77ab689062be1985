"""The files of CIFAR-10 and CIFAR-100: what is read, and that nothing else gets through."""

import io
import os
import pickle
import re
import struct
import tarfile
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastnn.datasets import _cifar, _pickles, load_cifar10, load_cifar100

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
BATCHES = [f"data_batch_{number}" for number in range(1, 6)]
SIZES = dict(zip([*BATCHES, "test_batch"], [4, 3, 2, 5, 1, 6], strict=True))


def make_batch(n, seed):
    rng = np.random.default_rng(seed)
    return {
        b"batch_label": b"a batch",
        b"labels": rng.integers(0, 10, n).tolist(),
        b"data": rng.integers(0, 256, (n, 3072), dtype=np.uint8),
        b"filenames": [b"%d.png" % number for number in range(n)],
    }


def write(path, content, protocol=2):
    path.write_bytes(pickle.dumps(content, protocol=protocol))


def pickle_as_python_2(batch):
    """Write the bytes that Python 2 writes: the official files are of this kind."""

    def text(value):
        return b"U" + bytes([len(value)]) + value

    data = batch[b"data"]
    return b"".join(
        [
            b"\x80\x02}q\x01(" + text(b"batch_label") + b"q\x02" + text(batch[b"batch_label"]),
            text(b"labels") + b"q\x04]q\x05(",
            b"".join(b"K" + bytes([label]) for label in batch[b"labels"]) + b"e",
            text(b"data") + b"q\x06cnumpy.core.multiarray\n_reconstruct\nq\x07",
            b"cnumpy\nndarray\nq\x08K\x00\x85" + text(b"b") + b"\x87Rq\x09(K\x01",
            b"K" + bytes([len(data)]) + b"M\x00\x0c\x86cnumpy\ndtype\nq\x0a" + text(b"u1"),
            b"K\x00K\x01\x87Rq\x0b(K\x03" + text(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff",
            b"K\x00tb\x89T" + struct.pack("<i", data.size) + data.tobytes() + b"tb",
            text(b"filenames") + b"]q\x0c(",
            b"".join(text(name) for name in batch[b"filenames"]) + b"eu.",
        ]
    )


@pytest.fixture
def batches():
    return {name: make_batch(n, seed) for seed, (name, n) in enumerate(SIZES.items())}


@pytest.fixture
def folder(tmp_path, batches):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name, batch in batches.items():
        write(folder / name, batch)
    write(folder / "batches.meta", {b"label_names": [name.encode() for name in NAMES]})
    return folder


def read_batch(content, path="file"):
    images, (labels,) = _cifar._read_batch(content, path, _cifar.CIFAR10)
    return images, labels


def check_content(cifar, batches):
    training = [batches[name] for name in BATCHES]
    np.testing.assert_array_equal(cifar.X_train, np.concatenate([b[b"data"] for b in training]))
    np.testing.assert_array_equal(cifar.y_train, np.concatenate([b[b"labels"] for b in training]))
    np.testing.assert_array_equal(cifar.X_test, batches["test_batch"][b"data"])
    np.testing.assert_array_equal(cifar.y_test, batches["test_batch"][b"labels"])
    assert cifar.target_names.tolist() == NAMES
    for X, y in ((cifar.X_train, cifar.y_train), (cifar.X_test, cifar.y_test)):
        assert X.dtype == np.uint8
        assert y.dtype == np.int64
        assert X.flags.c_contiguous
        assert X.flags.owndata
        assert X.flags.writeable


# ---- what is read -------------------------------------------------------------------------------


def test_batches_are_read_in_their_order(folder, batches):
    check_content(load_cifar10(folder), batches)


def test_the_folder_around_and_a_string_do_as_well(folder, batches):
    check_content(load_cifar10(str(folder.parent)), batches)


def test_files_of_python_2(folder, batches):
    for name, batch in batches.items():
        (folder / name).write_bytes(pickle_as_python_2(batch))
    check_content(load_cifar10(folder), batches)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_files_of_other_protocols(folder, batches, protocol):
    for name, batch in batches.items():
        write(folder / name, batch, protocol)
    check_content(load_cifar10(folder), batches)


def test_numpy_strings_as_file_names(folder, batches):
    batches["data_batch_1"][b"filenames"] = list(np.array([b"a.png", b"b.png"]))
    write(folder / "data_batch_1", batches["data_batch_1"])
    check_content(load_cifar10(folder), batches)


@pytest.mark.parametrize("dtype", ["<i8", ">i4", "u1", "<u2"])
def test_labels_as_an_array(folder, batches, dtype):
    labels = batches["data_batch_2"][b"labels"]
    write(
        folder / "data_batch_2",
        {**batches["data_batch_2"], b"labels": np.array(labels, dtype=dtype)},
    )
    check_content(load_cifar10(folder), batches)


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("kind", [list, np.array, lambda labels: list(np.array(labels))])
def test_batches_saved_again(folder, batches, protocol, kind):
    """As a program has them that has read them as text: tflearn#57, EN10/CIFAR#1."""
    for name, batch in batches.items():
        text = {key.decode(): value for key, value in batch.items()}
        text["labels"] = kind(text["labels"])
        write(folder / name, text, protocol)
    write(folder / "batches.meta", {"label_names": NAMES}, protocol)
    check_content(load_cifar10(folder), batches)


@pytest.mark.parametrize("protocol", [2, 5])
def test_images_in_column_order(folder, batches, protocol):
    data = np.asfortranarray(batches["data_batch_4"][b"data"])
    write(folder / "data_batch_4", {**batches["data_batch_4"], b"data": data}, protocol)
    check_content(load_cifar10(folder), batches)


# ---- CIFAR-100 -----------------------------------------------------------------------------------

FINE, COARSE = [f"fine {i}" for i in range(100)], [f"coarse_{i}" for i in range(20)]


def make_batch_of_100(n, seed):
    rng = np.random.default_rng(seed)
    return {
        b"data": rng.integers(0, 256, (n, 3072), dtype=np.uint8),
        b"fine_labels": rng.integers(0, 100, n).tolist(),
        b"coarse_labels": rng.integers(0, 20, n).tolist(),
    }


def check_content_of_100(cifar, batches, fine):
    for part in ("train", "test"):
        np.testing.assert_array_equal(cifar[f"X_{part}"], batches[part][b"data"])
        np.testing.assert_array_equal(cifar[f"y_{part}"], batches[part][b"fine_labels"])
        np.testing.assert_array_equal(cifar[f"y_{part}_coarse"], batches[part][b"coarse_labels"])
    assert cifar.target_names.tolist() == fine
    assert cifar.coarse_target_names.tolist() == COARSE


@pytest.fixture
def batches_of_100():
    return {"train": make_batch_of_100(7, 0), "test": make_batch_of_100(4, 1)}


@pytest.fixture
def folder_of_100(tmp_path, batches_of_100):
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    for name, batch in batches_of_100.items():
        write(folder / name, batch)
    names = {b"fine_label_names": FINE, b"coarse_label_names": COARSE}
    write(folder / "meta", {k: [name.encode() for name in v] for k, v in names.items()})
    return folder


def test_cifar100(folder_of_100, batches_of_100, tmp_path):
    check_content_of_100(load_cifar100(folder_of_100), batches_of_100, FINE)
    check_content_of_100(load_cifar100(tmp_path), batches_of_100, FINE)
    with tarfile.open(tmp_path / "cifar-100.tar.gz", "w:gz") as archive:
        archive.add(folder_of_100, folder_of_100.name)
    found = load_cifar100(tmp_path / "cifar-100.tar.gz")
    check_content_of_100(found, batches_of_100, FINE)


def test_binary_version_of_cifar100(tmp_path, batches_of_100):
    folder = tmp_path / "cifar-100-binary"
    folder.mkdir()
    for name, batch in batches_of_100.items():
        labels = np.array([batch[b"coarse_labels"], batch[b"fine_labels"]], np.uint8).T
        (folder / f"{name}.bin").write_bytes(np.hstack([labels, batch[b"data"]]).tobytes())
    fine = [name.replace(" ", "_") for name in FINE]
    (folder / "fine_label_names.txt").write_text("\n".join(fine) + "\n")
    (folder / "coarse_label_names.txt").write_text("\n".join(COARSE) + "\n")
    check_content_of_100(load_cifar100(tmp_path), batches_of_100, fine)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({b"coarse_labels": [20] * 7}, "coarse_labels must be from 0 to 19, got 20 for image 0"),
        ({b"fine_labels": [100] * 7}, "fine_labels must be from 0 to 99, got 100 for image 0"),
        ({b"fine_labels": [1] * 6}, "got 6 fine_labels for 7 images"),
    ],
)
def test_wrong_batch_of_cifar100(folder_of_100, batches_of_100, changes, message):
    write(folder_of_100 / "train", batches_of_100["train"] | changes)
    with pytest.raises(ValueError, match=message):
        load_cifar100(folder_of_100)


# ---- what is missing ----------------------------------------------------------------------------


def test_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere does not exist$"):
        load_cifar10(tmp_path / "nowhere")


def test_file_that_is_no_archive(tmp_path):
    path = tmp_path / "cifar-10-python.tar.gz"
    for content in (b"", b"no archive", b"\x1f\x8b\x08\x00", b"\x1f\x8bno archive"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"tar\.gz: not a tar archive, or damaged"):
            load_cifar10(path)


@pytest.mark.parametrize("name", [*SIZES, "batches.meta"])
def test_missing_file(folder, name):
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf"cifar-10-batches-py lacks {name}$"):
        load_cifar10(folder)


def test_all_missing_files_are_named(folder):
    (folder / "data_batch_3").unlink()
    (folder / "test_batch").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks data_batch_3, test_batch$"):
        load_cifar10(folder)


# ---- what is wrong ------------------------------------------------------------------------------


def check_refused(folder, name, message):
    with pytest.raises(ValueError, match=message) as caught:
        load_cifar10(folder)
    assert str(caught.value).startswith(str(folder / name) + ": ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({b"data": [[0] * 3072] * 4}, "data must be an array, got list"),
        ({b"data": np.zeros((4, 3072), np.int16)}, "data must be of dtype uint8, got int16"),
        ({b"data": np.zeros((4, 3072), np.int8)}, "data must be of dtype uint8, got int8"),
        ({b"data": np.zeros((4, 3072))}, "dtype is not one of integers"),
        ({b"data": np.zeros((4, 3072), object)}, "dtype is not one of integers"),
        ({b"data": np.zeros(4, "u1,u1")}, "dtype is not one of integers"),
        ({b"data": np.zeros((4, 3071), np.uint8)}, r"\(n_images, 3072\), got \(4, 3071\)"),
        ({b"data": np.zeros(12288, np.uint8)}, r"\(n_images, 3072\), got \(12288,\)"),
        ({b"data": np.zeros((4, 3, 1024), np.uint8)}, "tuple of one or two"),
        ({b"labels": [1, 2, 3]}, "got 3 labels for 4 images"),
        ({b"labels": []}, "got 0 labels for 4 images"),
        ({b"labels": [0, 1, 10, 2]}, "from 0 to 9, got 10 for image 2"),
        ({b"labels": [0, -1, 3, 2]}, "from 0 to 9, got -1 for image 1"),
        ({b"labels": [0, 1 << 70, 3, 2]}, "from 0 to 9, got one beyond 64 bits"),
        ({b"labels": [0, 10**5000, 3, 2]}, "from 0 to 9, got one beyond 64 bits"),
        ({b"labels": [0, 1.0, 3, 2]}, "labels must be integers, got float"),
        ({b"labels": [0, True, None, 2]}, "labels must be integers, got NoneType, bool"),
        ({b"labels": (0, 1, 2, 3)}, "labels must be a list or an array, got tuple"),
        ({b"labels": np.array([0, 1, 2, 11])}, "from 0 to 9, got 11 for image 3"),
        ({b"labels": np.zeros((4, 1), int)}, "labels must be one-dimensional, got 2"),
        ({b"labels": np.zeros(4)}, "dtype is not one of integers"),
    ],
)
def test_wrong_batch(folder, batches, changes, message):
    write(folder / "data_batch_1", {**batches["data_batch_1"], **changes})
    check_refused(folder, "data_batch_1", message)


@pytest.mark.parametrize("key", [b"data", b"labels"])
def test_missing_entry(folder, batches, key):
    del batches["test_batch"][key]
    write(folder / "test_batch", batches["test_batch"])
    check_refused(folder, "test_batch", f"lacks the entry '{key.decode()}'")


@pytest.mark.parametrize("name", ["data_batch_5", "batches.meta"])
def test_something_else_than_a_dict(folder, name):
    write(folder / name, [1, 2])
    check_refused(folder, name, "must hold a dict, got list")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "lacks the entry 'label_names'"),
        ({b"label_names": [b"a"] * 9}, "a list of 10 names, got 9 of them"),
        ({b"label_names": b"abcdefghij"}, "a list of 10 names, got bytes"),
        ({b"label_names": [b"a"] * 9 + [1]}, "must be text, got int"),
        ({b"label_names": [b"\xff"] * 10}, "must be UTF-8"),
    ],
)
def test_wrong_class_names(folder, content, message):
    write(folder / "batches.meta", content)
    check_refused(folder, "batches.meta", message)


# ---- what is damaged or hostile -----------------------------------------------------------------


@pytest.mark.parametrize("n_bytes", [0, 1, 2, 100, 5000, -1])
def test_truncated_file(folder, n_bytes):
    path = folder / "data_batch_3"
    path.write_bytes(path.read_bytes()[:n_bytes])
    check_refused(folder, "data_batch_3", "not a file of CIFAR-10, or damaged")


@pytest.mark.parametrize(
    "content", [b"not a pickle", b"\x1f\x8b\x08\x00", b"\x80\x02.", b"\x80\xff."]
)
def test_something_else_than_a_pickle(folder, content):
    (folder / "test_batch").write_bytes(content)
    check_refused(folder, "test_batch", "not a file of CIFAR-10, or damaged")


@pytest.mark.parametrize("write_batch", [pickle_as_python_2, lambda b: pickle.dumps(b, protocol=2)])
def test_damaged_bytes_never_raise_anything_but_value_error(tmp_path, write_batch):
    batch = make_batch(2, 0)
    batch[b"data"] = np.full((2, 3072), 65, np.uint8)
    content = write_batch(batch)
    pixels = content.index(b"A" * 6000)
    positions = [*range(pixels + 2), *range(pixels + 6140, len(content))]
    rng = np.random.default_rng(0)
    path = tmp_path / "batch"
    n_refused = 0
    for position in positions:
        damaged = bytearray(content)
        damaged[position] ^= int(rng.integers(1, 256))
        try:
            images, labels = read_batch(bytes(damaged), path)
        except ValueError as error:
            assert str(error).startswith(f"{path}: ")  # noqa: PT017 - not every byte matters
            n_refused += 1
        else:
            assert images.shape == (len(labels), 3072)
            assert set(labels.tolist()) <= set(range(10))
    assert n_refused > len(positions) // 3


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function, *args):
        self.reduced = (function, args)

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_no_command_is_executed(folder, batches, tmp_path, protocol):
    marker = tmp_path / "executed"
    write(
        folder / "data_batch_2",
        {**batches["data_batch_2"], b"filenames": Call(os.system, f"echo > {marker}")},
        protocol,
    )
    check_refused(folder, "data_batch_2", rf"refused global '{os.name}\.system'")
    assert not marker.exists()
    pickle.loads((folder / "data_batch_2").read_bytes())
    assert marker.exists()  # so the file was dangerous indeed


@pytest.mark.parametrize(
    ("function", "args", "name"),
    [
        (eval, ("1",), "builtins.eval"),
        (getattr, (1, "real"), "builtins.getattr"),
        (np.frombuffer, (b"1",), "numpy"),
        (np.save, ("file", 1), "numpy.save"),
        (pickle.loads, (b"N.",), "pickle.loads"),
    ],
)
def test_other_globals_are_refused(folder, function, args, name):
    write(folder / "batches.meta", Call(function, *args), protocol=4)
    check_refused(folder, "batches.meta", rf"refused global '_?{re.escape(name)}")


RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
UINT8 = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"
OBJECT = b"cnumpy\ndtype\nU\x02O8K\x00K\x01\x87R"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        # an array that claims 2**62 bytes, and one that claims them 2**31 times
        (
            RECONSTRUCT + b"(K\x01\x8a\x08" + bytes(7) + b"\x40\x85" + UINT8 + b"\x89U\x01atb.",
            "needs",
        ),
        (
            RECONSTRUCT
            + b"(K\x01J\xff\xff\xff\x7f\x8a\x08"
            + bytes(7)
            + b"\x40\x86"
            + UINT8
            + b"\x89U\x01atb.",
            "needs",
        ),
        (RECONSTRUCT + b"(K\x01J\xff\xff\xff\xff\x85" + UINT8 + b"\x89U\x01atb.", "positive"),
        (RECONSTRUCT + b"(K\x01K\x00M\x00\x0c\x86" + UINT8 + b"\x89U\x00tb.", "positive"),
        (RECONSTRUCT + b"(K\x01]" + UINT8 + b"\x89U\x01atb.", "shape of an array must be a tuple"),
        (RECONSTRUCT + b"(K\x01K\x01\x85U\x02u1\x89U\x01atb.", "must have a dtype"),
        (
            RECONSTRUCT + b"(K\x01K\x01\x85" + UINT8 + b"\x89Ntb.",
            "content of an array must be bytes",
        ),
        (RECONSTRUCT + b"(K\x01K\x01\x85" + OBJECT + b"\x89]tb.", "one of integers"),
        (RECONSTRUCT + b"(K\x01K\x01\x85" + OBJECT + b"\x89U\x08aaaaaaaatb.", "one of integers"),
        (RECONSTRUCT + b"Nb.", "damaged"),
        (RECONSTRUCT + b"Ntb.", "damaged"),
        # a subclass, and arrays made past _reconstruct
        (b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\ndtype\nK\x00\x85U\x01b\x87R.", "subclass"),
        (b"cnumpy\nndarray\n\x8a\x05" + bytes(4) + b"\x40\x85R.", "refused a call of ndarray"),
        (b"cnumpy\nndarray\n)\x81.", "damaged"),
        # dtypes with odd arguments
        (b"cnumpy\ndtype\n]\x85R.", "damaged"),
        (RECONSTRUCT + b"(K\x01K\x01\x85cnumpy\ndtype\n]NN\x87R\x89U\x01atb.", "one of integers"),
        (
            RECONSTRUCT + b"(K\x01K\x01\x85" + UINT8 + b"(K\x03U\x01?tb\x89U\x01atb.",
            "one of integers",
        ),
        # globals cannot be changed, nor used in other ways
        (b"c_codecs\nencode\n}U\x08functionK\x01sb.", "refused to change the state"),
        (b"cnumpy\nndarray\nN}U\x08functionK\x01s\x86b.", "refused to change the state"),
        (b"c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00zip\x86R.", "other than latin1"),
        (b"c_codecs\nencode\nU\x01aX\x06\x00\x00\x00latin1\x86R.", "other than latin1"),
        (b"cnumpy.core.multiarray\nscalar\n" + UINT8 + b"K\x01\x86R.", "a scalar must have"),
        (b"cnumpy.core.multiarray\nscalar\nNU\x01a\x86R.", "a scalar must have"),
        (b"U\x01i\x85U\x01oQ.", "damaged"),
        # few bytes that claim much memory
        (b"Nr\xff\xff\xff\x7f.", "must hold a dict, got NoneType"),
        (b"Np4294967295\n.", "must hold a dict, got NoneType"),
        (b"B\xff\xff\xff\x7fa.", "damaged"),
        (b"\x8e" + b"\xff" * 7 + b"\x00a.", "damaged"),
        (b"\x96" + b"\xff" * 7 + b"\x00a.", "damaged"),
    ],
)
def test_abuse_of_what_is_allowed(folder, content, message):
    (folder / "data_batch_1").write_bytes(b"\x80\x02" + content)
    check_refused(folder, "data_batch_1", message)


@pytest.mark.parametrize("value", [RECONSTRUCT, b"cnumpy\nndarray\n", UINT8])
@pytest.mark.parametrize("key", [b"data", b"labels"])
def test_unfinished_objects_as_entries(folder, batches, key, value):
    n = len(batches["data_batch_1"][b"labels"])
    whole = pickle_as_python_2(batches["data_batch_1"])
    entry = b"U" + bytes([len(key)]) + key + value
    (folder / "data_batch_1").write_bytes(whole[: -len(b"u.")] + entry + b"u.")
    check_refused(folder, "data_batch_1", rf"must be|got 0 labels for {n}")


def test_globals_are_the_same_after_an_attack(folder, batches):
    before = dict(_pickles.ALLOWED_GLOBALS)
    (folder / "data_batch_1").write_bytes(b"\x80\x02c_codecs\nencode\n}U\x08functionNsb.")
    check_refused(folder, "data_batch_1", "refused")
    write(folder / "data_batch_1", batches["data_batch_1"])
    check_content(load_cifar10(folder), batches)
    assert before == _pickles.ALLOWED_GLOBALS


def test_text_that_is_encoded_over_and_over_again(folder):
    """Each result would be held: a file could make of its bytes the square of them."""
    text = b"X" + struct.pack("<I", 1000) + b"a" * 1000 + b"q\x01"
    again = b"h\x01X\x06\x00\x00\x00latin1\x86R"
    call = b"c_codecs\nencode\n"
    content = b"\x80\x02(" + text + (call + again) * 50 + b"t."
    (folder / "test_batch").write_bytes(content)
    check_refused(folder, "test_batch", "over and over again")


@pytest.mark.parametrize("content", [b"\x82\x01.", b"\x83\x01\x00.", b"\x84\x01\x00\x00\x00."])
def test_extensions_of_the_process_are_refused(folder, content):
    (folder / "test_batch").write_bytes(b"\x80\x02" + content)
    check_refused(folder, "test_batch", "refused opcode")


@pytest.mark.parametrize("content", [b"K\x00Q.", b"K\x07Q.", b"J\xff\xff\xff\xffQ.", b"P1\n."])
def test_references_of_the_file_are_refused(folder, content):
    (folder / "test_batch").write_bytes(b"\x80\x02" + content)
    check_refused(folder, "test_batch", "refused opcode")


def nested_tuples(depth):
    """A tuple of twice the same tuple of twice ...: its hash takes 2 ** depth steps."""
    return b"U\x01a\x85q\x01" + b"h\x01\x86q\x01" * depth


@pytest.mark.parametrize(
    "content",
    [
        b"}" + nested_tuples(60) + b"Ns.",
        b"}(" + nested_tuples(60) + b"Nu.",
        b"(" + nested_tuples(60) + b"Nd.",
        b"(" + nested_tuples(60) + b"\x91.",  # a frozenset
        b"\x8f(" + nested_tuples(60) + b"\x90.",  # a set
        b"}K\x01Ns.",
    ],
)
def test_keys_whose_hash_takes_forever(folder, content):
    (folder / "test_batch").write_bytes(b"\x80\x04" + content)
    check_refused(folder, "test_batch", "refused a key that is no string|refused opcode")


@pytest.mark.parametrize(
    "content",
    [
        b"]" * 20_000_000,
        b"(" * 20_000_000,
        b"K\x01\x85" + b"\x85" * 10_000_000,
        # the shape of an array: two integers of 8 MB
        RECONSTRUCT + b"(K\x01" + 2 * (b"\x8b\x00\x12\x7a\x00" + b"\x7f" * 8_000_000)
        + b"\x86" + UINT8 + b"\x89U\x01atb.",
    ],
    ids=["lists", "marks", "nested", "shape"],
)  # fmt: skip
def test_files_that_would_take_long_or_much(folder, content):
    (folder / "test_batch").write_bytes(b"\x80\x04" + content)
    tracemalloc.start()
    check_refused(folder, "test_batch", "too many opcodes|needs")
    assert tracemalloc.get_traced_memory()[1] < 4 * len(content) + 100e6
    tracemalloc.stop()


def test_more_images_than_fit_a_frame(folder, batches):
    """Protocol 4 has frames, whose lengths count the bytes that are set apart."""
    framed = pickle.dumps(batches["data_batch_1"], protocol=4)
    assert pickle.FRAME in framed
    long = pickle.dumps(make_batch(40, 7), protocol=4)
    (folder / "data_batch_1").write_bytes(long)
    images = load_cifar10(folder).X_train
    np.testing.assert_array_equal(images[:40], make_batch(40, 7)[b"data"])


plain_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**400), 10**400)
    | st.floats(allow_nan=False)
    | st.binary(max_size=300)
    | st.text(max_size=300)
    | st.binary(min_size=5000, max_size=5100),
    lambda values: (
        st.lists(values, max_size=6)
        | st.dictionaries(st.text() | st.binary(), values, max_size=6)
        | st.tuples(values, values)
    ),
    max_leaves=30,
)


@given(value=plain_values, protocol=st.integers(0, 5))
def test_unpickles_what_python_does(value, protocol):
    """The pass over the opcodes ends where each argument ends, in all protocols."""

    def plain(found):
        if isinstance(found, memoryview):
            return bytes(found)
        if isinstance(found, dict):
            return {plain(key): plain(item) for key, item in found.items()}
        if isinstance(found, (list, tuple)):
            return type(found)(map(plain, found))
        return found

    try:
        found = _pickles.unpickle(pickle.dumps(value, protocol=protocol))
    except pickle.UnpicklingError as error:
        # Empty bytes are written as a call of bytes in the first protocols.
        assert protocol < 3
        assert "builtin" in str(error)  # noqa: PT017
    else:
        assert plain(found) == value


@settings(max_examples=200)
@given(content=st.binary(max_size=200), start=st.sampled_from([b"", b"\x80\x02", b"\x80\x04"]))
def test_any_bytes_are_a_value_error_or_harmless(content, start):
    try:
        read_batch(start + content)
    except ValueError as error:
        assert str(error).startswith("file: ")  # noqa: PT017 - chance may write a batch


@settings(max_examples=200)
@given(data=st.data())
def test_files_that_are_changed_anywhere(data):
    content = bytearray(pickle_as_python_2(make_batch(2, 0)))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, 160) | st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        images, labels = read_batch(bytes(content))
    except ValueError as error:
        assert str(error).startswith("file: ")  # noqa: PT017 - not every byte matters
    else:
        assert images.shape == (len(labels), 3072)
        assert images.dtype == np.uint8
        assert set(labels.tolist()) <= set(range(10))


# ---- the binary version, and archives ------------------------------------------------------------


def as_binary(batch):
    labels = np.array(batch[b"labels"], np.uint8)[:, None]
    return np.hstack([labels, batch[b"data"]]).tobytes()


@pytest.fixture
def binary_folder(tmp_path, batches):
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for name, batch in batches.items():
        (folder / f"{name}.bin").write_bytes(as_binary(batch))
    (folder / "batches.meta.txt").write_text("\n".join(NAMES) + "\n\n")
    return folder


def test_binary_version(binary_folder, batches):
    check_content(load_cifar10(binary_folder), batches)
    check_content(load_cifar10(binary_folder.parent), batches)


@pytest.mark.parametrize("name", [f"{name}.bin" for name in SIZES] + ["batches.meta.txt"])
def test_missing_file_of_the_binary_version(binary_folder, name):
    (binary_folder / name).unlink()
    with pytest.raises(FileNotFoundError, match="lacks"):
        load_cifar10(binary_folder)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("data_batch_2.bin", b"", "rows of 3073 bytes, got 0 bytes"),
        ("data_batch_2.bin", bytes(3072), "rows of 3073 bytes, got 3072 bytes"),
        ("data_batch_2.bin", bytes(3074), "rows of 3073 bytes, got 3074 bytes"),
        ("test_batch.bin", b"\x0a" + bytes(3072), "from 0 to 9, got 10 for image 0"),
        ("batches.meta.txt", b"a\nb\n", "must hold 10 names, got 2 of them"),
        ("batches.meta.txt", b"a " * 9 + b"\xff", "must be UTF-8"),
    ],
)
def test_wrong_file_of_the_binary_version(binary_folder, name, content, message):
    (binary_folder / name).write_bytes(content)
    check_refused(binary_folder, name, message)


@pytest.mark.parametrize("mode", ["w:gz", "w"])
@pytest.mark.parametrize("version", ["python", "binary"])
def test_archives(folder, binary_folder, batches, tmp_path, mode, version):
    source = folder if version == "python" else binary_folder
    path = tmp_path / "cifar-10.tar.gz"
    with tarfile.open(path, mode) as archive:
        for file in sorted(source.iterdir(), reverse=True):  # the official order is none
            archive.add(file, f"{source.name}/{file.name}")
        archive.add(tmp_path, "readme.html", recursive=False)
    check_content(load_cifar10(path), batches)


def write_archive(path, members):
    """Write an archive of (TarInfo, content or None)."""
    with tarfile.open(path, "w:gz") as archive:
        for member, content in members:
            archive.addfile(member, None if content is None else io.BytesIO(content))


def member_of(name, content=b"", **attributes):
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for attribute, value in attributes.items():
        setattr(member, attribute, value)
    return member, content


def test_archive_that_lacks_files(tmp_path):
    path = tmp_path / "some.tar.gz"
    write_archive(path, [member_of("cifar-10-batches-py/test_batch", b"1")])
    with pytest.raises(
        FileNotFoundError, match=r"some\.tar\.gz lacks data_batch_1, .*batches\.meta"
    ):
        load_cifar10(path)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE])
def test_links_in_archives_are_not_followed(folder, tmp_path, kind):
    path = tmp_path / "some.tar.gz"
    links = [
        (member_of(file.name, type=kind, linkname=str(file))[0], None) for file in folder.iterdir()
    ]
    write_archive(path, links)
    with pytest.raises(FileNotFoundError, match="lacks data_batch_1"):
        load_cifar10(path)


def test_damaged_batch_in_an_archive(folder, batches, tmp_path):
    path = tmp_path / "some.tar.gz"
    (folder / "data_batch_3").write_bytes(b"\x80\x02N.")
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, folder.name)
    with pytest.raises(ValueError, match=r"some\.tar\.gz: data_batch_3: must hold a dict"):
        load_cifar10(path)


def test_archive_that_is_cut_off(folder, tmp_path):
    whole, path = tmp_path / "whole.tar.gz", tmp_path / "cut.tar.gz"
    with tarfile.open(whole, "w:gz") as archive:
        archive.add(folder, folder.name)
    content = whole.read_bytes()
    for n_bytes in range(0, len(content) - 20, len(content) // 12):
        path.write_bytes(content[:n_bytes])
        with pytest.raises((ValueError, FileNotFoundError), match=re.escape(str(path))):
            load_cifar10(path)


def test_archives_that_claim_too_much(tmp_path, monkeypatch):
    monkeypatch.setattr(_cifar, "MAX_ARCHIVED_BYTES", 1000)
    path = tmp_path / "some.tar.gz"
    write_archive(path, [member_of("a/test_batch", bytes(1001))])
    with pytest.raises(ValueError, match=r"damaged: test_batch has 1,001 bytes"):
        load_cifar10(path)
    monkeypatch.setattr(_cifar, "MAX_ARCHIVE_BYTES", 5000)
    write_archive(path, [member_of("other", bytes(3000)), member_of("more", bytes(3000))])
    with pytest.raises(ValueError, match=r"damaged: more than 5,000 bytes"):
        load_cifar10(path)


def test_archives_with_long_headers_or_many(tmp_path, monkeypatch):
    """Headers that go on are not read: their length is but a claim."""
    path = tmp_path / "some.tar"
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 3 << 30
    path.write_bytes(header.tobuf(tarfile.GNU_FORMAT) + bytes(512))
    with pytest.raises(ValueError, match=r"damaged: more than 1,073,741,824 bytes"):
        load_cifar10(path)
    monkeypatch.setattr(_cifar, "MAX_MEMBERS", 10)
    write_archive(path, [member_of(f"{i}") for i in range(11)])
    with pytest.raises(ValueError, match=r"damaged: more than 10 members"):
        load_cifar10(path)
    path.write_bytes(tarfile.TarInfo("a").tobuf() + b"no header".ljust(512))
    with pytest.raises(ValueError, match="damaged: bad checksum"):
        load_cifar10(path)


def test_checksum_of_an_archive(folder, tmp_path):
    path = tmp_path / "some.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, folder.name)
    content = bytearray(path.read_bytes())
    content[-8] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"damaged: CRC check failed"):
        load_cifar10(path)


def test_sparse_files_in_archives(tmp_path):
    """A sparse file claims zeros that are nowhere."""
    path = tmp_path / "some.tar"
    headers = {"GNU.sparse.map": "0,1", "GNU.sparse.size": str(1 << 40), "GNU.sparse.major": "0"}
    member, content = member_of("test_batch", b"a", pax_headers=headers)
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(member, io.BytesIO(content))
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(str(path))):
        load_cifar10(path)


@settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_archives_that_are_changed_anywhere(data, tmp_path):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in ("data_batch_1.bin", "test_batch.bin", "batches.meta.txt"):
            member, content = member_of(name, b"\x01" * 600)
            archive.addfile(member, io.BytesIO(content))
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, 512) | st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    path = tmp_path / "some.tar"
    path.write_bytes(bytes(content))
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(str(path))):
        load_cifar10(path)
