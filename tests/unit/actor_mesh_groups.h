/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The group of cases that test_actor_mesh is made of, beside its own. It answers how many failed.
 */
#ifndef RINGLINE_TESTS_ACTOR_MESH_GROUPS_H
#define RINGLINE_TESTS_ACTOR_MESH_GROUPS_H

/* Random lives on two shards: actor_mesh_random.c. */
int actor_mesh_random_run(void);

#endif
