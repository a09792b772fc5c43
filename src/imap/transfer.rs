//! COPY and MOVE, and what COPYUID proves of them.

use super::ImapStore;
use super::command::{Command, Handler};
use super::error::Error;
use super::modify::RANGES;
use super::response::{Code, CopyUid, Status, Untagged};
use crate::model::{MailboxName, Uid, UidSet, UidValidity};
use crate::store::Transfer;

/// Collects COPYUID: a COPY has it in its tagged OK, a MOVE in an untagged one (RFC 6851 section 4.3).
#[derive(Default)]
pub(super) struct Proofs {
    proofs: Vec<CopyUid>,
    silent: bool,
    heard: bool,
}

impl Proofs {
    /// Takes what a status response proves.
    pub(super) fn note(&mut self, status: &Status) {
        if let Some(Code::CopyUid(proof)) = &status.code {
            self.heard = true;
            self.proofs.push(proof.clone());
        }
    }

    /// Hears that a command is complete.
    pub(super) fn end(&mut self) {
        self.silent |= !std::mem::take(&mut self.heard);
    }

    /// Returns the pairs, if every command brought some and they pair up.
    pub(super) fn transfer(self, uids: &UidSet) -> Transfer {
        let Some(validity) = self.proofs.first().map(|proof| proof.validity) else { return Transfer::Unproven };
        let pairs: Option<Vec<Vec<(Uid, Uid)>>> = self.proofs.iter().map(|proof| pairs(proof, uids)).collect();
        match pairs {
            Some(pairs) if !self.silent && self.proofs.iter().all(|proof| proof.validity == validity) => {
                Transfer::Proven(validity, pairs.into_iter().flatten().collect())
            }
            _ => Transfer::Unproven,
        }
    }
}

impl Handler for Proofs {
    fn untagged(&mut self, _: usize, data: Untagged) -> Result<(), Error> {
        if let Untagged::Status(status) = data {
            self.note(&status);
        }
        Ok(())
    }

    fn completed(&mut self, _: usize, status: &Status) {
        self.note(status);
        self.end();
    }
}

impl ImapStore {
    /// Copies or moves messages (`UID COPY`, `UID MOVE`). Copies are often expunged from their mailbox afterwards.
    pub(super) async fn transfer(
        &mut self,
        verb: &str,
        mailbox: &MailboxName,
        validity: UidValidity,
        uids: &UidSet,
        target: &MailboxName,
    ) -> Result<Transfer, Error> {
        self.select(mailbox, validity).await?;
        let (raw, last) = (self.names.wire(target)?, verb == "UID MOVE");
        let command = |part: UidSet| Command::new(format!("{verb} {part}")).string(&raw, &self.capabilities);
        let commands: Vec<Command> = uids.chunks(u32::MAX, RANGES).into_iter().map(command).collect();
        if commands.is_empty() {
            return Ok(Transfer::Unproven);
        }
        let mut proofs = Proofs::default();
        let answers = match last {
            true => self.run_last(commands, &mut proofs).await?,
            false => self.connection.run(commands, &mut proofs).await?,
        };
        match answers.into_iter().find(|answer| !answer.is_ok()) {
            Some(refused) => Err(Error::Refused(refused)),
            None => Ok(proofs.transfer(uids)),
        }
    }
}

/// Pairs sources and targets in the order given; `None` if they don't pair up or name what was not asked for.
fn pairs(proof: &CopyUid, asked: &UidSet) -> Option<Vec<(Uid, Uid)>> {
    let count = |ranges: &[(Uid, Uid)]| ranges.iter().map(|(a, b)| u64::from(b.get() - a.get()) + 1).sum::<u64>();
    let expand = |ranges: &[(Uid, Uid)]| {
        ranges.iter().flat_map(|(a, b)| a.get()..=b.get()).filter_map(Uid::new).collect::<Vec<_>>()
    };
    // Counted before they are expanded: a server may name enormous ranges.
    if count(&proof.from) != count(&proof.to) || count(&proof.from) > asked.len() {
        return None;
    }
    let from = expand(&proof.from);
    from.iter().all(|uid| asked.contains(*uid)).then(|| from.into_iter().zip(expand(&proof.to)).collect())
}

#[cfg(test)]
mod tests {
    use crate::imap::script::{block_on, name, scripted, uid, uids};
    use crate::imap::select::Selected;
    use crate::model::UidValidity;
    use crate::store::{RemoteErrorKind, RemoteStore, Transfer};

    async fn moved(answer: &'static str) -> Result<Transfer, RemoteErrorKind> {
        let (mut store, server) = scripted(&[], vec![("UID MOVE 1:3 \"B\"", answer)]);
        store.selected = Some(Selected { mailbox: name("A"), validity: UidValidity(7) });
        let outcome = store.move_to(&name("A"), UidValidity(7), &uids(&[1, 2, 3]), &name("B")).await;
        server.await.unwrap();
        outcome.map_err(|error| error.kind)
    }

    #[test]
    fn the_next_mailbox_is_selected_behind_the_last_command_to_this_one() {
        block_on(async {
            let selected = |validity: u32| {
                format!("* OK [CLOSED] x\r\n* 9 EXISTS\r\n* OK [UIDVALIDITY {validity}] x\r\n$ OK x\r\n")
            };
            let (a, b): (&'static str, &'static str) = (selected(7).leak(), selected(8).leak());
            let script = vec![
                ("SELECT \"A\"", a),
                ("UID MOVE 1 \"C\"", "* OK [COPYUID 8 1 11] x\r\n* 1 EXPUNGE\r\n$ OK x\r\n"),
                ("SELECT \"B\"", b),
                ("UID MOVE 1 \"C\"", "* OK [COPYUID 8 1 12] x\r\n* 1 EXPUNGE\r\n$ OK x\r\n"),
            ];
            let (mut store, server) = scripted(&[], script);
            store.about_to_change(vec![name("A"), name("B")]);
            let (one, goal) = (uids(&[1]), name("C"));
            let first = store.move_to(&name("A"), UidValidity(7), &one, &goal).await.unwrap();
            assert_eq!(first, Transfer::Proven(UidValidity(8), vec![(uid(1), uid(11))]));
            let second = store.move_to(&name("B"), UidValidity(8), &one, &goal).await.unwrap();
            assert_eq!(second, Transfer::Proven(UidValidity(8), vec![(uid(1), uid(12))]));
            server.await.unwrap();
            assert_eq!(store.traffic().round_trips, 3);
        });
    }

    #[test]
    fn where_one_command_of_several_proves_nothing_none_does() {
        block_on(async {
            let odd: Vec<u32> = (0..401).map(|n| 2 * n + 1).collect();
            let first: Vec<String> = odd[..400].iter().map(u32::to_string).collect();
            let first: &'static str = format!("UID MOVE {} \"B\"", first.join(",")).leak();
            let second: &'static str = "UID MOVE 801 \"B\"";
            let proof = |from: u32| -> &'static str { format!("* OK [COPYUID 8 {from} 11] x\r\n$ OK x\r\n").leak() };
            for script in [[(first, proof(1)), (second, "$ OK x\r\n")], [(first, "$ OK x\r\n"), (second, proof(801))]] {
                let (mut store, server) = scripted(&[], script.to_vec());
                store.selected = Some(Selected { mailbox: name("A"), validity: UidValidity(7) });
                let moved = store.move_to(&name("A"), UidValidity(7), &uids(&odd), &name("B")).await.unwrap();
                server.await.unwrap();
                assert_eq!(moved, Transfer::Unproven);
            }
        });
    }

    #[test]
    fn only_pairs_that_pair_up_prove_anything() {
        block_on(async {
            let proven = |pairs: &[(u32, u32)]| {
                Ok(Transfer::Proven(UidValidity(8), pairs.iter().map(|&(a, b)| (uid(a), uid(b))).collect()))
            };
            let in_order = "* OK [COPYUID 8 3,1:2 11,20:21] x\r\n* 1 EXPUNGE\r\n$ OK done\r\n";
            assert_eq!(moved(in_order).await, proven(&[(3, 11), (1, 20), (2, 21)]));
            assert_eq!(moved("$ OK [COPYUID 8 2 9] done\r\n").await, proven(&[(2, 9)]));
            for unproven in [
                "$ OK done\r\n",
                "$ OK [COPYUID 8 1:3 9:10] done\r\n",
                "$ OK [COPYUID 8 1:4294967295 1:4294967295] done\r\n",
                "$ OK [COPYUID 8 7 9] done\r\n",
                "$ OK [COPYUID 8 1] done\r\n",
            ] {
                assert_eq!(moved(unproven).await, Ok(Transfer::Unproven), "{unproven}");
            }
            assert_eq!(moved("$ NO [TRYCREATE] x\r\n").await, Err(RemoteErrorKind::NoSuchMailbox));
        });
    }
}
