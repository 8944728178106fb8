/* media: Content-Type as clients write it (RFC 9110 sections 8.3.1, 5.6.6). */
#include "http/media.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define J "application/json"

/* covers: ASVS-V13.1.5 */
static void
taken(void **state)
{
	static const char *const good[] = {
		J,
		"APPLICATION/Json",
		" \t" J "\t ",
		J ";",
		J " ; ",
		J ";;;",
		J "; ;\t;",
		J ";charset=utf-8",
		J "; charset=UTF-8",
		J ";\tCharSet=Utf-8",
		J ";charset=utf8",
		J ";charset=UTF8 ;",
		J "; charset=\"utf-8\"",
		J "; charset=\"UTF8\";",
		J "; charset=\"u\\tf\\-8\"",
		J "; charset=utf-8; charset=\"utf8\"",
		J ";version=1",
		J ";odata=verbose",
		J ";odata.metadata=minimal;odata.streaming=true;charset=utf-8",
		J ";profile=\"http://x/;charset=latin1\"",
		J ";a=\"\"",
		J ";a=\"\\\"; charset=latin1\"",
		J ";a=\"\xff\t\"",
		J ";charset-x=latin1",
		J ";xcharset=latin1",
		J ";a=b;a=c",
		J ";a=a-value-that-is-longer-than-any-charset-could-be",
		J ";!#$%&'*+-.^_`|~=!#$%&'*+-.^_`|~",
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof good / sizeof good[0]; i++)
		if (!media_type_is(good[i], J))
			fail_msg("refused: %s", good[i]);
	assert_true(media_type_is("application/merge-patch+json;a=b",
	    "application/merge-patch+json"));
}

/* covers: ASVS-V13.1.5 */
static void
refused(void **state)
{
	static const char *const bad[] = {
		"",
		" ",
		";",
		";charset=utf-8",
		"json",
		"text/json",
		"application/jsonx",
		"application/json5",
		"application/json+x",
		"application/jso",
		"application /json",
		"application/ json",
		"application/problem+json",
		"application/merge-patch+json",
		"text/plain;a=" J,
		J "," J,
		J ", text/plain",
		J " charset=utf-8",
		J ";charset",
		J ";charset=",
		J ";charset=;",
		J ";charset =utf-8",
		J ";charset= utf-8",
		J ";=utf-8",
		J ";charset=latin1",
		J ";charset=iso-8859-1",
		J ";charset=utf-16",
		J ";charset=utf-7",
		J ";charset=utf-8x",
		J ";charset=utf",
		J ";charset=us-ascii",
		J ";charset=utf_8",
		J ";charset=\"utf-8 \"",
		J ";charset=\"\"",
		J ";charset=\"utf-8",
		J ";charset=\"utf-8\\",
		J ";charset=\"utf-8\"x",
		J ";charset='utf-8'",
		J ";charset=utf-8 x",
		J ";charset=utf-8,x",
		J ";charset=utf-8; charset=latin1",
		J ";charset=latin1; charset=utf-8",
		J ";CHARSET=\"latin1\";charset=utf-8",
		J ";charset=utf-8utf-8utf-8utf-8",
		J ";version",
		J ";a=b c",
		J ";a=\"b",
		J ";a=\"\x01\"",
		J ";a=\"\x7f\"",
		J ";a=\xc3\xa9",
		J ";a b=c",
		J "\n",
		J ";\r",
		"\"" J "\"",
		"*/*",
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++)
		if (media_type_is(bad[i], J))
			fail_msg("taken: %s", bad[i]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(taken),
		cmocka_unit_test(refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
