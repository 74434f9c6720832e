-- What is known of the objects of vaults: when each was first seen, and when it was last read back and
-- right. Without it, verifications of parts of a vault begin anew.
CREATE TABLE verified (
    vault       TEXT NOT NULL,
    object      TEXT NOT NULL,
    seen_at     BIGINT NOT NULL,
    verified_at BIGINT,
    PRIMARY KEY (vault, object)
);

-- How much of the vault is read back after each backup, in millionths; NULL: nothing.
ALTER TABLE vaults ADD COLUMN verify_share BIGINT;
