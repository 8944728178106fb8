-- The trail tells a re-encryption from a rotation also where only the previous
-- secret was sealed anew, and a change that none of the other events names is
-- 'changed' beside them, not hidden behind them.

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
			OR NEW.public_key <> OLD.public_key THEN
			what := what || 'changed'::text;
		END IF;
	END IF;
	INSERT INTO app_events (app_id, public_key, event, actor)
		SELECT r.id, r.public_key, e, left(who, 200)
		FROM unnest(what) AS e;
	RETURN NULL;
END
$$;
