//! Observes mailboxes: SELECT and the fetches behind it, for many mailboxes in one burst.
//!
//! What comes back is taken only if it is proven complete: the UIDs then known must be as many as EXISTS says. A delta
//! that is not becomes a full look, and a full look that is not is repeated.

mod look;

use std::collections::BTreeSet;

use super::ImapStore;
use super::command::{Command, Handler};
use super::error::Error;
use super::list::Heard;
use super::response::{Status, Untagged};
use super::select::Selection;
use crate::model::UidSet;
use crate::reconcile::snapshot::RemoteRequest;
use crate::store::Observed;
use look::{Look, Next, Way};

/// How often a mailbox is looked at in full before it is given up: others may be changing it all the time.
const FULL_LOOKS: u8 = 3;

/// Looks with what was seen, and those that are to begin anew.
type Parted<'a> = (Vec<Look<'a>>, Vec<Look<'a>>);

/// The looks of one burst. Data belongs to the look whose command is the oldest without an answer.
struct Looks<'a> {
    looks: Vec<Look<'a>>,
    /// For each command its look, and whether it is the SELECT.
    commands: Vec<(usize, bool)>,
    /// The commands that were answered.
    answered: BTreeSet<usize>,
    /// What a listing behind the looks says. It may come before the last of them is answered.
    heard: Option<Heard>,
}

impl Looks<'_> {
    /// Returns true if all mailboxes were selected: what is gone from them was gone before.
    fn are_all_selected(&self) -> bool {
        self.commands.iter().enumerate().all(|(at, (_, selecting))| !selecting || self.answered.contains(&at))
    }

    /// Returns the look whose SELECT is the oldest command without an answer.
    fn selecting(&self) -> Option<usize> {
        let oldest = (0..self.commands.len()).find(|at| !self.answered.contains(at))?;
        self.commands.get(oldest).filter(|(_, selecting)| *selecting).map(|(owner, _)| *owner)
    }
}

impl Handler for Looks<'_> {
    fn untagged(&mut self, at: usize, data: Untagged) -> Result<(), Error> {
        if self.heard.is_some() && Heard::wants(&data) {
            // A server may list before it selects: then it is to be asked again.
            self.heard = self.heard.take().filter(|_| self.are_all_selected());
            if let Some(heard) = &mut self.heard {
                heard.take(data);
            }
        } else if let Some(&(owner, selecting)) = self.commands.get(at)
            && let Some(look) = self.looks.get_mut(owner)
        {
            look.take(data, selecting);
        }
        Ok(())
    }

    fn completed(&mut self, at: usize, status: &Status) {
        self.answered.insert(at);
        if let Some(&(owner, selecting)) = self.commands.get(at)
            && let Some(look) = self.looks.get_mut(owner)
        {
            look.completed(status, selecting);
        }
    }
}

impl ImapStore {
    /// Observes mailboxes, all in one burst; those that need a second look in another.
    pub(super) async fn observe_mailboxes(&mut self, requests: &[RemoteRequest]) -> Result<Vec<Observed>, Error> {
        self.introduce().await?;
        let mut observed: Vec<Option<Observed>> = requests.iter().map(|_| None).collect();
        let mut looks: Vec<Look<'_>> =
            requests.iter().enumerate().map(|(at, request)| self.first_look(at, request)).collect();
        while !looks.is_empty() {
            let (seen, mut again) = self.look(looks, &mut observed).await?;
            for look in seen {
                let (at, mailbox) = (look.at, look.request.mailbox.clone());
                self.qresync &= !look.refuses_qresync();
                let outcome = match look.conclude(self.capabilities.mod_seq()) {
                    Next::Done(snapshot) => {
                        self.outlook.note(&snapshot.messages);
                        Ok(snapshot)
                    }
                    Next::Again(look) if look.fulls <= FULL_LOOKS => {
                        self.refuses_email_ids |= look.email_id_item.is_none();
                        again.push(*look);
                        continue;
                    }
                    Next::Again(_) => Err(Error::Unusable(format!(
                        "what the server listed did not add up, {FULL_LOOKS} times; nothing was concluded from it"
                    ))),
                    Next::Failed(error) => Err(error),
                };
                note(&mut observed, at, Observed { outcome: outcome.map_err(|e| doing(e, &mailbox)), mailbox });
            }
            looks = again;
        }
        Ok(observed.into_iter().flatten().collect())
    }

    fn first_look<'a>(&self, at: usize, request: &'a RemoteRequest) -> Look<'a> {
        let item = self.capabilities.email_id_item().filter(|_| !self.refuses_email_ids);
        Look::new(at, request, self.way(request)).with(item).within(self.window)
    }

    /// Returns the cheapest way to learn what changed since the watermark.
    fn way(&self, request: &RemoteRequest) -> Way {
        match request.since {
            Some(since) if self.window.is_some_and(|window| since.messages >= window) => Way::Full,
            Some(since) if since.uid_next > 0 && since.mod_seq.is_some() && self.qresync => Way::QResync(since),
            Some(since) if since.uid_next > 0 && since.mod_seq.is_some() && self.capabilities.mod_seq() => {
                Way::CondStore(since)
            }
            Some(since) if since.uid_next > 0 => Way::Flags(since),
            _ => Way::Full,
        }
    }

    /// Returns the SELECT of a look, and what goes behind it.
    fn look_commands(&self, look: &Look<'_>) -> Result<Vec<Command>, Error> {
        let select = self.select_command(look.verb(), &look.request.mailbox, look.since())?;
        let behind = look.fetches(self.capabilities.has("ESEARCH")).into_iter().map(Command::new);
        Ok(std::iter::once(select).chain(behind).collect())
    }

    /// Runs the last commands that change anything for now, with the look behind them that was announced: it begins a round
    /// trip earlier. If something else is asked for after all, that look was in vain.
    pub(super) async fn run_then_look(
        &mut self,
        commands: Vec<Command>,
        handler: &mut dyn Handler,
    ) -> Result<Vec<Status>, Error> {
        let behind = self.announced_looks();
        let answers = self.connection.run_ahead(commands, handler, behind).await?;
        if self.connection.has_early() {
            self.about_to_select();
        }
        Ok(answers)
    }

    /// Returns the commands of the looks that were announced. Without QRESYNC they depend on what is known by then.
    pub(super) fn announced_looks(&mut self) -> Vec<Command> {
        let announced = std::mem::take(&mut self.next_looks);
        if !self.qresync {
            return Vec::new();
        }
        let commands = announced.into_iter().map(|(mailbox, since)| {
            let request = RemoteRequest { mailbox, since: Some(since), known: UidSet::new() };
            self.look_commands(&self.first_look(0, &request))
        });
        commands.collect::<Result<Vec<_>, Error>>().unwrap_or_default().into_iter().flatten().collect()
    }

    /// Sends one burst and returns the looks with what was seen, and those that are to begin anew. A mailbox whose name
    /// can't be sent fails at once.
    async fn look<'a>(&mut self, looks: Vec<Look<'a>>, observed: &mut [Option<Observed>]) -> Result<Parted<'a>, Error> {
        let (answered, heard) = Default::default();
        let mut burst = Looks { looks: Vec::with_capacity(looks.len()), commands: Vec::new(), answered, heard };
        let mut commands = Vec::new();
        for look in looks {
            match self.look_commands(&look) {
                Err(error) => {
                    let mailbox = &look.request.mailbox;
                    let outcome = Err(doing(error, mailbox));
                    note(observed, look.at, Observed { mailbox: mailbox.clone(), outcome });
                }
                Ok(own) => {
                    let owner = burst.looks.len();
                    burst.commands.extend((0..own.len()).map(|at| (owner, at == 0)));
                    commands.extend(own);
                    burst.looks.push(look);
                }
            }
        }
        self.next_looks.clear();
        let mut listing = std::mem::take(&mut self.lists_next).then(|| self.questions());
        self.about_to_select();
        if !commands.is_empty() {
            let looks = commands.len();
            burst.heard = listing.is_some().then(Heard::default);
            commands.extend(listing.iter_mut().flat_map(|listing| std::mem::take(&mut listing.commands)));
            match self.connection.run(commands, &mut burst).await {
                Err(Error::Lost(said)) => return self.look_on(said, burst, observed).await,
                answers => {
                    let (answers, sent) = (answers?.split_off(looks), self.connection.sent());
                    let listed = listing.zip(burst.heard.take());
                    self.went_along = listed.map(|(listing, heard)| (listing.asked(answers), heard, sent));
                }
            }
        }
        if let Some(last) = burst.looks.last().filter(|look| look.verb() == "SELECT") {
            self.selected(&last.request.mailbox, &last.selection);
        }
        Ok((burst.looks, Vec::new()))
    }

    /// After a connection was lost: where it was a SELECT that the server did not answer, that mailbox alone is given
    /// up, and those behind it are looked at over a new connection. Some servers hang up on a mailbox that is damaged.
    async fn look_on<'a>(
        &mut self,
        said: Option<String>,
        burst: Looks<'a>,
        observed: &mut [Option<Observed>],
    ) -> Result<Parted<'a>, Error> {
        let Some(at) = burst.selecting() else { return Err(Error::Lost(said)) };
        if !self.reconnect().await {
            return Err(Error::Lost(said));
        }
        let mut looks = burst.looks.into_iter();
        let seen = looks.by_ref().take(at).collect();
        if let Some(Look { at, request, .. }) = looks.next() {
            let (mailbox, error) = (request.mailbox.clone(), Error::HungUp(said));
            note(observed, at, Observed { outcome: Err(doing(error, &mailbox)), mailbox });
        }
        Ok((seen, looks.map(Look::afresh).collect()))
    }
}

fn doing(error: Error, mailbox: &crate::model::MailboxName) -> crate::store::RemoteError {
    error.doing(format!("looking at {mailbox}"))
}

fn note(observed: &mut [Option<Observed>], at: usize, what: Observed) {
    if let Some(slot) = observed.get_mut(at) {
        *slot = Some(what);
    }
}

#[cfg(test)]
mod tests;
