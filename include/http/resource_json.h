#ifndef POSTERN_HTTP_RESOURCE_JSON_H
#define POSTERN_HTTP_RESOURCE_JSON_H

#include "base/buf.h"
#include "base/config.h"
#include "data/app_store.h"
#include "data/event_store.h"
#include "data/invite_store.h"
#include "data/user_store.h"

/*
 * The API's objects as JSON, the same for HTTP and the tool's --json: what is
 * appended is a row as src/api/openapi.json has it. Members go without the
 * braces, so that a caller can add more.
 */

/* An app, without any secret; what secrets are used with is a setting. */
void resource_json_add_app(
    struct buf *b, const struct app *a, const struct config *cfg);
void resource_json_add_app_members(
    struct buf *b, const struct app *a, const struct config *cfg);

/* The algorithm of tokens under what is sealed; NULL if that is malformed. */
const char *resource_json_alg(const char *sealed, const struct config *cfg);

/* A row of the audit trail. */
void resource_json_add_event(struct buf *b, const struct app_event *e);

/* An invite, without its token. */
void resource_json_add_invite_members(struct buf *b, const struct invite *i);

/* A user, as lists have them: without the document. */
void resource_json_add_user(struct buf *b, const struct user *u);

/* ,"name":time behind another member; one that isn't there is null. */
void resource_json_add_time(
    struct buf *b, const char *name, const struct date *d);

#endif
