//! The log on stderr.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;

use super::args::Globals;
use super::output::Output;

/// Starts logging. Only this crate's own events pass: async-imap and others log whole lines of the wire, passwords and
/// mail among them.
pub(super) fn start(globals: &Globals, output: &Output) {
    let level = match (globals.quiet, globals.verbose) {
        (true, _) => LevelFilter::OFF,
        (false, 0) => LevelFilter::WARN,
        (false, 1) => LevelFilter::INFO,
        (false, 2) => LevelFilter::DEBUG,
        (false, _) => LevelFilter::TRACE,
    };
    let ours = Targets::new().with_target("mailtide", level);
    let output = output.clone();
    let lines = tracing_subscriber::fmt::layer().with_writer(move || output.log()).with_filter(ours);
    // Fails only if a log was started before, which then stays.
    drop(tracing::subscriber::set_global_default(tracing_subscriber::registry().with(lines)));
}
