//! New mail on both sides of a mailbox at once: which of it is the same?

use std::collections::{BTreeMap, BTreeSet};

use super::Run;
use super::observe::Sight;
use crate::apply::local_problem;
use crate::model::{FileStat, Identity, Uid, UidSet, UniqueName};
use crate::reconcile::adopt::{Match, Matcher};
use crate::reconcile::snapshot::RemoteMessage;
use crate::store::{Edit, Failure, Journal, LocalErrorKind, LocalStore, RemoteStore};

/// Files by name, with their content and stat.
type Files = BTreeMap<UniqueName, (Identity, FileStat)>;

impl<R: RemoteStore, L: LocalStore, J: Journal> Run<'_, R, L, J> {
    /// Returns the pairs among what the baseline knows of neither side. Files are read, of messages only headers are
    /// fetched; bodies only of those that remain in doubt.
    ///
    /// Returns also the files that could not be read: they may be any message.
    pub(super) async fn identify(&mut self, sight: &Sight) -> Result<(Vec<Match>, BTreeSet<UniqueName>), Failure> {
        let view = sight.view();
        let messages: BTreeMap<Uid, &RemoteMessage> = view.new_messages().collect();
        let Some(remote) = sight.remote.as_ref().filter(|_| !messages.is_empty()) else {
            return Ok(Default::default());
        };
        let (files, undecided) = self.identify_files(sight)?;
        if files.is_empty() {
            return Ok((Vec::new(), undecided));
        }
        let (name, validity) = (&sight.row.name, remote.uid_validity());
        let uids: UidSet = messages.keys().copied().collect();
        let mut headers = self.account.remote.identify(name, validity, &uids, false).await?;
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

    fn identify_files(&mut self, sight: &Sight) -> Result<(Files, BTreeSet<UniqueName>), Failure> {
        let (mut files, mut undecided) = (Files::new(), BTreeSet::new());
        for (unique, entry) in sight.view().new_files() {
            match self.account.local.identify(&sight.row.local, unique, entry) {
                Ok(Edit::Done(found)) => drop(files.insert(unique.clone(), found)),
                Ok(Edit::Changed) => drop(undecided.insert(unique.clone())),
                Err(error) if error.kind == LocalErrorKind::NoMessage => {}
                Err(error) if error.kind == LocalErrorKind::Item => {
                    self.report.problem(local_problem(&sight.row.name, Some(unique.to_string()), &error));
                    undecided.insert(unique.clone());
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok((files, undecided))
    }
}
