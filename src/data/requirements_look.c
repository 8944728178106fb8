/*
 * The facts of a database, asked for over a connection that is up.
 */
#include "data/requirements_look.h"

static enum status
ask(struct db *db, const struct db_stmt *stmt,
    void (*each)(void *arg, const struct fact *f, const char *what), void *arg,
    int *found)
{
	struct db_result *res = NULL;
	const struct fact *f;
	enum status st;
	int i;

	st = db_query(db, stmt, NULL, &res);
	if (st != ST_OK)
		return st;
	for (i = 0; i < db_rows(res); i++) {
		f = requirements_find(db_text(res, i, 0));
		if (f != NULL)
			each(arg, f, db_text(res, i, 1));
	}
	*found = db_rows(res);
	db_result_free(res);
	return ST_OK;
}

enum status
requirements_look(struct db *db, const char *role,
    void (*each)(void *arg, const struct fact *f, const char *what), void *arg)
{
	static const struct db_stmt of = { "requirements_of",
		"SELECT set_config('postern.role', $1, false)", 1 };
	const char *who = role != NULL ? role : "";
	struct db_result *res = NULL;
	enum status st;
	int found = 0, none;

	st = db_query(db, &of, &who, &res);
	db_result_free(res);
	if (st == ST_OK)
		st = ask(db, &requirements_setup, each, arg, &found);
	/* Without some of those it fails itself. */
	if (st == ST_OK && found == 0)
		st = ask(db, &requirements_numbers, each, arg, &none);
	return st;
}
