-- What removing files from a mailbox whose name another one has needs to remember. Never edited once released: changes
-- are new files.

-- One that removes a file has its name.
CREATE TABLE intent_new (
    id                  INTEGER PRIMARY KEY AUTOINCREMENT,
    kind                TEXT    NOT NULL
                        CHECK (kind IN ('download', 'append', 'copy', 'rename', 'relabel', 'flags', 'remove')),
    mailbox             INTEGER NOT NULL REFERENCES mailbox (id) ON DELETE CASCADE,
    uid_validity        INTEGER,
    uid                 INTEGER CHECK (uid BETWEEN 1 AND 4294967295),
    unique_name         TEXT,
    flags               INTEGER CHECK (flags BETWEEN 0 AND 31),
    keywords            TEXT,
    tombstone           TEXT    CHECK (tombstone IN ('flagged', 'kept', 'waiting')),
    date                INTEGER,
    size                INTEGER,
    content             BLOB    CHECK (length(content) = 16),
    message_id          INTEGER,
    inode               INTEGER,
    file_size           INTEGER,
    mtime_ns            INTEGER,
    uid_next            INTEGER,                -- of the mailbox that is to grow
    uids                TEXT,                   -- as IMAP writes a sequence-set
    target              TEXT,
    target_uid_validity INTEGER,
    difference          TEXT,                   -- of flags: those sent from those of the row to be, or those brought over
    before              TEXT,
    after               TEXT,
    email_id            INTEGER,
    side                TEXT    CHECK (side IN ('local', 'remote')),
    leaves              INTEGER,                -- the row of what is sent elsewhere; no row's id is used again
    CHECK ((uid_validity IS NULL) = (kind IN ('rename', 'relabel', 'remove'))),
    CHECK ((before IS NOT NULL) = (kind IN ('rename', 'relabel'))),
    CHECK ((after IS NULL) = (before IS NULL)),
    CHECK ((side IS NOT NULL) = (kind = 'flags'))
) STRICT;

INSERT INTO intent_new SELECT * FROM intent;
-- Row ids go on from where they were.
DELETE FROM sqlite_sequence WHERE name = 'intent_new';
INSERT INTO sqlite_sequence (name, seq) SELECT 'intent_new', seq FROM sqlite_sequence WHERE name = 'intent';
DROP TABLE intent;
ALTER TABLE intent_new RENAME TO intent;
