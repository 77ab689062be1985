#!/usr/bin/env bash
# Cross-compiles fastnn for Linux on AArch64, and runs tests of it there: in qemu, with Debian's Python.
#
#     tools/check_on_aarch64.sh [PYTHON]
#
# PYTHON is an interpreter with what builds fastnn: by default .venv's, else the one on the path.
# Needs Debian, qemu-aarch64 and aarch64-linux-gnu-gcc (qemu-user, gcc-aarch64-linux-gnu),
# and package indexes for apt and pip. Nothing is installed. Takes two to five minutes.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${1:-}
if [ -z "$python" ]; then
    python=$root/.venv/bin/python
    [ -x "$python" ] || python=python3
fi
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || :; wait; rm -rf "$work"' EXIT
unset CC CXX LDSHARED LDFLAGS CFLAGS # the cross-compiler's come from Debian's Python
machine=$work/machine # its files
packages=$work/packages
triplet=aarch64-linux-gnu

# ---- an AArch64 machine: Debian's Python of the release that runs here -----------------------------

version=$(apt-cache depends python3-minimal | sed -n 's/.*Depends: python\(3\.[0-9]*\)-minimal$/\1/p')
mkdir -p "$work"/apt/{lists,cache}/partial "$machine"
apt=(-o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User=root
    -o Dir::State::lists="$work/apt/lists" -o Dir::State::status=/dev/null
    -o Dir::Cache="$work/apt/cache" -o Acquire::Retries=5)
apt-get "${apt[@]}" -qq update
(
    cd "$work/apt"
    apt-get "${apt[@]}" -qq download libc6 libgcc-s1 libgomp1 libstdc++6 zlib1g libexpat1 libffi8 \
        libbz2-1.0 liblzma5 libsqlite3-0 libuuid1 "libpython$version"{-minimal,-stdlib,-dev} \
        "python$version-minimal"
    for package in *.deb; do dpkg -x "$package" "$machine"; done
)
export QEMU_LD_PREFIX=$machine
on_aarch64=(env PYTHONNOUSERSITE=1 PYTHONPATH="$work/fastnn:$packages" PYTEST_ADDOPTS=
    qemu-aarch64 "$machine/usr/bin/python$version")

wheels=(--only-binary=:all: --implementation cp --python-version "$version")
for tag in manylinux_2_28 manylinux_2_27 manylinux_2_17 manylinux2014; do
    wheels+=(--platform "${tag}_aarch64")
done
"$python" -m pip install -qq --target "$packages" "${wheels[@]}" \
    "numpy>=2.0" "scipy>=1.13" "scikit-learn>=1.6,<1.10" joblib tqdm threadpoolctl \
    pytest pytest-timeout hypothesis

# ---- fastnn for it -------------------------------------------------------------------------------

mkdir "$work/sources" "$work/configuration"
cp -r "$root"/{csrc,fastnn,bench,tests,setup.py,pyproject.toml,README.md,LICENSE} "$work/sources"
find "$work/sources" -name "*.so" -delete
cp "$machine/usr/lib/python$version/_sysconfigdata__$triplet.py" "$work/configuration"
(
    cd "$work/sources"
    export _PYTHON_HOST_PLATFORM=linux-aarch64 _PYTHON_SYSCONFIGDATA_NAME=_sysconfigdata__$triplet
    export PYTHONPATH=$work/configuration
    export CFLAGS="-I$machine/usr/include -I$machine/usr/include/python$version"
    "$python" setup.py -q build --build-lib "$work/fastnn" >"$work/build.log" 2>&1 || {
        cat "$work/build.log"
        exit 1
    }
)

# ---- tests that start no other program, which would not be emulated --------------------------------

mkdir "$work/outside"
cp -r "$root/tests" "$root/pyproject.toml" "$work/outside"
cd "$work/outside"
"${on_aarch64[@]}" -c "
import platform, fastnn
print(platform.machine(), platform.python_version(), fastnn.available_isas())
assert platform.machine() == 'aarch64' and fastnn.get_isa() == 'neon_dotprod'"
run_tests() { "${on_aarch64[@]}" -m pytest -p no:cacheprovider "$@"; }
# Side by side: kernels against their oracles, and random searches.
run_tests -m each_isa --part 1/2 tests/test_pairwise_distances.py &
run_tests -m each_isa --part 1/2 tests/test_{losses,linear_model}.py
run_tests --part 1/4 tests/test_quads.py
run_tests "tests/test_fuzzing.py::test_searches_are_the_oracles[0]"
wait $!
