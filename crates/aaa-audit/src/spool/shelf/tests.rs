use bytes::Bytes;
use tempfile::TempDir;

use super::*;

fn entry(number: usize) -> Entry {
    Entry {
        id: format!("id-{number}"),
        line: Bytes::from(format!("record {number}")),
    }
}

fn add(shelf: &mut Shelf, numbers: std::ops::Range<usize>) {
    for number in numbers {
        shelf.add(&entry(number).frame().unwrap()).unwrap();
    }
}

/// What is delivered when everything is, in batches.
fn drain(shelf: &mut Shelf) -> Vec<String> {
    let mut ids = Vec::new();
    loop {
        let batch = shelf.read(3, 1 << 20).unwrap();
        if batch.is_empty() {
            return ids;
        }
        let bytes: usize = batch.iter().map(Entry::size).sum();
        shelf.release(bytes as u64).unwrap();
        ids.extend(batch.into_iter().map(|entry| entry.id));
    }
}

fn ids(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("id-{number}")).collect()
}

fn files(dir: &TempDir, extension: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .collect();
    files.sort();
    files
}

#[test]
fn entries_come_out_in_their_order_and_once() {
    let dir = TempDir::new().unwrap();
    let (mut shelf, opened) = Shelf::open(dir.path()).unwrap();
    assert_eq!(opened, Opened::default());
    add(&mut shelf, 0..10);
    assert_eq!(drain(&mut shelf), ids(0..10));
    assert_eq!(shelf.bytes(), 0);
    add(&mut shelf, 10..12);
    assert_eq!(drain(&mut shelf), ids(10..12));
    assert!(files(&dir, ENTRIES).is_empty());
}

#[test]
fn a_new_start_goes_on_where_the_old_one_was() {
    let dir = TempDir::new().unwrap();
    let (mut shelf, _) = Shelf::open(dir.path()).unwrap();
    add(&mut shelf, 0..10);
    let batch = shelf.read(4, 1 << 20).unwrap();
    let bytes: usize = batch.iter().map(Entry::size).sum();
    shelf.release(bytes as u64).unwrap();
    drop(shelf);
    let (mut shelf, opened) = Shelf::open(dir.path()).unwrap();
    assert_eq!(opened.records, 6);
    add(&mut shelf, 10..11);
    assert_eq!(drain(&mut shelf), ids(4..11));
}

#[test]
fn many_segments_are_one_queue() {
    let dir = TempDir::new().unwrap();
    let (mut shelf, _) = Shelf::open(dir.path()).unwrap();
    let line = Bytes::from(vec![b'x'; 3 << 20]);
    for number in 0..10 {
        let entry = Entry {
            id: format!("id-{number}"),
            line: line.clone(),
        };
        shelf.add(&entry.frame().unwrap()).unwrap();
    }
    assert_eq!(files(&dir, ENTRIES).len(), 4);
    // An entry that is larger than what is asked for comes all the same.
    assert_eq!(shelf.read(9, 10).unwrap().len(), 1);
    assert_eq!(drain(&mut shelf), ids(0..10));
    assert!(files(&dir, ENTRIES).is_empty());
}

#[test]
fn a_torn_end_is_kept_aside_and_what_stands_before_it_is_delivered() {
    for cut in [1, HEAD_AND_MORE, 17] {
        let dir = TempDir::new().unwrap();
        let (mut shelf, _) = Shelf::open(dir.path()).unwrap();
        add(&mut shelf, 0..5);
        drop(shelf);
        let segment = files(&dir, ENTRIES).remove(0);
        let length = fs::metadata(&segment).unwrap().len();
        private()
            .open(&segment)
            .unwrap()
            .set_len(length - cut)
            .unwrap();
        let (mut shelf, opened) = Shelf::open(dir.path()).unwrap();
        assert_eq!(opened.records, 4);
        let (aside, kept) = opened.damaged.first().unwrap();
        assert_eq!(fs::metadata(aside).unwrap().len(), *kept);
        assert_eq!(*kept, entry(4).size() as u64 - cut);
        add(&mut shelf, 5..6);
        let delivered = drain(&mut shelf);
        assert_eq!(delivered, [ids(0..4), ids(5..6)].concat());
    }
}

/// So that the head of the last entry is cut, too.
const HEAD_AND_MORE: u64 = 16;

#[test]
fn damage_in_the_middle_keeps_the_other_segments() {
    let dir = TempDir::new().unwrap();
    let (mut shelf, _) = Shelf::open(dir.path()).unwrap();
    add(&mut shelf, 0..3);
    shelf.open = None;
    drop(shelf);
    let (mut shelf, _) = Shelf::open(dir.path()).unwrap();
    add(&mut shelf, 3..5);
    drop(shelf);
    let first = files(&dir, ENTRIES).remove(0);
    let mut content = fs::read(&first).unwrap();
    let second = entry(0).size() + 9;
    content[second] ^= 1;
    fs::write(&first, content).unwrap();
    let (mut shelf, opened) = Shelf::open(dir.path()).unwrap();
    assert_eq!((opened.records, opened.damaged.len()), (3, 1));
    assert_eq!(drain(&mut shelf), ["id-0", "id-3", "id-4"]);
}

#[test]
fn a_mark_that_cannot_be_read_delivers_again_rather_than_not() {
    let dir = TempDir::new().unwrap();
    let (mut shelf, _) = Shelf::open(dir.path()).unwrap();
    add(&mut shelf, 0..3);
    shelf.release(entry(0).size() as u64).unwrap();
    drop(shelf);
    fs::write(dir.path().join(MARK), "\u{0}\u{0}").unwrap();
    let (mut shelf, _) = Shelf::open(dir.path()).unwrap();
    assert_eq!(drain(&mut shelf), ids(0..3));
}

/// The numbers of segments are not used again: their marks and what was kept aside of them would be about others.
#[test]
fn a_mark_is_about_its_own_segment_alone() {
    let dir = TempDir::new().unwrap();
    let (shelf, _) = Shelf::open(dir.path()).unwrap();
    // The segment was removed, and nothing was written after that.
    let mark = Mark {
        number: 0,
        offset: 500,
    };
    mark.write(&shelf.marked).unwrap();
    drop(shelf);
    let (mut shelf, _) = Shelf::open(dir.path()).unwrap();
    add(&mut shelf, 0..2);
    drop(shelf);
    let (mut shelf, opened) = Shelf::open(dir.path()).unwrap();
    assert_eq!(opened.records, 2);
    assert_eq!(drain(&mut shelf), ids(0..2));
}

#[test]
fn a_mark_where_no_entry_begins_is_not_believed() {
    let dir = TempDir::new().unwrap();
    let (mut shelf, _) = Shelf::open(dir.path()).unwrap();
    add(&mut shelf, 0..3);
    for offset in [1, entry(0).size() as u64 + 3, 1 << 40] {
        let mark = Mark { number: 0, offset };
        mark.write(&shelf.marked).unwrap();
        drop(shelf);
        let (opened, damaged);
        (
            shelf,
            Opened {
                records: opened,
                damaged,
            },
        ) = Shelf::open(dir.path()).unwrap();
        assert_eq!((opened, damaged), (3, Vec::new()), "{offset}");
    }
    assert_eq!(drain(&mut shelf), ids(0..3));
}

#[test]
fn a_mark_that_was_changed_is_none() {
    let dir = TempDir::new().unwrap();
    let (shelf, _) = Shelf::open(dir.path()).unwrap();
    assert_eq!(Mark::read(&shelf.marked), None);
    let mark = Mark {
        number: 12,
        offset: 345,
    };
    mark.write(&shelf.marked).unwrap();
    assert_eq!(Mark::read(&shelf.marked), Some(mark));
    assert_eq!(mark.line().len(), Mark::LENGTH);
    let line = mark.line();
    for at in 0..line.len() {
        let mut changed = line.clone().into_bytes();
        changed[at] ^= 1;
        shelf.marked.write_all_at(&changed, 0).unwrap();
        assert_eq!(Mark::read(&shelf.marked), None, "{at}");
    }
}

#[test]
fn damage_of_one_start_does_not_cover_that_of_another() {
    let dir = TempDir::new().unwrap();
    for round in 1..=2 {
        let (mut shelf, _) = Shelf::open(dir.path()).unwrap();
        add(&mut shelf, 0..1);
        drop(shelf);
        let segment = files(&dir, ENTRIES).remove(0);
        fs::write(segment, format!("what was damaged in round {round}")).unwrap();
        let (_, opened) = Shelf::open(dir.path()).unwrap();
        assert_eq!((opened.records, opened.damaged.len()), (0, 1));
    }
    let kept = files(&dir, DAMAGED);
    let texts: Vec<String> = kept
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    assert_eq!(
        texts,
        ["what was damaged in round 1", "what was damaged in round 2"]
    );
}

#[test]
fn what_is_kept_aside_is_not_delivered_and_holds_up_nothing() {
    let dir = TempDir::new().unwrap();
    let (mut shelf, _) = Shelf::open(dir.path()).unwrap();
    add(&mut shelf, 0..3);
    shelf.release(entry(0).size() as u64).unwrap();
    let path = shelf.keep_aside(&entry(1)).unwrap();
    assert_eq!(fs::read(path).unwrap(), entry(1).line);
    drop(shelf);
    let (mut shelf, _) = Shelf::open(dir.path()).unwrap();
    assert_eq!(drain(&mut shelf), ids(2..3));
}

/// What a segment was given for more entries is given back when none will come.
#[test]
fn a_start_sets_no_space_aside_for_segments_that_are_closed() {
    use std::os::unix::fs::MetadataExt as _;
    let dir = TempDir::new().unwrap();
    for number in 0..3 {
        let (mut shelf, _) = Shelf::open(dir.path()).unwrap();
        add(&mut shelf, number..number + 1);
    }
    let (_shelf, opened) = Shelf::open(dir.path()).unwrap();
    assert_eq!(opened.records, 3);
    for segment in files(&dir, ENTRIES) {
        assert!(
            fs::metadata(&segment).unwrap().blocks() * 512 < SEGMENT / 2,
            "{segment:?}"
        );
    }
}

#[test]
fn two_services_do_not_share_a_spool() {
    let dir = TempDir::new().unwrap();
    let _shelf = Shelf::open(dir.path()).unwrap();
    let error = Shelf::open(dir.path()).err().unwrap();
    assert!(error.to_string().contains("another process"), "{error}");
}

#[test]
fn it_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = TempDir::new().unwrap();
    let place = dir.path().join("a/spool");
    let (mut shelf, _) = Shelf::open(&place).unwrap();
    add(&mut shelf, 0..1);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&place), 0o700);
    assert_eq!(mode(&shelf.path(0)), 0o600);
}
