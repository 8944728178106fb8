#ifndef POSTERN_CLI_DOCTOR_H
#define POSTERN_CLI_DOCTOR_H

#include "base/buf.h"
#include "base/crypto.h"
#include "base/secret.h"
#include "cli/http.h"
#include "cli/report.h"
#include <stdbool.h>
#include <stddef.h>

/* `postern doctor`: what its files share. */

/* The web server in front. FRONT_APACHE is one whose way isn't known. */
enum front {
	FRONT_UNKNOWN,
	FRONT_LIGHTTPD,
	FRONT_APACHE_FCGID,
	FRONT_APACHE_PROXY,
	FRONT_APACHE_HTACCESS,
	FRONT_NGINX,
	FRONT_CADDY,
	FRONT_COUNT,
	FRONT_APACHE = FRONT_COUNT
};

/* What can be wrong, as far as the web server's configuration cures it. */
enum topic {
	TOPIC_AUTHORIZATION,
	TOPIC_PUBLIC_KEY,
	TOPIC_MOUNT, /* with the base path */
	TOPIC_OPS,   /* likewise */
	TOPIC_BACKEND,
	TOPIC_METHODS,
	TOPIC_BODY_SIZE,
	TOPIC_CHUNKED,
	TOPIC_BODY_LOST,
	TOPIC_PATHS,
	TOPIC_SLASH,
	TOPIC_TOKEN_SIZE,
	TOPIC_ERROR_PAGES,
	TOPIC_REQUEST_HEADER,  /* with its name */
	TOPIC_RESPONSE_HEADER, /* likewise */
	TOPIC_COMPRESSION,     /* with the base path */
	TOPIC_AUTH_OF_ITS_OWN,
	TOPIC_SETTINGS_FILE,
	TOPIC_COUNT
};

struct doctor {
	struct http_site site;
	enum front front;
	int timeout_s;
	const char *public_key; /* NULL: no credentials */
	struct secret key;      /* its secret key */
	enum crypto_hash hash;  /* of its tokens */
	struct secret wrong;    /* a secret key of no app */
	char unknown[65];       /* a public key of no app */
	char user[64];          /* of the scratch document */
	bool answers;           /* something there speaks HTTP */
	bool codes_lost;        /* refusals come without their body */
	bool id_lost;           /* X-Request-Id does not come back */
	bool compressed;        /* the API's answers are, and that was told */
	bool works;             /* the credentials are let in */
	bool made;              /* the scratch document is there */
	struct report report;
};

/* Which credentials a request has. */
enum creds {
	CREDS_NONE,
	CREDS_UNKNOWN, /* well-formed, of no app */
	CREDS_OWN,     /* the app's */
	CREDS_BEST     /* the app's if they are let in, else of no app */
};

struct ask {
	const char *method;
	const char *path; /* behind the base: "/v1/..." */
	enum creds creds;
	const char *sub;   /* the token's; NULL: an app token */
	int expires;       /* seconds from now; 0 = 300 */
	bool longest;      /* a token as long as Postern takes them */
	const char *extra; /* one more header, "Name: value"; NULL: none */
	const char *body;  /* JSON; NULL: none */
	size_t body_len;
	bool chunked;
};

/* An answer as far as Postern's own marks tell. */
struct reply {
	bool answered; /* wholly; else http has the fault */
	struct http_answer http;
	bool ours; /* Postern gave it, as its problem, its challenge or, below
		      400, our request id shows */
	bool problem;    /* with its body */
	char code[48];   /* of the problem, or what the challenge tells */
	char id[32];     /* the X-Request-Id that was sent */
	bool id_echoed;  /* and came back */
	bool id_arrived; /* and reached Postern, as its problem says */
	char shown[160]; /* "405 from the web server" */
};

/* Ask. The caller clears *r, which must be { 0 }. */
void doctor_ask(const struct doctor *d, const struct ask *a, struct reply *r);
void reply_clear(struct reply *r);

/* Advise on the last answer of the report, for the server at hand, or for each
 * if it isn't known. arg is what the topic is said to have, or "". */
void doctor_advise(struct doctor *d, enum topic t, const char *arg);

/* The server that a name (of --server) means; FRONT_UNKNOWN if none. */
enum front front_by_name(const char *name);

/* The server that a Server header means. */
enum front front_by_header(const char *value);

/*
 * The checks. reach: is it Postern, and what is in between? False if nothing
 * else can be learnt there. The others ask on.
 */
bool doctor_check_reach(struct doctor *d);
void doctor_check_credentials(struct doctor *d);
void doctor_check_methods(struct doctor *d);
void doctor_check_bodies(struct doctor *d);
void doctor_check_paths(struct doctor *d);
void doctor_check_token_size(struct doctor *d);
void doctor_check_clock(struct doctor *d);

/* Nothing is reported where nothing is compressed; once, where it is. path is
 * one with an ETag. */
void doctor_check_compression(
    struct doctor *d, const char *path, enum creds creds);
void doctor_check_document(struct doctor *d);
void doctor_check_settings_file(struct doctor *d);

#endif
