/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "support/tls_flags.h"

#include <string.h>

const struct rl_conn_options *
tls_flags_options(struct tls_flags *flags, const char *url)
{
	if (strncmp(url, "tls://", strlen("tls://")) != 0) {
		return NULL;
	}
	flags->conn.tls = &flags->tls;
	return &flags->conn;
}

void
tls_flags_apply(void *arg, const char *flag, const char *text)
{
	struct tls_flags *flags = arg;
	const struct {
		const char *flag;
		const char **field;
	} fields[] = {
		{ "--cert", &flags->tls.cert_file },
		{ "--key", &flags->tls.key_file },
		{ "--ca", &flags->tls.ca_file },
		{ "--alpn", &flags->tls.alpn },
		{ "--server-name", &flags->tls.server_name },
	};

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		if (strcmp(flag, fields[i].flag) == 0) {
			*fields[i].field = text;
		}
	}
}
