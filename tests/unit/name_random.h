/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The other groups of test_name.c; each returns how many cases failed. */
#ifndef RINGLINE_TESTS_NAME_RANDOM_H
#define RINGLINE_TESTS_NAME_RANDOM_H

int name_random_run(void);

#endif
