/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Certificates for tests, made on the spot: an authority, a server's, a client's, and bad ones.
 */
#ifndef RINGLINE_TESTS_TLS_CERTS_H
#define RINGLINE_TESTS_TLS_CERTS_H

#define TLS_CERTS_NAME "server.test" /* and localhost, 127.0.0.1, ::1 */

enum tls_certs_file {
	CERTS_CA, /* signed all but the last */
	CERTS_SERVER,
	CERTS_SERVER_KEY,
	CERTS_OTHER, /* a second one of the server's, for the name other.test */
	CERTS_OTHER_KEY,
	CERTS_CLIENT,
	CERTS_CLIENT_KEY,
	CERTS_LONG, /* a client's with a subject of more than 255 bytes */
	CERTS_LONG_KEY,
	CERTS_EXPIRED, /* with the server's key */
	CERTS_EARLY, /* likewise, from tomorrow on */
	CERTS_STRANGER, /* signed by itself */
	CERTS_STRANGER_KEY,
	CERTS_WILD, /* for *.wild.test and server.test, with a key of another kind */
	CERTS_WILD_KEY,
	CERTS_EMPTY, /* an empty file */
	CERTS_FILES
};

struct tls_certs {
	char dir[64];
	char file[CERTS_FILES][96];
};

/* In a directory of its own below /tmp. Aborts when it can't. */
void tls_certs_make(struct tls_certs *certs);

void tls_certs_remove(const struct tls_certs *certs);

#endif
