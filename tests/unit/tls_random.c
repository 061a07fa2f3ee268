/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#define OPENSSL_SUPPRESS_DEPRECATED /* RAND_METHOD: a provider is a module of its own */

#include "tls_random.h"

#include <stdlib.h>

#include <openssl/rand.h>

static int
random_refuses(unsigned char *out, int len)
{
	(void)out;
	(void)len;
	return 0;
}

static const RAND_METHOD random_out = {
	.bytes = random_refuses,
	.pseudorand = random_refuses,
};

void
tls_random_is_out(bool out)
{
	if (RAND_set_rand_method(out ? &random_out : RAND_OpenSSL()) != 1) {
		abort();
	}
}
