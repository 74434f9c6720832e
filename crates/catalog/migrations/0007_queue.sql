-- Jobs that nobody has taken up yet: until then their owner is the JSON null, and their lock key is here.
CREATE TABLE queue (
    job         TEXT PRIMARY KEY REFERENCES jobs (id),
    lane        TEXT NOT NULL,
    not_before  BIGINT NOT NULL,
    rank_number BIGINT NOT NULL,
    wanted_key  TEXT
);

CREATE INDEX queue_by_lane ON queue (lane, not_before);
