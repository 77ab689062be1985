"""`fastnn demo`, `knn`, `bench` and `info`."""

import io
import json
import os
import pickle
import subprocess
import sys
from html.parser import HTMLParser
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from threadpoolctl import threadpool_info

import fastnn
from fastnn import __main__, _demo, _files, _report, _tour, neighbors
from fastnn.__main__ import main
from fastnn._search import brute

N_TRAIN, N_TEST = 300, 40


def run_process(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "fastnn", *arguments], capture_output=True, **options
    )


def write_cifar10(folder, n_train=N_TRAIN, n_test=N_TEST):
    """Write images that are brighter in the higher classes, with noise."""
    rng = np.random.default_rng(0)
    folder.mkdir(exist_ok=True)
    for name, n in [(f"data_batch_{i}", n_train // 5) for i in range(1, 6)] + [
        ("test_batch", n_test)
    ]:
        labels = np.arange(n) % 10
        images = (20 * labels[:, None] + rng.integers(0, 60, (n, 3072))).astype(np.uint8)
        batch = {b"labels": labels.tolist(), b"data": images}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
    names = [b"class %d" % number for number in range(10)]
    (folder / "batches.meta").write_bytes(pickle.dumps({b"label_names": names}, protocol=2))


@pytest.fixture
def cifar10(tmp_path):
    write_cifar10(tmp_path)
    return tmp_path


@pytest.fixture
def one_turn(monkeypatch):
    """Each search is timed once: the demo's results do not depend on the times."""
    monkeypatch.setattr(_demo, "MAX_TURNS", 1)


@pytest.fixture
def report(one_turn):
    return _demo.run()


# ---- the command line ---------------------------------------------------------------------------


def test_version(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"fastnn {fastnn.__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["demo", "--n-jobs", "x"],
        ["info", "x"],
        ["bench", "--rows", "("],
        ["bench", "--turns", "0"],
        ["bench", "--turns", "-1"],
    ],
)
def test_arguments_that_make_no_sense(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("usage: fastnn")


def check_refused(arguments, capsys, message):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("fastnn: error: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_bad_path(tmp_path, capsys, options):
    path = str(tmp_path / "nowhere")
    check_refused(["demo", "--data", path, *options], capsys, f"{path} does not exist")


def test_damaged_data(cifar10, capsys):
    (cifar10 / "data_batch_4").write_bytes(b"\x80\x02")
    check_refused(["demo", "--data", str(cifar10)], capsys, "data_batch_4: ")


def test_too_few_images_to_split(tmp_path, capsys):
    write_cifar10(tmp_path, n_train=50)
    check_refused(["demo", "--data", str(tmp_path)], capsys, "cannot split 50 training images")


def test_n_jobs_of_zero(capsys):
    check_refused(["demo", "--n-jobs", "0"], capsys, "n_jobs == 0")


def test_interrupt(monkeypatch, capsys):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(_demo, "run", interrupt)
    assert main(["demo"]) == 130
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "fastnn: interrupted\n"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no EPIPE")
def test_reader_that_went_away():
    with subprocess.Popen(
        [sys.executable, "-m", "fastnn", "info"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 1


def test_the_command_line_alone_imports_nothing_heavy():
    code = (
        "import sys, fastnn.__main__ as m\n"
        "try: m.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([name for name in ('sklearn', 'scipy', 'tqdm') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout.splitlines()[-1] == b"[]"


# ---- info ---------------------------------------------------------------------------------------


def test_info_as_a_module():
    done = run_process("info", check=True)
    assert done.stderr == b""
    lines = dict(line.split(maxsplit=1) for line in done.stdout.decode().splitlines())
    assert lines["fastnn"] == fastnn.__version__
    assert lines["numpy"] == np.__version__
    assert lines["instruction"].endswith(f"(in use: {fastnn.get_isa()})")
    assert int(lines["threads"].split(":")[0]) >= 1


def test_info_is_aligned(capsys):
    assert main(["info"]) == 0
    lines = capsys.readouterr().out.splitlines()
    column = lines[0].index(fastnn.__version__)
    assert all(line[column - 2 : column] == "  " and line[column] != " " for line in lines)


def test_info_as_json(capsys, isa):
    assert main(["info", "--json"]) == 0
    info = json.loads(capsys.readouterr().out)
    assert info["isa"] == isa
    assert info["isas"] == list(fastnn.available_isas())
    assert info["packages"]["scikit-learn"] == metadata.version("scikit-learn")


def libraries_of_info(capsys):
    assert main(["info", "--json"]) == 0
    return json.loads(capsys.readouterr().out)["libraries"]


def test_info_lists_the_libraries_that_are_loaded(capsys):
    libraries = libraries_of_info(capsys)
    assert [
        (told["kind"], tuple(told["file"].split("/")), told["n_threads"]) for told in libraries
    ] == [
        (library["user_api"], Path(library["filepath"]).parts[-2:], library["num_threads"])
        for library in threadpool_info()
    ]


def test_info_without_threadpoolctl(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    assert libraries_of_info(capsys) == []


def test_info_where_searches_cannot_be_imported(monkeypatch, capsys):
    monkeypatch.delattr(fastnn, "neighbors", raising=False)
    monkeypatch.setitem(sys.modules, "fastnn.neighbors", None)
    assert len(libraries_of_info(capsys)) == len(threadpool_info())


def test_info_lists_optional_packages_where_installed_and_missing_required_ones(
    monkeypatch, capsys
):
    def version(name):
        if name in ("faiss-cpu", "numpy"):
            return "1.2.3"
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    main(["info"])
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    assert ["faiss-cpu", "1.2.3"] in lines
    assert ["tqdm", "not found"] in lines
    assert "torch" not in [name for name, _ in lines]


def test_info_of_a_serial_build():
    info = __main__._collect_info(None)
    assert "OMP_NUM_THREADS alone" in __main__._format_info({**info, "openmp": 0})


# ---- the demo: its choice -----------------------------------------------------------------------


def choose_naively(task, metric):
    """Return the best (n_correct, k, weights) of all searches and votes, one after the other."""
    X, y = task.learning
    distances = cdist(
        X[task.validation].astype(float),
        X[task.train].astype(float),
        {"l1": "cityblock", "l2": "euclidean"}[metric],
    )
    order = distances.argsort(axis=1, kind="stable")
    best = (-1, None, None)
    for k in _demo.NUMBERS_OF_NEIGHBORS:
        for weights in _demo.WEIGHTS:
            n_correct = 0
            for query, truth in enumerate(y[task.validation]):
                nearest = order[query, :k]
                d = distances[query, nearest]
                w = np.ones(k)
                if weights == "distance":
                    w = (d == 0.0).astype(float) if (d == 0.0).any() else 1.0 / d
                votes = np.bincount(y[task.train][nearest], weights=w, minlength=10)
                n_correct += votes.argmax() == truth
            if n_correct > best[0]:
                best = (n_correct, k, weights)
    return best


def test_the_choice_is_that_of_separate_searches(report):
    task = _demo.load_digits_task()
    for result in report["results"]:
        expected = choose_naively(task, result["metric"])
        assert (result["n_correct"], result["n_neighbors"], result["weights"]) == expected


def test_ties_go_to_the_smaller_k_and_to_uniform_weights(rng):
    X, y = rng.integers(0, 9, (60, 4)).astype(np.uint8), np.zeros(60, np.int64)
    images = _demo.Images(X, y)
    task = _demo.Task("same", images, images, np.arange(40), np.arange(40, 60))
    distances, indices = fastnn.kneighbors(X[40:], X[:40], 9)
    assert _demo.choose_vote(task, distances, indices, [3, 5, 9], 1) == (20, 3, "uniform")


def test_the_parts_of_the_digits_are_disjoint_and_stratified():
    task = _demo.load_digits_task()
    n = len(task.learning.y)
    assert sorted([*task.train, *task.validation]) == list(range(n))
    assert n + len(task.test.y) == 1797
    for labels in (task.learning.y[task.train], task.learning.y[task.validation], task.test.y):
        shares = np.bincount(labels, minlength=10) / len(labels)
        np.testing.assert_allclose(shares, 0.1, atol=0.01)


def test_the_test_set_is_used_once_and_only_at_the_end(monkeypatch, one_turn):
    task = _demo.load_digits_task()
    searches, timed = [], []
    find_neighbors, time_numpy = brute.find_neighbors, _demo.time_numpy

    def record_search(X, *args):
        searches.append(X.values)
        return find_neighbors(X, *args)

    def record_numpy(queries, *args):
        timed.append(queries)
        return time_numpy(queries, *args)

    monkeypatch.setattr(brute, "find_neighbors", record_search)
    monkeypatch.setattr(_demo, "time_numpy", record_numpy)
    report = _demo.run()

    *before, first, second = searches  # the last two are the test of 1-NN and k-NN
    np.testing.assert_array_equal(first, task.test.X)
    np.testing.assert_array_equal(second, task.test.X)
    validation = task.learning.X[task.validation]
    # For each metric a warm-up, the search, and 1-NN; k-NN once more.
    assert len(before) == 3 * len(_demo.METRICS) + 1
    for queries in before + timed:
        np.testing.assert_array_equal(queries, validation[: len(queries)])

    tested = [r for r in report["results"] if r["test_accuracy"] is not None]
    assert tested == [report["chosen"]]


def test_the_test_accuracy_is_that_of_the_chosen_model(report):
    task, chosen = _demo.load_digits_task(), report["chosen"]
    model = neighbors.KNeighborsClassifier(
        chosen["n_neighbors"], weights=chosen["weights"], metric=chosen["metric"]
    ).fit(task.learning.X, task.learning.y)
    expected = np.mean(model.predict(task.test.X) == task.test.y)
    assert chosen["test_accuracy"] == expected
    assert expected > 0.95


# ---- the demo: NumPy's side ---------------------------------------------------------------------


@pytest.mark.parametrize("metric", _demo.METRICS)
@pytest.mark.parametrize("n_features", [5, 3072])
def test_numpy_finds_the_same_distances(rng, metric, n_features):
    X = rng.integers(0, 256, (50, n_features), dtype=np.uint8)
    _, found = _demo.time_numpy(X[:20], X, 50, metric, 1)
    expected, _ = fastnn.kneighbors(X[:20], X, 50, metric)
    _demo.require_agreement(found, expected, metric, n_features)


@pytest.mark.parametrize("metric", _demo.METRICS)
def test_other_distances_are_noticed(rng, metric):
    X = rng.integers(0, 17, (50, 64), dtype=np.uint8)
    distances, _ = fastnn.kneighbors(X, X, 5, metric)
    wrong = distances.copy()
    wrong[3, 4] *= 2.0
    with pytest.raises(RuntimeError, match=f"different {metric} distances"):
        _demo.require_agreement(wrong, distances, metric, 64)


def test_work_that_takes_long_is_scaled_and_marked(monkeypatch, one_turn):
    monkeypatch.setattr(_demo, "MAX_NUMPY_SECONDS", 0.0)
    report = _demo.run()
    n_timed = report["results"][0]["numpy_queries"]
    assert n_timed < report["n_validation"]
    text = _demo.format_report(report)
    assert f"~ l1: NumPy timed on {n_timed} of 360 queries and scaled" in text
    l1 = next(line for line in text.splitlines() if line.startswith("l1"))
    assert l1.count("~") == 2


# ---- the demo: what it prints -------------------------------------------------------------------


def test_the_table(report):
    text = _demo.format_report(report)
    lines = text.splitlines()
    header = next(i for i, line in enumerate(lines) if line.startswith("metric"))
    rows = lines[header : header + 1 + len(_demo.METRICS)]
    assert len({len(row) for row in rows}) == 1
    assert [row.split()[0] for row in rows] == ["metric", *_demo.METRICS]
    chosen = report["chosen"]
    assert f"{chosen['metric']}, k = {chosen['n_neighbors']}, {chosen['weights']}" in lines[-1]
    assert f"{chosen['test_accuracy']:.2%} of the test images" in lines[-1]
    assert "~" not in text


def test_the_table_of_models(report):
    lines = _demo.format_report(report).splitlines()
    header = next(i for i, line in enumerate(lines) if line.startswith("model"))
    rows = lines[header : header + 1 + len(_tour.MODELS)]
    assert len({len(row) for row in rows}) == 1
    assert [row.split()[0] for row in rows[1:]] == [model.name for model in _tour.MODELS]
    for row, model in zip(rows[1:], report["models"], strict=True):
        assert f"{model['validation_accuracy']:.2%}" in row
        assert f"{model['test_accuracy']:.2%}" in row


def test_models_are_chosen_on_the_validation_images_and_trained_on_all(report):
    task = _demo.load_digits_task()
    X, y = task.learning
    best_neighbors = {name: report["chosen"][name] for name in _tour.MODELS[1].chosen}
    for model, found in zip(_tour.MODELS, report["models"], strict=True):
        candidates = model.make_candidates(task, 1, best_neighbors)
        accuracies = []
        for candidate in candidates:
            candidate.fit(X[task.train], y[task.train])
            predictions = candidate.predict(X[task.validation])
            accuracies.append(np.mean(predictions == y[task.validation]))
        assert found["validation_accuracy"] == max(accuracies)
        chosen = candidates[int(np.argmax(accuracies))]
        assert found["parameters"] == {name: getattr(chosen, name) for name in model.chosen}
        predictions = chosen.fit(X, y).predict(task.test.X)
        assert found["test_accuracy"] == np.mean(predictions == task.test.y)
        assert found["test_accuracy"] > 0.93
        assert min(found["fit_seconds"], found["predict_seconds"]) > 0
    assert report["chosen"]["test_accuracy"] == report["models"][1]["test_accuracy"]


# ---- the demo: its report -----------------------------------------------------------------------


class Pages(HTMLParser):
    def __init__(self):
        super().__init__()
        self.images, self.open = [], []

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            self.images.append(dict(attributes)["src"])
        elif tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize("data", ["digits", "cifar10"])
def test_report(data, cifar10, tmp_path, one_turn, capsys):
    pytest.importorskip("matplotlib")
    folder = tmp_path / "some" / "report"
    options = ["--data", str(cifar10)] if data == "cifar10" else []
    assert main(["demo", "--report", str(folder), *options]) == 0
    assert capsys.readouterr().out.endswith(f"The report is in {folder / 'index.html'}.\n")
    page = (folder / "index.html").read_text(encoding="utf-8")
    parser = Pages()
    parser.feed(page)
    assert parser.open == []
    names = [f"{name}.png" for name, *_ in _report.PICTURES]
    assert parser.images == names
    for name in names:
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    assert all(f">{model.name}<" in page for model in _tour.MODELS)


def test_report_without_matplotlib(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    check_refused(["demo", "--report", str(tmp_path)], capsys, 'install "fastnn-kernels[plot]"')


def test_report_in_the_place_of_a_file(capsys, tmp_path):
    pytest.importorskip("matplotlib")
    (tmp_path / "file").touch()
    check_refused(["demo", "--report", str(tmp_path / "file")], capsys, "file")


# ---- knn ----------------------------------------------------------------------------------------


@pytest.fixture
def arrays(tmp_path, rng):
    """Files of samples, labels and queries, and their contents."""
    contents = {
        "X": rng.integers(0, 256, (300, 17), dtype=np.uint8),
        "y": rng.integers(0, 4, 300),
        "Q": rng.integers(0, 256, (70, 17), dtype=np.uint8),
    }
    for name, values in contents.items():
        np.save(tmp_path / f"{name}.npy", values)
    return contents


def knn(folder, *options):
    paths = [str(folder / f"{name}.npy") for name in "XyQ"]
    return ["knn", *paths, "--out", str(folder / "out.npy"), *options]


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ([], {}),
        (["-k", "3", "--metric", "l1"], {"n_neighbors": 3, "metric": "l1"}),
        (["--weights", "distance", "--n-jobs", "1"], {"weights": "distance"}),
        (["--metric", "canberra"], {"metric": "canberra"}),
    ],
)
def test_knn(tmp_path, arrays, capsys, monkeypatch, options, parameters):
    monkeypatch.setattr(_files, "QUERIES_PER_STEP", 32)
    assert main(knn(tmp_path, *options)) == 0
    model = neighbors.KNeighborsClassifier(**({"metric": "l2"} | parameters))
    expected = model.fit(arrays["X"], arrays["y"]).predict(arrays["Q"])
    found = np.load(tmp_path / "out.npy")
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == expected.dtype
    captured = capsys.readouterr()
    assert captured.out.startswith("70 queries classified by 300 samples in ")
    assert captured.err == ""
    assert {path.name for path in tmp_path.iterdir()} == {"X.npy", "y.npy", "Q.npy", "out.npy"}


def test_knn_as_json_and_with_words_for_labels(tmp_path, arrays, capsys):
    words = np.array(["bird", "cat", "frog", "ship"])
    np.save(tmp_path / "y.npy", words[arrays["y"]])
    assert main(knn(tmp_path, "--json")) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["n_samples"], report["n_queries"], report["n_features"]) == (300, 70, 17)
    model = neighbors.KNeighborsClassifier().fit(arrays["X"], arrays["y"])
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), words[model.predict(arrays["Q"])])


def test_knn_maps_its_files(tmp_path, arrays, monkeypatch):
    seen = []

    def open_memmap(path, mode):
        seen.append((Path(path).name, mode))
        return real(path, mode=mode)

    real = _files.open_memmap
    monkeypatch.setattr(_files, "open_memmap", open_memmap)
    assert main(knn(tmp_path)) == 0
    assert seen == [("X.npy", "r"), ("y.npy", "r"), ("Q.npy", "r")]


def test_knn_replaces_a_file(tmp_path, arrays):
    (tmp_path / "out.npy").write_bytes(b"old")
    assert main(knn(tmp_path)) == 0
    assert len(np.load(tmp_path / "out.npy")) == 70


@pytest.mark.skipif(sys.platform == "win32", reason="links and modes are those of POSIX")
def test_knn_keeps_links_and_modes(tmp_path, arrays):
    target = tmp_path / "target.npy"
    target.touch()
    target.chmod(0o600)
    (tmp_path / "out.npy").symlink_to(target)
    assert main(knn(tmp_path)) == 0
    assert (tmp_path / "out.npy").is_symlink()
    assert len(np.load(target)) == 70
    assert target.stat().st_mode & 0o777 == 0o600


def test_knn_replaces_files_alone(tmp_path, arrays, capsys, monkeypatch):
    monkeypatch.setattr(_files, "_predict", None)  # known before the work
    outs = [tmp_path, "", "."]
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "fifo")
        outs += [tmp_path / "fifo", "/dev/null"]
    arguments = knn(tmp_path)
    for out in outs:
        arguments[arguments.index("--out") + 1] = str(out)
        check_refused(arguments, capsys, "cannot be replaced by the result")


def test_knn_leaves_the_old_file_where_it_fails(tmp_path, arrays, monkeypatch):
    (tmp_path / "out.npy").write_bytes(b"old")

    def fail(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(_files.np, "save", fail)
    assert main(knn(tmp_path)) == 130
    assert (tmp_path / "out.npy").read_bytes() == b"old"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".out")]


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("X", np.ones(3), "X.npy: must be 2-D and not empty, got shape (3,)"),
        ("X", np.ones((0, 17)), "X.npy: must be 2-D and not empty"),
        ("X", np.full((300, 17), np.nan), "X.npy contains NaN"),
        ("y", np.zeros((300, 2)), "y.npy: must be 1-D and not empty"),
        ("y", np.zeros(299), "y.npy: there must be one label for each sample, got 299"),
        ("y", np.linspace(0, 1, 300), "Unknown label type"),
        ("Q", np.ones((3, 16)), "Q.npy: must have 17 features as the samples, got 16"),
        ("Q", np.full((3, 17), np.inf), "Q.npy contains infinity"),
    ],
)
def test_knn_of_wrong_arrays(tmp_path, arrays, capsys, name, values, message):
    np.save(tmp_path / f"{name}.npy", values)
    check_refused(knn(tmp_path), capsys, message)
    assert not (tmp_path / "out.npy").exists()


def npy(header):
    """A file with this text for its header."""
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(800)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no array",
        b"\x93NUMPY\x01\x00\xff",
        b"PK\x03\x04",
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff",
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (100,"),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1" + "0" * 30 + ",), }"),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': 100, }"),
        npy("{'descr': 8, 'fortran_order': False, 'shape': (100,), }"),
        npy("  {\n 'descr'\n: ["),
        npy("(" * 300),
        npy("\x00"),
    ],
)
def test_knn_of_damaged_files(tmp_path, arrays, capsys, content):
    (tmp_path / "y.npy").write_bytes(content)
    check_refused(knn(tmp_path), capsys, "y.npy: not a file of NumPy's (.npy), or damaged")


def test_knn_of_archives_and_objects(tmp_path, arrays, capsys):
    with open(tmp_path / "y.npy", "wb") as file:
        np.savez(file, y=arrays["y"])
    check_refused(knn(tmp_path), capsys, "y.npy: not a file of NumPy's (.npy), or damaged")
    np.save(tmp_path / "y.npy", np.array([None] * 300), allow_pickle=True)
    check_refused(knn(tmp_path), capsys, "y.npy: not a file of NumPy's (.npy), or damaged")


def test_knn_of_missing_files(tmp_path, arrays, capsys):
    (tmp_path / "Q.npy").unlink()
    check_refused(knn(tmp_path), capsys, "Q.npy")
    np.save(tmp_path / "Q.npy", arrays["Q"])
    arguments = knn(tmp_path)
    arguments[arguments.index("--out") + 1] = str(tmp_path / "nowhere" / "out.npy")
    check_refused(arguments, capsys, "there is no folder")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-k", "0"], "n_neighbors"),
        (["-k", "301"], "n_neighbors = 301"),
        (["--metric", "wrong"], "metric"),
        (["--metric", "seuclidean"], "V"),
        (["--metric", "pyfunc"], "func"),
        (["--n-jobs", "0"], "n_jobs == 0"),
    ],
)
def test_knn_with_wrong_parameters(tmp_path, arrays, capsys, options, message):
    check_refused(knn(tmp_path, *options), capsys, message)


# ---- bench --------------------------------------------------------------------------------------


def test_bench_runs_the_script_with_this_package(tmp_path, monkeypatch, capfd):
    script = "import json, sys, fastnn; print(json.dumps([sys.argv[1:], fastnn.__file__])); exit(3)"
    (tmp_path / "ratios.py").write_text(script)
    monkeypatch.setattr(__main__, "_find_bench", lambda package: tmp_path)
    assert main(["bench", "--rows", "l2|vote", "--turns", "7", "--json"]) == 3
    options, package = json.loads(capfd.readouterr().out)
    assert options == ["--rows", "l2|vote", "--turns", "7", "--json"]
    assert package == fastnn.__file__


def test_bench_is_looked_for_in_the_package_and_beside_it(tmp_path, capsys, monkeypatch):
    package = tmp_path / "fastnn"
    for folder in (tmp_path / "bench", package / "_bench"):
        folder.mkdir(parents=True)
        (folder / "ratios.py").touch()
        assert __main__._find_bench(package) == folder
    monkeypatch.setattr(__main__, "__file__", str(tmp_path / "other" / "package" / "__main__.py"))
    check_refused(["bench"], capsys, "this installation lacks the benchmarks")


def test_large_ratios_and_long_times_are_short_to_read(report):
    report["results"][0].update(seconds=1.234, numpy_seconds=432.1, ratio=350.16)
    report["n_threads"] = 1
    text = _demo.format_report(report)
    assert "1.23 s" in text
    assert "350x" in text
    assert "1 thread," in text


def test_demo_on_cifar10_as_json(cifar10, capsys, one_turn):
    assert main(["demo", "--data", str(cifar10), "--json", "--n-jobs", "1"]) == 0
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert captured.err == ""
    assert (report["data"], report["n_features"], report["n_threads"]) == ("CIFAR-10", 3072, 1)
    assert (report["n_train"], report["n_validation"]) == (270, 30)
    assert report["n_test"] == N_TEST
    assert report["chosen"]["test_accuracy"] == 1.0


def test_demo_is_quiet_in_a_pipe():
    done = run_process("demo", check=True)
    assert done.stderr == b""
    assert b"\r" not in done.stdout.replace(b"\r\n", b"\n")
    assert done.stdout.startswith(b"handwritten digits: 1,077 training")


def test_a_terminal_gets_a_progress_bar(monkeypatch, one_turn):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    _demo.run()
    for step in ("load", "l1: fastnn", "l2: NumPy", "test"):
        assert step in terminal.getvalue()
