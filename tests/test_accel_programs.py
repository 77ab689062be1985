"""``python -m fastnn.accel``: an unmodified program runs as the interpreter runs it."""

import os
import py_compile
import re
import subprocess
import sys
import zipfile

import pytest

import children

SEARCH = """
import sys
import numpy as np
from sklearn.neighbors import NearestNeighbors
X = np.arange(20.0)[:, None]
NearestNeighbors(n_neighbors=2).fit(X).kneighbors(X)
NearestNeighbors(n_neighbors=2, algorithm="ball_tree").fit(X).kneighbors(X)
print(*sys.argv[1:])
sys.exit(3)
"""

# All that a program may ask about itself.
LOOK = """
import __main__, atexit, os, pickle, sys, threading

class Defined:
    "Of the program."

def look():
    print(sys.argv, sys.path[:1], __name__, __package__)
    print(type(__loader__).__name__, __spec__ and (__spec__.name, __spec__.origin))
    print(vars(__main__) is globals(), sys.modules["__main__"] is __main__)
    print(type(pickle.loads(pickle.dumps(Defined()))) is Defined, Defined.__module__)
    print(__doc__, sys.flags.safe_path, os.path.basename(sys.executable))

look()
# The interpreter takes some of these away at the end of a script.
print(sorted(name for name in globals() if name.startswith("__")))
print(globals().get("__file__"), globals().get("__cached__"), type(__builtins__).__name__)
atexit.register(look)
threading.Thread(target=lambda: (threading.main_thread().join(), look())).start()
"""


def run(*arguments, cwd, options=(), accelerated=True, path=""):
    module = ["-m", "fastnn.accel"] if accelerated else []
    path = os.pathsep.join(filter(None, [os.environ["PYTHONPATH"], str(path)]))
    return subprocess.run(
        [sys.executable, *options, *module, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": ""},
    )


def outcome(result):
    # Without the interpreter's own frames for -m.
    error = re.sub(r'  File "<frozen runpy>".*\n', "", result.stderr)
    return result.returncode, result.stdout, error


def assert_as_the_interpreter(*arguments, status=0, **options):
    """Run both ways, and compare status, output and errors."""
    plain = outcome(run(*arguments, accelerated=False, **options))
    assert plain[0] == status, plain
    assert outcome(run(*arguments, **options)) == plain


@pytest.fixture
def folder(tmp_path):
    """Programs of each kind, with a module beside them to import."""
    program = '"""A program."""\nimport helper\nprint(helper.WHERE)\n' + LOOK
    there, package = tmp_path / "there", tmp_path / "package"
    there.mkdir()
    package.mkdir()
    for path in (tmp_path, there):
        (path / "helper.py").write_text(f"WHERE = {path.name!r}\n")
        (path / "program.py").write_text(program)
    (there / "__main__.py").write_text(program)
    (package / "__init__.py").write_text("print('package')\n")
    (package / "other.py").write_text("print(__name__, __package__)\n")
    (package / "__main__.py").write_text("from . import other\n" + program)
    (package / "part.py").write_text("print(__name__, __package__)\n" + LOOK)
    with zipfile.ZipFile(tmp_path / "program.zip", "w") as archive:
        archive.writestr("__main__.py", program)
        archive.writestr("helper.py", "WHERE = 'zip'\n")
    py_compile.compile(tmp_path / "program.py", tmp_path / "compiled.pyc")
    (tmp_path / "link.py").symlink_to(there / "program.py")
    return tmp_path


@pytest.mark.parametrize(
    "arguments",
    [
        ("program.py",),
        ("there/program.py", "--report", "-m", "x", ""),
        ("there", "a"),
        ("program.zip", "-c"),
        ("compiled.pyc",),
        ("link.py", "--help"),
        ("-m", "program", "--report"),
        ("-m", "package", "-x"),
        ("-m", "package.part"),
        ("-c", LOOK, "-c", "a"),
    ],
    ids=lambda arguments: " ".join(arguments)[:20].strip(),
)
def test_what_a_program_sees(folder, arguments):
    assert_as_the_interpreter(*arguments, cwd=folder)


@pytest.mark.parametrize("arguments", [("program.py",), ("-c", LOOK)])
def test_a_safe_path_stays_safe(folder, arguments):
    assert_as_the_interpreter(*arguments, cwd=folder, options=["-P"], path=folder)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("import sys; sys.exit()", 0),
        ("import sys; sys.exit(7)", 7),
        ("import sys; sys.exit('farewell')", 1),
        ("import os; os._exit(5)", 5),
        ("def f():\n    raise ValueError('no')\n\n\nf()", 1),
        ("try:\n    1 / 0\nexcept Exception as error:\n    raise KeyError(1) from error", 1),
        ("import nothing_of_this_name", 1),
        ("x = (", 1),
        ("import sys\nsys.excepthook = lambda *a: print(len(a), a[0])\nraise OSError", 1),
        ("import threading\nthreading.Thread(target=lambda: print(1)).start()", 0),
    ],
)
def test_how_a_program_ends(tmp_path, code, status):
    (tmp_path / "program.py").write_text(code)
    assert_as_the_interpreter("program.py", cwd=tmp_path, status=status)


@pytest.mark.parametrize("option", ["-m", "-c"])
def test_how_modules_and_code_end(tmp_path, option):
    code = "def f():\n    raise ValueError('no')\n\n\nf()"
    (tmp_path / "program.py").write_text(code)
    program = "program" if option == "-m" else code
    assert_as_the_interpreter(option, program, cwd=tmp_path, status=1)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent the POSIX way")
def test_a_program_that_is_interrupted(tmp_path):
    code = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nwhile True:\n    pass"
    (tmp_path / "program.py").write_text(children.HEAR_CTRL_C + code)
    assert_as_the_interpreter("program.py", cwd=tmp_path, status=-2)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_child_processes_find_what_the_program_defines(tmp_path, method):
    if method == "fork" and not hasattr(os, "fork"):
        pytest.skip("this platform has no fork")
    (tmp_path / "program.py").write_text(
        "import multiprocessing\n"
        "def double(x):\n"
        "    return 2 * x\n"
        "if __name__ == '__main__':\n"
        f"    with multiprocessing.get_context({method!r}).Pool(1) as pool:\n"
        "        print(pool.map(double, [1, 2]))\n"
    )
    arguments = ["program.py"] if method == "fork" else ["-m", "program"]
    result = run(*arguments, cwd=tmp_path)
    assert result.stdout == "[2, 4]\n", result.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (
            ["nosuch.py"],
            2,
            r"can't open file '.*nosuch\.py': \[Errno 2\] No such file or directory",
        ),
        (["empty"], 1, r"can't find '__main__' module in '.*empty'"),
        (["-m", "nosuch"], 1, "No module named nosuch"),
        (["-m", "empty.nosuch"], 1, r"No module named empty\.nosuch"),
        (
            ["-m", "empty"],
            1,
            r"No module named empty\.__main__; 'empty' is a package and cannot be .* executed",
        ),
        (["-m", "math"], 1, "No code object available for math"),
        (
            ["-m", "math.x"],
            1,
            r"Error while finding module specification for 'math\.x' \(ModuleNotFoundError: .*\)",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_no_program(tmp_path, arguments, status, message):
    """One line, which is the interpreter's."""
    (tmp_path / "empty").mkdir()
    result = run(*arguments, cwd=tmp_path)
    assert result.returncode == status
    assert re.fullmatch(rf"python -m fastnn\.accel: {message}\n", result.stderr), result.stderr
    plain = run(*arguments, cwd=tmp_path, accelerated=False)
    assert plain.returncode == status
    assert re.search(message, plain.stderr), plain.stderr


def test_usage(tmp_path):
    for arguments in ([], ["--report", "-m"]):
        result = run(*arguments, cwd=tmp_path)
        assert result.returncode == 2
        assert "PROGRAM is missing" in result.stderr
    result = run("--help", cwd=tmp_path)
    assert result.returncode == 0
    assert "PROGRAM | -m MODULE | -c CODE" in result.stdout


def test_report(tmp_path):
    (tmp_path / "program.py").write_text(SEARCH)
    for arguments in (["program.py"], ["-m", "program"], ["-c", SEARCH]):
        result = run("--report", *arguments, "--report", "-x", cwd=tmp_path)
        assert (result.returncode, result.stdout) == (3, "--report -x\n")
        lines = sorted(line.split("  ")[-1].strip() for line in result.stderr.splitlines())
        assert lines == ["accelerated", "scikit-learn: algorithm 'ball_tree'", "seconds"]
    assert run("program.py", cwd=tmp_path).stderr == ""
