/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * TLS: what a listener shows, what a connection trusts.
 *
 *	static const struct rl_tls_options tls = RL_TLS_OPTIONS(.cert_file = "server.pem",
 *								.key_file = "server.key");
 *	static const struct rl_listener_options options = { .conn = { .tls = &tls } };
 *
 *	rc = rl_listener_open(sys, "tls://0.0.0.0:7443", &session_def, &options, NULL);
 *
 * An actor does not notice: with tls:// in the URL the same messages come, RL_MSG_OPEN when the
 * handshake is done, and the same verbs work. TLS 1.2 and 1.3, no compression, no renegotiation, no
 * early data. Sessions are resumed, by tickets; opened connections do so by themselves. An opened
 * connection verifies the other end's certificate and its name; there is no
 * switch to turn that off: whoever has a certificate of their own names it as ca_file.
 */
#ifndef RINGLINE_TLS_H
#define RINGLINE_TLS_H

#include <ringline/types.h>

RL_BEGIN_DECLS

/** The most certificates that a listener has besides its first. */
#define RL_TLS_CERTS_MAX 64

/** A certificate for some of a listener's names. */
struct rl_tls_cert {
	/** PEM: the certificate, then those up to its root. It must have a DNS name. */
	const char *cert_file;
	/** PEM: its private key, without a passphrase. */
	const char *key_file;
};

/** What one end of TLS needs to know; zero means the default. */
struct rl_tls_options {
	/** sizeof(struct rl_tls_options) as the program was compiled; RL_TLS_OPTIONS fills it. */
	size_t struct_size;
	/** PEM: this end's certificate, then those up to its root. A listener needs one. */
	const char *cert_file;
	/** PEM: the private key of cert_file, without a passphrase. Both or none. */
	const char *key_file;
	/**
	 * PEM: who may have signed the other end's certificate. Opened connections: default, the
	 * system's store. Listeners: default, clients need no certificate; with it they must have
	 * one.
	 */
	const char *ca_file;
	/**
	 * Opened connections: the name that the other end's certificate must have, and that is sent
	 * along (SNI). Default: the URL's host. A numeric address is looked for among the
	 * certificate's addresses, and not sent.
	 */
	const char *server_name;
	/**
	 * Protocols in order of preference, "h2,http/1.1" (ALPN). Default: none are spoken of. A
	 * listener that has some ends a handshake with a client that offers only others.
	 */
	const char *alpn;
	/**
	 * Listeners: certificates besides cert_file, up to RL_TLS_CERTS_MAX. A client that asks for
	 * a name (SNI) gets the one that has it among its DNS names; if none has, the one that has
	 * it with a star for the first label; the first of several. All others get cert_file.
	 */
	const struct rl_tls_cert *certs;
	/** How many there are in certs. */
	uint32_t certs_count;
	/**
	 * Listeners: who asks for a name that no certificate has is refused, with the alert
	 * unrecognized_name. Default: gets cert_file, and minds or not. Who asks for none always
	 * does.
	 */
	bool refuse_unknown_names;
};

/** Options with the given fields, everything else at its default. */
#ifndef __cplusplus
#define RL_TLS_OPTIONS(...) { .struct_size = sizeof(struct rl_tls_options), __VA_ARGS__ }
#endif

/** The longest text in struct rl_tls_info, its NUL included. */
#define RL_TLS_TEXT_MAX 256

/** What a handshake came to, in RL_MSG_OPEN; borrowed like all of a message. */
struct rl_tls_info {
	/** "TLSv1.2" or "TLSv1.3", and the cipher's name. */
	const char *version;
	const char *cipher;
	/**
	 * The session of an earlier connection was resumed: what its certificates proved then
	 * counts now.
	 */
	bool resumed;
	/** The application protocol that both ends agreed on; empty: none. */
	char alpn[RL_TLS_TEXT_MAX];
	/** The name that the client asked for (SNI); empty: none. */
	char server_name[RL_TLS_TEXT_MAX];
	/**
	 * Whom the other end's certificate is about, as RFC 2253 writes it ("CN=client 7,O=x");
	 * empty: it has none. The certificate was verified. One whose subject does not fit is not
	 * accepted: nobody is known by the beginning of a name.
	 */
	char peer_subject[RL_TLS_TEXT_MAX];
	/** SHA-256 of that certificate; zeros: it has none. */
	uint8_t peer_sha256[32];
};

RL_END_DECLS

#endif
