//! Messages of gRPC as they travel in HTTP/2: a byte of flags, four of length, the message.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use prost::Message;

/// The largest message that is read.
const LARGEST: usize = 1024 * 1024;
/// What precedes a message.
const HEAD: usize = 5;

/// Appends a message.
pub(crate) fn put(message: &impl Message, buffer: &mut BytesMut) {
    let length = message.encoded_len();
    buffer.reserve(HEAD + length);
    buffer.put_u8(0);
    buffer.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    message.encode_raw(buffer);
}

/// Takes messages out of the pieces that they come in.
#[derive(Default)]
pub(crate) struct Frames(BytesMut);

impl Frames {
    /// What came.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        self.0.extend_from_slice(piece);
    }

    /// The next message; `None` until it is complete.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, &'static str> {
        let Some((head, _)) = self.0.split_first_chunk::<HEAD>() else {
            return Ok(None);
        };
        let [flags, length @ ..] = *head;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if flags != 0 {
            return Err("a compressed message, which was not asked for");
        }
        if length > LARGEST {
            return Err("a message without end");
        }
        if self.0.len() < HEAD + length {
            return Ok(None);
        }
        self.0.advance(HEAD);
        Ok(Some(self.0.split_to(length).freeze()))
    }
}

#[cfg(test)]
mod tests {
    use aaa_api::grpc::v1::SignResponse;

    use super::*;

    #[test]
    fn messages_come_out_whole_however_they_were_cut() {
        let message = |error: &str| SignResponse {
            error: error.to_owned(),
            ..SignResponse::default()
        };
        let mut wire = BytesMut::new();
        put(&message("one"), &mut wire);
        put(&message(""), &mut wire);
        put(&message("three"), &mut wire);
        for size in 1..wire.len() {
            let mut frames = Frames::default();
            let mut found = Vec::new();
            for piece in wire.chunks(size) {
                frames.push(piece);
                while let Some(message) = frames.next().unwrap() {
                    found.push(SignResponse::decode(message).unwrap().error);
                }
            }
            assert_eq!(found, ["one", "", "three"], "{size}");
        }
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        let mut compressed = Frames::default();
        compressed.push(&[1, 0, 0, 0, 0]);
        assert!(compressed.next().is_err());
        let mut endless = Frames::default();
        endless.push(&[0, 0xff, 0xff, 0xff, 0xff]);
        assert!(endless.next().is_err());
    }
}
