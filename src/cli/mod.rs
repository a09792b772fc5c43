//! The command line: parse, dispatch, exit code. The only part that prints.
//!
//! One file per command. `error` is the one place that finds the words, the hint and the exit code for what went
//! wrong; `render` writes what was done, for people and for programs.

mod account;
mod args;
mod check;
mod connect;
mod error;
mod exit;
mod folders;
mod headers;
mod hooks;
mod json;
mod log;
mod output;
mod progress;
mod render;
mod restore;
mod select;
mod shelf;
mod standing;
mod status;
mod stop;
mod stream;
mod sync;
mod watch;

use std::ffi::OsString;
use std::future::Future;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Cli, Command, Globals};
use error::Trouble;
use exit::Exit;
use output::Output;
use stop::Stop;

use crate::config::Config;
use crate::config::paths::Places;

/// Runs the program with these arguments, the program's name first.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match Cli::try_parse_from(arguments).and_then(contradictions) {
        Ok(cli) => dispatch(&cli).into(),
        Err(error) => usage(&error),
    }
}

fn contradictions(cli: Cli) -> Result<Cli, clap::Error> {
    match cli.globals.quiet && cli.command.json() {
        false => Ok(cli),
        true => Err(Cli::command()
            .error(clap::error::ErrorKind::ArgumentConflict, "the argument '--quiet' cannot be used with '--json'")),
    }
}

/// Prints help, version or a usage error. A reader that has gone away is no error.
fn usage(error: &clap::Error) -> ExitCode {
    drop(error.print());
    u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
}

fn dispatch(cli: &Cli) -> Exit {
    let output = Output::new(&cli.globals);
    let output = if matches!(cli.command, Command::Watch(_)) { output.behind() } else { output };
    log::start(&cli.globals, &output);
    stop::outlive_large_files();
    output.ended(match &cli.command {
        Command::Sync(args) => sync::main(args, &cli.globals, &output),
        Command::Watch(args) => watch::main(args, &cli.globals, &output),
        Command::Status(args) => status::main(args, &cli.globals, &output),
        Command::Folders(args) => folders::main(args, &cli.globals, &output),
        Command::Check(args) => check::main(args, &cli.globals, &output),
        Command::Restore(args) => restore::main(args, &cli.globals, &output),
    })
}

/// Reads the configuration that the options and the environment ask for.
fn configuration(globals: &Globals) -> Result<Config, Trouble> {
    let places = Places::of_user().ok_or_else(Trouble::homeless)?;
    let file = places.config_file(globals.config.clone(), std::env::var_os("MAILTIDE_CONFIG"));
    Config::load(&file, &places).map_err(|error| Trouble::config(&error))
}

/// Runs one task per account on this thread, until all are done or a signal stops them.
fn run_all<T, F: Future<Output = T>>(tasks: impl FnOnce(&Stop) -> Vec<F>) -> Result<Vec<T>, Trouble> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Trouble::machine("starting the runtime", &error))?;
    let results = runtime.block_on(async {
        let stop = Stop::on_signals().map_err(|error| Trouble::machine("watching for signals", &error))?;
        let results = futures_util::future::join_all(tasks(&stop)).await;
        Stop::release();
        Ok(results)
    });
    // A thread that still waits for a lock must not delay the end.
    runtime.shutdown_background();
    results
}
