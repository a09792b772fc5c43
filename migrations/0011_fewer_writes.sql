-- Written once for many messages, not for each: what is begun, and how many a mailbox has. Never edited once released: changes
-- are new files.

-- The program counts a mailbox's messages itself. Fired for each message, these were a third of what writing it took.
DROP TRIGGER message_added;
DROP TRIGGER message_removed;

-- A row for each message that arrives was another third. Now a row holds many: a JSON array, as state/arrivals.rs reads it.
-- The last of them has the row's id as that of its intent, each before it the id before, the first `first_id`. One that is
-- settled is null there. The columns for one message stay empty.
ALTER TABLE intent ADD COLUMN first_id INTEGER;
ALTER TABLE intent ADD COLUMN messages TEXT;

UPDATE intent SET first_id = id, messages = json_array(json_array(
    uid, unique_name, flags, keywords, tombstone, date, size, iif(content IS NULL, NULL, lower(hex(content))), message_id,
    inode, file_size, mtime_ns, email_id
)) WHERE kind = 'download';
