//! What `./dev lint` looks at besides rustfmt and clippy: which crate may use which, licences and sources of
//! dependencies, and the habits that no compiler knows. Each check answers with findings, one sentence each; the tests of
//! this crate run them too.

pub mod arrows;
pub mod metadata;
pub mod migrations;
pub mod supply;
pub mod tidy;
