# SPDX-License-Identifier: MIT OR Apache-2.0
# shellcheck shell=bash
#
# For tls_tools.sh and tls_servers.sh: sourced, with the directory of the examples.
set -euo pipefail

program=$(basename "$0" .sh)
dir=$1
deadline=60
work=$(mktemp -d)
mkfifo "$work/never" # nobody ever writes to it
pids=()

command -v openssl >/dev/null || {
	printf '%s: skipped, openssl is not installed\n' "$program" >&2
	exit 77
}

clean_up()
{
	local pid
	for pid in "${pids[@]}"; do
		kill -KILL "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	rm -rf "$work"
}
trap clean_up EXIT

fail()
{
	printf '%s: %s\n' "$program" "$1" >&2
	cat "$work"/*.err 2>/dev/null | tail -n 20 | sed 's/^/    /' >&2
	exit 1
}

have()
{
	command -v "$1" >/dev/null && return 0
	printf '%s: %s is not installed\n' "$program" "$1"
	return 1
}

# A CA, the certificates that it signed, and one of a stranger's.
make_certificates()
{
	local ca=(-CA "$work/ca.pem" -CAkey "$work/ca.key")
	local new=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -x509)
	{
		openssl req "${new[@]}" -keyout "$work/ca.key" -out "$work/ca.pem" -subj /CN=ca
		openssl req "${new[@]}" "${ca[@]}" -keyout "$work/server.key" -out "$work/server.pem" \
			-subj /CN=localhost -addext basicConstraints=critical,CA:FALSE \
			-addext subjectAltName=DNS:localhost,IP:127.0.0.1
		openssl req "${new[@]}" "${ca[@]}" -keyout "$work/client.key" -out "$work/client.pem" \
			-subj /CN=client -addext basicConstraints=critical,CA:FALSE
		openssl req "${new[@]}" "${ca[@]}" -keyout "$work/shop.key" -out "$work/shop.pem" \
			-subj /CN=shop -addext basicConstraints=critical,CA:FALSE \
			-addext subjectAltName=DNS:shop.test,DNS:*.shop.test
		openssl req "${ca[@]}" -newkey rsa:2048 -nodes -days 2 -x509 -keyout "$work/mail.key" \
			-out "$work/mail.pem" -subj /CN=mail -addext basicConstraints=critical,CA:FALSE \
			-addext subjectAltName=DNS:mail.test
		openssl req "${new[@]}" -keyout "$work/stranger.key" -out "$work/stranger.pem" \
			-subj /CN=stranger
	} 2>"$work/make.err" || fail "can't make certificates"
}

same()
{
	cmp "$work/sent" "$1" || fail "$2 got other bytes than it sent"
}

# await COMMAND...: until it succeeds, or the deadline.
await()
{
	local until=$((SECONDS + deadline))
	until "$@"; do
		[[ $SECONDS -lt $until ]] || return 1
		read -r -t 0.1 <>"$work/never" || true
	done
}

# forget PID: it was waited for, and the number may be another's by now.
forget()
{
	local pid kept=()
	for pid in "${pids[@]}"; do
		[[ $pid == "$1" ]] || kept+=("$pid")
	done
	pids=("${kept[@]}")
}

# end_of PID: a program of ours in the background has done its part.
end_of()
{
	kill -KILL "$1" 2>/dev/null || true
	wait "$1" 2>/dev/null || true
	forget "$1"
}

# check_our_client ARGUMENT...: what it sends to the echo server at "port" comes back.
check_our_client()
{
	rm -f "$work/back"
	timeout "$deadline" "$dir/echo_client" --connect "tls://127.0.0.1:$port" --ca "$work/ca.pem" "$@" \
		<"$work/sent" >"$work/back" 2>"$work/client.err" || fail "echo_client exits with $?"
	same "$work/back" "echo_client"
}

# What is sent. s_client takes some letters for commands; of those, the text has none.
make_input()
{
	head -c 12000000 /dev/urandom >"$work/sent"
	head -c 500000 /dev/urandom | od -An -v -tx1 >"$work/text"
}
