-- The table apps: goliauth's six columns as it writes them, and ours. On a
-- database that goliauth made, it is brought over in place, and goliauth's
-- INSERT goes on working.

CREATE TABLE IF NOT EXISTS apps (
	id bigserial PRIMARY KEY,
	name text NOT NULL,
	public_key text NOT NULL,
	encrypted_secret_key text NOT NULL,
	created_at timestamptz NOT NULL DEFAULT now(),
	updated_at timestamptz NOT NULL DEFAULT now()
);

-- goliauth's times may be without a zone; Go writes UTC.
DO $$
DECLARE
	col record;
	seq text;
BEGIN
	FOR col IN
		SELECT attname, atttypid::regtype::text AS type
		FROM pg_attribute
		WHERE attrelid = 'apps'::regclass AND attnum > 0
			AND NOT attisdropped
	LOOP
		IF col.attname = 'id' AND col.type <> 'bigint' THEN
			ALTER TABLE apps ALTER COLUMN id TYPE bigint;
		ELSIF col.attname IN ('name', 'public_key',
			'encrypted_secret_key') AND col.type <> 'text' THEN
			EXECUTE format(
				'ALTER TABLE apps ALTER COLUMN %I TYPE text',
				col.attname);
		ELSIF col.attname IN ('created_at', 'updated_at')
			AND col.type = 'timestamp without time zone' THEN
			EXECUTE format(
				'ALTER TABLE apps ALTER COLUMN %I DROP DEFAULT,'
				' ALTER COLUMN %I TYPE timestamptz'
				' USING %I AT TIME ZONE ''UTC''',
				col.attname, col.attname, col.attname);
		END IF;
	END LOOP;
	seq := pg_get_serial_sequence('apps', 'id');
	IF seq IS NOT NULL THEN
		EXECUTE format('ALTER SEQUENCE %s AS bigint', seq::regclass);
	END IF;
END
$$;

UPDATE apps SET created_at = coalesce(created_at, updated_at, now()),
	updated_at = coalesce(updated_at, created_at, now())
	WHERE created_at IS NULL OR updated_at IS NULL;

ALTER TABLE apps
	ALTER COLUMN name SET NOT NULL,
	ALTER COLUMN public_key SET NOT NULL,
	ALTER COLUMN encrypted_secret_key SET NOT NULL,
	ALTER COLUMN created_at SET DEFAULT now(),
	ALTER COLUMN created_at SET NOT NULL,
	ALTER COLUMN updated_at SET DEFAULT now(),
	ALTER COLUMN updated_at SET NOT NULL,
	ADD COLUMN master_key_id text,
	ADD COLUMN previous_encrypted_secret_key text,
	ADD COLUMN previous_master_key_id text,
	ADD COLUMN previous_valid_until timestamptz,
	ADD COLUMN disabled_at timestamptz,
	ADD COLUMN expires_at timestamptz;

DO $$
BEGIN
	IF NOT EXISTS (
		SELECT FROM pg_index i
		JOIN pg_attribute a ON a.attrelid = i.indrelid
			AND a.attnum = i.indkey[0]
		WHERE i.indrelid = 'apps'::regclass AND i.indisunique
			AND i.indnkeyatts = 1 AND i.indpred IS NULL
			AND a.attname = 'public_key'
	) THEN
		CREATE UNIQUE INDEX apps_public_key_key ON apps (public_key);
	END IF;
	IF NOT EXISTS (
		SELECT FROM pg_constraint
		WHERE conrelid = 'apps'::regclass AND contype IN ('p', 'u')
			AND conkey = (SELECT ARRAY[attnum] FROM pg_attribute
				WHERE attrelid = 'apps'::regclass
				AND attname = 'id')
	) THEN
		ALTER TABLE apps ADD PRIMARY KEY (id);
	END IF;
END
$$;

-- Every change of an app, whoever makes it, is told to the workers.
CREATE FUNCTION postern_apps_notify() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
	IF TG_OP = 'TRUNCATE' THEN
		PERFORM pg_notify('postern_apps', '*');
		RETURN NULL;
	END IF;
	IF TG_OP <> 'INSERT' THEN
		PERFORM pg_notify('postern_apps', OLD.public_key);
	END IF;
	IF TG_OP = 'INSERT' OR (TG_OP = 'UPDATE'
		AND NEW.public_key <> OLD.public_key) THEN
		PERFORM pg_notify('postern_apps', NEW.public_key);
	END IF;
	RETURN NULL;
END
$$;

CREATE TRIGGER postern_apps_notify
	AFTER INSERT OR UPDATE OR DELETE ON apps
	FOR EACH ROW EXECUTE FUNCTION postern_apps_notify();

CREATE TRIGGER postern_apps_notify_truncate
	AFTER TRUNCATE ON apps
	FOR EACH STATEMENT EXECUTE FUNCTION postern_apps_notify();
