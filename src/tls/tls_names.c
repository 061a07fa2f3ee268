/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A sorted array of names. A wildcard is stored as it is written, and looked for by putting a star
 * in the place of the first label: so it stands for exactly one.
 */
#include "tls/tls_names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

void
rli_tls_name_lower(char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (text[i] >= 'A' && text[i] <= 'Z') {
			text[i] = (char)(text[i] - 'A' + 'a');
		}
	}
}

static bool
name_can_be_asked_for(const char *text, size_t len)
{
	const char *rest = text;

	if (len == 0 || len > TLS_NAME_MAX || memchr(text, '\0', len) != NULL) {
		return false;
	}
	if (len > 2 && text[0] == '*' && text[1] == '.') {
		rest++;
	}
	return memchr(rest, '*', len - (size_t)(rest - text)) == NULL;
}

int
rli_tls_names_add(struct tls_names *names, const char *text, size_t len, uint32_t owner)
{
	char *copy;

	if (!name_can_be_asked_for(text, len)) {
		return 0;
	}
	if (names->count == names->room) {
		uint32_t room = names->room == 0 ? 8 : 2 * names->room;
		struct tls_name *more =
			OPENSSL_realloc(names->names, room * sizeof(struct tls_name));

		if (more == NULL) {
			return -ENOMEM;
		}
		names->names = more;
		names->room = room;
	}
	copy = OPENSSL_strndup(text, len);
	if (copy == NULL) {
		return -ENOMEM;
	}
	rli_tls_name_lower(copy, len);
	names->names[names->count++] = (struct tls_name){ .text = copy, .owner = owner };
	return 1;
}

static int
name_compare(const void *left, const void *right)
{
	const struct tls_name *a = left;
	const struct tls_name *b = right;
	int order = strcmp(a->text, b->text);

	return order != 0 ? order : (a->owner > b->owner) - (a->owner < b->owner);
}

void
rli_tls_names_sort(struct tls_names *names)
{
	if (names->count > 1) {
		qsort(names->names, names->count, sizeof(names->names[0]), name_compare);
	}
}

/* The first of those with this text, which has the lowest owner. */
static uint32_t
names_look_up(const struct tls_names *names, const char *text)
{
	uint32_t from = 0;
	uint32_t to = names->count;

	while (from < to) {
		uint32_t middle = from + (to - from) / 2;

		if (strcmp(names->names[middle].text, text) < 0) {
			from = middle + 1;
		} else {
			to = middle;
		}
	}
	return from < names->count && strcmp(names->names[from].text, text) == 0
		       ? names->names[from].owner
		       : TLS_NAMES_NONE;
}

uint32_t
rli_tls_names_find(const struct tls_names *names, const char *name)
{
	char star[TLS_NAME_MAX + 2] = "*";
	const char *dot = strchr(name, '.');
	size_t len = strlen(name);
	uint32_t owner;

	if (len > TLS_NAME_MAX || name[0] == '*') {
		return TLS_NAMES_NONE;
	}
	owner = names_look_up(names, name);
	if (owner != TLS_NAMES_NONE || dot == NULL || dot == name) {
		return owner;
	}
	memcpy(star + 1, dot, len - (size_t)(dot - name) + 1);
	return names_look_up(names, star);
}

void
rli_tls_names_fini(struct tls_names *names)
{
	for (uint32_t i = 0; i < names->count; i++) {
		OPENSSL_free(names->names[i].text);
	}
	OPENSSL_free(names->names);
	*names = (struct tls_names){ .count = 0 };
}
