//! MOVEs from one or many mailboxes in one burst, or from many over two connections, each behind the SELECT of its mailbox.
//!
//! But for this and `errands`, nothing that changes messages is sent before the SELECT is answered. Here the mailboxes were
//! listed a moment ago, and what a MOVE does can be undone: the SELECT in front of it tells whether the UIDs meant what was asked
//! for, COPYUID where everything went, so that what was not meant goes back. Where a SELECT fails no mailbox is selected,
//! and the MOVE behind it is refused (RFC 9051 section 6.3.2).

mod work;

use std::collections::VecDeque;

use self::work::{Group, Moving, Outcome, Use, Work};
use super::ImapStore;
use super::command::{Command, Handler};
use super::error::Error;
use super::modify::RANGES;
use crate::model::{MailboxName, UidSet};
use crate::store::{Lane, Messages, Transfer};

/// What is moved from one mailbox to another.
pub(super) type Move = (Messages, MailboxName);

impl ImapStore {
    /// Moves messages between mailboxes. Without MOVE and COPYUID nothing could be undone.
    pub(super) fn moves_in_one_burst(&self) -> bool {
        self.capabilities.has("MOVE") && self.capabilities.has("UIDPLUS")
    }

    /// Moves messages from many mailboxes, in one burst, or in one over each of two connections.
    pub(super) async fn move_all_messages(&mut self, moves: &[Move]) -> Result<Vec<Result<Transfer, Error>>, Error> {
        self.introduce().await?;
        let work = self.prepare(moves);
        self.carry_out_moves(moves, &work).await?;
        let mut outcomes = work.outcomes();
        let checked: Vec<Option<Error>> = outcomes
            .iter()
            .zip(moves)
            .map(|(one, (messages, _))| outcomes.get(one.selected_by)?.selection.check(messages.validity).err())
            .collect();
        for (outcome, wrong) in outcomes.iter_mut().zip(checked) {
            outcome.failed = outcome.failed.take().or(wrong);
        }
        let mut results = Vec::with_capacity(moves.len());
        for (outcome, (messages, target)) in outcomes.into_iter().zip(moves) {
            results.push(self.settle_move(outcome, messages, target).await?);
        }
        Ok(results)
    }

    async fn carry_out_moves(&mut self, moves: &[Move], work: &Work) -> Result<(), Error> {
        let others = self.others.clone().filter(|_| work.is_large());
        let Some(others) = others else { return self.move_in(Lane::First, moves, work, true).await };
        tracing::info!("moves from many folders are divided");
        let move_in = async |store: &mut ImapStore, lane| store.move_in(lane, moves, work, false).await;
        self.over_two(&others, || work.is_sent(), move_in).await
    }

    async fn move_in(&mut self, lane: Lane, moves: &[Move], work: &Work, alone: bool) -> Result<(), Error> {
        let mut moving = Moving::new(work, lane, alone);
        let first = moving.more();
        if first.is_empty() {
            return Ok(());
        }
        self.about_to_select();
        self.run_then_look(first, &mut moving).await?;
        let last = moving.last_selected().and_then(|at| moves.get(at).map(|(messages, _)| (at, &messages.mailbox)));
        if let Some((at, mailbox)) = last {
            work.see(at, |outcome| self.selected(mailbox, &outcome.selection));
        }
        Ok(())
    }

    /// Returns what is to be done, mailbox by mailbox. A name that can't be sent fails alone.
    fn prepare(&self, moves: &[Move]) -> Work {
        let (mut groups, mut outcomes): (VecDeque<Group>, Vec<Outcome>) = (VecDeque::new(), Vec::new());
        let mut last: Option<(usize, &MailboxName)> = None;
        for (at, (messages, target)) in moves.iter().enumerate() {
            let mut outcome = Outcome::default();
            let named = self.names.wire(target);
            match named.and_then(|raw| Ok((raw, self.select_command("SELECT", &messages.mailbox, None)?))) {
                Ok((raw, select)) => {
                    let by = last.filter(|(_, mailbox)| **mailbox == messages.mailbox).map_or(at, |(by, _)| by);
                    if by == at {
                        groups.push_back(vec![(Use::Select(at), select)]);
                    }
                    outcome.selected_by = by;
                    last = Some((by, &messages.mailbox));
                    let command = |part| Command::new(format!("UID MOVE {part}")).string(&raw, &self.capabilities);
                    let parts = messages.uids.chunks(u32::MAX, RANGES).into_iter();
                    if let Some(group) = groups.back_mut() {
                        group.extend(parts.map(|part| (Use::Move(at), command(part))));
                    }
                }
                Err(error) => outcome.failed = Some(error),
            }
            outcomes.push(outcome);
        }
        Work::new(groups, outcomes)
    }

    async fn settle_move(
        &mut self,
        outcome: Outcome,
        messages: &Messages,
        target: &MailboxName,
    ) -> Result<Result<Transfer, Error>, Error> {
        let Outcome { proofs, refused, failed, .. } = outcome;
        let transfer = proofs.transfer(&messages.uids);
        let Some(wrong) = failed else {
            return Ok(refused.map_or(Ok(transfer), |refused| Err(Error::Refused(refused))));
        };
        if let (Error::UidValidity { .. }, Transfer::Proven(validity, pairs)) = (&wrong, &transfer) {
            let uids: UidSet = pairs.iter().map(|(_, new)| *new).collect();
            tracing::warn!(mailbox = %messages.mailbox, "it was replaced a moment ago; what was moved from it goes back");
            self.transfer("UID MOVE", target, *validity, &uids, &messages.mailbox).await?;
        }
        Ok(Err(wrong))
    }
}

#[cfg(test)]
mod tests {
    use crate::imap::script::{Step, block_on, name, of_a, of_b, scripted, uid};
    use crate::model::UidValidity;
    use crate::store::{RemoteErrorKind, RemoteStore, Transfer};

    const A: &str = "* 9 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n$ OK x\r\n";

    fn proven(pairs: &[(u32, u32)]) -> Transfer {
        Transfer::Proven(UidValidity(8), pairs.iter().map(|&(from, to)| (uid(from), uid(to))).collect())
    }

    #[test]
    fn many_mailboxes_take_one_round_trip() {
        block_on(async {
            let b = "* OK [CLOSED] x\r\n* 9 EXISTS\r\n* OK [UIDVALIDITY 5] x\r\n$ OK x\r\n";
            let script: Vec<Step> = vec![
                ("SELECT \"A\"", A),
                ("UID MOVE 1 \"C\"", "* OK [COPYUID 8 1 11] x\r\n* 1 EXPUNGE\r\n$ OK x\r\n"),
                ("UID MOVE 2 \"D\"", "$ NO [TRYCREATE] x\r\n"),
                ("SELECT \"B\"", b),
                ("UID MOVE 4:5 \"C\"", "* OK [COPYUID 8 4:5 12:13] x\r\n$ OK x\r\n"),
            ];
            let (mut store, server) = scripted(&["MOVE", "UIDPLUS"], script);
            let moves = [(of_a(&[1]), name("C")), (of_a(&[2]), name("D")), (of_b(&[4, 5]), name("C"))];
            let mut moved = store.move_all(&moves).await;
            server.await.unwrap();
            assert_eq!(moved.pop().unwrap().unwrap(), proven(&[(4, 12), (5, 13)]));
            assert_eq!(moved.pop().unwrap().unwrap_err().kind, RemoteErrorKind::NoSuchMailbox);
            assert_eq!(moved.pop().unwrap().unwrap(), proven(&[(1, 11)]));
            assert_eq!(store.traffic().round_trips, 1);
            assert!(store.has_selected(&name("B"), UidValidity(5)));
        });
    }

    #[test]
    fn what_was_moved_from_another_mailbox_of_that_name_goes_back() {
        block_on(async {
            let other = "* 9 EXISTS\r\n* OK [UIDVALIDITY 99] x\r\n$ OK x\r\n";
            let goal = "* 9 EXISTS\r\n* OK [UIDVALIDITY 8] x\r\n$ OK x\r\n";
            let script: Vec<Step> = vec![
                ("SELECT \"A\"", other),
                ("UID MOVE 1 \"C\"", "* OK [COPYUID 8 1 11] x\r\n* 1 EXPUNGE\r\n$ OK x\r\n"),
                ("SELECT \"C\"", goal),
                ("UID MOVE 11 \"A\"", "* OK [COPYUID 99 11 10] x\r\n* 9 EXPUNGE\r\n$ OK x\r\n"),
            ];
            let (mut store, server) = scripted(&["MOVE", "UIDPLUS"], script);
            let mut moved = store.move_all(&[(of_a(&[1]), name("C"))]).await;
            server.await.unwrap();
            assert_eq!(moved.pop().unwrap().unwrap_err().kind, RemoteErrorKind::UidValidityChanged);
        });
    }

    #[test]
    fn without_copyuid_each_select_is_answered_first() {
        block_on(async {
            let script: Vec<Step> = vec![
                ("SELECT \"A\"", "* 9 EXISTS\r\n* OK [UIDVALIDITY 99] x\r\n$ OK x\r\n"),
                ("SELECT \"B\"", "* 9 EXISTS\r\n* OK [UIDVALIDITY 5] x\r\n$ OK x\r\n"),
                ("UID MOVE 4 \"C\"", "$ OK x\r\n"),
            ];
            let (mut store, server) = scripted(&["MOVE"], script);
            let mut moved = store.move_all(&[(of_a(&[1]), name("C")), (of_b(&[4]), name("C"))]).await;
            server.await.unwrap();
            assert_eq!(moved.pop().unwrap().unwrap(), Transfer::Unproven);
            assert_eq!(moved.pop().unwrap().unwrap_err().kind, RemoteErrorKind::UidValidityChanged);
        });
    }
}
