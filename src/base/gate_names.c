/*
 * The names under which the gate tells who was verified.
 */
#include "base/gate_names.h"

#include <string.h>

#define VARIABLE "Variable-"

static const struct {
	const char *header;
	const char *variable;
} names[GATE_NAMES] = {
	[GATE_NAME_APP_ID] = { "X-App-Id", VARIABLE "POSTERN_APP_ID" },
	[GATE_NAME_APP_NAME] = { "X-App-Name", VARIABLE "POSTERN_APP_NAME" },
	[GATE_NAME_APP_PUBLIC_KEY] = { "X-App-Public-Key",
	    VARIABLE "POSTERN_APP_PUBLIC_KEY" },
	[GATE_NAME_SUBJECT] = { "X-Token-Subject", VARIABLE "POSTERN_SUBJECT" },
};

const char *
gate_name_header(enum gate_name name, bool authorizer)
{
	return authorizer ? names[name].variable : names[name].header;
}

bool
gate_name_is_variable(const char *s, size_t len)
{
	const char *name;
	size_t i;

	for (i = 0; i < GATE_NAMES; i++) {
		name = names[i].variable + strlen(VARIABLE);
		if (strlen(name) == len && memcmp(name, s, len) == 0)
			return true;
	}
	return false;
}
