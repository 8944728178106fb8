/* base/throttle.h and base/address.h: buckets over time, between processes,
 * under floods; and who a client is behind proxies. */

#include "base/address.h"
#include "base/buf.h"
#include "base/throttle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

enum { S = 1000000 };

static const struct throttle_rate five_a_minute = { 5, 60 };
static int64_t now = 1000LL * S;

static int64_t
take(const char *subject, const struct throttle_rate *rate, int64_t at)
{
	return throttle_take(
	    THROTTLE_FAILURES_ADDRESS, subject, strlen(subject), rate, at);
}

static void
test_bucket(void **state)
{
	int i;

	(void)state;
	for (i = 0; i < 5; i++)
		assert_int_equal(take("a", &five_a_minute, now), 0);
	/* A token comes back every 12 s; asking takes nothing. */
	for (i = 0; i < 100; i++)
		assert_int_equal(take("a", &five_a_minute, now), 12);
	assert_int_equal(take("a", &five_a_minute, now + 11 * S), 1);
	assert_int_equal(take("a", &five_a_minute, now + 11 * S + S / 2), 1);
	assert_int_equal(take("a", &five_a_minute, now + 12 * S), 0);
	assert_int_equal(take("a", &five_a_minute, now + 12 * S), 12);
	/* And all after a minute, never more. */
	for (i = 0; i < 5; i++)
		assert_int_equal(take("a", &five_a_minute, now + 999 * S), 0);
	assert_int_equal(take("a", &five_a_minute, now + 999 * S), 12);
	/* Others, and other kinds, have their own. */
	assert_int_equal(take("b", &five_a_minute, now + 999 * S), 0);
	assert_int_equal(throttle_take(THROTTLE_FAILURES_KEY, "a", 1,
			     &five_a_minute, now + 999 * S),
	    0);
}

static void
test_rates(void **state)
{
	static const struct throttle_rate off = { 0, 1 }, slow = { 1, 86400 },
					  fast = { THROTTLE_N_MAX, 1 };
	int i;

	(void)state;
	for (i = 0; i < 1000; i++)
		assert_int_equal(take("off", &off, now), 0);
	assert_int_equal(take("slow", &slow, now), 0);
	assert_int_equal(take("slow", &slow, now), 86400);
	/* Another setting after a reload: nobody waits as under the old one. */
	assert_int_equal(take("slow", &five_a_minute, now), 12);
	assert_int_equal(take("slow", &five_a_minute, now + 60 * S), 0);
	for (i = 0; i < 1000; i++)
		assert_int_equal(take("fast", &fast, now), 0);
}

/* However the processes interleave, no token is lost or given twice. */
static void
test_processes(void **state)
{
	static const struct throttle_rate rate = { 10000, 86400 };
	int *given = mmap(NULL, 4 * sizeof *given, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid[4];
	int i, k, all = 0;

	(void)state;
	for (i = 0; i < 4; i++) {
		pid[i] = fork();
		if (pid[i] != 0)
			continue;
		for (k = 0; k < 5000; k++)
			given[i] += take("shared", &rate, now) == 0;
		_exit(0);
	}
	for (i = 0; i < 4; i++) {
		assert_int_equal(waitpid(pid[i], NULL, 0), pid[i]);
		all += given[i];
	}
	assert_int_equal(all, 10000);
	munmap(given, 4 * sizeof *given);
}

/* Killed at any moment, a process leaves nothing locked. */
static void
test_killed(void **state)
{
	static const struct throttle_rate rate = { 1000000, 1 };
	char subject[32];
	int round, i;
	pid_t pid;

	(void)state;
	for (round = 0; round < 20; round++) {
		pid = fork();
		if (pid == 0)
			for (i = 0;; i++) {
				snprintf(subject, sizeof subject, "k%d", i);
				(void)take(subject, &rate, now);
			}
		usleep(500);
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		assert_int_equal(take("after", &rate, now), 0);
	}
}

/* 300000 strangers don't make us forget who has much against him, nor are the
 * strangers refused for him or for each other. */
static void
test_flood(void **state)
{
	char subject[32];
	int i;

	(void)state;
	now += 1000LL * S;
	for (i = 0; i < 5; i++)
		assert_int_equal(take("guilty", &five_a_minute, now), 0);
	for (i = 0; i < 300000; i++) {
		snprintf(subject, sizeof subject, "stranger %d", i);
		assert_int_equal(take(subject, &five_a_minute, now), 0);
	}
	assert_int_equal(take("guilty", &five_a_minute, now), 12);
}

static void
test_addresses(void **state)
{
	static const struct {
		const char *text, *is;
	} good[] = { { "192.0.2.1", "192.0.2.1" },
		{ "192.0.2.1:80", "192.0.2.1" },
		{ "::ffff:192.0.2.1", "192.0.2.1" },
		{ "2001:DB8::1", "2001:db8::1" },
		{ "[2001:db8::1]", "2001:db8::1" },
		{ "[2001:db8::1]:8080", "2001:db8::1" }, { "::", "::" } };
	static const char *const bad[] = { "", "unix:", "192.0.2",
		"192.0.2.1:", "192.0.2.1:x", "192.0.2.1:65536", "192.0.2.256",
		"[::1", "[::1]x", "[]", "[", ":", "::1 ", "fe80::1%eth0",
		"_hidden", "unknown", "1:2:3:4:5:6:7:8:9", "[1.2.3.4]:" };
	char text[ADDRESS_TEXT];
	struct address a;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof good / sizeof good[0]; i++) {
		assert_true(
		    address_parse(good[i].text, strlen(good[i].text), &a));
		address_text(&a, text);
		assert_string_equal(text, good[i].is);
	}
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_false(address_parse(bad[i], strlen(bad[i]), &a));
	assert_false(address_parse("1.2.3.4\0", 8, &a));
	assert_true(address_parse("2001:db8:1:2:3:4:5:6", 20, &a));
	address_narrow(&a);
	address_text(&a, text);
	assert_string_equal(text, "2001:db8:1:2::");
	assert_true(address_parse("1.2.3.4", 7, &a));
	address_narrow(&a);
	address_text(&a, text);
	assert_string_equal(text, "1.2.3.4");
}

static void
test_nets(void **state)
{
	static const struct {
		const char *list, *address;
		bool in;
	} cases[] = { { "10.0.0.0/8", "10.255.1.2", true },
		{ "10.0.0.0/8", "11.0.0.0", false },
		{ "192.0.2.1", "192.0.2.1", true },
		{ "192.0.2.1", "192.0.2.2", false },
		{ "192.0.2.0/31", "192.0.2.1", true },
		{ "192.0.2.0/31", "192.0.2.2", false },
		{ "2001:db8::/33", "2001:db8:7fff::1", true },
		{ "2001:db8::/33", "2001:db8:8000::1", false },
		{ "0.0.0.0/0", "203.0.113.9", true },
		{ "0.0.0.0/0", "2001:db8::1", false },
		{ "::/0", "2001:db8::1", true },
		{ "::1, 127.0.0.0/8\t", "127.9.9.9", true },
		{ "", "127.0.0.1", false } };
	static const char *const bad[] = { "10.0.0.0/33", "::/129", "10.0.0.0/",
		"/8", "10.0.0.0/8/8", "localhost", "10.0.0.0/-1",
		"10.0.0.1:80" };
	struct address_list list;
	struct address a;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_true(address_list_parse(cases[i].list, &list));
		assert_true(address_parse(
		    cases[i].address, strlen(cases[i].address), &a));
		assert_int_equal(address_listed(&list, &a), cases[i].in);
		address_list_free(&list);
	}
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		assert_false(address_list_parse(bad[i], &list));
		assert_ptr_equal(address_list_fault(bad[i]), bad[i]);
	}
	assert_string_equal(
	    address_list_fault(" 10.0.0.1,::1/64 nope ::2"), "nope ::2");
	assert_null(address_list_fault("10.0.0.1,::1/64"));
}

/* As it is written: the first bits are the same. */
struct net {
	struct address address;
	unsigned bits;
};

static bool
is_in(const struct net *net, const struct address *a)
{
	unsigned i;

	for (i = 0; i < net->bits; i++)
		if (((net->address.bytes[i / 8] ^ a->bytes[i / 8]) >>
			    (7 - i % 8) &
			1) != 0)
			return false;
	return true;
}

/* One of few, so that networks meet and addresses hit. */
static void
draw(struct address *a, bool *v4)
{
	static const unsigned char prefix[] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		0xff, 0xff };
	static const unsigned char few[] = { 0, 1, 2, 0x7f, 0x80, 0xfe, 0xff };
	size_t i;

	*v4 = random() % 2 == 0;
	for (i = 0; i < sizeof a->bytes; i++)
		a->bytes[i] = few[(size_t)random() % sizeof few];
	if (*v4)
		memcpy(a->bytes, prefix, sizeof prefix);
}

/* A content network's, in any order, some within others. */
static void
test_many_nets(void **state)
{
	enum { NETS = 2000, LOOKUPS = 4000 };
	struct net *nets = calloc(NETS, sizeof *nets);
	struct address_list list;
	struct address a;
	struct buf text = { 0 };
	char written[ADDRESS_TEXT];
	size_t i, k, hits = 0;
	bool in, v4;

	(void)state;
	srandom(1);
	for (i = 0; i < NETS; i++) {
		draw(&nets[i].address, &v4);
		k = 12 + (size_t)random() % (v4 ? 21 : 117);
		nets[i].bits = (unsigned)k + (v4 ? 96 : 0);
		address_text(&nets[i].address, written);
		buf_addf(&text, "%s/%zu%s", written, k, i % 2 ? ", " : "\t");
	}
	assert_true(address_list_parse(buf_str(&text), &list));
	assert_in_range(list.n, 100, NETS);
	for (i = 1; i < list.n; i++)
		assert_true(memcmp(list.range[i - 1].last.bytes,
				list.range[i].first.bytes, 16) < 0);
	for (i = 0; i < LOOKUPS; i++) {
		draw(&a, &v4);
		if (i % 4 == 0) /* an edge */
			a = i % 8 == 0 ? list.range[i % list.n].first
				       : list.range[i % list.n].last;
		for (k = 0, in = false; k < NETS && !in; k++)
			in = is_in(&nets[k], &a);
		assert_int_equal(address_listed(&list, &a), in);
		hits += in;
	}
	assert_in_range(hits, LOOKUPS / 4, LOOKUPS - 100);
	address_list_free(&list);
	address_list_free(&list);
	buf_free(&text);
	free(nets);
}

static void
test_client(void **state)
{
	static const struct {
		const char *peer, *forwarded, *is;
	} cases[] = {
		{ "203.0.113.9", NULL, "203.0.113.9" },
		/* Not a proxy of ours: its word is worth nothing. */
		{ "203.0.113.9", "10.0.0.1, 192.0.2.7", "203.0.113.9" },
		{ "10.0.0.1", "192.0.2.7", "192.0.2.7" },
		{ "10.0.0.1", NULL, "10.0.0.1" },
		{ "10.0.0.1", "", "10.0.0.1" },
		/* What the client itself sent stands on the left. */
		{ "10.0.0.1", "198.51.100.1, 192.0.2.7", "192.0.2.7" },
		{ "10.0.0.1", "10.0.0.9,198.51.100.1,192.0.2.7 , 10.1.1.1",
		    "192.0.2.7" },
		{ "10.0.0.1", "10.0.0.2, 10.0.0.3", "10.0.0.2" },
		{ "10.0.0.1", "192.0.2.7, unknown", "10.0.0.1" },
		{ "10.0.0.1", "192.0.2.7, unknown, 10.0.0.3", "10.0.0.3" },
		{ "10.0.0.1", "192.0.2.7,", "10.0.0.1" },
		{ "10.0.0.1", "[2001:db8::1]:443", "2001:db8::1" },
		{ "::ffff:10.0.0.1", "192.0.2.7", "192.0.2.7" },
	};
	struct address_list trusted;
	char text[ADDRESS_TEXT];
	struct address a;
	size_t i;

	(void)state;
	assert_true(address_list_parse("10.0.0.0/8", &trusted));
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_true(address_client(
		    cases[i].peer, cases[i].forwarded, &trusted, &a));
		address_text(&a, text);
		assert_string_equal(text, cases[i].is);
	}
	assert_false(address_client("unix:", "192.0.2.7", &trusted, &a));
	address_text(&a, text);
	assert_string_equal(text, "::");
	address_list_free(&trusted);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bucket),
		cmocka_unit_test(test_rates),
		cmocka_unit_test(test_processes),
		cmocka_unit_test(test_killed),
		cmocka_unit_test(test_flood),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_nets),
		cmocka_unit_test(test_many_nets),
		cmocka_unit_test(test_client),
	};

	/* Without memory nothing is limited. */
	if (take("x", &(struct throttle_rate){ 1, 60 }, now) != 0 ||
	    take("x", &(struct throttle_rate){ 1, 60 }, now) != 0 ||
	    !throttle_init())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
