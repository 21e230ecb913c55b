use std::os::unix::fs::symlink;
use std::sync::mpsc::{Receiver, channel};

use tempfile::TempDir;

use super::*;

/// Long enough for any machine; nothing waits for it to pass.
const LONG: Duration = Duration::from_secs(30);

struct Followed {
    watch: Watch,
    heard: Receiver<String>,
}

fn follow(path: &Path) -> Followed {
    let (tell, heard) = channel();
    let read = FileContent::read(path, 1024).unwrap();
    let follow = Follow::new("users", digests(&[&read]), Vec::new(), 1024, move |files| {
        let text = files[0].text().unwrap().to_owned();
        let refused = text == "broken";
        tell.send(text).unwrap();
        if refused {
            Err("no users".to_owned())
        } else {
            Ok(())
        }
    });
    let watch = Watch::start("watch-test", vec![follow]).unwrap();
    // Once it has looked, it watches.
    watch.look();
    Followed { watch, heard }
}

fn replace(dir: &TempDir, name: &str, text: &str) {
    let new = dir.path().join(".new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, dir.path().join(name)).unwrap();
}

#[test]
fn a_file_written_or_replaced_is_heard_and_the_same_content_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users");
    std::fs::write(&path, "one").unwrap();
    let followed = follow(&path);

    std::fs::write(&path, "two").unwrap();
    assert_eq!(followed.heard.recv_timeout(LONG).unwrap(), "two");
    replace(&dir, "users", "three");
    assert_eq!(followed.heard.recv_timeout(LONG).unwrap(), "three");

    replace(&dir, "users", "three");
    std::fs::write(dir.path().join("other"), "x").unwrap();
    followed.watch.look();
    assert!(followed.heard.try_recv().is_err());

    // What cannot be taken is passed on once, and the file is still followed.
    replace(&dir, "users", "broken");
    assert_eq!(followed.heard.recv_timeout(LONG).unwrap(), "broken");
    followed.watch.look();
    assert!(followed.heard.try_recv().is_err());
    replace(&dir, "users", "four");
    assert_eq!(followed.heard.recv_timeout(LONG).unwrap(), "four");
}

#[test]
fn a_file_that_is_gone_is_an_error_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users");
    std::fs::write(&path, "one").unwrap();
    let followed = follow(&path);
    std::fs::remove_file(&path).unwrap();
    followed.watch.look();
    assert!(followed.heard.try_recv().is_err());
    std::fs::write(&path, "two").unwrap();
    assert_eq!(followed.heard.recv_timeout(LONG).unwrap(), "two");
}

#[test]
fn a_directory_of_links_swapped_as_kubernetes_does_is_heard_each_time() {
    let dir = tempfile::tempdir().unwrap();
    let version = |name: &str, text: &str| {
        std::fs::create_dir(dir.path().join(name)).unwrap();
        std::fs::write(dir.path().join(name).join("users"), text).unwrap();
    };
    let swap = |name: &str| {
        let link = dir.path().join("..data_tmp");
        symlink(name, &link).unwrap();
        std::fs::rename(link, dir.path().join("..data")).unwrap();
    };
    version("..1", "one");
    swap("..1");
    symlink("..data/users", dir.path().join("users")).unwrap();
    let followed = follow(&dir.path().join("users"));

    version("..2", "two");
    swap("..2");
    std::fs::remove_dir_all(dir.path().join("..1")).unwrap();
    assert_eq!(followed.heard.recv_timeout(LONG).unwrap(), "two");
    version("..3", "three");
    swap("..3");
    assert_eq!(followed.heard.recv_timeout(LONG).unwrap(), "three");
}

#[test]
fn a_change_between_reading_and_following_is_heard() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users");
    std::fs::write(&path, "one").unwrap();
    let read = FileContent::read(&path, 1024).unwrap();
    std::fs::write(&path, "two").unwrap();
    let (tell, heard) = channel();
    let follow = Follow::new("users", digests(&[&read]), Vec::new(), 1024, move |files| {
        tell.send(files[0].text().unwrap().to_owned()).unwrap();
        Ok(())
    });
    let _watch = Watch::start("watch-test", vec![follow]).unwrap();
    assert_eq!(heard.recv_timeout(LONG).unwrap(), "two");
}

#[test]
fn the_places_of_a_link_are_those_on_the_way() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    std::fs::create_dir(root.join("real")).unwrap();
    std::fs::write(root.join("real/users"), "x").unwrap();
    symlink("real", root.join("current")).unwrap();
    symlink("current/users", root.join("users")).unwrap();
    let (mut directories, mut names) = (BTreeSet::new(), BTreeSet::new());
    places(&root.join("users"), &mut directories, &mut names);
    assert_eq!(
        directories,
        BTreeSet::from([root.clone(), root.join("real")])
    );
    assert_eq!(
        names,
        BTreeSet::from([
            root.join("users"),
            root.join("current"),
            root.join("real/users")
        ])
    );
    // Links in a circle end.
    symlink("b", root.join("a")).unwrap();
    symlink("a", root.join("b")).unwrap();
    places(&root.join("a"), &mut directories, &mut names);
}

#[test]
fn what_is_added_to_a_directory_or_removed_is_heard() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str| std::fs::write(dir.path().join(name), name).unwrap();
    write("a.rego");
    let directory = Directory {
        path: dir.path().to_owned(),
        endings: &["rego"],
        names: &["index"],
        most: 4,
    };
    let (tell, heard) = channel();
    let read = FileContent::read(&dir.path().join("a.rego"), 64).unwrap();
    let read = digests(&[&read]);
    let follow = Follow::new("policies", read, vec![directory], 64, move |files| {
        let names = files.iter().map(|file| file.text().unwrap().to_owned());
        tell.send(names.collect::<Vec<_>>()).unwrap();
        Ok(())
    });
    let watch = Watch::start("watch-test", vec![follow]).unwrap();
    watch.look();
    assert!(heard.try_recv().is_err());

    write("b.rego");
    assert_eq!(heard.recv_timeout(LONG).unwrap(), ["a.rego", "b.rego"]);
    write("notes.txt");
    watch.look();
    assert!(heard.try_recv().is_err());
    std::fs::write(dir.path().join("b.rego"), "new").unwrap();
    assert_eq!(heard.recv_timeout(LONG).unwrap(), ["a.rego", "new"]);
    std::fs::remove_file(dir.path().join("a.rego")).unwrap();
    assert_eq!(heard.recv_timeout(LONG).unwrap(), ["new"]);

    // Too many files, and a directory that is gone, are said and passed on to nobody; it is followed when it is back.
    for name in ["c.rego", "d.rego", "e.rego"] {
        write(name);
    }
    watch.look();
    while heard.try_recv().is_ok() {}
    std::fs::remove_dir_all(dir.path()).unwrap();
    watch.look();
    while heard.try_recv().is_ok() {}
    std::fs::create_dir(dir.path()).unwrap();
    write("z.rego");
    assert_eq!(heard.recv_timeout(LONG).unwrap(), ["z.rego"]);
}

#[test]
fn other_files_are_followed_instead() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        FileContent::read(&path, 64).unwrap()
    };
    let (tell, heard) = channel();
    let old = digests(&[&write("old", "one")]);
    let follow = Follow::new("users", old, Vec::new(), 64, move |files| {
        tell.send(files[0].text().unwrap().to_owned()).unwrap();
        Ok(())
    });
    let following = follow.following();
    let watch = Watch::start("watch-test", vec![follow]).unwrap();
    watch.look();

    let new = write("new", "two");
    write("new", "three");
    following.point_to(&[&new], Vec::new());
    // What has changed since it was read is found, too.
    watch.look();
    assert_eq!(heard.try_recv().unwrap(), "three");
    write("old", "four");
    watch.look();
    assert!(heard.try_recv().is_err());
    write("new", "five");
    assert_eq!(heard.recv_timeout(LONG).unwrap(), "five");
}

#[test]
fn a_change_is_read_and_passed_on_in_one_turn() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users");
    std::fs::write(&path, "one").unwrap();
    let read = FileContent::read(&path, 64).unwrap();
    let (tell, heard) = channel();
    let (lend, turn) = channel::<Arc<Mutex<()>>>();
    let follow = Follow::new("users", digests(&[&read]), Vec::new(), 64, move |_| {
        let turn = turn.recv().unwrap();
        tell.send(turn.try_lock().is_err()).unwrap();
        Ok(())
    });
    let watch = Watch::start("watch-test", vec![follow]).unwrap();
    lend.send(Arc::clone(&watch.turn)).unwrap();
    std::fs::write(&path, "two").unwrap();
    assert!(heard.recv_timeout(LONG).unwrap());
}
