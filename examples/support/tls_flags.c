/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "support/tls_flags.h"

#include <string.h>

#include "support/options.h"

const struct rl_conn_options *
tls_flags_options(struct tls_flags *flags, const char *url)
{
	if (strncmp(url, "tls://", strlen("tls://")) != 0) {
		return NULL;
	}
	flags->conn.tls = &flags->tls;
	return &flags->conn;
}

/* The next of several, besides the first. */
static struct rl_tls_cert *
flags_next(struct tls_flags *flags, uint32_t *given, const char *flag, const char *text)
{
	uint32_t i = *given;

	if (i == RL_TLS_CERTS_MAX) {
		options_misuse("%s: '%s' is one too many, 1 to %d are possible", flag, text,
			       RL_TLS_CERTS_MAX + 1);
	}
	*given = i + 1;
	flags->tls.certs = flags->certs;
	if (flags->tls.certs_count < *given) {
		flags->tls.certs_count = *given;
	}
	return &flags->certs[i];
}

static void
flags_apply_cert(struct tls_flags *flags, const char *flag, const char *text)
{
	if (flags->tls.cert_file == NULL) {
		flags->tls.cert_file = text;
		return;
	}
	flags_next(flags, &flags->certs_given, flag, text)->cert_file = text;
}

static void
flags_apply_key(struct tls_flags *flags, const char *flag, const char *text)
{
	if (flags->tls.key_file == NULL) {
		flags->tls.key_file = text;
		return;
	}
	flags_next(flags, &flags->keys_given, flag, text)->key_file = text;
}

void
tls_flags_apply(void *arg, const char *flag, const char *text)
{
	struct tls_flags *flags = arg;
	const struct {
		const char *flag;
		const char **field;
	} fields[] = {
		{ "--ca", &flags->tls.ca_file },
		{ "--alpn", &flags->tls.alpn },
		{ "--server-name", &flags->tls.server_name },
	};

	if (strcmp(flag, "--cert") == 0) {
		flags_apply_cert(flags, flag, text);
	} else if (strcmp(flag, "--key") == 0) {
		flags_apply_key(flags, flag, text);
	} else if (strcmp(flag, "--refuse-unknown-names") == 0) {
		flags->tls.refuse_unknown_names = true;
	}
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		if (strcmp(flag, fields[i].flag) == 0) {
			*fields[i].field = text;
		}
	}
}
