-- The backup that a point is a copy of, as JSON; NULL: it was made in its vault.
ALTER TABLE points ADD COLUMN copied_from TEXT;
