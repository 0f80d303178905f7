//! The `concord` command: see [`concord::cli`].

/// Rows are many small values, made by one thread and given up by another: an allocator that is good at that takes a third
/// off the engine's work (docs/benchmarks.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    concord::cli::main()
}
