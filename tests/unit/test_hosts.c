/* data/hosts.h and base/resolve.h: what libpq is told of its hosts, by names
 * that resolve, don't, are slow, or change. */

#include "base/clock.h"
#include "data/hosts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <arpa/inet.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

/* Names are resolved here: a few are known, the others silent. */
static struct {
	const char *name, *addresses; /* by commas; NULL = error */
	int error;
} zone[] = {
	{ "one", "10.0.0.1", 0 },
	{ "other", "10.0.0.2", 0 },
	{ "many", "10.0.0.3,fd00::3,10.0.0.4,10.0.0.3", 0 },
	{ "moved", "10.0.0.5", 0 },
	{ "none", NULL, EAI_NONAME },
	{ "again", NULL, EAI_AGAIN },
};
enum { ZONE = sizeof zone / sizeof zone[0], MOVED = 3 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool silent_ones_speak;
static atomic_int asked, asking, most_asking, with_signals;
static int64_t ahead_s;

static struct addrinfo *
make_list(const char *addresses)
{
	struct addrinfo *list = NULL, **end = &list;
	char *copy = strdup(addresses), *rest = copy, *one;

	while ((one = strsep(&rest, ",")) != NULL) {
		struct sockaddr_in6 *six = calloc(1, sizeof *six);
		struct sockaddr_in *four = (void *)six;
		bool v6 = strchr(one, ':') != NULL;

		if (v6)
			(void)inet_pton(AF_INET6, one, &six->sin6_addr);
		else
			(void)inet_pton(AF_INET, one, &four->sin_addr);
		six->sin6_family = v6 ? AF_INET6 : AF_INET;
		*end = calloc(1, sizeof **end);
		(*end)->ai_family = six->sin6_family;
		(*end)->ai_addrlen = v6 ? sizeof *six : sizeof *four;
		(*end)->ai_addr = (void *)six;
		end = &(*end)->ai_next;
	}
	free(copy);
	return list;
}

void
freeaddrinfo(struct addrinfo *list)
{
	struct addrinfo *next;

	for (; list != NULL; list = next) {
		next = list->ai_next;
		free(list->ai_addr);
		free(list);
	}
}

static int
answer(const char *name, struct addrinfo **out)
{
	size_t i;

	for (i = 0; i < ZONE; i++) {
		if (strcmp(zone[i].name, name) != 0)
			continue;
		if (zone[i].addresses != NULL)
			*out = make_list(zone[i].addresses);
		return zone[i].error;
	}
	while (!silent_ones_speak)
		pthread_cond_wait(&changed, &lock);
	*out = make_list("10.0.9.9");
	return 0;
}

int
getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
    struct addrinfo **out)
{
	struct in6_addr a;
	sigset_t set;
	int rc, sig;

	assert_null(service);
	if ((hints->ai_flags & AI_NUMERICHOST) != 0) {
		if (inet_pton(AF_INET, name, &a) != 1 &&
		    inet_pton(AF_INET6, name, &a) != 1)
			return EAI_NONAME;
		*out = make_list(name);
		return 0;
	}
	pthread_sigmask(SIG_SETMASK, NULL, &set);
	pthread_mutex_lock(&lock);
	for (sig = 1; sig < 32; sig++)
		with_signals += sig != SIGKILL && sig != SIGSTOP &&
				sigismember(&set, sig) != 1;
	asked++;
	asking++;
	most_asking = asking > most_asking ? asking : most_asking;
	rc = answer(name, out);
	asking--;
	pthread_mutex_unlock(&lock);
	return rc;
}

/* The clock that deadlines go by. */
int
clock_gettime(clockid_t id, struct timespec *t)
{
	int rc = (int)syscall(SYS_clock_gettime, id, t);

	t->tv_sec += ahead_s;
	return rc;
}

static void
speak(bool yes)
{
	pthread_mutex_lock(&lock);
	silent_ones_speak = yes;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

/* Until it is done or failed, or nothing was heard for a while. */
static enum wire_turn
turn(struct hosts *h)
{
	struct pollfd p = { .events = POLLIN };
	enum wire_turn t;
	int64_t left;

	while ((t = hosts_turn(h)) == WIRE_WAITS) {
		left = (hosts_due_us(h) - clock_mono_us()) / 1000 + 1;
		p.fd = hosts_fd(h);
		if (poll(&p, 1, left < 1000 ? (int)left : 1000) == 0 &&
		    left > 1000)
			break;
	}
	return t;
}

static enum wire_turn
attempt(struct hosts *h)
{
	hosts_start(h);
	return turn(h);
}

static const char *
told(const struct hosts *h, const char *key)
{
	const struct wire_args *a = hosts_args(h);
	const char *value = NULL;
	size_t i;

	for (i = 0; i < a->n; i++)
		if (strcmp(a->keys[i], key) == 0)
			value = a->values[i];
	return value;
}

static void
assert_told(const struct hosts *h, const char *host, const char *hostaddr,
    const char *port)
{
	assert_string_equal(told(h, "host"), host);
	assert_string_equal(told(h, "hostaddr"), hostaddr);
	assert_string_equal(told(h, "port"), port);
}

static char services[] = "/tmp/postern-hosts-XXXXXX";

static const char service_text[] = "[pair]\n"
				   "host=one,other\nport=1,2\n"
				   "[standbys]\n"
				   "host=one,other\n"
				   "target_session_attrs=standby\n"
				   "[lone]\nhost=other\nport=7\n"
				   "[open]\nhost=s3cret:w0rd@one\n"
				   "[mixed]\ndbname=a;password=s3cret-w0rd\n";

/* What is told of each way to name hosts. */
static const struct {
	const char *conninfo;
	const char *env[2]; /* a name and its value */
	const char *host, *hostaddr, *port, *attrs;
} ways[] = {
	{ "host=one", { NULL }, "one", "10.0.0.1", "5432", NULL },
	{ "host=one port=77", { NULL }, "one", "10.0.0.1", "77", NULL },
	{ "host=one,other", { NULL }, "one,other", "10.0.0.1,10.0.0.2",
	    "5432,5432", "read-write" },
	{ "host=one,other port=1,2", { NULL }, "one,other", "10.0.0.1,10.0.0.2",
	    "1,2", "read-write" },
	{ "postgresql://one,other:77/x", { NULL }, "one,other",
	    "10.0.0.1,10.0.0.2", ",77", "read-write" },
	/* One name, several addresses: one host. */
	{ "host=many port=5", { NULL }, "many,many,many",
	    "10.0.0.3,fd00::3,10.0.0.4", "5,5,5", NULL },
	{ "host=one,many port=1,2", { NULL }, "one,many,many,many",
	    "10.0.0.1,10.0.0.3,fd00::3,10.0.0.4", "1,2,2,2", "read-write" },
	/* One twice. */
	{ "host=one,one port=1,2", { NULL }, "one,one", "10.0.0.1,10.0.0.1",
	    "1,2", "read-write" },
	/* Those without an address are left out, with their ports. */
	{ "host=none,one port=1,2", { NULL }, "one", "10.0.0.1", "2",
	    "read-write" },
	{ "host=one,again,other port=1,2,3", { NULL }, "one,other",
	    "10.0.0.1,10.0.0.2", "1,3", "read-write" },
	{ "host=silent,one,none,other port=9,1,2,3", { NULL }, "one,other",
	    "10.0.0.1,10.0.0.2", "1,3", "read-write" },
	/* Sockets stay; an empty one is libpq's own. */
	{ "host=/run/a", { NULL }, "/run/a", "", "5432", NULL },
	{ "host=@a port=3", { NULL }, "@a", "", "3", NULL },
	{ "host=/run/a,one port=1,2", { NULL }, "/run/a,one", ",10.0.0.1",
	    "1,2", "read-write" },
	{ "host=one,/run/a,@b", { NULL }, "one,/run/a,@b", "10.0.0.1,,",
	    "5432,5432,5432", "read-write" },
	{ "host=none,/run/a port=1,2", { NULL }, "/run/a,/run/a", ",", "2,2",
	    "read-write" },
	{ "host=,one port=,2", { NULL }, ",one", ",10.0.0.1", ",2",
	    "read-write" },
	{ "host=,none port=,2", { NULL }, ",", ",", ",", "read-write" },
	/* Addresses stay what they are. */
	{ "host=127.0.0.1", { NULL }, "127.0.0.1", "127.0.0.1", "5432", NULL },
	{ "host=::1,one", { NULL }, "::1,one", "::1,10.0.0.1", "5432,5432",
	    "read-write" },
	{ "hostaddr=10.1.1.1", { NULL }, "", "10.1.1.1", "5432", NULL },
	{ "host=none hostaddr=10.1.1.1", { NULL }, "none", "10.1.1.1", "5432",
	    NULL },
	{ "host=none,one hostaddr=10.1.1.1,", { NULL }, "none,one",
	    "10.1.1.1,10.0.0.1", "5432,5432", "read-write" },
	{ "hostaddr=10.1.1.1,10.1.1.2 port=1,2", { NULL }, ",",
	    "10.1.1.1,10.1.1.2", "1,2", "read-write" },
	/* By the environment, and a service. */
	{ "dbname=x", { "PGHOST", "one,other" }, "one,other",
	    "10.0.0.1,10.0.0.2", "5432,5432", "read-write" },
	{ "host=one", { "PGHOST", "none,other" }, "one", "10.0.0.1", "5432",
	    NULL },
	{ "host=one,other", { "PGPORT", "1,2" }, "one,other",
	    "10.0.0.1,10.0.0.2", "1,2", "read-write" },
	{ "host=none", { "PGHOSTADDR", "10.1.1.1" }, "none", "10.1.1.1", "5432",
	    NULL },
	{ "service=pair", { NULL }, "one,other", "10.0.0.1,10.0.0.2", "1,2",
	    "read-write" },
	{ "dbname=x", { "PGSERVICE", "pair" }, "one,other", "10.0.0.1,10.0.0.2",
	    "1,2", "read-write" },
	{ "service=lone", { NULL }, "other", "10.0.0.2", "7", NULL },
	{ "service=pair host=one port=9", { NULL }, "one", "10.0.0.1", "9",
	    NULL },
	{ "host=one", { "PGSERVICE", "lone" }, "one", "10.0.0.1", "7", NULL },
	/* The operator's own word on what will do. */
	{ "host=one,other target_session_attrs=any", { NULL }, "one,other",
	    "10.0.0.1,10.0.0.2", "5432,5432", NULL },
	{ "host=one,other target_session_attrs=primary", { NULL }, "one,other",
	    "10.0.0.1,10.0.0.2", "5432,5432", NULL },
	{ "host=one,other", { "PGTARGETSESSIONATTRS", "any" }, "one,other",
	    "10.0.0.1,10.0.0.2", "5432,5432", NULL },
	{ "host=one,other", { "PGTARGETSESSIONATTRS", "primary" }, "one,other",
	    "10.0.0.1,10.0.0.2", "5432,5432", NULL },
	{ "service=standbys", { NULL }, "one,other", "10.0.0.1,10.0.0.2",
	    "5432,5432", NULL },
	/* None named; and what libpq refuses, in words without a value. */
	{ "dbname=x", { NULL }, NULL, NULL, NULL, NULL },
	{ "host=one,other port=1,2,3", { NULL }, NULL, NULL, NULL, NULL },
	{ "host=one,other hostaddr=10.1.1.1", { NULL }, NULL, NULL, NULL,
	    NULL },
	{ "service=absent host=one", { NULL }, NULL, NULL, NULL, NULL },
};

static void
assert_same(const char *got, const char *want, const char *conninfo)
{
	if ((got == NULL) == (want == NULL) &&
	    (got == NULL || strcmp(got, want) == 0))
		return;
	fail_msg("%s: told %s, not %s", conninfo, got ? got : "nothing",
	    want ? want : "nothing");
}

static void
test_ways(void **state)
{
	struct hosts *h;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof ways / sizeof ways[0]; i++) {
		if (ways[i].env[0] != NULL)
			setenv(ways[i].env[0], ways[i].env[1], 1);
		h = hosts_new(ways[i].conninfo);
		if (attempt(h) != WIRE_DONE)
			fail_msg("%s: %s", ways[i].conninfo, hosts_error(h));
		assert_same(told(h, "dbname"), ways[i].conninfo, "dbname");
		assert_same(told(h, "host"), ways[i].host, ways[i].conninfo);
		assert_same(
		    told(h, "hostaddr"), ways[i].hostaddr, ways[i].conninfo);
		assert_same(told(h, "port"), ways[i].port, ways[i].conninfo);
		assert_same(told(h, "target_session_attrs"), ways[i].attrs,
		    ways[i].conninfo);
		hosts_free(h);
		if (ways[i].env[0] != NULL)
			unsetenv(ways[i].env[0]);
	}
	assert_int_equal(with_signals, 0);
}

/* What libpq would quote is refused before; a service file may change. */
static void
test_nothing_to_quote(void **state)
{
	static const struct {
		const char *conninfo, *env[2];
	} cases[] = {
		{ "hosts=s3cret-w0rd", { NULL } },
		{ "host=one port=s3cret-w0rd", { NULL } },
		{ "host=s3cret-w0rd:77", { NULL } },
		{ "user=s3cret:w0rd", { NULL } },
		{ "service=open", { NULL } },
		{ "service=mixed", { NULL } },
		{ "dbname=x", { "PGHOST", "one;password=s3cret-w0rd" } },
		{ "dbname=x", { "PGPORT", "s3cret-w0rd" } },
		{ "dbname=x", { "PGUSER", "one;password=s3cret-w0rd" } },
		{ "dbname=x", { "PGSERVICE", "open" } },
		{ "dbname=x", { "PGSSLMODE", "s3cret w0rd" } },
		{ "dbname=x", { "PGOPTIONS", "s3cret w0rd" } },
	};
	struct hosts *h;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		if (cases[i].env[0] != NULL)
			setenv(cases[i].env[0], cases[i].env[1], 1);
		h = hosts_new(cases[i].conninfo);
		if (attempt(h) != WIRE_FAILED)
			fail_msg("%s is taken", cases[i].conninfo);
		assert_null(strstr(hosts_error(h), "s3cret"));
		assert_null(strstr(hosts_error(h), "w0rd"));
		hosts_free(h);
		if (cases[i].env[0] != NULL)
			unsetenv(cases[i].env[0]);
	}
}

/* The end of a password with an @ is taken for a host. */
static void
test_alias(void **state)
{
	struct hosts *h = hosts_new("postgresql://u:p@moved,none/d");

	(void)state;
	zone[MOVED].error = EAI_NONAME;
	zone[MOVED].addresses = NULL;
	assert_int_equal(attempt(h), WIRE_FAILED);
	assert_string_equal(hosts_error(h),
	    "could not translate host name \"(host 1)\" to address: Name or "
	    "service not known; could not translate host name \"(host 2)\" "
	    "to address: Name or service not known");
	zone[MOVED].error = 0;
	zone[MOVED].addresses = "10.0.0.5";
	assert_int_equal(attempt(h), WIRE_DONE);
	assert_told(h, "moved,moved", "10.0.0.5,10.0.0.5", ",");
	hosts_free(h);
}

/* Sockets and addresses are nothing to ask for. */
static void
test_nothing_to_ask(void **state)
{
	struct hosts *h =
	    hosts_new("host=/a,127.0.0.1,,x hostaddr=,,,10.1.1.1");
	int before = asked;

	(void)state;
	hosts_start(h);
	assert_int_equal(hosts_turn(h), WIRE_DONE);
	assert_int_equal(hosts_fd(h), -1);
	assert_int_equal(asked, before);
	hosts_free(h);
}

/* After an attempt that failed the next address comes first. */
static void
test_order(void **state)
{
	struct hosts *h = hosts_new("host=/a,many,one port=1,2,3");

	(void)state;
	assert_int_equal(attempt(h), WIRE_DONE);
	assert_told(h, "/a,many,many,many,one",
	    ",10.0.0.3,fd00::3,10.0.0.4,10.0.0.1", "1,2,2,2,3");
	hosts_next(h);
	assert_int_equal(attempt(h), WIRE_DONE);
	assert_told(h, "many,many,many,one,/a",
	    "10.0.0.3,fd00::3,10.0.0.4,10.0.0.1,", "2,2,2,3,1");
	hosts_next(h);
	hosts_next(h);
	/* The servers turn them, and don't turn ours with it. */
	zone[2].addresses = "10.0.0.4,10.0.0.3,fd00::3";
	assert_int_equal(attempt(h), WIRE_DONE);
	assert_told(h, "many,one,/a,many,many",
	    "10.0.0.4,10.0.0.1,,10.0.0.3,fd00::3", "2,3,1,2,2");
	hosts_next(h);
	hosts_next(h);
	assert_int_equal(attempt(h), WIRE_DONE);
	assert_string_equal(told(h, "host"), "/a,many,many,many,one");
	hosts_free(h);
}

/* Each attempt asks anew; what is known stays while there is no answer, and
 * goes when the answer is that there is none. */
static void
test_changes(void **state)
{
	struct hosts *h = hosts_new("host=moved");

	(void)state;
	assert_int_equal(attempt(h), WIRE_DONE);
	assert_told(h, "moved", "10.0.0.5", "5432");
	zone[MOVED].addresses = "10.0.0.6,10.0.0.7";
	assert_int_equal(attempt(h), WIRE_DONE);
	assert_told(h, "moved,moved", "10.0.0.6,10.0.0.7", "5432,5432");
	zone[MOVED].addresses = NULL;
	zone[MOVED].error = EAI_AGAIN;
	assert_int_equal(attempt(h), WIRE_DONE);
	assert_told(h, "moved,moved", "10.0.0.6,10.0.0.7", "5432,5432");
	zone[MOVED].error = EAI_NONAME;
	assert_int_equal(attempt(h), WIRE_FAILED);
	assert_string_equal(hosts_error(h),
	    "could not translate host name \"moved\" to address: Name or "
	    "service not known");
	zone[MOVED].error = EAI_AGAIN;
	assert_int_equal(attempt(h), WIRE_FAILED);
	assert_non_null(strstr(hosts_error(h), "Temporary failure"));
	zone[MOVED].addresses = "10.0.0.5";
	zone[MOVED].error = 0;
	assert_int_equal(attempt(h), WIRE_DONE);
	assert_told(h, "moved", "10.0.0.5", "5432");
	hosts_free(h);
}

/* A name that is known is not waited for long, one that isn't for 8 s; there is
 * one question at a time, whose answer counts whenever it comes. */
static void
test_silence(void **state)
{
	struct hosts *h = hosts_new("host=silent");
	int64_t start = clock_mono_us(), left;
	int before = asked;

	(void)state;
	hosts_start(h);
	left = hosts_due_us(h) - start;
	assert_true(left >= 8000000 && left <= 9000000);
	assert_int_equal(turn(h), WIRE_WAITS);
	ahead_s += 9;
	assert_int_equal(turn(h), WIRE_FAILED);
	assert_string_equal(hosts_error(h),
	    "could not translate host name \"silent\" to address: no answer "
	    "in time");
	assert_int_equal(attempt(h), WIRE_WAITS);
	assert_int_equal(asked, before + 1);
	speak(true);
	assert_int_equal(turn(h), WIRE_DONE);
	assert_told(h, "silent", "10.0.9.9", "5432");
	assert_int_equal(asked, before + 1);
	speak(false);
	start = clock_mono_us();
	hosts_start(h);
	left = hosts_due_us(h) - start;
	assert_true(left >= 300000 && left <= 1300000);
	assert_int_equal(turn(h), WIRE_DONE);
	assert_told(h, "silent", "10.0.9.9", "5432");
	/* That answer comes when nobody waits: the next attempt asks anew. */
	speak(true);
	while (asking > 0)
		(void)poll(NULL, 0, 1);
	(void)poll(NULL, 0, 50);
	assert_int_equal(attempt(h), WIRE_DONE);
	assert_int_equal(asked, before + 3);
	speak(false);
	hosts_free(h);
}

/* No more than so many threads; and those that are at it when their asker goes
 * end by themselves. */
static void
test_many_silent(void **state)
{
	char conninfo[1024] = "host=x0";
	struct hosts *h;
	int i;

	(void)state;
	for (i = 1; i < 40; i++)
		snprintf(conninfo + strlen(conninfo),
		    sizeof conninfo - strlen(conninfo), ",x%d", i);
	strcat(conninfo, ",one");
	most_asking = 0;
	h = hosts_new(conninfo);
	assert_int_equal(attempt(h), WIRE_WAITS);
	(void)poll(NULL, 0, 100);
	assert_int_equal(most_asking, 16);
	hosts_free(h);
	speak(true);
	while (asking > 0)
		(void)poll(NULL, 0, 1);
	h = hosts_new(conninfo);
	assert_int_equal(attempt(h), WIRE_DONE);
	assert_non_null(strstr(told(h, "host"), "x39,one"));
	hosts_free(h);
	speak(false);
}

static int
setup(void **state)
{
	int fd = mkstemp(services);

	(void)state;
	if (fd < 0 || write(fd, service_text, sizeof service_text - 1) < 0)
		return -1;
	close(fd);
	setenv("PGSERVICEFILE", services, 1);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	return unlink(services);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ways),
		cmocka_unit_test(test_nothing_to_quote),
		cmocka_unit_test(test_alias),
		cmocka_unit_test(test_nothing_to_ask),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_changes),
		cmocka_unit_test(test_silence),
		cmocka_unit_test(test_many_silent),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
