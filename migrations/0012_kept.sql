-- What is kept in the recoverable trash stays with its folder, whatever that is called now, and keeps its keywords. Never
-- edited once released: changes are new files.

-- The folder's mailbox, as long as there is one; `mailbox` is the name it has, or had last.
ALTER TABLE kept ADD COLUMN folder INTEGER REFERENCES mailbox (id) ON DELETE SET NULL;
-- Separated by spaces. NULL for what was kept before they were written down: then the file's name has letters for them.
ALTER TABLE kept ADD COLUMN keywords TEXT;

UPDATE kept SET folder = (SELECT id FROM mailbox WHERE local = kept.mailbox);
