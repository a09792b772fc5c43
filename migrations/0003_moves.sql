-- What following renamed folders and moved files needs to remember. Never edited once released: changes are new files.

-- The identity of the maildir's `cur`, which stays with it under any name.
ALTER TABLE mailbox ADD COLUMN dir_device INTEGER;
ALTER TABLE mailbox ADD COLUMN dir_inode INTEGER;

-- A maildir that gets another name, and a file whose keyword letters do, have no UIDVALIDITY, but what was and what is
-- to be: names or infos.
CREATE TABLE intent_new (
    id                  INTEGER PRIMARY KEY AUTOINCREMENT,
    kind                TEXT    NOT NULL CHECK (kind IN ('download', 'append', 'copy', 'rename', 'relabel')),
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
    difference          TEXT,                   -- of the flags sent from those of the row to be
    before              TEXT,
    after               TEXT,
    CHECK ((uid_validity IS NULL) = (kind IN ('rename', 'relabel'))),
    CHECK ((before IS NOT NULL) = (kind IN ('rename', 'relabel'))),
    CHECK ((after IS NULL) = (before IS NULL))
) STRICT;

INSERT INTO intent_new SELECT *, NULL, NULL FROM intent;
-- Row ids go on from where they were.
DELETE FROM sqlite_sequence WHERE name = 'intent_new';
INSERT INTO sqlite_sequence (name, seq) SELECT 'intent_new', seq FROM sqlite_sequence WHERE name = 'intent';
DROP TABLE intent;
ALTER TABLE intent_new RENAME TO intent;

-- By size, what may be a message moved here from another folder is looked for in all of them.
CREATE INDEX message_by_size ON message (size) WHERE unique_name IS NOT NULL;
