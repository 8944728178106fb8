#ifndef POSTERN_DATA_RIGHTS_H
#define POSTERN_DATA_RIGHTS_H

#include "base/buf.h"
#include "base/status.h"
#include "data/db.h"

/*
 * What the server's role may do on our tables, as rows of SQL: table,
 * privilege (NULL = nothing), and its columns, NULL = all. A right to lock a
 * row is one to update it.
 */
#define RIGHTS                                                                 \
	"('apps', 'SELECT', NULL::text[]), ('apps', 'DELETE', NULL),"          \
	" ('apps', 'INSERT', '{name,public_key,encrypted_secret_key,"          \
	"master_key_id,expires_at}'), ('apps', 'UPDATE', '{name,public_key,"   \
	"encrypted_secret_key,master_key_id,previous_encrypted_secret_key,"    \
	"previous_master_key_id,previous_valid_until,rotated_at,disabled_at,"  \
	"expires_at,updated_at,deleted_at}'),"                                 \
	" ('users', 'SELECT', NULL), ('users', 'DELETE', NULL),"               \
	" ('users', 'INSERT', '{app_id,user_id,information}'),"                \
	" ('users', 'UPDATE', '{information,version,updated_at}'),"            \
	" ('app_uses', 'SELECT', NULL), ('app_uses', 'INSERT',"                \
	" '{app_id,last_used_at,previous_last_used_at}'),"                     \
	" ('app_uses', 'UPDATE', '{last_used_at,previous_last_used_at}'),"     \
	" ('used_jtis', 'SELECT', NULL), ('used_jtis', 'DELETE', NULL),"       \
	" ('used_jtis', 'INSERT', '{app_id,jti_hash,expires_at}'),"            \
	" ('used_jtis', 'UPDATE', '{expires_at}'),"                            \
	" ('invites', 'SELECT', '{id,token_hash,uses,uses_max,expires_at,"     \
	"revoked_at}'), ('invites', 'UPDATE', '{uses}'),"                      \
	" ('app_events', 'SELECT', NULL), ('own_keys', NULL, NULL),"           \
	" ('postern_migrations', 'SELECT', NULL)"

/*
 * The functions that are called by name, as rows: signature, and whether by
 * requests (or else by the tool alone). What isn't here is called by triggers
 * alone, and by nobody else.
 */
#define RIGHTS_FUNCTIONS                                                       \
	"('postern_merge_patch(jsonb,jsonb)', true),"                          \
	" ('postern_merge_patches(jsonb[],jsonb[])', true),"                   \
	" ('postern_note_uses(bigint[],boolean[],double "                      \
	"precision[],bigint[])',"                                              \
	" true), ('postern_note_opened(text)', false)"

/* FROM and WHERE: the sequences q that table rel draws from where a row is
 * added that has not all columns. */
#define RIGHTS_DRAWN                                                           \
	"pg_attrdef AS f JOIN pg_depend AS d ON d.objid = f.oid"               \
	" AND d.classid = 'pg_attrdef'::regclass"                              \
	" AND d.refclassid = 'pg_class'::regclass"                             \
	" JOIN pg_class AS q ON q.oid = d.refobjid AND q.relkind = 'S'"        \
	" WHERE f.adrelid = rel"

/*
 * And nobody else, beside the owner. Both append the statements that make it
 * so, of which there may be none.
 */

/*
 * Our functions: what the server's statements call is for those who may change
 * documents, PUBLIC aside, and the rest the owner's alone; whatever default
 * privileges made of them. Functions of other owners are left alone.
 */
enum status rights_functions(struct db *db, struct buf *sql) MUST_CHECK;

/*
 * role has what the server's statements need on our schema, and loses what else
 * it was granted there, but for what is its own; PUBLIC loses all. ST_NOT_FOUND
 * if there is no such role.
 */
enum status rights_server(
    struct db *db, const char *role, struct buf *sql) MUST_CHECK;

/*
 * Who else but the owners may make things in our schema: what fits better than
 * Postgres' own functions and operators would be called in their place, as the
 * server's role. Appended are the statements that take that away.
 */
enum status rights_creators(struct db *db, struct buf *sql) MUST_CHECK;

#endif
