/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * tls_flags - the flags of programs that speak TLS.
 *
 *	static struct tls_flags tls = TLS_FLAGS_INIT;
 *	static const struct options_flag flags[] = { TLS_FLAGS_CLIENT, { NULL, NULL, NULL, NULL } };
 *	static const struct options_spec spec = { ..., .flags = flags, .arg = &tls };
 *
 *	options_parse(&options, &spec, argc, argv);
 *	rc = rl_conn_open(self, url, &def, NULL, tls_flags_options(&tls, url), NULL);
 *
 * The argument of the flags must begin with the struct. Whether the files are good is for ringline
 * to say.
 */
#ifndef RINGLINE_EXAMPLES_TLS_FLAGS_H
#define RINGLINE_EXAMPLES_TLS_FLAGS_H

#include <ringline/ringline.h>

struct tls_flags {
	struct rl_tls_options tls;
	struct rl_conn_options conn; /* that and nothing else */
	struct rl_tls_cert certs[RL_TLS_CERTS_MAX]; /* tls.certs */
	uint32_t certs_given; /* besides the first, likewise keys; the larger is tls.certs_count */
	uint32_t keys_given;
};

#define TLS_FLAGS_INIT { .tls = RL_TLS_OPTIONS(.alpn = NULL) }

/* The options for @url: NULL if it is not tls://. They are the flags' own: keep them. */
const struct rl_conn_options *tls_flags_options(struct tls_flags *flags, const char *url);

void tls_flags_apply(void *arg, const char *flag, const char *text);

#define TLS_FLAGS_BOTH                                                                             \
	{ "cert", "FILE", "tls: this end's certificate, PEM; repeatable where it listens",         \
	  tls_flags_apply },                                                                       \
		{ "key", "FILE", "tls: its private key, PEM; one for each --cert, in their order", \
		  tls_flags_apply },                                                               \
	{                                                                                          \
		"alpn", "LIST", "tls: protocols, in order of preference: h2,http/1.1",             \
			tls_flags_apply                                                            \
	}

#define TLS_FLAGS_CLIENT                                                                          \
	TLS_FLAGS_BOTH,                                                                           \
		{ "ca", "FILE", "tls: who signed the server's certificate (the system's)",        \
		  tls_flags_apply },                                                              \
	{                                                                                         \
		"server-name", "NAME", "tls: whom it must name (the URL's host)", tls_flags_apply \
	}

#define TLS_FLAGS_SERVER                                                                       \
	TLS_FLAGS_BOTH,                                                                        \
		{ "refuse-unknown-names", NULL,                                                \
		  "tls: only who asks for a name of a --cert, or for none", tls_flags_apply }, \
	{                                                                                      \
		"ca", "FILE", "tls: clients need a certificate that this one signed",          \
			tls_flags_apply                                                        \
	}

#endif
