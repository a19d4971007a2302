//! Frames of the event stream: a version byte, then events in bincode; the only file that names bincode.
//!
//! A frame is one `SOCK_SEQPACKET` message. Its size is checked before anything is decoded, and decoding
//! works under a memory limit, because a few bytes on the wire can claim a large collection.

use bincode::{
    config::{Configuration, Limit},
    error::DecodeError,
    serde::{decode_from_slice, encode_to_vec},
};

use crate::event::Event;

/// The version that this code writes and reads. It changes when old readers could misread new frames.
pub const VERSION: u8 = 4;

/// The most bytes that one frame may have, version byte included.
pub const FRAME_MAX: usize = 64 * 1024;

/// The most memory in bytes that decoding one event may claim.
const DECODE_MAX: usize = 4 * 1024 * 1024;

type Config = Configuration<bincode::config::LittleEndian, bincode::config::Varint, Limit<DECODE_MAX>>;

fn config() -> Config {
    bincode::config::standard().with_limit::<DECODE_MAX>()
}

/// Why a frame could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The frame has no version byte.
    #[error("empty frame")]
    Empty,
    /// The frame is longer than [`FRAME_MAX`].
    #[error("frame of {0} bytes is over the limit of {FRAME_MAX}")]
    TooLong(usize),
    /// The helper speaks a newer or older language.
    #[error("frame version {0}, this program reads version {VERSION}")]
    UnknownVersion(u8),
    /// The bytes are not events.
    #[error("frame cannot be read: {0}")]
    Malformed(String),
    /// One event alone does not fit a frame.
    #[error("event of {0} bytes does not fit a frame")]
    EventTooLarge(usize),
    /// An event cannot be encoded.
    #[error("event cannot be written: {0}")]
    Unwritable(String),
}

/// Packs events, in order, into as few frames as needed.
///
/// # Errors
/// [`WireError::EventTooLarge`] if one event alone exceeds [`FRAME_MAX`]; nothing is split or left out.
pub fn encode(events: &[Event]) -> Result<Vec<Vec<u8>>, WireError> {
    let mut frames = Vec::new();
    let mut frame = vec![VERSION];
    for event in events {
        let bytes = encode_to_vec(event, config()).map_err(|e| WireError::Unwritable(e.to_string()))?;
        if 1 + bytes.len() > FRAME_MAX {
            return Err(WireError::EventTooLarge(bytes.len()));
        }
        if frame.len() + bytes.len() > FRAME_MAX {
            frames.push(std::mem::replace(&mut frame, vec![VERSION]));
        }
        frame.extend_from_slice(&bytes);
    }
    if frame.len() > 1 {
        frames.push(frame);
    }
    Ok(frames)
}

/// Reads the events of one frame.
///
/// # Errors
/// [`WireError`] if the frame is empty, too long, of another version, truncated or not a run of events.
pub fn decode(frame: &[u8]) -> Result<Vec<Event>, WireError> {
    if frame.len() > FRAME_MAX {
        return Err(WireError::TooLong(frame.len()));
    }
    let (&version, mut rest) = frame.split_first().ok_or(WireError::Empty)?;
    if version != VERSION {
        return Err(WireError::UnknownVersion(version));
    }
    let mut events = Vec::new();
    while !rest.is_empty() {
        let (event, read) = decode_from_slice(rest, config())
            .map_err(|e: DecodeError| WireError::Malformed(e.to_string()))?;
        events.push(event);
        rest = &rest[read..];
    }
    Ok(events)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        display::Text,
        event::{FlowCounters, TRAFFIC_FLOWS_MAX},
        flow::{Counters, FlowId},
        time::Timestamp,
    };

    fn text_event(len: usize) -> Event {
        let version = Text::from(vec![b'x'; len]);
        Event::SnapshotBegin {
            at: Timestamp(1),
            version,
            watching_since: Timestamp(2),
            mode: Default::default(),
        }
    }

    /// How many bytes an event takes beside its text of `len` bytes.
    fn overhead(len: usize) -> usize {
        encode_to_vec(text_event(len), config()).unwrap().len() - len
    }

    #[test]
    fn the_largest_traffic_event_fits_a_frame() {
        let counters =
            Counters { tx_bytes: u64::MAX, rx_bytes: u64::MAX, tx_packets: u64::MAX, rx_packets: u64::MAX };
        let flows = vec![FlowCounters { id: FlowId(u64::MAX), counters }; TRAFFIC_FLOWS_MAX];
        assert_eq!(encode(&[Event::Traffic { at: Timestamp(i64::MIN), flows }]).unwrap().len(), 1);
    }

    #[test]
    fn refuses_what_is_not_a_frame() {
        assert!(matches!(decode(&[]), Err(WireError::Empty)));
        assert!(
            matches!(decode(&[VERSION + 1, 0]), Err(WireError::UnknownVersion(other)) if other == VERSION + 1)
        );
        assert!(matches!(decode(&vec![VERSION; FRAME_MAX + 1]), Err(WireError::TooLong(_))));
        assert!(matches!(decode(&[VERSION, 250]), Err(WireError::Malformed(_))));
        let frame = encode(&[text_event(100)]).unwrap().remove(0);
        for cut in 2..frame.len() {
            assert!(matches!(decode(&frame[..cut]), Err(WireError::Malformed(_))), "cut at {cut}");
        }
    }

    #[test]
    fn a_claimed_giant_collection_is_refused_without_allocating_it() {
        let mut frame = vec![VERSION];
        frame.extend(encode_to_vec(10_u32, config()).unwrap()); // the variant `traffic`
        frame.extend(encode_to_vec(0_i64, config()).unwrap());
        frame.extend(encode_to_vec(u64::MAX / 2, config()).unwrap());
        assert!(matches!(decode(&frame), Err(WireError::Malformed(_))));
    }

    proptest! {
        #[test]
        fn frames_hold_their_limit_and_lose_nothing(lens in proptest::collection::vec(0_usize..3 * FRAME_MAX / 4, 0..12)) {
            let events: Vec<Event> = lens.iter().map(|&l| text_event(l)).collect();
            let frames = encode(&events).unwrap();
            prop_assert!(frames.iter().all(|f| f.len() <= FRAME_MAX));
            let back: Vec<Event> = frames.iter().flat_map(|f| decode(f).unwrap()).collect();
            prop_assert_eq!(back, events);
        }

        #[test]
        fn the_size_border_is_exact(off in -40_i64..40) {
            let room = FRAME_MAX - 1 - overhead(FRAME_MAX / 2);
            let len = usize::try_from(i64::try_from(room).unwrap() + off).unwrap();
            let fits = encode(&[text_event(len)]);
            prop_assert_eq!(fits.is_ok(), off <= 0, "text of {} bytes", len);
            // A second event that still fits shares the frame, one more byte starts another.
            let half = (FRAME_MAX - 1) / 2 - overhead(FRAME_MAX / 2);
            let other = usize::try_from(i64::try_from(FRAME_MAX - 1 - half).unwrap() - 2 * i64::try_from(overhead(half)).unwrap() + off).unwrap();
            let frames = encode(&[text_event(half), text_event(other)]).unwrap().len();
            prop_assert_eq!(frames, if off <= 0 { 1 } else { 2 });
        }

        #[test]
        fn decode_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut frame = vec![VERSION];
            frame.extend(bytes);
            let _events = decode(&frame);
        }
    }
}
