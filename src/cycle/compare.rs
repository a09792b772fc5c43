//! Compares both sides and the baseline as a whole, and lets go of rows that are wrong if asked to.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::task::Poll;

use super::root::is_ours;
use super::{Account, Run};
use crate::apply::is_fatal;
use crate::model::{
    Circumstances, FailureCode, KeywordLetters, MailboxId, MailboxName, MailboxRow, MessageRow, PermanentFlags, Role,
    Timestamp, UidSet, UniqueName,
};
use crate::reconcile::compare::{Comparison, Difference, Evidence, Kind, Next, Reading, Refused};
use crate::reconcile::flags::FlagRules;
use crate::reconcile::mailboxes::{Fate, Folder, infer_roles, pair_folders};
use crate::reconcile::policy::{Options, Policy};
use crate::reconcile::snapshot::{LocalListing, LocalSnapshot, RemoteMessages, RemoteRequest, RemoteSnapshot};
use crate::store::{
    Edit, Failure, Header, Intent, Journal, LocalErrorKind, LocalStore, Record, RemoteError, RemoteStore, Root,
};

/// How often, in files read, whoever waits for a signal is let in.
const BREATH: usize = 256;

/// How an account compares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compared {
    /// The folders that take part, by their server names.
    pub folders: Vec<(MailboxName, Comparison)>,
    /// What differs in the account as a whole.
    pub differences: Vec<Difference>,
    /// Rows that were forgotten, and folders that the next sync looks at as a whole; `None` if none was to be.
    pub repaired: Option<(u64, u64)>,
}

impl Compared {
    /// Returns everything that differs.
    pub fn all(&self) -> impl Iterator<Item = &Difference> {
        self.differences.iter().chain(self.folders.iter().flat_map(|(_, folder)| &folder.differences))
    }
}

/// Compares an account's sides and baseline, message by message. Nothing is changed, but with `repair` the baseline:
/// rows that are wrong are forgotten, and their folders are looked at as a whole by the next sync, which matches by
/// content.
///
/// # Errors
/// What concerns the whole account.
pub async fn compare<R: RemoteStore, L: LocalStore, J: Journal>(
    account: &mut Account<R, L, J>,
    policy: &Policy,
    repair: bool,
    now: Timestamp,
) -> Result<Compared, Failure> {
    let (options, progress) = (Options { dry_run: true, ..Options::default() }, |_| ());
    let mut run = Run::new(account, policy, &options, now, &progress);
    let mut compared = Compared::default();
    if run.compare_all(&mut compared).await? && repair {
        compared.repaired = Some(run.repair(&compared)?);
    }
    Ok(compared)
}

impl<R: RemoteStore, L: LocalStore, J: Journal> Run<'_, R, L, J> {
    /// Returns true if what was found may be repaired.
    async fn compare_all(&mut self, compared: &mut Compared) -> Result<bool, Failure> {
        let header = self.account.journal.header()?;
        let root = self.account.local.root()?;
        if let Some(difference) = self.other_root(&header, &root) {
            compared.differences.push(difference);
            return Ok(false);
        }
        let mut listing = self.account.remote.list().await?;
        infer_roles(&mut listing);
        self.abilities = listing.abilities;
        self.refuse_clashes(&listing)?;
        let maildirs = match root {
            Root::Missing => LocalListing::default(),
            Root::Unmarked { .. } | Root::Marked(_) => self.account.local.list()?,
        };
        let rejected = listing.rejected.iter().chain(&maildirs.rejected);
        compared.differences.extend(rejected.map(|(name, why)| unusable(name, why)));
        let rows = self.account.journal.mailboxes()?;
        let intents = self.account.journal.intents()?;
        compared.differences.extend(intents.iter().map(|(_, intent)| in_doubt(intent, &rows)));
        for folder in pair_folders(&rows, &listing, &maildirs, &self.policy.scope) {
            let row = rows.iter().find(|row| row.name == folder.name);
            let comparison = self.compare_folder(&folder, row).await?;
            compared.folders.push((folder.name, comparison));
        }
        // What a leftover intent means is found out with the rows as they are.
        Ok(intents.is_empty())
    }

    /// A database without a run speaks of no Maildir yet.
    fn other_root(&self, header: &Header, root: &Root) -> Option<Difference> {
        match root {
            _ if header.run == 0 => None,
            Root::Marked(marker) if is_ours(header, marker) && !self.is_elsewhere(header) => None,
            Root::Marked(_) => {
                let message = "the database speaks of another state of the Maildir, or of another server or layout, so \
                               nothing could be compared; the next sync matches all messages by their content and removes none";
                Some(Difference::new(Kind::Root, Next::Unknown, message))
            }
            Root::Missing | Root::Unmarked { .. } => {
                let message =
                    "the Maildir is missing, not mounted or not the one of before, so nothing could be compared";
                Some(Difference::new(Kind::Root, Next::Unknown, message))
            }
        }
    }

    fn is_elsewhere(&self, header: &Header) -> bool {
        let now = &self.policy.circumstances;
        let differ = |before: &Circumstances| (&before.server, &before.layout) != (&now.server, &now.layout);
        header.circumstances.as_ref().is_some_and(differ)
    }

    async fn compare_folder(&mut self, folder: &Folder, row: Option<&MailboxRow>) -> Result<Comparison, Failure> {
        if let Some(difference) = unpaired(folder, row) {
            return Ok(Comparison::only(difference.of_folder(&folder.name)));
        }
        match self.look_at_both(folder, row).await {
            Ok(comparison) => Ok(comparison),
            Err(Failure::Remote(error)) if !is_fatal(&error) => Ok(Comparison::only(unseen(&folder.name, &error))),
            Err(Failure::Local(error)) if error.kind == LocalErrorKind::Item => {
                Ok(Comparison::only(unseen(&folder.name, &error)))
            }
            Err(failure) => Err(failure),
        }
    }

    async fn look_at_both(&mut self, folder: &Folder, row: Option<&MailboxRow>) -> Result<Comparison, Failure> {
        let none = KeywordLetters::new();
        let scan = self.account.local.observe(&folder.local, row.map_or(&none, |row| &row.letters))?;
        let remote = self.look_in_full(&folder.name).await?;
        let rows = self.rows(row)?;
        let rules = self.rules(row, &remote, folder.role);
        let (files, refused) = (self.read(folder, &scan).await?, self.refused(row)?);
        let (headers, bodies) = Default::default();
        let (folder, validity) = (&folder.name, remote.uid_validity());
        let mut evidence =
            Evidence { folder, row, rows: &rows, scan: &scan, remote: &remote, rules, files, headers, bodies, refused };
        if row.is_some_and(|row| row.uid_validity == Some(validity)) {
            let (pairs, remote) = (evidence.pairs(), &mut self.account.remote);
            if !pairs.is_empty() {
                evidence.headers = remote.identify(folder, validity, &pairs, false).await?;
            }
            let doubtful = evidence.doubtful();
            if !doubtful.is_empty() {
                evidence.bodies = remote.identify(folder, validity, &doubtful, true).await?;
            }
        }
        Ok(evidence.compare())
    }

    async fn look_in_full(&mut self, name: &MailboxName) -> Result<RemoteSnapshot, Failure> {
        let request = RemoteRequest { mailbox: name.clone(), since: None, known: UidSet::new() };
        let seen = self.account.remote.observe(&[request]).await?.pop().map(|observed| observed.outcome);
        match seen {
            Some(Ok(snapshot)) if matches!(snapshot.messages, RemoteMessages::Full(_)) => Ok(snapshot),
            Some(Err(error)) => Err(error.into()),
            Some(Ok(_)) | None => Err(unanswered().into()),
        }
    }

    fn rows(&mut self, row: Option<&MailboxRow>) -> Result<Vec<MessageRow>, Failure> {
        Ok(match row {
            Some(row) => self.account.journal.messages(row.id)?,
            None => Vec::new(),
        })
    }

    fn rules(&self, row: Option<&MailboxRow>, remote: &RemoteSnapshot, role: Option<Role>) -> FlagRules {
        let (permanent, read_only) = (remote.permanent.clone(), remote.read_only);
        match row {
            Some(row) => self.flag_rules(&MailboxRow { permanent, read_only, ..row.clone() }, role),
            None => FlagRules { deleted_is_local: false, permanent: PermanentFlags::all(), read_only },
        }
    }

    /// Reads every file whole.
    async fn read(&mut self, folder: &Folder, scan: &LocalSnapshot) -> Result<BTreeMap<UniqueName, Reading>, Failure> {
        let mut files = BTreeMap::new();
        for (at, (unique, entry)) in scan.entries.iter().enumerate() {
            if at % BREATH == BREATH - 1 {
                breathe().await;
            }
            let reading = match self.account.local.identify(&folder.local, unique, entry) {
                Ok(Edit::Done((identity, _))) => Reading::Content(identity),
                Ok(Edit::Changed) => Reading::Failed("it changed while it was looked at".to_owned()),
                Err(error) if error.kind == LocalErrorKind::NoMessage => Reading::Empty,
                Err(error) if error.kind == LocalErrorKind::Item => Reading::Failed(error.to_string()),
                Err(error) => return Err(error.into()),
            };
            files.insert(unique.clone(), reading);
        }
        Ok(files)
    }

    fn refused(&mut self, row: Option<&MailboxRow>) -> Result<Refused, Failure> {
        let Some(row) = row else { return Ok(Refused::default()) };
        let mut refused = Refused::default();
        for failure in self.account.journal.failures(row.id)? {
            // Whether a folder can be changed is seen now.
            if failure.code.is_found_anew() && failure.code != FailureCode::RemovalUnsupported {
                continue;
            }
            match failure.unique {
                // A change whose time has come is tried again by the next sync.
                Some(_) if !failure.flags.is_empty() && failure.is_due(self.now) => {}
                Some(unique) if !failure.flags.is_empty() => {
                    refused.flags.insert(unique, (failure.flags, failure.message));
                }
                Some(unique) => drop(refused.files.insert(unique, failure.message)),
                None => refused.messages.extend(failure.uid.map(|uid| (uid, failure.message))),
            }
        }
        Ok(refused)
    }

    /// Forgets the rows that are wrong, and asks for a look at everything in their folders. Returns how many of each.
    fn repair(&mut self, compared: &Compared) -> Result<(u64, u64), Failure> {
        let (mut records, mut forgotten, mut folders) = (Vec::new(), 0, BTreeSet::<MailboxId>::new());
        for row in self.account.journal.mailboxes()? {
            let found = compared.folders.iter().find(|(name, _)| *name == row.name);
            let Some((wrong, true)) = found.map(|(_, comparison)| comparison.repairs()) else { continue };
            forgotten += wrong.len() as u64;
            records.extend(wrong.into_iter().map(Record::Forget));
            let (permanent, read_only) = (row.permanent, row.read_only);
            records.push(Record::Looked { mailbox: row.id, watermark: None, permanent, read_only, full_look: None });
            records.push(Record::Scanned(row.id, None));
            folders.insert(row.id);
        }
        if !records.is_empty() {
            self.account.journal.commit(&records)?;
        }
        Ok((forgotten, folders.len() as u64))
    }
}

/// Lets others on this thread go on for a moment.
async fn breathe() {
    let mut breathed = false;
    poll_fn(|context| match std::mem::replace(&mut breathed, true) {
        true => Poll::Ready(()),
        false => {
            context.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await;
}

/// Returns what differs if there are not two folders that can be compared.
fn unpaired(folder: &Folder, row: Option<&MailboxRow>) -> Option<Difference> {
    let (kind, next, message) = match folder.fate {
        Fate::Paired | Fate::GoneLocal if row.is_some_and(|row| row.local != folder.local) => {
            let message = "the database knows this folder under another local name, so it could not be compared; the \
                           next sync renames its directory, or says why not";
            (Kind::FolderMoved, Next::Unknown, message)
        }
        Fate::Paired => return None,
        Fate::CreateLocal => (Kind::FolderOnlyThere, Next::Sync, "only on the server; the next sync brings it here"),
        Fate::CreateRemote => {
            (Kind::FolderOnlyHere, Next::Sync, "only here; the next sync creates it on the server, or holds it")
        }
        Fate::GoneLocal => (
            Kind::FolderGone,
            Next::Sync,
            "gone from the Maildir, while the server has it; the next sync follows or holds it",
        ),
        Fate::GoneRemote => (
            Kind::FolderGone,
            Next::Sync,
            "gone from the server, while the Maildir has it; the next sync follows or holds it",
        ),
        Fate::GoneBoth => (Kind::FolderGone, Next::Sync, "gone from both sides; the next sync forgets it"),
    };
    Some(Difference::new(kind, next, message))
}

fn unusable(name: &str, why: &str) -> Difference {
    let message = format!("the folder {name:?} is left alone and was not compared: {why}");
    Difference { path: Some(name.to_owned()), ..Difference::new(Kind::NotCompared, Next::Unknown, message) }
}

fn unseen(folder: &MailboxName, why: &impl ToString) -> Difference {
    let message = format!("could not be compared: {}", why.to_string());
    Difference::new(Kind::NotCompared, Next::Unknown, message).of_folder(folder)
}

fn unanswered() -> RemoteError {
    RemoteError::new(crate::store::RemoteErrorKind::Refused, "the server did not tell all of it")
}

fn in_doubt(intent: &Intent, rows: &[MailboxRow]) -> Difference {
    let (mailbox, doing, file) = match intent {
        Intent::Download { mailbox, row, .. } => (mailbox, "downloaded", row.unique.as_ref()),
        Intent::Append { mailbox, unique, .. } => (mailbox, "uploaded", Some(unique)),
        Intent::Copy { mailbox, .. } => (mailbox, "moved on the server", None),
        Intent::Rename { mailbox, .. } => (mailbox, "renamed", None),
        Intent::Relabel { mailbox, unique, .. } => (mailbox, "given its keywords", Some(unique)),
        Intent::Flags { mailbox, .. } => (mailbox, "given its flags", None),
        Intent::Remove { mailbox, unique } => (mailbox, "removed", Some(unique)),
    };
    let message =
        format!("it was being {doing} when a sync was interrupted; the next sync finds out what became of it");
    let mut difference = Difference::new(Kind::Journal, Next::Sync, message);
    difference.path = file.map(ToString::to_string);
    difference.folder = rows.iter().find(|row| row.id == *mailbox).map(|row| row.name.clone());
    difference
}
