//! Which accounts and folders the command line means.

use super::error::Trouble;
use crate::config::{Account, Config};
use crate::model::MailboxName;

/// An account to work on.
#[derive(Debug)]
pub(super) struct Selected<'a> {
    /// The account.
    pub(super) account: &'a Account,
    /// Only these folders; all if empty.
    pub(super) only: Vec<MailboxName>,
}

/// Returns the accounts and folders named as `ACCOUNT` or `ACCOUNT/FOLDER`, in order of first mention; without any, every
/// enabled account. An account named without folder is meant as a whole, whatever else is said.
pub(super) fn targets<'a>(config: &'a Config, named: &[String]) -> Result<Vec<Selected<'a>>, Trouble> {
    if named.is_empty() {
        return enabled(config);
    }
    let mut found: Vec<(&Account, Vec<Option<MailboxName>>)> = Vec::new();
    for target in named {
        let (name, folder) = target.split_once('/').map_or((target.as_str(), None), |(name, rest)| (name, Some(rest)));
        let account = account(config, name)?;
        let folder =
            folder.map(|text| MailboxName::parse(text).ok_or_else(|| Trouble::bad_folder(target))).transpose()?;
        match found.iter_mut().find(|(earlier, _)| earlier.name == account.name) {
            Some((_, folders)) => folders.push(folder),
            None => found.push((account, vec![folder])),
        }
    }
    let whole = |folders: Vec<Option<MailboxName>>| folders.into_iter().collect::<Option<_>>().unwrap_or_default();
    Ok(found.into_iter().map(|(account, folders)| Selected { account, only: whole(folders) }).collect())
}

/// Returns the accounts named; without any, every enabled account.
pub(super) fn accounts<'a>(
    config: &'a Config,
    named: impl IntoIterator<Item = &'a String>,
) -> Result<Vec<&'a Account>, Trouble> {
    let named: Vec<&Account> = named.into_iter().map(|name| account(config, name)).collect::<Result<_, _>>()?;
    match named.is_empty() {
        true => Ok(enabled(config)?.into_iter().map(|selected| selected.account).collect()),
        false => Ok(named),
    }
}

fn account<'a>(config: &'a Config, name: &str) -> Result<&'a Account, Trouble> {
    let known = || config.accounts.iter().map(|account| account.name.as_str());
    config.accounts.iter().find(|account| account.name == name).ok_or_else(|| Trouble::unknown_account(name, known()))
}

fn enabled(config: &Config) -> Result<Vec<Selected<'_>>, Trouble> {
    let accounts = config.accounts.iter().filter(|account| account.enabled);
    let found: Vec<Selected<'_>> = accounts.map(|account| Selected { account, only: Vec::new() }).collect();
    if found.is_empty() { Err(Trouble::none_enabled()) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::paths::Places;

    fn config() -> Config {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.toml");
        let account = |name| format!("[accounts.{name}]\nhost = \"h\"\nuser = \"u\"\npassword_command = \"p\"\n");
        std::fs::write(&file, account("a") + &account("b") + &account("c") + "enabled = false\n").unwrap();
        let places = Places { home: "/home/me".into(), config: file.clone(), state: "/state".into() };
        Config::load(&file, &places).unwrap()
    }

    fn selected(named: &[&str]) -> Result<Vec<String>, &'static str> {
        let named: Vec<String> = named.iter().map(ToString::to_string).collect();
        let config = config();
        let found = targets(&config, &named).map_err(|trouble| trouble.code)?;
        let folders = |only: &[MailboxName]| only.iter().map(MailboxName::as_str).collect::<Vec<_>>().join(",");
        Ok(found.iter().map(|selected| format!("{}:{}", selected.account.name, folders(&selected.only))).collect())
    }

    #[test]
    fn accounts_and_folders_are_gathered() {
        for (named, expected) in [
            (&[][..], &["a:", "b:"][..]),
            (&["c"], &["c:"]),
            (&["b/inbox", "a", "b/x/y"], &["b:INBOX,x/y", "a:"]),
            (&["b/x", "b"], &["b:"]),
            (&["b", "b/x"], &["b:"]),
        ] {
            assert_eq!(selected(named).unwrap(), expected, "{named:?}");
        }
        assert_eq!(selected(&["x"]), Err("unknown-account"));
        assert_eq!(selected(&["a/"]), Err("bad-folder"));
    }
}
