//! Calls that wait for their turn.

use std::collections::VecDeque;

use async_nats::Message;

/// The most calls that wait, in one collective.
const CALLS: usize = 2048;
/// The most bytes that they may have together: a broker takes calls of a megabyte each from everybody.
const BYTES: usize = 32 << 20;

/// Calls in the order they came.
#[derive(Default)]
pub(super) struct Waiting {
    calls: VecDeque<Message>,
    bytes: usize,
}

impl Waiting {
    /// Has a call wait. Where there is no room those that have waited longest are given up, whose clients are the likeliest to have gone;
    /// how many is returned.
    pub(super) fn push(&mut self, call: Message) -> u64 {
        self.bytes += call.payload.len();
        self.calls.push_back(call);
        let mut given_up = 0;
        while self.calls.len() > CALLS || self.bytes > BYTES {
            if self.pop().is_none() {
                break;
            }
            given_up += 1;
        }
        given_up
    }

    /// The one that has waited longest.
    pub(super) fn pop(&mut self) -> Option<Message> {
        let call = self.calls.pop_front()?;
        self.bytes -= call.payload.len();
        Some(call)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(number: usize, length: usize) -> Message {
        Message {
            subject: number.to_string().into(),
            reply: None,
            payload: vec![b'x'; length].into(),
            headers: None,
            status: None,
            description: None,
            length,
        }
    }

    fn next(waiting: &mut Waiting) -> usize {
        waiting.pop().unwrap().subject.parse().unwrap()
    }

    #[test]
    fn a_flood_costs_those_who_have_waited_longest() {
        let mut waiting = Waiting::default();
        assert!((0..CALLS).all(|number| waiting.push(call(number, 1)) == 0));
        assert_eq!(waiting.push(call(CALLS, 1)), 1);
        assert_eq!(waiting.push(call(CALLS + 1, 1)), 1);
        assert_eq!(next(&mut waiting), 2);
    }

    #[test]
    fn long_calls_take_the_room_of_many() {
        let mut waiting = Waiting::default();
        assert!((0..32).all(|number| waiting.push(call(number, 1 << 20)) == 0));
        assert_eq!(waiting.push(call(32, 1)), 1);
        assert_eq!(waiting.push(call(33, 2 << 20)), 2);
        assert_eq!(next(&mut waiting), 3);
        // One that is longer than all may be together is not kept either.
        assert_eq!(waiting.push(call(34, BYTES + 1)), 31);
        assert!(waiting.is_empty());
    }
}
