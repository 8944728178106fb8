#ifndef POSTERN_API_APP_BODIES_H
#define POSTERN_API_APP_BODIES_H

#include "api/call.h"
#include "base/json.h"
#include "base/public_key.h"
#include "base/secret.h"
#include "data/app_store.h"
#include <stdint.h>

/* The member "name" of a body, checked, and appended to name as it is kept. */
enum problem api_take_name(
    struct call *c, const struct json *j, struct buf *name) MUST_CHECK;

/* The body of a renaming: {"name":…}. */
enum problem api_app_name(struct call *c, struct buf *name) MUST_CHECK;

/* The body of a registration: {"name":…,"jwk":…}; without jwk *own is NULL,
 * else the caller frees it. */
enum problem api_registration(
    struct call *c, struct buf *name, struct public_key **own) MUST_CHECK;

/* The body of a rotation: {"grace_seconds":N,"end_previous":bool,"jwk":…}; no
 * body is {}. *own as above. */
enum problem api_rotation(struct call *c, struct app_grace *grace,
    struct public_key **own) MUST_CHECK;

/* 200 with the app. */
void api_app_answer(struct call *c, const struct app *a);

/* The app with its new secret, never to be stored by what is in between;
 * without one where the app brought its own key. */
void api_app_secret(struct call *c, int status, const struct app *a,
    const struct secret *secret);

#endif
