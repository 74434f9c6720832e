-- What the service keeps for the links of its hosts.

-- The certificate that a host showed when it asked for the one in `serial`: good until that one is shown.
ALTER TABLE hosts ADD COLUMN serial_before TEXT;

-- Which host began which session of a vault through the gateway.
CREATE TABLE gateway_sessions (
    vault    TEXT NOT NULL,
    session  TEXT NOT NULL,
    host     TEXT NOT NULL,
    begun_at BIGINT NOT NULL,
    PRIMARY KEY (vault, session)
);

CREATE INDEX gateway_sessions_by_age ON gateway_sessions (begun_at);
