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
            let uploads = self.contents(sights, plans)?;
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

    /// Returns the contents of the files that the server is to get, those included that have to wait: the message that
    /// one of them was must stay on the server until its new place is proven.
    fn contents(
        &mut self,
        sights: &[Sight],
        plans: &[MailboxPlan],
    ) -> Result<BTreeMap<(MailboxId, UniqueName), Fingerprint>, Failure> {
        let mut contents = BTreeMap::new();
        let views: Vec<_> = sights.iter().zip(plans).map(|(sight, plan)| (sight.view(), plan)).collect();
        let files = views.iter().flat_map(|(view, plan)| view.new_files().map(move |file| (*plan, file)));
        for (plan, (unique, entry)) in files.filter(|(plan, (unique, _))| !is_adopted(plan, unique)) {
            match self.account.local.identify(&plan.local, unique, entry) {
                Ok(Edit::Done((identity, _))) => {
                    let place = (plan.mailbox, unique.clone());
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

fn is_adopted(plan: &MailboxPlan, unique: &UniqueName) -> bool {
    plan.adopt.iter().any(|found| found.unique == *unique)
}

fn traces(sights: &[Sight]) -> BTreeMap<MessageId, Trace> {
    let rows = sights.iter().flat_map(|sight| &sight.rows);
    rows.map(|row| (row.id, Trace { content: row.content, size: row.size, date: row.date })).collect()
}
