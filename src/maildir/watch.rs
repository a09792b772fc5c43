//! Watching maildirs for changes: inotify on Linux, through the `notify` crate.
//!
//! Watched are the `cur` and `new` of every maildir, and every directory that holds maildirs or could. What the events
//! say is only in which maildirs something changed, and whether directories did: what changed is for a scan to see.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind, RemoveKind, RenameMode};
use notify::{ErrorKind, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::diary::{Diary, Entry};
use super::list::PARTS;
use super::{Layout, Settings, layout, name, rename};
use crate::model::MailboxName;

/// Why not everything can be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The system allows no more watches, or no more who watch.
    #[error("the system's limit of watched directories is reached")]
    Limit,
    /// Anything else.
    #[error("directories can't be watched: {0}")]
    Other(notify::Error),
}

impl From<notify::Error> for WatchError {
    fn from(error: notify::Error) -> Self {
        match &error.kind {
            ErrorKind::MaxFilesWatch => WatchError::Limit,
            // EMFILE: of `fs.inotify.max_user_instances`, or of open files.
            ErrorKind::Io(cause) if cause.raw_os_error() == Some(24) => WatchError::Limit,
            _ => WatchError::Other(error),
        }
    }
}

/// What was heard since it was last asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heard {
    /// The folders in whose maildirs a message file came, went, or has another name; `None` stands for any folder.
    pub mail: BTreeSet<Option<MailboxName>>,
    /// A directory came, went, or has another name, or events were lost: the watch has to be renewed.
    pub structure: bool,
}

impl Heard {
    /// Returns true if something was heard.
    pub fn is_any(&self) -> bool {
        !self.mail.is_empty() || self.structure
    }

    /// What was missed is unknown.
    fn missed() -> Self {
        Self { mail: [None].into(), structure: true }
    }
}

/// What the thread that receives the events shares with those who wait for them.
#[derive(Debug)]
struct Shared {
    settings: Settings,
    state: Mutex<State>,
    diary: Diary,
    rung: tokio::sync::Notify,
}

#[derive(Debug, Default)]
struct State {
    heard: Heard,
    /// Directories other than `cur` and `new` that are watched.
    holders: BTreeSet<PathBuf>,
}

impl Shared {
    /// What a thread that panicked left behind is still true.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, event: &notify::Result<Event>) {
        let mut state = self.state();
        let mut heard = match event {
            Ok(event) => judge(event, &self.settings, &state.holders, &self.diary),
            Err(_) => Heard::missed(),
        };
        let is_any = heard.is_any();
        state.heard.mail.append(&mut heard.mail);
        state.heard.structure |= heard.structure;
        drop(state);
        if is_any {
            self.rung.notify_one();
        }
    }
}

/// Watches an account's maildirs.
#[derive(Debug)]
pub struct Watch {
    watcher: RecommendedWatcher,
    watched: BTreeSet<PathBuf>,
    shared: Arc<Shared>,
}

impl Watch {
    /// Starts to watch nothing yet: [`Watch::renew`] finds what to watch. What is in the diary is not told.
    ///
    /// # Errors
    /// The system lets nobody watch any more.
    pub fn new(settings: Settings, diary: Diary) -> Result<Watch, WatchError> {
        let (state, rung) = Default::default();
        let shared = Arc::new(Shared { settings, state, diary, rung });
        let hearing = Arc::clone(&shared);
        let watcher = notify::recommended_watcher(move |event| hearing.hear(&event))?;
        Ok(Watch { watcher, watched: BTreeSet::new(), shared })
    }

    /// Finds the directories that are there now, and watches these. What changed in a directory before it was watched
    /// is not told: look at everything after this.
    ///
    /// # Errors
    /// Not everything can be watched; what could be is.
    pub fn renew(&mut self) -> Result<(), WatchError> {
        let mut found = Found::default();
        found.walk(&self.shared.settings, self.shared.settings.root.clone(), true);
        let wanted: BTreeSet<PathBuf> = found.holders.union(&found.parts).cloned().collect();
        // First those that are gone: a directory that has another name now is still watched under the old one.
        for gone in self.watched.difference(&wanted) {
            // What is gone needs no further removal.
            self.watcher.unwatch(gone).ok();
        }
        self.watched.retain(|path| wanted.contains(path));
        self.shared.state().holders = found.holders;
        let mut all = Ok(());
        for path in wanted {
            // Those that are watched, too: another directory may have this name now. For the same one it changes nothing.
            match self.watcher.watch(&path, RecursiveMode::NonRecursive) {
                Ok(()) => drop(self.watched.insert(path)),
                // It vanished meanwhile, which its parent's watch tells.
                Err(error) if is_gone(&error) => drop(self.watched.remove(&path)),
                Err(error) => all = all.and(Err(error.into())),
            }
        }
        all
    }

    /// Returns true if the root is watched: one that is not there can't be.
    pub fn has_root(&self) -> bool {
        self.watched.contains(&self.shared.settings.root)
    }

    /// Waits until something was heard. Dropping the future loses nothing.
    pub async fn changed(&self) {
        while !self.shared.state().heard.is_any() {
            self.shared.rung.notified().await;
        }
    }

    /// Returns what was heard since it was last asked.
    pub fn take(&self) -> Heard {
        std::mem::take(&mut self.shared.state().heard)
    }
}

fn is_gone(error: &notify::Error) -> bool {
    match &error.kind {
        ErrorKind::PathNotFound => true,
        ErrorKind::Io(cause) => matches!(cause.raw_os_error(), Some(2 | 20)),
        _ => false,
    }
}

/// Directories to watch.
#[derive(Debug, Default)]
struct Found {
    /// Those that are or hold maildirs, or could.
    holders: BTreeSet<PathBuf>,
    /// `cur` and `new` of maildirs.
    parts: BTreeSet<PathBuf>,
}

impl Found {
    /// Takes in a directory and those below it. What can't be read is left to the scans, which say so.
    fn walk(&mut self, settings: &Settings, directory: PathBuf, is_root: bool) {
        let mut open = vec![(directory, is_root)];
        while let Some((directory, is_root)) = open.pop() {
            let Ok(entries) = fs::read_dir(&directory) else { continue };
            for entry in entries.filter_map(Result::ok) {
                if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    continue;
                }
                match entry.file_name().to_str() {
                    Some("cur" | "new") => drop(self.parts.insert(entry.path())),
                    Some(name) if holds(settings.layout, name, is_root) => open.push((entry.path(), false)),
                    _ => {}
                }
            }
            self.holders.insert(directory);
        }
    }
}

/// Returns true if a directory of this name, in the root or below, can be or hold a maildir.
fn holds(layout: Layout, name: &str, in_root: bool) -> bool {
    let taken = PARTS.contains(&name) || rename::is_on_its_way(name);
    match layout {
        Layout::Fs => !taken && !name.starts_with('.'),
        Layout::MaildirPlusPlus => !taken && in_root && name.starts_with('.'),
    }
}

/// Returns what an event says. `holders` are the watched directories other than `cur` and `new`.
fn judge(event: &Event, settings: &Settings, holders: &BTreeSet<PathBuf>, diary: &Diary) -> Heard {
    if event.need_rescan() {
        return Heard::missed();
    }
    let mut heard = Heard::default();
    // Both ends of a rename come by themselves, too.
    if event.kind == EventKind::Modify(ModifyKind::Name(RenameMode::Both)) {
        return heard;
    }
    for path in &event.paths {
        match is_in_part(path) {
            true if is_message(path) && is_of_mail(event.kind) && !is_ours(event.kind, path, diary) => {
                heard.mail.insert(folder_of(path, settings));
            }
            true => {}
            false => heard.structure |= is_of_structure(event.kind, path, holders),
        }
    }
    heard
}

/// Returns the folder of a message file, by local name.
fn folder_of(file: &Path, settings: &Settings) -> Option<MailboxName> {
    let maildir = file.parent()?.parent()?.strip_prefix(&settings.root).ok()?;
    let directories = maildir.iter().map(|directory| Some(directory.to_str()?.to_owned()));
    layout::name_of(settings.layout, &directories.collect::<Option<Vec<String>>>()?)
}

fn is_ours(kind: EventKind, path: &Path, diary: &Diary) -> bool {
    match kind {
        EventKind::Create(_) | EventKind::Modify(ModifyKind::Name(RenameMode::To)) => {
            diary.take(&Entry::Appears(path.to_owned()))
        }
        EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From)) => {
            diary.take(&Entry::Vanishes(path.to_owned()))
        }
        _ => false,
    }
}

fn is_in_part(path: &Path) -> bool {
    path.parent().and_then(Path::file_name).is_some_and(|name| name == "cur" || name == "new")
}

fn is_message(path: &Path) -> bool {
    path.file_name().and_then(OsStr::to_str).is_some_and(|file| name::parse(file).is_some())
}

/// A file is there once it has its name. Later writes to it count when they are done: a draft saved in place.
fn is_of_mail(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::Create(_)
            | EventKind::Remove(_)
            | EventKind::Modify(ModifyKind::Name(_))
            | EventKind::Access(AccessKind::Close(AccessMode::Write))
    )
}

fn is_of_structure(kind: EventKind, path: &Path, holders: &BTreeSet<PathBuf>) -> bool {
    match kind {
        EventKind::Create(CreateKind::Folder) | EventKind::Remove(RemoveKind::Folder) => true,
        // Of a watched directory itself the kind is not told.
        EventKind::Create(CreateKind::Any) | EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)) => {
            holders.contains(path) || path.is_dir()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn settings(root: &Path, layout: Layout) -> Settings {
        Settings { root: root.to_owned(), layout, trash: root.join("../trash") }
    }

    fn maildir(path: &Path) {
        for part in PARTS {
            fs::create_dir_all(path.join(part)).unwrap();
        }
    }

    /// Waits for what is heard, and gathers until all of it is.
    async fn hear(watch: &Watch, wanted: Heard) {
        let mut heard = Heard::default();
        let all = async {
            while !(heard.mail.is_superset(&wanted.mail) && heard.structure >= wanted.structure) {
                watch.changed().await;
                let mut more = watch.take();
                heard.mail.append(&mut more.mail);
                heard.structure |= more.structure;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(10), all).await.is_ok();
        assert!(in_time, "{heard:?} instead of {wanted:?}");
    }

    const STRUCTURE: Heard = Heard { mail: BTreeSet::new(), structure: true };

    fn mail(folder: &str) -> Heard {
        Heard { mail: [MailboxName::parse(folder)].into(), structure: false }
    }

    #[tokio::test]
    async fn every_change_of_mail_and_folders_is_heard_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let inbox = root.join("INBOX");
        maildir(&inbox);
        let mut watch = Watch::new(settings(&root, Layout::Fs), Diary::default()).unwrap();
        watch.renew().unwrap();
        assert!(watch.has_root());
        // What comes before the mail in one directory's order of events would have been heard with it.
        fs::write(inbox.join("tmp/1.a"), "Subject: x\n\nx\n").unwrap();
        fs::write(inbox.join("dovecot-keywords"), "0 x\n").unwrap();
        fs::write(inbox.join("cur/.hidden"), "x").unwrap();
        fs::rename(inbox.join("tmp/1.a"), inbox.join("new/1.a")).unwrap();
        watch.changed().await;
        assert_eq!(watch.take(), mail("INBOX"));
        fs::rename(inbox.join("new/1.a"), inbox.join("cur/1.a:2,S")).unwrap();
        hear(&watch, mail("INBOX")).await;
        fs::write(inbox.join("cur/1.a:2,S"), "Subject: y\n\ny\n").unwrap();
        hear(&watch, mail("INBOX")).await;
        fs::remove_file(inbox.join("cur/1.a:2,S")).unwrap();
        hear(&watch, mail("INBOX")).await;
        fs::create_dir(root.join("Archive")).unwrap();
        hear(&watch, STRUCTURE).await;
        watch.renew().unwrap();
        maildir(&root.join("Archive/2025"));
        hear(&watch, STRUCTURE).await;
        watch.renew().unwrap();
        fs::rename(root.join("Archive"), root.join("Old")).unwrap();
        hear(&watch, STRUCTURE).await;
        watch.renew().unwrap();
        watch.take();
        fs::write(root.join("Old/2025/new/2.b"), "Subject: x\n\nx\n").unwrap();
        hear(&watch, mail("Old/2025")).await;
        fs::remove_dir_all(root.join("Old")).unwrap();
        hear(&watch, STRUCTURE).await;
        watch.renew().unwrap();
    }

    #[tokio::test]
    async fn a_root_that_is_not_there_is_watched_once_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap().join("Mail");
        let mut watch = Watch::new(settings(&root, Layout::MaildirPlusPlus), Diary::default()).unwrap();
        watch.renew().unwrap();
        assert!(!watch.has_root());
        maildir(&root);
        maildir(&root.join(".Sent"));
        maildir(&root.join("other"));
        watch.renew().unwrap();
        assert!(watch.has_root());
        fs::write(root.join("other/new/1.a"), "x").unwrap();
        fs::write(root.join(".Sent/new/2.b"), "x").unwrap();
        hear(&watch, mail("Sent")).await;
    }

    #[tokio::test]
    async fn what_is_in_the_diary_is_not_told_and_what_others_do_after_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        maildir(&root.join("INBOX"));
        let diary = Diary::kept();
        let mut watch = Watch::new(settings(&root, Layout::Fs), diary.clone()).unwrap();
        watch.renew().unwrap();
        let [new, seen, answered] =
            ["new/1.a", "cur/1.a:2,S", "cur/1.a:2,RS"].map(|file| root.join("INBOX").join(file));
        let ours = |from: &Path, to: &Path| {
            diary.doing(|| Entry::rename(from, to), || fs::rename(from, to), Result::is_ok).unwrap();
        };
        fs::write(root.join("INBOX/tmp/1.a"), "Subject: x\n\nx\n").unwrap();
        ours(&root.join("INBOX/tmp/1.a"), &new);
        ours(&new, &seen);
        // A directory's event behind the others': what came before it has been judged by then.
        fs::create_dir(root.join("behind")).unwrap();
        watch.changed().await;
        assert_eq!(watch.take(), STRUCTURE);
        fs::rename(&seen, &answered).unwrap();
        hear(&watch, mail("INBOX")).await;
        fs::rename(&answered, &seen).unwrap();
        hear(&watch, mail("INBOX")).await;
    }

    #[test]
    fn limits_are_told_from_other_errors() {
        let io = |code| notify::Error::io(std::io::Error::from_raw_os_error(code));
        assert!(matches!(WatchError::from(notify::Error::new(ErrorKind::MaxFilesWatch)), WatchError::Limit));
        assert!(matches!(WatchError::from(io(24)), WatchError::Limit));
        assert!(matches!(WatchError::from(io(13)), WatchError::Other(_)));
        assert!(is_gone(&io(2)) && !is_gone(&io(13)));
    }
}
