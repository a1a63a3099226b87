//! The binary: turns what [`quell::cli`] answers into an exit code.

/// A message makes some hundred small allocations, many of them freed by another thread; this costs
/// half of what the system's allocator does for that (`benches/end_to_end`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    quell::cli::main()
}
