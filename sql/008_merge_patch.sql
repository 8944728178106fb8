-- RFC 7396 in one pass for each level of nesting, whatever the number of
-- members: the former way wrote the document anew for each of them. What is
-- nested comes as two arrays, targets and patches, of the whole level. The
-- results are texts, as jsonb would be made anew on each level, piece by piece.
-- Planning takes longer than a small patch: it is done once a session.

CREATE FUNCTION postern_merge_patches(targets jsonb[], patches jsonb[])
RETURNS text[]
LANGUAGE plpgsql IMMUTABLE SET search_path FROM CURRENT
SET plan_cache_mode = force_generic_plan AS $$
BEGIN
	RETURN (
		WITH pairs AS (
			SELECT * FROM unnest(targets, patches)
				WITH ORDINALITY AS p (target, patch, n)
		), given AS MATERIALIZED (
			SELECT n, key, value,
				jsonb_typeof(value) = 'object' AS nested,
				CASE WHEN jsonb_typeof(value) = 'object'
					THEN target -> key END AS old
			FROM pairs, jsonb_each(patch)
			WHERE jsonb_typeof(value) <> 'null'
		), merged AS MATERIALIZED (
			-- The three arrays are in the order of given's rows.
			SELECT array_agg(n) AS ns, array_agg(key) AS keys,
				postern_merge_patches(array_agg(
					CASE WHEN jsonb_typeof(old) = 'object'
					THEN old ELSE '{}' END),
					array_agg(value)) AS results
			FROM given WHERE nested HAVING count(*) > 0
		), members AS (
			SELECT n, NULL AS key, NULL AS value FROM pairs
			UNION ALL
			SELECT n, key, value::text
			FROM pairs, jsonb_each(target) WHERE NOT patch ? key
			UNION ALL
			SELECT n, key, value::text FROM given WHERE NOT nested
			UNION ALL
			SELECT m.* FROM merged, unnest(ns, keys, results) AS m
		), made AS (
			-- Without a key it is null, which is left out.
			SELECT n, string_agg(to_json(key) || ':' || value, ',')
				AS list
			FROM members GROUP BY n
		)
		SELECT array_agg(concat('{', list, '}') ORDER BY n) FROM made
	);
END
$$;

-- An array's elements are never compressed: each look at a member of what is
-- would unpack all of it.
CREATE OR REPLACE FUNCTION postern_merge_patch(target jsonb, patch jsonb)
RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path FROM CURRENT AS $$
BEGIN
	IF jsonb_typeof(patch) <> 'object' THEN
		RETURN patch;
	END IF;
	RETURN (postern_merge_patches(ARRAY[CASE
		WHEN jsonb_typeof(target) = 'object' THEN target
		ELSE '{}' END], ARRAY[patch]))[1]::jsonb;
END
$$;
