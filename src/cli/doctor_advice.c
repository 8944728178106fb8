/*
 * What to write where: the advice of `postern doctor` for each web server, as
 * one table. In it "@@" stands for the topic's argument; an entry is a
 * sentence and, behind a newline each, the lines to write.
 */
#include "cli/doctor.h"

#include <string.h>
#include <strings.h>

struct advice {
	const char *lighttpd, *fcgid, *proxy, *htaccess, *nginx, *caddy;
};

/* A line of that server's file in contrib/ (of lighttpd's example), as it is
 * there: tools/check-advice holds the one against the other. */
#ifndef RECIPE
#define RECIPE(line) "\n" line
#endif
#define SOCKET "/run/postern/postern.sock"
#define PROGRAM "/usr/local/lib/postern/postern.fcgi"
#define OURS "^@@/(v1/|(healthz|readyz|metrics|openapi\\.json)$)"
#define METHODS "GET POST PUT PATCH DELETE OPTIONS"
#define APACHE(text) .fcgid = (text), .proxy = (text), .htaccess = (text)
#define ALIAS(name) RECIPE("Alias @@" name " " PROGRAM name)
#define HANDLER RECIPE("SetHandler \"proxy:unix:" SOCKET "|fcgi://localhost\"")
#define REWRITE                                                                \
	RECIPE("RewriteRule ^(v1/|(healthz|readyz|metrics|openapi\\.json)$) "  \
	       "index.fcgi/v1 [L]")

/* The blocks that hand Postern's paths to it. */
#define LIGHTTPD_MOUNT                                                         \
	RECIPE("$HTTP[\"url\"] =~ \"" OURS "\" {")                             \
	RECIPE("\tfastcgi.server = (\"/\" => ((")                              \
	RECIPE("\t\t\"socket\" => \"" SOCKET "\",")                            \
	RECIPE("\t\t\"check-local\" => \"disable\",")                          \
	RECIPE("\t\t\"fix-root-scriptname\" => \"enable\"")                    \
	RECIPE("\t)))")                                                        \
	RECIPE("}")
#define PROXY_MOUNT                                                            \
	"in the virtual host" RECIPE("<LocationMatch \"" OURS "\">")           \
	    HANDLER RECIPE("CGIPassAuth On") RECIPE("SetEnv proxy-sendcl 1")   \
		RECIPE("</LocationMatch>")
#define HTACCESS_MOUNT                                                         \
	"in .htaccess beside index.fcgi" RECIPE(                               \
	    "AddHandler fcgid-script .fcgi") RECIPE("CGIPassAuth On")          \
	    RECIPE("RewriteEngine On") REWRITE
#define NGINX_MOUNT                                                            \
	"beside the server block, and in it" RECIPE("upstream postern {")      \
	    RECIPE("\tserver unix:" SOCKET ";") RECIPE("}")                    \
		RECIPE("location ~ " OURS " {")                                \
		    RECIPE("\tfastcgi_pass postern;")                          \
			RECIPE("\tinclude fastcgi_params;")                    \
			    RECIPE("\tgzip off;") RECIPE("}")
#define CADDY_PATHS                                                            \
	RECIPE("@postern path @@/v1/* @@/healthz @@/readyz @@/metrics "        \
	       "@@/openapi.json")
#define CADDY_BODY                                                             \
	RECIPE("request_body {")                                               \
	RECIPE("\tmax_size 128KiB")                                            \
	RECIPE("}")

static const struct advice table[TOPIC_COUNT] = {
	[TOPIC_AUTHORIZATION] = {
	    .lighttpd = "lighttpd passes it on by itself: take out what "
			       "empties it, a line like\n"
			       "setenv.set-request-header = "
			       "(\"Authorization\" => \"\")",
	    .fcgid = "in the <Files> of postern.fcgi" RECIPE("CGIPassAuth On"),
	    .proxy =
		"in the <LocationMatch> with the SetHandler"
		RECIPE("CGIPassAuth On"),
	    .htaccess =
		"in .htaccess; where the host forbids the first line, the "
		"second"
		RECIPE("CGIPassAuth On")
		"\nSetEnvIf Authorization \"(.+)\" HTTP_AUTHORIZATION=$1",
	    .nginx = "in the location with the fastcgi_pass\n"
			    "fastcgi_param HTTP_AUTHORIZATION "
			    "$http_authorization;",
	    .caddy = "Caddy passes it on by itself: take out of "
			    "reverse_proxy\n"
			    "header_up -Authorization",
	},
	[TOPIC_PUBLIC_KEY] = {
	    .lighttpd = "lighttpd passes it on by itself: take out what "
			       "empties it, a line like\n"
			       "setenv.set-request-header = "
			       "(\"X-Public-Key\" => \"\")",
	    APACHE("Apache passes it on by itself: take out\n"
		   "RequestHeader unset X-Public-Key"),
	    .nginx = "in the location with the fastcgi_pass\n"
			    "fastcgi_param HTTP_X_PUBLIC_KEY "
			    "$http_x_public_key;",
	    .caddy = "Caddy passes it on by itself: take out of "
			    "reverse_proxy\n"
			    "header_up -X-Public-Key",
	},
	[TOPIC_MOUNT] = {
	    .lighttpd = "hand Postern's paths to it" LIGHTTPD_MOUNT,
	    .fcgid = "in the virtual host" ALIAS("/v1"),
	    .proxy = PROXY_MOUNT,
	    .htaccess = HTACCESS_MOUNT,
	    .nginx = NGINX_MOUNT,
	    .caddy =
		"in the site's block"
		CADDY_PATHS
		RECIPE("handle @postern {")
		RECIPE("\treverse_proxy unix/" SOCKET " {")
		RECIPE("\t\tbuffer_requests")
		RECIPE("\t\ttransport fastcgi")
		RECIPE("\t}")
		RECIPE("}"),
	},
	[TOPIC_OPS] = {
	    .lighttpd =
		"the condition of Postern's paths is"
		RECIPE("$HTTP[\"url\"] =~ \"" OURS "\" {"),
	    .fcgid =
		"in the virtual host"
		ALIAS("/healthz")
		ALIAS("/readyz")
		ALIAS("/metrics")
		ALIAS("/openapi.json"),
	    .proxy = PROXY_MOUNT,
	    .htaccess = HTACCESS_MOUNT,
	    .nginx =
		"the location of Postern's paths is"
		RECIPE("location ~ " OURS " {"),
	    .caddy = "the site's paths for Postern are" CADDY_PATHS,
	},
	[TOPIC_BACKEND] = {
	    .lighttpd =
		"is postern.fcgi running, and may lighttpd's user write to "
		"its socket? The name that both must have"
		RECIPE("\"socket\" => \"" SOCKET "\","),
	    .fcgid =
		"Apache's error log says why postern.fcgi did not start; it "
		"gets no environment but what is in"
		RECIPE("FcgidInitialEnv POSTERN_CONFIG "
		       "/etc/postern/postern.conf"),
	    .proxy =
		"is postern.fcgi running, and may Apache's user write to its "
		"socket? The name that both must have"
		HANDLER,
	    .htaccess =
		"is index.fcgi executable (mode 755), is ~/.postern.conf "
		"readable by its owner alone (0600)? In .htaccess"
		RECIPE("AddHandler fcgid-script .fcgi"),
	    .nginx =
		"is postern.fcgi running, and may nginx's user write to its "
		"socket? The name that both must have, in the upstream"
		RECIPE("server unix:" SOCKET ";"),
	    .caddy =
		"is postern.fcgi running, and may Caddy's user write to its "
		"socket? The name that both must have"
		RECIPE("reverse_proxy unix/" SOCKET " {"),
	},
	[TOPIC_METHODS] = {
	    .lighttpd = "lighttpd passes all of them on: take out of "
			       "Postern's paths a condition like\n"
			       "$HTTP[\"request-method\"] != \"GET\" { "
			       "url.access-deny = (\"\") }",
	    .fcgid =
		"in a <Directory> of postern.fcgi; and take out <Limit> and "
		"<LimitExcept>\n"
		"AllowMethods reset",
	    .proxy =
		"in the <LocationMatch> with the SetHandler; and take out "
		"<Limit> and <LimitExcept>\n"
		"AllowMethods reset",
	    .htaccess = "take <Limit> and <LimitExcept> out of "
				      ".htaccess; if the host refuses the "
				      "methods, ask it for\n"
				      "AllowMethods reset",
	    .nginx = "in the location with the fastcgi_pass; a 405 "
			    "means that it is not reached\n"
			    "limit_except " METHODS " { deny all; }",
	    .caddy = "in the matcher of Postern's handle, if it has a "
			    "line of methods\n"
			    "method HEAD " METHODS,
	},
	[TOPIC_BODY_SIZE] = {
	    .lighttpd =
		"above POSTERN_MAX_BODY, in KiB"
		RECIPE("server.max-request-size = 128"),
	    .fcgid =
		"in the virtual host, above POSTERN_MAX_BODY"
		RECIPE("FcgidMaxRequestLen 131072")
		"\nLimitRequestBody 0",
	    .proxy =
		"in the <LocationMatch> with the SetHandler\n"
		"LimitRequestBody 0",
	    .htaccess = "in .htaccess; the host's "
				      "FcgidMaxRequestLen must be above "
				      "POSTERN_MAX_BODY too\n"
				      "LimitRequestBody 0",
	    .nginx = "in the server block" RECIPE("client_max_body_size 128k;"),
	    .caddy = "in Postern's handle" CADDY_BODY,
	},
	[TOPIC_CHUNKED] = {
	    .lighttpd =
		"let it read the body before Postern gets it"
		RECIPE("server.stream-request-body = 0"),
	    .fcgid =
		"mod_fcgid buffers it, up to"
		RECIPE("FcgidMaxRequestLen 131072"),
	    .proxy =
		"in the <LocationMatch> with the SetHandler"
		RECIPE("SetEnv proxy-sendcl 1"),
	    .htaccess = "mod_fcgid buffers it; ask the host "
				      "for\n"
				      "FcgidMaxRequestLen 131072",
	    .nginx = "in the location with the fastcgi_pass\n"
			    "fastcgi_request_buffering on;",
	    .caddy = "in reverse_proxy" RECIPE("buffer_requests"),
	},
	[TOPIC_BODY_LOST] = {
	    .lighttpd =
		"let it read the body before Postern gets it"
		RECIPE("server.stream-request-body = 0"),
	    APACHE("mod_fcgid empties a body that is over LimitRequestBody\n"
		   "LimitRequestBody 0"),
	    .nginx = "in the location with the fastcgi_pass\n"
			    "fastcgi_pass_request_body on;\n"
			    "fastcgi_request_buffering on;",
	    .caddy =
		"in Postern's handle; Caddy cuts a body that is larger"
		CADDY_BODY,
	},
	[TOPIC_PATHS] = {
	    .lighttpd = "take Postern's paths from rewriting\n"
			       "$HTTP[\"url\"] =~ \"^@@/v1/\" { "
			       "url.rewrite-once = () }",
	    .fcgid = "take Postern's paths from rewriting\n"
				   "RewriteRule ^/?v1/ - [END]",
	    .proxy = "take Postern's paths from rewriting\n"
				   "RewriteRule ^/?v1/ - [END]",
	    .htaccess = "in .htaccess this rule and no other" REWRITE,
	    .nginx = "in fastcgi_params, once; not $uri, which is "
			    "decoded\n"
			    "fastcgi_param REQUEST_URI $request_uri;",
	    .caddy = "take the rewriting of Postern's paths out\n"
			    "uri strip_prefix @@",
	},
	[TOPIC_SLASH] = {
	    .lighttpd = "for users with a '/' in their names\n"
			       "server.http-parseopts += "
			       "(\"url-path-2f-decode\" => \"disable\", "
			       "\"url-path-2f-reject\" => \"disable\")",
	    .fcgid =
		"for users with a '/' in their names, in the virtual host"
		RECIPE("AllowEncodedSlashes NoDecode"),
	    .proxy =
		"for users with a '/' in their names, in the virtual host"
		RECIPE("AllowEncodedSlashes NoDecode"),
	    .htaccess = "for users with a '/' in their names, "
				      "only the host can say\n"
				      "AllowEncodedSlashes NoDecode",
	    .nginx = "for users with a '/' in their names, once\n"
			    "fastcgi_param REQUEST_URI $request_uri;",
	    .caddy = "Caddy passes it on as it is: take the rewriting "
			    "of Postern's paths out",
	},
	[TOPIC_TOKEN_SIZE] = {
	    .lighttpd =
		"for tokens of up to 8 KiB"
		RECIPE("server.max-request-field-size = 16384"),
	    .fcgid =
		"for tokens of up to 8 KiB, in the virtual host"
		RECIPE("LimitRequestFieldSize 16380"),
	    .proxy =
		"for tokens of up to 8 KiB, in the virtual host"
		RECIPE("LimitRequestFieldSize 16380"),
	    .htaccess = "for tokens of up to 8 KiB, only the host can "
			       "say\n"
			       "LimitRequestFieldSize 16380",
	    .nginx =
		"for tokens of up to 8 KiB, in the server block"
		RECIPE("large_client_header_buffers 4 16k;"),
	    .caddy = "for tokens of up to 8 KiB, in the global options\n"
			    "servers {\n"
			    "\tmax_header_size 16KB\n"
			    "}",
	},
	[TOPIC_ERROR_PAGES] = {
	    .lighttpd = "take server.error-handler-404 out, or say\n"
			       "server.error-intercept = \"disable\"",
	    .fcgid =
		"in a <Directory> of postern.fcgi\nErrorDocument 401 default",
	    .proxy =
		"in the <LocationMatch> with the SetHandler\n"
		"ProxyErrorOverride Off",
	    .htaccess = "in .htaccess\n"
				      "ErrorDocument 401 default",
	    .nginx = "in the location with the fastcgi_pass\n"
			    "fastcgi_intercept_errors off;",
	    .caddy = "take out of reverse_proxy\n"
			    "handle_response",
	},
	[TOPIC_REQUEST_HEADER] = {
	    .lighttpd = "take out what empties or sets it, a line "
			       "like\n"
			       "setenv.set-request-header = (\"@@\" => \"\")",
	    APACHE("take out\nRequestHeader unset @@"),
	    .nginx = "in the location with the fastcgi_pass\n"
			    "fastcgi_pass_request_headers on;",
	    .caddy = "take out of reverse_proxy\n"
			    "header_up -@@",
	},
	[TOPIC_RESPONSE_HEADER] = {
	    .lighttpd = "take out what empties it, a line like\n"
			       "setenv.set-response-header = "
			       "(\"@@\" => \"\")",
	    APACHE("take out\nHeader unset @@"),
	    .nginx = "take `fastcgi_hide_header @@;` out; in the "
			    "location with the fastcgi_pass\n"
			    "fastcgi_pass_header @@;",
	    .caddy = "take out of reverse_proxy\n"
			    "header_down -@@",
	},
	[TOPIC_COMPRESSION] = {
	    .lighttpd = "leave Postern's paths out of mod_deflate; or, if "
			       "it is a proxy before it that compresses, out "
			       "of that\n"
			       "$HTTP[\"url\"] =~ \"^@@/(v1/|openapi\\.json$)"
			       "\" { deflate.mimetypes = () }",
	    APACHE("leave Postern's paths out of mod_deflate and "
		   "mod_brotli; or, if it is a proxy before it that "
		   "compresses, out of that\n"
		   "SetEnvIf Request_URI \"^@@/(v1/|openapi\\.json$)\" "
		   "no-gzip=1 no-brotli=1"),
	    .nginx =
		"in the location with the fastcgi_pass, and in that of a "
		"proxy before it"
		RECIPE("gzip off;"),
	    .caddy = "leave Postern's paths out of encode; or, if it is a "
			    "proxy before it that compresses, out of that\n"
			    "@pages not path @@/v1/* @@/openapi.json\n"
			    "encode @pages gzip",
	},
	[TOPIC_AUTH_OF_ITS_OWN] = {
	    .lighttpd = "leave Postern's paths out of auth.require\n"
			       "$HTTP[\"url\"] =~ \"^@@/v1/\" { "
			       "auth.require = () }",
	    APACHE("in a <Location \"@@/v1/\">\n"
		   "Require all granted"),
	    .nginx = "in the location with the fastcgi_pass\n"
			    "auth_basic off;",
	    .caddy = "leave Postern's paths out of basicauth",
	},
	[TOPIC_SETTINGS_FILE] = {
	    .lighttpd = "move it out of the document root, and\n"
			       "$HTTP[\"url\"] =~ \"/\\.?postern\\.conf$\" { "
			       "url.access-deny = (\"\") }",
	    APACHE("move it out of the document root, and\n"
		   "<FilesMatch \"^\\.?postern\\.conf$\">\n"
		   "\tRequire all denied\n"
		   "</FilesMatch>"),
	    .nginx = "move it out of the document root, and\n"
			    "location ~ /\\.?postern\\.conf$ { deny all; }",
	    .caddy = "move it out of the document root, and\n"
			    "respond */.postern.conf 404",
	},
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

static const char *
advice_for(enum topic t, enum front f)
{
	const struct advice *a = &table[t];
	const char *const by_front[FRONT_COUNT] = {
		[FRONT_LIGHTTPD] = a->lighttpd,
		[FRONT_APACHE_FCGID] = a->fcgid,
		[FRONT_APACHE_PROXY] = a->proxy,
		[FRONT_APACHE_HTACCESS] = a->htaccess,
		[FRONT_NGINX] = a->nginx,
		[FRONT_CADDY] = a->caddy,
	};

	return by_front[f];
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
		text = advice_for(t, f);
		/* Apache's three ways may have one advice. */
		if (!is_meant(d->front, f) ||
		    (before != NULL && strcmp(before, text) == 0))
			continue;
		title = fronts[f].title;
		if (f == FRONT_APACHE_FCGID && d->front != f &&
		    strcmp(text, table[t].htaccess) == 0)
			title = "Apache";
		advise_one(d, title, text, arg);
		before = text;
	}
}
