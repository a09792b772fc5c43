//! New mail on both sides of a mailbox at once: which of it is the same?

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join;
use tokio::task::yield_now;

use super::observe::Sight;
use super::{Account, Run};
use crate::apply::local_problem;
use crate::model::{FileStat, Identity, Uid, UidSet, UniqueName};
use crate::reconcile::adopt::{Match, Matcher};
use crate::reconcile::report::Problem;
use crate::reconcile::snapshot::RemoteMessage;
use crate::reconcile::view::View;
use crate::store::{Edit, Failure, Journal, LocalError, LocalErrorKind, LocalStore, RemoteStore};

/// Files by name, with their content and stat.
type Files = BTreeMap<UniqueName, (Identity, FileStat)>;

impl<R: RemoteStore, L: LocalStore, J: Journal> Run<'_, R, L, J> {
    /// Returns the pairs among what the baseline knows of neither side. Files are read, of messages only headers are
    /// fetched meanwhile; bodies only of those that remain in doubt.
    ///
    /// Returns also the files that could not be read: they may be any message.
    pub(super) async fn identify(&mut self, sight: &Sight) -> Result<(Vec<Match>, BTreeSet<UniqueName>), Failure> {
        let view = sight.view();
        let messages: BTreeMap<Uid, &RemoteMessage> = view.new_messages().collect();
        let is_new = !messages.is_empty() && view.new_files().next().is_some();
        let Some(remote) = sight.remote.as_ref().filter(|_| is_new) else { return Ok(Default::default()) };
        let (name, validity) = (&sight.row.name, remote.uid_validity());
        let uids: UidSet = messages.keys().copied().collect();
        let Account { remote, local, .. } = &mut *self.account;
        let (headers, read) = join(remote.identify(name, validity, &uids, false), read_files(local, &view)).await;
        let Read { files, undecided, problems } = read?;
        problems.into_iter().for_each(|problem| self.report.problem(problem));
        let mut headers = headers?;
        if files.is_empty() {
            return Ok((Vec::new(), undecided));
        }
        for (uid, identity) in &mut headers {
            if let Some(message) = messages.get(uid) {
                identity.size = message.size.unwrap_or(identity.size);
                identity.date = message.date;
            }
        }
        let mut matcher = Matcher::new(files, headers);
        matcher.by_header();
        let doubtful = matcher.ambiguous();
        if !doubtful.is_empty() {
            let doubtful: UidSet = doubtful.into_iter().collect();
            let mut whole = self.account.remote.identify(name, validity, &doubtful, true).await?;
            for (uid, identity) in &mut whole {
                identity.date = messages.get(uid).and_then(|message| message.date);
            }
            matcher.by_content(whole);
        }
        Ok((matcher.finish(), undecided))
    }
}

/// What came of reading new files.
#[derive(Default)]
struct Read {
    files: Files,
    /// Those that could not be read,
    undecided: BTreeSet<UniqueName>,
    /// and why.
    problems: Vec<Problem>,
}

/// Reads the new files of a maildir, while something else is waited for.
async fn read_files(local: &mut impl LocalStore, view: &View<'_>) -> Result<Read, LocalError> {
    let mut read = Read::default();
    for (unique, entry) in view.new_files() {
        match local.identify(view.local, unique, entry) {
            Ok(Edit::Done(found)) => drop(read.files.insert(unique.clone(), found)),
            Ok(Edit::Changed) => drop(read.undecided.insert(unique.clone())),
            Err(error) if error.kind == LocalErrorKind::NoMessage => {}
            Err(error) if error.kind == LocalErrorKind::Item => {
                read.problems.push(local_problem(view.name, Some(unique.to_string()), &error));
                read.undecided.insert(unique.clone());
            }
            Err(error) => return Err(error),
        }
        yield_now().await;
    }
    Ok(read)
}
