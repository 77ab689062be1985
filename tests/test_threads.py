"""The thread policy, and its company: forks, threads, interrupts, limits from outside."""

import os
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

needs_openmp = pytest.mark.skipif(
    not _threads.openmp_version(), reason="built without OpenMP: there are no threads to count"
)
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")


def use_every_kernel():
    """Run every kernel in parallel where there are threads; return all results."""
    rng = np.random.default_rng(0)
    results = []
    for dtype in (np.float32, np.float64, np.uint8):
        X, Y = ((50 * rng.random((n, 60))).astype(dtype) for n in (200, 3000))
        for metric in ("l1", "l2", "sqeuclidean"):
            results += [fastnn.kneighbors(X, Y, 3, metric, n_jobs=2)[1]]
            results += [fastnn.kneighbors(X[:1], np.tile(Y, (5, 1)), 3, metric, n_jobs=2)[1]]
            results += [fastnn.pairwise_distances(X, Y, metric, n_jobs=2)]
    labels = rng.integers(0, 9, 3000)
    model = fastnn.neighbors.KNeighborsClassifier(30, n_jobs=2).fit(Y, labels)
    results += [model.predict_proba(np.tile(X, (20, 1)))]
    for loss in ("svm", "softmax"):
        scores = rng.standard_normal((5000, 9))
        results += [getattr(fastnn.losses, f"{loss}_loss")(scores, labels[:1].repeat(5000))[1]]
        for rows in (Y, Y.astype(np.float32)):
            W = rng.standard_normal((9, 60))
            results += [
                fastnn.losses.linear_loss(W, np.tile(rows, (4, 1)), np.tile(labels, 4), loss)[1]
            ]
    results += [fastnn.losses.relu(rng.standard_normal(100_000))]
    return results


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
from fastnn._core import _index
X = np.random.default_rng(0).random((3000, 20))
held = threading.Event()

def hold():
    with _index.later:
        held.set()
        threading.Event().wait()

threading.Thread(target=hold, daemon=True).start()
held.wait()
pid = os.fork()
if pid == 0:
    os._exit(0 if (fastnn.kneighbors(X, X, 1)[1].ravel() == np.arange(3000)).all() else 1)
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
    assert "fork" in reason or "without OpenMP" in reason


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


def test_more_threads_than_rows():
    X = np.ones((1, 3))
    assert fastnn.kneighbors(X, X, 1, n_jobs=500)[1] == 0
    assert fastnn.pairwise_distances(X, n_jobs=500) == 0.0


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent the POSIX way")
def test_interrupt_takes_effect_within_a_second():
    out, error = children.interrupt("""
import numpy as np, fastnn
X = np.random.default_rng(0).random((100_000, 256), dtype=np.float32)
fastnn.kneighbors(X[:50], X[:50], 3)
tell_when_in_a_kernel()
fastnn.kneighbors(X, X, 10)
print("finished", flush=True)
""")
    assert "KeyboardInterrupt" in error
    assert "finished" not in out


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
