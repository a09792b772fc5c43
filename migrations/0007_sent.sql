-- What sending a message that the server won't move needs to remember. Never edited once released: changes are new files.

-- The row that it has where it was, and leaves once it is sent; of other intents, NULL. No row's id is used again.
ALTER TABLE intent ADD COLUMN leaves INTEGER;
