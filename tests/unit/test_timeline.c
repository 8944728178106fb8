/* data/timeline.h: what one process has met, all of them know; each cluster by
 * itself; until it is forgotten. */

#include "data/timeline.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

enum { MANY = 100 };

static struct timeline
met(uint64_t cluster, int64_t number)
{
	struct timeline t = { .cluster = cluster, .number = number };

	timeline_note(&t);
	return t;
}

static void
in_a_child(void (*what)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		what();
		_exit(0);
	}
	assert_true(pid > 0 && waitpid(pid, &status, 0) == pid);
	assert_int_equal(status, 0);
}

static void
meets_nine(void)
{
	(void)met(1, 9);
}

static void
test_what_is_behind(void **state)
{
	struct timeline low, high, other;

	(void)state;
	timelines_forget();
	low = met(7, 3);
	assert_false(timeline_is_behind(&low));
	high = met(7, 4);
	other = met(8, 1);
	assert_true(timeline_is_behind(&low));
	assert_int_equal(timeline_highest(&low), 4);
	assert_false(timeline_is_behind(&high));
	assert_false(timeline_is_behind(&other));
	low = met(7, 3);
	assert_true(timeline_is_behind(&low));
	/* 64 bits, all of them. */
	(void)met(UINT64_MAX, 2);
	low = met(UINT64_MAX, 1);
	assert_true(timeline_is_behind(&low));
}

static void
test_not_told(void **state)
{
	struct timeline none = { 0 }, t = { .cluster = 0, .number = 5 };

	(void)state;
	assert_false(timeline_is_behind(&none));
	timeline_note(&none);
	assert_false(timeline_is_behind(&none));
	timeline_note(&t);
	assert_false(timeline_is_behind(&none));
}

static void
test_shared(void **state)
{
	struct timeline here = met(1, 8);

	(void)state;
	in_a_child(meets_nine);
	assert_false(timeline_is_behind(&here)); /* nothing was shared yet */
	assert_true(timelines_init());
	here = met(1, 8);
	in_a_child(meets_nine);
	assert_true(timeline_is_behind(&here));
	in_a_child(timelines_forget);
	assert_false(timeline_is_behind(&here));
	here = met(1, 2);
	assert_false(timeline_is_behind(&here));
}

/* More than there is room for: none is in another's place. */
static void
test_many(void **state)
{
	struct timeline low[MANY];
	uint64_t i;

	(void)state;
	for (i = 0; i < MANY; i++)
		low[i] = met(1000 + i, 1 + (int64_t)i % 5);
	for (i = 0; i < MANY; i++)
		assert_false(timeline_is_behind(&low[i]));
	(void)met(1000, 6);
	for (i = 0; i < MANY; i++)
		assert_int_equal(timeline_is_behind(&low[i]), i == 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_behind),
		cmocka_unit_test(test_not_told),
		cmocka_unit_test(test_shared),
		cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
