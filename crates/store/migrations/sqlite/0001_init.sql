-- Identifiers are their 16 bytes, big-endian, so that they sort as they were made. Moments are milliseconds since 1970.
-- A sealed value is its key's version (4 bytes, big-endian) and then its bytes.

-- What this installation is. One row, written by the first start.
CREATE TABLE installation (
    only_row           INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    incarnation        INTEGER NOT NULL,
    master_fingerprint TEXT    NOT NULL,
    root_digest        BLOB,
    master_exported_at INTEGER,
    mac                BLOB    NOT NULL
) STRICT;

-- The newest revision and the end of the audit, under a MAC, so that rows cut off the end are missed.
CREATE TABLE head (
    only_row INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    revision INTEGER NOT NULL,
    entries  INTEGER NOT NULL,
    hash     BLOB    NOT NULL,
    mac      BLOB    NOT NULL
) STRICT;

CREATE TABLE keyring (
    purpose TEXT    NOT NULL,
    version INTEGER NOT NULL,
    wrapped BLOB    NOT NULL,
    PRIMARY KEY (purpose, version)
) STRICT, WITHOUT ROWID;

-- The last number given out, for each organization and kind of noun. Outlives the nouns: numbers are never reused.
CREATE TABLE counters (
    org_id BLOB    NOT NULL,
    name   TEXT    NOT NULL,
    last   INTEGER NOT NULL,
    PRIMARY KEY (org_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE orgs (
    id      BLOB    NOT NULL PRIMARY KEY,
    name    TEXT    NOT NULL UNIQUE,
    version INTEGER NOT NULL,
    body    TEXT    NOT NULL
) STRICT;

CREATE TABLE keyspaces (
    id      BLOB    NOT NULL PRIMARY KEY,
    org_id  BLOB    NOT NULL REFERENCES orgs (id),
    name    TEXT    NOT NULL,
    version INTEGER NOT NULL,
    body    TEXT    NOT NULL,
    UNIQUE (org_id, name)
) STRICT;

CREATE TABLE roles (
    id      BLOB    NOT NULL PRIMARY KEY,
    org_id  BLOB    NOT NULL REFERENCES orgs (id),
    number  INTEGER NOT NULL CHECK (number BETWEEN 1 AND 2147483647),
    name    TEXT    NOT NULL,
    version INTEGER NOT NULL,
    body    TEXT    NOT NULL,
    UNIQUE (org_id, number),
    UNIQUE (org_id, name)
) STRICT;

CREATE TABLE plans (
    id      BLOB    NOT NULL PRIMARY KEY,
    org_id  BLOB    NOT NULL REFERENCES orgs (id),
    name    TEXT    NOT NULL,
    version INTEGER NOT NULL,
    body    TEXT    NOT NULL,
    UNIQUE (org_id, name)
) STRICT;

CREATE TABLE principals (
    id          BLOB    NOT NULL PRIMARY KEY,
    org_id      BLOB    NOT NULL REFERENCES orgs (id),
    external_id TEXT,
    version     INTEGER NOT NULL,
    body        TEXT    NOT NULL
) STRICT;
CREATE UNIQUE INDEX principals_by_external_id ON principals (org_id, external_id) WHERE external_id IS NOT NULL;
CREATE INDEX principals_by_org ON principals (org_id, id);

CREATE TABLE principal_roles (
    principal_id BLOB NOT NULL REFERENCES principals (id) ON DELETE CASCADE,
    role_id      BLOB NOT NULL REFERENCES roles (id),
    PRIMARY KEY (principal_id, role_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX principals_by_role ON principal_roles (role_id, principal_id);

-- What lists filter by stands in columns, the rest of a key in `body`; its secrets stand in `secrets`.
CREATE TABLE keys (
    id          BLOB    NOT NULL PRIMARY KEY,
    org_id      BLOB    NOT NULL REFERENCES orgs (id),
    keyspace_id BLOB    NOT NULL REFERENCES keyspaces (id),
    number      INTEGER NOT NULL CHECK (number BETWEEN 1 AND 2147483647),
    kind        TEXT    NOT NULL CHECK (kind IN ('api', 'management')),
    access_id   TEXT,
    external_id TEXT,
    name        TEXT    NOT NULL,
    owner_id    BLOB    REFERENCES principals (id),
    enabled     INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    not_before  INTEGER,
    expires_at  INTEGER,
    revoked_at  INTEGER,
    deleted_at  INTEGER,
    created_at  INTEGER NOT NULL,
    created_by  TEXT    NOT NULL,
    updated_at  INTEGER NOT NULL,
    updated_by  TEXT    NOT NULL,
    version     INTEGER NOT NULL,
    body        TEXT    NOT NULL
) STRICT;
CREATE UNIQUE INDEX keys_by_number ON keys (org_id, number);
CREATE UNIQUE INDEX keys_by_access_id ON keys (access_id) WHERE access_id IS NOT NULL;
CREATE UNIQUE INDEX keys_by_external_id ON keys (keyspace_id, external_id) WHERE external_id IS NOT NULL;
CREATE INDEX keys_by_org ON keys (org_id, id);
CREATE INDEX keys_by_keyspace ON keys (keyspace_id, id);
CREATE INDEX keys_by_owner ON keys (owner_id, id) WHERE owner_id IS NOT NULL;
CREATE INDEX keys_deleted ON keys (org_id, deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX keys_by_name ON keys (org_id, name COLLATE NOCASE);

CREATE TABLE key_roles (
    key_id  BLOB NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    role_id BLOB NOT NULL REFERENCES roles (id),
    PRIMARY KEY (key_id, role_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX keys_by_role ON key_roles (role_id, key_id);

CREATE TABLE key_plans (
    key_id  BLOB NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    plan_id BLOB NOT NULL REFERENCES plans (id),
    PRIMARY KEY (key_id, plan_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX keys_by_plan ON key_plans (plan_id, key_id);

CREATE TABLE key_labels (
    key_id BLOB NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    label  TEXT NOT NULL,
    value  TEXT NOT NULL,
    PRIMARY KEY (key_id, label)
) STRICT, WITHOUT ROWID;
CREATE INDEX keys_by_label ON key_labels (label, value, key_id);

CREATE TABLE secrets (
    key_id         BLOB    NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    id             BLOB    NOT NULL,
    position       INTEGER NOT NULL,
    hint           TEXT,
    recoverable    INTEGER NOT NULL,
    custom         INTEGER NOT NULL,
    created_at     INTEGER NOT NULL,
    expires_at     INTEGER,
    digest         BLOB,
    pepper_version INTEGER,
    hash_sealed    BLOB,
    secret_sealed  BLOB,
    argon2         TEXT,
    last_used_at   INTEGER,
    PRIMARY KEY (key_id, id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX secrets_by_digest ON secrets (digest) WHERE digest IS NOT NULL;

CREATE INDEX secrets_by_hint ON secrets (hint) WHERE hint IS NOT NULL;

-- Every write as followers read it, without what proves secrets. Pruned from its beginning.
CREATE TABLE feed (
    revision INTEGER NOT NULL PRIMARY KEY,
    at       INTEGER NOT NULL,
    changes  TEXT    NOT NULL
) STRICT;

-- `seq` is the order of the whole installation, `number` that of an organization. `rights` and `personal` are the noun
-- after the write in two parts; the chain holds the second only as a salted hash, so that it can be erased.
CREATE TABLE audit (
    seq           INTEGER NOT NULL PRIMARY KEY,
    org_id        BLOB    NOT NULL,
    number        INTEGER NOT NULL,
    revision      INTEGER,
    position      INTEGER NOT NULL,
    at            INTEGER NOT NULL,
    actor         TEXT    NOT NULL,
    wire          TEXT    NOT NULL,
    verb          TEXT    NOT NULL,
    subject       TEXT    NOT NULL,
    version       INTEGER,
    request_id    TEXT,
    rights        TEXT,
    proof         BLOB,
    personal      TEXT,
    salt          BLOB,
    personal_hash BLOB    NOT NULL,
    hash          BLOB    NOT NULL
) STRICT;
CREATE UNIQUE INDEX audit_by_number ON audit (org_id, number);
CREATE INDEX audit_by_subject ON audit (org_id, subject, number);

-- The end of each organization's chain, under a MAC.
CREATE TABLE audit_heads (
    org_id  BLOB    NOT NULL PRIMARY KEY,
    entries INTEGER NOT NULL,
    hash    BLOB    NOT NULL,
    mac     BLOB    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE idempotency (
    scope         BLOB    NOT NULL PRIMARY KEY,
    request       BLOB    NOT NULL,
    revision      INTEGER NOT NULL,
    changed       INTEGER NOT NULL,
    subject       TEXT    NOT NULL,
    secret_sealed BLOB,
    secret_until  INTEGER NOT NULL,
    until         INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_by_until ON idempotency (until);

CREATE TABLE quotas (
    subject      BLOB    NOT NULL,
    period_start INTEGER NOT NULL,
    reserved     INTEGER NOT NULL,
    PRIMARY KEY (subject, period_start)
) STRICT, WITHOUT ROWID;
