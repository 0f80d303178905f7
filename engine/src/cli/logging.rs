//! What is logged, and how: on stderr, by verbosity.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

use super::Global;
use super::progress::messages;

/// Starts logging. Only Concord's own messages grow with `-v`: what drivers log may contain statements.
pub fn start(global: &Global) {
    let filter = EnvFilter::new(format!("off,concord={}", level(global)));
    let start = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(messages)
        .with_ansi(stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty()))
        .with_target(global.verbose > 1)
        .try_init();
    // A program that uses this library may have a logger already.
    drop(start);
}

fn level(global: &Global) -> &'static str {
    match (global.quiet, global.verbose) {
        (true, _) => "error",
        (_, 0) => "warn",
        (_, 1) => "info",
        _ => "debug",
    }
}

#[cfg(test)]
mod tests {
    /// Without its feature `ansi` the library panics on a terminal, or complains in a release build.
    #[test]
    fn a_terminal_gets_colours() {
        drop(tracing_subscriber::fmt().with_ansi(true).finish());
    }
}
