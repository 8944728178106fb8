/*
 * The tool's HTTP client, and the reading of the URLs that it is given. They
 * also end up in lines to be pasted into configurations, so only plain
 * characters pass.
 */
#include "cli/http.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/percent.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { HOST_MAX = 253, URL_MAX = 2048 };

#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#define DIGITS "0123456789"

static const char bad_host[] =
    "its host is neither a name of ASCII letters, digits, '-' and '.' nor an "
    "address (IPv6 in brackets)";
static const char bad_port[] = "its port is not 1 to 65535";

/* As libcurl has read it: an address in brackets is one. */
static bool
host_ok(const char *host)
{
	size_t n = strlen(host);

	if (host[0] == '[')
		return true;
	return n > 0 && n <= HOST_MAX && host[0] != '-' && host[0] != '.' &&
	       strspn(host, LETTERS DIGITS "-._") == n;
}

/* [IPv6]; the unspecified address leads here as well. */
static bool
is_loopback_ipv6(const char *host)
{
	static const unsigned char self[15] = { 0 };
	static const unsigned char mapped[13] = {
		[10] = 0xff, [11] = 0xff, [12] = 127
	};
	unsigned char a[16];
	char text[INET6_ADDRSTRLEN];
	size_t n = strlen(host);

	if (n < 2 || n - 2 >= sizeof text)
		return false;
	memcpy(text, host + 1, n - 2);
	text[n - 2] = '\0';
	return inet_pton(AF_INET6, text, a) == 1 &&
	       ((memcmp(a, self, sizeof self) == 0 && a[15] <= 1) ||
		   memcmp(a, mapped, sizeof mapped) == 0);
}

/* "localhost" and its subdomains stay here (RFC 6761 section 6.3), as do 127/8
 * and 0.0.0.0. */
static bool
is_loopback(const char *host)
{
	static const char local[] = ".localhost";
	static const unsigned char any[4] = { 0 };
	size_t n = strlen(host), l = sizeof local - 1;
	unsigned char a[4];

	if (host[0] == '[')
		return is_loopback_ipv6(host);
	if (inet_pton(AF_INET, host, a) == 1)
		return a[0] == 127 || memcmp(a, any, sizeof any) == 0;
	return strcasecmp(host, local + 1) == 0 ||
	       (n > l && strcasecmp(host + n - l, local) == 0);
}

/* The origin as libcurl reads it, to which 127.1 and 0x7f000001 are addresses:
 * what is judged here is what will be asked. */
static const char *
judge_origin(struct http_site *site)
{
	char *host = NULL, *port = NULL;
	const char *why = NULL;
	CURLU *u = curl_url();
	CURLUcode rc;

	if (u == NULL)
		abort();
	rc = curl_url_set(u, CURLUPART_URL, buf_str(&site->origin), 0);
	if (rc == CURLUE_OK)
		(void)curl_url_get(u, CURLUPART_PORT, &port, 0);
	if (rc == CURLUE_BAD_PORT_NUMBER ||
	    (port != NULL && strspn(port, "0") == strlen(port)))
		why = bad_port;
	else if (rc != CURLUE_OK ||
		 curl_url_get(u, CURLUPART_HOST, &host, 0) != CURLUE_OK ||
		 !host_ok(host))
		why = bad_host;
	else
		site->loopback = is_loopback(host);
	curl_free(host);
	curl_free(port);
	curl_url_cleanup(u);
	return why;
}

static const char *
take_authority(const char *s, size_t len, struct http_site *site)
{
	if (memchr(s, '@', len) != NULL)
		return "it must not hold a user or a password";
	if (len == 0 || strspn(s, LETTERS DIGITS "-._:[]") < len)
		return bad_host;
	if (s[len - 1] == ':')
		return bad_port; /* libcurl would take the scheme's */
	buf_adds(&site->origin, site->tls ? "https://" : "http://");
	buf_add(&site->origin, s, len);
	return judge_origin(site);
}

static bool
is_dots(const char *s, size_t len)
{
	return (len == 1 || len == 2) && strncmp(s, "..", len) == 0;
}

static const char *
take_path(const char *s, struct http_site *site)
{
	static const char plain[] = LETTERS DIGITS "-._~%+:,=/";
	size_t len, n;
	struct buf decoded = { 0 };
	bool ok;

	if (s[strcspn(s, "?#")] != '\0')
		return "it must not hold a query or a fragment";
	len = strlen(s);
	while (len > 0 && s[len - 1] == '/')
		len--;
	ok = percent_decode(s, len, &decoded);
	buf_free(&decoded);
	if (!ok || strspn(s, plain) < len)
		return "its path has characters that need percent-encoding";
	buf_add(&site->base, s, len);
	for (s = buf_str(&site->base); *s == '/'; s += n) {
		s++;
		n = strcspn(s, "/");
		if (n == 0 || is_dots(s, n))
			return "its path has an empty segment, '.' or '..'";
	}
	return NULL;
}

const char *
http_site_parse(const char *s, struct http_site *site)
{
	const char *why;
	size_t len;

	if (strlen(s) > URL_MAX)
		return "it is longer than 2048 bytes";
	for (len = 0; s[len] != '\0'; len++)
		if (s[len] <= ' ' || s[len] >= 0x7f || s[len] == '\\')
			return "it has a character that no URL has";
	if (strncasecmp(s, "https://", 8) == 0)
		site->tls = true;
	else if (strncasecmp(s, "http://", 7) != 0)
		return "it must start with http:// or https://";
	s += site->tls ? 8 : 7;
	len = strcspn(s, "/?#");
	why = take_authority(s, len, site);
	return why != NULL ? why : take_path(s + len, site);
}

void
http_site_clear(struct http_site *site)
{
	buf_free(&site->origin);
	buf_free(&site->base);
}

/* One exchange. */
struct transfer {
	CURL *curl;
	struct http_answer *a;
	struct buf url;
	struct buf lines;           /* of the header section, a NUL each */
	struct curl_slist *headers; /* pointing there */
	bool section;               /* amid one of the header sections */
	bool whole;                 /* the answer's own has ended */
	bool cut;                   /* the body is longer than what is kept */
	char said[CURL_ERROR_SIZE];
};

/*
 * A header line. Sections of interim answers (RFC 9110 section 15.2) are let
 * go, and so is what comes behind the answer's own: trailers.
 */
static size_t
take_header(char *p, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;
	struct buf *head = &t->a->head;
	long status = 0;

	n *= size;
	if (t->whole)
		return n;
	if (!t->section)
		buf_reset(head);
	if (n > HTTP_HEAD_MAX - head->len)
		return 0;
	buf_add(head, p, n);
	t->section = p[0] != '\r' && p[0] != '\n';
	if (!t->section) {
		curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
		t->whole = status >= 200;
	}
	return n;
}

/* Another number than n ends the exchange. */
static size_t
take_body(char *p, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;
	size_t room = HTTP_BODY_MAX - t->a->body.len;

	n *= size;
	t->cut = n > room;
	buf_add(&t->a->body, p, t->cut ? room : n);
	return t->cut ? 0 : n;
}

/*
 * The header section in memory of ours, which is wiped: libcurl borrows it.
 * A chunked body is held back until the header section was looked at: one that
 * arrives with it may be counted by the web server, and then has a length after
 * all. Any other is sent at once.
 */
static void
make_headers(struct transfer *t, const struct http_request *q)
{
	size_t n = 0, i = 0;
	char *p, *end;

	buf_add(&t->lines, buf_str(&q->headers), q->headers.len);
	buf_adds(&t->lines, q->chunked ? "Expect: 100-continue\n"
					 "Transfer-Encoding: chunked\n"
				       : "Expect:\n");
	for (p = t->lines.data; (p = strchr(p, '\n')) != NULL; p++)
		n++;
	t->headers = mem_alloc(n * sizeof *t->headers);
	for (p = t->lines.data; i < n; p = end + 1, i++) {
		end = strchr(p, '\n');
		*end = '\0';
		t->headers[i].data = p;
		t->headers[i].next = i + 1 < n ? &t->headers[i + 1] : NULL;
	}
}

/* As curl(1) has it; libcurl's own are the system's. */
static void
set_authorities(CURL *curl)
{
	const char *file = getenv("CURL_CA_BUNDLE"), *dir = NULL;

	if (file == NULL || *file == '\0') {
		file = getenv("SSL_CERT_FILE");
		dir = getenv("SSL_CERT_DIR");
	}
	if (file != NULL && *file != '\0') {
		curl_easy_setopt(curl, CURLOPT_CAINFO, file);
		curl_easy_setopt(curl, CURLOPT_PROXY_CAINFO, file);
	}
	if (dir != NULL && *dir != '\0') {
		curl_easy_setopt(curl, CURLOPT_CAPATH, dir);
		curl_easy_setopt(curl, CURLOPT_PROXY_CAPATH, dir);
	}
}

/* Where to, and by which rules. */
static void
set_way(struct transfer *t, const struct http_request *q)
{
	CURL *curl = t->curl;

	buf_adds(&t->url, buf_str(&q->site->origin));
	buf_adds(&t->url, buf_str(&q->site->base));
	buf_adds(&t->url, q->path);
	curl_easy_setopt(curl, CURLOPT_URL, buf_str(&t->url));
	curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(curl, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)q->timeout_s);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)q->timeout_s);
	/* The resolver's thread is not waited for: it may take longer. */
	curl_easy_setopt(curl, CURLOPT_QUICK_EXIT, 1L);
	if (q->site->loopback)
		curl_easy_setopt(curl, CURLOPT_PROXY, "");
	/* HTTP/2 has no such transfer coding (RFC 9113 section 8.2.2). */
	if (q->chunked)
		curl_easy_setopt(
		    curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	set_authorities(curl);
}

/*
 * What is sent, and who takes what comes. A HEAD is an option of its own: else
 * libcurl waits for the body that the answer's Content-Length speaks of.
 */
static void
set_message(struct transfer *t, const struct http_request *q)
{
	CURL *curl = t->curl;

	make_headers(t, q);
	if (q->body != NULL) {
		curl_easy_setopt(
		    curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)q->body_len);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, q->body);
	}
	if (strcmp(q->method, "HEAD") == 0)
		curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
	else
		curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, q->method);
	curl_easy_setopt(curl, CURLOPT_USERAGENT, q->agent);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, t->headers);
	curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header);
	curl_easy_setopt(curl, CURLOPT_HEADERDATA, t);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, t);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, t->said);
}

/*
 * A server that refuses a body may close before it has read it: what it said
 * then counts, although libcurl complains.
 */
static bool
was_answered(const struct transfer *t, CURLcode code)
{
	bool closed = code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR ||
		      code == CURLE_HTTP2_STREAM;

	if (!t->whole || t->a->status < 200 || t->a->status > 599)
		return false;
	return code == CURLE_OK || t->cut || (closed && t->a->status >= 400);
}

/* What a fault means for whoever runs the site. */
static const char *
hint_of(CURLcode code)
{
	static const struct {
		CURLcode code;
		const char *text;
	} hints[] = {
		{ CURLE_UNSUPPORTED_PROTOCOL,
		    "what answers there does not speak HTTP" },
		{ CURLE_COULDNT_RESOLVE_PROXY,
		    "the proxy that the environment names is not in the DNS" },
		{ CURLE_COULDNT_RESOLVE_HOST, "the name is not in the DNS" },
		{ CURLE_COULDNT_CONNECT,
		    "nothing listens there, or a firewall is in between" },
		{ CURLE_OPERATION_TIMEDOUT,
		    "is every worker held up, or a firewall in between?" },
		{ CURLE_SSL_CONNECT_ERROR, "no TLS there; is it http://?" },
		{ CURLE_GOT_NOTHING, "what listens there hangs up" },
		{ CURLE_PEER_FAILED_VERIFICATION,
		    "the certificate does not prove this name; clients will "
		    "refuse it too" },
	};
	size_t i;

	for (i = 0; i < sizeof hints / sizeof hints[0]; i++)
		if (hints[i].code == code)
			return hints[i].text;
	return NULL;
}

/* Why it was no answer; nothing is left of what came. */
static void
set_fault(const struct transfer *t, CURLcode code)
{
	struct http_answer *a = t->a;
	const char *said = t->said;

	a->status = 0;
	buf_reset(&a->head);
	buf_reset(&a->body);
	if (code == CURLE_OK)
		said = "the answer is not HTTP";
	else if (code == CURLE_WRITE_ERROR && !t->whole)
		said = "the answer's headers are larger than 256 KiB";
	else if (*said == '\0')
		said = curl_easy_strerror(code);
	buf_add(&a->fault, said, strcspn(said, "\r\n"));
	a->hint = hint_of(code);
}

bool
http_ask(const struct http_request *q, struct http_answer *a)
{
	struct transfer t = { .a = a };
	bool answered;
	CURLcode code;
	long status = 0;

	/* It would have libcurl write there what opens the connection. */
	unsetenv("SSLKEYLOGFILE");
	t.curl = curl_easy_init();
	if (t.curl == NULL)
		abort();
	set_way(&t, q);
	set_message(&t, q);
	a->sent = clock_wall();
	code = curl_easy_perform(t.curl);
	a->received = clock_wall();
	curl_easy_getinfo(t.curl, CURLINFO_RESPONSE_CODE, &status);
	a->status = (int)status;
	answered = was_answered(&t, code);
	if (!answered)
		set_fault(&t, code);
	curl_easy_cleanup(t.curl);
	buf_free(&t.url);
	buf_free(&t.lines);
	free(t.headers);
	return answered;
}

/* One line of the header section at *p, without its end; false when the text
 * ends before the line does. */
static bool
take_line(const char **p, const char *end, const char **line, size_t *len)
{
	const char *nl = memchr(*p, '\n', (size_t)(end - *p));

	if (nl == NULL)
		return false;
	*line = *p;
	*len = (size_t)(nl - *p);
	*p = nl + 1;
	if (*len > 0 && nl[-1] == '\r')
		--*len;
	return true;
}

bool
http_header(const struct http_answer *a, const char *name, struct buf *value)
{
	const char *p = buf_str(&a->head), *end = p + a->head.len, *line;
	size_t len, n = strlen(name);

	while (take_line(&p, end, &line, &len)) {
		if (len <= n || strncasecmp(line, name, n) != 0 ||
		    line[n] != ':')
			continue;
		for (n++; n < len && (line[n] == ' ' || line[n] == '\t'); n++)
			;
		while (
		    len > n && (line[len - 1] == ' ' || line[len - 1] == '\t'))
			len--;
		buf_add(value, line + n, len - n);
		return true;
	}
	return false;
}

void
http_answer_clear(struct http_answer *a)
{
	buf_free(&a->head);
	buf_free(&a->body);
	buf_free(&a->fault);
	memset(a, 0, sizeof *a);
}
