//! The Redis gate.
