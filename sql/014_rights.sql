-- What a login may do. No function of ours is for PUBLIC; what runs with its
-- owner's rights does so for its own table alone, and finds names where nobody
-- else can put one; columns that the server has to write are written in the one
-- way that it does it.

SET LOCAL statement_timeout = 1200;
LOCK TABLE apps IN ACCESS EXCLUSIVE MODE;
LOCK TABLE app_uses, users, invites, used_jtis IN SHARE ROW EXCLUSIVE MODE;
SET LOCAL statement_timeout = 0;

-- Whether an app's keys are those that this migration found: goliauth's format
-- isn't bound to its row, and only such a row can be. What comes later, or is
-- changed, is not.
ALTER TABLE apps
	ADD COLUMN IF NOT EXISTS keys_as_found boolean NOT NULL DEFAULT true;
ALTER TABLE apps ALTER COLUMN keys_as_found SET DEFAULT false;

-- Whoever has the function can attach it to a table of his own, also as of
-- before this migration: it asks whether it is the trigger of the table apps
-- beside it. That table's schema has the trail; search_path is of no use, as
-- anyone may have put a better fitting operator there. A change of the public
-- key is told under both.
CREATE OR REPLACE FUNCTION postern_apps_audit() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	who text := coalesce(nullif(current_setting('postern.actor', true), ''),
		'db:' || session_user);
	resealing boolean := coalesce(
		current_setting('postern.event', true) = 'resealed', false);
	named boolean := true;
	r record;
	keys text[];
	what text[] := '{}';
BEGIN
	IF TG_TABLE_NAME <> 'apps' OR NOT EXISTS (
		SELECT FROM pg_trigger AS t
		JOIN pg_class AS c ON c.oid = t.tgrelid
		JOIN pg_proc AS p ON p.oid = t.tgfoid
		WHERE t.tgrelid = TG_RELID AND t.tgname = TG_NAME
			AND p.pronamespace = c.relnamespace
	) THEN
		RAISE EXCEPTION 'postern_apps_audit is not for table %.%',
			TG_TABLE_SCHEMA, TG_TABLE_NAME
			USING ERRCODE = 'insufficient_privilege';
	END IF;
	IF TG_OP = 'INSERT' THEN
		r := NEW;
		what := '{created}';
	ELSIF TG_OP = 'DELETE' THEN
		r := OLD;
		IF OLD.deleted_at IS NULL THEN
			what := '{deleted}';
		END IF;
	ELSIF OLD.deleted_at IS NULL AND NEW.deleted_at IS NOT NULL THEN
		r := OLD;
		what := '{deleted}';
	ELSE
		r := NEW;
		IF NEW.name <> OLD.name THEN
			what := what || 'renamed'::text;
		END IF;
		IF NEW.disabled_at IS NOT NULL AND OLD.disabled_at IS NULL THEN
			what := what || 'disabled'::text;
		ELSIF NEW.disabled_at IS NULL
			AND OLD.disabled_at IS NOT NULL THEN
			what := what || 'enabled'::text;
		END IF;
		IF NEW.expires_at IS DISTINCT FROM OLD.expires_at THEN
			what := what || 'expiry_changed'::text;
		END IF;
		IF NEW.encrypted_secret_key <> OLD.encrypted_secret_key THEN
			what := what || CASE WHEN resealing
				THEN 'resealed' ELSE 'rotated' END;
		ELSIF resealing AND NEW.previous_encrypted_secret_key
			<> OLD.previous_encrypted_secret_key THEN
			what := what || 'resealed'::text;
		ELSIF OLD.previous_encrypted_secret_key IS NOT NULL
			AND NEW.previous_encrypted_secret_key IS NULL THEN
			what := what || 'previous_ended'::text;
		ELSE
			named := (NEW.master_key_id,
				NEW.previous_encrypted_secret_key,
				NEW.previous_master_key_id,
				NEW.previous_valid_until)
				IS NOT DISTINCT FROM (OLD.master_key_id,
				OLD.previous_encrypted_secret_key,
				OLD.previous_master_key_id,
				OLD.previous_valid_until);
		END IF;
		IF what = '{}' OR NOT named OR NEW.id <> OLD.id
			OR NEW.public_key <> OLD.public_key
			OR NEW.deleted_at IS DISTINCT FROM OLD.deleted_at THEN
			what := what || 'changed'::text;
		END IF;
	END IF;
	keys := ARRAY[r.public_key];
	IF TG_OP = 'UPDATE' AND OLD.public_key <> r.public_key THEN
		keys := OLD.public_key || keys;
	END IF;
	EXECUTE format('INSERT INTO %I.app_events'
		' (app_id, public_key, event, actor) SELECT $1, k, e, $2'
		' FROM unnest($3) AS k, unnest($4) AS e', TG_TABLE_SCHEMA)
		USING r.id, left(who, 200), keys, what;
	RETURN NULL;
END
$$;

-- Names here, too, are Postgres' own, whatever the session's search_path says:
-- otherwise a session could have it notify nobody.
ALTER FUNCTION postern_apps_notify() SET search_path = pg_catalog, pg_temp;
ALTER FUNCTION postern_append_only() SET search_path = pg_catalog, pg_temp;

-- What no grant can say of a change: the owner, and who may act as the owner,
-- does as he likes.
CREATE OR REPLACE FUNCTION postern_guard() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF NOT (SELECT pg_has_role(relowner, 'USAGE') FROM pg_class
		WHERE oid = TG_RELID) THEN
		RAISE EXCEPTION '%: %', TG_TABLE_NAME, TG_ARGV[0]
			USING ERRCODE = 'insufficient_privilege';
	ELSIF TG_OP = 'DELETE' THEN
		RETURN OLD;
	END IF;
	RETURN NEW;
END
$$;

CREATE OR REPLACE TRIGGER postern_guard_update BEFORE UPDATE ON invites
	FOR EACH ROW WHEN ((NEW.id, NEW.label, NEW.token_hash, NEW.uses_max,
		NEW.created_at, NEW.expires_at) IS DISTINCT FROM (OLD.id,
		OLD.label, OLD.token_hash, OLD.uses_max, OLD.created_at,
		OLD.expires_at)
		OR NEW.uses NOT IN (OLD.uses, OLD.uses + 1)
		OR (NEW.uses <> OLD.uses AND (OLD.revoked_at IS NOT NULL
			OR OLD.expires_at <= now()))
		OR (NEW.revoked_at IS DISTINCT FROM OLD.revoked_at
			AND (OLD.revoked_at IS NOT NULL
			OR NEW.revoked_at IS DISTINCT FROM now())))
	EXECUTE FUNCTION postern_guard(
		'a use is added while it is good, or it is revoked now');

CREATE OR REPLACE TRIGGER postern_guard_update BEFORE UPDATE ON app_uses
	FOR EACH ROW WHEN (NEW.app_id <> OLD.app_id
		OR (OLD.last_used_at IS NOT NULL
			AND (NEW.last_used_at >= OLD.last_used_at) IS NOT TRUE)
		OR (OLD.previous_last_used_at IS NOT NULL
			AND (NEW.previous_last_used_at
				>= OLD.previous_last_used_at) IS NOT TRUE))
	EXECUTE FUNCTION postern_guard('times only go on');

CREATE OR REPLACE TRIGGER postern_guard_update BEFORE UPDATE ON users
	FOR EACH ROW WHEN (NEW.version <> OLD.version + 1
		OR NEW.updated_at <> now()
		OR (NEW.app_id, NEW.user_id, NEW.created_at)
			IS DISTINCT FROM (OLD.app_id, OLD.user_id, OLD.created_at))
	EXECUTE FUNCTION postern_guard(
		'a document changes with its version and time, and stays whose it is');

-- The right to update is only there for FOR UPDATE.
CREATE OR REPLACE TRIGGER postern_guard_update BEFORE UPDATE ON used_jtis
	FOR EACH ROW EXECUTE FUNCTION postern_guard('a row stays as it is');
CREATE OR REPLACE TRIGGER postern_guard_delete BEFORE DELETE ON used_jtis
	FOR EACH ROW WHEN (OLD.expires_at > now())
	EXECUTE FUNCTION postern_guard('a row stays until its token has expired');

-- Its columns are named here and not in a WHEN, which would tie them.
CREATE OR REPLACE FUNCTION postern_apps_guard() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	owner boolean := (SELECT pg_has_role(relowner, 'USAGE') FROM pg_class
		WHERE oid = TG_RELID);
	wrong text;
BEGIN
	IF TG_OP = 'INSERT' THEN
		NEW.keys_as_found := false;
		wrong := CASE WHEN starts_with(NEW.public_key, 'deleted-')
			THEN 'such a public key is a deleted app''s' END;
	ELSE
		NEW.keys_as_found := NEW.keys_as_found AND OLD.keys_as_found
			AND (NEW.public_key, NEW.encrypted_secret_key,
			NEW.master_key_id, NEW.previous_encrypted_secret_key,
			NEW.previous_master_key_id) IS NOT DISTINCT FROM (
			OLD.public_key, OLD.encrypted_secret_key,
			OLD.master_key_id, OLD.previous_encrypted_secret_key,
			OLD.previous_master_key_id);
		wrong := CASE
		WHEN OLD.deleted_at IS NOT NULL
			THEN 'one that is deleted stays as it is'
		WHEN (NEW.id, NEW.created_at)
			IS DISTINCT FROM (OLD.id, OLD.created_at)
			THEN 'id and created_at stay'
		WHEN NEW.deleted_at IS NULL
			AND NEW.public_key <> OLD.public_key
			THEN 'the public key stays'
		WHEN NEW.deleted_at IS NOT NULL AND (NEW.deleted_at <> now()
			OR NEW.public_key <> 'deleted-' || OLD.id)
			THEN 'it is deleted now, its key made unusable'
		WHEN NEW.updated_at NOT IN (OLD.updated_at, now())
			THEN 'updated_at is now'
		WHEN NEW.rotated_at IS DISTINCT FROM OLD.rotated_at
			AND NEW.rotated_at IS DISTINCT FROM now()
			THEN 'rotated_at is now'
		WHEN NEW.disabled_at IS DISTINCT FROM OLD.disabled_at
			AND NEW.disabled_at IS NOT NULL
			AND (OLD.disabled_at IS NOT NULL
			OR NEW.disabled_at <> now())
			THEN 'it is disabled now'
		WHEN NEW.previous_valid_until
			IS DISTINCT FROM OLD.previous_valid_until
			AND NEW.previous_valid_until IS NOT NULL
			AND NEW.rotated_at IS DISTINCT FROM now()
			THEN 'only a rotation gives a former secret an end'
		END;
	END IF;
	IF wrong IS NOT NULL AND NOT owner THEN
		RAISE EXCEPTION 'apps: %', wrong
			USING ERRCODE = 'insufficient_privilege';
	END IF;
	RETURN NEW;
END
$$;

CREATE OR REPLACE TRIGGER postern_apps_guard BEFORE INSERT OR UPDATE ON apps
	FOR EACH ROW EXECUTE FUNCTION postern_apps_guard();
