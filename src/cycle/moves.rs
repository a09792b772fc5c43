//! Removals in one folder that are arrivals in another.

use std::collections::BTreeMap;

use super::Run;
use super::observe::Sight;
use crate::model::{Fingerprint, MailboxId, MessageId, UniqueName};
use crate::reconcile::pair::{Trace, pair_local_moves, pair_remote_moves};
use crate::reconcile::plan::MailboxPlan;
use crate::store::{Edit, Failure, Journal, LocalErrorKind, LocalStore, RemoteStore};

impl<R: RemoteStore, L: LocalStore, J: Journal> Run<'_, R, L, J> {
    /// Marks the removals that are moves.
    pub(super) fn pair_moves(&mut self, sights: &[Sight], plans: &mut [MailboxPlan]) -> Result<(), Failure> {
        let gone_here = plans.iter().any(|plan| !plan.remove_remote.is_empty());
        let gone_there = plans.iter().any(|plan| !plan.remove_local.is_empty());
        if gone_here {
            let uploads = self.contents(plans)?;
            pair_local_moves(plans, &traces(sights), &uploads);
        }
        if gone_there {
            let listed = |sight: &'_ Sight| {
                let (mailbox, view) = (sight.row.id, sight.view());
                view.new_messages()
                    .map(|(uid, message)| ((mailbox, uid), (message.size, message.date)))
                    .collect::<Vec<_>>()
            };
            pair_remote_moves(plans, &traces(sights), &sights.iter().flat_map(listed).collect());
        }
        Ok(())
    }

    /// Returns the contents of the files about to be uploaded.
    fn contents(&mut self, plans: &[MailboxPlan]) -> Result<BTreeMap<(MailboxId, UniqueName), Fingerprint>, Failure> {
        let mut contents = BTreeMap::new();
        for (plan, upload) in plans.iter().flat_map(|plan| plan.upload.iter().map(move |upload| (plan, upload))) {
            match self.account.local.identify(&plan.local, &upload.unique, &upload.entry) {
                Ok(Edit::Done((identity, _))) => {
                    let place = (plan.mailbox, upload.unique.clone());
                    contents.extend(identity.content.map(|content| (place, content)));
                }
                Ok(Edit::Changed) => {}
                Err(error) if matches!(error.kind, LocalErrorKind::Item | LocalErrorKind::NoMessage) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(contents)
    }
}

fn traces(sights: &[Sight]) -> BTreeMap<MessageId, Trace> {
    let rows = sights.iter().flat_map(|sight| &sight.rows);
    rows.map(|row| (row.id, Trace { content: row.content, size: row.size, date: row.date })).collect()
}
