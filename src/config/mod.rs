//! The configuration: one TOML file, read whole and checked before anything is touched.
//!
//! [`raw`] is the file as written, [`checked`] what it means; `[defaults]` are merged in between. Every error names the
//! file, the line and the column.

pub mod checked;
pub mod error;
pub mod hooks;
pub mod paths;
pub mod raw;
pub mod secret;
pub mod server;
pub mod watch;

mod folders;
mod read;
mod roots;
mod values;

pub use checked::{Account, Config};
pub use error::ConfigError;
pub use hooks::Hooks;
pub use secret::Secret;
pub use server::Server;

#[cfg(test)]
mod tests;
