//! The binary `holdfast-catalog`: serve, migrate, config, methods.

use std::process::ExitCode;

fn main() -> ExitCode {
    holdfast_kit::main::<holdfast_catalog::Catalog>()
}
