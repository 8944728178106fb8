/*
 * The API's objects as JSON: an app, an event of the audit trail, an invite, a
 * user. The one place that says what their members are called.
 */
#include "http/resource_json.h"

#include "base/json.h"
#include "base/seal.h"

#include <string.h>

void
resource_json_add_time(struct buf *b, const char *name, const struct date *d)
{
	char text[DATE_SIZE];

	json_add_member(b, name, date_text(d, text));
}

const char *
resource_json_alg(const char *sealed, const struct config *cfg)
{
	static const char *const algs[] = { "HS256", "HS384", "HS512" };
	struct seal_label label;
	bool good = seal_read_label(sealed, &label);

	if (!label.own)
		return algs[cfg->jwt_algorithm];
	return good ? public_key_alg_told(label.alg) : NULL;
}

/* ,"name":{"kind":…,"alg":…,"kid":…} of what is sealed; null if nothing is. */
static void
add_key(struct buf *b, const char *name, const char *sealed,
    const struct config *cfg)
{
	struct seal_label label;
	bool good;

	if (sealed == NULL) {
		json_add_member(b, name, NULL);
		return;
	}
	good = seal_read_label(sealed, &label);
	buf_addf(
	    b, ",\"%s\":{\"kind\":\"%s\"", name, label.own ? "own" : "secret");
	json_add_member(b, "alg", resource_json_alg(sealed, cfg));
	json_add_member(b, "kid", label.own && good ? label.kid : NULL);
	buf_addc(b, '}');
}

void
resource_json_add_app_members(
    struct buf *b, const struct app *a, const struct config *cfg)
{
	buf_adds(b, "\"id\":");
	buf_addn(b, a->id);
	json_add_member(b, "name", a->name);
	json_add_member(b, "public_key", a->public_key);
	add_key(b, "key", a->sealed, cfg);
	resource_json_add_time(b, "created_at", &a->created_at);
	resource_json_add_time(b, "updated_at", &a->updated_at);
	resource_json_add_time(b, "disabled_at", &a->disabled_at);
	resource_json_add_time(b, "expires_at", &a->expires_at);
	add_key(b, "previous_key", a->previous_sealed, cfg);
	resource_json_add_time(
	    b, "previous_valid_until", &a->previous_valid_until);
	resource_json_add_time(b, "last_used_at", &a->last_used_at);
	resource_json_add_time(
	    b, "previous_last_used_at", &a->previous_last_used_at);
}

void
resource_json_add_app(
    struct buf *b, const struct app *a, const struct config *cfg)
{
	buf_addc(b, '{');
	resource_json_add_app_members(b, a, cfg);
	buf_addc(b, '}');
}

/* Null where there is none. */
static void
add_id(struct buf *b, const char *name, int64_t id)
{
	char text[BUF_DECIMAL];

	buf_addf(
	    b, ",\"%s\":%s", name, id != 0 ? buf_decimal(id, text) : "null");
}

/* What Postgres gives as JSON. */
static void
add_values(struct buf *b, const char *name, const char *json)
{
	buf_addf(b, ",\"%s\":", name);
	buf_adds(b, json != NULL ? json : "null");
}

void
resource_json_add_event(struct buf *b, const struct app_event *e)
{
	buf_adds(b, "{\"id\":");
	buf_addn(b, e->id);
	add_id(b, "app_id", e->app_id);
	json_add_member(b, "public_key", e->public_key);
	json_add_member(b, "event", e->event);
	json_add_member(b, "actor", e->actor);
	resource_json_add_time(b, "at", &e->at);
	add_id(b, "invite_id", e->invite_id);
	json_add_member(b, "login", e->login);
	json_add_member(b, "request_id", e->request_id);
	json_add_member(b, "remote", e->remote);
	add_values(b, "old", e->old_values);
	add_values(b, "new", e->new_values);
	buf_addc(b, '}');
}

void
resource_json_add_invite_members(struct buf *b, const struct invite *i)
{
	buf_adds(b, "\"id\":");
	buf_addn(b, i->id);
	json_add_member(b, "label", i->label);
	json_add_member(b, "state", i->state);
	buf_adds(b, ",\"uses\":");
	buf_addn(b, i->uses);
	buf_adds(b, ",\"uses_max\":");
	buf_addn(b, i->uses_max);
	resource_json_add_time(b, "created_at", &i->created_at);
	resource_json_add_time(b, "expires_at", &i->expires_at);
	resource_json_add_time(b, "revoked_at", &i->revoked_at);
}

void
resource_json_add_user(struct buf *b, const struct user *u)
{
	buf_adds(b, "{\"user\":");
	json_add_string(b, u->user, strlen(u->user));
	json_add_member(b, "etag", u->etag);
	resource_json_add_time(b, "created_at", &u->created_at);
	resource_json_add_time(b, "updated_at", &u->updated_at);
	buf_addc(b, '}');
}
