-- What never losing the thread needs to remember. Never edited once released: changes are new files.

-- Whose mail the baseline speaks of. NULL until a run has noted it.
ALTER TABLE account ADD COLUMN server TEXT;  -- user and host
ALTER TABLE account ADD COLUMN layout TEXT;
ALTER TABLE account ADD COLUMN root TEXT;    -- a path
-- What the marker bears since the last run, and what it is about to: of two copies that went on separately, only one's.
ALTER TABLE account ADD COLUMN token TEXT NOT NULL DEFAULT '';
ALTER TABLE account ADD COLUMN next_token TEXT NOT NULL DEFAULT '';
-- Whether both sides were ever united as a whole.
ALTER TABLE account ADD COLUMN united INTEGER NOT NULL DEFAULT 0 CHECK (united IN (0, 1));
UPDATE account SET united = last_success IS NOT NULL;

-- The change of flags that the server did not take, signed: +\Seen -work. Empty for other failures.
ALTER TABLE failure ADD COLUMN flags TEXT NOT NULL DEFAULT '';

-- A message that was saved again is a tombstone until the new version is proven to be on the server.
CREATE TABLE message_new (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    mailbox     INTEGER NOT NULL REFERENCES mailbox (id) ON DELETE CASCADE,
    uid         INTEGER NOT NULL CHECK (uid BETWEEN 1 AND 4294967295),
    unique_name TEXT,
    flags       INTEGER NOT NULL CHECK (flags BETWEEN 0 AND 31),
    keywords    TEXT    NOT NULL,
    tombstone   TEXT    CHECK (tombstone IN ('flagged', 'kept', 'waiting', 'replaced')),
    date        INTEGER,
    size        INTEGER,
    content     BLOB    CHECK (length(content) = 16),
    message_id  INTEGER,
    inode       INTEGER,
    file_size   INTEGER,
    mtime_ns    INTEGER,
    replaced_by TEXT,                        -- the unique name of the new version
    UNIQUE (mailbox, uid),
    UNIQUE (mailbox, unique_name),
    CHECK ((unique_name IS NULL) = (tombstone IS NOT NULL)),
    CHECK ((replaced_by IS NOT NULL) = (tombstone IS 'replaced'))
) STRICT;

INSERT INTO message_new SELECT *, NULL FROM message;
-- Row ids go on from where they were.
DELETE FROM sqlite_sequence WHERE name = 'message_new';
INSERT INTO sqlite_sequence (name, seq) SELECT 'message_new', seq FROM sqlite_sequence WHERE name = 'message';
DROP TABLE message;
ALTER TABLE message_new RENAME TO message;

CREATE TRIGGER message_added AFTER INSERT ON message BEGIN
    UPDATE mailbox SET message_rows = message_rows + 1 WHERE id = NEW.mailbox;
END;
CREATE TRIGGER message_removed AFTER DELETE ON message BEGIN
    UPDATE mailbox SET message_rows = message_rows - 1 WHERE id = OLD.mailbox;
END;

-- Drafts are saved in place, which no directory's times show: they are looked at one by one.
CREATE INDEX message_draft ON message (mailbox) WHERE flags & 16;

-- What can be brought back has a number for the user, and the run that removed it.
CREATE TABLE kept_new (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    kept_as TEXT    NOT NULL UNIQUE,
    mailbox TEXT    NOT NULL,
    file    TEXT    NOT NULL,
    at      INTEGER NOT NULL,
    run     INTEGER NOT NULL
) STRICT;

INSERT INTO kept_new (kept_as, mailbox, file, at, run) SELECT kept_as, mailbox, file, at, 0 FROM kept ORDER BY at;
DROP TABLE kept;
ALTER TABLE kept_new RENAME TO kept;
CREATE INDEX kept_by_time ON kept (at);

-- How the flags that a message is sent with differ from those that its row gets; of other intents, NULL.
ALTER TABLE intent ADD COLUMN difference TEXT;

-- What a folder lost counts for a day, even if the folder goes with the last of it.
CREATE TABLE loss_new (
    id      INTEGER PRIMARY KEY,
    mailbox INTEGER NOT NULL,                -- of a row that may be gone: its id never names another
    side    TEXT    NOT NULL CHECK (side IN ('local', 'remote')),
    count   INTEGER NOT NULL,
    at      INTEGER NOT NULL
) STRICT;

INSERT INTO loss_new SELECT * FROM loss;
DROP TABLE loss;
ALTER TABLE loss_new RENAME TO loss;
