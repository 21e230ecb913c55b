//! How a record lies on disk: `length | CRC-32 | length of the id | id | line`, numbers little-endian.

use bytes::Bytes;

/// The longest record that is believed to be one: a request of 1 MiB, escaped in the worst way, and what is said of it.
pub(super) const LONGEST: usize = 8 << 20;

/// What stands before a record: its length and its checksum.
pub(super) const HEAD: usize = 8;

/// A record on its way: its id, by which a stream knows it again, and its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The id of the record, at most 255 bytes.
    pub id: String,
    /// The record as it is to be published.
    pub line: Bytes,
}

/// What bytes begin with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A whole entry, and how many bytes it takes up.
    Entry(Entry, usize),
    /// Nothing: the bytes have ended where an entry ends.
    End,
    /// Something else: half an entry, or what no spool wrote.
    Damage,
}

impl Entry {
    /// Bytes that it takes up on disk.
    pub(super) fn size(&self) -> usize {
        HEAD + 1 + self.id.len() + self.line.len()
    }

    /// As it lies on disk; `None` for what is too long for any record.
    pub(super) fn frame(&self) -> Option<Vec<u8>> {
        let id = u8::try_from(self.id.len()).ok()?;
        let length = 1 + self.id.len() + self.line.len();
        if length > LONGEST {
            return None;
        }
        let mut frame = Vec::with_capacity(HEAD + length);
        frame.extend_from_slice(&u32::try_from(length).ok()?.to_le_bytes());
        frame.extend_from_slice(&[0; 4]);
        frame.push(id);
        frame.extend_from_slice(self.id.as_bytes());
        frame.extend_from_slice(&self.line);
        let (head, body) = frame.split_at_mut(HEAD);
        head.get_mut(4..)?
            .copy_from_slice(&crc32fast::hash(body).to_le_bytes());
        Some(frame)
    }
}

/// How many bytes the entry takes up that these begin, by its own word.
pub(super) fn size(bytes: &[u8]) -> Option<usize> {
    let (length, _) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    (length <= LONGEST).then_some(HEAD + length)
}

/// Reads the entry that bytes begin with.
pub(super) fn read(bytes: &[u8]) -> Found {
    if bytes.is_empty() {
        return Found::End;
    }
    parse(bytes).map_or(Found::Damage, |(entry, size)| Found::Entry(entry, size))
}

fn parse(bytes: &[u8]) -> Option<(Entry, usize)> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (checksum, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    if length > LONGEST {
        return None;
    }
    let body = rest.get(..length)?;
    if crc32fast::hash(body) != u32::from_le_bytes(*checksum) {
        return None;
    }
    let (id, rest) = body.split_first()?;
    let (id, line) = rest.split_at_checked(usize::from(*id))?;
    let entry = Entry {
        id: std::str::from_utf8(id).ok()?.to_owned(),
        line: Bytes::copy_from_slice(line),
    };
    Some((entry, HEAD + length))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(id: &str, line: &[u8]) -> Entry {
        Entry {
            id: id.to_owned(),
            line: Bytes::copy_from_slice(line),
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(id in "[a-zA-Z0-9]{0,40}", line in prop::collection::vec(any::<u8>(), 0..200), after in prop::collection::vec(any::<u8>(), 0..20)) {
            let entry = entry(&id, &line);
            let mut bytes = entry.frame().unwrap();
            let size = bytes.len();
            bytes.extend_from_slice(&after);
            prop_assert_eq!(read(&bytes), Found::Entry(entry, size));
        }

        #[test]
        fn a_cut_or_changed_entry_is_damage(cut in 1usize..30, flip in 0usize..30, bit in 0u8..8) {
            let bytes = entry("id", b"a line of twenty one").frame().unwrap();
            prop_assert_eq!(read(&bytes[..cut.min(bytes.len() - 1)]), Found::Damage);
            let mut changed = bytes.clone();
            let at = flip % changed.len();
            changed[at] ^= 1 << bit;
            prop_assert_eq!(read(&changed), Found::Damage);
        }

        #[test]
        fn nothing_from_outside_is_too_much(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = read(&bytes);
        }
    }

    #[test]
    fn a_length_beyond_all_records_is_damage() {
        let mut bytes = u32::MAX.to_le_bytes().to_vec();
        bytes.extend_from_slice(&[0; 100]);
        assert_eq!(read(&bytes), Found::Damage);
        assert_eq!(read(b""), Found::End);
        assert_eq!(entry(&"x".repeat(256), b"").frame(), None);
        assert_eq!(entry("x", &vec![0; LONGEST]).frame(), None);
    }
}
