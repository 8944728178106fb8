/*
 * Names to addresses, each question in a thread of its own. The thread shares
 * the question with its asker; who lets go of it last releases it. It has no
 * signals: those are the asker's.
 */
#include "base/resolve.h"

#include "base/log.h"
#include "base/mem.h"

#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

/* What the modules of nsswitch.conf(5) may need. */
enum { STACK_BYTES = 512 * 1024 };
enum { QUESTIONS_MAX = 16 }; /* at once */

struct question {
	char *name;
	int event_fd; /* our own: the asker may be gone */
	int error;    /* an EAI_ value */
	struct resolve_list found;
	atomic_bool done;   /* what is above is written */
	atomic_int holders; /* the asker, the thread */
};

struct resolve_name {
	char *text;
	char *alias; /* or NULL */
	bool asked;  /* since resolver_begin */
	bool due;    /* and not answered */
	bool told;   /* its trouble */
	int error;   /* the last answer's */
	struct question *question;
	struct resolve_list known;
};

struct resolver {
	int event_fd;
	struct resolve_name **names;
	size_t n;
};

static void
let_go(struct question *q)
{
	if (q == NULL || atomic_fetch_sub(&q->holders, 1) > 1)
		return;
	close(q->event_fd);
	free(q->name);
	free(q);
}

static bool
is_listed(const struct resolve_list *list, const char *text)
{
	size_t i;

	for (i = 0; i < list->n; i++)
		if (strcmp(list->text[i], text) == 0)
			return true;
	return false;
}

static void
add_address(const struct addrinfo *ai, struct resolve_list *out)
{
	char *text = out->text[out->n];

	if (ai->ai_family != AF_INET && ai->ai_family != AF_INET6)
		return;
	if (getnameinfo(ai->ai_addr, ai->ai_addrlen, text, RESOLVE_TEXT, NULL,
		0, NI_NUMERICHOST) == 0 &&
	    !is_listed(out, text))
		out->n++;
}

static int
look_up(const char *name, int flags, struct resolve_list *out)
{
	const struct addrinfo hints = { .ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = flags };
	struct addrinfo *list = NULL, *ai;
	int rc = getaddrinfo(name, NULL, &hints, &list);

	if (rc != 0)
		return rc;
	out->n = 0;
	for (ai = list; ai != NULL && out->n < RESOLVE_MAX; ai = ai->ai_next)
		add_address(ai, out);
	freeaddrinfo(list);
	return out->n > 0 ? 0 : EAI_NONAME;
}

bool
resolve_literal(const char *name, struct resolve_list *out)
{
	return look_up(name, AI_NUMERICHOST, out) == 0;
}

static void *
run(void *arg)
{
	struct question *q = arg;

	q->error = look_up(q->name, 0, &q->found);
	atomic_store(&q->done, true);
	(void)eventfd_write(q->event_fd, 1);
	let_go(q);
	return NULL;
}

static bool
start_thread(struct question *q)
{
	pthread_attr_t attr;
	sigset_t all, before;
	pthread_t thread;
	bool ok;

	if (pthread_attr_init(&attr) != 0)
		return false;
	(void)pthread_attr_setstacksize(&attr, STACK_BYTES);
	(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	ok = pthread_create(&thread, &attr, run, q) == 0;
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	(void)pthread_attr_destroy(&attr);
	return ok;
}

/* NULL if there is no descriptor, or no thread, to be had. */
static struct question *
start(const char *name, int event_fd)
{
	struct question *q;
	int fd = fcntl(event_fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);

	if (fd < 0)
		return NULL;
	q = mem_alloc(sizeof *q);
	q->name = mem_strdup(name);
	q->event_fd = fd;
	atomic_init(&q->done, false);
	atomic_init(&q->holders, 2);
	if (!start_thread(q)) {
		atomic_store(&q->holders, 1);
		let_go(q);
		return NULL;
	}
	return q;
}

struct resolver *
resolver_new(void)
{
	struct resolver *r = mem_alloc(sizeof *r);

	r->event_fd = -1;
	return r;
}

void
resolver_free(struct resolver *r)
{
	size_t i;

	if (r == NULL)
		return;
	for (i = 0; i < r->n; i++) {
		let_go(r->names[i]->question);
		free(r->names[i]->text);
		free(r->names[i]->alias);
		free(r->names[i]);
	}
	free(r->names);
	if (r->event_fd >= 0)
		close(r->event_fd);
	free(r);
}

static bool
same_set(const struct resolve_list *a, const struct resolve_list *b)
{
	size_t i;

	for (i = 0; i < a->n && is_listed(b, a->text[i]); i++)
		;
	return i == a->n && a->n == b->n;
}

/* Servers that turn the order with each answer, and a caller that begins with
 * the next address each time, would always meet at the same one. */
static void
take(struct resolve_name *n)
{
	const struct question *q = n->question;

	n->error = q->error;
	if (n->error == 0 && !same_set(&q->found, &n->known))
		n->known = q->found;
	else if (n->error == EAI_NONAME || n->error == EAI_NODATA ||
		 n->error == EAI_ADDRFAMILY)
		n->known.n = 0;
	let_go(n->question);
	n->question = NULL;
	n->due = false;
}

/* Returns how many are on their way still. */
static size_t
take_answers(struct resolver *r)
{
	eventfd_t count;
	size_t i, asking = 0;

	if (r->event_fd >= 0)
		(void)eventfd_read(r->event_fd, &count);
	for (i = 0; i < r->n; i++) {
		struct resolve_name *n = r->names[i];

		if (n->question != NULL && atomic_load(&n->question->done))
			take(n);
		asking += n->question != NULL;
	}
	return asking;
}

void
resolver_begin(struct resolver *r)
{
	size_t i;

	(void)take_answers(r);
	for (i = 0; i < r->n; i++)
		r->names[i]->asked = r->names[i]->due = false;
}

const struct resolve_name *
resolver_ask(struct resolver *r, const char *name, const char *alias)
{
	struct resolve_name *n;
	size_t i;

	for (i = 0; i < r->n; i++)
		if (strcmp(r->names[i]->text, name) == 0)
			break;
	if (i == r->n) {
		r->names = mem_realloc(r->names, (i + 1) * sizeof *r->names);
		r->names[r->n++] = mem_alloc(sizeof *n);
		r->names[i]->text = mem_strdup(name);
		if (alias != NULL)
			r->names[i]->alias = mem_strdup(alias);
	}
	n = r->names[i];
	n->asked = n->due = true;
	return n;
}

const char *
resolve_called(const struct resolve_name *n)
{
	return n->alias != NULL && n->known.n == 0 ? n->alias : n->text;
}

/* A question that is on its way from before serves as well. */
bool
resolver_waits(struct resolver *r)
{
	size_t i, asking = take_answers(r);
	bool waits = false;

	if (r->event_fd < 0 && r->n > 0)
		r->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	for (i = 0; i < r->n; i++) {
		struct resolve_name *n = r->names[i];

		if (n->due && n->question == NULL && asking < QUESTIONS_MAX) {
			n->question = start(n->text, r->event_fd);
			n->due = n->question != NULL;
			if (n->due)
				asking++;
			else
				n->error = EAI_AGAIN;
		}
		waits = waits || n->due;
	}
	return waits;
}

int
resolver_fd(const struct resolver *r)
{
	return r->event_fd;
}

const struct resolve_list *
resolve_known(const struct resolve_name *n)
{
	return &n->known;
}

const char *
resolve_trouble(const struct resolve_name *n)
{
	if (n->due)
		return "no answer in time";
	return n->error != 0 ? gai_strerror(n->error) : NULL;
}

void
resolver_log(struct resolver *r)
{
	size_t i;

	for (i = 0; i < r->n; i++) {
		struct resolve_name *n = r->names[i];
		const char *why = n->asked ? resolve_trouble(n) : NULL;

		if (why != NULL && !n->told)
			log_warn("host_unresolved",
			    LOG_S("host", resolve_called(n)),
			    LOG_S("error", why),
			    LOG_LAST("kept",
				n->known.n > 0 ? n->known.text[0] : NULL));
		n->told = why != NULL;
	}
}
