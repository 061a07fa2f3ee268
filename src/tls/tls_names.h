/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Which certificate a host name belongs to. Made once, sorted, then only read.
 */
#ifndef RINGLINE_TLS_TLS_NAMES_H
#define RINGLINE_TLS_TLS_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TLS_NAME_MAX   253 /* bytes, as in the DNS */
#define TLS_NAMES_NONE UINT32_MAX

struct tls_name {
	char *text; /* in lower case; "*.b.test": any label and .b.test */
	uint32_t owner;
};

struct tls_names {
	struct tls_name *names;
	uint32_t count;
	uint32_t room;
};

/*
 * @owner has the name of @len bytes, as a certificate writes it. 1: taken. 0: it is none that a
 * client could ask for (too long, a NUL inside, a star anywhere but for the whole first label).
 * -ENOMEM.
 */
int rli_tls_names_add(struct tls_names *names, const char *text, size_t len, uint32_t owner);

/* After the last was added. */
void rli_tls_names_sort(struct tls_names *names);

/*
 * Whose @name (in lower case) is: the lowest owner that has it itself, else the lowest one with a
 * star for its first label; TLS_NAMES_NONE.
 */
uint32_t rli_tls_names_find(const struct tls_names *names, const char *name);

void rli_tls_names_fini(struct tls_names *names);

/* ASCII letters in @text become small. */
void rli_tls_name_lower(char *text, size_t len);

#endif
