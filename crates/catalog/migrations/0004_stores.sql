-- How to reach a vault that is no directory: JSON, without secrets.
ALTER TABLE vaults ADD COLUMN settings TEXT;
