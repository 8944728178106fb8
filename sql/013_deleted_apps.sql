-- An app that is deleted is marked in one short transaction, its keys blanked:
-- from then on no reader sees it. Its documents, of which there may be millions,
-- are taken away in pieces, and the row when the last of them is gone, so that
-- its id doesn't come back before. A program that knows nothing of the mark
-- would show such rows.
-- serves from: 13

ALTER TABLE apps ADD COLUMN IF NOT EXISTS deleted_at timestamptz,
	DROP CONSTRAINT IF EXISTS apps_finite_times_deleted;
ALTER TABLE apps ADD CONSTRAINT apps_finite_times_deleted
	CHECK (isfinite(deleted_at));

CREATE INDEX IF NOT EXISTS apps_deleted_at_id_idx ON apps (deleted_at, id)
	WHERE deleted_at IS NOT NULL;

-- The mark is the app's end, told under the key that it had. What is done with
-- the row afterwards is nobody's event.
CREATE OR REPLACE FUNCTION postern_apps_audit() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
	who text := coalesce(nullif(current_setting('postern.actor', true), ''),
		'db:' || session_user);
	resealing boolean := coalesce(
		current_setting('postern.event', true) = 'resealed', false);
	named boolean := true;
	r apps%ROWTYPE;
	what text[] := '{}';
BEGIN
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
	INSERT INTO app_events (app_id, public_key, event, actor)
		SELECT r.id, r.public_key, e, left(who, 200)
		FROM unnest(what) AS e;
	RETURN NULL;
END
$$;
