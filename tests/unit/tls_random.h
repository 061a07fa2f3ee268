/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * OpenSSL without random numbers, as a system may leave it that has none.
 */
#ifndef RINGLINE_TESTS_TLS_RANDOM_H
#define RINGLINE_TESTS_TLS_RANDOM_H

#include <stdbool.h>

/* From now on the process gets none; or gets them again. */
void tls_random_is_out(bool out);

#endif
