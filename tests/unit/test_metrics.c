/* base/metrics.h: the sums of slots, and what they cost in memory. */

#include "base/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

enum { SLOTS = 4096, PAGE_LIMIT = 256 };

static const char *
nothing(const void *arg, size_t i)
{
	(void)arg;
	(void)i;
	return NULL;
}

static const char *
none(size_t i)
{
	(void)i;
	return NULL;
}

/* The figure behind a name; -1 if it isn't there. */
static long
figure(const char *name)
{
	static const struct metrics_names names = { nothing, none, NULL };
	struct buf out = { 0 };
	char line[80];
	const char *at;
	long n = -1;

	metrics_render(&out, &names);
	snprintf(line, sizeof line, "\n%s ", name);
	at = strstr(buf_str(&out), line);
	if (at != NULL)
		n = strtol(at + strlen(line), NULL, 10);
	buf_free(&out);
	return n;
}

/* What a worker in this slot leaves. */
static void
work(size_t slot, uint64_t hits)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		metrics_use(slot);
		metrics_add(METRIC_CACHE_HITS, hits);
		metrics_set(METRIC_CACHE_APPS, (int64_t)hits);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* Pages of files and shared memory that this process has at hand. */
static long
shared_pages(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	long n;

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%*d %*d %ld", &n), 1);
	fclose(f);
	return n;
}

static void
test_sums(void **state)
{
	(void)state;
	assert_true(metrics_init(SLOTS));
	assert_int_equal(figure("postern_key_cache_hits_total"), 0);
	metrics_add(METRIC_CACHE_HITS, 1);
	work(7, 10);
	work(2, 100);
	assert_int_equal(figure("postern_key_cache_apps"), 110);
	/* A slot that is given back keeps its counters. */
	metrics_give_back(7);
	assert_int_equal(figure("postern_key_cache_apps"), 100);
	work(7, 5);
	assert_int_equal(figure("postern_key_cache_apps"), 105);
	assert_int_equal(figure("postern_key_cache_hits_total"), 116);
	work(SLOTS, 1000);
	assert_int_equal(figure("postern_key_cache_hits_total"), 1116);
}

/* Slots that nobody used have no memory, also when all are summed up. */
static void
test_memory(void **state)
{
	long before;

	(void)state;
	assert_true(metrics_init(SLOTS));
	work(3, 1);
	before = shared_pages();
	assert_int_equal(figure("postern_key_cache_hits_total"), 1);
	assert_in_range(shared_pages(), 0, before + PAGE_LIMIT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sums),
		cmocka_unit_test(test_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
