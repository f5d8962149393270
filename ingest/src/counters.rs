//! Counters of the way in, ready for an exporter.
//!
//! Owns: the atomics and their names. Does not own: how they are served (`server`).

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::code::Code;
use crate::decode::enos::Upload;

/// What a message was, by its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicKind {
    /// One of the four uploads.
    Upload(Upload),
    /// Login and logout of sub-devices.
    Combine,
    /// Events.
    Event,
    /// Any other topic of the device's own.
    Other,
}

const KINDS: [&str; 7] = ["post", "post_batch", "resume", "resume_batch", "combine", "other", "event"];
const CODES: usize = Code::ALL.len();

impl TopicKind {
    fn index(self) -> usize {
        match self {
            TopicKind::Upload(upload) => upload as usize,
            TopicKind::Combine => 4,
            TopicKind::Other => 5,
            TopicKind::Event => 6,
        }
    }
}

macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $label:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// Every one.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            /// Its label in metrics.
            pub const fn label(self) -> &'static str {
                match self { $($name::$variant => $label,)* }
            }
        }
    };
}

reasons! {
    /// Why a connection was refused before or at login.
    Refused {
        /// Too many connections.
        Full = "full",
        /// The TLS handshake failed.
        Tls = "tls",
        /// No CONNECT in time.
        Timeout = "timeout",
        /// What came was no CONNECT.
        Protocol = "protocol",
        /// Client id or user name of the wrong form.
        Identity = "identity",
        /// Unknown device or product.
        Unknown = "unknown_device",
        /// Wrong signature.
        Signature = "signature",
        /// Disabled device.
        Disabled = "disabled",
        /// Dynamic activation not allowed.
        Activation = "activation",
        /// A certificate was demanded.
        Certificate = "certificate",
        /// Too many logins in a short time.
        Rate = "rate",
        /// The registry failed.
        Registry = "registry",
    }
}

reasons! {
    /// Why an open connection ended.
    Closed {
        /// The client said goodbye.
        Goodbye = "goodbye",
        /// The client just went.
        Gone = "gone",
        /// Nothing came for one and a half keep-alive times.
        Idle = "idle",
        /// The client did not read its answers.
        NotReading = "not_reading",
        /// The same device logged in again.
        TakenOver = "taken_over",
        /// A packet that breaks MQTT.
        Protocol = "protocol",
        /// A packet that is too large.
        TooLarge = "too_large",
        /// A topic of somebody else.
        ForeignTopic = "foreign_topic",
        /// QoS 2.
        Qos2 = "qos2",
        /// The device was disabled or removed while it was connected.
        Disabled = "disabled",
        /// The store refused.
        Store = "store",
        /// The server stops.
        Shutdown = "shutdown",
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident => $metric:literal;)*) => {
        /// Everything counted on the way in.
        #[derive(Debug)]
        pub struct Counters {
            $($(#[$doc])* pub $name: AtomicU64,)*
            /// Connections open now.
            pub connections: AtomicU64,
            refused: [AtomicU64; Refused::ALL.len()],
            closed: [AtomicU64; Closed::ALL.len()],
            messages: [[AtomicU64; CODES]; KINDS.len()],
            rejects: [AtomicU64; CODES],
        }

        impl Default for Counters {
            fn default() -> Counters {
                Counters {
                    $($name: AtomicU64::new(0),)*
                    connections: AtomicU64::new(0),
                    refused: [const { AtomicU64::new(0) }; Refused::ALL.len()],
                    closed: [const { AtomicU64::new(0) }; Closed::ALL.len()],
                    messages: [const { [const { AtomicU64::new(0) }; CODES] }; KINDS.len()],
                    rejects: [const { AtomicU64::new(0) }; CODES],
                }
            }
        }

        impl Counters {
            fn plain(&self) -> Vec<Counter> {
                vec![$(Counter::new($metric, &[], &self.$name),)*]
            }
        }
    };
}

counters! {
    /// Connections accepted since the start.
    accepted => "wattline_mqtt_connections_accepted_total";
    /// Logins that succeeded.
    logins => "wattline_mqtt_logins_total";
    /// Sessions ended because their device logged in again.
    takeovers => "wattline_mqtt_takeovers_total";
    /// Bytes read from MQTT clients.
    bytes_received => "wattline_mqtt_received_bytes_total";
    /// Bytes sent to MQTT clients.
    bytes_sent => "wattline_mqtt_sent_bytes_total";
    /// Messages that came with the DUP flag: somebody had to send them again.
    redelivered => "wattline_mqtt_redelivered_messages_total";
    /// Messages to topics that are not the sender's.
    foreign => "wattline_mqtt_foreign_topic_messages_total";
    /// Replies nobody had subscribed to.
    replies_unheard => "wattline_mqtt_replies_without_subscription_total";
    /// Errors of accepting connections, such as too many open files.
    accept_errors => "wattline_mqtt_accept_errors_total";
    /// Batches handed to the store.
    batches => "wattline_ingest_batches_total";
    /// Rows accepted.
    rows => "wattline_ingest_rows_total";
    /// Samples accepted: durable and visible.
    samples => "wattline_ingest_samples_total";
    /// Invalid points skipped because the message asked for it.
    skipped => "wattline_ingest_skipped_points_total";
    /// Back-fill entries without a time, which got the server's.
    untimed_resumes => "wattline_ingest_untimed_resume_entries_total";
    /// Devices registered by their first login.
    devices_registered => "wattline_ingest_auto_registered_devices_total";
    /// Points registered by their first value.
    points_registered => "wattline_ingest_auto_registered_points_total";
}

/// One number for an exporter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counter {
    /// The metric. Names that do not end in `_total` are gauges.
    pub name: &'static str,
    /// Names and values of its labels.
    pub labels: Vec<(&'static str, String)>,
    /// The number.
    pub value: u64,
}

impl Counter {
    fn new(name: &'static str, labels: &[(&'static str, &str)], value: &AtomicU64) -> Counter {
        let labels = labels.iter().map(|&(name, value)| (name, value.to_owned())).collect();
        Counter { name, labels, value: value.load(Relaxed) }
    }
}

/// Adds `n` to a counter.
pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Relaxed);
}

impl Counters {
    pub(crate) fn refused(&self, reason: Refused) {
        add(&self.refused[reason as usize], 1);
    }

    pub(crate) fn closed(&self, reason: Closed) {
        add(&self.closed[reason as usize], 1);
    }

    pub(crate) fn message(&self, kind: TopicKind, code: Code) {
        add(&self.messages[kind.index()][code.index()], 1);
        if code != Code::Ok {
            add(&self.rejects[code.index()], 1);
        }
    }

    /// Messages that became durable and visible.
    pub(crate) fn accepted(&self, kind: TopicKind, n: u64) {
        add(&self.messages[kind.index()][Code::Ok.index()], n);
    }

    /// Rows or samples of a bulk write that were refused.
    pub(crate) fn rejects(&self, code: Code, n: u64) {
        add(&self.rejects[code.index()], n);
    }

    /// Every number as it is now. Labelled ones that are still 0 are left out.
    pub fn snapshot(&self) -> Vec<Counter> {
        let mut all = self.plain();
        all.push(Counter::new("wattline_mqtt_connections", &[], &self.connections));
        for (reason, value) in Refused::ALL.iter().zip(&self.refused) {
            let labels = [("reason", reason.label())];
            all.push(Counter::new("wattline_mqtt_connections_refused_total", &labels, value));
        }
        for (reason, value) in Closed::ALL.iter().zip(&self.closed) {
            let labels = [("reason", reason.label())];
            all.push(Counter::new("wattline_mqtt_connections_closed_total", &labels, value));
        }
        for (kind, codes) in KINDS.iter().zip(&self.messages) {
            for (code, value) in Code::ALL.iter().zip(codes) {
                let code = code.to_string();
                let labels = [("topic", *kind), ("code", &code)];
                all.push(Counter::new("wattline_ingest_messages_total", &labels, value));
            }
        }
        for (code, value) in Code::ALL.iter().zip(&self.rejects) {
            let code = code.to_string();
            all.push(Counter::new("wattline_ingest_rejects_total", &[("code", &code)], value));
        }
        all.retain(|c| c.value > 0 || c.labels.is_empty());
        all
    }
}
