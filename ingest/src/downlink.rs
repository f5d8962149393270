//! What goes to devices: a message over the session of a device, or of its gateway, and the answer that comes back.
//!
//! Owns: which session reaches which device, messages on their way, answers that are waited for. Does not own: sessions
//! and topics (`mqtt`), what a message means and what happens to one that cannot be sent (`server`).
//!
//! Messages go at QoS 0: one that is lost with its connection is one without an answer.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use serde_json::Value as Json;
use tokio::sync::{Notify, mpsc, oneshot};
use wattline_model::AssetId;

use crate::ingestor::Ingestor;
use crate::limits::DOWNLINKS_WAITING_MAX;

/// A message to a device.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    /// Told whether it was written, or is larger than the client takes.
    pub(crate) sent: oneshot::Sender<bool>,
}

/// Where messages to a device are put.
pub(crate) type Mailbox = mpsc::Sender<Outgoing>;

/// A device's answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// 200, or what the device says instead.
    pub code: i64,
    /// What it answers.
    pub data: Json,
    /// Its remark.
    pub message: Option<String>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// The device is not connected, or takes no message of that size: nothing was sent.
    Unreachable,
    /// Nothing came back in time.
    TimedOut,
}

/// Sessions by the devices they reach, and answers that are waited for.
#[derive(Debug, Default)]
pub(crate) struct Downlink {
    mailboxes: Mutex<FxHashMap<AssetId, Mailbox>>,
    /// By device and message id.
    waiting: Mutex<FxHashMap<(AssetId, String), oneshot::Sender<Reply>>>,
    /// Told when a device connects.
    listeners: Mutex<FxHashMap<AssetId, Arc<Notify>>>,
}

impl Downlink {
    /// From now on `mailbox` reaches the device.
    pub(crate) fn reach(&self, asset: AssetId, mailbox: &Mailbox) {
        self.mailboxes.lock().insert(asset, mailbox.clone());
        if let Some(listener) = self.listeners.lock().get(&asset) {
            listener.notify_one();
        }
    }

    /// `mailbox` does not reach the device any more, unless another has taken its place.
    pub(crate) fn lose(&self, asset: AssetId, mailbox: &Mailbox) {
        let mut mailboxes = self.mailboxes.lock();
        if mailboxes.get(&asset).is_some_and(|known| known.same_channel(mailbox)) {
            mailboxes.remove(&asset);
        }
    }

    /// Hands an answer to whoever waits for it.
    pub(crate) fn answered(&self, asset: AssetId, id: String, reply: Reply) {
        let waiting = self.waiting.lock().remove(&(asset, id));
        if let Some(waiting) = waiting {
            // Whoever waited may just have given up.
            let _ = waiting.send(reply);
        }
    }
}

/// Takes back that an answer is waited for, however the waiting ends.
struct Waits<'a>(&'a Downlink, (AssetId, String));

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting.lock().remove(&self.1);
    }
}

impl Ingestor {
    /// Whether a message to the device can be sent now: it is connected itself, or logged in through a gateway.
    pub fn reaches(&self, asset: AssetId) -> bool {
        self.downlink().mailboxes.lock().contains_key(&asset)
    }

    /// Sends `payload`, a message with this id, to the device's `topic` and waits for its answer.
    ///
    /// # Errors
    /// Where it could not be sent, or nothing came back within `patience`.
    pub async fn ask(
        &self,
        asset: AssetId,
        topic: String,
        id: &str,
        payload: Vec<u8>,
        patience: Duration,
    ) -> Result<Reply, Unanswered> {
        let downlink = self.downlink();
        let mailbox = downlink.mailboxes.lock().get(&asset).cloned().ok_or(Unanswered::Unreachable)?;
        let (sent, was_sent) = oneshot::channel();
        let (reply, answered) = oneshot::channel();
        let key = (asset, id.to_owned());
        {
            let mut waiting = downlink.waiting.lock();
            if waiting.len() >= DOWNLINKS_WAITING_MAX {
                return Err(Unanswered::Unreachable);
            }
            waiting.insert(key.clone(), reply);
        }
        let _waits = Waits(downlink, key);
        let told = async {
            let unreachable = |_| Unanswered::Unreachable;
            mailbox.send(Outgoing { topic, payload, sent }).await.map_err(unreachable)?;
            if !was_sent.await.unwrap_or(false) {
                return Err(Unanswered::Unreachable);
            }
            answered.await.map_err(|_| Unanswered::TimedOut)
        };
        tokio::time::timeout(patience, told).await.unwrap_or(Err(Unanswered::TimedOut))
    }

    /// Tells when the device connects, from now on.
    pub fn listener(&self, asset: AssetId) -> Listener {
        let notify = Arc::clone(self.downlink().listeners.lock().entry(asset).or_default());
        Listener { ingestor: self.clone(), asset, notify }
    }
}

/// Somebody who waits for a device to connect.
pub struct Listener {
    ingestor: Ingestor,
    asset: AssetId,
    notify: Arc<Notify>,
}

impl Listener {
    /// Returns when the device connected since the last call.
    pub async fn changed(&self) {
        self.notify.notified().await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut listeners = self.ingestor.downlink().listeners.lock();
        // The table's and ours: nobody else waits.
        if Arc::strong_count(&self.notify) <= 2 {
            listeners.remove(&self.asset);
        }
    }
}
