//! Commands on their way: what is still to be sent of them, and what they were answered.

use std::collections::{HashMap, VecDeque};

use super::{Command, Segment};
use crate::imap::error::Error;
use crate::imap::response::{Status, Untagged};
use crate::imap::wire::{BUFFER, Wire};
use crate::store::{BodySource, LocalError, LocalErrorKind};

/// How many untagged responses about messages a command may bring, and how many others: more than any account has
/// messages, or mailboxes. What never ends must not be listened to, or kept, without end.
const MAX_ABOUT_MESSAGES: u32 = 1 << 25;
const MAX_OTHERS: u32 = 1 << 21;

/// Commands on their way.
#[derive(Debug)]
pub(in crate::imap) struct Burst {
    /// Untagged responses since the last tagged one.
    about_messages: u32,
    others: u32,
    tags: HashMap<Vec<u8>, usize>,
    pub(super) unsent: VecDeque<(usize, Command)>,
    pub(super) unanswered: VecDeque<usize>,
    pub(super) answers: Vec<Option<Status>>,
    chunk: Vec<u8>,
    one_at_a_time: bool,
    /// What is to be sent behind all the others.
    behind: Vec<Command>,
    /// How many commands are in front of that, once it is on its way.
    own: Option<usize>,
}

impl Burst {
    /// Gives commands their tags.
    pub(in crate::imap) fn new(commands: Vec<Command>, counter: &mut u64) -> Self {
        let mut burst = Self {
            about_messages: 0,
            others: 0,
            tags: HashMap::with_capacity(commands.len()),
            unsent: VecDeque::with_capacity(commands.len()),
            unanswered: VecDeque::with_capacity(commands.len()),
            answers: Vec::with_capacity(commands.len()),
            chunk: Vec::new(),
            one_at_a_time: false,
            behind: Vec::new(),
            own: None,
        };
        burst.add(commands, counter);
        burst
    }

    /// Adds commands behind those that there are.
    pub(super) fn add(&mut self, commands: Vec<Command>, counter: &mut u64) {
        for mut command in commands {
            let at = self.answers.len();
            *counter += 1;
            let tag = format!("m{counter}");
            if let Some(Segment::Bytes(bytes)) = command.segments.front_mut() {
                bytes.splice(0..0, format!("{tag} ").into_bytes());
            }
            command.segments.push_back(Segment::Bytes(b"\r\n".to_vec()));
            self.tags.insert(tag.into_bytes(), at);
            self.unsent.push_back((at, command));
            self.unanswered.push_back(at);
            self.answers.push(None);
        }
    }

    /// Sends each command only once the one in front of it is answered, or not so.
    pub(super) fn one_at_a_time(self, on: bool) -> Self {
        Self { one_at_a_time: on, ..self }
    }

    /// Has these commands behind it, whose answers are left to be heard later.
    pub(super) fn with_behind(self, behind: Vec<Command>) -> Self {
        Self { behind, ..self }
    }

    /// Adds what is to be sent behind all the others. Returns false if there is nothing.
    pub(super) fn add_behind(&mut self, counter: &mut u64) -> bool {
        let behind = std::mem::take(&mut self.behind);
        if behind.is_empty() {
            return false;
        }
        self.own = Some(self.answers.len());
        self.add(behind, counter);
        true
    }

    /// Returns true if what comes next are the answers to what was sent behind.
    pub(super) fn is_at_what_is_behind(&self) -> bool {
        self.own.is_some_and(|own| self.unanswered.front().is_none_or(|oldest| *oldest >= own))
    }

    /// Returns true if there is nothing to be sent or heard but what was sent behind.
    pub(super) fn is_over(&self) -> bool {
        self.is_at_what_is_behind() || (self.unanswered.is_empty() && self.unsent.is_empty())
    }

    /// Returns the answers, and what was sent behind as a burst of its own.
    pub(super) fn split(mut self) -> (Vec<Status>, Option<Burst>) {
        let Some(own) = self.own.take() else { return (self.answers.into_iter().flatten().collect(), None) };
        let answers = self.answers.drain(..own).flatten().collect();
        self.tags.values_mut().for_each(|at| *at -= own);
        self.unanswered.iter_mut().for_each(|at| *at -= own);
        self.unsent.iter_mut().for_each(|(at, _)| *at -= own);
        (answers, Some(self))
    }

    /// Returns true if none of its commands is answered.
    pub(super) fn is_unanswered(&self) -> bool {
        self.unanswered.len() == self.answers.len()
    }

    /// As [`Burst::new`], of commands that were sent already.
    pub(super) fn sent(commands: Vec<Command>, counter: &mut u64) -> Self {
        Self { unsent: VecDeque::new(), ..Self::new(commands, counter) }
    }

    /// Returns what is to be sent, of commands that have a line each.
    pub(in crate::imap) fn bytes(&self) -> Vec<u8> {
        let segments = self.unsent.iter().flat_map(|(_, command)| &command.segments);
        segments
            .filter_map(|segment| if let Segment::Bytes(bytes) = segment { Some(bytes) } else { None })
            .flatten()
            .copied()
            .collect()
    }

    /// Queues what may be sent now, up to the cap.
    pub(super) fn feed(&mut self, wire: &mut Wire) -> Result<(), Error> {
        let (one_at_a_time, oldest) = (self.one_at_a_time, self.oldest());
        while let Some((at, command)) = self.unsent.front_mut() {
            if wire.queued() >= BUFFER || (one_at_a_time && *at != oldest) {
                return Ok(());
            }
            match command.segments.front_mut() {
                None => {
                    self.unsent.pop_front();
                }
                Some(Segment::Wait | Segment::Listen) => return Ok(()),
                Some(Segment::Bytes(bytes)) => {
                    wire.send(bytes);
                    command.segments.pop_front();
                }
                Some(Segment::Body(_, 0)) => {
                    command.segments.pop_front();
                }
                Some(Segment::Body(source, left)) => *left -= send_part(source.as_mut(), *left, &mut self.chunk, wire)?,
            }
        }
        Ok(())
    }

    /// Counts what is untagged. An error means that there is no end to it.
    pub(super) fn count(&mut self, data: &Untagged) -> Result<(), Error> {
        match data {
            Untagged::Fetch(_) | Untagged::Search(_) | Untagged::Vanished { .. } => self.about_messages += 1,
            _ => self.others += 1,
        }
        match self.about_messages > MAX_ABOUT_MESSAGES || self.others > MAX_OTHERS {
            true => Err(Error::Garbled("responses without end")),
            false => Ok(()),
        }
    }

    /// Returns true if only now the next command may be sent.
    pub(super) fn waits_for_answers(&self) -> bool {
        self.one_at_a_time && !self.unsent.is_empty()
    }

    pub(super) fn oldest(&self) -> usize {
        self.unanswered.front().copied().unwrap_or(self.answers.len().saturating_sub(1))
    }

    /// Notes a tagged answer. A command refused before all of it was sent is not sent any further: that is allowed
    /// only while a literal's `+` is awaited, and no server answers earlier.
    pub(super) fn complete(&mut self, tag: &[u8], status: Status) -> Option<(usize, &Status)> {
        let at = self.tags.remove(tag)?;
        (self.about_messages, self.others) = (0, 0);
        match self.unanswered.front() {
            Some(&first) if first == at => drop(self.unanswered.pop_front()),
            _ => self.unanswered.retain(|&other| other != at),
        }
        let waits = |command: &Command| matches!(command.segments.front(), Some(Segment::Wait | Segment::Listen));
        if self.unsent.front().is_some_and(|(first, command)| *first == at && waits(command)) {
            self.unsent.pop_front();
        }
        let answer = self.answers.get_mut(at)?;
        Some((at, answer.insert(status)))
    }

    /// Returns true while nothing is to be sent and the server may speak as it likes.
    pub(super) fn listens(&self) -> bool {
        self.unsent.front().is_some_and(|(_, command)| matches!(command.segments.front(), Some(Segment::Listen)))
    }

    pub(super) fn end_listening(&mut self) {
        if let Some((_, command)) = self.unsent.front_mut() {
            command.segments.pop_front();
        }
    }

    /// Takes the server's `+`. Returns false if nothing was waiting for it.
    pub(super) fn go_on(&mut self) -> bool {
        let segments = self.unsent.front_mut().map(|(_, command)| &mut command.segments);
        match segments {
            Some(segments) if matches!(segments.front(), Some(Segment::Wait)) => segments.pop_front().is_some(),
            _ => false,
        }
    }
}

/// Queues a part of a message. A source that ends early has promised bytes that nobody can give any more.
fn send_part(source: &mut dyn BodySource, left: u64, chunk: &mut Vec<u8>, wire: &mut Wire) -> Result<u64, Error> {
    chunk.resize(64 * 1024, 0);
    let room = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
    let read = source.read(chunk.get_mut(..room).unwrap_or_default())?;
    if read == 0 {
        let cause = "a message became shorter while it was sent".into();
        return Err(LocalError { kind: LocalErrorKind::Item, cause }.into());
    }
    wire.send(chunk.get(..read).unwrap_or_default());
    Ok(read as u64)
}
