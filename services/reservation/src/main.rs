//! The reservation service: see the library.

fn main() -> std::process::ExitCode {
    holdfast_kit::main::<holdfast_reservation::Reservation>()
}
