/* test_slab.c - objects of one size: reuse, the cap of what is kept, sizes below that of a pointer; intrusive lists. */
#include "base/list.h"
#include "base/slab.h"

#include "vectors.h"

START_TEST(the_last_one_given_back_comes_first)
{
	struct slab s;
	void *a, *b;

	slab_init(&s, 100, 8);
	a = slab_get(&s);
	b = slab_get(&s);
	ck_assert_ptr_ne(a, b);
	ck_assert_uint_eq(s.used, 2);
	memset(a, 0xaa, 100);
	memset(b, 0xbb, 100);
	slab_put(&s, a);
	slab_put(&s, b);
	ck_assert_uint_eq(s.used, 0);
	ck_assert_uint_eq(s.free_count, 2);
	ck_assert_ptr_eq(slab_get(&s), b);
	ck_assert_ptr_eq(slab_get(&s), a);
	ck_assert_uint_eq(s.free_count, 0);
	slab_put(&s, a);
	slab_put(&s, b);
	slab_fini(&s);
	ck_assert_ptr_null(s.free);
}
END_TEST

START_TEST(no_more_than_max_free_are_kept)
{
	enum {
		COUNT = 50,
		KEPT = 7
	};
	struct slab s;
	void *all[COUNT];

	slab_init(&s, 24, KEPT);
	for (unsigned i = 0; i < COUNT; i++)
		all[i] = slab_get(&s);
	for (unsigned i = 0; i < COUNT; i++) {
		slab_put(&s, all[i]);
		ck_assert_uint_eq(s.free_count, MIN(i + 1, KEPT));
		ck_assert_uint_eq(s.used, COUNT - 1 - i);
	}
	slab_fini(&s);
	ck_assert_uint_eq(s.free_count, 0);
}
END_TEST

static void take(struct slab *s, void **all, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		all[i] = slab_get(s);
		memset(all[i], 0x11, s->object_size);
	}
}

static void put_back(struct slab *s, void **all, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		slab_put(s, all[i]);
}

/* What nobody has needed between two calls goes; what was needed stays, and so does a share for good. */
START_TEST(what_was_not_needed_is_given_back)
{
	enum {
		BURST = 500,
		USUAL = 70,
		MAX_FREE = 640,
		STAYS = MAX_FREE / SLAB_KEPT_SHARE
	};
	static void *all[BURST];
	struct slab s;

	slab_init(&s, 100, MAX_FREE);
	ck_assert(!slab_has_spare(&s));
	ck_assert(!slab_give_back(&s));
	take(&s, all, BURST);
	ck_assert(!slab_give_back(&s)); /* all of them are out */
	put_back(&s, all, BURST);
	ck_assert(slab_has_spare(&s));
	ck_assert(slab_give_back(&s)); /* they may be needed yet */
	ck_assert_uint_eq(s.free_count, BURST);
	for (unsigned i = 0; i < 3; i++) {
		take(&s, all, USUAL);
		put_back(&s, all, USUAL);
	}
	ck_assert_uint_eq(s.free_count, BURST);
	ck_assert(slab_give_back(&s));
	ck_assert_uint_eq(s.free_count, USUAL);
	take(&s, all, USUAL - 1);
	put_back(&s, all, USUAL - 1);
	ck_assert(slab_give_back(&s));
	ck_assert_uint_eq(s.free_count, USUAL - 1);
	ck_assert(!slab_give_back(&s));
	ck_assert_uint_eq(s.free_count, STAYS);
	ck_assert(!slab_has_spare(&s));
	ck_assert(!slab_give_back(&s));
	ck_assert_uint_eq(s.free_count, STAYS);
	take(&s, all, STAYS + 1);
	ck_assert_uint_eq(s.free_count, 0);
	put_back(&s, all, STAYS + 1);
	ck_assert_uint_eq(s.used, 0);
	slab_fini(&s);
}
END_TEST

/* The cap holds for both together. */
START_TEST(spare_ones_count_for_the_cap)
{
	enum {
		MAX_FREE = 128
	};
	static void *all[2 * MAX_FREE];
	struct slab s;

	slab_init(&s, 100, MAX_FREE);
	take(&s, all, 2 * MAX_FREE);
	put_back(&s, all, MAX_FREE);
	ck_assert(slab_give_back(&s));
	put_back(&s, all + MAX_FREE, MAX_FREE);
	ck_assert_uint_eq(s.free_count, MAX_FREE);
	take(&s, all, MAX_FREE);
	ck_assert_uint_eq(s.free_count, 0);
	put_back(&s, all, MAX_FREE);
	ck_assert_uint_eq(s.free_count, MAX_FREE);
	slab_fini(&s);
}
END_TEST

START_TEST(nothing_is_kept_with_max_free_0)
{
	struct slab s;

	slab_init(&s, 24, 0);
	slab_put(&s, slab_get(&s));
	ck_assert_uint_eq(s.free_count, 0);
	ck_assert_ptr_null(s.free);
	slab_fini(&s);
}
END_TEST

START_TEST(objects_smaller_than_a_link)
{
	struct slab s;
	void *p;

	slab_init(&s, 1, 4);
	ck_assert_uint_ge(s.object_size, sizeof(void *));
	p = slab_get(&s);
	slab_put(&s, p);
	ck_assert_ptr_eq(slab_get(&s), p);
	slab_put(&s, p);
	slab_fini(&s);
}
END_TEST

/* ---- list.h ---- */

struct item {
	int number;
	struct list node;
};

/* The numbers on a list, front to back, and the same from the back. */
static const char *text_of(const struct list *head)
{
	static char text[64];
	char back[64];
	size_t n = 0, m = sizeof(back) - 1;

	text[0] = '\0';
	back[m] = '\0';
	for (struct list *p = head->next; p != head; p = p->next)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%d", list_entry(p, struct item, node)->number);
	for (struct list *p = head->prev; p != head; p = p->prev)
		back[--m] = (char)('0' + list_entry(p, struct item, node)->number);
	ck_assert_str_eq(text, back + m);
	return text;
}

/* Those of whole cache lines, so that the lines of one are no other's. */
START_TEST(objects_of_whole_lines_begin_at_one)
{
	struct slab s;
	void *objects[8];

	slab_init(&s, 3 * CACHE_LINE, 4);
	for (unsigned round = 0; round < 2; round++) { /* new ones, and four that were kept */
		for (unsigned i = 0; i < ARRAY_LEN(objects); i++) {
			objects[i] = slab_get(&s);
			ck_assert_uint_eq((uintptr_t)objects[i] % CACHE_LINE, 0);
			memset(objects[i], 0xff, 3 * CACHE_LINE);
		}
		for (unsigned i = 0; i < ARRAY_LEN(objects); i++)
			slab_put(&s, objects[i]);
	}
	slab_fini(&s);
}
END_TEST

START_TEST(lists)
{
	struct item items[6];
	struct list a, b;

	list_init(&a);
	list_init(&b);
	ck_assert(list_is_empty(&a));
	ck_assert_ptr_null(list_pop(&a));
	for (int i = 0; i < 6; i++) {
		items[i].number = i;
		list_init(&items[i].node);
		list_append(i < 4 ? &a : &b, &items[i].node);
	}
	ck_assert_str_eq(text_of(&a), "0123");
	list_remove(&items[1].node);
	list_remove(&items[1].node); /* alone: harmless */
	ck_assert_str_eq(text_of(&a), "023");
	list_splice(&a, &b);
	ck_assert_str_eq(text_of(&a), "02345");
	ck_assert(list_is_empty(&b));
	list_splice(&a, &b);
	ck_assert_str_eq(text_of(&a), "02345");
	list_splice(&b, &a);
	ck_assert_str_eq(text_of(&b), "02345");
	ck_assert(list_is_empty(&a));
	list_for_each_safe(pos, tmp, &b) {
		if (list_entry(pos, struct item, node)->number % 2 == 0)
			list_remove(pos);
	}
	ck_assert_str_eq(text_of(&b), "35");
	ck_assert_ptr_eq(list_pop(&b), &items[3].node);
	ck_assert(list_is_empty(&items[3].node));
	ck_assert_str_eq(text_of(&b), "5");
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("slab");

	tcase_add_test(tcase, the_last_one_given_back_comes_first);
	tcase_add_test(tcase, no_more_than_max_free_are_kept);
	tcase_add_test(tcase, what_was_not_needed_is_given_back);
	tcase_add_test(tcase, spare_ones_count_for_the_cap);
	tcase_add_test(tcase, nothing_is_kept_with_max_free_0);
	tcase_add_test(tcase, objects_smaller_than_a_link);
	tcase_add_test(tcase, objects_of_whole_lines_begin_at_one);
	tcase_add_test(tcase, lists);
	return run_tcase("slab", tcase);
}
