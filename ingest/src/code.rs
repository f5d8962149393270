//! Reply codes of the device protocol.
//!
//! Owns: the codes this server gives, their numbers and their names in metrics. Does not own: which input earns which
//! (`decode`, `mqtt`).

use std::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $label:literal;)*) => {
        /// A reply code. The numbers are the protocol's.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u16)]
        pub enum Code { $($(#[$doc])* $name = $number,)* }

        impl Code {
            /// Every code, in ascending order.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];

            /// What it means, in a word or two, for messages.
            pub const fn meaning(self) -> &'static str {
                match self { $(Code::$name => $label,)* }
            }
        }
    };
}

codes! {
    /// Done: durable and visible.
    Ok = 200, "ok";
    /// The device is not known.
    UnknownDevice = 705, "device not found";
    /// The device is disabled.
    Disabled = 723, "device disabled";
    /// The signature does not match.
    BadSignature = 742, "signature does not match";
    /// The product demands TLS with a client certificate.
    NeedsTls = 746, "login must use TLS with a client certificate";
    /// The product does not allow dynamic activation.
    NoDynamicActivation = 770, "dynamic activation is not allowed";
    /// The message is larger than allowed.
    TooLarge = 1008, "message too large";
    /// No right to write there, or not logged in.
    NoRight = 1009, "no right to write";
    /// No handler: documented elsewhere, not supported here.
    NotSupported = 1101, "not supported";
    /// The model refuses it: an unknown point, a quality where there is none, a value outside an enumeration.
    Model = 1204, "does not fit the model";
    /// A value or time of the wrong form.
    Format = 1206, "wrong data format";
    /// A sub-device that is offline or not this gateway's.
    SubDevice = 1212, "sub-device offline or not permitted";
    /// Not JSON, or not the shape of a message.
    Json = 1220, "not valid JSON";
    /// Nothing in it.
    Empty = 1251, "empty payload";
    /// A device named inside a message does not exist.
    NoSuchDevice = 1257, "device not found";
    /// The method does not match the topic.
    Method = 1260, "method does not match topic";
}

impl Code {
    /// The number on the wire.
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// Its place in [`Code::ALL`], for tables of counters.
    pub fn index(self) -> usize {
        Code::ALL.iter().position(|&c| c == self).expect("every code is in ALL")
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number())
    }
}
