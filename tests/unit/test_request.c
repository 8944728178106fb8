/* request and route: the path rule under every server's habits, credentials
 * that arrive twice, lengths, conditions, matching. */
#include "http/request.h"
#include "http/route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MAX = 16 };

/* "A=b|C=d" as params. */
static char **
params_of(const char *text)
{
	static char copy[4096];
	static char *list[MAX + 1];
	size_t n = 0;
	char *p, *save = NULL;

	assert_true(strlen(text) < sizeof copy);
	strcpy(copy, text);
	p = strtok_r(copy, "|", &save);
	while (p != NULL && n < MAX) {
		list[n++] = p;
		p = strtok_r(NULL, "|", &save);
	}
	list[n] = NULL;
	return list;
}

static void
joined(const struct request *req, char *out)
{
	size_t i;

	*out = '\0';
	if (req->npath == SIZE_MAX) {
		strcpy(out, "-");
		return;
	}
	for (i = 0; i < req->npath; i++) {
		strcat(out, "/");
		strncat(out, req->path[i].p, req->path[i].len);
	}
}

static void
paths(void **state)
{
	/* Each server's way to say the same. */
	static const struct {
		const char *params, *base, *path;
		size_t mount;
	} rows[] = {
		{ "REQUEST_URI=/v1/users/a%20b?x=1|SCRIPT_NAME=/v1/users|"
		  "PATH_INFO=/a b",
		    "", "/v1/users/a%20b", 0 },
		{ "REQUEST_URI=/v1/app|SCRIPT_NAME=/v1/app", "", "/v1/app", 0 },
		{ "REQUEST_URI=/api/v1/app|SCRIPT_NAME=/api|PATH_INFO=/v1/app",
		    "/api", "/v1/app", 4 },
		{ "REQUEST_URI=/apiv1/app", "/api", "/apiv1/app", 0 },
		{ "REQUEST_URI=/cgi-bin/postern.fcgi/v1/app|"
		  "SCRIPT_NAME=/cgi-bin/postern.fcgi|PATH_INFO=/v1/app",
		    "", "/v1/app", 21 },
		{ "REQUEST_URI=/sub/v1/app|SCRIPT_NAME=/sub/index.fcgi|"
		  "PATH_INFO=/v1/app",
		    "", "/v1/app", 4 },
		{ "REQUEST_URI=/v1/app|SCRIPT_NAME=/index.fcgi|"
		  "PATH_INFO=/v1/app",
		    "", "/v1/app", 0 },
		{ "REQUEST_URI=/v1/users/x.fcgi|SCRIPT_NAME=/v1/users/x.fcgi",
		    "", "/v1/users/x.fcgi", 0 },
		{ "REQUEST_URI=http://h/v1/app", "", "/v1/app", 0 },
		{ "REQUEST_URI=http://h", "", "-", 0 },
		{ "REQUEST_URI=HTTPS://u@h:8080/v1/app?x=://", "", "/v1/app",
		    0 },
		{ "REQUEST_URI=a+b-c.1://h/v1/app", "", "/v1/app", 0 },
		{ "REQUEST_URI=http://h?u=/v1/app", "", "-", 0 },
		/* No scheme: no absolute form. */
		{ "REQUEST_URI=x?u=://h/healthz", "", "-", 0 },
		{ "REQUEST_URI=?u=://h/healthz", "", "-", 0 },
		{ "REQUEST_URI=x#u=://h/healthz", "", "-", 0 },
		{ "REQUEST_URI=x/y://h/healthz", "", "-", 0 },
		{ "REQUEST_URI=x:y://h/healthz", "", "-", 0 },
		{ "REQUEST_URI=://h/healthz", "", "-", 0 },
		{ "REQUEST_URI=1x://h/healthz", "", "-", 0 },
		{ "REQUEST_URI=x%3a://h/healthz", "", "-", 0 },
		{ "REQUEST_URI=*://h/healthz", "", "-", 0 },
		{ "REQUEST_URI=http:/h/healthz", "", "-", 0 },
		{ "REQUEST_URI=healthz", "", "-", 0 },
		{ "REQUEST_URI=/v1/x?u=://h/healthz", "", "/v1/x", 0 },
		{ "REQUEST_URI=/v1/app#frag", "", "/v1/app", 0 },
		{ "REQUEST_URI=/first|REQUEST_URI=/v1/auth", "", "/v1/auth",
		    0 },
		{ "SCRIPT_NAME=/v1|PATH_INFO=/users/50%", "", "/v1/users/50%25",
		    0 },
		{ "REQUEST_URI=/", "", "", 0 },
		{ "REQUEST_URI=/v1/", "", "-", 0 },
		{ "REQUEST_URI=/v1//app", "", "-", 0 },
		{ "REQUEST_URI=//v1/app", "", "-", 0 },
		{ "REQUEST_URI=/a/b/c/d/e/f/g/h/i", "", "-", 0 },
		{ "REQUEST_URI=*", "", "-", 0 },
		{ "X=y", "", "-", 0 },
	};
	char path[4096];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct request req = { 0 };

		request_init(
		    &req, params_of(rows[i].params), false, rows[i].base);
		joined(&req, path);
		if (strcmp(path, rows[i].path) != 0)
			fail_msg("%s: %s", rows[i].params, path);
		if (req.npath != SIZE_MAX)
			assert_int_equal(req.mount_len, rows[i].mount);
		request_clear(&req);
	}
}

static void
credentials(void **state)
{
	static const struct {
		const char *params, *authorization;
		bool doubled;
	} rows[] = {
		{ "HTTP_AUTHORIZATION=Bearer x", "Bearer x", false },
		{ "REDIRECT_HTTP_AUTHORIZATION=Bearer x", "Bearer x", false },
		{ "HTTP_AUTHORIZATION=Bearer x|"
		  "REDIRECT_HTTP_AUTHORIZATION=Bearer x",
		    "Bearer x", false },
		{ "HTTP_AUTHORIZATION=Bearer x|"
		  "REDIRECT_HTTP_AUTHORIZATION=Bearer y",
		    "Bearer x", true },
		{ "HTTP_AUTHORIZATION=Bearer x|HTTP_AUTHORIZATION=Bearer x",
		    "Bearer x", true },
		{ "HTTP_AUTHORIZATION=|HTTP_AUTHORIZATION=Bearer x", "Bearer x",
		    false },
		{ "HTTP_X_PUBLIC_KEY=a|HTTP_X_PUBLIC_KEY=b", NULL, true },
		{ "HTTP_REDIRECT_HTTP_AUTHORIZATION=Bearer x", NULL, false },
		{ "REDIRECT_REDIRECT_HTTP_AUTHORIZATION=Bearer x", "Bearer x",
		    false },
		{ "REDIRECT_REDIRECT_REDIRECT_REDIRECT_HTTP_AUTHORIZATION=B",
		    "B", false },
		{ "REDIRECT_REDIRECT_HTTP_AUTHORIZATION=B|HTTP_AUTHORIZATION=|"
		  "REDIRECT_HTTP_AUTHORIZATION=B",
		    "B", false },
		{ "REDIRECT_REDIRECT_HTTP_AUTHORIZATION=B|"
		  "REDIRECT_HTTP_AUTHORIZATION=B|HTTP_AUTHORIZATION=C",
		    "B", true },
		{ "REDIRECT_REDIRECT_HTTP_AUTHORIZATION=B|"
		  "REDIRECT_HTTP_AUTHORIZATION=b",
		    "B", true },
		{ "REDIRECT_REDIRECT_HTTP_AUTHORIZATION=B|"
		  "REDIRECT_REDIRECT_HTTP_AUTHORIZATION=B",
		    "B", true },
		{ "REDIRECT_REDIRECT_HTTP_AUTHORIZATION=", NULL, false },
		{ "REDIRECTREDIRECT_HTTP_AUTHORIZATION=B", NULL, false },
		{ "REDIRECT_HTTP_HTTP_AUTHORIZATION=B", NULL, false },
		{ "REDIRECT_REDIRECT_AUTHORIZATION=B", NULL, false },
		{ "REDIRECT_=B|REDIRECT_REDIRECT_=B|REDIRECT=B", NULL, false },
		{ "REDIRECT_HTTP_AUTHORIZATIONS=B", NULL, false },
		{ "redirect_HTTP_AUTHORIZATION=B", NULL, false },
		{ "HTTP_AUTHORIZATION=", NULL, false },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct request req = { 0 };

		request_init(&req, params_of(rows[i].params), false, "");
		assert_int_equal(req.credential_doubled, rows[i].doubled);
		if (rows[i].authorization == NULL)
			assert_null(req.authorization);
		else
			assert_string_equal(
			    req.authorization, rows[i].authorization);
		request_clear(&req);
	}
}

/* What decides is there once, or says the same. */
static void
twice(void **state)
{
	static const char *const names[] = { "PATH_INFO", "REQUEST_URI",
		"SCRIPT_NAME", "REMOTE_ADDR", "QUERY_STRING", "CONTENT_TYPE",
		"POSTERN_GATE", "REQUEST_METHOD", "CONTENT_LENGTH",
		"HTTP_ORIGIN", "HTTP_CONTENT_ENCODING", "FCGI_ROLE" };
	static const struct {
		const char *values[3];
		bool refused;
	} rows[] = {
		{ { "1", NULL, NULL }, false },
		{ { "1", "1", NULL }, false },
		{ { "1", "1", "1" }, false },
		{ { "1", "", NULL }, false },
		{ { "", "1", "" }, false },
		{ { "", "", NULL }, false },
		{ { "1", "2", NULL }, true },
		{ { "1", "2", "1" }, true },
		{ { "1", "", "2" }, true },
		{ { "1", "01", NULL }, true },
		{ { "a", "A", NULL }, true },
		{ { "1", "1 ", NULL }, true },
	};
	struct buf text = { 0 };
	size_t i, k, v;

	(void)state;
	for (i = 0; i < sizeof names / sizeof names[0]; i++)
		for (k = 0; k < sizeof rows / sizeof rows[0]; k++) {
			struct request req = { 0 };

			buf_reset(&text);
			for (v = 0; v < 3 && rows[k].values[v] != NULL; v++)
				buf_addf(&text, "%sX=y|%s=%s", v ? "|" : "",
				    names[i], rows[k].values[v]);
			request_init(
			    &req, params_of(buf_str(&text)), false, "");
			if ((req.param_doubled != NULL) != rows[k].refused)
				fail_msg("%s", buf_str(&text));
			if (rows[k].refused)
				assert_string_equal(
				    req.param_doubled, names[i]);
			request_clear(&req);
		}
	buf_free(&text);
}

static void
roles(void **state)
{
	static const struct {
		const char *params;
		bool authorizer, refused;
	} rows[] = {
		{ "X=y", false, false },
		{ "X=y", true, false },
		{ "FCGI_ROLE=RESPONDER", false, false },
		{ "FCGI_ROLE=AUTHORIZER", true, false },
		{ "FCGI_ROLE=AUTHORIZER", false, true },
		{ "FCGI_ROLE=RESPONDER", true, true },
		{ "FCGI_ROLE=AUTHORIZER|FCGI_ROLE=RESPONDER", true, true },
		{ "FCGI_ROLE=AUTHORIZER|FCGI_ROLE=RESPONDER", false, true },
		{ "FCGI_ROLE=AUTHORIZER|FCGI_ROLE=AUTHORIZER", true, false },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct request req = { 0 };

		request_init(
		    &req, params_of(rows[i].params), rows[i].authorizer, "");
		assert_int_equal(req.param_doubled != NULL, rows[i].refused);
		assert_int_equal(
		    req.gate == GATE_AUTHORIZER, rows[i].authorizer);
		request_clear(&req);
	}
}

static void
gates(void **state)
{
	static const struct {
		const char *params;
		bool authorizer;
		enum gate gate;
	} rows[] = {
		{ "REQUEST_URI=/v1/app", false, GATE_NO },
		{ "REQUEST_URI=/v1/auth?x", false, GATE_PLAIN },
		{ "REQUEST_URI=/healthz|POSTERN_GATE=plain", false,
		    GATE_PLAIN },
		{ "REQUEST_URI=/healthz|POSTERN_GATE=nginx", false,
		    GATE_NGINX },
		{ "REQUEST_URI=/v1/auth|POSTERN_GATE=nginx", false,
		    GATE_NGINX },
		{ "REQUEST_URI=/healthz|POSTERN_GATE=on", false, GATE_PLAIN },
		{ "REQUEST_URI=/healthz|POSTERN_GATE=", false, GATE_NO },
		{ "REQUEST_URI=/healthz|HTTP_POSTERN_GATE=plain", false,
		    GATE_NO },
		{ "REQUEST_URI=/healthz", true, GATE_AUTHORIZER },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct request req = { 0 };

		request_init(
		    &req, params_of(rows[i].params), rows[i].authorizer, "");
		assert_int_equal(req.gate, rows[i].gate);
		request_clear(&req);
	}
}

static void
lengths_and_ids(void **state)
{
	static const struct {
		const char *params;
		int64_t length;
		bool bad;
	} rows[] = {
		{ "CONTENT_LENGTH=12", 12, false },
		{ "CONTENT_LENGTH=0", 0, false },
		{ "CONTENT_LENGTH=", -1, false },
		{ "CONTENT_LENGTH=-1", -1, false },
		{ "X=y", -1, false },
		{ "CONTENT_LENGTH=-2", -1, true },
		{ "CONTENT_LENGTH=+1", -1, true },
		{ "CONTENT_LENGTH=1 ", -1, true },
		{ "CONTENT_LENGTH=0x1", -1, true },
		{ "CONTENT_LENGTH=1,1", -1, true },
		{ "CONTENT_LENGTH=99999999999999999999", -1, true },
	};
	struct request req = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		request_init(&req, params_of(rows[i].params), false, "");
		assert_int_equal(req.content_length, rows[i].length);
		assert_int_equal(req.content_length_bad, rows[i].bad);
		request_clear(&req);
	}
	request_init(&req, params_of("HTTP_X_REQUEST_ID=a-B.9:_"), false, "");
	assert_string_equal(req.id, "a-B.9:_");
	request_clear(&req);
	request_init(&req, params_of("HTTP_X_REQUEST_ID=a b"), false, "");
	assert_int_equal(strlen(req.id), 32);
	request_clear(&req);
}

static void
conditions(void **state)
{
	struct request req = { 0 };

	(void)state;
	request_init(&req, params_of("REQUEST_URI=/v1/a|HTTP_IF_MATCH=\"a\""),
	    false, "");
	assert_true(req.if_match.there && !req.if_match.malformed);
	assert_false(req.if_none_match.there || req.content_range);
	assert_true(etag_list_holds(&req.if_match, "\"a\""));
	request_clear(&req);
	/* A header that comes twice is one list (section 5.3). */
	request_init(&req,
	    params_of("HTTP_IF_NONE_MATCH=W/\"a\"|HTTP_CONTENT_RANGE=|"
		      "HTTP_IF_NONE_MATCH=\"b\""),
	    false, "");
	assert_true(req.content_range && req.if_none_match.n == 2);
	assert_true(etag_list_holds(&req.if_none_match, "\"a\""));
	assert_true(etag_list_holds(&req.if_none_match, "\"b\""));
	request_clear(&req);
	request_init(
	    &req, params_of("HTTP_IF_MATCH=*|HTTP_IF_MATCH=\"b\""), false, "");
	assert_true(req.if_match.malformed);
	request_clear(&req);
}

static void
own_path(void **state)
{
	static const struct {
		const char *params, *base, *path;
	} rows[] = {
		{ "REQUEST_URI=/v1/me?x=1", "", "/v1/me" },
		{ "REQUEST_URI=/api/v1/users/a%20b#x", "/api",
		    "/api/v1/users/a%20b" },
		{ "REQUEST_URI=http://h:8080/v1/users/a+b:@", "",
		    "/v1/users/a+b:@" },
		{ "REQUEST_URI=/v1/users/\xc3\xa9\"<>\n", "",
		    "/v1/users/%C3%A9%22%3C%3E%0A" },
		{ "REQUEST_URI=/x/i.fcgi/v1/me|SCRIPT_NAME=/x/i.fcgi|"
		  "PATH_INFO=/v1/me",
		    "", "/x/i.fcgi/v1/me" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct request req = { 0 };
		struct buf path = { 0 };

		request_init(
		    &req, params_of(rows[i].params), false, rows[i].base);
		request_add_path(&req, &path);
		assert_string_equal(buf_str(&path), rows[i].path);
		buf_free(&path);
		request_clear(&req);
	}
}

static void
matching(void **state)
{
	static const struct route table[] = {
		{ M_GET, "/v1/users", NEED_APP, BODY_NONE, NULL },
		{ M_GET, "/v1/users/{user}", NEED_APP, BODY_NONE, NULL },
		{ M_PUT, "/v1/users/{user}", NEED_APP, BODY_JSON, NULL },
	};
	static const struct {
		const char *params;
		int row; /* -1 = none */
		unsigned allowed;
		const char *param; /* NULL = bad or none */
	} rows[] = {
		{ "REQUEST_METHOD=GET|REQUEST_URI=/v1/users", 0, M_GET, NULL },
		{ "REQUEST_METHOD=HEAD|REQUEST_URI=/v1/%75sers", 0, M_GET,
		    NULL },
		{ "REQUEST_METHOD=PUT|REQUEST_URI=/v1/users/a%2Fb", 2,
		    M_GET | M_PUT, "a/b" },
		{ "REQUEST_METHOD=PUT|REQUEST_URI=/v1/users/a%252Fb", 2,
		    M_GET | M_PUT, "a%2Fb" },
		{ "REQUEST_METHOD=PUT|REQUEST_URI=/v1/users/a+b", 2,
		    M_GET | M_PUT, "a+b" },
		{ "REQUEST_METHOD=PUT|REQUEST_URI=/v1/users/%00", 2,
		    M_GET | M_PUT, NULL },
		{ "REQUEST_METHOD=PUT|REQUEST_URI=/v1/users/%zz", 2,
		    M_GET | M_PUT, NULL },
		{ "REQUEST_METHOD=PUT|REQUEST_URI=/v1/users/%ff", 2,
		    M_GET | M_PUT, NULL },
		{ "REQUEST_METHOD=PUT|REQUEST_URI=/v1/users/..", 2,
		    M_GET | M_PUT, NULL },
		{ "REQUEST_METHOD=DELETE|REQUEST_URI=/v1/users/a", -1,
		    M_GET | M_PUT, NULL },
		{ "REQUEST_METHOD=get|REQUEST_URI=/v1/users", -1, M_GET, NULL },
		{ "REQUEST_METHOD=GET|REQUEST_URI=/v1/Users", -1, 0, NULL },
		{ "REQUEST_METHOD=GET|REQUEST_URI=/v1/users/a/b", -1, 0, NULL },
		{ "REQUEST_METHOD=GET|REQUEST_URI=/v1", -1, 0, NULL },
		{ "REQUEST_METHOD=GET|REQUEST_URI=/", -1, 0, NULL },
	};
	struct buf allow = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct request req = { 0 };
		struct route_match m;

		request_init(&req, params_of(rows[i].params), false, "");
		route_find(table, 3, &req, &m);
		if (rows[i].row < 0) {
			assert_null(m.route);
			assert_int_equal(m.allowed, rows[i].allowed);
		} else {
			assert_ptr_equal(m.route, &table[rows[i].row]);
			assert_int_equal(m.allowed, m.route->method);
		}
		if (rows[i].param != NULL) {
			assert_false(m.param_bad);
			assert_string_equal(buf_str(&m.param), rows[i].param);
		} else if (rows[i].row == 2) {
			assert_true(m.param_bad);
		}
		buf_free(&m.param);
		request_clear(&req);
	}
	route_allow(M_GET | M_PUT, &allow);
	assert_string_equal(buf_str(&allow), "GET, HEAD, PUT, OPTIONS");
	buf_free(&allow);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths),
		cmocka_unit_test(credentials),
		cmocka_unit_test(twice),
		cmocka_unit_test(roles),
		cmocka_unit_test(gates),
		cmocka_unit_test(lengths_and_ids),
		cmocka_unit_test(conditions),
		cmocka_unit_test(own_path),
		cmocka_unit_test(matching),
	};

	return cmocka_run_group_tests_name("request", tests, NULL, NULL);
}
