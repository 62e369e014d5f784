use proptest::prelude::*;

use super::*;
use crate::id::SegmentId;

fn id() -> SegmentId {
    "53995c3f42cd8ad8".parse().unwrap()
}

fn hello() -> Hello {
    Hello {
        version: VERSION,
        daemon: Some("169.254.79.129:2000".to_owned()),
    }
}

fn messages() -> Vec<Message<'static>> {
    vec![
        Message::Hello(hello()),
        Message::Open {
            id: id(),
            document: b"{\"in_progress\":true}",
        },
        Message::Close {
            id: id(),
            document: b"{}",
        },
        Message::Discard { ids: vec![id()] },
        Message::End {
            request_id: "8476a536-e9f4-11e8-9739-2dfe598c3fcd",
        },
        Message::Drain,
        Message::Unknown(200),
        Message::Leave,
        Message::Begin {
            request_id: "8476a536-e9f4-11e8-9739-2dfe598c3fcd",
        },
    ]
}

fn encode(messages: &[Message<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    messages
        .iter()
        .for_each(|message| message.encode(&mut bytes));
    bytes
}

/// A change of these bytes needs a new [`VERSION`]. Kinds that old readers may skip are added at
/// the end.
#[test]
fn frames_match_the_golden_file() {
    let golden = include_bytes!("../../golden/handoff_v2.bin");
    assert_eq!(encode(&messages()), golden);
}

#[test]
fn discard_holds_whole_ids_and_at_least_one() {
    let ids: Vec<_> = (1..=3).map(|n| SegmentId::from_bytes([n; 8])).collect();
    let message = Message::Discard { ids };
    let frame = message.with_frame(|parts| parts.concat());
    assert_eq!(Message::decode(&frame), Ok(message));
    for length in [1, 8, 10, 24] {
        assert!(Message::decode(&frame[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn unknown_members_of_hello_are_skipped() {
    let payload = br#"{"version":2,"later":[1]}"#;
    let mut bytes = (payload.len() as u32 + 1).to_be_bytes().to_vec();
    bytes.push(1);
    bytes.extend(payload);
    let mut decoder = Decoder::default();
    decoder.push(&bytes);
    let expected = Hello {
        daemon: None,
        ..hello()
    };
    assert_eq!(decoder.next(), Ok(Some(Message::Hello(expected))));
}

#[test]
fn malformed_frames_are_errors() {
    for (bytes, reason) in [
        (&[0, 0, 0, 0][..], "length zero"),
        (&[0, 2, 0, 1][..], "longer than the limit"),
        (&[255, 255, 255, 255][..], "longest length"),
        (&[0, 0, 0, 3, 2, 1, 2][..], "open without a whole id"),
        (&[0, 0, 0, 2, 1, b'{'][..], "hello that is not JSON"),
        (&[0, 0, 0, 2, 5, 255][..], "request id that is not UTF-8"),
    ] {
        let mut decoder = Decoder::default();
        decoder.push(bytes);
        assert!(decoder.next().is_err(), "no error although {reason}");
    }
}

#[test]
fn frame_of_the_ring_is_the_frame_of_the_socket_without_its_length() {
    for message in messages() {
        let frame = message.with_frame(|parts| parts.concat());
        assert_eq!(encode(std::slice::from_ref(&message))[4..], frame);
        assert_eq!(Message::decode(&frame), Ok(message));
    }
    assert!(Message::decode(b"").is_err());
}

proptest! {
    #[test]
    fn messages_are_reassembled_from_pieces_of_any_size(cuts in proptest::collection::vec(1..40usize, 1..20)) {
        let sent = messages();
        let bytes = encode(&sent);
        let mut decoder = Decoder::default();
        let mut received = 0;
        let mut rest = &bytes[..];
        for cut in cuts.into_iter().chain([bytes.len()]) {
            let (now, later) = rest.split_at(cut.min(rest.len()));
            rest = later;
            decoder.push(now);
            while let Some(message) = decoder.next().unwrap() {
                prop_assert_eq!(&message, &sent[received]);
                received += 1;
            }
        }
        prop_assert_eq!(received, sent.len());
        prop_assert_eq!(decoder.unfinished(), 0);
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut decoder = Decoder::default();
        decoder.push(&bytes);
        while let Ok(Some(_)) = decoder.next() {}
    }
}
