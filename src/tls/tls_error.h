/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What OpenSSL has to say, in our terms. Its errors wait in a queue per thread, which has to be
 * empty before each call, or the answer to one connection is taken for that of another.
 */
#ifndef RINGLINE_TLS_TLS_ERROR_H
#define RINGLINE_TLS_TLS_ERROR_H

#include <errno.h>
#include <stddef.h>

struct ssl_st;

#define TLS_ERROR_TEXT_MAX 120

/* Raised by us in ERR_LIB_USER: nobody here has the name that the peer asked for. */
#define TLS_ERROR_NAME 1

/* Before a call. */
void rli_tls_error_clear(void);

/* The first error of the queue, the cause, in words; empties the queue. Returns @text. */
const char *rli_tls_error_text(char text[TLS_ERROR_TEXT_MAX]);

/*
 * Why a call on @ssl failed, as a negative errno; empties the queue:
 *
 *	-EKEYREJECTED, -EKEYEXPIRED, -EKEYREVOKED  the peer's certificate, by this end
 *	-ECONNABORTED     the peer sent a fatal alert
 *	-EPROTONOSUPPORT  no version, cipher, group or application protocol in common
 *	-EADDRNOTAVAIL    no certificate for the name that the peer asked for
 *	-EIO              OpenSSL could not make what it wanted to, for want of random numbers, say
 *	-ENOMEM
 *	-EPROTO           anything else that is no TLS, or not as it should be
 */
int rli_tls_error_errno(const struct ssl_st *ssl);

#endif
