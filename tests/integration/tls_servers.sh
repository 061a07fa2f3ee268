#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# tls_servers.sh EXAMPLES_DIR: echo_client against OpenSSL's and Node's servers, in both versions:
# volume, our certificate, names, ALPN, resumption. OpenSSL is needed, Node is used where it is installed.
set -euo pipefail

# shellcheck source=tests/integration/tls_common.sh
. "${0%/*}/tls_common.sh"

ours=(--cert "$work/client.pem" --key "$work/client.key")

# s_server ARGUMENT...: OpenSSL's; sets port and theirs, its pid.
s_server()
{
	rm -f "$work/theirs.out" # what the last one said is not what this one says
	openssl s_server -accept 0 -cert "$work/server.pem" -key "$work/server.key" "$@" \
		0<>"$work/never" >"$work/theirs.out" 2>"$work/theirs.err" &
	theirs=$!
	pids+=("$theirs")
	await grep -qs '^ACCEPT .*:[0-9][0-9]*$' "$work/theirs.out" || fail "s_server $* does not listen"
	port=$(sed -n 's/^ACCEPT .*:\([0-9]*\)$/\1/p' "$work/theirs.out")
}

# node_server VERSION [ALPN CA]: an echo server that says in theirs.out whom it accepted. With a CA
# its clients need a certificate.
node_server()
{
	rm -f "$work/theirs.out"
	node -e '
		const [version, cert, key, alpn, ca] = process.argv.slice(1), fs = require("fs");
		const server = require("tls").createServer({ cert: fs.readFileSync(cert),
			key: fs.readFileSync(key), minVersion: version, maxVersion: version,
			ALPNProtocols: alpn ? [alpn] : undefined, ca: ca && fs.readFileSync(ca),
			requestCert: !!ca, rejectUnauthorized: !!ca }, (socket) => {
			const peer = socket.getPeerCertificate();
			console.log(socket.getProtocol(), "alpn", socket.alpnProtocol, "peer",
				peer.subject ? peer.subject.CN : "none", "resumed", socket.isSessionReused());
			socket.pipe(socket);
		});
		server.on("tlsClientError", (error) => console.log("refused", error.code));
		server.listen(0, "127.0.0.1", () => console.log("port", server.address().port));
	' "$1" "$work/server.pem" "$work/server.key" "${@:2}" >"$work/theirs.out" 2>"$work/theirs.err" &
	theirs=$!
	pids+=("$theirs")
	await grep -qs '^port [0-9][0-9]*$' "$work/theirs.out" || fail "node $* does not listen"
	port=$(sed -n 's/^port //p' "$work/theirs.out")
}

# they_say COUNT PATTERN: so many lines, now or soon.
they_say()
{
	await they_said "$@" ||
		fail "not $1 times \"$2\" in: $(grep -v '^[A-Za-z0-9+/=]*$' "$work/theirs.out")"
}

they_said()
{
	[[ $(grep -c "$2" "$work/theirs.out") -eq $1 ]]
}

# refused ARGUMENT...: our client is, and says that it was by TLS.
refused()
{
	local rc=0
	timeout "$deadline" "$dir/echo_client" --connect "tls://127.0.0.1:$port" --ca "$work/ca.pem" "$@" \
		0<>"$work/never" >/dev/null 2>"$work/client.err" || rc=$?
	[[ $rc -eq 1 ]] || fail "echo_client $* exits with $rc"
	grep -q ': tls: ' "$work/client.err" || fail "echo_client $* is not told by TLS"
}

# s_server -rev answers each line with its reverse.
check_openssl_volume()
{
	rm -f "$work/back"
	s_server -rev "$1"
	timeout "$deadline" "$dir/echo_client" --connect "tls://127.0.0.1:$port" --ca "$work/ca.pem" \
		<"$work/text" >"$work/back" 2>"$work/client.err" || fail "echo_client exits with $?"
	rev "$work/text" | cmp - "$work/back" || fail "echo_client got something else from s_server $1"
	end_of "$theirs"
}

# A client without certificate, and without a protocol that is known; then two connections of one
# with both, of which the second resumes.
check_openssl_server()
{
	s_server "$1" -alpn http/1.1,echo -CAfile "$work/ca.pem" -Verify 1 -verify_return_error
	refused
	refused "${ours[@]}" --alpn h2
	rm -f "$work/back"
	timeout "$deadline" "$dir/echo_client" --connect "tls://127.0.0.1:$port" --ca "$work/ca.pem" \
		"${ours[@]}" --alpn h2,echo --resume --stats </dev/null >"$work/back" 2>"$work/client.err" ||
		fail "echo_client exits with $?"
	grep -q '"tls_handshakes":2,"tls_resumed":1[,}]' "$work/back" || fail "we count $(cat "$work/back")"
	they_say 2 '^ALPN protocols selected: echo$'
	they_say 2 '^subject=.*CN *= *client$'
	they_say 1 '^Reused session-id$'
	they_say 2 '^DONE$'
	end_of "$theirs"
}

# It shows its second certificate to who asks for that name, the first to all others.
check_openssl_names()
{
	s_server -rev "$1" -servername shop.test -cert2 "$work/shop.pem" -key2 "$work/shop.key"
	timeout "$deadline" "$dir/echo_client" --connect "tls://127.0.0.1:$port" --ca "$work/ca.pem" \
		--server-name www.shop.test </dev/null 2>"$work/client.err" && fail "s_server knows that name"
	timeout "$deadline" "$dir/echo_client" --connect "tls://127.0.0.1:$port" --ca "$work/ca.pem" \
		--server-name shop.test </dev/null 2>"$work/client.err" || fail "echo_client exits with $?"
	end_of "$theirs"
}

check_node_server()
{
	node_server "$1"
	check_our_client
	they_say 1 "^$1 alpn false peer none resumed false\$"
	end_of "$theirs"

	node_server "$1" echo "$work/ca.pem"
	refused
	they_say 1 '^refused ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE$'
	check_our_client "${ours[@]}" --alpn h2,echo --resume
	they_say 1 "^$1 alpn echo peer client resumed false\$"
	they_say 1 "^$1 alpn echo peer client resumed true\$"
	end_of "$theirs"
}

make_certificates
make_input
for version in 1.2 1.3; do
	have rev && check_openssl_volume "-tls${version/./_}"
	check_openssl_server "-tls${version/./_}"
	check_openssl_names "-tls${version/./_}"
	have node && check_node_server "TLSv$version"
done
exit 0
