//! The command line: one file per subcommand. The only place that prints.
//!
//! Reports go to stdout, as tables or with `--json` as one JSON document; everything else goes to stderr.

pub mod bundle;
pub mod check;
pub mod conflicts;
pub mod demo;
pub mod install;
pub mod load;
mod logging;
pub mod new;
mod new_plugin;
pub mod parked;
pub mod plan;
pub mod plugin;
mod progress;
mod replay;
pub mod report;
pub mod reset;
pub mod status;
pub mod stop;
pub mod sync;
mod test_plugin;
pub mod uninstall;
pub mod verify;
pub mod watch;
pub mod why;

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgAction, Args, Parser, Subcommand};

use crate::config::{self, Config};
use crate::error::{DONE, Error, Result, USAGE};
use crate::sync::Session;

/// Keeps PostgreSQL, MySQL, MariaDB and SQLite databases that are all written to in agreement.
#[derive(Debug, Parser)]
#[command(name = "concord", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes:
  0  done
  1  differences or conflicts are left for a person
  2  the command line, the configuration or a database's set-up must be corrected
  3  a node could not be reached, or what was needed there was locked or lacked room; run the command again
  4  internal error";

const HEADING: &str = "For every command";

/// What can be said to every command.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// The file that describes the sync
    #[arg(short, long, global = true, help_heading = HEADING, value_name = "FILE", default_value = "concord.toml")]
    pub config: PathBuf,
    /// Tell more on stderr: -v what is done, -vv every step
    #[arg(short, long, global = true, help_heading = HEADING, action = ArgAction::Count)]
    pub verbose: u8,
    /// Tell nothing but errors on stderr
    #[arg(short, long, global = true, help_heading = HEADING, conflicts_with = "verbose")]
    pub quiet: bool,
}

/// For commands that report.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct Output {
    /// Report as one JSON document on stdout
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    New(new::New),
    Check(check::Check),
    Install(install::Install),
    Plan(plan::Plan),
    Load(load::Load),
    Sync(sync::Sync),
    Watch(watch::Watch),
    Status(status::Status),
    Why(why::Why),
    Verify(verify::Verify),
    Conflicts(conflicts::Conflicts),
    Parked(parked::Parked),
    Reset(reset::Reset),
    Uninstall(uninstall::Uninstall),
    Plugin(plugin::Plugins),
    Bundle(bundle::Bundles),
    Demo(demo::Demo),
}

/// The whole command: reads the process's arguments, runs, and says on stderr what went wrong.
pub fn main() -> ExitCode {
    let cli = match parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(code) => return ExitCode::from(code),
    };
    logging::start(&cli.global);
    ExitCode::from(run(cli).unwrap_or_else(|error| {
        if !error.is_silent() {
            complain(&error);
        }
        error.exit_code()
    }))
}

/// Reads the command line, or says what is wrong with it (or the help that was asked for) and returns the exit code.
pub fn parse<T: Into<OsString> + Clone>(args: impl IntoIterator<Item = T>) -> std::result::Result<Cli, u8> {
    Cli::try_parse_from(args).map_err(|error| {
        let code = if error.use_stderr() { USAGE } else { DONE };
        let text = error.render().to_string();
        // A misplaced argument is repeated in the message, and may be a URL with a password.
        if error.use_stderr() && text.contains("://") {
            note(config::without_urls(&text).trim_end());
        } else {
            // A closed pipe is no reason to fail.
            let _ = error.print();
        }
        code
    })
}

/// Runs one command and returns its exit code.
pub fn run(cli: Cli) -> Result<u8> {
    match cli.command {
        Command::New(new) => new::run(&new),
        Command::Check(check) => check::run(&cli.global, &check),
        Command::Install(install) => install::run(&cli.global, &install),
        Command::Plan(plan) => plan::run(&cli.global, &plan),
        Command::Load(load) => load::run(&cli.global, &load),
        Command::Sync(sync) => sync::run(&cli.global, &sync),
        Command::Watch(watch) => watch::run(&cli.global, &watch),
        Command::Status(status) => status::run(&cli.global, &status),
        Command::Why(why) => why::run(&cli.global, &why),
        Command::Verify(verify) => verify::run(&cli.global, &verify),
        Command::Conflicts(conflicts) => conflicts::run(&cli.global, &conflicts),
        Command::Parked(parked) => parked::run(&cli.global, &parked),
        Command::Reset(reset) => reset::run(&cli.global, &reset),
        Command::Uninstall(uninstall) => uninstall::run(&cli.global, &uninstall),
        Command::Plugin(plugins) => plugin::run(&cli.global, &plugins),
        Command::Bundle(bundles) => bundle::run(&cli.global, &bundles),
        Command::Demo(demo) => demo::run(&demo),
    }
}

/// Loads the configuration, with its warnings on stderr unless they are not wanted.
pub fn load(global: &Global) -> Result<Config> {
    let config = Config::load(&global.config)?;
    for warning in &config.warnings {
        remark(global.quiet, &format!("warning: {warning}"));
    }
    Ok(config)
}

/// Runs `work` with a session for the nodes of the configuration.
fn with_session<T>(global: &Global, work: impl AsyncFnOnce(&mut Session) -> Result<T>) -> Result<T> {
    let mut session = Session::new(load(global)?);
    block_on(async { work(&mut session).await })
}

/// Says what would be done and asks whether to go on, unless `yes` was said on the command line already.
fn agreed(what: &str, yes: bool) -> Result<bool> {
    if yes {
        return Ok(true);
    }
    let (stdin, mut stderr) = (std::io::stdin(), std::io::stderr());
    if !stdin.is_terminal() || !stderr.is_terminal() {
        return Err(Error::Usage(format!(
            "{what}\n    there is nobody to ask whether to go on: add --yes if that is meant"
        )));
    }
    write!(stderr, "{}\nGo on? [y/N] ", report::plain(what))?;
    stderr.flush()?;
    let mut answer = String::new();
    stdin.read_line(&mut answer)?;
    let yes = matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes");
    if !yes {
        note("nothing was changed");
    }
    Ok(yes)
}

/// Says on stderr why the command failed.
pub fn complain(error: &Error) {
    note(&match error {
        // Each of these begins with the file and the line, as editors expect it.
        Error::Config(_) => error.to_string(),
        Error::Refused(all) | Error::Unreachable(all) => {
            all.iter().map(|one| format!("error: {one}")).collect::<Vec<_>>().join("\n")
        }
        _ => format!("error: {error}"),
    });
}

/// Says on stderr what is no error: `quiet` is who asked for those alone.
fn remark(quiet: bool, message: &str) {
    if !quiet {
        note(message);
    }
}

/// One message on stderr, with `-q` as well: for what kept a command from doing all that it was told. A closed stderr is
/// nobody's concern.
fn note(message: &str) {
    let _ = writeln!(progress::messages(), "{}", report::plain(message));
}

/// Runs `work` on a runtime of its own, as commands that speak to databases do.
pub fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|why| Error::Internal(format!("starting the runtime: {why}")))?
        .block_on(work)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_explains_itself_with_an_example() {
        fn walk(command: &clap::Command) {
            assert!(command.get_about().is_some(), "{} says nothing", command.get_name());
            if !command.has_subcommands() {
                let help = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains("Example"), "{} has no example", command.get_name());
            }
            command.get_subcommands().for_each(walk);
        }
        let all = [
            bundle::Bundles::augment_args as fn(clap::Command) -> clap::Command,
            check::Check::augment_args,
            conflicts::Conflicts::augment_args,
            demo::Demo::augment_args,
            install::Install::augment_args,
            load::Load::augment_args,
            new::New::augment_args,
            parked::Parked::augment_args,
            plan::Plan::augment_args,
            plugin::Plugins::augment_args,
            reset::Reset::augment_args,
            status::Status::augment_args,
            sync::Sync::augment_args,
            uninstall::Uninstall::augment_args,
            verify::Verify::augment_args,
            watch::Watch::augment_args,
            why::Why::augment_args,
        ];
        for augment in all {
            let command = augment(clap::Command::new("concord"));
            command.clone().debug_assert();
            walk(&command);
        }
    }
}
