//! Commands to devices: from given to done.
//!
//! Owns: the order of a device's commands (strictly one at a time), waiting for a device that is away, states and when they
//! are durable, what a restart makes of commands that were under way. Does not own: reaching devices
//! ([`wattline_ingest::downlink`]), HTTP ([`crate::http::commands`]), how samples are kept (`storage`).
//!
//! *given → (waiting) → sent → succeeded, failed or timed out*; from waiting also *canceled* or *expired*. A command is
//! noted as sent before it is sent: after a kill it is never sent a second time, and what is in doubt counts as not
//! answered.

mod record;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value as Json;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use wattline_ingest::{Ingestor, Listener, Reply, Unanswered};
use wattline_model::{AssetId, BatchBuilder, Channel, Kind, PointId, Source, TimeRange, Timestamp, ValueRef};
use wattline_registry::{Device, RecordKind};
use wattline_storage::ScanRequest;

pub use self::record::{Command, CommandKind, CommandState, decode_id};
use crate::error::{Error, Result};
use crate::http::now_micros;

/// Commands of one device that wait (device protocol §4.6).
pub const PENDING_MAX: usize = 50;

/// Commands that wait, over all devices: each is a few hundred bytes and its device has a task.
const PENDING_ALL_MAX: usize = 100_000;

/// Seconds that a command may wait at most: two days (§4.6).
pub const TTL_SECONDS_MAX: u32 = 172_800;

/// Seconds that a device has to answer: at most (§4.6), and where nothing is said.
pub const TIMEOUT_SECONDS_MAX: u32 = 60;
/// Where nothing is said.
pub const TIMEOUT_SECONDS: u32 = 30;

/// Bytes of arguments, so that a command and its answer fit a sample.
pub const INPUT_BYTES_MAX: usize = 4 << 10;
/// Bytes of an answer that are kept.
const OUTPUT_BYTES_MAX: usize = 8 << 10;
/// Bytes of a device's remark that are kept.
const MESSAGE_BYTES_MAX: usize = 1 << 10;

/// The point of the model of commands.
const POINT: PointId = PointId(0);

/// How long a device that seemed reachable and was not is left alone, where nothing wakes us earlier.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Why a command was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undone {
    /// The device is not there.
    Offline,
    /// It never was.
    Inactive,
    /// Other commands were before it for too long.
    NotSent,
    /// It did not answer in time.
    NoAnswer,
    /// Too many commands wait.
    Full,
}

/// A device's commands.
#[derive(Default)]
struct Queue {
    /// Held while one is with the device.
    turn: tokio::sync::Mutex<()>,
    waiting: Mutex<Waiting>,
    /// Told when none waits any more.
    idle: Notify,
    /// Told when one joined them, or was taken back.
    changed: Notify,
}

#[derive(Default)]
struct Waiting {
    commands: VecDeque<Kept>,
    /// Those that are made durable just now, to join them.
    arriving: usize,
    /// Whether a task sees to them.
    worked_on: bool,
    /// When the last one was given: identifiers are times.
    last: i64,
}

/// A command that waits, and its part of the room there is for all. A restart takes up more than there is room for.
struct Kept {
    command: Command,
    _room: Option<OwnedSemaphorePermit>,
}

/// A place among those that wait, until the command has taken it.
struct Arriving<'q>(&'q Queue);

impl<'q> Arriving<'q> {
    fn begin(queue: &'q Queue) -> Option<Arriving<'q>> {
        let mut waiting = queue.waiting.lock();
        if waiting.commands.len() + waiting.arriving >= PENDING_MAX {
            return None;
        }
        waiting.arriving += 1;
        Some(Arriving(queue))
    }
}

impl Drop for Arriving<'_> {
    fn drop(&mut self) {
        self.0.waiting.lock().arriving -= 1;
    }
}

/// The commands of all devices.
pub struct Commands {
    ingestor: Ingestor,
    queues: Mutex<HashMap<AssetId, Arc<Queue>>>,
    room: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Commands {
    /// Commands over the sessions of `ingestor`, until `stop`.
    pub fn new(ingestor: Ingestor, stop: CancellationToken) -> Commands {
        let room = Arc::new(Semaphore::new(PENDING_ALL_MAX));
        Commands { ingestor, queues: Mutex::default(), room, stop }
    }

    fn queue(&self, asset: AssetId) -> Arc<Queue> {
        let mut queues = self.queues.lock();
        if queues.len() >= PENDING_ALL_MAX {
            queues
                .retain(|_, queue| Arc::strong_count(queue) > 1 || !queue.waiting.lock().commands.is_empty());
        }
        Arc::clone(queues.entry(asset).or_default())
    }

    /// A command for `device`, its time the next one free.
    pub fn prepare(
        &self,
        device: &Device,
        kind: CommandKind,
        tsl: String,
        name: String,
        input: Json,
    ) -> Command {
        let queue = self.queue(device.asset);
        let mut waiting = queue.waiting.lock();
        let created = now_micros().max(waiting.last + 1);
        waiting.last = created;
        Command {
            asset: device.asset,
            created,
            kind,
            tsl,
            name,
            input,
            timeout: TIMEOUT_SECONDS,
            ttl: 0,
            state: CommandState::Created,
            output: Json::Null,
            message: None,
        }
    }

    /// Sends a command now, once none waits before it, and returns it with the device's answer.
    ///
    /// # Errors
    /// Where the store or the registry refuses.
    pub async fn run(
        &self,
        device: &Device,
        mut command: Command,
    ) -> Result<(Command, std::result::Result<Reply, Undone>)> {
        let undone = if !device.active {
            Some(Undone::Inactive)
        } else if !self.ingestor.reaches(device.asset) {
            Some(Undone::Offline)
        } else {
            None
        };
        if let Some(undone) = undone {
            return self.fail(device, command, undone, "the device is not connected").await;
        }
        let queue = self.queue(device.asset);
        let patience = Duration::from_secs(command.timeout.into());
        let Ok(_turn) = timeout_at(Instant::now() + patience, last_turn(&queue)).await else {
            return self.fail(device, command, Undone::NotSent, "other commands were before it").await;
        };
        command.state = CommandState::Sent;
        self.save(device, &command).await?;
        match self.ask(device, &command).await {
            Ok(reply) => {
                settle(&mut command, &reply);
                self.save(device, &command).await?;
                Ok((command, Ok(reply)))
            }
            Err(Unanswered::Unreachable) => {
                self.fail(device, command, Undone::Offline, "the device was not reached").await
            }
            Err(Unanswered::TimedOut) => {
                command.state = CommandState::TimedOut;
                self.save(device, &command).await?;
                Ok((command, Err(Undone::NoAnswer)))
            }
        }
    }

    async fn fail(
        &self,
        device: &Device,
        mut command: Command,
        undone: Undone,
        why: &str,
    ) -> Result<(Command, std::result::Result<Reply, Undone>)> {
        (command.state, command.message) = (CommandState::Failed, Some(why.to_owned()));
        self.save(device, &command).await?;
        Ok((command, Err(undone)))
    }

    /// Keeps a command until its device can be reached; when this returns it is durable.
    ///
    /// # Errors
    /// Where the store or the registry refuses; `Ok(Err)` where too many wait.
    pub async fn keep(
        self: &Arc<Self>,
        device: &Arc<Device>,
        command: Command,
    ) -> Result<std::result::Result<(), Undone>> {
        let queue = self.queue(device.asset);
        let Ok(room) = Arc::clone(&self.room).try_acquire_owned() else { return Ok(Err(Undone::Full)) };
        let Some(_arriving) = Arriving::begin(&queue) else { return Ok(Err(Undone::Full)) };
        self.save(device, &command).await?;
        self.enqueue(device, &queue, Kept { command, _room: Some(room) });
        Ok(Ok(()))
    }

    /// Puts a command behind the others and sees that somebody works on them.
    fn enqueue(self: &Arc<Self>, device: &Arc<Device>, queue: &Arc<Queue>, kept: Kept) {
        let mut waiting = queue.waiting.lock();
        let created = kept.command.created;
        waiting.last = waiting.last.max(created);
        // Two that were given at once may become durable in the other order.
        let at = waiting.commands.partition_point(|before| before.command.created < created);
        waiting.commands.insert(at, kept);
        queue.changed.notify_one();
        if !std::mem::replace(&mut waiting.worked_on, true) {
            tokio::spawn(Arc::clone(self).work(Arc::clone(device), Arc::clone(queue)));
        }
    }

    /// Takes back what waits for the device: the command with this identifier, or all. Returns them.
    ///
    /// # Errors
    /// Where the store refuses.
    pub async fn cancel(&self, device: &Device, id: Option<&str>) -> Result<Vec<Command>> {
        let queue = self.queue(device.asset);
        let mut taken: Vec<Command> = {
            let mut waiting = queue.waiting.lock();
            let is_meant = |kept: &Kept| id.is_none_or(|id| kept.command.id() == id);
            let all = std::mem::take(&mut waiting.commands);
            let (taken, stay): (VecDeque<Kept>, _) = all.into_iter().partition(is_meant);
            waiting.commands = stay;
            taken.into_iter().map(|kept| kept.command).collect()
        };
        queue.changed.notify_one();
        for command in &mut taken {
            command.state = CommandState::Canceled;
            self.save(device, command).await?;
        }
        Ok(taken)
    }

    /// Sends what waits for a device, one after the other, until nothing does.
    async fn work(self: Arc<Self>, device: Arc<Device>, queue: Arc<Queue>) {
        let listener = self.ingestor.listener(device.asset);
        let stop = self.stop.clone();
        let over = tokio::select! {
            over = self.work_on(&device, &queue, &listener) => over,
            // What waits is found again at the next start.
            () = stop.cancelled() => Ok(()),
        };
        if let Err(error) = over {
            tracing::error!(%error, device = %device.device_key, "commands wait until the next start");
            queue.waiting.lock().worked_on = false;
        }
    }

    async fn work_on(&self, device: &Device, queue: &Queue, listener: &Listener) -> Result<()> {
        loop {
            let (expired, next, soonest) = {
                let mut waiting = queue.waiting.lock();
                let now = now_micros();
                let all = std::mem::take(&mut waiting.commands);
                let (expired, stay): (VecDeque<Kept>, _) =
                    all.into_iter().partition(|kept| kept.command.expires() <= now);
                waiting.commands = stay;
                let next = waiting.commands.front().map(|kept| kept.command.clone());
                let soonest = waiting.commands.iter().map(|kept| kept.command.expires()).min();
                waiting.worked_on = next.is_some();
                (expired, next, soonest.map_or(0, |soonest| soonest.saturating_sub(now)))
            };
            for Kept { mut command, .. } in expired {
                command.state = CommandState::Expired;
                self.save(device, &command).await?;
            }
            let Some(next) = next else {
                queue.idle.notify_waiters();
                return Ok(());
            };
            if !self.ingestor.reaches(device.asset) {
                let soonest = Duration::from_micros(soonest.unsigned_abs());
                tokio::select! {
                    () = tokio::time::sleep(soonest) => {}
                    () = listener.changed() => {}
                    () = queue.changed.notified() => {}
                }
                continue;
            }
            let turn = queue.turn.lock().await;
            // It may have been taken back meanwhile.
            let Some(Kept { mut command, _room: room }) = take(queue, &next) else { continue };
            command.state = CommandState::Sent;
            self.save(device, &command).await?;
            match self.ask(device, &command).await {
                Ok(reply) => settle(&mut command, &reply),
                Err(Unanswered::TimedOut) => command.state = CommandState::TimedOut,
                Err(Unanswered::Unreachable) => {
                    // Nothing was sent: it goes on waiting, first in line.
                    command.state = CommandState::Created;
                    self.save(device, &command).await?;
                    queue.waiting.lock().commands.push_front(Kept { command, _room: room });
                    drop(turn);
                    let _ = tokio::time::timeout(LOOK_AGAIN, listener.changed()).await;
                    continue;
                }
            }
            self.save(device, &command).await?;
        }
    }

    async fn ask(&self, device: &Device, command: &Command) -> std::result::Result<Reply, Unanswered> {
        let topic = format!("/sys/{}/{}/{}", device.product_key, device.device_key, command.topic());
        let patience = Duration::from_secs(command.timeout.into());
        self.ingestor.ask(device.asset, topic, &command.id(), command.payload(), patience).await
    }

    /// Makes a command's state durable.
    async fn save(&self, device: &Device, command: &Command) -> Result<()> {
        let failed = |e: &dyn std::fmt::Display| Error::failed(format!("command {}: {e}", command.id()));
        self.ingestor.ensure_records(device.org, RecordKind::Commands).await.map_err(|e| failed(&e))?;
        let records = self.ingestor.registry().records(device.org, RecordKind::Commands);
        let records = records.ok_or_else(|| failed(&"commands have no place"))?;
        let text = serde_json::to_string(command).map_err(|e| failed(&e))?;
        let mut rows = BatchBuilder::new(self.ingestor.store().shards(), Source::Client);
        rows.begin_row(records.model, command.asset, Channel::RealTime);
        let fits = rows.cell(POINT, ValueRef::Text(&text), None);
        debug_assert!(fits, "the point holds texts");
        rows.end_row(Timestamp(command.created));
        self.ingestor.write(rows.finish()).await.map_err(|e| failed(&e))
    }

    /// Takes up what a stop left: commands that wait go on waiting, those that were with a device count as not answered.
    ///
    /// # Errors
    /// Where the store cannot be read or written.
    pub async fn recover(self: &Arc<Self>) -> Result<()> {
        let reading = Arc::clone(self);
        let left = tokio::task::spawn_blocking(move || reading.left()).await;
        let left = left.map_err(|e| Error::failed(format!("reading commands failed: {e}")))??;
        for mut command in left {
            let Some(device) = self.ingestor.registry().asset(command.asset) else { continue };
            if command.state == CommandState::Created {
                let room = Arc::clone(&self.room).try_acquire_owned().ok();
                self.enqueue(&device, &self.queue(device.asset), Kept { command, _room: room });
            } else {
                let why = "the server stopped before an answer came";
                (command.state, command.message) = (CommandState::TimedOut, Some(why.to_owned()));
                self.save(&device, &command).await?;
            }
        }
        Ok(())
    }

    /// The commands that were not settled, by device and time.
    fn left(&self) -> Result<Vec<Command>> {
        let failed = |e: wattline_storage::Error| Error::failed(format!("reading commands: {e}"));
        let longest = i64::from(TTL_SECONDS_MAX + 2 * TIMEOUT_SECONDS_MAX) * 1_000_000;
        let since = Timestamp(now_micros().saturating_sub(longest));
        let mut left = Vec::new();
        for records in self.ingestor.registry().all_records(RecordKind::Commands) {
            let request = ScanRequest {
                model: records.model,
                points: vec![(POINT, Kind::Text)],
                assets: None,
                range: TimeRange::new(since, TimeRange::ALL.end),
                every_row: false,
                batch_rows: 1_024,
            };
            for scan in self.ingestor.store().snapshot().scan(&request) {
                for batch in scan {
                    let batch = batch.map_err(failed)?;
                    for (row, (&asset, &created)) in batch.assets.iter().zip(&batch.times).enumerate() {
                        let ValueRef::Text(text) = batch.columns[0].values.get(row) else { continue };
                        let Ok(command) = serde_json::from_str::<Command>(text) else { continue };
                        if matches!(command.state, CommandState::Created | CommandState::Sent) {
                            left.push(Command { asset, created, ..command });
                        }
                    }
                }
            }
        }
        Ok(left)
    }
}

/// The device's turn, once no command waits before.
async fn last_turn(queue: &Queue) -> tokio::sync::MutexGuard<'_, ()> {
    loop {
        // Asked for before the look, so that no wake-up is missed.
        let idle = queue.idle.notified();
        if queue.waiting.lock().commands.is_empty() {
            let turn = queue.turn.lock().await;
            if queue.waiting.lock().commands.is_empty() {
                return turn;
            }
        } else {
            idle.await;
        }
    }
}

/// Takes `next` out of the queue, if it is still there.
fn take(queue: &Queue, next: &Command) -> Option<Kept> {
    let mut waiting = queue.waiting.lock();
    let at = waiting.commands.iter().position(|kept| kept.command.created == next.created)?;
    waiting.commands.remove(at)
}

/// Notes what the device answered.
fn settle(command: &mut Command, reply: &Reply) {
    let done = reply.code == 200;
    command.state = if done { CommandState::Succeeded } else { CommandState::Failed };
    command.message = reply.message.as_ref().map(|text| {
        let mut end = text.len().min(MESSAGE_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text[..end].to_owned()
    });
    if !done && command.message.is_none() {
        command.message = Some(format!("the device answered with code {}", reply.code));
    }
    if reply.data.to_string().len() <= OUTPUT_BYTES_MAX {
        command.output = reply.data.clone();
    } else {
        command.message =
            Some(format!("the answer is larger than {OUTPUT_BYTES_MAX} bytes and was not kept"));
    }
}
