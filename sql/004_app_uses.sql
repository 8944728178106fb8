-- When an app's secrets were last used, coarsely: the current one, and the
-- previous one. A time before the last rotation is about secrets that have
-- moved on since, and is not shown.

ALTER TABLE apps ADD COLUMN rotated_at timestamptz;

CREATE TABLE app_uses (
	app_id bigint PRIMARY KEY REFERENCES apps (id) ON DELETE CASCADE,
	last_used_at timestamptz,
	previous_last_used_at timestamptz
);

-- The trail of an app that is long gone is found by its key.
CREATE INDEX app_events_public_key_idx ON app_events (public_key);
