//! The binary: turns what [`quell::cli`] answers into an exit code.

fn main() -> std::process::ExitCode {
    quell::cli::main()
}
