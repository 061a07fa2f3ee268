/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A look at what a client says before anything is known of it. OpenSSL takes 128 KiB for a
 * ClientHello that announces them, before the first of its bytes has come; nobody needs so many.
 */
#ifndef RINGLINE_TLS_TLS_HELLO_H
#define RINGLINE_TLS_TLS_HELLO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TLS_HELLO_MAX 16384 /* bytes; OpenSSL has a buffer of so many in any case */

/* Where in the stream it is; zeroed at its beginning. */
struct tls_hello {
	uint16_t record_left; /* bytes of the record that are to come */
	uint8_t record_have; /* bytes of its header that came */
	uint8_t record_type;
	uint8_t have; /* bytes of the message's header that came */
	bool over; /* nothing is looked at any more */
	bool done; /* the first message has come */
	uint32_t len; /* of the message, then what is left of it */
};

/* The next @len bytes. False: a message announces more than a ClientHello may have. */
bool rli_tls_hello_look(struct tls_hello *hello, const uint8_t *data, size_t len);

#endif
