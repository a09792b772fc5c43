-- The baseline and the journal of one account. Never edited once released: changes are new files.
--
-- Numbers that IMAP or the system have as unsigned 64 bits are stored bit for bit, so large ones look negative.
-- Times are whole seconds since 1970 UTC, those named _ns nanoseconds. Flags are bits: 1 \Seen, 2 \Answered,
-- 4 \Flagged, 8 \Deleted, 16 \Draft; keywords are words with one space between.

PRAGMA application_id = 0x6d746964; -- "mtid"

CREATE TABLE account (
    only_row     INTEGER PRIMARY KEY CHECK (only_row = 1),
    database     TEXT    NOT NULL,           -- random, also on the Maildir's marker
    run          INTEGER NOT NULL,
    last_success INTEGER
) STRICT;

INSERT INTO account (only_row, database, run, last_success) VALUES (1, lower(hex(randomblob(16))), 0, NULL);

-- AUTOINCREMENT wherever the program keeps row ids in memory: the id of a row that is gone never names another.
CREATE TABLE mailbox (
    id                     INTEGER PRIMARY KEY AUTOINCREMENT,
    name                   TEXT    NOT NULL UNIQUE,
    local                  TEXT    NOT NULL,
    role                   TEXT,
    object_id              TEXT,
    uid_validity           INTEGER,
    watermark_uid_validity INTEGER,
    watermark_uid_next     INTEGER,
    watermark_messages     INTEGER,
    watermark_mod_seq      INTEGER,
    permanent_flags        INTEGER NOT NULL CHECK (permanent_flags BETWEEN 0 AND 31),
    permanent_keywords     TEXT    NOT NULL,
    new_keywords           INTEGER NOT NULL CHECK (new_keywords IN (0, 1)),
    read_only              INTEGER NOT NULL CHECK (read_only IN (0, 1)),
    cur_device             INTEGER,
    cur_inode              INTEGER,
    cur_mtime_ns           INTEGER,
    cur_ctime_ns           INTEGER,
    new_device             INTEGER,
    new_inode              INTEGER,
    new_mtime_ns           INTEGER,
    new_ctime_ns           INTEGER,
    letters                TEXT    NOT NULL, -- one line each: letter, space, keyword
    full_look              INTEGER,
    message_rows           INTEGER NOT NULL CHECK (message_rows >= 0) -- kept right by the triggers below
) STRICT;

-- A row is either held in a file or a tombstone.
CREATE TABLE message (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    mailbox     INTEGER NOT NULL REFERENCES mailbox (id) ON DELETE CASCADE,
    uid         INTEGER NOT NULL CHECK (uid BETWEEN 1 AND 4294967295),
    unique_name TEXT,
    flags       INTEGER NOT NULL CHECK (flags BETWEEN 0 AND 31),
    keywords    TEXT    NOT NULL,
    tombstone   TEXT    CHECK (tombstone IN ('flagged', 'kept', 'waiting')),
    date        INTEGER,
    size        INTEGER,
    content     BLOB    CHECK (length(content) = 16),
    message_id  INTEGER,
    inode       INTEGER,
    file_size   INTEGER,
    mtime_ns    INTEGER,
    UNIQUE (mailbox, uid),
    UNIQUE (mailbox, unique_name),
    CHECK ((unique_name IS NULL) = (tombstone IS NOT NULL))
) STRICT;

-- Counted here and not when asked, so that a run with nothing to do costs the same whatever the mailboxes hold.
CREATE TRIGGER message_added AFTER INSERT ON message BEGIN
    UPDATE mailbox SET message_rows = message_rows + 1 WHERE id = NEW.mailbox;
END;
CREATE TRIGGER message_removed AFTER DELETE ON message BEGIN
    UPDATE mailbox SET message_rows = message_rows - 1 WHERE id = OLD.mailbox;
END;

-- The journal. Columns that a kind of intent does not use are NULL.
CREATE TABLE intent (
    id                  INTEGER PRIMARY KEY AUTOINCREMENT,
    kind                TEXT    NOT NULL CHECK (kind IN ('download', 'append', 'copy')),
    mailbox             INTEGER NOT NULL REFERENCES mailbox (id) ON DELETE CASCADE,
    uid_validity        INTEGER NOT NULL,
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
    target_uid_validity INTEGER
) STRICT;

CREATE TABLE hold (
    id      INTEGER PRIMARY KEY,
    mailbox TEXT,                            -- a name; NULL for the whole account
    side    TEXT    NOT NULL CHECK (side IN ('local', 'remote')),
    reason  TEXT    NOT NULL,
    count   INTEGER NOT NULL,
    since   INTEGER NOT NULL
) STRICT;

CREATE TABLE failure (
    id          INTEGER PRIMARY KEY,
    mailbox     INTEGER NOT NULL REFERENCES mailbox (id) ON DELETE CASCADE,
    unique_name TEXT,
    uid         INTEGER CHECK (uid BETWEEN 1 AND 4294967295),
    code        TEXT    NOT NULL,
    message     TEXT    NOT NULL,
    retry_at    INTEGER
) STRICT;

CREATE INDEX failure_by_mailbox ON failure (mailbox);

CREATE TABLE loss (
    id      INTEGER PRIMARY KEY,
    mailbox INTEGER NOT NULL REFERENCES mailbox (id) ON DELETE CASCADE,
    side    TEXT    NOT NULL CHECK (side IN ('local', 'remote')),
    count   INTEGER NOT NULL,
    at      INTEGER NOT NULL
) STRICT;

-- The index of the recoverable trash.
CREATE TABLE kept (
    kept_as TEXT    NOT NULL PRIMARY KEY,
    mailbox TEXT    NOT NULL,
    file    TEXT    NOT NULL,
    at      INTEGER NOT NULL
) STRICT;

CREATE INDEX kept_by_time ON kept (at);
