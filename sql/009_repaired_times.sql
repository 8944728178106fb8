-- Times that no clock reaches, set by hand, get the meaning that they have to
-- the program: a disabled app stays so, no end is null, what is over stays
-- over, and an overlap without an end ends now. The next migration refuses new
-- ones; the one after it looks again.

CREATE FUNCTION postern_repair_times() RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
	PERFORM set_config('postern.actor', 'migration', true);
	UPDATE apps SET
		created_at = CASE WHEN isfinite(created_at) THEN created_at
			WHEN isfinite(updated_at) THEN updated_at
			ELSE now() END,
		updated_at = CASE WHEN isfinite(updated_at) THEN updated_at
			ELSE now() END,
		disabled_at = CASE WHEN NOT isfinite(disabled_at)
			THEN now() ELSE disabled_at END,
		expires_at = CASE expires_at WHEN 'infinity' THEN NULL
			WHEN '-infinity' THEN now() ELSE expires_at END,
		previous_valid_until = CASE
			WHEN NOT isfinite(previous_valid_until)
			THEN now() ELSE previous_valid_until END,
		rotated_at = CASE rotated_at WHEN 'infinity' THEN now()
			WHEN '-infinity' THEN NULL ELSE rotated_at END
	WHERE NOT (isfinite(created_at) AND isfinite(updated_at)
		AND isfinite(disabled_at) AND isfinite(expires_at)
		AND isfinite(previous_valid_until) AND isfinite(rotated_at));
	UPDATE app_uses SET
		last_used_at = CASE last_used_at WHEN 'infinity' THEN now()
			WHEN '-infinity' THEN NULL ELSE last_used_at END,
		previous_last_used_at = CASE previous_last_used_at
			WHEN 'infinity' THEN now() WHEN '-infinity' THEN NULL
			ELSE previous_last_used_at END
	WHERE NOT (isfinite(last_used_at) AND isfinite(previous_last_used_at));
	UPDATE users SET
		created_at = CASE WHEN isfinite(created_at) THEN created_at
			WHEN isfinite(updated_at) THEN updated_at
			ELSE now() END,
		updated_at = CASE WHEN isfinite(updated_at) THEN updated_at
			ELSE now() END
	WHERE NOT (isfinite(created_at) AND isfinite(updated_at));
	UPDATE invites SET
		created_at = CASE WHEN isfinite(created_at) THEN created_at
			ELSE now() END,
		expires_at = CASE expires_at WHEN 'infinity' THEN NULL
			WHEN '-infinity' THEN now() ELSE expires_at END,
		revoked_at = CASE WHEN NOT isfinite(revoked_at)
			THEN now() ELSE revoked_at END
	WHERE NOT (isfinite(created_at) AND isfinite(expires_at)
		AND isfinite(revoked_at));
	-- As long as the program itself keeps one at most.
	UPDATE used_jtis SET expires_at = CASE expires_at
		WHEN 'infinity' THEN to_timestamp(32503680000)
		ELSE to_timestamp(0) END
	WHERE NOT isfinite(expires_at);
END
$$;

SELECT postern_repair_times();
