/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Intrusive lists. A node sits inside its owner, so being on a list costs no allocation and removal
 * is O(1). A node that is on no list is linked to itself: list_is_linked() tells.
 */
#ifndef RINGLINE_BASE_LIST_H
#define RINGLINE_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/assert.h"

struct list_node {
	struct list_node *next;
	struct list_node *prev;
};

/* The head is a node too: next is the first, prev the last, both the head itself when empty. */
struct list {
	struct list_node head;
};

#define list_entry(node, type, member) ((type *)(void *)((char *)(node) - offsetof(type, member)))

static inline void
list_node_init(struct list_node *node)
{
	node->next = node;
	node->prev = node;
}

static inline void
list_init(struct list *list)
{
	list_node_init(&list->head);
}

static inline bool
list_is_linked(const struct list_node *node)
{
	return node->next != node;
}

static inline bool
list_is_empty(const struct list *list)
{
	return list->head.next == &list->head;
}

static inline void
list_insert_before(struct list_node *at, struct list_node *node)
{
	struct list_node *prev;

	RL_ASSERT(at != NULL); /* a list that nobody initialised */
	RL_DEBUG_ASSERT(!list_is_linked(node));
	prev = at->prev;
	node->prev = prev;
	node->next = at;
	prev->next = node;
	at->prev = node;
}

static inline void
list_push_back(struct list *list, struct list_node *node)
{
	list_insert_before(&list->head, node);
}

static inline void
list_push_front(struct list *list, struct list_node *node)
{
	list_insert_before(list->head.next, node);
}

#ifdef NDEBUG
#define LIST_DROPPED(node) ((void)0)
#else
#define LIST_DROPPED(node) list_node_init(node) /* so that list_insert_before() can look */
#endif

/* Remove a node that nobody asks whether it is linked before it is on a list again. */
static inline void
list_drop(struct list_node *node)
{
	struct list_node *next = node->next; /* each once: to the compiler any store changes it */
	struct list_node *prev = node->prev;

	prev->next = next;
	next->prev = prev;
	LIST_DROPPED(node);
}

/* Removing a node that is on no list is harmless. */
static inline void
list_remove(struct list_node *node)
{
	list_drop(node);
	list_node_init(node);
}

static inline struct list_node *
list_first(const struct list *list)
{
	return list_is_empty(list) ? NULL : list->head.next;
}

static inline struct list_node *
list_pop_front(struct list *list)
{
	struct list_node *node = list->head.next;
	struct list_node *next = node->next;

	if (node == &list->head) {
		return NULL;
	}
	list->head.next = next; /* as list_remove(), that knows what is in front of it */
	next->prev = &list->head;
	list_node_init(node);
	return node;
}

/* Move all of @from to the end of @to. */
static inline void
list_splice_back(struct list *to, struct list *from)
{
	if (list_is_empty(from)) {
		return;
	}
	from->head.next->prev = to->head.prev;
	to->head.prev->next = from->head.next;
	from->head.prev->next = &to->head;
	to->head.prev = from->head.prev;
	list_init(from);
}

#endif
