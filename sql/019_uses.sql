-- Uses of secrets as a worker has noted them: whose, whether of the previous
-- secret and since which rotation by the row as it was known there, and how many
-- seconds ago. It does what its caller may do.

-- In order of id, so that two writers don't wait for each other; the app can't
-- go while its use is written. A secret that was current to who had not heard of
-- a rotation is the previous one; what he took for the previous one is gone.
CREATE OR REPLACE FUNCTION postern_note_uses(app_ids bigint[],
	are_previous boolean[], ages float8[], rotations bigint[]) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
	WITH a AS (
		SELECT id, rotated_at, CASE WHEN rotated_at IS NULL THEN 0
			ELSE (extract(epoch FROM least(greatest(rotated_at,
				timestamptz '0001-01-01 00:00:00+00'),
				timestamptz '9999-12-31 23:59:59.999999+00'))
				* 1000000)::bigint END AS rotation
		FROM apps WHERE id = ANY (app_ids) AND deleted_at IS NULL
		ORDER BY id FOR KEY SHARE
	), t AS (
		SELECT a.id, a.rotated_at, u.previous,
			u.rotation = a.rotation AS same,
			now() - make_interval(secs => u.age) AS at
		FROM unnest(app_ids, are_previous, ages, rotations)
			AS u (id, previous, age, rotation)
		JOIN a ON a.id = u.id
	), n AS (
		SELECT id, previous OR NOT same AS previous,
			CASE WHEN same THEN greatest(at,
				rotated_at + interval '1 microsecond')
			ELSE at END AS at
		FROM t WHERE same OR (NOT previous AND at > rotated_at)
	)
	INSERT INTO app_uses AS u
		(app_id, last_used_at, previous_last_used_at)
	SELECT id, max(at) FILTER (WHERE NOT previous),
		max(at) FILTER (WHERE previous)
	FROM n GROUP BY id ORDER BY id
	ON CONFLICT (app_id) DO UPDATE SET
		last_used_at = greatest(u.last_used_at,
			excluded.last_used_at),
		previous_last_used_at = greatest(u.previous_last_used_at,
			excluded.previous_last_used_at);
END
$$;
REVOKE ALL ON FUNCTION postern_note_uses FROM PUBLIC;
