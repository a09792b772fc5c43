//! Progress bars on a terminal.

use std::cell::Cell;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::output::Output;
use crate::cycle::Event;

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
            bar.set_message("looking");
        }
        Progress { bar, downloaded: Cell::new(0), uploaded: Cell::new(0) }
    }
}

/// One account's progress. Each event tells how many more.
#[derive(Debug)]
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    downloaded: Cell<u64>,
    uploaded: Cell<u64>,
}

impl Progress {
    /// Returns progress that is shown to nobody.
    pub(super) fn silent() -> Self {
        Progress { bar: None, downloaded: Cell::new(0), uploaded: Cell::new(0) }
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

    /// Shows that another mailtide is waited for.
    pub(super) fn wait(&self) {
        tracing::info!("waiting for another mailtide that is at work on the account");
        if let Some(bar) = &self.bar {
            bar.set_message("waiting for another mailtide");
            bar.tick();
        }
    }

    /// Returns how many messages were downloaded and uploaded so far.
    pub(super) fn transferred(&self) -> (u64, u64) {
        (self.downloaded.get(), self.uploaded.get())
    }

    /// Takes the bar away, so that lines can be printed.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn plan(&self, n: u64) {
        if let Some(bar) = &self.bar {
            set_style(bar, "{prefix}: [{wide_bar}] {pos}/{len} {msg}");
            bar.set_length(bar.length().unwrap_or(0) + n);
        }
    }

    fn advance(&self, n: u64, message: &'static str) {
        if let Some(bar) = &self.bar {
            bar.set_message(message);
            bar.inc(n);
        }
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
            let bar = progress.bar.as_ref().map(|bar| (bar.position(), bar.length()));
            assert!(bar.is_none_or(|bar| bar == (6, Some(7))), "{bar:?}");
        }
    }
}
