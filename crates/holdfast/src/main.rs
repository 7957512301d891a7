//! Holdfast as one program: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    holdfast::main(std::env::args_os().skip(1))
}
