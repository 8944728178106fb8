/* base/conninfo.h: which ways to write a conninfo are plain, and what is
 * blanked in one. */

#include "base/conninfo.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* The password, where there is one, is made of "s3cret" and "w0rd". */
static const char *const plain[] = {
	"host=h",
	" host=/run dbname=x ",
	"host = h\tport = 5432\nuser=u",
	"host=a,b,/run/pg,@abstract port=1,,2,3",
	"host='' password='s3cret w0rd' dbname='my db'",
	"host='h'password='s3cret\\' \\\\w0rd'user=u",
	"password=s3cret;w0rd/@%:?#& host=h",
	"password=s3cret;w0rd=x host=h",
	"password=s3cret; host=h",
	"password=s3cret\\ w0rd host=h",
	"password= host=h",
	"host=::1,fe80::1%eth0 hostaddr=127.0.0.1,::1",
	"user=me@example.com dbname=a/b",
	"options=-csearch_path=app",
	"options='-c search_path=app -c geqo=off'",
	"sslrootcert=/etc/a\\ b.pem sslmode=verify-full",
	"require_auth=!password,scram-sha-256 connect_timeout=-1",
	"application_name=gate some_new_option=x",
	"postgresql://",
	"postgres://h",
	"postgresql://h/db",
	"postgresql:///db?host=/run/pg&user=u",
	"postgresql://%2Frun%2Fpg/db",
	"postgresql://h1:1,h2,[::1]:2,[fe80::1%25eth0]/db?sslmode=require",
	"postgresql://u:s3cret@h:5432/db",
	"postgresql://u:s3cret%2Fw0rd%40@h/d-b.x?password=a@b/c",
	"postgresql://u:s3cret?w0rd#;&=:@h/db",
	"postgresql://u@h",
	"postgresql://:s3cret@/db",
	"postgresql://u%40corp:s3cret@h",
	"postgresql://h?options=-c%20geqo%3Doff",
};

static const char *const doubtful[] = {
	"db",
	"host",
	"host=h user",
	"=x",
	"HOST=h",
	"host=h password=s3cret w0rd",
	"host=h password s3cret",
	"host=h password:s3cret",
	"host=h password='s3cret w0rd",
	"host=h password=\"s3cret w0rd\"",
	"\"host=h password=s3cret\"",
	"'host=h password=s3cret'",
	"`host=h`",
	"\"postgresql://u:s3cret@h/db\"",
	"host=h;user=u;password=s3cret",
	"user=u;password=s3cret",
	"password=s3cret;host=h",
	"password=s3cret,user=u",
	"password=s3cret&dbname=d",
	"host=h,user=u,password=s3cret",
	"host=h&password=s3cret",
	"host= password=s3cret",
	"user= password=s3cret",
	"dbname= password=s3cret",
	"service= password=s3cret",
	"sslmode= password=s3cret",
	"options= password=s3cret",
	"sslcert= password=s3cret",
	"some_new_option= password=s3cret",
	"Server=h;User Id=u;Password=s3cret",
	"host=h:5432",
	"host=u:s3cret@h",
	"host=h port=s3cret",
	"host=h port=65536",
	"hostaddr=h/s3cret",
	"user=u:s3cret host=h",
	"dbname=db?user=u&password=s3cret",
	"DATABASE_URL=postgresql://u:s3cret@h/db",
	"jdbc:postgresql://h/db?user=u&password=s3cret",
	"JDBC:postgresql://h/db",
	"mysql://u:s3cret@h/db",
	"postgresql+psycopg://u:s3cret@h/db",
	"Postgresql://u:s3cret@h/db",
	"postgresql:/u:s3cret@h/db",
	"postgresql:u:s3cret@h/db",
	"//u:s3cret@h/db",
	"u:s3cret@h/db",
	" postgresql://u:s3cret@h/db",
	"postgresql://u:s3cret/w0rd@h/db",
	"postgresql://u:/s3cret@h/db",
	"postgresql://u:5/s3cret@h/db",
	"postgresql://u:s3cret@w0rd@h/db",
	"postgresql://u:s3cret@@h/db",
	"postgresql://u:s3cret@w0rd/x@h/db",
	"postgresql://u:s3@cret?w0rd@h/db",
	"postgresql://u:s3@cret#w0rd@h/db",
	"postgresql://u:s3@cret:w0rd@h/db",
	"postgresql://u:s3cret%w0rd@h/db",
	"postgresql://u:s3cret%@h/db",
	"postgresql://u:s3cret%00@h/db",
	"postgresql://u:s3cret w0rd@h/db",
	"postgresql://u:s3cret@h/db\n",
	"postgresql://u:s3cret@h/db w0rd",
	"postgresql://u:s3cret@h/db\"",
	"postgresql://u:s3cret:h/db",
	"postgresql://u:s3cret/db",
	"postgresql://u/s3cret@h/db",
	"postgresql://u;s3cret@h/db",
	"postgresql://u,s3cret@h/db",
	"postgresql://u=s3cret@h/db",
	"postgresql://h?user=u:s3cret@x",
	"postgresql://u:s3cret@h/db;sslmode=require",
	"postgresql://u:s3cret@h/db&sslmode=require",
	"postgresql://u:s3cret@h/db?sslmode",
	"postgresql://u:s3cret@h/db?a=b&amp;password=w0rd",
	"postgresql://u:s3cret@h/db?currentSchema=x",
	"postgresql://h:x/db",
	"postgresql://h:0/db",
	"postgresql://[::1/db",
	"postgresql://[]/db",
	"postgresql://[::1]5432/db",
	"postgresql://[s3cret/w0rd]/db",
	"postgresql://{host}/db",
	"postgresql://$HOST/db",
	"postgresql://h/db/x",
	"postgresql://h/db?password=s3cret=w0rd",
	"dbname=postgresql://u:s3cret@h/db",
	"url=postgresql://u:s3cret@h/db",
};

static void
test_shapes(void **state)
{
	const char *why;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof plain / sizeof plain[0]; i++) {
		if (!conninfo_check(plain[i], strlen(plain[i]), &why))
			fail_msg("%s: %s", plain[i], why);
		assert_null(why);
	}
	for (i = 0; i < sizeof doubtful / sizeof doubtful[0]; i++) {
		if (conninfo_check(doubtful[i], strlen(doubtful[i]), &why))
			fail_msg("%s is taken", doubtful[i]);
		assert_non_null(why);
		assert_null(strstr(why, "s3cret"));
		assert_null(strstr(why, "w0rd"));
	}
}

static void
test_options(void **state)
{
	static const struct {
		const char *key, *value;
		bool good;
	} cases[] = {
		{ "host", "a,/run,@x,::1,", true },
		{ "host", "a b", false },
		{ "host", "/run;password=x", false },
		{ "host", "a:1", false },
		{ "host", "gr\xc3\xbcn", false },
		{ "port", "1,2,", true },
		{ "port", "1 ", false },
		{ "user", "me@corp", true },
		{ "user", "a b", true },
		{ "user", "u:x", false },
		{ "dbname", "a:b c/d", true },
		{ "dbname", "a=b", false },
		{ "dbname", "a\nb", false },
		{ "password", "any;=&\n'", true },
		{ "sslpassword", "any;=&\n'", true },
		{ "sslmode", "verify-full", true },
		{ "sslmode", "require;x", false },
		{ "options", "", true },
		{ "options", " --geqo=off", true },
		{ "options", "geqo", false },
		{ "a_new_one", "x y", true },
		{ "a_new_one", "x;y", false },
	};
	const char *why;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++)
		if (conninfo_check_option(cases[i].key, cases[i].value, &why) !=
		    cases[i].good)
			fail_msg("%s=%s", cases[i].key, cases[i].value);
}

static void
test_blanked(void **state)
{
	static const char *const cases[][2] = {
		{ "host=h password=abc user=u", "host=h password=xxx user=u" },
		{ "password = 'a b'host=h", "password = 'xxx'host=h" },
		{ "password='a\\'b' sslpassword=c",
		    "password='xxxx' sslpassword=x" },
		{ "password=", "password=" },
		{ "host=h", "host=h" },
		{ "postgresql://u:a?:b@h/d?password=c%41&user=e",
		    "postgresql://u:xxxx@h/d?password=xxxx&user=e" },
		{ "postgresql://u@h?sslpassword=a", "postgresql://u@h?"
						    "sslpassword=x" },
		{ "postgresql://h:1/d", "postgresql://h:1/d" },
	};
	char *copy;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		copy = conninfo_blanked(cases[i][0]);
		assert_string_equal(copy, cases[i][1]);
		free(copy);
	}
}

static void
test_userinfo(void **state)
{
	(void)state;
	assert_true(conninfo_has_userinfo("postgresql://u:p@h/db"));
	assert_true(conninfo_has_userinfo("postgres://u@h"));
	assert_false(conninfo_has_userinfo("postgresql://h/db?user=a@b"));
	assert_false(conninfo_has_userinfo("host=h user=a@b"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shapes),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_blanked),
		cmocka_unit_test(test_userinfo),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
