/*
 * What to write where: the advice of `postern doctor` for each web server, as
 * one table. In it "@@" stands for the topic's argument; an entry is a
 * sentence and, behind a newline each, the lines to write.
 */
#include "cli/doctor.h"

#include <string.h>
#include <strings.h>

/* The six servers, in the order of their enum. */
struct advice {
	const char *for_front[FRONT_COUNT];
};

#define SOCKET "/run/postern/postern.sock"
#define PROGRAM "/usr/local/lib/postern/postern.fcgi"
#define HTACCESS                                                               \
	"in .htaccess beside index.fcgi\n"                                     \
	"AddHandler fcgid-script .fcgi\n"                                      \
	"RewriteEngine On\n"                                                   \
	"RewriteCond %{REQUEST_FILENAME} !-f\n"                                \
	"RewriteRule ^(.*)$ index.fcgi/$1 [L]\n"                               \
	"CGIPassAuth On"
#define METHODS "GET POST PUT PATCH DELETE OPTIONS"
#define APACHE(text)                                                           \
	[FRONT_APACHE_FCGID] = (text), [FRONT_APACHE_PROXY] = (text),          \
	[FRONT_APACHE_HTACCESS] = (text)

static const struct advice table[TOPIC_COUNT] = {
	[TOPIC_AUTHORIZATION] = { {
	    [FRONT_LIGHTTPD] = "lighttpd passes it on by itself: take out what "
			       "empties it, a line like\n"
			       "setenv.set-request-header = "
			       "(\"Authorization\" => \"\")",
	    [FRONT_APACHE_FCGID] = "in the <Directory> of postern.fcgi\n"
				   "CGIPassAuth On",
	    [FRONT_APACHE_PROXY] = "in the <Location> with the SetHandler\n"
				   "CGIPassAuth On",
	    [FRONT_APACHE_HTACCESS] = "in .htaccess; where the host forbids "
				      "the first line, the second\n"
				      "CGIPassAuth On\n"
				      "SetEnvIf Authorization \"(.+)\" "
				      "HTTP_AUTHORIZATION=$1",
	    [FRONT_NGINX] = "in the location with the fastcgi_pass\n"
			    "fastcgi_param HTTP_AUTHORIZATION "
			    "$http_authorization;",
	    [FRONT_CADDY] = "Caddy passes it on by itself: take out of "
			    "reverse_proxy\n"
			    "header_up -Authorization",
	} },
	[TOPIC_PUBLIC_KEY] = { {
	    [FRONT_LIGHTTPD] = "lighttpd passes it on by itself: take out what "
			       "empties it, a line like\n"
			       "setenv.set-request-header = "
			       "(\"X-Public-Key\" => \"\")",
	    APACHE("Apache passes it on by itself: take out\n"
		   "RequestHeader unset X-Public-Key"),
	    [FRONT_NGINX] = "in the location with the fastcgi_pass\n"
			    "fastcgi_param HTTP_X_PUBLIC_KEY "
			    "$http_x_public_key;",
	    [FRONT_CADDY] = "Caddy passes it on by itself: take out of "
			    "reverse_proxy\n"
			    "header_up -X-Public-Key",
	} },
	[TOPIC_MOUNT] = { {
	    [FRONT_LIGHTTPD] = "hand Postern's paths to it\n"
			       "$HTTP[\"url\"] =~ \"^@@/(v1/|(healthz|readyz|"
			       "metrics|openapi\\.json)$)\" {\n"
			       "\tfastcgi.server = (\"/\" => ((\n"
			       "\t\t\"socket\" => \"" SOCKET "\",\n"
			       "\t\t\"check-local\" => \"disable\",\n"
			       "\t\t\"fix-root-scriptname\" => \"enable\"\n"
			       "\t)))\n"
			       "}",
	    [FRONT_APACHE_FCGID] = "in the virtual host\n"
				   "Alias @@/v1 " PROGRAM "/v1",
	    [FRONT_APACHE_PROXY] =
		"in the virtual host\n"
		"<Location \"@@/v1/\">\n"
		"\tSetHandler \"proxy:unix:" SOCKET "|fcgi://localhost\"\n"
		"\tCGIPassAuth On\n"
		"</Location>",
	    [FRONT_APACHE_HTACCESS] = HTACCESS,
	    [FRONT_NGINX] = "in the server block\n"
			    "location @@/v1/ {\n"
			    "\tfastcgi_pass unix:" SOCKET ";\n"
			    "\tinclude fastcgi_params;\n"
			    "}",
	    [FRONT_CADDY] = "in the site's block\n"
			    "handle @@/v1/* {\n"
			    "\treverse_proxy unix/" SOCKET " {\n"
			    "\t\ttransport fastcgi\n"
			    "\t}\n"
			    "}",
	} },
	[TOPIC_OPS] = { {
	    [FRONT_LIGHTTPD] = "the condition of Postern's paths is\n"
			       "$HTTP[\"url\"] =~ \"^@@/(v1/|(healthz|readyz|"
			       "metrics|openapi\\.json)$)\"",
	    [FRONT_APACHE_FCGID] = "in the virtual host\n"
				   "AliasMatch ^@@/(healthz|readyz|metrics|"
				   "openapi\\.json)$ " PROGRAM "/$1",
	    [FRONT_APACHE_PROXY] =
		"in the virtual host\n"
		"<LocationMatch \"^@@/(healthz|readyz|"
		"metrics|openapi\\.json)$\">\n"
		"\tSetHandler \"proxy:unix:" SOCKET "|fcgi://localhost\"\n"
		"\tCGIPassAuth On\n"
		"</LocationMatch>",
	    [FRONT_APACHE_HTACCESS] = HTACCESS,
	    [FRONT_NGINX] = "in the server block\n"
			    "location ~ ^@@/(healthz|readyz|metrics|"
			    "openapi\\.json)$ {\n"
			    "\tfastcgi_pass unix:" SOCKET ";\n"
			    "\tinclude fastcgi_params;\n"
			    "}",
	    [FRONT_CADDY] = "the site's paths for Postern are\n"
			    "@postern path @@/v1/* @@/healthz @@/readyz "
			    "@@/metrics @@/openapi.json",
	} },
	[TOPIC_BACKEND] = { {
	    [FRONT_LIGHTTPD] = "is postern.fcgi running, and may lighttpd's "
			       "user write to its socket? The name that both "
			       "must have\n"
			       "\"socket\" => \"" SOCKET "\"",
	    [FRONT_APACHE_FCGID] = "Apache's error log says why postern.fcgi "
				   "did not start; it gets no environment "
				   "but what is in\n"
				   "FcgidInitialEnv POSTERN_CONFIG "
				   "/etc/postern/postern.conf",
	    [FRONT_APACHE_PROXY] =
		"is postern.fcgi running, and may Apache's "
		"user write to its socket? The name that "
		"both must have\n"
		"SetHandler \"proxy:unix:" SOCKET "|fcgi://localhost\"",
	    [FRONT_APACHE_HTACCESS] = "is index.fcgi executable (mode 755), "
				      "is ~/.postern.conf readable by its "
				      "owner alone (0600)? In .htaccess\n"
				      "AddHandler fcgid-script .fcgi",
	    [FRONT_NGINX] = "is postern.fcgi running, and may nginx's user "
			    "write to its socket? The name that both must "
			    "have\n"
			    "fastcgi_pass unix:" SOCKET ";",
	    [FRONT_CADDY] = "is postern.fcgi running, and may Caddy's user "
			    "write to its socket? The name that both must "
			    "have\n"
			    "reverse_proxy unix/" SOCKET,
	} },
	[TOPIC_METHODS] = { {
	    [FRONT_LIGHTTPD] = "lighttpd passes all of them on: take out of "
			       "Postern's paths a condition like\n"
			       "$HTTP[\"request-method\"] != \"GET\" { "
			       "url.access-deny = (\"\") }",
	    [FRONT_APACHE_FCGID] = "in the <Directory> of postern.fcgi; and "
				   "take out <Limit> and <LimitExcept>\n"
				   "AllowMethods reset",
	    [FRONT_APACHE_PROXY] = "in the <Location> with the SetHandler; "
				   "and take out <Limit> and <LimitExcept>\n"
				   "AllowMethods reset",
	    [FRONT_APACHE_HTACCESS] = "take <Limit> and <LimitExcept> out of "
				      ".htaccess; if the host refuses the "
				      "methods, ask it for\n"
				      "AllowMethods reset",
	    [FRONT_NGINX] = "in the location with the fastcgi_pass; a 405 "
			    "means that it is not reached\n"
			    "limit_except " METHODS " { deny all; }",
	    [FRONT_CADDY] = "in the matcher of Postern's handle, if it has a "
			    "line of methods\n"
			    "method HEAD " METHODS,
	} },
	[TOPIC_BODY_SIZE] = { {
	    [FRONT_LIGHTTPD] = "above POSTERN_MAX_BODY, in KiB\n"
			       "server.max-request-size = 128",
	    [FRONT_APACHE_FCGID] = "in the virtual host, above "
				   "POSTERN_MAX_BODY\n"
				   "FcgidMaxRequestLen 131072\n"
				   "LimitRequestBody 0",
	    [FRONT_APACHE_PROXY] = "in the <Location> with the SetHandler\n"
				   "LimitRequestBody 0",
	    [FRONT_APACHE_HTACCESS] = "in .htaccess; the host's "
				      "FcgidMaxRequestLen must be above "
				      "POSTERN_MAX_BODY too\n"
				      "LimitRequestBody 0",
	    [FRONT_NGINX] = "in the location with the fastcgi_pass\n"
			    "client_max_body_size 128k;",
	    [FRONT_CADDY] = "in Postern's handle\n"
			    "request_body {\n"
			    "\tmax_size 128KB\n"
			    "}",
	} },
	[TOPIC_CHUNKED] = { {
	    [FRONT_LIGHTTPD] = "let it read the body before Postern gets it\n"
			       "server.stream-request-body = 0",
	    [FRONT_APACHE_FCGID] = "mod_fcgid buffers it, up to\n"
				   "FcgidMaxRequestLen 131072",
	    [FRONT_APACHE_PROXY] = "in the <Location> with the SetHandler\n"
				   "SetEnv proxy-sendcl 1",
	    [FRONT_APACHE_HTACCESS] = "mod_fcgid buffers it; ask the host "
				      "for\n"
				      "FcgidMaxRequestLen 131072",
	    [FRONT_NGINX] = "in the location with the fastcgi_pass\n"
			    "fastcgi_request_buffering on;",
	    [FRONT_CADDY] = "in reverse_proxy\n"
			    "buffer_requests",
	} },
	[TOPIC_BODY_LOST] = { {
	    [FRONT_LIGHTTPD] = "let it read the body before Postern gets it\n"
			       "server.stream-request-body = 0",
	    APACHE("mod_fcgid empties a body that is over LimitRequestBody\n"
		   "LimitRequestBody 0"),
	    [FRONT_NGINX] = "in the location with the fastcgi_pass\n"
			    "fastcgi_pass_request_body on;\n"
			    "fastcgi_request_buffering on;",
	    [FRONT_CADDY] = "in reverse_proxy\n"
			    "buffer_requests",
	} },
	[TOPIC_PATHS] = { {
	    [FRONT_LIGHTTPD] = "take Postern's paths from rewriting\n"
			       "$HTTP[\"url\"] =~ \"^@@/v1/\" { "
			       "url.rewrite-once = () }",
	    [FRONT_APACHE_FCGID] = "take Postern's paths from rewriting\n"
				   "RewriteRule ^/?v1/ - [END]",
	    [FRONT_APACHE_PROXY] = "take Postern's paths from rewriting\n"
				   "RewriteRule ^/?v1/ - [END]",
	    [FRONT_APACHE_HTACCESS] = "in .htaccess this rule and no other\n"
				      "RewriteRule ^(.*)$ index.fcgi/$1 [L]",
	    [FRONT_NGINX] = "in fastcgi_params, once; not $uri, which is "
			    "decoded\n"
			    "fastcgi_param REQUEST_URI $request_uri;",
	    [FRONT_CADDY] = "take the rewriting of Postern's paths out\n"
			    "uri strip_prefix @@",
	} },
	[TOPIC_SLASH] = { {
	    [FRONT_LIGHTTPD] = "for users with a '/' in their names\n"
			       "server.http-parseopts += "
			       "(\"url-path-2f-decode\" => \"disable\", "
			       "\"url-path-2f-reject\" => \"disable\")",
	    [FRONT_APACHE_FCGID] = "for users with a '/' in their names, in "
				   "the virtual host\n"
				   "AllowEncodedSlashes NoDecode",
	    [FRONT_APACHE_PROXY] = "for users with a '/' in their names, in "
				   "the virtual host\n"
				   "AllowEncodedSlashes NoDecode",
	    [FRONT_APACHE_HTACCESS] = "for users with a '/' in their names, "
				      "only the host can say\n"
				      "AllowEncodedSlashes NoDecode",
	    [FRONT_NGINX] = "for users with a '/' in their names, once\n"
			    "fastcgi_param REQUEST_URI $request_uri;",
	    [FRONT_CADDY] = "Caddy passes it on as it is: take the rewriting "
			    "of Postern's paths out",
	} },
	[TOPIC_ERROR_PAGES] = { {
	    [FRONT_LIGHTTPD] = "take server.error-handler-404 out, or say\n"
			       "server.error-intercept = \"disable\"",
	    [FRONT_APACHE_FCGID] = "in the <Directory> of postern.fcgi\n"
				   "ErrorDocument 401 default",
	    [FRONT_APACHE_PROXY] = "in the <Location> with the SetHandler\n"
				   "ProxyErrorOverride Off",
	    [FRONT_APACHE_HTACCESS] = "in .htaccess\n"
				      "ErrorDocument 401 default",
	    [FRONT_NGINX] = "in the location with the fastcgi_pass\n"
			    "fastcgi_intercept_errors off;",
	    [FRONT_CADDY] = "take out of reverse_proxy\n"
			    "handle_response",
	} },
	[TOPIC_REQUEST_HEADER] = { {
	    [FRONT_LIGHTTPD] = "take out what empties or sets it, a line "
			       "like\n"
			       "setenv.set-request-header = (\"@@\" => \"\")",
	    APACHE("take out\nRequestHeader unset @@"),
	    [FRONT_NGINX] = "in the location with the fastcgi_pass\n"
			    "fastcgi_pass_request_headers on;",
	    [FRONT_CADDY] = "take out of reverse_proxy\n"
			    "header_up -@@",
	} },
	[TOPIC_RESPONSE_HEADER] = { {
	    [FRONT_LIGHTTPD] = "take out what empties it, a line like\n"
			       "setenv.set-response-header = "
			       "(\"@@\" => \"\")",
	    APACHE("take out\nHeader unset @@"),
	    [FRONT_NGINX] = "take `fastcgi_hide_header @@;` out; in the "
			    "location with the fastcgi_pass\n"
			    "fastcgi_pass_header @@;",
	    [FRONT_CADDY] = "take out of reverse_proxy\n"
			    "header_down -@@",
	} },
	[TOPIC_AUTH_OF_ITS_OWN] = { {
	    [FRONT_LIGHTTPD] = "leave Postern's paths out of auth.require\n"
			       "$HTTP[\"url\"] =~ \"^@@/v1/\" { "
			       "auth.require = () }",
	    APACHE("in a <Location \"@@/v1/\">\n"
		   "Require all granted"),
	    [FRONT_NGINX] = "in the location with the fastcgi_pass\n"
			    "auth_basic off;",
	    [FRONT_CADDY] = "leave Postern's paths out of basicauth",
	} },
	[TOPIC_SETTINGS_FILE] = { {
	    [FRONT_LIGHTTPD] = "move it out of the document root, and\n"
			       "$HTTP[\"url\"] =~ \"/\\.?postern\\.conf$\" { "
			       "url.access-deny = (\"\") }",
	    APACHE("move it out of the document root, and\n"
		   "<FilesMatch \"^\\.?postern\\.conf$\">\n"
		   "\tRequire all denied\n"
		   "</FilesMatch>"),
	    [FRONT_NGINX] = "move it out of the document root, and\n"
			    "location ~ /\\.?postern\\.conf$ { deny all; }",
	    [FRONT_CADDY] = "move it out of the document root, and\n"
			    "respond */.postern.conf 404",
	} },
};

static const struct {
	const char *name;  /* of --server */
	const char *title; /* for people */
} fronts[FRONT_COUNT] = {
	[FRONT_UNKNOWN] = { "", "" },
	[FRONT_LIGHTTPD] = { "lighttpd", "lighttpd" },
	[FRONT_APACHE_FCGID] = { "apache-fcgid", "Apache with mod_fcgid" },
	[FRONT_APACHE_PROXY] = { "apache-proxy", "Apache with mod_proxy_fcgi" },
	[FRONT_APACHE_HTACCESS] = { "apache-htaccess",
	    "Apache with .htaccess" },
	[FRONT_NGINX] = { "nginx", "nginx" },
	[FRONT_CADDY] = { "caddy", "Caddy" },
};

enum front
front_by_name(const char *name)
{
	enum front f;

	for (f = FRONT_LIGHTTPD; f < FRONT_COUNT; f++)
		if (strcmp(fronts[f].name, name) == 0)
			return f;
	return FRONT_UNKNOWN;
}

enum front
front_by_header(const char *value)
{
	static const struct {
		const char *product;
		enum front front;
	} products[] = {
		{ "lighttpd", FRONT_LIGHTTPD },
		{ "Apache", FRONT_APACHE },
		{ "nginx", FRONT_NGINX },
		{ "openresty", FRONT_NGINX },
		{ "Caddy", FRONT_CADDY },
	};
	size_t i, n;

	for (i = 0; i < sizeof products / sizeof products[0]; i++) {
		n = strlen(products[i].product);
		if (strncasecmp(value, products[i].product, n) == 0 &&
		    strchr("/ ", value[n]) != NULL)
			return products[i].front;
	}
	return FRONT_UNKNOWN;
}

/* Does the advice for f hold for the server at hand, as far as it is known? */
static bool
is_meant(enum front at_hand, enum front f)
{
	if (at_hand == FRONT_APACHE)
		return f == FRONT_APACHE_FCGID || f == FRONT_APACHE_PROXY ||
		       f == FRONT_APACHE_HTACCESS;
	return at_hand == FRONT_UNKNOWN || at_hand == f;
}

static void
advise_one(
    struct doctor *d, const char *title, const char *text, const char *arg)
{
	struct buf b = { 0 };
	const char *at;
	char *lines;

	for (; (at = strstr(text, "@@")) != NULL; text = at + 2) {
		buf_add(&b, text, (size_t)(at - text));
		buf_adds(&b, arg);
	}
	buf_adds(&b, text);
	lines = strchr(b.data, '\n');
	if (lines != NULL)
		*lines++ = '\0';
	report_advise(&d->report, title, b.data, lines != NULL ? lines : "");
	buf_free(&b);
}

void
doctor_advise(struct doctor *d, enum topic t, const char *arg)
{
	const char *text, *before = NULL, *title;
	enum front f;

	for (f = FRONT_LIGHTTPD; f < FRONT_COUNT; f++) {
		text = table[t].for_front[f];
		/* Apache's three ways may have one advice. */
		if (!is_meant(d->front, f) ||
		    (before != NULL && strcmp(before, text) == 0))
			continue;
		title = fronts[f].title;
		if (f == FRONT_APACHE_FCGID && d->front != f &&
		    strcmp(text, table[t].for_front[FRONT_APACHE_HTACCESS]) ==
			0)
			title = "Apache";
		advise_one(d, title, text, arg);
		before = text;
	}
}
