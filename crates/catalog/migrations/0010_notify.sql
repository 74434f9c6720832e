-- Ways by which notifications go out. The secret signs a webhook's body, or is a mail server's password.
CREATE TABLE channels (
    name          TEXT PRIMARY KEY,
    settings      TEXT NOT NULL,
    secret        TEXT,
    created_at    BIGINT NOT NULL,
    last_sent_at  BIGINT,
    failing_since BIGINT,
    failure       TEXT,
    digest_at     BIGINT
);

-- It could not be sent in time, and is kept to be looked at for a while.
ALTER TABLE outbox ADD COLUMN given_up_at BIGINT;

DROP INDEX outbox_unsent;

CREATE INDEX outbox_waiting ON outbox (not_before, id) WHERE sent_at IS NULL AND given_up_at IS NULL;

-- Counts that survive restarts, added to in the transaction that ends a job. A bucket is the upper bound of a
-- histogram's; 0: no histogram.
CREATE TABLE tallies (
    name   TEXT NOT NULL,
    kind   TEXT NOT NULL,
    label  TEXT NOT NULL,
    bucket BIGINT NOT NULL,
    value  BIGINT NOT NULL,
    PRIMARY KEY (name, kind, label, bucket)
);

INSERT INTO tallies (name, kind, label, bucket, value)
SELECT 'jobs_ended', kind, state, 0, count(*) FROM jobs WHERE ended = 1 GROUP BY kind, state;

CREATE INDEX verified_by_time ON verified (vault, verified_at);
