//! `mailtide check --compare` and `--repair`: are both sides and the baseline equal, message by message?

use serde::Serialize;

use crate::cli::connect::connect;
use crate::cli::error::{Rest, Trouble};
use crate::cli::output::Output;
use crate::cli::render::count;
use crate::cli::stop::Stop;
use crate::config::Account;
use crate::cycle::{self, Compared};
use crate::maildir::Maildir;
use crate::model::{Timestamp, Uid};
use crate::reconcile::compare::{Comparison, Difference, Kind, Next};
use crate::state::{Database, Lock};
use crate::store::StateError;

/// How many differences of a folder are shown to people.
const SHOWN: usize = 20;

/// Takes the account's lock. What changes nothing takes only a lock that exists: where there is none, no other run can
/// be under way.
pub(super) fn lock(account: &Account, repair: bool) -> Result<Option<Lock>, Trouble> {
    let writes = repair && account.database.exists();
    if !account.lock.exists() && !writes {
        return Ok(None);
    }
    let lock = Lock::acquire(&account.database).map_err(|error| Trouble::state(account, &error, Rest::Untouched))?;
    lock.map(Some).ok_or_else(|| Trouble::busy(account))
}

/// Compares an account. The caller holds the lock.
pub(super) async fn compare(account: &Account, repair: bool, now: Timestamp, stop: &Stop) -> Result<Compared, Trouble> {
    let stopped = |exit| Trouble::stopped(exit, Rest::Untouched);
    let failed = |error: StateError| Trouble::state(account, &error, Rest::Untouched);
    let journal = match repair && account.database.exists() {
        true => Database::open(&account.database),
        false => Database::for_dry_run(&account.database),
    };
    let (journal, local) = (journal.map_err(failed)?, Maildir::new(account.maildir.clone()));
    let remote = stop.guard(connect(account)).await.map_err(stopped)??;
    let mut sides = cycle::Account { remote, local, journal };
    let comparing = Box::pin(cycle::compare(&mut sides, &account.policy, repair, now));
    let compared = stop.guard(comparing).await.map_err(stopped)?;
    let compared = compared.map_err(|failure| Trouble::failure(account, &failure, Rest::Untouched))?;
    // What is found is found: a signal only cuts the farewell short.
    stop.guard(sides.remote.logout()).await.ok();
    Ok(compared)
}

/// Returns what is to be said on account of what differs.
pub(super) fn trouble(account: &str, compared: &Compared) -> Option<Trouble> {
    let of = |next: Next| compared.all().filter(|difference| difference.next == next).count() as u64;
    let edited = compared.all().filter(|one| (one.kind, one.next) == (Kind::Replaced, Next::Sync)).count() as u64;
    let parts = [
        (of(Next::Sync) - edited, "that the next sync deals with"),
        (edited, "that a full sync deals with"),
        (of(Next::Repair), "of the database alone"),
        (of(Next::Nothing), "that no sync changes"),
        (of(Next::Unknown), "that could not be compared"),
    ];
    let words: Vec<String> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    let hint = match compared.repaired {
        _ if words.is_empty() => return None,
        Some((0, 0)) | None if of(Next::Repair) > 0 => {
            format!("mailtide check --repair {account}; if a sync was interrupted, mailtide sync {account} before that")
        }
        _ if edited > 0 => format!("mailtide sync --full {account}, then compare again"),
        _ if of(Next::Sync) > 0 || of(Next::Repair) > 0 => {
            format!("mailtide sync {account}, then compare again")
        }
        _ => "what is said of each tells what can be done about it; --json lists all".to_owned(),
    };
    let total = count(compared.all().count() as u64, "difference", "differences");
    let did = match compared.repaired {
        Some((rows, folders)) if folders > 0 => {
            format!("; no mail was changed, {}", repaired(rows, folders))
        }
        _ => "; nothing was changed".to_owned(),
    };
    Some(Trouble::differences(format!("{total}: {}{did}", words.join(", ")), hint))
}

fn repaired(rows: u64, folders: u64) -> String {
    let folders = count(folders, "folder", "folders");
    match rows {
        0 => format!("the next sync looks at all of {folders}"),
        _ => {
            let entries = count(rows, "wrong entry", "wrong entries");
            format!("taken out of the database: {entries} in {folders}, which the next sync matches anew")
        }
    }
}

/// Prints what was found, folder by folder.
pub(super) fn print(output: &Output, compared: &Compared) {
    print_some(output, &compared.differences, "  ");
    for (name, comparison) in &compared.folders {
        output.say(format_args!("  {name}: {}", line(comparison)));
        print_some(output, &comparison.differences, "    ");
    }
    if let Some((rows, folders)) = compared.repaired.filter(|(_, folders)| *folders > 0) {
        output.say(format_args!("  {}; run mailtide sync", repaired(rows, folders)));
    }
}

fn print_some(output: &Output, differences: &[Difference], indent: &str) {
    for difference in differences.iter().take(SHOWN) {
        output.say(format_args!("{indent}{difference}"));
    }
    if let Some(more) = differences.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        output.say(format_args!("{indent}and {} more", grouped(more as u64)));
    }
}

fn line(comparison: &Comparison) -> String {
    let Comparison { equal, tombstones, confined, dates, differences } = comparison;
    let noun = if *equal == 1 { "message" } else { "messages" };
    let mut line = format!("{} {noun} equal", grouped(*equal));
    for (n, what) in [
        (*confined, "with flags that the other side can't have"),
        (*dates, "of another date on each side ever since"),
        (*tombstones, "left on the server and not wanted here"),
    ] {
        if n > 0 {
            line = format!("{line}, {} {what}", grouped(n));
        }
    }
    match differences.len() as u64 {
        0 => line,
        n => format!("{line}, {}", count(n, "difference", "differences")),
    }
}

/// Writes a number with a comma before every three digits.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `compared`
#[derive(Debug, Serialize)]
pub(super) struct ComparedJson {
    folders: u64,
    equal: u64,
    tombstones: u64,
    confined: u64,
    dates: u64,
    repaired: Option<u64>,
}

/// `differences[]`
#[derive(Debug, Serialize)]
pub(super) struct DifferenceJson {
    code: &'static str,
    next: &'static str,
    folder: Option<String>,
    path: Option<String>,
    uid: Option<u32>,
    message: String,
}

impl ComparedJson {
    /// Returns the counts.
    pub(super) fn of(compared: &Compared) -> Self {
        let sum = |count: fn(&Comparison) -> u64| compared.folders.iter().map(|(_, folder)| count(folder)).sum();
        Self {
            folders: compared.folders.len() as u64,
            equal: sum(|folder| folder.equal),
            tombstones: sum(|folder| folder.tombstones),
            confined: sum(|folder| folder.confined),
            dates: sum(|folder| folder.dates),
            repaired: compared.repaired.map(|(rows, _)| rows),
        }
    }
}

impl DifferenceJson {
    /// Returns a difference.
    pub(super) fn of(difference: &Difference) -> Self {
        Self {
            code: difference.kind.as_str(),
            next: difference.next.as_str(),
            folder: difference.folder.as_ref().map(ToString::to_string),
            path: difference.path.clone(),
            uid: difference.uid.map(Uid::get),
            message: difference.message.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::exit::Exit;
    use crate::model::MailboxName;

    fn compared(nexts: &[Next], repaired: Option<(u64, u64)>) -> Compared {
        let differences = nexts.iter().map(|next| Difference::new(Kind::Flags, *next, "x")).collect();
        let folder = Comparison { equal: 1234, tombstones: 1, differences, ..Comparison::default() };
        Compared { folders: vec![(MailboxName::inbox(), folder)], differences: Vec::new(), repaired }
    }

    #[test]
    fn a_folder_in_step_is_told_in_a_line() {
        let (_, folder) = compared(&[], None).folders.remove(0);
        assert_eq!(line(&folder), "1,234 messages equal, 1 left on the server and not wanted here");
        assert_eq!([0, 12, 999, 1000, 1_234_567].map(grouped), ["0", "12", "999", "1,000", "1,234,567"]);
        assert_eq!(trouble("work", &compared(&[], None)), None);
    }

    #[test]
    fn what_differs_ends_with_1_and_says_what_to_do() {
        for (nexts, repaired, message, hint) in [
            (&[Next::Sync, Next::Sync][..], None, "2 differences: 2 that the next sync deals with; nothing", "sync"),
            (&[Next::Repair], None, "1 difference: 1 of the database alone; nothing", "check --repair work"),
            (&[Next::Repair], Some((1, 1)), "1 difference: 1 of the database alone; no mail", "sync work, then"),
            (&[Next::Unknown], None, "1 difference: 1 that could not be compared; nothing was changed", "--json"),
        ] {
            let trouble = trouble("work", &compared(nexts, repaired)).unwrap();
            assert_eq!((trouble.exit, trouble.code), (Exit::Partial, "differences"));
            assert!(trouble.message.starts_with(message), "{}", trouble.message);
            assert!(trouble.hint.contains(hint), "{}", trouble.hint);
        }
    }

    #[test]
    fn an_edited_file_takes_a_full_sync() {
        let mut compared = compared(&[Next::Sync, Next::Sync], None);
        compared.folders[0].1.differences[1].kind = Kind::Replaced;
        let trouble = trouble("work", &compared).unwrap();
        let words =
            "2 differences: 1 that the next sync deals with, 1 that a full sync deals with; nothing was changed";
        assert_eq!((trouble.message.as_str(), trouble.hint.contains("sync --full work")), (words, true));
    }
}
