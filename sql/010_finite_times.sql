-- No time that RFC 3339 has no words for and no clock reaches. The rows are
-- looked through by the next migration, as that needs no lock that holds up
-- requests; this one locks all tables at once, and no longer than a moment.

SET LOCAL statement_timeout = 1200;
LOCK TABLE apps, app_uses, users, invites, used_jtis, app_events
	IN ACCESS EXCLUSIVE MODE;
SET LOCAL statement_timeout = 0;

ALTER TABLE apps ADD CONSTRAINT apps_finite_times
	CHECK (isfinite(created_at) AND isfinite(updated_at)
		AND isfinite(disabled_at) AND isfinite(expires_at)
		AND isfinite(previous_valid_until) AND isfinite(rotated_at))
	NOT VALID;
ALTER TABLE app_uses ADD CONSTRAINT app_uses_finite_times
	CHECK (isfinite(last_used_at) AND isfinite(previous_last_used_at))
	NOT VALID;
ALTER TABLE users ADD CONSTRAINT users_finite_times
	CHECK (isfinite(created_at) AND isfinite(updated_at)) NOT VALID;
ALTER TABLE invites ADD CONSTRAINT invites_finite_times
	CHECK (isfinite(created_at) AND isfinite(expires_at)
		AND isfinite(revoked_at))
	NOT VALID;
ALTER TABLE used_jtis ADD CONSTRAINT used_jtis_finite_times
	CHECK (isfinite(expires_at)) NOT VALID;
ALTER TABLE app_events ADD CONSTRAINT app_events_finite_times
	CHECK (isfinite(at)) NOT VALID;
