#ifndef POSTERN_BASE_GATE_NAMES_H
#define POSTERN_BASE_GATE_NAMES_H

#include <stdbool.h>
#include <stddef.h>

/*
 * What a yes of the gate tells, and under which names. Each web server's recipe
 * has to take all of them from what the client sent: one that is forgotten
 * there could be forged. tools/check-lists holds contrib/ and the documents
 * against this list.
 */
enum gate_name {
	GATE_NAME_APP_ID,
	GATE_NAME_APP_NAME,
	GATE_NAME_APP_PUBLIC_KEY,
	GATE_NAME_SUBJECT,
	GATE_NAMES
};

/* The header of the answer; an authorizer's begins with "Variable-", and the
 * rest of it becomes a variable of the request's environment. */
const char *gate_name_header(enum gate_name name, bool authorizer);

/* Is this one of these variables? */
bool gate_name_is_variable(const char *s, size_t len);

#endif
