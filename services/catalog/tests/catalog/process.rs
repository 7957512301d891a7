//! The service as a process of its own, to be killed.

use std::process::Stdio;
use std::time::Duration;

use holdfast_api::catalog::v1::catalog_service_client::CatalogServiceClient;
use holdfast_testkit::{Database, eventually};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tonic::transport::Channel;

use crate::world::client;

/// A running process; it is killed when it is dropped.
pub(crate) struct Process {
    pub(crate) client: CatalogServiceClient<Channel>,
    child: Child,
    _folder: TempDir,
}

impl Process {
    /// Starts it on a database, and waits until it serves.
    pub(crate) async fn start(database: &Database, keys: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().unwrap();
        let announced = folder.path().join("announced");
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast-catalog"));
        command.arg("serve").arg("--announce").arg(&announced);
        command.env("HOLDFAST_CATALOG__POSTGRES__URL", database.url());
        command.env("HOLDFAST_CATALOG__CALLERS__UNAUTHENTICATED_ROLES", r#"["merchandiser"]"#);
        command.env("HOLDFAST_CATALOG__SERVER__GRPC_LISTEN", "127.0.0.1:0");
        command.env("HOLDFAST_CATALOG__SERVER__ADMIN_LISTEN", "127.0.0.1:0");
        for (key, value) in keys {
            command.env(format!("HOLDFAST_CATALOG__{key}"), value);
        }
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn().unwrap();
        let address = || async {
            let text = std::fs::read_to_string(&announced).ok()?;
            let announced: serde_json::Value = serde_json::from_str(&text).ok()?;
            Some(announced["grpc"].as_str()?.to_owned())
        };
        let address = eventually("the process serves", Duration::from_secs(30), address).await;
        Self { client: client(&format!("http://{address}")), child, _folder: folder }
    }

    /// Kills it, as kill -9 does, and waits until it is gone.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}
