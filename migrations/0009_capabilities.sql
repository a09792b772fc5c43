-- What the server said it can do when last asked, so that the next run can ask before it is told. Never edited once
-- released: changes are new files.

-- Words, with a space between; none before the first run. `!AHEAD`: it can't stand what comes before it has said so.
ALTER TABLE account ADD COLUMN capabilities TEXT NOT NULL DEFAULT '';
