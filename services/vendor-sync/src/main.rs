//! The vendor-sync service's binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    holdfast_kit::main::<holdfast_vendor_sync::VendorSync>()
}
