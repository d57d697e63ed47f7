-- How nodes without a limiter's server divide limits among them, anew every second. Not logged: what a crash of this server
-- forgets counts for a few seconds only. `limit_names` is what is locked while a limit is divided.
CREATE UNLOGGED TABLE limit_nodes (
    node    uuid        NOT NULL PRIMARY KEY,
    seen_at timestamptz NOT NULL
) WITH (fillfactor = 50);

CREATE UNLOGGED TABLE limit_names (
    name text NOT NULL PRIMARY KEY
) WITH (fillfactor = 50);

CREATE UNLOGGED TABLE limit_shares (
    name       text        NOT NULL,
    node       uuid        NOT NULL,
    demand     integer     NOT NULL,
    granted    integer     NOT NULL CHECK (granted >= 0),
    held_until timestamptz NOT NULL,
    PRIMARY KEY (name, node)
) WITH (fillfactor = 50);
