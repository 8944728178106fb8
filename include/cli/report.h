#ifndef POSTERN_CLI_REPORT_H
#define POSTERN_CLI_REPORT_H

#include "base/buf.h"
#include <stdarg.h>
#include <stdbool.h>

/* What a question came to. Only a failure makes the command fail. */
enum verdict { REPORT_OK, REPORT_WARN, REPORT_FAIL };

/* The answers of a command that checks things, a line each. { 0 } is an empty
 * one; json may be set. */
struct report {
	bool json;
	bool failed;
	int count;
	int advice; /* pieces of advice under the last answer */
	struct buf out;
};

/*
 * Add an answer, and show it if it is not for JSON. name is ours; the text is
 * shown with what could steer a terminal escaped, and cut after about 1000
 * bytes.
 */
void report_add(struct report *r, enum verdict v, const char *name,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));
void report_vadd(struct report *r, enum verdict v, const char *name,
    const char *fmt, va_list ap) __attribute__((format(printf, 4, 0)));

/*
 * What to do about the last answer: a sentence that says where, and the lines
 * to write there, each ended by '\n' ("" if the sentence says it all). topic
 * says for which program it is; NULL or "" if that is plain.
 */
void report_advise(
    struct report *r, const char *topic, const char *where, const char *lines);

/* Write the rest to stdout and release it. CLI_OK, or CLI_FAILURE if an answer
 * was a failure or stdout is gone. */
int report_end(struct report *r);

#endif
