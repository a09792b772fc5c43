-- When the server is to be asked again how full the account is. Never edited once released: changes are new files.

-- Seconds since 1970. NULL where nothing has changed since it was asked.
ALTER TABLE account ADD COLUMN quota_due INTEGER;
