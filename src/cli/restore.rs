//! `mailtide restore`: lists what sync removed from the Maildir, and brings it back.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::args::{self, Globals};
use super::error::{Rest, Trouble};
use super::exit::Exit;
use super::headers::Headers;
use super::json::{self, ErrorJson};
use super::output::Output;
use super::render::{count, moment, table};
use super::shelf::{Filter, Id, Item, Places, Shelf};
use super::stop::Stop;
use super::{configuration, run_all, select};
use crate::config::{Account, Config};
use crate::cycle::restore::bring_back;
use crate::maildir::Maildir;
use crate::model::MailboxName;
use crate::state::Database;
use crate::store::{Journal, LocalStore, Root, StateError, Trashed};

/// So much of a message is read for its header.
const BEGINNING: u64 = 64 * 1024;

/// So many messages are brought back between two looks for a signal.
const BATCH: usize = 500;

/// Characters of a field that a line shows.
const SHOWN: usize = 50;

/// A message as it is told of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Told {
    id: String,
    run: Option<u64>,
    folder: Option<String>,
    removed_at: String,
    /// The name its file had, or has again.
    file: Option<String>,
    /// Where the file is in the recoverable trash, or was.
    path: String,
    size: Option<u64>,
    subject: Option<String>,
    from: Option<String>,
    date: Option<String>,
    restored: bool,
}

/// What is to be told of an account.
#[derive(Debug)]
struct Answer {
    name: String,
    items: Vec<Told>,
    /// Folders that got messages back and take no part in syncing.
    left_out: BTreeSet<MailboxName>,
    troubles: Vec<Trouble>,
}

#[derive(Debug, Serialize)]
struct AnswerJson {
    name: String,
    status: &'static str,
    exit_code: u8,
    items: Vec<Told>,
    errors: Vec<ErrorJson>,
}

/// An account at which was looked.
struct Looked<'a> {
    account: &'a Account,
    shelf: Shelf,
}

/// Runs the command.
pub(super) fn main(args: &args::Restore, globals: &Globals, output: &Output) -> Exit {
    let started = Utc::now();
    let (answers, errors) = match run(args, globals, started) {
        Ok(answers) => answers,
        Err(trouble) => (Vec::new(), vec![trouble]),
    };
    let exit = Exit::of_all(answers.iter().map(Answer::exit).chain(errors.iter().map(|trouble| trouble.exit)));
    if args.json {
        json::print(output, started, exit, &errors, answers.into_iter().map(Answer::json).collect());
        return exit;
    }
    for answer in &answers {
        answer.print(output, !args.ids.is_empty());
    }
    output.complain(None, &errors);
    exit
}

/// A message to be brought back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wanted<'a> {
    item: &'a Item,
    /// By its own ID, not as one of many.
    named: bool,
}

type Answers = (Vec<Answer>, Vec<Trouble>);

fn run(args: &args::Restore, globals: &Globals, now: DateTime<Utc>) -> Result<Answers, Trouble> {
    let config = configuration(globals)?;
    let task = async |stop: Stop| answer(args, &config, now, &stop).await;
    run_all(|stop| vec![task(stop.clone())])?.pop().unwrap_or_else(|| Ok((Vec::new(), Vec::new())))
}

async fn answer(args: &args::Restore, config: &Config, now: DateTime<Utc>, stop: &Stop) -> Result<Answers, Trouble> {
    let accounts = select::accounts(config, &args.account)?;
    let filter = Filter::new(args.folder.as_ref(), args.since, now);
    let (mut found, mut answers) = (Vec::new(), Vec::new());
    for account in accounts {
        checkpoint(stop).await?;
        match Shelf::open(account) {
            Ok(shelf) => found.push(Looked { account, shelf }),
            Err(trouble) => answers.push(Answer { troubles: vec![trouble], ..Answer::new(account) }),
        }
    }
    if args.ids.is_empty() {
        answers.extend(found.iter().map(|looked| looked.list(&filter)));
        return Ok((answers, Vec::new()));
    }
    if !answers.is_empty() {
        // An ID could mean something in the account that could not be looked at.
        let exit = Exit::of_all(answers.iter().map(Answer::exit));
        return Ok((answers, vec![Trouble::restore_not_begun(exit)]));
    }
    let wanted = resolve(args, &found, &filter)?;
    for (looked, items) in found.iter().zip(wanted) {
        answers.push(looked.bring_back(args, items, stop).await);
    }
    Ok((answers, Vec::new()))
}

/// Ends the command if a signal asks for it.
async fn checkpoint(stop: &Stop) -> Result<(), Trouble> {
    stop.guard(tokio::task::yield_now()).await.map_err(Trouble::restore_stopped)
}

/// Returns what the IDs mean in each account: each of them something, and a single message or run in one account only.
fn resolve<'a>(
    args: &args::Restore,
    found: &'a [Looked<'_>],
    filter: &Filter,
) -> Result<Vec<Vec<Wanted<'a>>>, Trouble> {
    let mut wanted: Vec<Vec<Wanted<'_>>> = found.iter().map(|_| Vec::new()).collect();
    for id in &args.ids {
        let meant: Vec<Vec<&Item>> = found.iter().map(|looked| looked.shelf.find(id, filter)).collect();
        let holders: Vec<&str> = found
            .iter()
            .zip(&meant)
            .filter(|(_, items)| !items.is_empty())
            .map(|(looked, _)| looked.account.name.as_str())
            .collect();
        match holders.len() {
            0 => return Err(Trouble::unknown_id(id, filter)),
            1 => {}
            _ if *id == Id::All => {}
            _ => return Err(Trouble::ambiguous_id(id, &holders)),
        }
        for (wanted, items) in wanted.iter_mut().zip(meant) {
            for item in items {
                if item.folder.is_none() && args.folder.is_none() {
                    return Err(Trouble::no_folder(id));
                }
                let named = matches!(id, Id::Number(_) | Id::File(_));
                match wanted.iter_mut().find(|earlier| earlier.item == item) {
                    Some(earlier) => earlier.named |= named,
                    None => wanted.push(Wanted { item, named }),
                }
            }
        }
    }
    Ok(wanted)
}

impl Looked<'_> {
    fn list(&self, filter: &Filter) -> Answer {
        let maildir = Maildir::new(self.account.maildir.clone());
        let items = self.shelf.list(filter).map(|item| Told::of(item, self.account, &maildir)).collect();
        Answer { items, ..Answer::new(self.account) }
    }

    async fn bring_back(&self, args: &args::Restore, items: Vec<Wanted<'_>>, stop: &Stop) -> Answer {
        let mut answer = Answer::new(self.account);
        if !items.is_empty()
            && let Err(trouble) = self.work(args, &items, stop, &mut answer).await
        {
            answer.troubles.push(trouble);
        }
        answer
    }

    /// Does the work; an error ended it early.
    async fn work(
        &self,
        args: &args::Restore,
        items: &[Wanted<'_>],
        stop: &Stop,
        answer: &mut Answer,
    ) -> Result<(), Trouble> {
        let account = self.account;
        let mut maildir = Maildir::new(account.maildir.clone());
        let root = maildir.root().map_err(|error| Trouble::local(account, &error, Rest::Untouched))?;
        // On a mount point whose file system is missing, a root must not come into being.
        if !matches!(root, Root::Marked(_)) {
            return Err(Trouble::no_root(account));
        }
        let opened = match account.database.exists() {
            true => Database::open(&account.database),
            false => Database::in_memory(),
        };
        let mut database = opened.map_err(|error| Trouble::state(account, &error, Rest::Untouched))?;
        let places = match items.iter().all(|wanted| wanted.named) {
            true => Places::new(),
            false => places(&mut database).map_err(|error| Trouble::state(account, &error, Rest::Untouched))?,
        };
        let mut moved = Vec::new();
        for batch in items.chunks(BATCH) {
            checkpoint(stop).await?;
            let is_moved = |wanted: &&Wanted<'_>| !wanted.named && wanted.item.is_elsewhere(&maildir, &places);
            let (away, batch): (Vec<&Wanted<'_>>, Vec<&Wanted<'_>>) = batch.iter().partition(is_moved);
            moved.extend(away.iter().map(|wanted| &wanted.item.id));
            let batch: Vec<&Item> = batch.iter().map(|wanted| wanted.item).collect();
            let wanted: Vec<Trashed> =
                batch.iter().filter_map(|item| self.shelf.wanted(account, item, args.folder.as_ref())).collect();
            let told: Vec<Told> = batch.iter().map(|item| Told::of(item, account, &maildir)).collect();
            let done = bring_back(&mut maildir, &mut database, &wanted);
            for (item, told) in batch.iter().zip(told) {
                if let Some(back) = done.restored.iter().find(|back| back.kept.kept_as == item.kept_as) {
                    let place = item.folder.as_ref().or(args.folder.as_ref());
                    answer.left_out.extend(place.filter(|place| !self.shelf.takes_part(account, place)).cloned());
                    let folder = told.folder.or_else(|| args.folder.as_ref().map(ToString::to_string));
                    answer.items.push(Told { folder, file: Some(back.unique.to_string()), restored: true, ..told });
                }
            }
            answer.troubles.extend(done.problems.iter().map(Trouble::problem));
            if let Some(failure) = done.failure {
                return Err(Trouble::failure(account, &failure, Rest::UnderWay));
            }
        }
        answer.troubles.extend((!moved.is_empty()).then(|| Trouble::elsewhere(&moved)));
        Ok(())
    }
}

/// Returns where both sides have what, by the local names.
fn places(database: &mut Database) -> Result<Places, StateError> {
    let mut places = Places::new();
    for row in database.mailboxes()? {
        for message in database.messages(row.id)? {
            if let (Some(content), Some(unique)) = (message.content, message.unique) {
                places.entry(content).or_default().push((row.local.clone(), unique));
            }
        }
    }
    Ok(places)
}

impl Told {
    /// A message whose header can't be read is told of without.
    fn of(item: &Item, account: &Account, maildir: &Maildir) -> Self {
        let content = maildir.kept_beginning(&item.kept_as, BEGINNING).unwrap_or_else(|error| {
            tracing::warn!("{error}");
            None
        });
        let size = content.as_ref().map(|(size, _)| *size);
        let Headers { subject, from, date } = content.map(|(_, beginning)| Headers::of(&beginning)).unwrap_or_default();
        Self {
            id: item.id.to_string(),
            run: item.run,
            folder: item.folder.as_ref().map(ToString::to_string),
            removed_at: moment(item.at),
            file: Some(item.file.clone()).filter(|file| !file.is_empty()),
            path: account.maildir.trash.join(&item.kept_as).display().to_string(),
            size,
            subject,
            from,
            date,
            restored: false,
        }
    }

    fn row(&self) -> Vec<String> {
        let run = self.run.map_or_else(|| "-".to_owned(), |run| format!("run-{run}"));
        let folder = self.folder.clone().unwrap_or_else(|| "(folder unknown)".to_owned());
        let short = |field: &Option<String>| shortened(field.as_deref().unwrap_or("-"));
        vec![self.id.clone(), run, self.removed_at.clone(), folder, short(&self.from), short(&self.subject)]
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

impl Answer {
    fn new(account: &Account) -> Self {
        Self { name: account.name.clone(), items: Vec::new(), left_out: BTreeSet::new(), troubles: Vec::new() }
    }

    fn names(&self) -> String {
        self.left_out.iter().map(MailboxName::as_str).collect::<Vec<_>>().join(", ")
    }

    fn exit(&self) -> Exit {
        Exit::of_all(self.troubles.iter().map(|trouble| trouble.exit))
    }

    fn json(self) -> AnswerJson {
        let exit = self.exit();
        AnswerJson {
            name: self.name,
            status: exit.status(),
            exit_code: exit.code(),
            items: self.items,
            errors: self.troubles.iter().map(ErrorJson::of).collect(),
        }
    }

    fn print(&self, output: &Output, restoring: bool) {
        let messages = count(self.items.len() as u64, "message", "messages");
        match (self.items.is_empty(), restoring) {
            (true, true) if self.troubles.is_empty() => {}
            (true, true) => output.say(format_args!("{}: nothing brought back", self.name)),
            (false, true) => {
                let uploads = match self.left_out.is_empty() {
                    true => "the next sync uploads what is new".to_owned(),
                    false => format!("no sync uploads what is in {}, which the configuration leaves out", self.names()),
                };
                output.say(format_args!("{}: {messages} brought back; {uploads}", self.name));
            }
            (true, false) if !self.troubles.is_empty() => {}
            (true, false) => output.say(format_args!("{}: nothing to bring back", self.name)),
            (false, false) => {
                output.say(format_args!("{}: {messages} can be brought back", self.name));
                let head = ["ID", "RUN", "REMOVED", "FOLDER", "FROM", "SUBJECT"].map(String::from).to_vec();
                let rows: Vec<Vec<String>> = std::iter::once(head).chain(self.items.iter().map(Told::row)).collect();
                for line in table(&rows) {
                    output.say(format_args!("  {line}"));
                }
            }
        }
        output.complain(Some(&self.name), &self.troubles);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_fields_are_cut_between_characters() {
        assert_eq!(shortened(&"ä".repeat(50)), "ä".repeat(50));
        assert_eq!(shortened(&"ä".repeat(51)), "ä".repeat(50) + "…");
    }
}
