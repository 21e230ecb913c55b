//! Archives that somebody made to do harm, or that did not come whole.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod common;

use aaa_core::decision::Decision;
use common::bundle::{OPEN, entry, gzip, ping, read, tar, with};
use common::policy;
use proptest::prelude::*;
use tar::{Builder, EntryType, Header};

#[test]
fn names_that_lead_elsewhere_are_refused() {
    for name in [
        "../b.rego",
        "a/../b.rego",
        "/../b.rego",
        "//b.rego",
        "a//b.rego",
        "a/./b.rego",
        ".",
        "..",
        "a/",
        "b\n.rego",
        "b\u{1b}[2J.rego",
        "a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/b.rego",
    ] {
        let said = read(&with(name.as_bytes(), EntryType::Regular, b"x")).unwrap_err();
        assert!(
            said.contains("is no path that can be taken") && !said.contains(char::is_control),
            "{name}: {said}"
        );
    }
    let said = read(&with(b"\xff.rego", EntryType::Regular, b"x")).unwrap_err();
    assert!(
        said.starts_with("site.tar.gz: \\xff.rego: is no path that can be taken"),
        "{said}"
    );
    let said = read(&with(b"./a.rego", EntryType::Regular, b"x")).unwrap_err();
    assert_eq!(said, "site.tar.gz: a.rego: is in it twice");
}

#[test]
fn there_are_files_and_directories_and_nothing_else() {
    for kind in [
        EntryType::Symlink,
        EntryType::Link,
        EntryType::Fifo,
        EntryType::Char,
        EntryType::Block,
        EntryType::Continuous,
        EntryType::new(b'Z'),
    ] {
        let said = read(&with(b"b.rego", kind, b"")).unwrap_err();
        assert_eq!(
            said,
            "site.tar.gz: b.rego: is neither a file nor a directory"
        );
    }
    for kind in [EntryType::Directory, EntryType::XGlobalHeader] {
        assert!(read(&with(b"../x", kind, b"")).is_ok());
    }
    // Holes of 2^33 bytes in the old way, and in the new one.
    let mut sparse = Header::new_gnu();
    sparse.set_entry_type(EntryType::GNUSparse);
    sparse.set_path("b.rego").unwrap();
    sparse.set_size(0);
    let gnu = sparse.as_gnu_mut().unwrap();
    gnu.realsize.copy_from_slice(b"100000000000");
    gnu.sparse[0].offset.copy_from_slice(b"100000000000");
    gnu.sparse[0].numbytes.copy_from_slice(b"000000000000");
    sparse.set_cksum();
    let mut tar = Builder::new(Vec::new());
    tar.append(&sparse, &[][..]).unwrap();
    let said = read(&gzip(&tar.into_inner().unwrap())).unwrap_err();
    assert!(said.starts_with("site.tar.gz: "), "{said}");
    let mut tar = Builder::new(Vec::new());
    tar.append_pax_extensions([
        ("GNU.sparse.major", b"1".as_slice()),
        ("GNU.sparse.name", b"b.rego"),
    ])
    .unwrap();
    entry(&mut tar, b"b.rego", EntryType::Regular, b"");
    let said = read(&gzip(&tar.into_inner().unwrap())).unwrap_err();
    assert_eq!(
        said,
        "site.tar.gz: b.rego: is neither a file nor a directory"
    );
}

#[test]
fn long_names_are_read_in_both_ways() {
    let long = format!("{}/b.rego", "d".repeat(200));
    let text = policy(OPEN);
    let mut gnu = Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_size(text.len() as u64);
    gnu.append_data(&mut header, &long, text.as_bytes())
        .unwrap();
    let mut pax = Builder::new(Vec::new());
    pax.append_pax_extensions([("path", long.as_bytes())])
        .unwrap();
    entry(&mut pax, b"short", EntryType::Regular, text.as_bytes());
    for tar in [gnu, pax] {
        let site = read(&gzip(&tar.into_inner().unwrap())).unwrap();
        assert_eq!(ping(&site), Decision::allow(format!("{long} allow")));
    }
    let mut longer = Builder::new(Vec::new());
    longer
        .append_pax_extensions([("path", "d".repeat(256).as_bytes())])
        .unwrap();
    entry(&mut longer, b"short", EntryType::Regular, b"");
    assert!(
        read(&gzip(&longer.into_inner().unwrap()))
            .unwrap_err()
            .contains("is no path that can be taken")
    );
}

#[test]
fn sizes_are_bounded() {
    let bomb = gzip(&vec![0; 20 << 20]);
    assert!(bomb.len() < 128 << 10);
    assert_eq!(
        read(&bomb).unwrap_err(),
        "site.tar.gz: unpacks to more than 16777216 bytes"
    );
    let mut many = Builder::new(Vec::new());
    for n in 0..1001 {
        entry(
            &mut many,
            format!("{n}").as_bytes(),
            EntryType::Directory,
            b"",
        );
    }
    let said = read(&gzip(&many.into_inner().unwrap())).unwrap_err();
    assert_eq!(said, "site.tar.gz: has more than 1000 entries");
    let long = policy(&format!("{OPEN}\n# {}", "x".repeat(64 << 10)));
    assert!(
        read(&with(b"b.rego", EntryType::Regular, long.as_bytes()))
            .unwrap_err()
            .contains("the limit is 65536")
    );
    let large = format!("{{\"a\": \"{}\"}}", "x".repeat(1 << 20));
    let said = read(&with(b"data.json", EntryType::Regular, large.as_bytes())).unwrap_err();
    assert_eq!(said, "site.tar.gz: data.json: is larger than 1048576 bytes");
}

#[test]
fn only_a_whole_archive_is_taken_and_nothing_behind_it() {
    let tar = tar(&[("a.rego", &policy(OPEN)), ("data.json", "{}")]);
    let whole = gzip(&tar);
    assert!(read(&whole).is_ok());
    for cut in 2..whole.len() {
        assert!(read(&whole[..cut]).is_err(), "{cut} of {}", whole.len());
    }
    assert_eq!(
        read(&whole[..whole.len() - 1]).unwrap_err(),
        "site.tar.gz: is cut short"
    );
    for behind in [b"x".as_slice(), &[0], &whole] {
        let said = read(&[&whole, behind].concat()).unwrap_err();
        assert_eq!(
            said,
            "site.tar.gz: something follows the end of the gzip file"
        );
    }
    let said = read(&gzip(&[&tar[..], b"x"].concat())).unwrap_err();
    assert_eq!(
        said,
        "site.tar.gz: something follows the end of the archive"
    );
    // As `tar` fills its last record.
    assert!(read(&gzip(&[&tar[..], &[0; 4096]].concat())).is_ok());
    for broken in [
        &b"\x1f\x8b"[..],
        b"\x1f\x8bxxxxxxxxxxxxxxxxxxxx",
        &gzip(b"no archive"),
        &gzip(&tar[..700]),
    ] {
        assert!(read(broken).unwrap_err().starts_with("site.tar.gz: is "));
    }
    for other in [&b""[..], b"package io.choria.aaasvc", &tar] {
        assert!(
            read(other)
                .unwrap_err()
                .contains("is neither a directory nor a bundle")
        );
    }
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    assert!(
        read(&flipped)
            .unwrap_err()
            .starts_with("site.tar.gz: is no gzip file that can be taken")
    );
}

proptest! {
    /// Whoever made it, reading it comes to an end, with a reason if it is not taken.
    #[test]
    fn nothing_in_an_archive_brings_the_reader_down(changes in prop::collection::vec((0_usize..4096, any::<u8>()), 0..24)) {
        let mut bytes = tar(&[("/a.rego", &policy(OPEN)), ("/x/data.json", r#"{"a": [1]}"#), ("/.manifest", "{}")]);
        for (at, byte) in changes {
            let length = bytes.len();
            bytes[at % length] = byte;
        }
        let read = read(&gzip(&bytes));
        prop_assert!(read.is_ok() || !read.unwrap_err().is_empty());
    }
}
