#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# examples_smoke.sh DIRECTORY: the example programs in there, against each other and against servers
# that misbehave. Says what is wrong and exits with 1; with 77 if io_uring is not to be had here.
set -euo pipefail

dir=${1:?usage: examples_smoke.sh DIRECTORY}
limit=${RL_SMOKE_SECONDS:-60} # for each program
tmp=$(mktemp -d)
pids=()

clean_up()
{
	local pid
	for pid in "${pids[@]}"; do
		kill -KILL "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	rm -rf "$tmp"
}
trap clean_up EXIT

fail()
{
	printf 'examples_smoke: %s\n' "$1" >&2
	cat "$tmp"/err "$tmp"/server.err 2>/dev/null | sed 's/^/    /' >&2
	exit 1
}

# run WANTED NAME ARGUMENT...: its exit code has to be WANTED; stdin is ours.
run()
{
	local wanted=$1 rc=0
	shift
	timeout -k 5 "$limit" "$dir/$1" "${@:2}" >"$tmp/out" 2>"$tmp/err" || rc=$?
	[[ $rc -eq $wanted ]] || fail "$*: exit code $rc, not $wanted"
}

# run, with one line on stderr that has TEXT in it, and nothing on stdout.
complains()
{
	local wanted=$1 text=$2
	shift 2
	run "$wanted" "$@" </dev/null
	[[ $(wc -l <"$tmp/err") -eq 1 ]] || fail "$*: not one line on stderr"
	grep -qF -- "$text" "$tmp/err" || fail "$*: no \"$text\" on stderr"
	[[ ! -s $tmp/out ]] || fail "$*: writes to stdout"
}

# start COMMAND...: sets server_pid and url once the program is ready. Its further output is in
# $tmp/server.out when finish has returned.
start()
{
	local word
	rm -f "$tmp/ready"
	mkfifo "$tmp/ready"
	"$@" >"$tmp/ready" 2>"$tmp/server.err" &
	server_pid=$!
	exec {server_out}<"$tmp/ready"
	pids+=("$server_pid")
	url=
	read -r -t "$limit" -u "$server_out" word url word ||
		if grep -q io_uring "$tmp/server.err"; then
			cat "$tmp/server.err" >&2
			exit 77
		fi
	[[ -n $url ]] || fail "$*: not ready: $(cat "$tmp/server.err")"
}

# finish WANTED: end it with SIGTERM, and have that exit code.
finish()
{
	local rc=0
	kill -TERM "$server_pid"
	timeout -k 5 "$limit" cat <&"$server_out" >"$tmp/server.out" || fail "no end after SIGTERM"
	exec {server_out}<&-
	wait "$server_pid" || rc=$?
	[[ $rc -eq $1 ]] || fail "after SIGTERM: exit code $rc, not $1"
}

# stats FILE: its last line is JSON, and the counters balance.
stats()
{
	tail -n 1 "$1" | python3 -c '
import json, sys
stats = json.load(sys.stdin)
for one in [stats, *stats["shards"]]:
    begun, ended = one["accepted"] + one["opened"], sum(one["closed"].values())
    assert begun == ended, f"{begun} connections begun, {ended} ended"
    assert one["bufs_lent"] == one["bufs_home"], "a buffer is missing"
    assert one["actors_started"] == one["actors_stopped"], "an actor is missing"
for name in ("accepted", "opened", "bytes_in", "bytes_out", "cqes"):
    assert stats[name] == sum(one[name] for one in stats["shards"]), f"{name} is not the sum"
assert stats["accepted"] + stats["opened"] > 0 and stats["bytes_in"] > 0, "nothing was counted"
' 2>"$tmp/err" || fail "--stats: $(tail -n 1 "$tmp/err")"
}

# value NAME: that number in the line of JSON in $tmp/out.
value()
{
	python3 -c 'import json, sys; print(json.loads(open(sys.argv[1]).readline())[sys.argv[2]])' \
		"$tmp/out" "$1"
}

# A server that is no good: it answers one connection after the other, each in the given way.
cat >"$tmp/bad_server.py" <<'END'
import socket, struct, sys
listener = socket.create_server(("127.0.0.1", 0))
print(f"ready tcp://127.0.0.1:{listener.getsockname()[1]} shards=1", flush=True)
while True:
    peer, _ = listener.accept()
    data = peer.recv(4096)
    if sys.argv[1] == "lies":
        peer.sendall(data[:-1] + bytes([data[-1] ^ 1]))
        peer.recv(1)
    elif sys.argv[1] == "babbles":
        peer.sendall(data + b"!")
        peer.recv(1)
    elif sys.argv[1] == "resets":
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
END

# A client's stdout is not read until its stdin takes no more: all on the way is full by then. What is
# in there is bounded, and not one byte of it is lost.
cat >"$tmp/slow_reader.py" <<'END'
import os, random, select, subprocess, sys, threading
block = random.Random(1).randbytes(1 << 16)
client = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
os.set_blocking(client.stdin.fileno(), False)
poll = select.poll()
poll.register(client.stdin, select.POLLOUT)
sent = 0
while poll.poll(1000):
    sent += os.write(client.stdin.fileno(), block[sent % len(block):])
    assert sent < 64 << 20, "64 MiB were taken, and nothing was read"
print(f"held back after {sent} bytes")
os.set_blocking(client.stdin.fileno(), True)
def end():
    client.stdin.write(block[sent % len(block):])
    client.stdin.close()
threading.Thread(target=end).start()
received = 0
while piece := client.stdout.read(len(block)):
    assert piece == block[:len(piece)], f"the answer differs, {received} bytes or a little later"
    received += len(piece)
assert client.wait() == 0, f"exit code {client.returncode}"
assert received == (sent // len(block) + 1) * len(block), f"{received} bytes came back"
END

check_usage()
{
	local name flag
	for name in echo_server echo_client echo_bench chat_server ping_pong supervise connect_echo proxy; do
		for flag in --shards=0 --shards=257 --shards=x --shards= --cpus=1-0 --cpus=, \
			--cpus=1024 --idle-timeout=0 --idle-timeout=-2 --idle-timeout=nan; do
			complains 2 "${flag%%=*}: '${flag#*=}' is not" "$name" "$flag"
		done
		complains 2 "--shards: the value is missing" "$name" --shards
		complains 2 "--stats: it takes no value" "$name" --stats=1
		complains 2 "no option '--nothing'" "$name" --nothing
		complains 2 "no option '-x'" "$name" -x
		complains 2 "'surplus' is not an option" "$name" surplus
		complains 1 "config: cpus: CPU 1023" "$name" --cpus 1023
	done
	complains 2 "--accept-mode: 'any' is none of" echo_server --accept-mode any
	complains 2 "--conns-max: '0' is not" echo_server --conns-max 0
	complains 2 "--connections: '0' is not" echo_bench --connections 0
	complains 2 "--depth: '4097' is not" echo_bench --depth 4097
	complains 2 "--size: '-1' is not" echo_bench --size -1
	complains 2 "--seconds: '0' is not" echo_bench --seconds 0
	complains 2 "--slow-bytes: '1023' is not" chat_server --slow-bytes 1023
	complains 2 "--slow-seconds: '0' is not" chat_server --slow-seconds 0
	complains 2 "--rounds: '0' is not" ping_pong --rounds 0
	complains 2 "--spin-us: '1001' is not" ping_pong --spin-us 1001
	complains 2 "--seconds: '0' is not" supervise --seconds 0
	complains 2 "--shards: '1' is not" ping_pong --shards 1
	complains 1 "no schedstat of a process 2147483647" echo_bench --server-pid 2147483647
	complains 1 'tls:// needs options.conn.tls' echo_server --listen tls://127.0.0.1:0
	run 1 connect_echo --connect tcp://localhost:0 </dev/null
	grep -q '"0" is not a port to connect to' "$tmp/err" || fail "connect_echo: port 0 is fine"
	complains 1 "is neither a numeric host nor a host name" echo_client --connect tcp://127.1:7
	complains 1 "can't look up \"nobody.invalid\"" echo_client --connect tcp://nobody.invalid:7
	complains 1 "Connection refused" echo_client --connect "unix:@ringline-nobody-$$"
	complains 1 "Connection refused" echo_bench --connect "unix:@ringline-nobody-$$"
}

# Several megabytes both ways, more than all buffers between the two ends of the client hold.
check_round_trip()
{
	head -c 6000000 /dev/urandom >"$tmp/in"
	run 0 echo_client --connect "$url" <"$tmp/in"
	cmp "$tmp/in" "$tmp/out" || fail "echo_client: what came back is not what was sent"
	timeout -k 5 "$limit" python3 "$tmp/slow_reader.py" "$dir/echo_client" --connect "$url" \
		>"$tmp/out" 2>"$tmp/err" || fail "echo_client whose output is not read"
	printf 'one\ntwo' | run 0 echo_client --connect "$url" --stats
	[[ $(head -n 1 "$tmp/out") == one && $(sed -n 2p "$tmp/out") == two ]] ||
		fail "echo_client --stats: two lines went out, $(head -c 100 "$tmp/out") came"
	stats "$tmp/out"
	run 0 echo_client --connect "$url" </dev/null
	[[ ! -s $tmp/out ]] || fail "echo_client: nothing went out, and something came back"
}

# Sets client_pid once the client has sent a line and got it back; its stdin stays open.
start_client()
{
	local line=
	rm -f "$tmp/to" "$tmp/from"
	mkfifo "$tmp/to" "$tmp/from"
	"$dir/echo_client" --connect "$url" <"$tmp/to" >"$tmp/from" 2>"$tmp/err" &
	client_pid=$!
	pids+=("$client_pid")
	exec {client_in}>"$tmp/to" {client_out}<"$tmp/from"
	printf 'a line\n' >&"$client_in"
	read -r -t "$limit" -u "$client_out" line || true
	[[ $line == "a line" ]] || fail "echo_client: 'a line' went out, '$line' came back"
}

# finish_client WANTED LINES: it ends by itself, with that exit code and so many lines on stderr.
finish_client()
{
	local rc=0
	timeout -k 5 "$limit" cat <&"$client_out" >"$tmp/out" || fail "echo_client does not end"
	exec {client_in}>&- {client_out}<&-
	wait "$client_pid" || rc=$?
	[[ $rc -eq $1 ]] || fail "echo_client: exit code $rc, not $1"
	[[ $(wc -l <"$tmp/err") -eq $2 ]] || fail "echo_client: not $2 lines on stderr"
}

check_client_ends()
{
	start_client
	kill -TERM "$client_pid"
	finish_client 0 0
}

# measure ARGUMENT...: echo_bench, for longer where the machine gave it no CPU in a shorter time.
measure()
{
	local seconds
	for seconds in 0.2 2 20; do
		run 0 echo_bench --connect "$url" --seconds "$seconds" --json "$@"
		[[ $(value errors) -eq 0 ]] || fail "echo_bench: $(head -n 1 "$tmp/out")"
		[[ $(value msgs) -eq 0 ]] || return 0
	done
	fail "echo_bench: $(head -n 1 "$tmp/out")"
}

check_bench()
{
	measure --connections 20 --depth 3 --size 100 --warmup 0.1 --server-pid "$server_pid" --stats
	[[ $(wc -l <"$tmp/out") -eq 2 ]] || fail "echo_bench --json --stats: not two lines"
	[[ $(value server_ns_per_msg) -gt 0 ]] || fail "echo_bench: $(head -n 1 "$tmp/out")"
	stats "$tmp/out"
	# More under way than the connections take at once, and messages in pieces.
	measure --connections 3 --depth 7 --size 777777 --warmup 0
}

# Two people in a room, and one of them leaves. What else there is to it: test_chat.c.
check_chat()
{
	local line= port
	start "$dir/chat_server" --listen tcp://127.0.0.1:0 --shards $(($(nproc) > 1 ? 2 : 1)) \
		--stats
	port=${url##*:}
	exec {ann}<>"/dev/tcp/127.0.0.1/$port" {bob}<>"/dev/tcp/127.0.0.1/$port"
	printf '/nick ann\n/join tea\n' >&"$ann"
	until [[ $line == *"you are in tea"* ]]; do
		read -r -t "$limit" -u "$ann" line || fail "chat_server: no room for ann"
	done
	printf '/nick bob\n/join tea\nhello\n/quit\n' >&"$bob"
	until [[ $line == "bob: hello" ]]; do
		read -r -t "$limit" -u "$ann" line || fail "chat_server: ann does not hear bob"
	done
	read -r -t "$limit" -u "$ann" line || fail "chat_server: bob does not leave"
	[[ $line == "* bob left" ]] || fail "chat_server: '$line' instead of bob's end"
	exec {ann}<&- {bob}<&-
	finish 0
	stats "$tmp/server.out"
}

# The worker fails every 0.3 s and comes back after 0.1 s and more, until its supervisor gives up and
# is restarted itself; the link stays, and the listener says where it listens. Fails, with the reason
# in why, if the seconds were too few for that: there are machines that stand still for as long.
supervise_for()
{
	local seconds=$1 out peer line='' pid
	rm -f "$tmp/ready"
	mkfifo "$tmp/ready"
	"$dir/supervise" --connect "$url" --seconds "$seconds" >"$tmp/ready" 2>"$tmp/err" &
	pid=$!
	pids+=("$pid")
	exec {out}<"$tmp/ready"
	: >"$tmp/out"
	why="no greeting"
	while read -r -t "$limit" -u "$out" line; do
		printf '%s\n' "$line" >>"$tmp/out"
		[[ $line != front:* ]] || break
	done
	if [[ $line == front:* ]] && { exec {peer}<>"/dev/tcp/127.0.0.1/${line##* }"; } 2>/dev/null; then
		if read -r -t "$limit" -u "$peer" line; then
			[[ $line == "the backend is up" ]] || fail "supervise: '$line' instead of a greeting"
			why=
		fi
		exec {peer}<&-
	fi
	timeout "$limit" cat <&"$out" >>"$tmp/out" || fail "supervise does not end"
	exec {out}<&-
	wait "$pid" || fail "supervise: exit code $?"
	[[ -z $why ]] || return 1
	[[ $(grep -c '^link: connected' "$tmp/out") -eq 1 ]] || fail "supervise: the link is not up"
	why="no restart"
	[[ $(grep -c '^worker: started' "$tmp/out") -gt 4 ]] || return 1
	why="no escalation"
	grep -q 'supervisor "jobs" gives up' "$tmp/err" || return 1
	why=
}

check_supervise()
{
	local seconds why
	for seconds in 3 6 9 12; do
		if supervise_for "$seconds"; then
			break
		fi
	done
	[[ -z $why ]] || fail "supervise: $why"
	for seconds in 0.5 5 20; do
		run 0 supervise --connect "unix:@ringline-nobody-$$" --seconds "$seconds"
		[[ $(grep -c '^link: ended, .*refused' "$tmp/out") -le 1 ]] || return 0
	done
	fail "supervise: no retry"
}

# says TEXT: the client's next line but those of lookups and retries that fail has that in it.
says()
{
	local line=
	until [[ $line == *"$1"* ]]; do
		read -r -t "$limit" -u "$client_out" line || fail "connect_echo: no '$1'"
	done
}

# A server by name that goes, and comes back on the same port.
check_connect_echo()
{
	local port rc=0
	start "$dir/echo_server" --listen tcp://127.0.0.1:0
	port=${url##*:}
	rm -f "$tmp/from"
	mkfifo "$tmp/from"
	"$dir/connect_echo" --connect "tcp://localhost:$port" --stats >"$tmp/from" 2>"$tmp/err" &
	client_pid=$!
	pids+=("$client_pid")
	exec {client_out}<"$tmp/from"
	says "connected to 127.0.0.1:$port"
	says "line 1"
	says "line 2"
	finish 0
	says "not connected: peer_fin"
	says "not connected: failure: Connection refused"
	start "$dir/echo_server" --listen "tcp://127.0.0.1:$port"
	says "connected to 127.0.0.1:$port"
	says "line 1"
	kill -TERM "$client_pid"
	timeout -k 5 "$limit" cat <&"$client_out" >"$tmp/out" || fail "connect_echo does not end"
	exec {client_out}<&-
	wait "$client_pid" || rc=$?
	[[ $rc -eq 0 ]] || fail "connect_echo: exit code $rc"
	stats "$tmp/out"
	[[ ! -s $tmp/err ]] || fail "connect_echo: lines on stderr"
	finish 0
}

# Both ways of playing, on two cores if there are so many.
check_ping_pong()
{
	[[ $(nproc) -gt 1 ]] || return 0
	run 0 ping_pong --rounds 2000
	grep -q '^2000 round trips in ' "$tmp/out" || fail "ping_pong: $(cat "$tmp/out")"
	run 0 ping_pong --rounds 200000 --load --stats
	python3 -c '
import json, sys
stats = json.loads(open(sys.argv[1]).readlines()[-1])
lost = sum(stats["undelivered"].values())
assert stats["msgs_sent"] == stats["msgs_delivered"] + lost, "a message is missing"
assert stats["msgs_sent"] >= 400000, "fewer messages than round trips need"
assert stats["enters"] < 40000, "a system call for each message"
assert stats["wakeups_sent"] < stats["msgs_sent"] / 20, "a wake-up for each message"
' "$tmp/out" 2>"$tmp/err" || fail "ping_pong --load: $(tail -n 1 "$tmp/err")"
	if strace -o "$tmp/calls" true 2>/dev/null; then
		check_ping_pong_calls
	else
		printf 'examples_smoke: strace is not installed, or may not trace\n'
	fi
}

# What the counters don't know: every system call of every thread, 400,000 messages, starting included.
check_ping_pong_calls()
{
	local calls
	# a sanitizer can't look for leaks under strace
	ASAN_OPTIONS="${ASAN_OPTIONS-}:detect_leaks=0" timeout -k 5 "$limit" strace -c -f -o "$tmp/calls" \
		"$dir/ping_pong" --rounds 200000 --load >"$tmp/out" 2>"$tmp/err" || fail "ping_pong under strace"
	# the line of the total has a column less in old versions
	calls=$(awk '$4 ~ /^[0-9]+$/ && $NF != "total" { n += $4 } END { print n + 0 }' "$tmp/calls")
	[[ $calls -gt 10 && $calls -lt 40000 ]] || fail "ping_pong: $calls system calls: $(cat "$tmp/calls")"
}

check_bad_server()
{
	start python3 "$tmp/bad_server.py" "$1"
	run 1 echo_bench --connect "$url" --connections 1 --seconds 30 --warmup 0 --json
	[[ $(value "$2") -eq 1 && $(value errors) -eq 1 ]] ||
		fail "echo_bench at a server that $1: $(cat "$tmp/out")"
	grep -q "$3" "$tmp/err" || fail "echo_bench at a server that $1: no \"$3\" on stderr"
	if [[ $1 == closes || $1 == resets ]]; then
		run 1 echo_client --connect "$url" < <(exec cat /dev/zero 2>/dev/null)
		[[ $(wc -l <"$tmp/err") -eq 1 ]] ||
			fail "echo_client at a server that $1: not one line"
	fi
	kill -KILL "$server_pid" 2>/dev/null || true # it may have fallen over
	wait "$server_pid" 2>/dev/null || true
	exec {server_out}<&-
}

start "$dir/echo_server" --listen tcp://127.0.0.1:0 --listen "unix:$tmp/socket" --stats \
	--shards $(($(nproc) > 1 ? 2 : 1))
first_url=$url
read -r -t "$limit" -u "$server_out" word url word || fail "echo_server: no second ready line"
[[ $url == "unix:$tmp/socket" ]] || fail "echo_server: the second ready line says $url"
complains 1 "Address already in use" echo_server --listen "$first_url"
check_round_trip
check_bench
url=$first_url
check_round_trip
check_client_ends
check_bench
check_supervise
start_client
finish 0
finish_client 1 1
stats "$tmp/server.out"

for mode in round_robin least_loaded; do
	start "$dir/echo_server" --listen tcp://127.0.0.1:0 --accept-mode "$mode" --stats
	check_round_trip
	start_client
	finish 0
	finish_client 1 1
	stats "$tmp/server.out"
done

check_chat
check_connect_echo
check_ping_pong
check_usage
check_bad_server lies mismatches "the echo differs"
check_bad_server babbles mismatches "more than was sent"
check_bad_server closes closed_by_server "closed by the server"
check_bad_server resets broken "Connection reset"
