//! holdctl: the operator's command line of Holdfast.

use std::process::ExitCode;

fn main() -> ExitCode {
    holdfast_ctl::main()
}
