-- Who verifies besides this process: followers that hold a lease. One row a life; an id is never used again. Rows only move
-- from joining to live to fenced to gone. `scope` is the keyspaces that it answers for, as JSON; NULL is all.
CREATE TABLE members (
    id         BLOB    NOT NULL PRIMARY KEY,
    name       TEXT,
    scope      TEXT,
    status     TEXT    NOT NULL CHECK (status IN ('joining', 'live', 'fenced', 'gone')),
    applied    INTEGER NOT NULL DEFAULT 0,
    lease_ms   INTEGER NOT NULL,
    address    TEXT    NOT NULL,
    version    TEXT    NOT NULL,
    renewals   INTEGER NOT NULL DEFAULT 0,
    renewed_at INTEGER,
    changed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
