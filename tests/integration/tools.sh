#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# tools.sh ECHO_SERVER: netcat and socat get back what they send, also 50 MB with a half-close, and
# the server ends with 0 when it is told to.
set -euo pipefail

server=$1
deadline=60
work=$(mktemp -d)
pid=

for tool in nc socat; do
	command -v "$tool" >/dev/null || {
		printf 'tools: skipped, %s is not installed\n' "$tool" >&2
		exit 77
	}
done

clean_up()
{
	if [[ -n $pid ]]; then
		kill -KILL "$pid" 2>/dev/null || true
	fi
	rm -rf "$work"
}
trap clean_up EXIT

fail()
{
	printf 'tools: %s\n' "$1" >&2
	exit 1
}

mkfifo "$work/ready"
"$server" --listen tcp://127.0.0.1:0 --listen "unix:$work/socket" --shards 1 --stats >"$work/ready" &
pid=$!
exec 3<"$work/ready"
read -r -t "$deadline" -u 3 _ url _ || fail "the server did not say where it listens"
read -r -t "$deadline" -u 3 _ unix_url _ || fail "the server did not say where else it listens"
port=${url##*:}

reply=$(printf hi | timeout "$deadline" nc -N 127.0.0.1 "$port") || fail "nc exits with $?"
[[ $reply == hi ]] || fail "nc got \"$reply\""

reply=$(printf hi | timeout "$deadline" nc -N -U "${unix_url#unix:}") || fail "nc -U exits with $?"
[[ $reply == hi ]] || fail "nc -U got \"$reply\""

head -c 50000000 /dev/urandom >"$work/sent"
timeout "$deadline" socat -t "$deadline" - "TCP:127.0.0.1:$port" <"$work/sent" >"$work/received" ||
	fail "socat exits with $?"
cmp "$work/sent" "$work/received" || fail "socat got other bytes than it sent"

kill -TERM "$pid"
stats=$(timeout "$deadline" cat <&3)
rc=0
wait "$pid" || rc=$?
pid=
[[ $rc -eq 0 ]] || fail "the server exits with $rc"
[[ $stats == *'"accepted":3,'* ]] || fail "the server counted: $stats"
