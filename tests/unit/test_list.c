/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: lists keep their order, know what is linked, and survive every legal order of
 *         operations.
 * How: by hand at the borders, and random operations on two lists against arrays.
 * Not: use from several threads, which lists are not made for.
 */
#include "unit.h"

#include "base/list.h"

struct item {
	uint32_t number;
	struct list_node node;
};

static uint32_t
item_number(const struct list_node *node)
{
	return list_entry(node, const struct item, node)->number;
}

static void
list_fresh_is_empty(void **state)
{
	struct list list;

	(void)state;
	list_init(&list);
	assert_true(list_is_empty(&list));
	assert_null(list_first(&list));
	assert_null(list_pop_front(&list));
}

static void
list_node_linked_and_removed_is_told_apart(void **state)
{
	struct list list;
	struct item item;

	(void)state;
	list_init(&list);
	list_node_init(&item.node);
	assert_false(list_is_linked(&item.node));
	list_push_back(&list, &item.node);
	assert_true(list_is_linked(&item.node)); /* also as the only one */
	assert_false(list_is_empty(&list));
	list_remove(&item.node);
	assert_false(list_is_linked(&item.node));
	assert_true(list_is_empty(&list));
	list_remove(&item.node); /* on no list: harmless */
	assert_false(list_is_linked(&item.node));
}

static void
list_pushed_at_both_ends_keeps_order(void **state)
{
	struct item items[4] = {
		{ .number = 0 }, { .number = 1 }, { .number = 2 }, { .number = 3 }
	};
	struct list list;
	uint32_t i;

	(void)state;
	list_init(&list);
	for (i = 0; i < 4; i++) {
		list_node_init(&items[i].node);
	}
	list_push_back(&list, &items[2].node);
	list_push_front(&list, &items[0].node);
	list_push_back(&list, &items[3].node);
	list_insert_before(&items[2].node, &items[1].node);
	for (i = 0; i < 4; i++) {
		assert_int_equal(item_number(list_first(&list)), i);
		assert_ptr_equal(list_pop_front(&list), &items[i].node);
		assert_false(list_is_linked(&items[i].node));
	}
	assert_true(list_is_empty(&list));
}

static void
list_spliced_moves_all_and_leaves_an_empty_list(void **state)
{
	struct item items[4] = {
		{ .number = 0 }, { .number = 1 }, { .number = 2 }, { .number = 3 }
	};
	struct list to;
	struct list from;
	uint32_t i;

	(void)state;
	list_init(&to);
	list_init(&from);
	list_splice_back(&to, &from); /* nothing to nothing */
	assert_true(list_is_empty(&to));

	for (i = 0; i < 4; i++) {
		list_node_init(&items[i].node);
		list_push_back(i < 2 ? &to : &from, &items[i].node);
	}
	list_splice_back(&to, &from);
	assert_true(list_is_empty(&from));
	list_splice_back(&to, &from); /* nothing to something */
	list_splice_back(&from, &to); /* something to nothing */
	assert_true(list_is_empty(&to));
	for (i = 0; i < 4; i++) {
		assert_int_equal(item_number(list_pop_front(&from)), i);
	}
}

struct linked_twice {
	struct list list;
	struct item item;
};

static void
push_twice(void *arg)
{
	struct linked_twice *twice = arg;

	list_push_back(&twice->list, &twice->item.node);
	list_push_back(&twice->list, &twice->item.node);
}

static void
list_node_pushed_twice_asserts_in_debug_builds(void **state)
{
	struct linked_twice twice;

	(void)state;
	list_init(&twice.list);
	list_node_init(&twice.item.node);
#ifndef NDEBUG
	assert_true(unit_asserts(push_twice, &twice));
#else
	(void)push_twice;
#endif
}

#define MODEL_ITEMS 40

struct model {
	struct list list;
	uint32_t order[MODEL_ITEMS];
	uint32_t count;
};

static void
model_insert(struct model *model, uint32_t at, uint32_t number)
{
	memmove(&model->order[at + 1], &model->order[at],
		(model->count - at) * sizeof(model->order[0]));
	model->order[at] = number;
	model->count++;
}

static bool
model_remove(struct model *model, uint32_t number)
{
	uint32_t i;

	for (i = 0; i < model->count && model->order[i] != number; i++) {
	}
	if (i == model->count) {
		return false;
	}
	model->count--;
	memmove(&model->order[i], &model->order[i + 1],
		(model->count - i) * sizeof(model->order[0]));
	return true;
}

static void
model_check(const struct model *model)
{
	const struct list_node *node = &model->list.head;
	uint32_t i;

	assert_int_equal(list_is_empty(&model->list), model->count == 0);
	for (i = 0; i < model->count; i++) {
		assert_ptr_equal(node->next->prev, node);
		node = node->next;
		assert_int_equal(item_number(node), model->order[i]);
	}
	assert_ptr_equal(node->next, &model->list.head);
	assert_ptr_equal(model->list.head.prev, node);
}

static void
model_step(struct model *model, struct model *other, struct item *item, uint64_t choice)
{
	uint32_t at;

	switch (choice % 6) {
	case 0:
		list_push_back(&model->list, &item->node);
		model_insert(model, model->count, item->number);
		break;
	case 1:
		list_push_front(&model->list, &item->node);
		model_insert(model, 0, item->number);
		break;
	case 2:
		at = model->count == 0 ? 0 : model->count - 1;
		list_insert_before(model->list.head.prev, &item->node);
		model_insert(model, model->count == 0 ? 0 : at, item->number);
		break;
	case 3:
		if (list_pop_front(&model->list) != NULL) {
			assert_true(model_remove(model, model->order[0]));
		}
		break;
	case 4:
		list_splice_back(&model->list, &other->list);
		memcpy(&model->order[model->count], other->order,
		       other->count * sizeof(other->order[0]));
		model->count += other->count;
		other->count = 0;
		break;
	default:
		break;
	}
}

static void
run_model(uint64_t seed)
{
	struct item items[MODEL_ITEMS];
	struct model models[2];
	uint32_t step;
	uint32_t i;

	memset(models, 0, sizeof(models));
	list_init(&models[0].list);
	list_init(&models[1].list);
	for (i = 0; i < MODEL_ITEMS; i++) {
		items[i].number = i;
		list_node_init(&items[i].node);
	}
	for (step = 0; step < 20000; step++) {
		uint32_t side = unit_random(&seed) % 2;
		struct item *item = &items[unit_random(&seed) % MODEL_ITEMS];

		assert_int_equal(list_is_linked(&item->node),
				 model_remove(&models[0], item->number) ||
					 model_remove(&models[1], item->number));
		list_remove(&item->node);
		model_step(&models[side], &models[1 - side], item, unit_random(&seed));
		model_check(&models[0]);
		model_check(&models[1]);
	}
}

static void
list_random_use_matches_the_model(void **state)
{
	(void)state;
	unit_each_seed(run_model, 5);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(list_fresh_is_empty),
		cmocka_unit_test(list_node_linked_and_removed_is_told_apart),
		cmocka_unit_test(list_pushed_at_both_ends_keeps_order),
		cmocka_unit_test(list_spliced_moves_all_and_leaves_an_empty_list),
		cmocka_unit_test(list_node_pushed_twice_asserts_in_debug_builds),
		cmocka_unit_test(list_random_use_matches_the_model),
	};

	return unit_run(tests);
}
