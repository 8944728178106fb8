-- A change that arrives by logical replication is told to the workers as any
-- other: on a subscriber ordinary triggers don't fire, and an app that was
-- disabled would stay in their caches. The other triggers stay as they are: what
-- they write or refuse has been written, or let through, on the publisher, and
-- arrives with its own tables.

ALTER TABLE apps
	ENABLE ALWAYS TRIGGER postern_apps_notify,
	ENABLE ALWAYS TRIGGER postern_apps_notify_truncate;
