-- What finding moved and copied messages by the server's own names needs to remember. Never edited once released: changes
-- are new files.

-- A hash of what the server calls a message's content (EMAILID, X-GM-MSGID), never 0. NULL until a look tells it.
ALTER TABLE message ADD COLUMN email_id INTEGER;

-- It comes with a download; of other intents, NULL.
ALTER TABLE intent ADD COLUMN email_id INTEGER;
