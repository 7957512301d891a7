//! `./dev up` as a person meets it: real processes, real signals.
//!
//! These tests need the services' binaries, which `./dev` builds before it runs any test.

#![expect(clippy::unwrap_used, reason = "helpers of tests may end the test")]

mod ends;
mod refusals;
mod runner;
mod works;
