-- Of the apps in goliauth's format that were there, those that the trail knows
-- to have come later, or to have been changed: by the key as it is, or by the
-- app, whatever key it had then.

SELECT set_config('postern.actor', 'migration', true);

UPDATE apps AS a SET keys_as_found = false
WHERE keys_as_found
	AND (master_key_id IS NULL
		OR (previous_encrypted_secret_key IS NOT NULL
		AND previous_master_key_id IS NULL))
	AND (EXISTS (SELECT FROM app_events AS e
			WHERE e.public_key = a.public_key AND e.event IN ('created',
				'changed', 'deleted', 'resealed', 'rotated'))
		OR EXISTS (SELECT FROM app_events AS e
			WHERE e.app_id = a.id AND e.event IN ('created',
				'changed', 'deleted', 'resealed', 'rotated')));
