/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The groups of cases that test_actor is made of, beside its own. Each answers how many failed.
 */
#ifndef RINGLINE_TESTS_ACTOR_GROUPS_H
#define RINGLINE_TESTS_ACTOR_GROUPS_H

/* Being ready, budgets and mailboxes: actor_messages.c. */
int actor_messages_run(void);

/* What is refused, and what aborts: actor_refused.c. */
int actor_refused_run(void);

/* Verbs at a wrong time, or on a wrong thread: actor_wrong.c. */
int actor_wrong_run(void);

/* Random lives against a model: actor_random.c. */
int actor_random_run(void);

#endif
