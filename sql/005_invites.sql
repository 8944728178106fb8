-- Registration tokens with limits. A token is 32 random bytes, so its SHA-256
-- gives nothing away. How often one was used is counted in the transaction
-- that registers.

CREATE TABLE invites (
	id bigserial PRIMARY KEY,
	label text NOT NULL DEFAULT '',
	token_hash text NOT NULL UNIQUE,
	uses_max bigint NOT NULL CHECK (uses_max > 0),
	uses bigint NOT NULL DEFAULT 0 CHECK (uses BETWEEN 0 AND uses_max),
	created_at timestamptz NOT NULL DEFAULT now(),
	expires_at timestamptz,
	revoked_at timestamptz
);
