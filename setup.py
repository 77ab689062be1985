"""The C libraries per instruction set and the Cython extensions; the rest is in pyproject.toml."""

import multiprocessing
import os
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_clib import build_clib
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

DEBUG = os.environ.get("FASTNN_DEBUG") == "1"
WANT_OPENMP = os.environ.get("FASTNN_OPENMP", "1") != "0"
WERROR = os.environ.get("FASTNN_WERROR") == "1"
MSVC = sys.platform == "win32"
# The machines that are built for: not always the one that builds. Pythons of macOS may compile for
# two, unless they are told otherwise.
TARGETS = os.environ.get("ARCHFLAGS", "").replace("-arch", " ").split()
TARGETS = TARGETS or [sysconfig.get_platform().rpartition("-")[2]]
# setuptools compares times, not flags: each way to build has a folder of its own.
BUILD_FOLDER = "build/{}-{}-{}".format(
    "-".join(TARGETS),
    "debug" if DEBUG else "release",
    "openmp" if WANT_OPENMP else "no-openmp",
)
CPUS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
X86_64 = TARGETS in (["x86_64"], ["amd64"]) and not MSVC
AARCH64 = TARGETS in (["aarch64"], ["arm64"]) and not MSVC

# What Cython needs for memoryviews, compiled once: else it is more than half of every module.
SHARED_MODULE = "fastnn._core._cyutility"

# All but pytest-benchmark's.
BENCH_FILES = [
    path
    for path in sorted(Path("bench").glob("*.py"))
    if not path.name.startswith("bench_") and path.name != "conftest.py"
]
HEADERS = sorted(str(p) for p in Path("csrc").glob("*.h"))

if MSVC:
    C_FLAGS = ["/O2", "/std:c11", "/fp:precise"]
elif DEBUG:
    SANITIZE = ["-fsanitize=address,undefined", "-fno-omit-frame-pointer"]
    # Python's own flags may hold -fwrapv, which would hide overflows.
    # Debug information of level 1, lines without variables, takes half the time to compile.
    C_FLAGS = ["-O1", "-g1", "-fno-wrapv", *SANITIZE]
else:
    C_FLAGS = ["-O3", "-g0"]
if not MSVC:
    # Fused multiply-adds only where the source spells them: exact distances must not depend on
    # the instruction set, so the compiler may not contract on its own.
    C_FLAGS += ["-ffp-contract=off", "-fno-math-errno", "-fvisibility=hidden"]
KERNEL_FLAGS = C_FLAGS if MSVC else [*C_FLAGS, "-std=c11", "-Wall", "-Wextra"]
if WERROR:
    KERNEL_FLAGS += ["-Werror"]


def kernel_library(source, flags=(), macros=()):
    return (
        Path(source).stem,
        {
            "sources": [f"csrc/{source}"],
            "obj_deps": {"": HEADERS},
            "cflags": [*KERNEL_FLAGS, *flags],
            "macros": list(macros),
            "include_dirs": ["csrc"],
        },
    )


AVX512_FLAGS = ["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mfma"]

DISPATCH_MACROS = [("FNN_HAVE_X86_TABLES", "1")] if X86_64 else []
if DEBUG:  # so that all of this is tested, whatever the CPU has
    DISPATCH_MACROS += [("FNN_HAVE_EMULATED_QUADS", "1")]
# The dispatcher comes first: the linker takes from a static library what is missing so far.
libraries = [
    kernel_library("fnn_dispatch.c", macros=DISPATCH_MACROS),
    kernel_library("fnn_jobs.c"),
    kernel_library("isa_baseline.c"),
]
if DEBUG:
    libraries += [kernel_library("isa_emulated_vnni.c")]
if X86_64:
    libraries += [
        kernel_library("isa_avx2.c", ["-mavx2", "-mfma"]),
        kernel_library("isa_avx512.c", AVX512_FLAGS),
    ]
# Quads of bytes: without what old compilers do not know these are empty.
QUADS = []
if X86_64:
    QUADS = [
        kernel_library("isa_avx2_vnni.c", ["-mavx2", "-mfma", "-mavxvnni"]),
        kernel_library("isa_avx512_vnni.c", [*AVX512_FLAGS, "-mavx512vnni"]),
    ]
if AARCH64:
    QUADS = [kernel_library("isa_neon_dotprod.c", ["-march=armv8.2-a+dotprod"])]
libraries += QUADS


def openmp_flags(compiler):
    """Return (compile, link) flags that build an OpenMP program here, or none."""
    if not WANT_OPENMP:
        return [], []
    if MSVC:
        return ["/openmp"], []
    candidates = [(["-fopenmp"], ["-fopenmp"]), (["-Xpreprocessor", "-fopenmp"], ["-lomp"])]
    program = "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n"
    for compile_flags, link_flags in candidates:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "probe.c")
            source.write_text(program)
            try:
                objects = compiler.compile(
                    [str(source)], output_dir=folder, extra_postargs=compile_flags
                )
                compiler.link_executable(
                    objects, str(Path(folder, "probe")), extra_postargs=link_flags
                )
            except Exception:  # each compiler class raises its own
                continue
            return compile_flags, link_flags
    print(
        "fastnn: this compiler has no OpenMP: threadpoolctl will not reach fastnn", file=sys.stderr
    )
    return [], []


def accepts(compiler, flags):
    """Return whether a compiler knows all of these flags."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.c")
        source.write_text("int probe;\n")
        try:
            compiler.compile([str(source)], output_dir=folder, extra_postargs=flags)
        except Exception:  # each compiler class raises its own
            return False
    return True


class BuildClib(build_clib):
    """Compiles the libraries side by side, the largest, of AVX-512, first."""

    def build_libraries(self, libraries):
        build = super().build_libraries
        flags = [
            flag for _, library in QUADS for flag in library["cflags"] if flag.startswith("-m")
        ]
        if QUADS and accepts(self.compiler, flags):
            for name, library in libraries:
                if (name, library) in QUADS or name == "fnn_dispatch":
                    library["macros"].append(("FNN_HAVE_QUADS", "1"))
        else:
            for _, library in QUADS:
                library["cflags"] = [flag for flag in library["cflags"] if flag not in flags]
        with ThreadPoolExecutor(CPUS) as pool:
            list(pool.map(lambda library: build([library]), reversed(libraries)))


class BuildExt(build_ext):
    """Builds the C libraries first, also in place, and adds the flags of threads that work."""

    def finalize_options(self):
        super().finalize_options()
        self.parallel = self.parallel or CPUS

    def run(self):
        # An in-place build skips this step by itself.
        self.run_command("build_clib")
        super().run()

    def build_extensions(self):
        compile_flags, link_flags = openmp_flags(self.compiler)
        for extension in self.extensions:
            if extension.name == "fastnn._core._threads":  # the only one that asks OpenMP
                extension.extra_compile_args += compile_flags
                extension.extra_link_args += link_flags
            elif extension.name == "fastnn._core._jobs" and not MSVC:
                extension.extra_link_args += ["-pthread"]
        super().build_extensions()


class BuildPy(build_py):
    """Adds what `fastnn bench` runs to the package; in a checkout it runs bench/ itself.

    And what has Python look at FASTNN_ACCEL when it starts, beside the package.
    """

    def run(self):
        super().run()
        if self.editable_mode:
            beside = Path(self.distribution.get_command_obj("install").install_lib)
        else:
            beside = Path(self.build_lib)
        self.mkpath(str(beside))
        self.copy_file("fastnn/accel/fastnn_accel.pth", str(beside / "fastnn_accel.pth"))
        if self.editable_mode:
            return
        folder = Path(self.build_lib, "fastnn", "_bench")
        self.mkpath(str(folder))
        for path in BENCH_FILES:
            self.copy_file(str(path), str(folder / path.name))


def extension(name, source):
    return Extension(
        name,
        [source],
        include_dirs=["csrc", numpy.get_include()],
        depends=[*HEADERS, *(str(p) for p in Path("csrc").glob("*.c"))],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")],
        extra_compile_args=list(C_FLAGS),
        extra_link_args=SANITIZE if DEBUG and not MSVC else [],
    )


setup(
    libraries=libraries,
    ext_modules=cythonize(
        [
            extension(SHARED_MODULE, f"{SHARED_MODULE.replace('.', '/')}.c"),  # cythonize writes it
            *(
                extension(".".join(path.with_suffix("").parts), str(path))
                for path in sorted(Path("fastnn", "_core").rglob("*.pyx"))
            ),
        ],
        shared_utility_qualified_name=SHARED_MODULE,
        compiler_directives={
            "language_level": "3",
            "boundscheck": DEBUG,
            "wraparound": False,
            "initializedcheck": DEBUG,
            "cdivision": True,
            "freethreading_compatible": True,
        },
        build_dir=f"{BUILD_FOLDER}/cython",
        # Other ways to start processes would run this file again in each.
        nthreads=CPUS if multiprocessing.get_start_method() == "fork" else 0,
    ),
    # The kernels are the same for every Python.
    options={
        "build": {"build_base": BUILD_FOLDER},
        "build_clib": {"build_clib": f"{BUILD_FOLDER}/kernels", "build_temp": BUILD_FOLDER},
    },
    cmdclass={"build_clib": BuildClib, "build_ext": BuildExt, "build_py": BuildPy},
)
