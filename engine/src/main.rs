//! The `concord` command: see [`concord::cli`].

/// Rows are many small values, made by one thread and often given up by another, which this allocator is made for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    concord::cli::main()
}
