-- All rows pass the checks of the migration before, also those that came
-- between the repair and it. Only the trail is never changed: if it has such a
-- row, new ones alone are checked.

SELECT postern_repair_times();
DROP FUNCTION postern_repair_times();

ALTER TABLE apps VALIDATE CONSTRAINT apps_finite_times;
ALTER TABLE app_uses VALIDATE CONSTRAINT app_uses_finite_times;
ALTER TABLE users VALIDATE CONSTRAINT users_finite_times;
ALTER TABLE invites VALIDATE CONSTRAINT invites_finite_times;
ALTER TABLE used_jtis VALIDATE CONSTRAINT used_jtis_finite_times;

DO $$
BEGIN
	IF NOT EXISTS (SELECT FROM app_events WHERE NOT isfinite(at)) THEN
		ALTER TABLE app_events
			VALIDATE CONSTRAINT app_events_finite_times;
	END IF;
END
$$;
