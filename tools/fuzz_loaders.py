"""Give the loaders files that libFuzzer makes up, by way of atheris.

    pip install atheris
    python tools/fuzz_loaders.py batch|names|archive|idx [libFuzzer's arguments]

Whatever a file holds, loading it succeeds or raises a ValueError (FileNotFoundError, where an
archive lacks files), within seconds and in little memory. What does not is left in a file of its
own in the current folder, and ends the program. `-max_total_time=600` ends it after ten minutes,
with status 0.
"""

import contextlib
import io
import sys
import tarfile
import tempfile
from pathlib import Path

import atheris
import numpy as np

# Python's own unpickler reads the batches. What has been imported before is not instrumented.
sys.modules.pop("pickle", None)
with atheris.instrument_imports(include=["fastnn", "pickle"]):
    import pickle

    from fastnn.datasets import _cifar, _mnist

LIMITS = ["-timeout=5", "-rss_limit_mb=2048", "-max_len=100000"]


def read_archive(content):
    with tempfile.NamedTemporaryFile(suffix=".tar") as file:
        file.write(content)
        file.flush()
        _cifar.load_cifar10(file.name)


READERS = {
    "batch": lambda content: _cifar._read_batch(content, "file", _cifar.CIFAR10),
    "names": lambda content: _cifar._class_names(content, "file", _cifar.CIFAR100),
    "archive": read_archive,
    "idx": lambda content: _mnist._read_array(io.BytesIO(content), [(8, 3), (12, 2)], len(content)),
}


def archive_of(files):
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return archive.getvalue()


def seeds(kind):
    """Yield files as they should be."""
    if kind == "idx":
        yield bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6])
        return
    images = np.arange(2 * 3072).astype(np.uint8).reshape(2, 3072)
    batch = {b"data": images, b"labels": [1, 9], b"batch_label": b"one", b"filenames": [b"a", b"b"]}
    names = {b"label_names": [b"name"] * 10, b"num_vis": 3072}
    for protocol in range(5):  # later ones have arrays outside of the opcodes
        if kind == "batch":
            yield pickle.dumps(batch, protocol)
        elif kind == "names":
            yield pickle.dumps(names, protocol)
        else:
            yield archive_of(
                {f"data_batch_{i}": pickle.dumps(batch, protocol) for i in range(1, 6)}
                | {"test_batch": pickle.dumps(batch, protocol)}
                | {"batches.meta": pickle.dumps(names, protocol)}
            )


def main(kind, *arguments):
    def load(content):
        with contextlib.suppress(ValueError, FileNotFoundError):
            READERS[kind](content)

    with tempfile.TemporaryDirectory() as corpus:
        for i, content in enumerate(seeds(kind)):
            Path(corpus, str(i)).write_bytes(content)
        atheris.Setup([sys.argv[0], *LIMITS, *arguments, corpus], load)
        atheris.Fuzz()


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in READERS:
        sys.exit(__doc__)
    main(*sys.argv[1:])
