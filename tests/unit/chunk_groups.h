/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The group of cases that test_chunk is made of, beside its own. It answers how many failed.
 */
#ifndef RINGLINE_TESTS_CHUNK_GROUPS_H
#define RINGLINE_TESTS_CHUNK_GROUPS_H

/* Lists of chunks: chunk_list.c. */
int chunk_list_run(void);

#endif
