#ifndef POSTERN_HTTP_RECORD_H
#define POSTERN_HTTP_RECORD_H

#include "base/buf.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * FastCGI's records as a web server sends them on one connection (FastCGI
 * specification, sections 3 to 6), out of whatever pieces they come in. Pure:
 * bytes in, a state and bytes out, no system call. libfcgi reads a request only
 * after this has seen it, so that it never waits, and never meets what it
 * can't bear: management records, lengths of strangers, padding where it looks
 * for none.
 */

enum {
	RECORD_HEAD = 8, /* bytes before a record's content */
	/* Bytes of a body beyond what is wanted that are still waited for, so
	 * that the web server gets to the answer. */
	RECORD_DRAIN_MAX = 2 << 20
};

enum record_role { RECORD_RESPONDER = 1, RECORD_AUTHORIZER, RECORD_FILTER };

enum record_phase {
	RECORD_IDLE,   /* no request has begun */
	RECORD_PARAMS, /* one has; its params are not whole */
	RECORD_STDIN,  /* they are; its body is not */
	RECORD_WHOLE,  /* nothing more of it is to come */
	RECORD_BROKEN, /* against the protocol, or aborted: to be closed */
};

/* What is kept of a request, and what FCGI_GET_VALUES is told. */
struct record_limits {
	size_t body_max; /* bytes; one more is kept, to be seen as too many */
	unsigned conns;  /* connections held at once */
	unsigned reqs;   /* requests served at once */
};

/* A stream of name-value pairs (section 3.4), wherever it is cut. */
struct record_pairs {
	unsigned char lens[8]; /* the lengths of the pair at hand */
	size_t nlens;          /* bytes of them that are there */
	size_t name, left;     /* of it: the name's, and those still to come */
	size_t size;           /* of it: name and value */
	bool open;             /* both are, and its content is to come */
	bool kept;             /* it is stored */
	char text[16];         /* how its name begins */
	unsigned asked;        /* values that were named, a bit each */
};

/* { 0 } is none. What is kept of a request is a secret: record_clear. */
struct record_reader {
	const struct record_limits *limits;
	enum record_phase phase;
	bool keeping; /* params, body and reply are filled; set by the caller */
	bool plain;   /* libfcgi could read the same bytes as they came */
	/* The request. */
	unsigned id, role; /* id also of the last one, while idle */
	bool keep;         /* FCGI_KEEP_CONN */
	bool excess;       /* too many params, or too long: some are missing */
	size_t nparams, param_bytes;
	uint64_t body_len; /* bytes of the body so far, kept or not */
	struct buf params; /* pairs, as they came */
	struct buf body;   /* limits->body_max + 1 bytes at most */
	struct buf reply;  /* answers to management records, to be sent */
	/* The record at hand. */
	unsigned char head[RECORD_HEAD], begin[8];
	size_t nhead, left, padding;
	int use;
	struct record_pairs pairs, values;
};

/* Begin with a connection; limits are borrowed. r must be { 0 }. */
void record_init(struct record_reader *r, const struct record_limits *limits);

/*
 * Read up to n bytes; the number of those used, fewer only where the request is
 * whole or the protocol broken. What r holds grows to the limits of
 * http/request.h, body_max and some KiB at most.
 */
size_t record_read(struct record_reader *r, const unsigned char *p, size_t n);

/* Is a request, or a record, there in part? */
bool record_begun(const struct record_reader *r);

/*
 * Can the request be answered? When it is whole; an authorizer's with its
 * params, for it need not have a body (section 6.3); one whose body is far too
 * long.
 */
bool record_ready(const struct record_reader *r);

/* Is there nothing left to be read before the connection may be closed? */
bool record_ended(const struct record_reader *r);

/* Append the request that is ready as plain records, for libfcgi to read. */
void record_frame(const struct record_reader *r, struct buf *out);

/* Make way for the connection's next request. What is late of this one is
 * passed over. */
void record_next(struct record_reader *r);

/* Wipe and free what it holds. */
void record_clear(struct record_reader *r);

#endif
