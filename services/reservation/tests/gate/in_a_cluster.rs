//! What the scripts do must not depend on how many servers there are.

#![expect(clippy::duplicate_mod, reason = "the same tests in another world")]

mod world {
    pub(crate) use crate::world::cluster_world as world;
    pub(crate) use crate::world::*;
}

#[path = "publishing.rs"]
mod publishing;
#[path = "takes.rs"]
mod takes;
