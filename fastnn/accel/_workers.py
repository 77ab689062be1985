"""Serves processes that start with FASTNN_ACCEL=1: scikit-learn is changed as soon as it is there.

fastnn_accel.pth, beside the package, imports this module when Python starts with the variable set.
Nothing else is imported then; whoever does not use scikit-learn does not wait for it.
"""

import functools
import sys
import threading
import warnings

VARIABLE = "FASTNN_ACCEL"


class InstallAfterImport:
    """A finder on ``sys.meta_path`` that calls `install` after scikit-learn's neighbors are there.

    Not within the import of any of scikit-learn's modules: some of them would be half done.
    """

    NEEDED = ("sklearn.neighbors", "sklearn.metrics")

    def __init__(self, install):
        self._install = install
        # How many of scikit-learn's modules are being executed, one within the other.
        self._depths = threading.local()

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] != "sklearn":
            return None
        finders = list(sys.meta_path)
        for finder in finders[finders.index(self) + 1 :] if self in finders else ():
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                if hasattr(spec.loader, "exec_module"):
                    self._watch(spec.loader)
                return spec
        return None

    def _watch(self, loader):
        if "exec_module" in vars(loader):  # one loader for several modules
            return
        execute = loader.exec_module

        def exec_module(module):
            depth = self._depths.value = getattr(self._depths, "value", 0) + 1
            try:
                execute(module)
            finally:
                self._depths.value = depth - 1
            if depth == 1 and any(name in sys.modules for name in self.NEEDED):
                self._arrive()

        loader.exec_module = exec_module

    def _arrive(self):
        if self not in sys.meta_path:
            return
        sys.meta_path.remove(self)
        try:
            self._install()
        except Exception as error:  # the program would do without us
            warnings.warn(
                f"{VARIABLE} is set, but scikit-learn is not accelerated: {error!r}",
                RuntimeWarning,
                stacklevel=2,
            )


def install_when_needed():
    """Install now if scikit-learn's neighbors are there, and otherwise as soon as they are."""
    from . import install

    if any(name in sys.modules for name in InstallAfterImport.NEEDED):
        install()
    else:
        sys.meta_path.insert(0, InstallAfterImport(install))


@functools.cache  # folders of packages may have two names, and so be gone through twice
def start():
    """Do what the environment asks for: called when Python starts."""
    from ._report import report_to_parent

    report_to_parent()
    install_when_needed()
