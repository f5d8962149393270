//! Order within a shard, and where a batch came from.

use std::fmt;

/// The place of a batch in its shard's log: 1 for the first, then one more each. 0 means "before everything".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seqno(pub u64);

impl Seqno {
    /// Before the first batch.
    pub const ZERO: Seqno = Seqno(0);

    /// The one after this.
    #[must_use]
    pub const fn next(self) -> Seqno {
        Seqno(self.0 + 1)
    }
}

impl fmt::Display for Seqno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seq#{}", self.0)
    }
}

/// Where a batch came from: enough to tell, after a restart, how far a replayable source had got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Source {
    /// A client that holds its message until it is acknowledged (MQTT, HTTP): nothing to resume from.
    #[default]
    Client,
    /// A partition of a Kafka topic; `topic` is a number the registry keeps.
    Kafka {
        /// The topic.
        topic: u32,
        /// The partition.
        partition: u32,
        /// The offset of the last message in the batch.
        offset: i64,
    },
    /// An edge's own sequence.
    Edge {
        /// The edge.
        edge: u32,
        /// Its sequence number.
        sequence: u64,
    },
    /// A job inside this server (stream job, import).
    Job {
        /// The job.
        job: u32,
        /// Its position.
        position: u64,
    },
}
