/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The group of cases that test_request is made of, beside its own. It answers how many failed.
 */
#ifndef RINGLINE_TESTS_REQUEST_GROUPS_H
#define RINGLINE_TESTS_REQUEST_GROUPS_H

/* Either end ends; spawning and stopping elsewhere: request_ends.c. */
int request_ends_run(void);

#endif
