//! Limits of the way in, each with its reason. Those of the data itself are in `wattline_model::limits`.

use wattline_model::limits::MESSAGE_BYTES_MAX;

/// Rejects listed by name in one answer; the rest is counted. A client that got a thousand rows wrong got them wrong
/// for a handful of reasons.
pub const REJECTS_LISTED_MAX: usize = 100;

/// Bytes of a message id, which is echoed. Documented ids are numbers as text.
pub const MESSAGE_ID_BYTES_MAX: usize = 256;

/// Bytes of input a reject message quotes.
pub const QUOTE_BYTES_MAX: usize = 64;

/// Points a decoder remembers the usual order of. Past that, each costs one hash more.
pub const KEY_ORDER_MAX: usize = 1_024;

/// Bytes of a line of NDJSON.
pub const LINE_BYTES_MAX: usize = MESSAGE_BYTES_MAX;

/// How far in the future a sample may lie, where nothing else is configured: a day forgives clocks set to local time.
pub const FUTURE_LIMIT_MICROS: i64 = 24 * 3_600 * 1_000_000;

/// Bytes a PUBLISH may have beside its payload: fixed header, topic, packet id, properties.
pub const PUBLISH_HEADER_BYTES_MAX: usize = 4 * 1024;

/// Bytes of an MQTT packet. One more is refused before room for it is made.
pub const PACKET_BYTES_MAX: usize = MESSAGE_BYTES_MAX + PUBLISH_HEADER_BYTES_MAX;

/// Bytes of a CONNECT packet: nobody has proven anything yet, so it gets less. Documented parts take below 1 KiB; a
/// will message may add some.
pub const CONNECT_BYTES_MAX: usize = 16 * 1024;

/// Bytes of an oversized 3.1.1 message that are read and thrown away so that it can be refused by name instead of by
/// closing the connection, after which the device would send it again, for ever.
pub const DISCARD_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Bytes of the read buffer of an idle connection: ten thousand of them take 20 MB.
pub const READ_BUFFER_IDLE_BYTES: usize = 2 * 1024;

/// Bytes of the read buffer of a busy connection; only a packet that is larger itself makes it grow further.
pub const READ_BUFFER_BUSY_BYTES: usize = 16 * 1024;

/// Bytes of answers gathered before they must be sent. The smallest packet that earns an answer has seven bytes and
/// earns a hundred, so a read buffer of pipelined empty messages must not be answered in one piece.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Topic filters of one session. The published SDKs hold about twenty.
pub const SUBSCRIPTIONS_MAX: usize = 128;

/// Bytes of one topic filter.
pub const FILTER_BYTES_MAX: usize = 512;

/// Sub-devices logged in through one gateway (device protocol §4.9).
pub const SUB_DEVICES_MAX: usize = 200;

/// Messages to one session that wait to be written. Commands go one at a time, a gateway has that many devices.
pub const MAILBOX_MESSAGES_MAX: usize = 64;

/// Answers of devices that are waited for at once, over all devices: a minute's patience for a large fleet.
pub const DOWNLINKS_WAITING_MAX: usize = 100_000;

/// Bytes of a device's answer that are looked at. Larger ones count as no answer.
pub const REPLY_BYTES_MAX: usize = 64 * 1024;

/// Devices the reconnect limiter remembers; past that it forgets those that are not locked.
pub const LIMITER_DEVICES_MAX: usize = 100_000;

const _: () = assert!(CONNECT_BYTES_MAX <= PACKET_BYTES_MAX && PACKET_BYTES_MAX < DISCARD_BYTES_MAX);
const _: () = assert!(READ_BUFFER_IDLE_BYTES <= READ_BUFFER_BUSY_BYTES);
