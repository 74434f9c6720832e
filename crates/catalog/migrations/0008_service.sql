-- What the service keeps: hosts, what they have, how it is protected, who may do what, and what is to be told.

-- Hypervisor nodes. This machine itself is none: where something lies on it, the host is NULL or ''.
CREATE TABLE hosts (
    id           TEXT PRIMARY KEY,
    name         TEXT NOT NULL UNIQUE,
    state        TEXT NOT NULL,
    serial       TEXT,
    enrolled_at  BIGINT NOT NULL,
    last_seen    BIGINT,
    version      TEXT,
    capabilities TEXT NOT NULL
);

-- The host that has the VM; NULL: this machine.
ALTER TABLE vms ADD COLUMN host TEXT REFERENCES hosts (id);

CREATE INDEX vms_by_host ON vms (host);

-- VMs that were found, protected or not. A VM that moves is found on two hosts for a while.
CREATE TABLE datasources (
    vm           TEXT NOT NULL,
    host         TEXT NOT NULL,
    name         TEXT NOT NULL,
    qmp_socket   TEXT NOT NULL,
    agent_socket TEXT,
    machine      TEXT,
    state        TEXT NOT NULL,
    problem      TEXT,
    first_seen   BIGINT NOT NULL,
    last_seen    BIGINT NOT NULL,
    gone_since   BIGINT,
    PRIMARY KEY (vm, host)
);

CREATE INDEX datasources_by_host ON datasources (host, vm);

-- A policy is changed as a whole; the revision tells who changed an older one.
CREATE TABLE policies (
    name       TEXT PRIMARY KEY,
    document   TEXT NOT NULL,
    revision   BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

-- VMs with a policy, and what the scheduler must remember of each. Lengths are in seconds.
CREATE TABLE protected_items (
    vm              TEXT PRIMARY KEY REFERENCES vms (id),
    policy          TEXT NOT NULL REFERENCES policies (name),
    state           TEXT NOT NULL,
    since           BIGINT NOT NULL,
    slot_s          BIGINT,
    last_started_at BIGINT,
    last_point_at   BIGINT,
    attempt         BIGINT NOT NULL,
    not_before      BIGINT,
    expected_s      BIGINT,
    expected_bytes  BIGINT,
    open_window     BIGINT
);

CREATE INDEX protected_items_by_policy ON protected_items (policy, vm);

-- Who does what only one process may do. A row is never deleted: its number only rises.
CREATE TABLE leases (
    name     TEXT PRIMARY KEY,
    owner    TEXT NOT NULL,
    epoch    BIGINT NOT NULL,
    until_at BIGINT NOT NULL
);

-- Tokens of the API, by hash: the tokens themselves are nowhere here.
CREATE TABLE tokens (
    id           TEXT PRIMARY KEY,
    name         TEXT NOT NULL,
    hash         TEXT NOT NULL UNIQUE,
    role         TEXT NOT NULL,
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT,
    last_used_at BIGINT,
    revoked_at   BIGINT
);

-- Tokens by which hosts enrol, once each; by hash too.
CREATE TABLE enrolments (
    hash       TEXT PRIMARY KEY,
    host_name  TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at    BIGINT,
    host       TEXT
);

-- Every change that somebody asked for. Ids sort by time.
CREATE TABLE audit (
    id         TEXT PRIMARY KEY,
    at         BIGINT NOT NULL,
    actor      TEXT NOT NULL,
    action     TEXT NOT NULL,
    object     TEXT NOT NULL,
    old_value  TEXT,
    new_value  TEXT
);

CREATE INDEX audit_by_object ON audit (object, id);

CREATE TABLE alerts (
    id           TEXT PRIMARY KEY,
    subject      TEXT NOT NULL,
    code         TEXT NOT NULL,
    problem      TEXT NOT NULL,
    since        BIGINT NOT NULL,
    last_seen_at BIGINT NOT NULL,
    times        BIGINT NOT NULL,
    resolved_at  BIGINT
);

-- One open alert for each problem of a subject, whoever raises it.
CREATE UNIQUE INDEX alerts_open ON alerts (subject, code) WHERE resolved_at IS NULL;

CREATE INDEX alerts_by_subject ON alerts (subject, id);

-- Requests that may come twice, and what was answered; NULL: the first one is still worked on.
CREATE TABLE idempotency (
    principal   TEXT NOT NULL,
    request_key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    answer      TEXT,
    at          BIGINT NOT NULL,
    PRIMARY KEY (principal, request_key)
);

CREATE INDEX idempotency_by_age ON idempotency (at);

-- Notifications that are to be sent.
CREATE TABLE outbox (
    id         TEXT PRIMARY KEY,
    at         BIGINT NOT NULL,
    channel    TEXT NOT NULL,
    body       TEXT NOT NULL,
    attempts   BIGINT NOT NULL,
    not_before BIGINT NOT NULL,
    sent_at    BIGINT
);

CREATE INDEX outbox_unsent ON outbox (not_before, id) WHERE sent_at IS NULL;

-- Who may take a job up, or did; NULL: it never waited.
ALTER TABLE jobs ADD COLUMN lane TEXT;

UPDATE jobs SET lane = (SELECT queue.lane FROM queue WHERE queue.job = jobs.id);

CREATE INDEX jobs_by_lane ON jobs (lane, id);

CREATE INDEX jobs_by_kind ON jobs (kind, id);

CREATE INDEX jobs_by_state ON jobs (state, id);

CREATE INDEX jobs_unfinished ON jobs (id) WHERE ended = 0;
