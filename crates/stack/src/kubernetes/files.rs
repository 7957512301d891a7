//! Volumes as folders: laid out as the kubelet lays them out, and changed in one step when their objects change.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::objects::Texts;
use super::podspec::{Keys, Projected, ProjectedSource, Volume};

/// The rights of files for which nobody says otherwise.
const MODE: u32 = 0o644;

/// A file of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    text: String,
    mode: u32,
}

/// What a volume is.
#[derive(Debug)]
pub(super) enum Content {
    /// Files that others keep.
    Files(BTreeMap<String, File>),
    /// A folder to write into.
    Folder,
}

/// Reads what a volume has to hold now, or what keeps it from being there.
pub(super) fn content(
    volume: &Volume,
    secret: impl Fn(&str) -> Option<Texts>,
    config_map: impl Fn(&str) -> Option<Texts>,
) -> Result<Content, String> {
    let Volume { name, config_map: map, secret: one, projected, empty_dir, persistent_volume_claim } = volume;
    let both = |keys: &Keys, texts: Option<Texts>, mode: Option<u32>| {
        let mut files = BTreeMap::new();
        add(&mut files, keys, texts, keys.default_mode.or(mode).unwrap_or(MODE)).map(|()| files)
    };
    match (map, one, projected, empty_dir, persistent_volume_claim) {
        (Some(keys), None, None, None, None) => both(keys, config_map(&keys.name), None).map(Content::Files),
        (None, Some(keys), None, None, None) => both(keys, secret(&keys.name), None).map(Content::Files),
        (None, None, Some(Projected { sources, default_mode }), None, None) => {
            let mut files = BTreeMap::new();
            for source in sources {
                let (keys, texts) = match source {
                    ProjectedSource::Secret(keys) => (keys, secret(&keys.name)),
                    ProjectedSource::ConfigMap(keys) => (keys, config_map(&keys.name)),
                };
                add(&mut files, keys, texts, default_mode.unwrap_or(MODE))?;
            }
            Ok(Content::Files(files))
        }
        (None, None, None, Some(_), None) | (None, None, None, None, Some(_)) => Ok(Content::Folder),
        _ => Err(format!("the volume {name} is of no kind, or of several")),
    }
}

fn add(files: &mut BTreeMap<String, File>, keys: &Keys, texts: Option<Texts>, mode: u32) -> Result<(), String> {
    let Some(texts) = texts else {
        return if keys.optional { Ok(()) } else { Err(format!("{} is not there", keys.name)) };
    };
    let Some(items) = &keys.items else {
        files.extend(texts.into_iter().map(|(key, text)| (key, File { text, mode })));
        return Ok(());
    };
    for item in items {
        if item.path.starts_with('/') || item.path.split('/').any(|part| part == "..") {
            return Err(format!("{} is no path below a volume", item.path));
        }
        match texts.get(&item.key) {
            Some(text) => {
                let file = File { text: text.clone(), mode: item.mode.unwrap_or(mode) };
                files.insert(item.path.clone(), file);
            }
            None if keys.optional => {}
            None => return Err(format!("{} has no key {}", keys.name, item.key)),
        }
    }
    Ok(())
}

/// Makes a folder hold these files and no others. Whoever reads meanwhile sees the old or the new ones, never both: all
/// names lead through one link, which is replaced.
pub(super) fn lay(folder: &Path, files: &BTreeMap<String, File>) -> std::io::Result<()> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    std::fs::create_dir_all(folder)?;
    let version = format!("..{}", COUNT.fetch_add(1, Ordering::Relaxed));
    for (path, file) in files {
        let place = folder.join(&version).join(path);
        std::fs::create_dir_all(place.parent().unwrap_or(folder))?;
        std::fs::write(&place, &file.text)?;
        std::fs::set_permissions(&place, std::fs::Permissions::from_mode(file.mode))?;
    }
    std::fs::create_dir_all(folder.join(&version))?;
    let (link, draft) = (folder.join("..data"), folder.join("..data_tmp"));
    let before = std::fs::read_link(&link).ok();
    symlink(&version, &draft)?;
    std::fs::rename(&draft, &link)?;
    let tops: std::collections::BTreeSet<&str> = files.keys().filter_map(|path| path.split('/').next()).collect();
    for top in &tops {
        let name = folder.join(top);
        if name.symlink_metadata().is_err() {
            symlink(PathBuf::from("..data").join(top), name)?;
        }
    }
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with("..") && !tops.contains(name.as_ref()) {
            std::fs::remove_file(folder.join(name.as_ref()))?;
        }
    }
    before.map_or(Ok(()), |before| std::fs::remove_dir_all(folder.join(before)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(json: serde_json::Value) -> Volume {
        serde_json::from_value(json).expect("a volume")
    }

    fn secret(name: &str) -> Option<Texts> {
        (name == "keys").then(|| Texts::from([("a".into(), "A".into()), ("b".into(), "B".into())]))
    }

    fn files(volume: &Volume) -> Result<BTreeMap<String, File>, String> {
        match content(volume, secret, |_| None)? {
            Content::Files(files) => Ok(files),
            other @ Content::Folder => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_volume_has_the_keys_that_were_asked_for_under_their_paths() {
        let volume = volume(serde_json::json!({"name": "v", "projected": {"defaultMode": 288, "sources": [
            {"secret": {"name": "keys", "items": [{"key": "a", "path": "keys/a"}]}}]}}));
        let wanted = BTreeMap::from([("keys/a".to_owned(), File { text: "A".into(), mode: 0o440 })]);
        assert_eq!(files(&volume), Ok(wanted));
    }

    #[test]
    fn a_volume_that_lacks_something_is_not_there() {
        for source in [
            serde_json::json!({"name": "other", "items": []}),
            serde_json::json!({"name": "keys", "items": [{"key": "c", "path": "c"}]}),
            serde_json::json!({"name": "keys", "items": [{"key": "a", "path": "../a"}]}),
        ] {
            let json = serde_json::json!({"name": "v", "projected": {"sources": [{"secret": source}]}});
            assert!(files(&volume(json)).is_err());
        }
    }

    #[test]
    fn a_folder_changes_as_a_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |text: &str| File { text: text.into(), mode: 0o440 };
        let first = BTreeMap::from([("x/a".to_owned(), file("1")), ("b".to_owned(), file("2"))]);
        lay(folder.path(), &first).expect("laid");
        let open = folder.path().join("x/a");
        assert_eq!(std::fs::read_to_string(&open).expect("there"), "1");
        assert_eq!(open.metadata().expect("there").permissions().mode() & 0o777, 0o440);
        lay(folder.path(), &BTreeMap::from([("x/a".to_owned(), file("3"))])).expect("laid again");
        assert_eq!(std::fs::read_to_string(&open).expect("there"), "3");
        assert!(!folder.path().join("b").exists());
    }
}
