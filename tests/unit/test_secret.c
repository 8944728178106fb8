/* base/secret.h: the arena's runs, wiping, guards, and equality. */

#include "base/secret.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

/* The signal that fn ends a child with, 0 if it returns. */
static int
signal_of(void (*fn)(void))
{
	struct rlimit none = { 0, 0 };
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &none);
		signal(SIGABRT, SIG_DFL);
		signal(SIGSEGV, SIG_DFL);
		fn();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void
test_set_and_clear(void **state)
{
	struct secret s = { 0 };
	char *data;
	size_t i;

	(void)state;
	secret_clear(&s);
	secret_set(&s, "hush", 4);
	assert_int_equal(s.len, 4);
	assert_string_equal(s.data, "hush");
	data = s.data;
	secret_clear(&s);
	assert_null(s.data);
	assert_int_equal(s.len, 0);
	for (i = 0; i < 64; i++)
		assert_int_equal(data[i], 0);
	secret_set(&s, "", 0);
	assert_string_equal(s.data, "");
	secret_clear(&s);
}

/* covers: ASVS-V6.4.2 */
static void
test_shortened_is_wiped_whole(void **state)
{
	struct secret s = { 0 };
	char *data;
	size_t i;

	(void)state;
	secret_new(&s, 300);
	memset(s.data, 'x', 300);
	data = s.data;
	s.len = 1;
	secret_clear(&s);
	for (i = 0; i < 300; i++)
		assert_int_equal(data[i], 0);
}

static void
test_overlap_and_move(void **state)
{
	struct secret a = { 0 }, b = { 0 };

	(void)state;
	secret_set(&a, "abcdef", 6);
	secret_set(&a, a.data + 2, 3);
	assert_string_equal(a.data, "cde");
	secret_set(&b, "old", 3);
	secret_move(&b, &a);
	assert_null(a.data);
	assert_string_equal(b.data, "cde");
	secret_move(&b, &b);
	assert_string_equal(b.data, "cde");
	secret_clear(&b);
}

/* Runs of many lengths side by side: none overlaps another. */
static void
test_runs(void **state)
{
	static struct secret s[200];
	size_t i, k, round;

	(void)state;
	for (round = 0; round < 20; round++) {
		for (i = round % 3; i < 200; i += 3) {
			secret_new(&s[i], (i * 37 + round * 61) % 700);
			for (k = 0; k < s[i].len; k++)
				assert_int_equal(s[i].data[k], 0);
			memset(s[i].data, (int)(i + 1), s[i].len);
		}
		for (i = 0; i < 200; i++) {
			for (k = 0; k < s[i].len; k++)
				assert_int_equal(
				    (unsigned char)s[i].data[k], i + 1);
		}
	}
	for (i = 0; i < 200; i++)
		secret_clear(&s[i]);
}

/* Keys that stay take no more room than they need, whatever came and went
 * beside each of them. */
static void
test_close_together(void **state)
{
	enum { KEPT = 1000, EACH = 80 };
	static struct secret kept[KEPT];
	struct secret raw = { 0 };
	const char *low, *high;
	size_t i, k;

	(void)state;
	for (i = 0; i < 20 * KEPT; i++) {
		k = i < KEPT ? i : i * 7919 % KEPT;
		secret_new(&raw, 32);
		secret_new(&kept[k], 64);
		memset(kept[k].data, 'x', 64);
		secret_clear(&raw);
	}
	low = high = kept[0].data;
	for (k = 0; k < KEPT; k++) {
		low = kept[k].data < low ? kept[k].data : low;
		high = kept[k].data > high ? kept[k].data : high;
	}
	assert_in_range(high - low, 0, (KEPT + 10) * EACH);
	for (k = 0; k < KEPT; k++)
		secret_clear(&kept[k]);
}

static void
fill(void)
{
	struct secret s;

	for (;;) {
		memset(&s, 0, sizeof(s));
		secret_new(&s, 1000);
	}
}

static void
too_long(void)
{
	struct secret s = { 0 };

	secret_new(&s, SIZE_MAX);
}

static void
twice(void)
{
	struct secret s = { 0 }, copy;

	secret_new(&s, 10);
	copy = s;
	secret_clear(&s);
	secret_clear(&copy);
}

static void
inside(void)
{
	struct secret s = { 0 };

	secret_new(&s, 200);
	s.data += 64;
	secret_clear(&s);
}

static void
read_before(void)
{
	struct secret s = { 0 };
	volatile char *p;

	secret_new(&s, 1);
	for (p = s.data;; p -= 64)
		(void)*p;
}

static void
test_ends(void **state)
{
	(void)state;
	assert_int_equal(signal_of(fill), SIGABRT);
	assert_int_equal(signal_of(too_long), SIGABRT);
	assert_int_equal(signal_of(twice), SIGABRT);
	assert_int_equal(signal_of(inside), SIGABRT);
#if !defined(__SANITIZE_ADDRESS__)
	assert_int_equal(signal_of(read_before), SIGSEGV);
#else
	(void)read_before;
#endif
}

static void
test_equal(void **state)
{
	static const struct {
		const char *a, *b;
		bool same;
	} cases[] = {
		{ "token", "token", true }, { "token", "Token", false },
		{ "token", "toke", false }, { "token", "tokens", false },
		{ "token", "", false }, { "", "token", false },
		{ "", "", false }, /* what is not set matches nothing */
	};
	struct secret s = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		secret_set(&s, cases[i].a, strlen(cases[i].a));
		assert_int_equal(
		    secret_equal(&s, cases[i].b, strlen(cases[i].b)),
		    cases[i].same);
	}
	secret_clear(&s);
	assert_false(secret_equal(&s, NULL, 0));
}

static void
harden(void)
{
	struct rlimit rl;

	secret_harden_process();
	if (prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0 ||
	    getrlimit(RLIMIT_CORE, &rl) != 0 || rl.rlim_cur != 0)
		raise(SIGKILL);
}

static void
test_harden(void **state)
{
	(void)state;
	assert_int_equal(signal_of(harden), 0);
}

static int
setup(void **state)
{
	(void)state;
	(void)secret_init(); /* may not lock under a small RLIMIT_MEMLOCK */
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set_and_clear),
		cmocka_unit_test(test_shortened_is_wiped_whole),
		cmocka_unit_test(test_overlap_and_move),
		cmocka_unit_test(test_runs),
		cmocka_unit_test(test_close_together),
		cmocka_unit_test(test_ends),
		cmocka_unit_test(test_equal),
		cmocka_unit_test(test_harden),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
