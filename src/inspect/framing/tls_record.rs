//! Records of TLS, as they are on the wire.

use std::sync::Arc;

use super::{
    framer::{Broken, Cut, Framer},
    length_field::LengthField,
    length_prefix::Field,
};

/// The records of TLS and SSL 3: a type, a version and a length, then the contents, encrypted once the handshake has come so
/// far (RFC 8446 §5.1 and §5.2, RFC 5246 §6.2).
#[derive(Debug, Clone, Copy, Default)]
pub struct TlsRecords;

/// In the last two of the five bytes of the header.
const LENGTH: Field = Field::network(3, 2).up_to(MOST);

/// The maximum length of the contents, that of compressed and encrypted ones (RFC 5246 §6.2.3). TLS 1.3 allows less.
const MOST: u64 = (1 << 14) + 2048;

impl Framer for TlsRecords {
    fn protocol(&self) -> &'static str {
        "tls_records"
    }

    fn cut(&mut self, buffer: &[u8], _: usize) -> Result<Cut, Broken> {
        let wrong = |offset, is_right: fn(u8) -> bool| buffer.get(offset).is_some_and(|byte| !is_right(*byte));
        // From change_cipher_spec to heartbeat (RFC 6520 §4).
        if wrong(0, |kind| (20..=24).contains(&kind)) {
            return Err(Broken::at(0, "the type of a TLS record, 20 to 24"));
        }
        if wrong(1, |major| major == 3) || wrong(2, |minor| minor <= 4) {
            let offset = if wrong(1, |major| major == 3) { 1 } else { 2 };
            return Err(Broken::at(offset, "a version of TLS, 0x0300 to 0x0304"));
        }
        if LENGTH.value(buffer).is_some_and(|length| length > MOST) {
            return Err(Broken::at(3, format!("the length of a TLS record, {MOST} at most")));
        }
        LENGTH.cut(buffer)
    }

    fn length_field(&self) -> Option<Arc<dyn LengthField>> {
        Some(Arc::new(LENGTH))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::{
        inspect::framing::{
            length_field::TooLong,
            testing::{
                broken, every_split,
                garbage::{garbage_is_harmless, holds, parts, sizes},
                messages, rest,
            },
        },
        words::direction::Direction::ToClient,
    };

    /// A client's hello (shortened), a change of the cipher, encrypted data, an alert, a heartbeat, and data of no length.
    const RECORDS: [&[u8]; 6] = [
        b"\x16\x03\x01\0\x2d\x01\0\0\x29\x03\x03abcdefghijklmnopqrstuvwxyz012345\0\0\x02\x13\x01\x01\0",
        b"\x14\x03\x03\0\x01\x01",
        b"\x17\x03\x03\0\x05\x8f\x16\x03\x01\0",
        b"\x15\x03\x03\0\x02\x02\x28",
        b"\x18\x03\x02\0\x03\x01\0\0",
        b"\x17\x03\0\0\0",
    ];

    #[test]
    fn records_are_cut_wherever_the_stream_is_split() {
        every_split(&TlsRecords, &RECORDS.concat(), &messages(RECORDS)[..]);
        let behind = b"\x17\x03\x03\0\x05abcd";
        every_split(&TlsRecords, &[RECORDS[1], behind].concat(), &[messages([RECORDS[1]]), vec![rest(behind)]].concat());
    }

    #[test]
    fn a_stream_of_any_records_is_cut_into_them() {
        let record = (20..=24_u8, 0..=4_u8, vec(any::<u8>(), 0..50)).prop_map(|(kind, minor, contents)| {
            let header = [kind, 3, minor, 0, u8::try_from(contents.len()).unwrap()];
            [&header[..], &contents].concat()
        });
        holds((vec(record, 0..6), sizes()), |(records, sizes)| {
            assert_eq!(parts(&TlsRecords, ToClient, &records.concat(), &sizes), messages(records));
        });
        garbage_is_harmless(&TlsRecords, &RECORDS.concat());
    }

    #[test]
    fn what_is_no_record_breaks_the_protocol() {
        every_split(&TlsRecords, b"GET / HTTP/1.1\r\n", &[broken(0, "the type of a TLS record, 20 to 24")]);
        every_split(&TlsRecords, b"\x16\x02\x01\0\x01a", &[broken(1, "a version of TLS, 0x0300 to 0x0304")]);
        every_split(&TlsRecords, b"\x16\x03\x05\0\x01a", &[broken(2, "a version of TLS, 0x0300 to 0x0304")]);
        every_split(&TlsRecords, b"\x16\x03\x03\x48\x01a", &[broken(3, "the length of a TLS record, 18432 at most")]);
        assert_eq!(TlsRecords.cut(b"\x16\x03\x03\x48\0", 0), Ok(Cut::More { least: Some(5 + 18432) }));
    }

    #[test]
    fn the_length_is_set_as_far_as_a_record_may_have_it() {
        let length = TlsRecords.length_field().unwrap();
        let right = Bytes::from_static(RECORDS[3]);
        assert_eq!(length.set(&right, right.clone()).unwrap().as_ptr(), right.as_ptr());
        assert_eq!(length.set(&right, Bytes::from_static(b"\x15\x03\x03\0\x02a")).unwrap(), &b"\x15\x03\x03\0\x01a"[..]);
        assert!(length.set(&right, vec![0; 5 + 18432].into()).is_ok());
        assert_eq!(length.set(&right, vec![0; 6 + 18432].into()), Err(TooLong { length: 18438, most: 18437 }));
    }
}
