//! Load, the callers' own histories of it, and the checks that join those histories with the record.
//!
//! Architecture invariant: this crate sees Holdfast as any caller does, over gRPC. What only the operator of the stores can do (wipe Redis, run the SQL
//! auditor) comes in through [`demo::Backstage`].

pub mod check;
pub mod demo;
pub mod history;
pub mod load;
mod rng;
mod shop;
