-- How full the account is on the server, as it said last. Never edited once released: changes are new files.

-- In bytes, and in messages. NULL where the server tells of no limit.
ALTER TABLE account ADD COLUMN storage_used INTEGER;
ALTER TABLE account ADD COLUMN storage_limit INTEGER;
ALTER TABLE account ADD COLUMN messages_used INTEGER;
ALTER TABLE account ADD COLUMN messages_limit INTEGER;
