-- Identifiers sort as they were made. Moments are milliseconds since 1970. A sealed value is its key's version (4 bytes,
-- big-endian) and then its bytes. Texts that are compared have the collation "C", so that they sort as their bytes do
-- and no update of the operating system's locales spoils an index.

-- What this installation is. One row, written by the first start.
CREATE TABLE installation (
    only_row           INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    incarnation        BIGINT  NOT NULL,
    master_fingerprint TEXT    NOT NULL,
    root_digest        BYTEA,
    master_exported_at BIGINT,
    mac                BYTEA   NOT NULL
);

-- The newest revision and the end of the audit, under a MAC, so that rows cut off the end are missed. Its lock is taken
-- last by every write: that makes revisions gapless and visible in their order.
CREATE TABLE head (
    only_row INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    revision BIGINT  NOT NULL,
    entries  BIGINT  NOT NULL,
    hash     BYTEA   NOT NULL,
    mac      BYTEA   NOT NULL
) WITH (fillfactor = 10);

CREATE TABLE keyring (
    purpose TEXT COLLATE "C" NOT NULL,
    version INTEGER          NOT NULL,
    wrapped BYTEA            NOT NULL,
    PRIMARY KEY (purpose, version)
);

-- The last number given out, for each organization and kind of noun. Outlives the nouns: numbers are never reused.
CREATE TABLE counters (
    org_id UUID             NOT NULL,
    name   TEXT COLLATE "C" NOT NULL,
    last   BIGINT           NOT NULL,
    PRIMARY KEY (org_id, name)
) WITH (fillfactor = 50);

CREATE TABLE orgs (
    id      UUID             NOT NULL PRIMARY KEY,
    name    TEXT COLLATE "C" NOT NULL,
    version BIGINT           NOT NULL,
    body    TEXT             NOT NULL
);
CREATE UNIQUE INDEX orgs_by_name ON orgs (name);

CREATE TABLE keyspaces (
    id      UUID             NOT NULL PRIMARY KEY,
    org_id  UUID             NOT NULL REFERENCES orgs (id),
    name    TEXT COLLATE "C" NOT NULL,
    version BIGINT           NOT NULL,
    body    TEXT             NOT NULL
);
CREATE UNIQUE INDEX keyspaces_by_name ON keyspaces (org_id, name);

CREATE TABLE roles (
    id      UUID             NOT NULL PRIMARY KEY,
    org_id  UUID             NOT NULL REFERENCES orgs (id),
    number  INTEGER          NOT NULL CHECK (number >= 1),
    name    TEXT COLLATE "C" NOT NULL,
    version BIGINT           NOT NULL,
    body    TEXT             NOT NULL
);
CREATE UNIQUE INDEX roles_by_number ON roles (org_id, number);
CREATE UNIQUE INDEX roles_by_name ON roles (org_id, name);

CREATE TABLE plans (
    id      UUID             NOT NULL PRIMARY KEY,
    org_id  UUID             NOT NULL REFERENCES orgs (id),
    name    TEXT COLLATE "C" NOT NULL,
    version BIGINT           NOT NULL,
    body    TEXT             NOT NULL
);
CREATE UNIQUE INDEX plans_by_name ON plans (org_id, name);

-- `kind` repeats what `body` says, for a list of keys by the kind of their owner.
CREATE TABLE principals (
    id          UUID             NOT NULL PRIMARY KEY,
    org_id      UUID             NOT NULL REFERENCES orgs (id),
    external_id TEXT COLLATE "C",
    kind        TEXT COLLATE "C" NOT NULL CHECK (kind IN ('user', 'bot')),
    version     BIGINT           NOT NULL,
    body        TEXT             NOT NULL
);
CREATE UNIQUE INDEX principals_by_external_id ON principals (org_id, external_id) WHERE external_id IS NOT NULL;
CREATE INDEX principals_by_org ON principals (org_id, id);

CREATE TABLE principal_roles (
    principal_id UUID NOT NULL REFERENCES principals (id) ON DELETE CASCADE,
    role_id      UUID NOT NULL REFERENCES roles (id),
    PRIMARY KEY (principal_id, role_id)
);
CREATE INDEX principals_by_role ON principal_roles (role_id, principal_id);

-- What lists filter by stands in columns, the rest of a key in `body`; its secrets stand in `secrets`.
CREATE TABLE keys (
    id          UUID             NOT NULL PRIMARY KEY,
    org_id      UUID             NOT NULL REFERENCES orgs (id),
    keyspace_id UUID             NOT NULL REFERENCES keyspaces (id),
    number      INTEGER          NOT NULL CHECK (number >= 1),
    kind        TEXT COLLATE "C" NOT NULL CHECK (kind IN ('api', 'management')),
    access_id   TEXT COLLATE "C",
    external_id TEXT COLLATE "C",
    name        TEXT COLLATE "C" NOT NULL,
    owner_id    UUID             REFERENCES principals (id),
    enabled     BOOLEAN          NOT NULL,
    not_before  BIGINT,
    expires_at  BIGINT,
    revoked_at  BIGINT,
    deleted_at  BIGINT,
    created_at  BIGINT           NOT NULL,
    created_by  TEXT COLLATE "C" NOT NULL,
    updated_at  BIGINT           NOT NULL,
    updated_by  TEXT COLLATE "C" NOT NULL,
    version     BIGINT           NOT NULL,
    body        TEXT             NOT NULL
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX keys_by_number ON keys (org_id, number);
CREATE UNIQUE INDEX keys_by_access_id ON keys (access_id) WHERE access_id IS NOT NULL;
CREATE UNIQUE INDEX keys_by_external_id ON keys (keyspace_id, external_id) WHERE external_id IS NOT NULL;
CREATE INDEX keys_by_org ON keys (org_id, id);
CREATE INDEX keys_by_keyspace ON keys (keyspace_id, id);
CREATE INDEX keys_by_owner ON keys (owner_id, id) WHERE owner_id IS NOT NULL;
CREATE INDEX keys_deleted ON keys (org_id, deleted_at) WHERE deleted_at IS NOT NULL;
-- Under the collation "C" `lower` folds ASCII and nothing else, as SQLite's NOCASE does.
CREATE INDEX keys_by_lower_name ON keys (org_id, lower(name));

CREATE TABLE key_roles (
    key_id  UUID NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    role_id UUID NOT NULL REFERENCES roles (id),
    PRIMARY KEY (key_id, role_id)
);
CREATE INDEX keys_by_role ON key_roles (role_id, key_id);

CREATE TABLE key_plans (
    key_id  UUID NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    plan_id UUID NOT NULL REFERENCES plans (id),
    PRIMARY KEY (key_id, plan_id)
);
CREATE INDEX keys_by_plan ON key_plans (plan_id, key_id);

CREATE TABLE key_labels (
    key_id UUID             NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    label  TEXT COLLATE "C" NOT NULL,
    value  TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (key_id, label)
);
CREATE INDEX keys_by_label ON key_labels (label, value, key_id);

CREATE TABLE secrets (
    key_id         UUID    NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    id             UUID    NOT NULL,
    position       BIGINT  NOT NULL,
    hint           TEXT COLLATE "C",
    recoverable    BOOLEAN NOT NULL,
    custom         BOOLEAN NOT NULL,
    created_at     BIGINT  NOT NULL,
    expires_at     BIGINT,
    digest         BYTEA,
    pepper_version BIGINT,
    hash_sealed    BYTEA,
    secret_sealed  BYTEA,
    argon2         TEXT,
    last_used_at   BIGINT,
    PRIMARY KEY (key_id, id)
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX secrets_by_digest ON secrets (digest) WHERE digest IS NOT NULL;

CREATE INDEX secrets_by_hint ON secrets (hint) WHERE hint IS NOT NULL;

-- Every write as followers read it, without what proves secrets. Pruned from its beginning.
CREATE TABLE feed (
    revision BIGINT NOT NULL PRIMARY KEY,
    at       BIGINT NOT NULL,
    changes  TEXT   NOT NULL
);

-- `seq` is the order of the whole installation, `number` that of an organization. `rights` and `personal` are the noun
-- after the write in two parts; the chain holds the second only as a salted hash, so that it can be erased.
CREATE TABLE audit (
    seq           BIGINT           NOT NULL PRIMARY KEY,
    org_id        UUID             NOT NULL,
    number        BIGINT           NOT NULL,
    revision      BIGINT,
    position      BIGINT           NOT NULL,
    at            BIGINT           NOT NULL,
    actor         TEXT COLLATE "C" NOT NULL,
    wire          TEXT COLLATE "C" NOT NULL,
    verb          TEXT COLLATE "C" NOT NULL,
    subject       TEXT COLLATE "C" NOT NULL,
    version       BIGINT,
    request_id    TEXT COLLATE "C",
    rights        TEXT,
    proof         BYTEA,
    personal      TEXT,
    salt          BYTEA,
    personal_hash BYTEA            NOT NULL,
    hash          BYTEA            NOT NULL
);
CREATE UNIQUE INDEX audit_by_number ON audit (org_id, number);
CREATE INDEX audit_by_subject ON audit (org_id, subject, number);

-- The end of each organization's chain, under a MAC.
CREATE TABLE audit_heads (
    org_id  UUID   NOT NULL PRIMARY KEY,
    entries BIGINT NOT NULL,
    hash    BYTEA  NOT NULL,
    mac     BYTEA  NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE idempotency (
    scope         BYTEA            NOT NULL PRIMARY KEY,
    request       BYTEA            NOT NULL,
    revision      BIGINT           NOT NULL,
    changed       BOOLEAN          NOT NULL,
    subject       TEXT COLLATE "C" NOT NULL,
    secret_sealed BYTEA,
    secret_until  BIGINT           NOT NULL,
    until         BIGINT           NOT NULL
);
CREATE INDEX idempotency_by_until ON idempotency (until);

CREATE TABLE quotas (
    subject      BYTEA  NOT NULL,
    period_start BIGINT NOT NULL,
    reserved     BIGINT NOT NULL,
    PRIMARY KEY (subject, period_start)
) WITH (fillfactor = 50);
