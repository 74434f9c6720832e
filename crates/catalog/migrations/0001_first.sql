-- Runs on SQLite and on PostgreSQL as it is. Types: BIGINT, TEXT, DOUBLE PRECISION only.
-- Ids and JSON are TEXT, times are microseconds since 1970, booleans are 0 and 1.
-- One statement ends at a semicolon at the end of its line.

CREATE TABLE vaults (
    name        TEXT PRIMARY KEY,
    id          TEXT NOT NULL UNIQUE,
    location    TEXT NOT NULL,
    key_source  TEXT NOT NULL,
    created_at  BIGINT NOT NULL
);

CREATE TABLE vms (
    name           TEXT PRIMARY KEY,
    id             TEXT NOT NULL UNIQUE,
    qmp_socket     TEXT NOT NULL,
    agent_socket   TEXT,
    excluded_disks TEXT NOT NULL,
    vault          TEXT NOT NULL REFERENCES vaults (name),
    created_at     BIGINT NOT NULL
);

-- A cache of what the vaults hold, filled again from them at any time. It refers to no other
-- table: a vault may hold points of VMs that this machine has never seen.
CREATE TABLE points (
    id           TEXT NOT NULL,
    vault        TEXT NOT NULL,
    vm           TEXT NOT NULL,
    vm_name      TEXT NOT NULL,
    taken_at     BIGINT NOT NULL,
    committed_at BIGINT NOT NULL,
    consistency  TEXT NOT NULL,
    size         BIGINT NOT NULL,
    stored       BIGINT NOT NULL,
    stats        TEXT NOT NULL,
    PRIMARY KEY (vault, id)
);

CREATE INDEX points_by_vm ON points (vm, taken_at);

CREATE TABLE jobs (
    id               TEXT PRIMARY KEY,
    kind             TEXT NOT NULL,
    subject          TEXT NOT NULL,
    lock_key         TEXT,
    params           TEXT NOT NULL,
    sub_tasks        TEXT NOT NULL,
    created_at       BIGINT NOT NULL,
    state            TEXT NOT NULL,
    ended            BIGINT NOT NULL,
    next_seq         BIGINT NOT NULL,
    owner            TEXT NOT NULL,
    epoch            BIGINT NOT NULL,
    heartbeat_at     BIGINT NOT NULL,
    cancel_requested BIGINT NOT NULL
);

-- One unfinished job per lock key, whoever asks, in one statement.
CREATE UNIQUE INDEX jobs_one_per_lock_key ON jobs (lock_key) WHERE ended = 0;

CREATE INDEX jobs_by_subject ON jobs (subject, id);

CREATE TABLE job_events (
    job   TEXT NOT NULL REFERENCES jobs (id),
    seq   BIGINT NOT NULL,
    at    BIGINT NOT NULL,
    event TEXT NOT NULL,
    PRIMARY KEY (job, seq)
);

CREATE TABLE job_progress (
    job      TEXT PRIMARY KEY REFERENCES jobs (id),
    progress TEXT NOT NULL
);

-- The latest observation of each observer.
CREATE TABLE facts (
    subject  TEXT NOT NULL,
    name     TEXT NOT NULL,
    observer TEXT NOT NULL,
    at       BIGINT NOT NULL,
    fact     TEXT NOT NULL,
    PRIMARY KEY (subject, name, observer)
);
