#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# tls_tools.sh EXAMPLES_DIR: echo_tls_server against OpenSSL's, curl's, GnuTLS's, Node's and our own
# clients, in both versions: volume, certificates of both ends and changes of them, names, ALPN,
# resumption. OpenSSL is needed, the others are used where they are installed.
set -euo pipefail

# shellcheck source=tests/integration/tls_common.sh
. "${0%/*}/tls_common.sh"

shards=1 # of servers that are started

# start ARGUMENT...: an echo_tls_server; sets server_pid, port and the descriptor server_out.
start()
{
	local ready=$work/ready
	rm -f "$ready"
	mkfifo "$ready"
	"$dir/echo_tls_server" --listen tls://127.0.0.1:0 --shards "$shards" --stats "$@" \
		>"$ready" 2>"$work/server.err" &
	server_pid=$!
	pids+=("$server_pid")
	exec {server_out}<"$ready"
	read -r -t "$deadline" -u "$server_out" _ url _ || fail "the server did not say where it listens"
	port=${url##*:}
}

# stop: some of its clients were killed.
stop()
{
	kill -TERM "$server_pid"
	wait "$server_pid" || fail "the server exits with $?"
	forget "$server_pid"
	exec {server_out}<&-
}

# finish: sets stats. Nobody broke off.
finish()
{
	local rc=0
	kill -TERM "$server_pid"
	stats=$(timeout "$deadline" cat <&"$server_out")
	exec {server_out}<&-
	wait "$server_pid" || rc=$?
	forget "$server_pid"
	[[ $rc -eq 0 ]] || fail "the server exits with $rc"
	[[ $stats == *'"tls":0,'* && $stats == *'"tls_truncated":0,'* ]] || fail "the server counted $stats"
}

back_has()
{
	[[ $(stat -c %s "$work/back" 2>/dev/null || echo 0) -ge $1 ]]
}

# The tool reads from a pipe that stays open until everything is back, since some end with their input.
through()
{
	local who=$1
	shift
	rm -f "$work/back"
	{
		cat "$work/text"
		await back_has "$(stat -c %s "$work/text")" || true
	} | timeout "$deadline" "$@" >"$work/back" 2>"$work/tool.err" || fail "$who exits with $?"
	cmp "$work/text" "$work/back" || fail "$who got other bytes than it sent"
}

# refused SAYS COMMAND...: it ends by itself, for that reason.
refused()
{
	local says=$1 rc=0
	shift
	timeout "$deadline" "$@" 0<>"$work/never" >"$work/tool.err" 2>&1 || rc=$?
	[[ $rc -ne 0 && $rc -ne 124 ]] || fail "$* exits with $rc"
	grep -q "$says" "$work/tool.err" || fail "$* did not say \"$says\""
}

# check_openssl_client ARGUMENT...
check_openssl_client()
{
	local version args
	for version in -tls1_2 -tls1_3; do
		args=(-quiet -no_ign_eof -connect "127.0.0.1:$port" -CAfile "$work/ca.pem"
			-verify_return_error -verify_hostname localhost -servername localhost
			"$version" "$@")
		through "s_client $version" openssl s_client "${args[@]}"
	done
}

# The next ticket overwrites the file, so a copy is taken of it.
session_is_whole()
{
	[[ -s $work/session ]] && cp "$work/session" "$work/session.in" &&
		grep -q 'END SSL SESSION' "$work/session.in"
}

# first VERSION: a connection whose session goes to the file "session.in".
first()
{
	rm -f "$work/session" "$work/session.in"
	openssl s_client -connect "127.0.0.1:$port" "$1" -ign_eof -sess_out "$work/session" \
		0<>"$work/never" >"$work/first.out" 2>&1 & # ended below
	pids+=("$!")
	await session_is_whole || fail "s_client $1 got no session"
	end_of "${pids[-1]}"
}

# again VERSION STATE: with that session: Reused or New.
again()
{
	local out
	out=$(timeout "$deadline" openssl s_client -connect "127.0.0.1:$port" "$1" \
		-sess_in "$work/session.in" </dev/null 2>/dev/null) || fail "s_client -sess_in exits with $?"
	[[ $out == *"$2, TLS"* ]] || fail "$1 is not $2: $out"
}

# says_more TEXT THAN: the server has said so more often than that.
says_more()
{
	[[ $(grep -c "$1" "$work/server.err") -gt $2 ]]
}

# signal NAME TEXT: and the server says so, once more than before.
signal()
{
	local before
	before=$(grep -c "$2" "$work/server.err" || true)
	kill "-$1" "$server_pid"
	await says_more "$2" "$before" || fail "after SIG$1 the server did not say \"$2\""
}

# The acceptor hands out connections in turn, so two in a row are on both shards.
check_resumption()
{
	local version
	for version in -tls1_2 -tls1_3; do
		first "$version"
		again "$version" Reused
		again "$version" Reused
		signal USR2 'the key of tickets was changed'
		again "$version" Reused
		again "$version" Reused
		signal HUP ': reloaded$'
		again "$version" Reused
		signal USR2 'the key of tickets was changed'
		again "$version" New
		again "$version" New
	done
}

# shown NAME: whom the certificate is about that s_client sees when it asks for that name.
shown()
{
	local name=(-servername "$1")
	[[ -n $1 ]] || name=(-noservername)
	timeout "$deadline" openssl s_client -connect "127.0.0.1:$port" "${name[@]}" \
		</dev/null 2>"$work/tool.err" | openssl x509 -noout -subject -nameopt multiline 2>/dev/null |
		sed -n 's/.*commonName *= //p'
}

# check_name NAME SUBJECT
check_name()
{
	local got
	got=$(shown "$1") || true
	[[ $got == "$2" ]] || fail "who asks for \"$1\" sees \"$got\", not \"$2\""
}

check_names()
{
	local name
	check_name shop.test shop
	check_name WWW.Shop.test shop
	check_name mail.test mail
	check_name localhost localhost
	check_name a.b.shop.test "$1"
	check_name '' localhost
	if have curl; then
		for name in shop.test www.shop.test mail.test localhost; do
			rm -f "$work/curl.out"
			curl -sSN --http0.9 --cacert "$work/ca.pem" --resolve "$name:$port:127.0.0.1" \
				"https://$name:$port/" >"$work/curl.out" 2>"$work/curl.err" & # ended below
			pids+=("$!")
			await grep -qs '^Host: ' "$work/curl.out" || fail "curl does not trust $name"
			end_of "${pids[-1]}"
		done
	fi
	have gnutls-cli && check_gnutls_names
	have node && check_node_names "$1"
	return 0
}

# Each ends by itself, and well only if the certificate is that name's.
check_gnutls_names()
{
	local name version
	for version in 1.2 1.3; do
		for name in shop.test www.shop.test mail.test localhost; do
			gnutls "$version" --sni-hostname="$name" --verify-hostname="$name"
			timeout "$deadline" "${gnutls[@]}" </dev/null >"$work/tool.err" 2>&1 ||
				fail "gnutls-cli $version does not trust $name"
		done
	done
}

# It connects twice, and uses its session the second time.
check_gnutls_resumption()
{
	local version
	for version in 1.2 1.3; do
		gnutls "$version" --resume --waitresumption
		timeout "$deadline" "${gnutls[@]}" </dev/null >"$work/tool.err" 2>&1 ||
			fail "gnutls-cli $version --resume exits with $?"
		grep -q 'This is a resumed session' "$work/tool.err" || fail "gnutls-cli $version does not resume"
	done
}

# Each name's certificate is that name's, and a session is resumed under it.
check_node_names()
{
	timeout "$deadline" node -e '
		const [ca, port, unknown] = process.argv.slice(1), tls = require("tls");
		const sees = (servername, session) => new Promise((done) => {
			const socket = tls.connect({ host: "127.0.0.1", port, servername, session,
				ca: require("fs").readFileSync(ca), checkServerIdentity: () => undefined });
			let kept;
			socket.on("session", (session) => { kept = session; });
			socket.on("secureConnect", () => socket.write("x"));
			socket.on("data", () => {
				const cert = socket.getPeerCertificate();
				done({ cn: cert.subject && cert.subject.CN, reused: socket.isSessionReused(), kept });
				socket.end();
			});
			socket.on("error", (error) => done({ error }));
		});
		(async () => {
			for (const [name, cn] of [["shop.test", "shop"], ["a.shop.test", "shop"], ["mail.test", "mail"],
					["localhost", "localhost"], ["nobody.test", unknown]]) {
				const first = await sees(name);
				if (cn === "" ? !first.error : first.cn !== cn || first.reused) throw [name, first];
				if (cn === "") continue;
				if (!(await sees(name, first.kept)).reused) throw [name, "not resumed"];
				if ((await sees("www.shop.test", first.kept)).reused) throw [name, "resumed elsewhere"];
			}
			process.exit(0);
		})().catch((error) => { console.error(error); process.exit(3); });
	' "$work/ca.pem" "$port" "$1" 2>"$work/node.err" || fail "node exits with $?"
}

# gnutls VERSION ARGUMENT...: sets the array "gnutls", a command.
gnutls()
{
	gnutls=(gnutls-cli --x509cafile="$work/ca.pem" --priority "NORMAL:-VERS-ALL:+VERS-TLS$1"
		-p "$port" localhost "${@:2}")
}

# check_gnutls_client ARGUMENT...
check_gnutls_client()
{
	local version
	for version in 1.2 1.3; do
		gnutls "$version" --logfile="$work/gnutls.log" "$@"
		through "gnutls-cli $version" "${gnutls[@]}"
	done
}

# An echo server answers no HTTP, but curl speaks telnet:// to nobody; so it only shakes hands, and
# gets back its own request, which it takes for HTTP/0.9.
check_curl()
{
	local version
	for version in 1.2 1.3; do
		rm -f "$work/back"
		curl -vsSN --http0.9 "--tlsv$version" --tls-max "$version" --cacert "$work/ca.pem" "$@" \
			"https://localhost:$port/hello" >"$work/back" 2>"$work/curl.err" & # it has no end
		pids+=("$!")
		await grep -qs 'GET /hello HTTP/1.1' "$work/back" || fail "curl got \"$(cat "$work/back")\""
		end_of "${pids[-1]}"
		grep -q "connection using TLSv$version" "$work/curl.err" || fail "curl did not speak $version"
	done
}

# Right after it: what was agreed on, and whom curl does not trust.
check_curl_is_told()
{
	local rc=0
	grep -q 'ALPN.* accepted.* http/1.1' "$work/curl.err" || fail "curl is told of no protocol"
	timeout "$deadline" curl -sS "https://localhost:$port/" >/dev/null 2>"$work/curl.err" || rc=$?
	[[ $rc -eq 60 ]] || fail "curl exits with $rc at a certificate that nobody signed"
}

# check_node_client [CERT KEY]
check_node_client()
{
	local version
	for version in TLSv1.2 TLSv1.3; do
		timeout "$deadline" node -e '
			const [file, ca, port, version, cert, key] = process.argv.slice(1);
			const fs = require("fs"), sent = fs.readFileSync(file), got = [];
			const socket = require("tls").connect({ host: "127.0.0.1", port, ca: fs.readFileSync(ca),
				cert: cert && fs.readFileSync(cert), key: key && fs.readFileSync(key),
				servername: "localhost", minVersion: version, maxVersion: version },
				() => socket.end(sent));
			socket.on("data", (data) => got.push(data));
			socket.on("end", () => process.exit(Buffer.concat(got).equals(sent) ? 0 : 3));
			socket.on("error", (error) => { console.error(error); process.exit(4); });
		' "$work/sent" "$work/ca.pem" "$port" "$version" "$@" 2>"$work/node.err" ||
			fail "node $version exits with $?"
	done
}

# node_is_told VERSION WANT ALPN [CERT KEY]: the protocol that was chosen, or the error.
node_is_told()
{
	local got
	got=$(timeout "$deadline" node -e '
		const [ca, port, version, alpn, cert, key] = process.argv.slice(1), fs = require("fs");
		const socket = require("tls").connect({ host: "127.0.0.1", port, ca: fs.readFileSync(ca),
			cert: cert && fs.readFileSync(cert), key: key && fs.readFileSync(key),
			servername: "localhost", minVersion: version, maxVersion: version,
			ALPNProtocols: alpn ? alpn.split(",") : [] }, () => socket.write("x"));
		const say = (what) => { console.log(what); process.exit(0); };
		socket.on("data", () => say(socket.alpnProtocol));
		socket.on("error", (error) => say(error.code));
		socket.on("end", () => say("the end"));
	' "$work/ca.pem" "$port" "$1" "${@:3}" 2>"$work/node.err") || fail "node $1 exits with $?"
	[[ $got == "$2" ]] || fail "node $1 is told \"$got\", not \"$2\""
}

# The server's order counts: http/1.1, then echo.
check_alpn()
{
	local version out pair
	for version in -tls1_2 -tls1_3; do
		for pair in 'echo echo' 'echo,http/1.1 http/1.1' 'h2,echo echo'; do
			out=$(timeout "$deadline" openssl s_client -connect "127.0.0.1:$port" "$version" \
				-alpn "${pair% *}" </dev/null 2>"$work/tool.err") || fail "s_client exits with $?"
			grep -q "^ALPN protocol: ${pair#* }\$" <<<"$out" ||
				fail "s_client $version -alpn ${pair% *} is told $(grep ALPN <<<"$out")"
		done
		refused 'alert number 120' openssl s_client -connect "127.0.0.1:$port" "$version" -alpn h2
	done
	if have gnutls-cli; then
		for version in 1.2 1.3; do
			gnutls "$version" --alpn=h2 --alpn=echo
			out=$(timeout "$deadline" "${gnutls[@]}" </dev/null 2>"$work/tool.err") ||
				fail "gnutls-cli exits with $?"
			grep -q '^- Application protocol: echo$' <<<"$out" ||
				fail "gnutls-cli $version is not told echo: $out"
			gnutls "$version" --alpn=h2
			refused 'Received alert .120.' "${gnutls[@]}"
		done
	fi
	have node || return 0
	for version in TLSv1.2 TLSv1.3; do
		node_is_told "$version" echo h2,echo
		node_is_told "$version" http/1.1 echo,http/1.1
		node_is_told "$version" false ''
		node_is_told "$version" ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL h2
	done
}

# What is too old, and who was talked into a version that is older than need be.
check_downgrade()
{
	local args=(openssl s_client -quiet -connect "127.0.0.1:$port")
	refused 'alert number 70' "${args[@]}" -tls1_1 -cipher ALL:@SECLEVEL=0
	refused 'alert number 86' "${args[@]}" -tls1_2 -fallback_scsv
}

# A client that shows no certificate, or one that the server's CA did not sign, is sent away.
check_who_is_refused()
{
	local version alert code args
	for version in 1.2 1.3; do
		alert=116 code=ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED
		[[ $version == 1.3 ]] || alert=40 code=ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE
		args=(openssl s_client -quiet -connect "127.0.0.1:$port" "-tls${version/./_}")
		refused "alert number $alert" "${args[@]}"
		refused 'alert number 48' "${args[@]}" -cert "$work/stranger.pem" -key "$work/stranger.key"
		if have gnutls-cli; then
			gnutls "$version"
			refused "Received alert .$alert." "${gnutls[@]}"
		fi
		if have node; then
			node_is_told "TLSv$version" "$code" ''
			node_is_told "TLSv$version" ERR_SSL_TLSV1_ALERT_UNKNOWN_CA '' \
				"$work/stranger.pem" "$work/stranger.key"
		fi
	done
	refused ': tls: ' "$dir/echo_client" --connect "tls://127.0.0.1:$port" --ca "$work/ca.pem"
	refused ': tls: ' "$dir/echo_client" --connect "tls://127.0.0.1:$port" --ca "$work/ca.pem" \
		--cert "$work/stranger.pem" --key "$work/stranger.key"
}

make_certificates
make_input

start --cert "$work/server.pem" --key "$work/server.key" --alpn http/1.1,echo
check_openssl_client
check_our_client
check_our_client --server-name localhost --alpn echo
have node && check_node_client
have gnutls-cli && check_gnutls_client
if have curl; then
	check_curl
	check_curl_is_told
fi
check_alpn
check_downgrade
refused 'tls: Key was rejected' "$dir/echo_client" --connect "tls://127.0.0.1:$port"
stop

start --cert "$work/server.pem" --key "$work/server.key" --ca "$work/ca.pem"
check_our_client --cert "$work/client.pem" --key "$work/client.key"
check_openssl_client -cert "$work/client.pem" -key "$work/client.key"
have gnutls-cli &&
	check_gnutls_client --x509certfile="$work/client.pem" --x509keyfile="$work/client.key"
have node && check_node_client "$work/client.pem" "$work/client.key"
finish

start --cert "$work/server.pem" --key "$work/server.key" --ca "$work/ca.pem"
have curl && check_curl --cert "$work/client.pem" --key "$work/client.key"
check_who_is_refused
stop

shards=2
[[ $(nproc) -gt 1 ]] || shards=1
start --cert "$work/server.pem" --key "$work/server.key" --accept-mode round_robin
check_resumption
have gnutls-cli && check_gnutls_resumption
stop
shards=1

several=(--cert "$work/server.pem" --key "$work/server.key" --cert "$work/shop.pem" --key "$work/shop.key"
	--key "$work/mail.key" --cert "$work/mail.pem")
start "${several[@]}"
check_names localhost
stop
start "${several[@]}" --refuse-unknown-names
check_names ''
stop
rc=0
"$dir/echo_tls_server" --listen tls://127.0.0.1:0 --shards 1 "${several[@]:0:6}" --key "$work/mail.key" \
	2>"$work/server.err" || rc=$?
[[ $rc -eq 1 ]] && grep -q 'shop.key\|mail.key' "$work/server.err" || fail "keys of others are taken"
rc=0
timeout "$deadline" "$dir/echo_tls_server" --listen tls://127.0.0.1:0 --shards 1 "${several[@]}" --key "$work/mail.key" \
	2>"$work/server.err" || rc=$?
[[ $rc -eq 1 ]] && grep -q 'needs cert_file and key_file' "$work/server.err" || fail "a key without a certificate is ignored"

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
stop
