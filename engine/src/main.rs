//! The `concord` command: parse, run, exit code.

use std::process::ExitCode;

use concord::cli;

/// Rows are many small values, made by one thread and given up by another: an allocator that is good at that takes a third
/// off the engine's work (docs/benchmarks.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match cli::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(code) => return ExitCode::from(code),
    };
    cli::start_logging(&cli.global);
    ExitCode::from(match cli::run(cli) {
        Ok(code) => code,
        Err(error) => {
            if !error.is_silent() {
                cli::complain(&error);
            }
            error.exit_code()
        }
    })
}
