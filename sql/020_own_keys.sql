-- An app's own key, which it brought: what is sealed of it begins with "own.",
-- its algorithm and its thumbprint (RFC 7638), each with a dot behind it. A key
-- belongs to one app, whether it is the app's current one or the one before:
-- each is a row here, kept by a trigger, and a second app's is refused.

SET LOCAL statement_timeout = 1200;
LOCK TABLE apps IN SHARE ROW EXCLUSIVE MODE;
SET LOCAL statement_timeout = 0;

CREATE TABLE IF NOT EXISTS own_keys (
	thumbprint text CONSTRAINT own_keys_pkey PRIMARY KEY,
	app_id bigint NOT NULL REFERENCES apps (id) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS own_keys_app_id_idx ON own_keys (app_id);
REVOKE ALL ON own_keys FROM PUBLIC;

-- With its owner's rights: the server's role has none on the table. Whoever has
-- the function can attach it to a table of his own, so it asks as
-- postern_apps_audit does.
CREATE OR REPLACE FUNCTION postern_own_keys() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	held text[];
BEGIN
	IF TG_TABLE_NAME <> 'apps' OR NOT EXISTS (
		SELECT FROM pg_trigger AS t
		JOIN pg_class AS c ON c.oid = t.tgrelid
		JOIN pg_proc AS p ON p.oid = t.tgfoid
		WHERE t.tgrelid = TG_RELID AND t.tgname = TG_NAME
			AND p.pronamespace = c.relnamespace
	) THEN
		RAISE EXCEPTION 'postern_own_keys is not for table %.%',
			TG_TABLE_SCHEMA, TG_TABLE_NAME
			USING ERRCODE = 'insufficient_privilege';
	END IF;
	IF NOT starts_with(NEW.encrypted_secret_key, 'own.')
		AND starts_with(NEW.previous_encrypted_secret_key, 'own.')
			IS NOT TRUE
		AND (TG_OP = 'INSERT'
		OR (NOT starts_with(OLD.encrypted_secret_key, 'own.')
		AND starts_with(OLD.previous_encrypted_secret_key, 'own.')
			IS NOT TRUE)) THEN
		RETURN NULL;
	END IF;
	held := ARRAY(SELECT DISTINCT split_part(s, '.', 3)
		FROM unnest(ARRAY[NEW.encrypted_secret_key,
			NEW.previous_encrypted_secret_key]) AS s
		WHERE starts_with(s, 'own.')
			AND length(split_part(s, '.', 3)) = 43 ORDER BY 1);
	EXECUTE format('DELETE FROM %I.own_keys'
		' WHERE app_id = $1 AND thumbprint <> ALL ($2)',
		TG_TABLE_SCHEMA) USING NEW.id::bigint, held;
	EXECUTE format('INSERT INTO %1$I.own_keys (thumbprint, app_id)'
		' SELECT t, $1 FROM unnest($2) AS t WHERE NOT EXISTS ('
		'SELECT FROM %1$I.own_keys WHERE thumbprint = t'
		' AND app_id = $1)', TG_TABLE_SCHEMA)
		USING NEW.id::bigint, held;
	RETURN NULL;
END
$$;

-- Not of other changes: an app can be disabled whatever is in that table.
CREATE OR REPLACE TRIGGER postern_own_keys AFTER INSERT OR UPDATE OF
	encrypted_secret_key, previous_encrypted_secret_key ON apps
	FOR EACH ROW EXECUTE FUNCTION postern_own_keys();

-- What a row of apps (as jsonb) has sealed; null of no row.
CREATE OR REPLACE FUNCTION postern_keys_of(app jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN (SELECT jsonb_object_agg(k, CASE
		WHEN starts_with(s, 'own.') THEN jsonb_build_object(
			'kind', 'own', 'alg', left(split_part(s, '.', 2), 100),
			'kid', left(split_part(s, '.', 3), 100))
		WHEN s IS NOT NULL THEN '{"kind": "secret"}'::jsonb END)
		FROM (VALUES ('key', app ->> 'encrypted_secret_key'),
			('previous_key', app ->> 'previous_encrypted_secret_key'))
			AS v (k, s)
		WHERE app IS NOT NULL);
END
$$;

-- As before, and of the members "key" and "previous_key", which name what is
-- sealed, what they say where one of the two is an app's own.
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
		WHEN v.key IN ('id', 'key', 'keys_as_found', 'previous_key',
			'uses', 'uses_max')
		THEN v.value
		ELSE '"hidden"' END), '{}') END
	FROM jsonb_each(this) AS v
	WHERE v.key <> 'updated_at'
		AND (v.key NOT IN ('key', 'previous_key')
			OR v.value ->> 'kind' = 'own'
			OR other -> v.key ->> 'kind' = 'own')
		AND v.value IS DISTINCT FROM
			coalesce(other -> v.key, 'null'::jsonb)
		AND (other IS NOT NULL OR v.key IN ('created_at',
			'disabled_at', 'expires_at', 'key', 'label',
			'master_key_id', 'name', 'previous_key',
			'previous_master_key_id',
			'previous_valid_until', 'revoked_at', 'rotated_at',
			'uses', 'uses_max')));
END
$$;

-- As before, and with what kind of key came and went, and its thumbprint.
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
			' %1$I.postern_audit_values(to_jsonb(a)'
			' || %1$I.postern_keys_of(to_jsonb(a)), NULL::jsonb),'
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
		' %1$I.postern_audit_values(was, became),'
		' %1$I.postern_audit_values(became, was))'
		' FROM (SELECT $5 || %1$I.postern_keys_of($5),'
		' $6 || %1$I.postern_keys_of($6)) AS v (was, became)',
		TG_TABLE_SCHEMA)
		USING r.id::bigint, keys, invite, what, was, became,
		TG_TABLE_SCHEMA::text;
	RETURN NULL;
END
$$;
