-- Who verifies: nodes, and followers that hold a lease. One row a life; an id is never used again. Rows only move from
-- joining to live to fenced to gone. `scope` is the keyspaces that it answers for, as JSON; NULL is all. The times are for
-- people: no decision rests on this server's clock. Renewals rewrite a row twice a second, so there is room for that.
CREATE TABLE members (
    id         uuid        NOT NULL PRIMARY KEY,
    name       text,
    scope      text,
    status     text        NOT NULL CHECK (status IN ('joining', 'live', 'fenced', 'gone')),
    applied    bigint      NOT NULL DEFAULT 0,
    lease_ms   bigint      NOT NULL,
    address    text        NOT NULL,
    version    text        NOT NULL,
    renewals   bigint      NOT NULL DEFAULT 0,
    renewed_at timestamptz,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50);
