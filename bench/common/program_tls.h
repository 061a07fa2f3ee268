/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * program_tls - how those of the small programs fail that have OpenSSL.
 */
#ifndef RINGLINE_BENCH_PROGRAM_TLS_H
#define RINGLINE_BENCH_PROGRAM_TLS_H

#include <openssl/err.h>
#include <stdbool.h>
#include <stdio.h>

#include "common/program.h"

/* program_die(), after OpenSSL's own complaints, unless it @p did. */
static inline void
program_tls_must(bool did, const char *what)
{
	if (!did) {
		ERR_print_errors_fp(stderr);
		program_die(what);
	}
}

#endif
