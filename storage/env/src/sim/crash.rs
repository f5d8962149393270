//! What a restart may find after the power failed: any legal mixture of what was synced and what was not.
//!
//! Of a file's unsynced bytes any number from the front has reached its length, and within it each 512-byte sector
//! was written, is still zero, or holds what the medium held before. Of a directory's unsynced changes some have
//! reached the medium. What was synced is there, always.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;

use super::below;
use super::disk::{NameChange, SimDisk, SimFile, State};
use crate::Chance;

/// The unit a disk writes whole.
const SECTOR: usize = 512;

/// In which order unsynced name changes reach the medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameOrder {
    /// In each directory, the first few of them: what a journaling file system does.
    Kept,
    /// Any of them: all that POSIX promises.
    Any,
}

impl SimDisk {
    /// A disk that a restart could find if the power failed now; names reach the medium in order.
    ///
    /// The same disk and the same chance give the same image. This disk stays as it is.
    pub fn crash(&self, chance: &dyn Chance) -> SimDisk {
        self.crash_with(chance, NameOrder::Kept)
    }

    /// The same, with the order of name changes chosen.
    pub fn crash_with(&self, chance: &dyn Chance, order: NameOrder) -> SimDisk {
        self.with_state(|state| {
            let kept = match order {
                NameOrder::Kept => keep_first(&state.unsynced_names, chance),
                NameOrder::Any => keep_any(&state.unsynced_names, chance),
            };
            let mut names = state.durable_names.clone();
            kept.iter().for_each(|change| change.apply(&mut names));
            SimDisk::from_state(image(state, names, |file| survive(file, chance)))
        })
    }

    /// The most forgetful restart: nothing that was not synced is there.
    pub fn crash_to_durable(&self) -> SimDisk {
        self.with_state(|state| {
            SimDisk::from_state(image(state, state.durable_names.clone(), |file| {
                let mut bytes = file.bytes[..file.synced].to_vec();
                for range in doubtful_below(file, file.synced) {
                    bytes[range].fill(0);
                }
                bytes
            }))
        })
    }

    /// What the next process finds when only the process was killed and the operating system went on: everything
    /// written, with nothing locked and no faults planned. What was not synced still is not: a crash of the returned
    /// disk may take it.
    pub fn kill(&self) -> SimDisk {
        self.with_state(|state| {
            SimDisk::from_state(State {
                files: state.files.clone(),
                next_file: state.next_file,
                dirs: state.dirs.clone(),
                names: state.names.clone(),
                durable_names: state.durable_names.clone(),
                unsynced_names: state.unsynced_names.clone(),
                ..State::default()
            })
        })
    }
}

/// A fresh state in which the files that `names` reach hold what `bytes_of` says, all of it durable.
fn image(state: &State, names: BTreeMap<PathBuf, u64>, bytes_of: impl Fn(&SimFile) -> Vec<u8>) -> State {
    let reachable: BTreeSet<u64> = names.values().copied().collect();
    let files = reachable.into_iter().filter_map(|id| {
        let bytes = bytes_of(state.files.get(&id)?);
        let len = bytes.len();
        Some((id, SimFile { bytes, synced: len, doubtful: Vec::new(), untried: len }))
    });
    State {
        files: files.collect(),
        next_file: state.next_file,
        dirs: state.dirs.clone(),
        durable_names: names.clone(),
        names,
        ..State::default()
    }
}

/// In each directory, as many changes from the front as chance says.
fn keep_first(changes: &[NameChange], chance: &dyn Chance) -> Vec<NameChange> {
    let mut waiting: BTreeMap<_, u64> = BTreeMap::new();
    for change in changes {
        *waiting.entry(change.dir()).or_default() += 1;
    }
    let mut left: BTreeMap<_, u64> =
        waiting.into_iter().map(|(dir, count)| (dir, below(chance, count + 1))).collect();
    let keep = changes.iter().filter(|change| match left.get_mut(change.dir()) {
        Some(0) | None => false,
        Some(count) => {
            *count -= 1;
            true
        }
    });
    keep.cloned().collect()
}

/// Each change, or not.
fn keep_any(changes: &[NameChange], chance: &dyn Chance) -> Vec<NameChange> {
    changes.iter().filter(|_| below(chance, 2) == 0).cloned().collect()
}

/// A file's bytes after the crash.
fn survive(file: &SimFile, chance: &dyn Chance) -> Vec<u8> {
    let unsynced = file.bytes.len() - file.synced;
    // A third each: all of the tail reached its length, none did, or it is torn somewhere.
    let kept = match (unsynced, below(chance, 3)) {
        (0, _) | (_, 0) => 0,
        (_, 1) => unsynced,
        _ => usize::try_from(below(chance, unsynced as u64 + 1)).unwrap_or(unsynced),
    };
    let mut bytes = file.bytes[..file.synced + kept].to_vec();
    let tail = file.synced..bytes.len();
    // Mostly the bytes are those that were written; otherwise each sector has its own fate.
    if below(chance, 2) == 0 {
        spoil_sectors(&mut bytes, tail, chance);
    }
    for range in doubtful_below(file, file.synced) {
        spoil_sectors(&mut bytes, range, chance);
    }
    bytes
}

/// The stretches whose sync failed, as far as they lie below `end`.
fn doubtful_below(file: &SimFile, end: usize) -> impl Iterator<Item = Range<usize>> + '_ {
    file.doubtful
        .iter()
        .map(move |range| range.start.min(end)..range.end.min(end))
        .filter(|range| !range.is_empty())
}

/// Gives each sector of the range its own fate: written, still zero, or what the medium held before.
fn spoil_sectors(bytes: &mut [u8], range: Range<usize>, chance: &dyn Chance) {
    let mut start = range.start;
    while start < range.end {
        let end = ((start / SECTOR + 1) * SECTOR).min(range.end);
        match below(chance, 4) {
            0 => bytes[start..end].fill(0),
            1 => bytes[start..end].fill_with(|| chance.next_u64().to_le_bytes()[0]),
            _ => {}
        }
        start = end;
    }
}
