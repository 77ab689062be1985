"""Runs a program in this process as the interpreter would: a file, a folder or zip, -m or -c.

What a program may look at is as it would be without us: ``sys.argv``, ``sys.path``, the module
``__main__`` (after the end, too, for pickles, threads and atexit), the traceback of what it raises.
`runpy` lends a module for the time of a call only, hence our own.
"""

import importlib.util
import linecache
import os
import sys
import types
from importlib.machinery import BuiltinImporter, PathFinder, SourceFileLoader, SourcelessFileLoader


class NoProgram(Exception):
    """There is nothing to run. `status` is the interpreter's exit status for that."""

    def __init__(self, message, status=1):
        super().__init__(message)
        self.status = status


def run(program, arguments, option=None):
    """Run a file, folder or zip, for option "-m" a module, for "-c" code.

    Raises
    ------
    NoProgram
        Before anything has run.
    """
    if not sys.flags.safe_path:
        del sys.path[0]  # what the interpreter has put there for us
    sys.argv = [option or program, *arguments]
    try:
        if option == "-c":
            _prepend("")
            module, code = _main_module(BuiltinImporter), compile(program, "<string>", "exec")
            if sys.version_info >= (3, 13):  # which shows the lines of such programs in tracebacks
                lines = program.splitlines(keepends=True)
                linecache.cache["<string>"] = (len(program), None, lines, "<string>")
        elif option == "-m":
            _prepend(os.getcwd())
            module, code = _find_module(program)
            sys.argv[0] = module.__file__
        else:
            module, code = _find_script(program)
        sys.modules["__main__"] = module
        _execute(code, module)
    except NoProgram:
        raise
    except BaseException:
        _hide_our_frames()
        raise


def _execute(code, module):
    exec(code, vars(module))


def _prepend(folder):
    if not sys.flags.safe_path:
        sys.path.insert(0, folder)


def _main_module(loader=None, path=None, spec=None):
    """Return a module with what the interpreter lets a program see of itself."""
    module = types.ModuleType("__main__")
    module.__builtins__, module.__annotations__ = sys.modules["builtins"], {}
    module.__loader__, module.__spec__ = loader, spec
    module.__package__ = spec and spec.parent
    if path is not None:
        module.__file__, module.__cached__ = path, spec and spec.cached
    return module


# Each of these returns the module to run in, and the code.


def _of_spec(spec):
    code = spec.loader.get_code(spec.name) if hasattr(spec.loader, "get_code") else None
    if code is None:
        raise NoProgram(f"No code object available for {spec.name}")
    return _main_module(spec.loader, spec.origin, spec), code


def _find_module(name):
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        kind = type(error).__name__
        raise NoProgram(
            f"Error while finding module specification for {name!r} ({kind}: {error})"
        ) from error
    if spec is None:
        raise NoProgram(f"No module named {name}")
    if spec.submodule_search_locations is None:
        return _of_spec(spec)
    main = f"{name}.__main__"
    spec = importlib.util.find_spec(main)
    if spec is None:
        reason = f"{name!r} is a package and cannot be directly executed"
        raise NoProgram(f"No module named {main}; {reason}")
    return _of_spec(spec)


def _find_script(name):
    path = os.path.abspath(name)
    spec = PathFinder.find_spec("__main__", [path])
    if spec is not None:  # in a folder, or a zip
        _prepend(path)
        return _of_spec(spec)
    if os.path.isdir(path):
        raise NoProgram(f"can't find '__main__' module in {path!r}")
    _prepend(os.path.dirname(os.path.realpath(path)))
    try:
        if path.endswith(".pyc"):
            loader = SourcelessFileLoader("__main__", path)
            return _main_module(loader, path), loader.get_code("__main__")
        # Not get_code(), which would write a .pyc beside the script.
        loader = SourceFileLoader("__main__", path)
        return _main_module(loader, path), loader.source_to_code(loader.get_data(path), path)
    except OSError as error:
        reason = f"[Errno {error.errno}] {error.strerror}"
        raise NoProgram(f"can't open file {path!r}: {reason}", 2) from error


def _hide_our_frames():
    """Have the error that is under way shown as if the program had been started by itself."""
    hook = sys.excepthook

    def show(kind, error, traceback):
        while traceback is not None and traceback.tb_frame.f_code is not _execute.__code__:
            traceback = traceback.tb_next
        traceback = traceback and traceback.tb_next
        hook(kind, error.with_traceback(traceback), traceback)

    sys.excepthook = show
