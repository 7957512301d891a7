//! `./dev up` as a person meets it: real processes, real signals.
//!
//! These tests need the services' binaries, which `./dev` builds before it runs any test.

mod ends;
mod refusals;
mod runner;
mod works;
