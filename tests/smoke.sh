#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# smoke.sh PROGRAM: it explains itself when asked (stdout, exit 0) and when misused (stderr, exit 2).
set -euo pipefail

program=$1

fail()
{
	printf '%s: %s\n' "$program" "$1" >&2
	exit 1
}

help=$("$program" --help) || fail "--help exits with $?"
[[ $help == *--help* && $help == *"$(basename "$program")"* ]] ||
	fail "--help names neither the program nor the option: $help"

rc=0
out=$("$program" --no-such-option 2>/dev/null) || rc=$?
[[ $rc -eq 2 ]] || fail "an unknown option exits with $rc, not 2"
[[ -z $out ]] || fail "an unknown option writes to stdout: $out"
