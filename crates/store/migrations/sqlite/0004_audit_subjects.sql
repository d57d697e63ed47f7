-- Which entries are about a noun. An index of the audit itself writes a page of its own for each entry; this one is brought
-- up to date by many entries at once. `audit_indexed` says up to which entry it is.
DROP INDEX audit_by_subject;
CREATE TABLE audit_subjects (
    org_id  BLOB    NOT NULL,
    noun    TEXT    NOT NULL,
    number  INTEGER NOT NULL,
    PRIMARY KEY (org_id, noun, number)
) STRICT, WITHOUT ROWID;
INSERT INTO audit_subjects SELECT org_id, subject, number FROM audit ORDER BY org_id, subject, number;

CREATE TABLE audit_indexed (
    only_row INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    seq      INTEGER NOT NULL
) STRICT;
INSERT INTO audit_indexed SELECT 1, coalesce(max(seq), 0) FROM audit;
