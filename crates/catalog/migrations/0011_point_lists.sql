-- A page of recovery points costs what is on it: each filter finds its rows in the order of the list.
DROP INDEX points_by_vm;

CREATE INDEX points_by_vm ON points (vm, taken_at, id, vault);

CREATE INDEX points_by_vault ON points (vault, taken_at, id);

CREATE INDEX points_by_time ON points (taken_at, id, vault);

CREATE INDEX points_by_id ON points (id, vault);
