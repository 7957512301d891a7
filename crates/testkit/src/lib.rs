//! What tests say: isolated stores in one line, waits for conditions instead of sleeps, seeds that reproduce.
//!
//! A test that asks for a store that is not there fails and says how to get it; none is skipped.

pub mod database;
pub mod seed;
pub mod stores;
pub mod wait;

pub use database::{Database, database};
pub use seed::{Seed, seed};
pub use stores::{
    PrivatePostgres, PrivateRedis, PrivateRedisCluster, private_postgres, private_postgres_with_tls, redis,
    redis_cluster, redis_cluster_with, redis_with, stores,
};
pub use wait::eventually;
