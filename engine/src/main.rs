//! The `concord` command: parse, run, exit code.

use std::process::ExitCode;

use concord::cli;

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
