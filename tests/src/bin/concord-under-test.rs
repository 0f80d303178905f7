//! The `concord` command with its fault points.

fn main() -> std::process::ExitCode {
    eprintln!("the command line is not built yet");
    std::process::ExitCode::from(4)
}
