/*
 * The JSON checker. What it takes, json-c has to read with as many members,
 * and so has jansson; what jansson takes, it may refuse only for a bound of
 * ours. And what json_add_string writes, it reads.
 */
#include "fuzz.h"

#include "base/json_check.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	(void)fuzz_config();
	return 0;
}

static void
ask_members(const struct json *j)
{
	static const char *const names[] = { "a", "exp", "sub", "alg", "name",
		"", NULL };
	const char *s;
	size_t i, len;
	double d;
	int64_t n;

	for (i = 0; names[i] != NULL; i++) {
		if (json_member_string(j, names[i], &s, &len))
			FUZZ_MUST(
			    memchr(s, '\0', len) == NULL && utf8_valid(s, len));
		if (json_member_int(j, names[i], &n))
			FUZZ_MUST(json_member_number(j, names[i], &d));
		(void)json_member_has(j, names[i], "b");
	}
	(void)json_unknown_member(j, names);
}

static void
compare(const char *text, size_t len)
{
	struct json_notes notes = { 0 };
	struct json_facts facts = { 0 };
	enum json_fault f = json_check_noting(text, len, &facts, &notes);
	size_t members;
	enum oracle theirs = oracle_object(text, len, &members);
	struct json *j = json_parse(text, len);

	FUZZ_MUST((j != NULL) == (f == JSON_OK));
	FUZZ_MUST(facts.at <= len);
	FUZZ_MUST(*json_fault_text(f) != '\0');
	if (f == JSON_OK && theirs != ORACLE_CANT) {
		FUZZ_MUST(theirs == ORACLE_YES);
		FUZZ_MUST(members == notes.members);
	}
	/* jansson loses a NUL behind a number. */
	if (theirs == ORACLE_YES && memchr(text, '\0', len) == NULL)
		FUZZ_MUST(f == JSON_OK || f == JSON_DEPTH || f == JSON_NUMBER);
	if (j != NULL)
		ask_members(j);
	json_free(j);
	buf_free(&notes.wide);
}

static void
write_and_read(const char *text, size_t len)
{
	struct buf b = { 0 };
	struct json *j;
	const char *s;
	size_t n;

	if (!utf8_valid(text, len) || memchr(text, '\0', len) != NULL)
		return;
	buf_adds(&b, "{\"x\":0");
	json_add_member(&b, "a", text);
	buf_addc(&b, '}');
	j = json_parse(buf_str(&b), b.len);
	FUZZ_MUST(j != NULL);
	FUZZ_MUST(json_member_string(j, "a", &s, &n));
	FUZZ_MUST(n == len && memcmp(s, text, n) == 0);
	json_free(j);
	buf_free(&b);
}

/* covers: ASVS-V13.1.1 */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size);

	compare(text, size);
	write_and_read(text, size);
	free(text);
	return 0;
}
