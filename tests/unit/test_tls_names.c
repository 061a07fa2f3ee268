/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Proved: a name finds the certificate that has it, else the one with a star for its first label.
 * How: a table of names, and of what is no name.
 * Not: where names come from (test_tls_sni.c).
 */
#include "unit.h"

#include "tls/tls_names.h"

static int
add(struct tls_names *names, const char *text, uint32_t owner)
{
	return rli_tls_names_add(names, text, strlen(text), owner);
}

static void
names_exact_before_star_and_lowest_owner_first(void **state)
{
	static const struct {
		const char *name;
		uint32_t owner;
	} rows[] = {
		{ "a.test", 0 },
		{ "www.a.test", 2 },
		{ "mail.a.test", 1 }, /* itself, although owner 0 has a star for it */
		{ "other.a.test", 0 },
		{ "x.other.a.test", TLS_NAMES_NONE }, /* a star is one label */
		{ "b.test", 3 },
		{ "b.tes", TLS_NAMES_NONE },
		{ "b.testx", TLS_NAMES_NONE },
		{ ".a.test", TLS_NAMES_NONE },
		{ "*.a.test", TLS_NAMES_NONE }, /* nobody is called that */
		{ "test", TLS_NAMES_NONE },
		{ "", TLS_NAMES_NONE },
		{ "zz.test", TLS_NAMES_NONE },
	};
	struct tls_names names = { .count = 0 };

	(void)state;
	assert_int_equal(add(&names, "b.test", 4), 1);
	assert_int_equal(add(&names, "www.a.test", 2), 1);
	assert_int_equal(add(&names, "*.A.test", 0), 1);
	assert_int_equal(add(&names, "MAIL.a.test", 1), 1);
	assert_int_equal(add(&names, "*.a.test", 3), 1);
	assert_int_equal(add(&names, "b.test", 3), 1);
	assert_int_equal(add(&names, "a.test", 0), 1);
	rli_tls_names_sort(&names);
	for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
		if (rli_tls_names_find(&names, rows[i].name) != rows[i].owner) {
			fail_msg("%s", rows[i].name);
		}
	}
	rli_tls_names_fini(&names);
	assert_int_equal(rli_tls_names_find(&names, "a.test"), TLS_NAMES_NONE);
}

static void
names_that_nobody_can_ask_for_are_passed_over(void **state)
{
	struct tls_names names = { .count = 0 };
	char text[300];

	(void)state;
	assert_int_equal(rli_tls_names_add(&names, "a.test\0.b.test", 14, 0), 0);
	assert_int_equal(add(&names, "", 0), 0);
	assert_int_equal(add(&names, "*", 0), 0);
	assert_int_equal(add(&names, "*.", 0), 0);
	assert_int_equal(add(&names, "w*.a.test", 0), 0);
	assert_int_equal(add(&names, "*.*.test", 0), 0);
	assert_int_equal(add(&names, "www.*.test", 0), 0);
	memset(text, 'a', sizeof(text));
	assert_int_equal(rli_tls_names_add(&names, text, 254, 0), 0);
	assert_int_equal(names.count, 0);
	assert_int_equal(rli_tls_names_add(&names, text, 253, 7), 1);
	rli_tls_names_sort(&names);
	text[254] = '\0';
	assert_int_equal(rli_tls_names_find(&names, text), TLS_NAMES_NONE);
	text[253] = '\0';
	assert_int_equal(rli_tls_names_find(&names, text), 7);
	text[1] = '.'; /* long, and would have a star */
	assert_int_equal(rli_tls_names_find(&names, text), TLS_NAMES_NONE);
	rli_tls_names_fini(&names);
}

static void
names_of_thousands_are_each_found(void **state)
{
	struct tls_names names = { .count = 0 };
	char text[32];

	(void)state;
	for (uint32_t i = 0; i < 3000; i++) {
		(void)snprintf(text, sizeof(text), "n%u.test", i * 7919 % 3000);
		assert_int_equal(add(&names, text, i * 7919 % 3000), 1);
	}
	rli_tls_names_sort(&names);
	for (uint32_t i = 0; i < 3000; i++) {
		(void)snprintf(text, sizeof(text), "n%u.test", i);
		assert_int_equal(rli_tls_names_find(&names, text), i);
	}
	rli_tls_names_fini(&names);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_exact_before_star_and_lowest_owner_first),
		cmocka_unit_test(names_that_nobody_can_ask_for_are_passed_over),
		cmocka_unit_test(names_of_thousands_are_each_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
