/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The group of cases that test_monitor is made of, beside its own. It answers how many failed.
 */
#ifndef RINGLINE_TESTS_MONITOR_GROUPS_H
#define RINGLINE_TESTS_MONITOR_GROUPS_H

/* When words cross, wait for room, or meet: monitor_cross.c. */
int monitor_cross_run(void);

#endif
