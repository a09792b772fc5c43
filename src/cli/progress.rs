//! Progress bars on a terminal.

use std::cell::Cell;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::output::Output;
use super::standing::Standing;
use super::watch::table::{Live, Table};
use crate::cycle::Event;
use crate::state::Database;

/// The bars of a run, one per account.
#[derive(Debug)]
pub(super) struct Bars(Option<MultiProgress>);

impl Bars {
    /// Returns bars on stderr if that is a terminal to draw on.
    pub(super) fn new(output: &Output) -> Self {
        Self(output.draws().then(MultiProgress::new))
    }

    /// Returns the progress of an account.
    pub(super) fn account(&self, name: &str) -> Progress {
        let bar = self.0.as_ref().map(|bars| bars.add(ProgressBar::no_length()));
        if let Some(bar) = &bar {
            set_style(bar, "{prefix}: {msg}");
            bar.set_prefix(name.to_owned());
        }
        let progress = Progress::new(bar.map_or(Shown::Nowhere, Shown::Bar));
        progress.look();
        progress
    }
}

/// One account's progress. Each event tells how many more.
#[derive(Debug)]
pub(super) struct Progress {
    shown: Shown,
    downloaded: Cell<u64>,
    uploaded: Cell<u64>,
}

/// Where progress can be seen.
#[derive(Debug)]
enum Shown {
    Nowhere,
    /// On a terminal.
    Bar(ProgressBar),
    /// By those who ask the daemon about an account.
    Table(Table, String),
}

impl Progress {
    fn new(shown: Shown) -> Self {
        Progress { shown, downloaded: Cell::new(0), uploaded: Cell::new(0) }
    }

    /// Returns progress that is told to those who ask the daemon.
    pub(super) fn told(table: Table, account: &str) -> Self {
        Progress::new(Shown::Table(table, account.to_owned()))
    }

    /// Returns true if somebody looks at it now.
    pub(super) fn is_watched(&self) -> bool {
        matches!(self.shown, Shown::Bar(_))
    }

    /// Tells how the account stands as it begins: until it is over nobody else can read that.
    pub(super) fn begin(&self, database: &mut Database) {
        if let Shown::Table(table, account) = &self.shown
            && let Ok(standing) = Standing::read(database)
        {
            table.stand(account, standing);
        }
    }

    /// Takes note of what is going on.
    pub(super) fn note(&self, event: Event) {
        match event {
            Event::Planned { download, upload, other } => self.plan(download + upload + other),
            Event::Downloaded(n) => {
                self.downloaded.set(self.downloaded.get() + n);
                self.advance(n, "downloading");
            }
            Event::Uploaded(n) => {
                self.uploaded.set(self.uploaded.get() + n);
                self.advance(n, "uploading");
            }
            Event::Changed(n) => self.advance(n, "changing"),
        }
    }

    /// Shows that it begins.
    pub(super) fn look(&self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.set_message("looking");
        }
    }

    /// Shows that another mailtide is waited for, and how far it is if it is the daemon.
    pub(super) fn wait(&self, daemon: Option<&Live>) {
        if let Shown::Bar(bar) = &self.shown {
            bar.set_message(waiting(daemon));
            bar.tick();
        }
    }

    /// Returns how many messages were downloaded and uploaded so far.
    pub(super) fn transferred(&self) -> (u64, u64) {
        (self.downloaded.get(), self.uploaded.get())
    }

    /// Takes the bar away, so that lines can be printed.
    pub(super) fn finish(&self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }

    fn plan(&self, n: u64) {
        match &self.shown {
            Shown::Nowhere => {}
            Shown::Bar(bar) => {
                set_style(bar, "{prefix}: [{wide_bar}] {pos}/{len} {msg}");
                bar.set_length(bar.length().unwrap_or(0) + n);
            }
            Shown::Table(table, account) => table.update(account, |live| live.planned += n),
        }
    }

    fn advance(&self, n: u64, message: &'static str) {
        match &self.shown {
            Shown::Nowhere => {}
            Shown::Bar(bar) => {
                bar.set_message(message);
                bar.inc(n);
            }
            Shown::Table(table, account) => table.update(account, |live| live.done += n),
        }
    }
}

fn waiting(daemon: Option<&Live>) -> String {
    match daemon.filter(|live| live.syncing_since.is_some()) {
        Some(live) if live.planned > 0 => format!("mailtide watch is at work: {}/{}", live.done, live.planned),
        Some(_) => "mailtide watch is at work".to_owned(),
        None => "waiting for another mailtide".to_owned(),
    }
}

/// A template that can't be read leaves the bar as it was.
fn set_style(bar: &ProgressBar, template: &str) {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use indicatif::ProgressDrawTarget;
    use std::collections::BTreeMap;

    #[test]
    fn transfers_are_counted_with_and_without_a_bar() {
        for bars in [Bars(None), Bars(Some(MultiProgress::with_draw_target(ProgressDrawTarget::hidden())))] {
            let progress = bars.account("work");
            for event in [
                Event::Planned { download: 3, upload: 2, other: 1 },
                Event::Downloaded(2),
                Event::Uploaded(2),
                Event::Planned { download: 1, upload: 0, other: 0 },
                Event::Downloaded(1),
                Event::Changed(1),
            ] {
                progress.note(event);
            }
            assert_eq!(progress.transferred(), (3, 2));
            if let Shown::Bar(bar) = &progress.shown {
                assert_eq!((bar.position(), bar.length()), (6, Some(7)));
            }
        }
    }

    #[test]
    fn those_who_wait_for_the_daemon_see_how_far_it_is() {
        let table = Table::default();
        table.reset(["work"].into_iter());
        let progress = Progress::told(table.clone(), "work");
        let seen = || {
            serde_json::from_str::<BTreeMap<String, Live>>(&table.answer("status").unwrap()).unwrap()["work"].clone()
        };
        assert_eq!(waiting(Some(&seen())), "waiting for another mailtide");
        table.update("work", |live| live.syncing_since = Some(5));
        assert_eq!(waiting(Some(&seen())), "mailtide watch is at work");
        progress.note(Event::Planned { download: 3, upload: 2, other: 1 });
        progress.note(Event::Downloaded(2));
        assert_eq!(waiting(Some(&seen())), "mailtide watch is at work: 2/6");
    }
}
