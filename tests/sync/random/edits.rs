//! What users do, on either side.

use std::fs;

use super::{Life, number};
use crate::support::corpus::{self, DATE};
use crate::support::maildir::{Entry, Maildir};
use crate::sync::renames::rename_here;

/// A folder by its components.
type Name = Vec<String>;

fn parts(name: &[String]) -> Vec<&str> {
    name.iter().map(String::as_str).collect()
}

/// Folders that have a meaning of their own are left to it.
fn is_usual(name: &[String]) -> bool {
    !["Trash", "Drafts"].contains(&name[0].as_str())
}

fn is_inbox(name: &[String]) -> bool {
    name == ["INBOX"]
}

impl Life {
    fn new_mail(&mut self) -> (u32, Vec<u8>, i64) {
        let number = self.ledger.made;
        self.ledger.made += 1;
        let mut body = corpus::plain(&format!("random {number}"));
        if number.is_multiple_of(4) {
            body.extend(b"a line of a longer message\n".repeat(400));
        }
        (number, body, DATE + i64::from(number))
    }

    pub(super) fn append(&mut self, folder: &[&str]) {
        let (number, body, date) = self.new_mail();
        let flags = self.rng.pick(&["", "\\Seen", "\\Flagged work", "\\Seen \\Answered later"]).unwrap();
        self.setup.imap().append(folder, &body, flags, Some(date));
        self.story.push(format!("there: {number} in {folder:?}"));
    }

    pub(super) fn deliver(&mut self, folder: &[&str]) {
        let (number, body, date) = self.new_mail();
        let flags = self.rng.pick(&[None, Some("S"), Some("FS")]).unwrap();
        self.setup.root.folder(folder).deliver(&body, flags, Some(date));
        self.story.push(format!("here: {number} in {folder:?}"));
    }

    fn new_folder(&mut self, above: &[String]) -> Name {
        self.folders += 1;
        let name = format!("folder {}", self.folders);
        match is_inbox(above) || above.len() > 2 || self.rng.chance(500) {
            true => vec![name],
            false => [above, &[name]].concat(),
        }
    }

    pub(super) fn edit_there(&mut self) {
        let mut imap = self.setup.imap();
        let all: Vec<Name> = imap.folders().into_iter().filter(|name| is_usual(name)).collect();
        let (folder, target) = (self.rng.pick(&all).unwrap(), self.rng.pick(&all).unwrap());
        let (from, to) = (parts(&folder), parts(&target));
        let is_leaf = !all.iter().any(|name| name.len() > folder.len() && name.starts_with(&folder));
        let messages = imap.messages(&from);
        let message =
            self.rng.pick(&messages).and_then(|message| Some((message.uid.to_string(), number(&message.body)?)));
        match (self.rng.below(16), message) {
            (4..7, Some((uid, number))) => {
                let change = self.rng.pick(&["+FLAGS (\\Flagged)", "-FLAGS (\\Seen)", "+FLAGS (work)"]).unwrap();
                imap.store(&from, &uid, change);
                self.story.push(format!("there: {number} in {folder:?} {change}"));
            }
            (7..10, Some((uid, number))) if from != to => {
                imap.transfer(&from, &uid, &to);
                self.story.push(format!("there: {number} moved from {folder:?} to {target:?}"));
            }
            (10, Some((uid, number))) => {
                imap.expunge(&from, &uid);
                self.ledger.deleted_there.insert(number);
                self.story.push(format!("there: {number} in {folder:?} deleted"));
            }
            (11, Some((uid, number))) if from != to => {
                imap.ask("SELECT", &from);
                imap.ask(&format!("UID COPY {uid}"), &to);
                *self.ledger.copies.entry(number).or_default() += 1;
                self.story.push(format!("there: {number} copied from {folder:?} to {target:?}"));
            }
            (12, _) => {
                let name = self.new_folder(&folder);
                let made = imap.ask("CREATE", &parts(&name));
                self.story.push(format!("there: folder {name:?}: {made}"));
            }
            // The server makes Sent anew at once: a folder renamed and one of its old name are another test's.
            (13, _) if !is_inbox(&folder) && folder[0] != "Sent" => {
                let name = self.new_folder(&[]);
                imap.rename(&from, &parts(&name));
                self.story.push(format!("there: {folder:?} renamed to {name:?}"));
            }
            (14, _) if !is_inbox(&folder) && is_leaf && folder[0] != "Sent" => {
                self.ledger.deleted_there.extend(messages.iter().filter_map(|message| number(&message.body)));
                imap.delete(&from);
                self.story.push(format!("there: folder {folder:?} deleted"));
            }
            _ => self.append(&from),
        }
    }

    pub(super) fn edit_here(&mut self) {
        let root = self.setup.root.clone();
        let all: Vec<(Name, Maildir)> = root.folders().into_iter().filter(|(name, _)| is_usual(name)).collect();
        let Some((folder, maildir)) = self.rng.pick(&all) else { return };
        let (target, into) = self.rng.pick(&all).unwrap();
        let is_leaf = !all.iter().any(|(name, _)| name.len() > folder.len() && name.starts_with(&folder));
        let messages: Vec<Entry> = maildir.messages();
        let message = self.rng.pick(&messages).and_then(|entry| Some((number(&entry.content)?, entry)));
        match (self.rng.below(16), message) {
            (4..7, Some((number, entry))) => {
                let letters = self.rng.pick(&["S", "FS", "RS", ""]).unwrap();
                maildir.set_flags(&entry, letters);
                self.story.push(format!("here: {number} in {folder:?} gets {letters:?}"));
            }
            (7..10, Some((number, entry))) if folder != target => {
                let name = entry.path.file_name().unwrap().to_str().unwrap().split(":2,").next().unwrap().to_owned();
                fs::rename(&entry.path, into.0.join("cur").join(format!("{name}:2,S"))).unwrap();
                self.story.push(format!("here: {number} moved from {folder:?} to {target:?}"));
            }
            (10, Some((number, entry))) => {
                fs::remove_file(&entry.path).unwrap();
                self.ledger.deleted_here.insert(number);
                self.story.push(format!("here: {number} in {folder:?} deleted"));
            }
            (11, Some((number, entry))) if folder != target => {
                into.deliver(&entry.content, Some("S"), Some(entry.date));
                *self.ledger.copies.entry(number).or_default() += 1;
                self.story.push(format!("here: {number} copied from {folder:?} to {target:?}"));
            }
            (12, _) => {
                let name = self.new_folder(&folder);
                root.folder(&parts(&name)).create();
                self.story.push(format!("here: folder {name:?}"));
            }
            (13, _) if !is_inbox(&folder) => {
                let name = self.new_folder(&[]);
                rename_here(&self.setup, &parts(&folder), &parts(&name));
                self.story.push(format!("here: {folder:?} renamed to {name:?}"));
            }
            (14, _) if !is_inbox(&folder) && is_leaf && folder[0] != "Sent" => {
                self.ledger.deleted_here.extend(messages.iter().filter_map(|entry| number(&entry.content)));
                fs::remove_dir_all(&maildir.0).unwrap();
                self.story.push(format!("here: folder {folder:?} deleted"));
            }
            _ => self.deliver(&parts(&folder)),
        }
    }
}
