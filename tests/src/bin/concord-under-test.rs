//! The `concord` command with its fault points.

fn main() -> std::process::ExitCode {
    concord::cli::main()
}
