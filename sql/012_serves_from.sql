-- Which programs may serve the schema from a migration on: those that know the
-- migration of this number; null = all that knew the one before. A program
-- reads it of migrations that it has never heard of.

ALTER TABLE postern_migrations ADD COLUMN serves_from int;
