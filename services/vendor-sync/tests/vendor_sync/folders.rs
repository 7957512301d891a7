//! Drop folders: real ones.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use holdfast_api::vendorsync::v1 as wire;
use holdfast_api::vendorsync::v1::{FeedMode, RunOrigin, RunState};
use holdfast_testkit::{database, eventually};
use holdfast_vendor_sync::store::MIGRATOR;
use rand::Rng as _;
use tempfile::TempDir;

use crate::interruptions::Killable;
use crate::world::{FEED, World, connection, file, many, reason};

/// Long enough for anything on a busy machine; no test waits for so long when it passes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A world whose connection takes files from `acme/in`.
struct Folder {
    world: World,
    root: TempDir,
}

impl Folder {
    /// Looked at only when asked to, so that tests see each look.
    async fn quiet(offers: &str, done_suffix: &str) -> Self {
        Self::with(offers, done_suffix, &[("DROP__LOOK_MS", "86400000")]).await
    }

    async fn with(offers: &str, done_suffix: &str, keys: &[(&'static str, &str)]) -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("acme/in")).unwrap();
        let path = root.path().to_str().unwrap().to_owned();
        let mut all = vec![("DROP__ROOT", path.as_str()), ("DROP__SETTLE_MS", "100"), ("FETCH__POLL_MS", "20")];
        all.extend(keys);
        let world = World::with(&all).await;
        world.offers(offers);
        world.create(dropped(done_suffix)).await.unwrap();
        Self { world, root }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join("acme/in").join(name)
    }

    /// Drops a file that was changed so many minutes after a moment long past.
    fn put(&self, name: &str, minutes: u64, content: &str) {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_268_800 + minutes * 60);
        fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    }

    async fn look(&self) -> wire::FetchNowResponse {
        look(&self.world).await
    }

    /// What lies in the folder, the archive's files by what follows their hash.
    fn lies(&self) -> String {
        let names = |path: PathBuf| -> Vec<String> {
            let entries = fs::read_dir(path).into_iter().flatten();
            let mut names: Vec<String> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        let archived = names(self.path(".archive")).into_iter().map(|name| format!("archived:{}", &name[65..]));
        let mut all: Vec<String> =
            names(self.path("")).into_iter().filter(|name| name != ".archive").chain(archived).collect();
        all.sort();
        all.join(" ")
    }
}

fn dropped(done_suffix: &str) -> wire::Connection {
    let drop_folder =
        wire::DropFolder { path: "acme/in".into(), pattern: "*.csv".into(), done_suffix: done_suffix.into() };
    wire::Connection { drop_folder: Some(drop_folder), ..connection(FeedMode::Partial) }
}

async fn look(world: &World) -> wire::FetchNowResponse {
    let request = wire::FetchNowRequest { code: FEED.to_owned() };
    world.client.clone().fetch_now(request).await.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_rests_is_taken_once_and_archived() {
    let folder = Folder::quiet("a:CHAIR", "").await;
    folder.put("stock.csv", 5, &file("a=3"));
    let looked = folder.look().await;
    assert_eq!(looked.fetch_status, "1 file taken");
    let [run] = looked.runs.as_slice() else { panic!("one run: {:?}", looked.runs) };
    assert_eq!(
        (run.state(), run.origin(), run.file_name.as_str()),
        (RunState::Applied, RunOrigin::DropFolder, "stock.csv")
    );
    assert_eq!(run.as_of_time.unwrap().seconds, 1_767_268_800 + 300, "when the file was changed");
    assert_eq!((folder.lies().as_str(), folder.world.stock().as_str()), ("archived:stock.csv", "CHAIR=3"));
    assert_eq!(folder.look().await.fetch_status, "nothing new");
    let request = wire::GetConnectionRequest { code: FEED.to_owned() };
    let read = folder.world.client.clone().get_connection(request).await.unwrap().into_inner().connection.unwrap();
    assert_eq!(read.fetch_status, "nothing new");
    assert!(read.fetch_time.is_some());
    // The same file dropped again is the same run; a later one is another.
    folder.put("stock.csv", 5, &file("a=3"));
    let again = folder.look().await;
    assert_eq!(
        (again.runs[0].run_id.as_str(), again.fetch_status.as_str()),
        (run.run_id.as_str(), "1 file known already")
    );
    folder.put("stock.csv", 6, &file("a=3"));
    assert_ne!(folder.look().await.runs[0].run_id, run.run_id);
    assert_eq!(folder.lies(), "archived:stock.csv");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_taken_by_themselves() {
    let folder = Folder::with("a:CHAIR", "", &[("DROP__LOOK_MS", "50")]).await;
    folder.put("stock.csv", 0, &file("a=3"));
    eventually("the file is applied", PATIENCE, || async { (folder.world.stock() == "CHAIR=3").then_some(()) }).await;
    eventually("the file is archived", PATIENCE, || async { (folder.lies() == "archived:stock.csv").then_some(()) })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_grows_is_not_taken_until_it_rests() {
    let folder = Folder::quiet("a:CHAIR b:CUP", "").await;
    folder.put("stock.csv", 0, "code,stock,name\na,3,x\n");
    let world = &folder.world;
    // Each look finds another size, until it does not.
    let growing = async {
        eventually("the file is seen", PATIENCE, || async {
            (world.number("SELECT count(*) FROM drop_file").await == 1).then_some(())
        })
        .await;
        folder.put("stock.csv", 1, &file("a=3 b=5"));
    };
    let (looked, ()) = tokio::join!(folder.look(), growing);
    if looked.runs.is_empty() {
        assert_eq!(looked.fetch_status, "1 file seen, to be taken if unchanged");
        assert_eq!(folder.look().await.runs.len(), 1);
    }
    assert_eq!((world.stock().as_str(), world.number("SELECT count(*) FROM run").await), ("CHAIR=3 CUP=5", 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_with_its_marker_is_taken_at_once_and_the_marker_with_it() {
    let folder = Folder::quiet("a:CHAIR", ".done").await;
    folder.put("stock.csv", 0, &file("a=3"));
    assert_eq!(folder.look().await.fetch_status, "1 file without a marker");
    assert_eq!(folder.look().await.runs, []);
    folder.put("stock.csv.done", 0, "");
    assert_eq!(folder.look().await.fetch_status, "1 file taken");
    assert_eq!((folder.lies().as_str(), folder.world.stock().as_str()), ("archived:stock.csv", "CHAIR=3"));
    folder.put("stock.csv", 1, "code,st");
    assert_eq!(folder.look().await.runs, [], "the old marker says nothing of the new file");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn later_files_are_applied_later() {
    let folder = Folder::quiet("a:CHAIR", "").await;
    folder.put("a-newest.csv", 9, &file("a=9"));
    folder.put("b-oldest.csv", 1, &file("a=1"));
    folder.put("c-middle.csv", 5, &file("a=5"));
    let looked = folder.look().await;
    let names: Vec<&str> = looked.runs.iter().map(|run| run.file_name.as_str()).collect();
    assert_eq!(names, ["b-oldest.csv", "c-middle.csv", "a-newest.csv"]);
    assert_eq!((looked.fetch_status.as_str(), folder.world.stock().as_str()), ("3 files taken", "CHAIR=9"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_cannot_be_taken_are_told_and_block_no_other() {
    let keys = [("DROP__LOOK_MS", "86400000"), ("UPLOADS__FILE_BYTES_MAX", "5000")];
    let folder = Folder::with("a:CHAIR", "", &keys).await;
    folder.put("a-huge.csv", 0, &"x".repeat(5001));
    folder.put("b-empty.csv", 0, "");
    folder.put("c-good.csv", 0, &file("a=3"));
    folder.put("notes.txt", 0, "not a feed");
    folder.put(".hidden.csv", 0, &file("a=7"));
    fs::create_dir(folder.path("folder.csv")).unwrap();
    symlink("/etc/passwd", folder.path("d-link.csv")).unwrap();
    let looked = folder.look().await;
    let states: Vec<(&str, RunState)> = looked.runs.iter().map(|run| (run.file_name.as_str(), run.state())).collect();
    assert_eq!(states, [("b-empty.csv", RunState::Refused), ("c-good.csv", RunState::Applied)]);
    for part in [
        "2 files taken",
        "d-link.csv: a symbolic link is not followed",
        "a-huge.csv: 5001 bytes are more than the 5000 that are taken",
        "b-empty.csv: the file is empty",
    ] {
        assert!(looked.fetch_status.contains(part), "{part}: {}", looked.fetch_status);
    }
    assert_eq!(
        folder.lies(),
        ".hidden.csv a-huge.csv archived:b-empty.csv archived:c-good.csv d-link.csv folder.csv notes.txt"
    );
    assert_eq!(folder.world.stock(), "CHAIR=3");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_symbolic_link_leads_out_of_the_root() {
    let folder = Folder::quiet("a:CHAIR", "").await;
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("stock.csv"), file("a=7")).unwrap();
    fs::remove_dir_all(folder.root.path().join("acme/in")).unwrap();
    assert_eq!(folder.look().await.fetch_status, "the folder does not exist: \"in\"");
    symlink(outside.path(), folder.root.path().join("acme/in")).unwrap();
    let looked = folder.look().await;
    assert!(looked.fetch_status.contains("symbolic link, which is not followed"), "{}", looked.fetch_status);
    assert_eq!((looked.runs.len(), folder.world.stock().as_str()), (0, ""));
    assert!(outside.path().join("stock.csv").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_cannot_be_moved_away_is_taken_once() {
    let folder = Folder::quiet("a:CHAIR", "").await;
    // A file in the archive's place: tests may run as root, to whom no folder is read-only.
    fs::write(folder.path(".archive"), "").unwrap();
    folder.put("stock.csv", 0, &file("a=3"));
    let first = folder.look().await;
    assert!(first.fetch_status.starts_with("1 file taken; the archive cannot be opened"), "{}", first.fetch_status);
    let second = folder.look().await;
    assert_eq!((second.fetch_status.as_str(), second.runs.len()), ("1 file known already", 1));
    assert_eq!(second.runs[0].run_id, first.runs[0].run_id);
    folder.put("stock.csv", 1, &file("a=4"));
    assert_eq!(folder.look().await.runs.len(), 1, "a newer one in its place is taken");
    assert_eq!((folder.world.stock().as_str(), folder.world.number("SELECT count(*) FROM run").await), ("CHAIR=4", 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_can_be_looked_at_is_looked_at() {
    let world = World::feed(FeedMode::Full, "").await;
    let fetch = |code: &str| {
        let (mut client, code) = (world.client.clone(), code.to_owned());
        async move { client.fetch_now(wire::FetchNowRequest { code }).await }
    };
    assert_eq!(crate::world::violations(fetch(FEED).await).0, ["code"]);
    assert_eq!(crate::world::violations(fetch("a b").await).0, ["code"]);
    assert_eq!(reason(fetch("nobody").await), holdfast_api::error::v1::ErrorReason::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_take_every_file_once() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("acme/in")).unwrap();
    let path = root.path().to_str().unwrap().to_owned();
    let keys = [
        ("DROP__ROOT", path.as_str()),
        ("DROP__SETTLE_MS", "30"),
        ("DROP__LOOK_MS", "30"),
        ("FETCH__POLL_MS", "5"),
        ("FETCH__LEASE_MS", "20"),
    ];
    let mut world = World::with(&keys).await;
    world.offers("a:CHAIR");
    let shutdown = world.shutdown.clone();
    world.create(dropped("")).await.unwrap();
    // A lease much shorter than a look: both look at once, all the time.
    world.start_again().await;
    let folder = Folder { world, root };
    for n in 0..30 {
        folder.put(&format!("stock-{n}.csv"), n, &file(&format!("a={n}")));
    }
    eventually("all are archived", PATIENCE, || async {
        let lies = folder.lies();
        (lies.split(' ').count() == 30 && lies.split(' ').all(|name| name.starts_with("archived:"))).then_some(())
    })
    .await;
    eventually("all are applied", PATIENCE, || async {
        (folder.world.number("SELECT count(*) FROM run WHERE state = 'APPLIED'").await == 30).then_some(())
    })
    .await;
    assert_eq!(folder.world.number("SELECT count(*) FROM run").await, 30);
    assert_eq!(folder.world.stock(), "CHAIR=29");
    shutdown.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_every_file_has_its_effect_once() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("acme/in")).unwrap();
    let path = root.path().to_str().unwrap().to_owned();
    let keys = [
        ("DROP__ROOT", path.as_str()),
        ("DROP__SETTLE_MS", "20"),
        ("DROP__LOOK_MS", "20"),
        ("FETCH__POLL_MS", "5"),
        ("FETCH__LEASE_MS", "200"),
        ("RUNS__BATCH_COUNTS", "100"),
    ];
    let mut world = World::on(database("vendor_sync", &MIGRATOR).await, &keys).await;
    world.create(dropped(".done")).await.unwrap();
    world.shutdown.cancel();
    (&mut world.served).await.unwrap().unwrap();
    let (rows, offers) = many(300);
    world.offers(&offers);
    let folder = Folder { world, root };
    let seed = holdfast_testkit::seed();
    let mut random = seed.rng(0);
    for n in 0..5 {
        folder.put(&format!("stock-{n}.csv"), n, &format!("{}z,{n},thing\n", file(&rows)));
        folder.put(&format!("stock-{n}.csv.done"), n, "");
    }
    for _ in 0..6 {
        let mut process = Killable::start(&folder.world).await;
        let (received, finished) = (random.random_range(0..=5), random.random_range(0..=3));
        eventually("it got as far as it may", PATIENCE, || async {
            let runs = folder.world.number("SELECT count(*) FROM run").await;
            let applied = folder.world.number("SELECT count(*) FROM run WHERE state = 'APPLIED'").await;
            (runs >= received && applied >= finished).then_some(())
        })
        .await;
        process.kill().await;
    }
    let mut process = Killable::start(&folder.world).await;
    eventually("all files are applied", PATIENCE, || async {
        (folder.world.number("SELECT count(*) FROM run WHERE state = 'APPLIED'").await == 5).then_some(())
    })
    .await;
    process.kill().await;
    // A file whose marker was gone when the process died stays where it is; it was taken.
    assert_eq!(folder.world.number("SELECT count(*) FROM run").await, 5);
    let stock = folder.world.peers.stock.lock().unwrap();
    assert_eq!(stock.rows.len(), 300);
    assert!(stock.rows.iter().all(|((sku, _), row)| format!("S{:05}", row.on_hand) == *sku));
}
