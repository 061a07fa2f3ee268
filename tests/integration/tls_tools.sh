#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# tls_tools.sh EXAMPLES_DIR: echo_tls_server against OpenSSL's, curl's, GnuTLS's and Node's clients, and
# echo_client against OpenSSL's and Node's servers, in both versions, with 10 MB there and back. OpenSSL
# is needed, the others are used where they are installed.
set -euo pipefail

dir=$1
deadline=60
work=$(mktemp -d)
mkfifo "$work/never" # nobody ever writes to it
pids=()

command -v openssl >/dev/null || {
	printf 'tls_tools: skipped, openssl is not installed\n' >&2
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
	printf 'tls_tools: %s\n' "$1" >&2
	cat "$work"/*.err 2>/dev/null | tail -n 20 | sed 's/^/    /' >&2
	exit 1
}

have()
{
	command -v "$1" >/dev/null && return 0
	printf 'tls_tools: %s is not installed\n' "$1"
	return 1
}

# Two authorities' worth: the server's certificate, a client's, and their CA.
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
	} 2>"$work/make.err" || fail "can't make certificates"
}

# start ARGUMENT...: an echo_tls_server; sets server_pid, port and the descriptor server_out.
start()
{
	local ready=$work/ready
	rm -f "$ready"
	mkfifo "$ready"
	"$dir/echo_tls_server" --listen tls://127.0.0.1:0 --shards 1 --stats "$@" \
		>"$ready" 2>"$work/server.err" &
	server_pid=$!
	pids+=("$server_pid")
	exec {server_out}<"$ready"
	read -r -t "$deadline" -u "$server_out" _ url _ || fail "the server did not say where it listens"
	port=${url##*:}
}

# finish: sets stats.
finish()
{
	local rc=0
	kill -TERM "$server_pid"
	stats=$(timeout "$deadline" cat <&"$server_out")
	exec {server_out}<&-
	wait "$server_pid" || rc=$?
	[[ $rc -eq 0 ]] || fail "the server exits with $rc"
	[[ $stats == *'"tls":0,'* && $stats == *'"tls_truncated":0,'* ]] || fail "the server counted $stats"
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

# end_of PID: a program of ours in the background has done its part.
end_of()
{
	kill -KILL "$1" 2>/dev/null || true
	wait "$1" 2>/dev/null || true
}

back_has()
{
	[[ $(stat -c %s "$work/back" 2>/dev/null || echo 0) -ge $1 ]]
}

# The tool reads from a pipe that stays open until everything is back, since some end with their input.
through()
{
	local name=$1
	shift
	rm -f "$work/back"
	{
		cat "$work/text"
		await back_has "$(stat -c %s "$work/text")" || true
	} | timeout "$deadline" "$@" >"$work/back" 2>"$work/tool.err" || fail "$name exits with $?"
	cmp "$work/text" "$work/back" || fail "$name got other bytes than it sent"
}

check_openssl_client()
{
	local version args
	for version in -tls1_2 -tls1_3; do
		args=(-quiet -no_ign_eof -connect "127.0.0.1:$port" -CAfile "$work/ca.pem"
			-verify_return_error -verify_hostname localhost -servername localhost "$version")
		through "s_client $version" openssl s_client "${args[@]}"
	done
}

# The next ticket overwrites the file, so a copy is taken of it.
session_is_whole()
{
	[[ -s $work/session ]] && cp "$work/session" "$work/session.in" &&
		grep -q 'END SSL SESSION' "$work/session.in"
}

# Both tickets work: the second connection is resumed, on whatever connection they were got.
check_resumption()
{
	local version out
	for version in -tls1_2 -tls1_3; do
		rm -f "$work/session" "$work/session.in"
		openssl s_client -connect "127.0.0.1:$port" "$version" -ign_eof -sess_out "$work/session" \
			0<>"$work/never" >"$work/first.out" 2>&1 & # ended below
		pids+=("$!")
		await session_is_whole || fail "s_client $version got no session"
		end_of "${pids[-1]}"
		out=$(timeout "$deadline" openssl s_client -connect "127.0.0.1:$port" "$version" \
			-sess_in "$work/session.in" </dev/null 2>/dev/null) || fail "s_client -sess_in exits with $?"
		[[ $out == *Reused,* ]] || fail "$version was not resumed: $out"
	done
}

check_gnutls_client()
{
	local priority
	for priority in NORMAL:-VERS-ALL:+VERS-TLS1.2 NORMAL:-VERS-ALL:+VERS-TLS1.3; do
		through "gnutls-cli $priority" gnutls-cli --logfile="$work/gnutls.log" \
			--x509cafile="$work/ca.pem" --priority "$priority" -p "$port" localhost
	done
}

# An echo server answers no HTTP, but curl speaks telnet:// to nobody; so it only shakes hands, and
# gets back its own request, which it takes for HTTP/0.9.
check_curl()
{
	local out rc=0
	rm -f "$work/back"
	curl -sSN --http0.9 --cacert "$work/ca.pem" "https://localhost:$port/hello" \
		>"$work/back" 2>"$work/curl.err" & # the answer has no end
	pids+=("$!")
	await grep -qs 'GET /hello HTTP/1.1' "$work/back" || fail "curl got \"$(cat "$work/back")\""
	end_of "${pids[-1]}"
	timeout "$deadline" curl -sS "https://localhost:$port/" >/dev/null 2>"$work/curl.err" || rc=$?
	[[ $rc -eq 60 ]] || fail "curl exits with $rc at a certificate that nobody signed"
}

check_node_client()
{
	local version
	for version in TLSv1.2 TLSv1.3; do
		timeout "$deadline" node -e '
			const [file, ca, port, version] = process.argv.slice(1);
			const fs = require("fs"), sent = fs.readFileSync(file), got = [];
			const socket = require("tls").connect({ host: "127.0.0.1", port, ca: fs.readFileSync(ca),
				servername: "localhost", minVersion: version, maxVersion: version },
				() => socket.end(sent));
			socket.on("data", (data) => got.push(data));
			socket.on("end", () => process.exit(Buffer.concat(got).equals(sent) ? 0 : 3));
			socket.on("error", (error) => { console.error(error); process.exit(4); });
		' "$work/sent" "$work/ca.pem" "$port" "$version" 2>"$work/node.err" || fail "node $version exits with $?"
	done
}

check_our_client()
{
	timeout "$deadline" "$dir/echo_client" --connect "tls://127.0.0.1:$port" --ca "$work/ca.pem" "$@" \
		<"$work/sent" >"$work/back" 2>"$work/client.err" || fail "echo_client exits with $?"
	same "$work/back" "echo_client"
}

# A server that is not ours: what it prints is what it got.
check_openssl_server()
{
	local version
	for version in -tls1_2 -tls1_3; do
		rm -f "$work/s_server.out" # what the last one said is not what this one says
		openssl s_server -accept 0 -naccept 1 -rev -cert "$work/server.pem" \
			-key "$work/server.key" "$version" >"$work/s_server.out" 2>"$work/s_server.err" &
		pids+=("$!")
		await grep -qs '^ACCEPT .*:[0-9][0-9]*$' "$work/s_server.out" || true
		port=$(sed -n 's/^ACCEPT .*:\([0-9]*\)$/\1/p' "$work/s_server.out")
		[[ -n $port ]] || fail "s_server did not say where it listens"
		rm -f "$work/back"
		{ printf 'hello\n'; await back_has 6 || true; } |
			timeout "$deadline" "$dir/echo_client" --connect "tls://127.0.0.1:$port" \
				--ca "$work/ca.pem" >"$work/back" 2>"$work/client.err" || true
		[[ $(cat "$work/back") == olleh ]] || fail "echo_client got \"$(cat "$work/back")\" from s_server $version"
	done
}

check_node_server()
{
	local version ready=$work/node.ready
	for version in TLSv1.2 TLSv1.3; do
		rm -f "$ready"
		mkfifo "$ready"
		node -e '
			const [cert, key, version] = process.argv.slice(1), fs = require("fs");
			const server = require("tls").createServer({ cert: fs.readFileSync(cert),
				key: fs.readFileSync(key), minVersion: version, maxVersion: version },
				(socket) => socket.pipe(socket));
			server.listen(0, "127.0.0.1", () => console.log(server.address().port));
		' "$work/server.pem" "$work/server.key" "$version" >"$ready" 2>"$work/node.err" &
		pids+=("$!")
		read -r -t "$deadline" port <"$ready" || fail "node did not say where it listens"
		check_our_client
		end_of "${pids[-1]}"
	done
}

make_certificates
head -c 12000000 /dev/urandom >"$work/sent"
# s_client takes some letters for commands; these are none
head -c 500000 /dev/urandom | od -An -v -tx1 >"$work/text"

start --cert "$work/server.pem" --key "$work/server.key" --alpn http/1.1,echo
check_openssl_client
check_our_client
check_our_client --server-name localhost --alpn echo
have node && check_node_client
have gnutls-cli && check_gnutls_client
have curl && check_curl
check_resumption
rc=0
"$dir/echo_client" --connect "tls://127.0.0.1:$port" </dev/null >/dev/null 2>"$work/client.err" || rc=$?
[[ $rc -eq 1 ]] && grep -q 'tls: Key was rejected' "$work/client.err" || fail "echo_client trusts anybody"
kill -TERM "$server_pid"
wait "$server_pid" || fail "the server exits with $?"

start --cert "$work/server.pem" --key "$work/server.key" --ca "$work/ca.pem"
check_our_client --cert "$work/client.pem" --key "$work/client.key"
finish

start # with a certificate of its own making
cert=$(sed -n 's/.*--ca \(.*\)$/\1/p' "$work/server.err")
[[ -r $cert && $(stat -c %a "$cert") == 600 && $(stat -c %a "${cert%/*}/key.pem") == 600 ]] || fail "there is no certificate in \"$cert\""
cp "$cert" "$work/ca.pem"
check_our_client
finish
[[ ! -e $cert ]] || fail "the certificate was not removed"

# SIGHUP: new connections see the new certificate, and a bad one changes nothing.
check_reload()
{
	local want=$1 says=$2
	kill -HUP "$server_pid"
	await grep -q "$says" "$work/server.err" || fail "the server did not say \"$says\""
	shown=$(timeout "$deadline" openssl s_client -connect "127.0.0.1:$port" </dev/null 2>/dev/null |
		openssl x509 -noout -serial) || true
	[[ $shown == "$want" ]] || fail "after SIGHUP the server shows $shown, not $want"
}

make_certificates
start --cert "$work/server.pem" --key "$work/server.key"
make_certificates # over them
check_reload "$(openssl x509 -noout -serial -in "$work/server.pem")" ': reloaded$'
before=$(openssl x509 -noout -serial -in "$work/server.pem")
: >"$work/server.key"
check_reload "$before" 'key_file'
kill -TERM "$server_pid"
wait "$server_pid" || fail "the server exits with $?"

make_certificates
check_openssl_server
have node && check_node_server
exit 0
