/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Proved: an announcement that is too long is seen with its last byte, however records and calls
 *         cut it, in the first message and in a second; what is as long as it may be passes.
 * How: bytes by hand.
 * Not: what a session does about it (test_tls_session.c).
 */
#include "unit.h"

#include "tls/tls_hello.h"

/* Look at @data in pieces of @piece; how many bytes were seen, all but those of the refused one. */
static size_t
hello_seen(struct tls_hello *hello, const uint8_t *data, size_t len, size_t piece)
{
	size_t at = 0;

	while (at < len) {
		size_t bytes = len - at < piece ? len - at : piece;

		if (!rli_tls_hello_look(hello, data + at, bytes)) {
			return at;
		}
		at += bytes;
	}
	return at;
}

static void
hello_that_announces_too_much_is_seen_at_once(void **state)
{
	static const uint8_t whole[] = { 22, 3, 1, 0x40, 0, 1, 2, 1, 0x3c };
	static const uint8_t more[] = { 22, 3, 1, 0, 4, 1, 0, 0x40, 1 };
	static const uint8_t cut[] = { 22, 3, 1, 0, 1, 1, 22, 3, 1, 0, 3, 0, 0x40, 1 };
	static const uint8_t behind[] = { 20, 3, 3, 0, 1, 1, 22, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff };
	static const struct {
		const uint8_t *data;
		size_t len;
	} rows[] = {
		{ whole, sizeof(whole) },
		{ more, sizeof(more) },
		{ cut, sizeof(cut) },
		{ behind, sizeof(behind) },
	};

	(void)state;
	for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
		struct tls_hello bytewise = { .over = false };
		struct tls_hello at_once = { .over = false };

		assert_int_equal(hello_seen(&bytewise, rows[i].data, rows[i].len, 1),
				 rows[i].len - 1);
		assert_false(rli_tls_hello_look(&at_once, rows[i].data, rows[i].len));
	}
}

/* As long as it may be, in records of 1,000 bytes; then another one that may not. */
static void
hello_as_long_as_it_may_be_passes_and_the_next_is_looked_at(void **state)
{
	static const size_t pieces[] = { 1, 5, 700, 1005, 100000 };
	static const uint8_t header[] = { 1, 0, 0x40, 0 };
	static const uint8_t next[] = { 22, 3, 3, 0, 4, 1, 0, 0x40, 1 };
	static uint8_t stream[20000];
	size_t left = 4 + TLS_HELLO_MAX;
	size_t len = 0;

	(void)state;
	for (size_t at = 0; left > 0;) {
		size_t bytes = left < 1000 ? left : 1000;

		stream[len++] = 22;
		stream[len++] = 3;
		stream[len++] = 1;
		stream[len++] = (uint8_t)(bytes >> 8);
		stream[len++] = (uint8_t)bytes;
		for (size_t i = 0; i < bytes; i++, at++) {
			stream[len++] = at < sizeof(header) ? header[at] : 0xff;
		}
		left -= bytes;
	}
	for (size_t i = 0; i < UNIT_COUNT(pieces); i++) {
		struct tls_hello hello = { .over = false };

		assert_int_equal(hello_seen(&hello, stream, len, pieces[i]), len);
		assert_true(hello.done);
		assert_false(rli_tls_hello_look(&hello, next, sizeof(next)));
		hello = (struct tls_hello){ .over = true };
		assert_true(rli_tls_hello_look(&hello, next, sizeof(next)));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hello_that_announces_too_much_is_seen_at_once),
		cmocka_unit_test(hello_as_long_as_it_may_be_passes_and_the_next_is_looked_at),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
