//! What `./dev up` refuses, it explains, with a next step; and it leaves nothing running.

use std::net::TcpListener;

use rustix::process::Signal;

use crate::runner::{Place, users};

#[test]
fn a_second_up_in_the_same_folder_is_refused_and_down_ends_the_first() {
    let place = Place::new(users()[0]);
    let running = place.up(&[]);
    let (status, text) = place.run(&["up"]);
    assert_eq!(status.code(), Some(1));
    assert!(text.contains("another ./dev runs in this folder") && text.contains(&running.pid().to_string()), "{text}");
    assert!(text.contains("./dev down"), "{text}");
    let (status, text) = place.run(&["down"]);
    assert_eq!((status.code(), running.ended().code()), (Some(0), Some(0)), "{text}");
}

#[test]
fn a_port_that_is_taken_is_named() {
    let place = Place::new(users()[0]);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for flag in ["--postgres-port", "--redis-port", "--reservation-port"] {
        let (status, text) = place.run(&["up", flag, &port]);
        assert_eq!(status.code(), Some(1), "{flag}: {text}");
        assert!(text.contains(&format!("port {port} on 127.0.0.1 is in use")), "{flag}: {text}");
        assert!(text.contains("next:"), "{flag}: {text}");
    }
}

#[test]
fn data_of_another_postgres_is_left_alone() {
    let place = Place::new(users()[0]);
    let data = place.state().join("postgres");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("PG_VERSION"), "9\n").unwrap();
    let (status, text) = place.run(&["up"]);
    assert_eq!(status.code(), Some(1), "{text}");
    assert!(text.contains("was written by PostgreSQL 9") && text.contains("./dev reset"), "{text}");
    assert_eq!(std::fs::read_to_string(data.join("PG_VERSION")).unwrap(), "9\n");
    let (status, text) = place.run(&["reset", "--yes"]);
    assert!(status.success() && !data.exists(), "{text}");
}

#[test]
fn reset_asks_and_does_not_touch_what_runs() {
    let place = Place::new(users()[0]);
    let running = place.up(&[]);
    let (status, text) = place.run(&["reset", "--yes"]);
    assert_eq!(status.code(), Some(1));
    assert!(text.contains("./dev down"), "{text}");
    running.signal(Signal::TERM);
    running.ended();
    let (status, text) = place.run(&["reset"]);
    assert_eq!(status.code(), Some(1));
    assert!(text.contains("--yes"), "{text}");
    assert!(place.state().join("postgres").exists());
}

#[test]
fn a_state_folder_that_cannot_be_written_is_named() {
    let Some(nobody) = users().into_iter().nth(1) else { return };
    let place = Place::new(nobody);
    rustix::fs::chown(place.state(), Some(rustix::fs::Uid::ROOT), None).unwrap();
    let (status, text) = place.run(&["up"]);
    assert_eq!(status.code(), Some(1));
    assert!(text.contains("cannot be written") && text.contains("next:"), "{text}");
}

#[test]
fn a_disk_without_room_is_refused_before_anything_is_written() {
    // A small file system of one's own takes a namespace; where those are forbidden, there is nothing to test with.
    let place = Place::new(users()[0]);
    let mount = format!("mount -t tmpfs -o size=64m tmpfs {} && exec \"$0\" \"$@\"", place.state().display());
    let inside = place.command(&["up"]);
    let mut command = std::process::Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &mount]).arg(inside.get_program());
    command.args(inside.get_args()).envs(inside.get_envs().filter_map(|(key, value)| Some((key, value?))));
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    if text.contains("unshare failed") || text.contains("mount:") {
        eprintln!("no namespace here: {text}");
        return;
    }
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("is full") && text.contains("HOLDFAST_STATE_DIR"), "{text}");
}
