-- The audit trail: who did what to which app, and when. It is written in the
-- change's own transaction by a trigger, so no way of changing an app goes
-- around it, and nothing in it is ever changed. The actor comes from
-- SET LOCAL postern.actor; without it, the database role speaks for itself.

CREATE TABLE app_events (
	id bigserial PRIMARY KEY,
	app_id bigint NOT NULL,
	public_key text NOT NULL,
	event text NOT NULL,
	actor text NOT NULL,
	at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX app_events_app_id_id_idx ON app_events (app_id, id);

-- Runs with its owner's rights: the server's role can't write the table.
CREATE FUNCTION postern_apps_audit() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
	who text := coalesce(nullif(current_setting('postern.actor', true), ''),
		'db:' || session_user);
	r apps%ROWTYPE;
	what text[] := '{}';
BEGIN
	IF TG_OP = 'INSERT' THEN
		r := NEW;
		what := '{created}';
	ELSIF TG_OP = 'DELETE' THEN
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
			what := what || CASE WHEN
				current_setting('postern.event', true)
					= 'resealed'
				THEN 'resealed' ELSE 'rotated' END;
		ELSIF OLD.previous_encrypted_secret_key IS NOT NULL
			AND NEW.previous_encrypted_secret_key IS NULL THEN
			what := what || 'previous_ended'::text;
		END IF;
		IF what = '{}' THEN
			what := '{changed}';
		END IF;
	END IF;
	INSERT INTO app_events (app_id, public_key, event, actor)
		SELECT r.id, r.public_key, e, left(who, 200)
		FROM unnest(what) AS e;
	RETURN NULL;
END
$$;

CREATE TRIGGER postern_apps_audit
	AFTER INSERT OR UPDATE OR DELETE ON apps
	FOR EACH ROW EXECUTE FUNCTION postern_apps_audit();

CREATE FUNCTION postern_append_only() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION 'app_events is append-only'
		USING ERRCODE = 'insufficient_privilege';
END
$$;

CREATE TRIGGER postern_append_only
	BEFORE UPDATE OR DELETE OR TRUNCATE ON app_events
	FOR EACH STATEMENT EXECUTE FUNCTION postern_append_only();
