#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
#
#   scripts/lib/preset.sh PRESET BUILD_DIR [CMAKE_ARGUMENT...]
#
# One build of the gate: configures, builds and tests a preset, with warnings as errors and skips as
# failures. Leaves the end of ctest's output in BUILD_DIR/summary.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

preset=$1
build=$2
shift 2
jobs=${RL_JOBS:-$(nproc)}

mkdir -p "$build"
build=$(cd "$build" && pwd)
rm -f "$build/summary"

quietly()
{
	"$@" >"$build/log" 2>&1 || {
		cat "$build/log"
		exit 1
	}
}

quietly cmake --preset "$preset" -B "$build" -DRL_WERROR=ON -DRL_NO_SKIPS=ON "$@"
quietly cmake --build "$build" -j "$jobs"

# The style does not depend on the build, and the outer run checks it.
rc=0
ctest --test-dir "$build" -LE '^tidy$' -j "$jobs" --output-on-failure --no-tests=error \
	>"$build/log" 2>&1 || rc=$?
sed -n '/tests passed, .* failed out of/,$p' "$build/log" >"$build/summary"
if [[ $rc -ne 0 ]]; then
	cat "$build/log"
else
	cat "$build/summary"
fi
exit "$rc"
