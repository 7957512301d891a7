//! Tests of the one program, in one binary: linking it is most of their cost.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod canary;
mod roles;
mod world;
