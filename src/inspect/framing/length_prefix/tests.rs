use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    inspect::framing::testing::{
        broken, every_split,
        garbage::{garbage_is_harmless, holds, parts, sizes},
        messages, rest,
    },
    words::direction::Direction::ToUpstream,
};

use ByteOrder::{Big, Little};

fn framing(width: u64, offset: u64, order: ByteOrder, adjust: i64) -> LengthPrefixed {
    LengthPrefixed::new(width, offset, order, adjust).unwrap()
}

fn least(cut: Result<Cut, Broken>) -> Option<u64> {
    match cut {
        Ok(Cut::More { least }) => least,
        other => panic!("{other:?}"),
    }
}

#[test]
fn messages_are_cut_by_their_length_wherever_the_stream_is_split() {
    let check = |framing: LengthPrefixed, whole: &[&[u8]], behind: &[u8]| {
        let expected = [messages(whole), vec![rest(behind)]].concat();
        every_split(&framing, &[&whole.concat(), behind].concat(), &expected);
    };
    check(framing(1, 0, Big, 0), &[b"\x03abc", b"\0", b"\x01x"], b"\x02y");
    check(framing(4, 0, Big, 0), &[b"\0\0\0\x02ab", b"\0\0\0\0"], b"\0\0\0");
    check(framing(4, 0, Big, -4), &[b"\0\0\0\x06ab", b"\0\0\0\x04"], b"\0\0\0\x05");
    check(framing(2, 3, Little, -2), &[b"typ\x04\0ab", b"typ\x02\0"], b"ty");
    check(framing(3, 0, Little, 1), &[b"\x02\0\0\x07ab", b"\0\0\0\x08"], b"\x01\0\0\x09");
    check(framing(8, 1, Big, 2), &[b"t\0\0\0\0\0\0\0\x01a\xcc\xcc"], b"t\0\0\0\0\0\0\0\0\xcc");
}

#[test]
fn a_stream_of_any_messages_is_cut_into_them() {
    let arguments = (1..=8_u64, 0..4_u64, prop_oneof![Just(Big), Just(Little)], -6..6_i64);
    let bodies = vec(vec(any::<u8>(), 6..40), 0..6);
    holds((arguments, bodies, sizes()), |((width, offset, order, adjust), bodies, sizes)| {
        let framing = framing(width, offset, order, adjust);
        let header = vec![0; usize::try_from(width + offset).unwrap()];
        let set = |body: &Vec<u8>| framing.0.set(b"", [&header[..], body].concat().into()).unwrap();
        let whole: Vec<Bytes> = bodies.iter().map(set).collect();
        assert_eq!(parts(&framing, ToUpstream, &whole.concat(), &sizes), messages(whole));
    });
    garbage_is_harmless(&framing(2, 1, Big, -3), b"a\0\x05bca\0\x03");
    garbage_is_harmless(&framing(8, 0, Little, i64::MAX), b"\0\0\0\0\0\0\0\0");
    garbage_is_harmless(&framing(8, 0, Big, i64::MIN), b"\x80\0\0\0\0\0\0\x01");
}

#[test]
fn a_hostile_length_is_known_before_memory_is_needed_for_it() {
    let mut four = framing(4, 0, Big, 0);
    assert_eq!(least(four.cut(&0x8000_0000_u32.to_be_bytes(), 0)), Some((1 << 31) + 4));
    assert_eq!(least(four.cut(&(-1_i32).to_be_bytes(), 0)), Some((1 << 32) + 3), "a negative number is a huge one");
    let mut eight = framing(8, 0, Little, 0);
    assert_eq!(least(eight.cut(&(1_u64 << 63).to_le_bytes(), 0)), Some((1 << 63) + 8));
    assert_eq!(least(eight.cut(&u64::MAX.to_le_bytes(), 0)), Some(u64::MAX));
    assert_eq!(least(framing(8, 7, Big, i64::MAX).cut(&[0xff; 15], 0)), Some(u64::MAX));
    assert_eq!(least(framing(1, u64::from(u32::MAX) - 1, Big, 0).cut(b"a", 0)), Some(u64::from(u32::MAX)));
}

#[test]
fn a_length_below_that_of_the_header_breaks_the_protocol() {
    every_split(
        &framing(4, 0, Big, -4),
        b"\0\0\0\x05a\0\0\0\x03",
        &[messages([b"\0\0\0\x05a"]), vec![broken(5, "a length of 4 or more, not 3")]].concat(),
    );
    every_split(&framing(2, 1, Little, -3), b"x\0\0", &[broken(1, "a length of 3 or more, not 0")]);
}

#[test]
fn wrong_arguments_are_refused_with_a_way_out() {
    let refused = |width, offset, adjust, part: &str| {
        let error = LengthPrefixed::new(width, offset, Big, adjust).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(part), "{error}");
    };
    refused(0, 0, 0, "width is 0 bytes, and a length field has 1 to 8: try 4");
    refused(9, 0, 0, "width is 9 bytes");
    refused(1 << 63, 0, 0, "width is 9223372036854775808 bytes");
    refused(4, u64::MAX, 0, "offset is 18446744073709551615 bytes");
    refused(1, 2, -256, "adjust is -256, and the greatest value of the field is 255");
    refused(1, 2, i64::MIN, "try -3, if the value counts the whole message");
    assert!(LengthPrefixed::new(1, 2, Big, -255).is_ok());
}

#[test]
fn the_field_is_set_for_the_new_length() {
    let set = |framing: LengthPrefixed, instead: &[u8]| framing.length_field().unwrap().set(b"", instead.to_vec().into());
    let equal = |set: Result<Bytes, TooLong>, expected: &[u8]| assert_eq!(set.unwrap(), expected);
    equal(set(framing(2, 0, Big, 0), b"\0\0abc"), b"\0\x03abc");
    equal(set(framing(4, 1, Little, -5), b"tWHATa"), b"t\x06\0\0\0a");
    equal(set(framing(1, 0, Big, 2), b"\xffabc"), b"\x01abc");
    equal(set(framing(8, 0, Big, 0), b"12345678abc"), b"\0\0\0\0\0\0\0\x03abc");
    equal(set(framing(2, 3, Big, 0), b"typ\0"), b"typ\0");
    equal(set(framing(1, 0, Big, 2), b"\x01a"), b"\x01a");
    let shared = Bytes::from_static(b"\0\0abc");
    equal(framing(2, 0, Big, 0).0.set(b"", shared.clone()), b"\0\x03abc");
    assert_eq!(shared, &b"\0\0abc"[..], "memory that is somebody else's too is not changed");
}

#[test]
fn a_message_that_is_right_already_keeps_its_memory() {
    let right = Bytes::from(b"\0\x03abc".to_vec());
    let set = framing(2, 0, Big, 0).0.set(&right, right.clone()).unwrap();
    assert_eq!(set.as_ptr(), right.as_ptr());
    let wrong = Bytes::from(b"\0\x04abc".to_vec());
    let place = wrong.as_ptr();
    assert_eq!(framing(2, 0, Big, 0).0.set(b"", wrong).unwrap().as_ptr(), place, "memory of its own is changed in place");
}

#[test]
fn a_message_longer_than_its_field_can_say_is_refused() {
    let field = framing(1, 1, Big, -2).length_field().unwrap();
    assert_eq!(field.set(b"", vec![0; 255].into()).unwrap()[..2], [0, 255]);
    assert_eq!(field.set(b"", vec![0; 256].into()), Err(TooLong { length: 256, most: 255 }));
    let field = framing(2, 0, Little, 0).length_field().unwrap();
    assert_eq!(field.set(b"", vec![0; 65538].into()), Err(TooLong { length: 65538, most: 65537 }));
}
