#ifndef POSTERN_DATA_REQUIREMENTS_LOOK_H
#define POSTERN_DATA_REQUIREMENTS_LOOK_H

#include "base/status.h"
#include "data/db.h"
#include "data/requirements.h"

/* Ask the facts' questions, the second one if the first finds nothing; each is
 * told of every fault. role may be NULL. */
enum status requirements_look(struct db *db, const char *role,
    void (*each)(void *arg, const struct fact *f, const char *what),
    void *arg) MUST_CHECK;

#endif
