"""The thread policy, and its company: forks, threads, interrupts, limits from outside."""

import os
import signal
import subprocess
import sys
import threading
import time

import joblib
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import children
import fastnn
from fastnn._core import _threads
from fastnn._search.searcher import Searcher

needs_openmp = pytest.mark.skipif(
    not _threads.openmp_version(), reason="built without OpenMP, which tells the limits of others"
)
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")


def use_every_kernel():
    """Run every kernel in parallel where there are threads; return all results."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 9, 3000)
    return [
        *use_searches(rng),
        *use_votes(rng, labels),
        *use_losses(rng, labels),
        *use_training(rng, labels),
        *use_circuits(rng),
    ]


def use_searches(rng):
    results = []
    for dtype in (np.float32, np.float64, np.uint8):
        X, Y = ((50 * rng.random((n, 60))).astype(dtype) for n in (200, 3000))
        few = Y[:, :3].copy()
        for metric in ("l1", "l2", "sqeuclidean", "cosine"):
            results += [fastnn.kneighbors(X, Y, 3, metric, n_jobs=2)[1]]
            results += [fastnn.kneighbors(X[:1], np.tile(Y, (5, 1)), 3, metric, n_jobs=2)[1]]
            results += [fastnn.pairwise_distances(X, Y, metric, n_jobs=2)]
            results += fastnn.kneighbors(Y, Y, 3, metric, algorithm="bounded", n_jobs=2)
            results += fastnn.kneighbors(few, few, 3, metric, algorithm="kd_tree", n_jobs=2)
            results += [fastnn.pairwise_distances(few[:1000], metric=metric, n_jobs=2)]
        results += [fastnn.pairwise_distances(X, Y, "chebyshev", n_jobs=2)]
        for algorithm, rows in [("brute", Y), ("bounded", Y), ("kd_tree", few)]:
            radius = np.median(fastnn.pairwise_distances(rows[:40])) / 2
            model = fastnn.neighbors.NearestNeighbors(
                radius=radius, algorithm=algorithm, n_jobs=2
            ).fit(rows)
            for _ in range(3):  # panels become resident
                graph = model.radius_neighbors_graph(mode="distance")
            results += [graph.indptr, graph.indices, graph.data]
    return results


def use_votes(rng, labels):
    X = np.tile(rng.random((3000, 20)), (4, 1))
    model = fastnn.neighbors.KNeighborsClassifier(30, n_jobs=2).fit(X[:3000], labels)
    search = fastnn.model_selection.KNeighborsClassifierCV(range(1, 9), cv="loo", n_jobs=2)
    scores = search.fit(X[:3000], labels).cv_results_["mean_test_score"]
    return [model.predict_proba(X), model.predict(X), scores]


def use_losses(rng, labels):
    W, points = rng.standard_normal((9, 60)), rng.standard_normal((200, 2))
    rows = np.tile(rng.random((3000, 60)), (4, 1))
    results = [fastnn.losses.relu(rng.standard_normal(1_000_000))]
    for loss in ("svm", "softmax"):
        scores = rng.standard_normal((50_000, 9))
        results += [getattr(fastnn.losses, f"{loss}_loss")(scores, labels[:1].repeat(50_000))[1]]
        for dtype in (np.float32, np.float64):
            X, y = rows.astype(dtype), np.tile(labels, 4)
            results += [fastnn.losses.linear_loss(W, X, y, loss, n_jobs=2)[1]]
            results += [fastnn.losses.losses_on_plane(W, [W, -W], points, X, y, loss, n_jobs=2)]
    return results


def use_training(rng, labels):
    results = []
    for dtype in (np.float32, np.float64, np.uint8):
        X = (50 * rng.random((3000, 60))).astype(dtype)
        for model in (
            fastnn.linear_model.SVMClassifier(max_iter=2, tol=None, random_state=0, n_jobs=2),
            fastnn.neural_network.MLPClassifier(
                (40,), dropout=0.1, max_iter=2, tol=None, random_state=0, n_jobs=2
            ),
        ):
            model.fit(X, labels)
            results += [model.predict_proba(X) if hasattr(model, "coefs_") else model.coef_]
            results += [np.array(model.loss_curve_)]
    return results


def use_circuits(rng):
    x = f = fastnn.circuit.Unit(0.0)
    for _ in range(20):
        f = (f + x).tanh()
    circuit = fastnn.circuit.Circuit(f, n_jobs=2)
    return [circuit.forward(rng.random((50_000, 1))), circuit.backward()]


def all_equal(results, others):
    return all(np.array_equal(a, b) for a, b in zip(results, others, strict=True))


@needs_fork
def test_os_fork_after_use():
    children.run("""
import os, sys
from test_threads import all_equal, use_every_kernel
expected = use_every_kernel()
pid = os.fork()
if pid == 0:
    os._exit(0 if all_equal(use_every_kernel(), expected) else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
""")


@needs_fork
def test_fork_while_another_thread_prepares_an_index():
    """Whoever holds the lock is missing in the child."""
    children.run("""
import os, sys, threading
import numpy as np
import fastnn
from fastnn._core.search import _index
X = np.random.default_rng(0).random((3000, 20))
held = threading.Event()

def hold():
    with _index.index_lock:
        held.set()
        threading.Event().wait()

threading.Thread(target=hold, daemon=True).start()
held.wait()
pid = os.fork()
if pid == 0:
    os._exit(0 if (fastnn.kneighbors(X, X, 1)[1].ravel() == np.arange(3000)).all() else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
""")


@needs_fork
def test_fork_with_what_was_made_for_threads():
    """Whatever remembers a number of threads works in a child, which has but one."""
    children.run("""
import os, sys
import numpy as np
from fastnn._core import _jobs
from fastnn._core.training._linear import LinearModel
rng = np.random.default_rng(0)
model = LinearModel(rng.random((5000, 500)), 20, rng.integers(0, 20, 5000), n_threads=2)
expected = model.loss_and_gradient()
assert _jobs.count_helpers() == 1
pid = os.fork()
if pid == 0:
    found = model.loss_and_gradient()
    equal = found[0] == expected[0] and np.array_equal(found[1], expected[1])
    os._exit(0 if equal and _jobs.count_helpers() == 0 else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
""")


def child_reports(queue, expected):
    queue.put((all_equal(use_every_kernel(), expected), _threads.describe_threads()))


@needs_fork
def test_multiprocessing_fork_after_use():
    out = children.run("""
import multiprocessing
from test_threads import child_reports, use_every_kernel
context = multiprocessing.get_context("fork")
queue = context.Queue()
child = context.Process(target=child_reports, args=(queue, use_every_kernel()))
child.start()
equal, (n_threads, reason) = queue.get()
child.join()
print(child.exitcode, equal, n_threads, reason)
""")
    exit_code, equal, n_threads, reason = out.strip().split(" ", maxsplit=3)
    assert (exit_code, equal, n_threads) == ("0", "True", "1")
    assert "fork" in reason


def test_concurrent_calls_from_many_threads():
    expected = use_every_kernel()
    outcomes = []

    def work():
        outcomes.append(all_equal(use_every_kernel(), expected))

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == [True] * 5


def test_other_python_threads_run_meanwhile(rng):
    """The kernels release the GIL."""
    X, Y = rng.standard_normal((1500, 300)), rng.standard_normal((20_000, 300))
    ticks = []
    search = threading.Thread(target=fastnn.kneighbors, args=(X, Y), kwargs={"n_jobs": 1})
    search.start()
    while search.is_alive():
        ticks.append(None)
        time.sleep(0.001)
    assert len(ticks) > 5


@needs_openmp
def test_limits_from_outside():
    cores = _threads.available_cores()
    assert _threads.effective_n_threads(None) <= cores
    with threadpool_limits(1, user_api="openmp"):
        assert cores == 1 or "limited to 1" in _threads.describe_threads()[1]
        for n_jobs in (None, -1, -2, 1, 2, 100) if cores > 1 else ():
            assert _threads.effective_n_threads(n_jobs) == 1
    code = (
        "from fastnn._core import _threads as t\n"
        "print(*(t.effective_n_threads(n) for n in (None, -1, -1000, 2, 100)))\n"
        "print(*t.describe_threads())"
    )
    for value in ("1", "3"):
        result = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "OMP_NUM_THREADS": value},
            capture_output=True,
            text=True,
            check=True,
        )
        limit = int(value)
        expected = [limit, min(cores, limit), 1, min(2, limit), limit]
        numbers, description = result.stdout.splitlines()
        assert numbers.split() == [str(n) for n in expected]
        assert description == f"{value} OMP_NUM_THREADS={value}"


@needs_openmp
def test_workers_of_joblib_share_the_cores():
    """loky leaves each of two workers half of the cores."""
    cores = _threads.available_cores()
    calls = [joblib.delayed(_threads.effective_n_threads)(n_jobs) for n_jobs in (None, -1, 100)]
    found = joblib.Parallel(n_jobs=2, backend="loky")(calls)
    assert found == [max(1, cores // 2)] * 3


@needs_openmp
def test_n_jobs_counts_as_in_scikit_learn():
    cores = _threads.available_cores()
    assert _threads.effective_n_threads(3) == min(3, 16 * cores)
    assert _threads.effective_n_threads(-1) == cores
    assert _threads.effective_n_threads(-1000) == 1
    assert _threads.effective_n_threads(10**9) == 16 * cores


def test_helpers_are_shared():
    """Callers and their jobs start no more of them than the largest number of threads needs."""
    out = children.run("""
import threading
import numpy as np
import fastnn
from fastnn._core import _jobs
X = np.random.default_rng(0).random((20_000, 50))
print(_jobs.count_helpers())
calls = [threading.Thread(target=fastnn.kneighbors, args=(X[:2000], X), kwargs={"n_jobs": 3})
         for _ in range(4)]
for call in calls:
    call.start()
for call in calls:
    call.join()
print(_jobs.count_helpers())
""")
    assert out.split() == ["0", "2"]


class Enough(Exception):
    pass


def test_what_a_progress_bar_raises_ends_the_call(rng):
    X = rng.random((30_000, 100), dtype=np.float32)
    told = []

    def advance(share):
        told.append(share)
        raise Enough

    with pytest.raises(Enough):
        Searcher(X, "l2", "brute").kneighbors(X, 5, 2, advance)
    assert len(told) == 1
    assert 0.0 < told[0] < 1.0
    np.testing.assert_array_equal(fastnn.kneighbors(X[:9], X, 1)[1].ravel(), np.arange(9))


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers on this platform")
def test_a_signal_handler_may_search():
    """Its call comes in the middle of another, on the same thread."""
    children.run("""
import signal
import numpy as np
import fastnn
X = np.random.default_rng(0).random((30_000, 100), dtype=np.float32)
model = fastnn.neighbors.NearestNeighbors(n_neighbors=3).fit(X)
found = []

def search(*_):
    found.append(model.kneighbors(X[:100], return_distance=False))
    signal.setitimer(signal.ITIMER_REAL, 0.02 if len(found) < 10 else 0)

signal.signal(signal.SIGALRM, search)
signal.setitimer(signal.ITIMER_REAL, 0.02)
while len(found) < 10:
    expected = model.kneighbors(X[:5000], return_distance=False)
assert all(np.array_equal(one, expected[:100]) for one in found)
""")


def test_more_threads_than_rows():
    X = np.ones((1, 3))
    assert fastnn.kneighbors(X, X, 1, n_jobs=500)[1] == 0
    assert fastnn.pairwise_distances(X, n_jobs=500) == 0.0


def test_loading_leaves_the_environment_alone():
    code = "import os; before = dict(os.environ); import fastnn; assert dict(os.environ) == before"
    subprocess.run([sys.executable, "-c", code], check=True)


# ---- the state of threads ------------------------------------------------------------------------

# ldmxcsr [rdi]; ret and stmxcsr [rdi]; ret, as functions of Python.
CONTROL_WORD = """
import ctypes, mmap

page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(bytes([0x0F, 0xAE, 0x17, 0xC3, 0x0F, 0xAE, 0x1F, 0xC3]))
place = ctypes.addressof(ctypes.c_char.from_buffer(page))
load, store = (ctypes.CFUNCTYPE(None, ctypes.c_void_p)(place + i) for i in (0, 4))
word = ctypes.c_uint32()

def control_word():
    store(ctypes.addressof(word))
    return word.value & ~0x3F

def set_control_word(value):
    word.value = value
    load(ctypes.addressof(word))
"""
FLUSH_TO_ZERO, ROUND_UP = 0x1F80 | 0x8040, 0x1F80 | 0x4000


@pytest.mark.skipif(
    sys.platform != "linux" or os.uname().machine != "x86_64", reason="machine code of x86-64"
)
@pytest.mark.parametrize("mode", [FLUSH_TO_ZERO, ROUND_UP])
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_arithmetic_is_ieee_whatever_the_modes(mode, n_jobs):
    """For instance after torch.set_flush_denormal(True); threads inherit it from their maker."""
    children.run(f"""
import numpy as np
import fastnn
from fastnn.metrics import pairwise_distances
from fastnn.neighbors import NearestNeighbors
{CONTROL_WORD}

rng = np.random.default_rng(0)
tiny = (rng.standard_normal((3000, 40)) * 1e-40).astype(np.float32)
few = (rng.standard_normal((3000, 3)) * 1e-40).astype(np.float32)
data = [(rows, rows * np.float32(3.0), rows[:300].astype(np.float64)) for rows in (tiny, few)]

def search():
    found = []
    for rows, queries, wide in data:
        for algorithm in ("brute", "kd_tree", "bounded", "auto"):
            for metric in ("l1", "l2", "cosine"):
                for n in (1, 6, 700):
                    found += fastnn.kneighbors(
                        queries[:n], rows, 4, metric, algorithm=algorithm, n_jobs={n_jobs}
                    )
        model = NearestNeighbors().fit(rows)
        found += [*model.kneighbors(wide[:100]), *fastnn.kneighbors(wide[:100], rows, 4)]
        found.append(pairwise_distances(wide, metric="l1"))
    return found

before = control_word()
set_control_word({mode})
found = search()
assert control_word() == {mode}, hex(control_word())
set_control_word(before)
for ours, theirs in zip(search(), found, strict=True):
    np.testing.assert_array_equal(ours, theirs)
""")


@needs_openmp
@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinity on this platform")
def test_calls_leave_the_affinity_as_it_was():
    before = os.sched_getaffinity(0)
    use_every_kernel()
    assert os.sched_getaffinity(0) == before
