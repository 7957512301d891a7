//! What the scripts do must not depend on how many servers there are.

mod world {
    pub(crate) use crate::world::cluster_world as world;
    pub(crate) use crate::world::*;
}

#[path = "publishing.rs"]
mod publishing;
#[path = "takes.rs"]
mod takes;
