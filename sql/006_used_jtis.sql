-- Tokens that were used, where each may be used once. A row stays until its
-- token has expired.

CREATE TABLE used_jtis (
	app_id bigint NOT NULL,
	jti_hash text NOT NULL,
	expires_at timestamptz NOT NULL,
	PRIMARY KEY (app_id, jti_hash)
);

CREATE INDEX used_jtis_expires_at_idx ON used_jtis (expires_at);
