"""`fastnn demo` and `fastnn info`."""

import io
import json
import pickle
import subprocess
import sys
from importlib import metadata

import numpy as np
import pytest
from scipy.spatial.distance import cdist

import fastnn
from fastnn import __main__, _demo, _drop_in, neighbors
from fastnn.__main__ import main

N_TRAIN, N_TEST = 300, 40


def run_process(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "fastnn", *arguments], capture_output=True, timeout=120, **options
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


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["demo", "--n-jobs", "x"], ["info", "x"]])
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
        assert process.wait(timeout=60) == 1


def test_the_command_line_alone_imports_nothing_heavy():
    code = (
        "import sys, fastnn.__main__ as m\n"
        "try: m.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([name for name in ('sklearn', 'scipy', 'tqdm') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=True)
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
    assert "none (serial build)" in __main__._format_info({**info, "openmp": 0})


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
    find_neighbors, time_numpy = neighbors.find_neighbors, _demo.time_numpy

    def record_search(X, *args):
        searches.append(X)
        return find_neighbors(X, *args)

    def record_numpy(queries, *args):
        timed.append(queries)
        return time_numpy(queries, *args)

    monkeypatch.setattr(neighbors, "find_neighbors", record_search)
    monkeypatch.setattr(_drop_in, "find_neighbors", record_search)
    monkeypatch.setattr(_demo, "time_numpy", record_numpy)
    report = _demo.run()

    *before, last = searches
    np.testing.assert_array_equal(last, task.test.X)
    validation = task.learning.X[task.validation]
    assert len(before) == 2 * len(_demo.METRICS)  # a warm-up and the search
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
    assert sum(" - " in row for row in rows) == len(_demo.METRICS) - 1
    chosen = report["chosen"]
    assert f"{chosen['metric']}, k = {chosen['n_neighbors']}, {chosen['weights']}" in lines[-1]
    assert f"{chosen['test_accuracy']:.2%} of the test images" in lines[-1]
    assert "~" not in text


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
