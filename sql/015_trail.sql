-- The trail tells more: by which request and from which address, what was there
-- before and after, and under which of the database's logins, since an actor is
-- what that login says it is. It also has what is done to invites, which secret
-- was opened by the tool, and that its own beginning was taken away.

SET LOCAL statement_timeout = 1200;
LOCK TABLE invites, apps, app_events IN ACCESS EXCLUSIVE MODE;
SET LOCAL statement_timeout = 0;

ALTER TABLE app_events
	ALTER COLUMN app_id DROP NOT NULL,
	ALTER COLUMN public_key DROP NOT NULL,
	ADD COLUMN IF NOT EXISTS invite_id bigint,
	ADD COLUMN IF NOT EXISTS login text,
	ADD COLUMN IF NOT EXISTS request_id text,
	ADD COLUMN IF NOT EXISTS remote text,
	ADD COLUMN IF NOT EXISTS old_values jsonb,
	ADD COLUMN IF NOT EXISTS new_values jsonb;
ALTER TABLE app_events ALTER COLUMN login SET DEFAULT session_user;

-- What may be told of a row (as jsonb, in UTC), where it isn't as in the other
-- one; of one that comes or goes (there is no other), what it has. Columns that
-- are not named here are hidden, so that one that comes later is, too.
CREATE OR REPLACE FUNCTION postern_audit_values(this jsonb, other jsonb)
RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN (SELECT CASE WHEN this IS NOT NULL
		THEN coalesce(jsonb_object_agg(v.key, CASE
		WHEN v.value = 'null' THEN v.value
		WHEN v.key IN ('created_at', 'deleted_at', 'disabled_at',
			'expires_at', 'previous_valid_until', 'revoked_at',
			'rotated_at')
		THEN to_jsonb(to_char(least(greatest(
			(this ->> v.key)::timestamptz,
			timestamptz '0001-01-01 00:00:00+00'),
			timestamptz '9999-12-31 23:59:59.999999+00')
			AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
		WHEN v.key IN ('label', 'master_key_id', 'name',
			'previous_master_key_id')
		THEN to_jsonb(left(this ->> v.key, 300))
		WHEN v.key IN ('id', 'keys_as_found', 'uses', 'uses_max')
		THEN v.value
		ELSE '"hidden"' END), '{}') END
	FROM jsonb_each(this) AS v
	WHERE v.key <> 'updated_at'
		AND v.value IS DISTINCT FROM
			coalesce(other -> v.key, 'null'::jsonb)
		AND (other IS NOT NULL OR v.key IN ('created_at',
			'disabled_at', 'expires_at', 'label', 'master_key_id',
			'name', 'previous_master_key_id',
			'previous_valid_until', 'revoked_at', 'rotated_at',
			'uses', 'uses_max')));
END
$$;

-- The rows of one change, in the schema home. What a session says of itself is
-- bounded; the column login has what it can't say.
CREATE OR REPLACE FUNCTION postern_audit_write(home text, app bigint,
	keys text[], invite bigint, what text[], old_values jsonb,
	new_values jsonb) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	EXECUTE format('INSERT INTO %I.app_events (app_id, public_key,'
		' invite_id, event, actor, request_id, remote, old_values,'
		' new_values) SELECT $1, k.key, $3, e.event, $5, $6, $7, $8, $9'
		' FROM unnest($2) WITH ORDINALITY AS k (key, n),'
		' unnest($4) WITH ORDINALITY AS e (event, n)'
		' ORDER BY k.n, e.n', home)
		USING app, keys, invite, what,
		left(coalesce(nullif(current_setting('postern.actor', true),
			''), 'db:' || session_user), 200),
		substring(current_setting('postern.request_id', true)
			COLLATE "C" FROM '^[A-Za-z0-9._:-]{1,128}$'),
		substring(current_setting('postern.remote', true)
			COLLATE "C" FROM '^[!-~]{1,64}$'),
		old_values, new_values;
	RETURN true;
END
$$;

-- For the tool, of a secret that it opens. The schema's name is part of it.
DO $do$
BEGIN
	EXECUTE format($sql$
CREATE OR REPLACE FUNCTION postern_note_opened(key text) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT coalesce((SELECT %1$I.postern_audit_write(%1$L::text, id,
		ARRAY[public_key], NULL::bigint, '{secret_opened}'::text[],
		NULL::jsonb, NULL::jsonb) FROM %1$I.apps
		WHERE public_key = $1 AND deleted_at IS NULL), false)
$$$sql$, current_schema());
END
$do$;
REVOKE ALL ON FUNCTION postern_note_opened FROM PUBLIC;

-- As before, and what was there before and after. What comes by an invite says
-- which. The helpers are those beside the table: only they fit so well.
CREATE OR REPLACE FUNCTION postern_apps_audit() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC' AS $$
DECLARE
	resealing boolean := coalesce(
		current_setting('postern.event', true) = 'resealed', false);
	named boolean := true;
	was jsonb;
	became jsonb;
	invite bigint;
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
	IF TG_OP = 'TRUNCATE' THEN
		EXECUTE format('SELECT count(%1$I.postern_audit_write($2, id,'
			' ARRAY[public_key], NULL::bigint, $1,'
			' %1$I.postern_audit_values(to_jsonb(a), NULL::jsonb),'
			' NULL::jsonb)) FROM %1$I.apps AS a'
			' WHERE deleted_at IS NULL', TG_TABLE_SCHEMA)
			USING '{deleted}'::text[], TG_TABLE_SCHEMA::text;
		RETURN NULL;
	ELSIF TG_OP = 'INSERT' THEN
		r := NEW;
		became := to_jsonb(NEW);
		invite := substring(current_setting('postern.actor', true)
			FROM '^invite:([0-9]{1,18})$');
		what := '{created}';
	ELSIF TG_OP = 'DELETE' THEN
		r := OLD;
		was := to_jsonb(OLD);
		IF OLD.deleted_at IS NULL THEN
			what := '{deleted}';
		END IF;
	ELSIF OLD.deleted_at IS NULL AND NEW.deleted_at IS NOT NULL THEN
		r := OLD;
		was := to_jsonb(OLD);
		what := '{deleted}';
	ELSE
		r := NEW;
		was := to_jsonb(OLD);
		became := to_jsonb(NEW);
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
	IF what = '{}' THEN
		RETURN NULL;
	END IF;
	keys := ARRAY[r.public_key];
	IF TG_OP = 'UPDATE' AND OLD.public_key <> r.public_key THEN
		keys := OLD.public_key || keys;
	END IF;
	EXECUTE format('SELECT %1$I.postern_audit_write($7, $1, $2, $3, $4,'
		' %1$I.postern_audit_values($5, $6),'
		' %1$I.postern_audit_values($6, $5))', TG_TABLE_SCHEMA)
		USING r.id::bigint, keys, invite, what, was, became,
		TG_TABLE_SCHEMA::text;
	RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER postern_apps_audit_truncate
	BEFORE TRUNCATE ON apps
	FOR EACH STATEMENT EXECUTE FUNCTION postern_apps_audit();

-- A use that registers an app is told by that app's row.
CREATE OR REPLACE FUNCTION postern_invites_audit() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC' AS $$
DECLARE
	was jsonb;
	became jsonb;
	id bigint;
	what text[] := '{}';
BEGIN
	IF TG_TABLE_NAME <> 'invites' OR NOT EXISTS (
		SELECT FROM pg_trigger AS t
		JOIN pg_class AS c ON c.oid = t.tgrelid
		JOIN pg_proc AS p ON p.oid = t.tgfoid
		WHERE t.tgrelid = TG_RELID AND t.tgname = TG_NAME
			AND p.pronamespace = c.relnamespace
	) THEN
		RAISE EXCEPTION 'postern_invites_audit is not for table %.%',
			TG_TABLE_SCHEMA, TG_TABLE_NAME
			USING ERRCODE = 'insufficient_privilege';
	END IF;
	IF TG_OP = 'TRUNCATE' THEN
		EXECUTE format('SELECT count(%1$I.postern_audit_write($2,'
			' NULL::bigint, ARRAY[NULL]::text[], id, $1,'
			' %1$I.postern_audit_values(to_jsonb(i), NULL::jsonb),'
			' NULL::jsonb)) FROM %1$I.invites AS i', TG_TABLE_SCHEMA)
			USING '{invite_deleted}'::text[],
			TG_TABLE_SCHEMA::text;
		RETURN NULL;
	ELSIF TG_OP = 'INSERT' THEN
		id := NEW.id;
		became := to_jsonb(NEW);
		what := '{invite_created}';
	ELSIF TG_OP = 'DELETE' THEN
		id := OLD.id;
		was := to_jsonb(OLD);
		what := '{invite_deleted}';
	ELSE
		id := NEW.id;
		was := to_jsonb(OLD);
		became := to_jsonb(NEW);
		IF NEW.revoked_at IS NOT NULL AND OLD.revoked_at IS NULL THEN
			what := '{invite_revoked}';
		END IF;
		IF was - 'revoked_at' <> became - 'revoked_at'
			OR (what = '{}' AND was <> became) THEN
			what := what || 'invite_changed'::text;
		END IF;
		IF was || jsonb_build_object('uses', OLD.uses + 1) = became
			AND current_setting('postern.actor', true)
				= 'invite:' || OLD.id THEN
			what := '{}';
		END IF;
	END IF;
	IF what = '{}' THEN
		RETURN NULL;
	END IF;
	EXECUTE format('SELECT %1$I.postern_audit_write($5, NULL::bigint,'
		' ARRAY[NULL]::text[], $1, $2,'
		' %1$I.postern_audit_values($3, $4),'
		' %1$I.postern_audit_values($4, $3))', TG_TABLE_SCHEMA)
		USING id, what, was, became, TG_TABLE_SCHEMA::text;
	RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER postern_invites_audit
	AFTER INSERT OR UPDATE OR DELETE ON invites
	FOR EACH ROW EXECUTE FUNCTION postern_invites_audit();
CREATE OR REPLACE TRIGGER postern_invites_audit_truncate
	BEFORE TRUNCATE ON invites
	FOR EACH STATEMENT EXECUTE FUNCTION postern_invites_audit();

-- What is old may go, by postern audit prune, if the owner wants it; nothing
-- else is ever changed.
CREATE OR REPLACE FUNCTION postern_append_only() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF TG_OP = 'DELETE' AND current_setting('postern.event', true)
		= 'pruned' AND (SELECT pg_has_role(relowner, 'USAGE')
		FROM pg_class WHERE oid = TG_RELID) THEN
		RETURN NULL;
	END IF;
	RAISE EXCEPTION 'app_events is append-only'
		USING ERRCODE = 'insufficient_privilege';
END
$$;
