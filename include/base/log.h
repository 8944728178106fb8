#ifndef POSTERN_BASE_LOG_H
#define POSTERN_BASE_LOG_H

#include <stdint.h>

/*
 * Log lines: one a call, logfmt or JSON, to stderr or syslog. Values are
 * escaped, so that no byte of a request can forge a line or a field. Secrets
 * never get here. A full or gone log device never stops the caller.
 */
enum log_level {
	LOG_LVL_NONE = -1, /* for log_init: nothing is written */
	LOG_LVL_ERROR,
	LOG_LVL_WARN,
	LOG_LVL_INFO,
	LOG_LVL_DEBUG
};
enum log_format { LOG_FMT_LOGFMT, LOG_FMT_JSON };
enum log_target { LOG_TO_STDERR, LOG_TO_SYSLOG };

/* One field of a line: a string (s) or, with s NULL, a number (n). */
struct log_field {
	const char *key;
	const char *s;
	int64_t n;
};

/* s, or "" for NULL: what LOG_S takes may be either. */
const char *log_str(const char *s);

/* Its versions differ about braces in a macro. */
/* clang-format off */
#define LOG_S(k, v) { (k), log_str(v), 0 }
#define LOG_N(k, v) { (k), NULL, (int64_t)(v) }

/* A last field, left out where v is NULL. */
#define LOG_LAST(k, v) { (v) != NULL ? (k) : NULL, log_str(v), 0 }
/* clang-format on */

/* Set up; program is the syslog identity and the "program" of every line. Once
 * more after a fork: each line has its process's id. */
void log_init(const char *program, enum log_level level, enum log_format format,
    enum log_target target);

/* Whether lines of this level are written. */
int log_wants(enum log_level level);

/* Write a line: time, level, pid, event, then fields up to a NULL key. */
void log_fields(
    enum log_level level, const char *event, const struct log_field *fields);

#define log_error(event, ...) LOG_AT(LOG_LVL_ERROR, event, __VA_ARGS__)
#define log_warn(event, ...) LOG_AT(LOG_LVL_WARN, event, __VA_ARGS__)
#define log_info(event, ...) LOG_AT(LOG_LVL_INFO, event, __VA_ARGS__)
#define log_debug(event, ...) LOG_AT(LOG_LVL_DEBUG, event, __VA_ARGS__)
#define LOG_AT(level, event, ...)                                              \
	log_fields(level, event,                                               \
	    (const struct log_field[]){                                        \
		__VA_ARGS__ __VA_OPT__(, ){ NULL, NULL, 0 } })

#endif
