//! The `concord` command: see [`concord::cli`].

fn main() -> std::process::ExitCode {
    concord::cli::main()
}
