//! `./dev`: runs Holdfast on this machine.

use std::process::ExitCode;

fn main() -> ExitCode {
    holdfast_stack::commands::main()
}
