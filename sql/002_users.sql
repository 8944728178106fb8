-- The users' information: one JSON object for each app's user. Byte order of
-- user_id is the order of pages.

CREATE TABLE users (
	app_id bigint NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
	user_id text COLLATE "C" NOT NULL
		CHECK (octet_length(user_id) BETWEEN 1 AND 255),
	information jsonb NOT NULL
		CHECK (jsonb_typeof(information) = 'object'),
	version bigint NOT NULL DEFAULT 1,
	created_at timestamptz NOT NULL DEFAULT now(),
	updated_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (app_id, user_id)
);

-- RFC 7396, section 2. Null members of the patch remove, objects merge, all
-- else replaces.
CREATE FUNCTION postern_merge_patch(target jsonb, patch jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	result jsonb;
	name text;
	value jsonb;
BEGIN
	IF jsonb_typeof(patch) <> 'object' THEN
		RETURN patch;
	END IF;
	result := CASE WHEN jsonb_typeof(target) = 'object'
		THEN target ELSE '{}'::jsonb END;
	FOR name, value IN SELECT * FROM jsonb_each(patch) LOOP
		IF jsonb_typeof(value) = 'null' THEN
			result := result - name;
		ELSE
			result := jsonb_set(result, ARRAY[name],
				postern_merge_patch(result -> name, value));
		END IF;
	END LOOP;
	RETURN result;
END
$$;
