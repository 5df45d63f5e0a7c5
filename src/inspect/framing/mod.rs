//! Framing: cuts the bytes of a direction into whole messages of a protocol. One file for each protocol.

pub mod delimiter;
pub mod dns;
pub mod fixed;
pub mod framer;
pub mod http1;
pub mod length_field;
pub mod length_prefix;
pub mod lines;
pub(crate) mod message_stage;
pub mod modbus;
pub mod mqtt;
pub mod mysql;
mod passed;
pub mod postgres;
pub mod redis;
mod replaced_messages;
pub mod spec;
#[cfg(test)]
pub(crate) mod testing;
pub mod tls_record;
pub mod varint;

pub(crate) use self::passed::Passed;
pub use self::{
    delimiter::Delimited,
    dns::Dns,
    fixed::Fixed,
    framer::{Answered, Broken, Cut, Framer},
    http1::Http1,
    length_field::{LengthField, TooLong},
    length_prefix::{ByteOrder, LengthPrefixed},
    lines::Lines,
    modbus::Modbus,
    mqtt::Mqtt,
    mysql::Mysql,
    postgres::Postgres,
    redis::Resp,
    replaced_messages::ReplacedMessages,
    spec::{Framed, Framing, FramingErrors, FramingPair, FramingRules},
    tls_record::TlsRecords,
    varint::Varint,
};
