#!/usr/bin/env bash
# Shows that the installed fastnn runs on an x86-64 CPU without AVX, which qemu stands in for.
#
#     tools/check_without_avx.sh [PYTHON]
#
# PYTHON is an interpreter that has fastnn installed: by default .venv's, else the one on the path.
# Needs qemu-x86_64 (Debian: qemu-user). Takes about half a minute, most of it in imports.
set -euo pipefail

tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${1:-}
if [ -z "$python" ]; then
    python=$tools/../.venv/bin/python
    [ -x "$python" ] || python=python3
fi
# The program itself: a launcher's script is nothing that qemu could run.
python=$("$python" -c "import sys; print(sys.executable)")

# These name a CPU to OpenBLAS, which then executes what the emulated one has not.
unset "${!OPENBLAS_@}"

# SSE4.2 but no AVX: also the least that NumPy's wheels ask for.
on_old_cpu=(qemu-x86_64 -cpu Nehalem "$python")

# Away from the source tree, so that the installed package is what is imported.
cd /
"${on_old_cpu[@]}" "$tools/check_without_avx.py"

# Asked for by the environment, a missing instruction set is an error, too, and no crash.
status=0
message=$(FASTNN_ISA=avx2 "${on_old_cpu[@]}" -c "import fastnn" 2>&1) || status=$?
if [ "$status" != 1 ] || [[ $message != *"ValueError: FASTNN_ISA='avx2' is not available"* ]]; then
    printf 'FASTNN_ISA=avx2: expected a ValueError, got status %s:\n%s\n' "$status" "$message" >&2
    exit 1
fi
printf 'refused: %s\n' "${message##*ValueError: }"
