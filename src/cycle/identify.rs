//! New mail on both sides of a mailbox at once: which of it is the same?

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join;
use tokio::task::yield_now;

use super::observe::Sight;
use super::{Account, Run};
use crate::apply::local_problem;
use crate::model::{FileStat, Fingerprint, Identity, Uid, UidSet, UniqueName};
use crate::reconcile::adopt::{Match, Matcher};
use crate::reconcile::report::Problem;
use crate::reconcile::snapshot::{RemoteMessage, RemoteSnapshot};
use crate::reconcile::view::View;
use crate::store::{Edit, Failure, Journal, LocalError, LocalErrorKind, LocalStore, RemoteStore};

/// Files by name, with their content and stat.
type Files = BTreeMap<UniqueName, (Identity, FileStat)>;

impl<R: RemoteStore, L: LocalStore, J: Journal> Run<'_, R, L, J> {
    /// Returns the pairs among what the baseline knows of neither side, and the files that are back of messages that stayed
    /// on the server without them. Files are read, of messages only headers are fetched meanwhile; bodies only of those that
    /// remain in doubt.
    ///
    /// Returns also the files that could not be read: they may be any message.
    pub(super) async fn identify(&mut self, sight: &Sight) -> Result<(Vec<Match>, BTreeSet<UniqueName>), Failure> {
        let view = sight.view();
        let messages: BTreeMap<Uid, &RemoteMessage> = view.new_messages().collect();
        let may_be_known = !messages.is_empty() || view.left_there().next().is_some();
        if !may_be_known || view.new_files().next().is_none() {
            return Ok(Default::default());
        }
        let name = &sight.row.name;
        let validity = sight.remote.as_ref().map(RemoteSnapshot::uid_validity).filter(|_| !messages.is_empty());
        let uids: UidSet = messages.keys().copied().collect();
        let Account { remote, local, .. } = &mut *self.account;
        let headers = async {
            match validity {
                Some(validity) => remote.identify(name, validity, &uids, false).await,
                None => Ok(BTreeMap::new()),
            }
        };
        let (headers, read) = join(headers, read_files(local, &view)).await;
        let Read { mut files, undecided, problems } = read?;
        problems.into_iter().for_each(|problem| self.report.problem(problem));
        let mut headers = headers?;
        let mut found = put_back(&view, &mut files);
        let Some(validity) = validity.filter(|_| !files.is_empty()) else { return Ok((found, undecided)) };
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
        found.extend(matcher.finish());
        Ok((found, undecided))
    }
}

/// Takes out the files of messages that had lost theirs.
fn put_back(view: &View<'_>, files: &mut Files) -> Vec<Match> {
    let mut left: BTreeMap<Fingerprint, Vec<Uid>> = BTreeMap::new();
    for row in view.left_there() {
        if let Some(content) = row.content {
            left.entry(content).or_default().push(row.uid);
        }
    }
    let mut message_of = |identity: &Identity| left.get_mut(&identity.content?)?.pop();
    let pairs: Vec<(UniqueName, Uid)> =
        files.iter().filter_map(|(unique, (identity, _))| Some((unique.clone(), message_of(identity)?))).collect();
    let mut back = Vec::new();
    for (file, message) in pairs {
        back.extend(files.remove(&file).map(|identity| Match { message, file, identity }));
    }
    back
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
