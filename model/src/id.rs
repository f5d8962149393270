//! Identifiers. Numbers handed out by the registry, never reused; text names live in the registry only.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u32);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

id!(
    /// An organization.
    OrgId, "org#"
);
id!(
    /// A thing model, unique across organizations.
    ModelId, "model#"
);
id!(
    /// An asset (a device or a logical asset), unique across organizations.
    AssetId, "asset#"
);
id!(
    /// A measure point, unique and dense *within its model*: the first point of a model is 0, and a model with `n`
    /// points uses `0..n`. An inherited point has a number of its own in each child model.
    PointId, "point#"
);
id!(
    /// A shard of the store, `0..shards`.
    ShardId, "shard#"
);

/// Marks the numbers of minute tables; see [`ModelId::by_minute`].
const BY_MINUTE: u32 = 1 << 31;

impl ModelId {
    /// The table of the model's minute values (storage type AI_NORMALIZED): the same points and assets, other rows.
    /// The registry hands out numbers below 2^31, so no model has this one.
    #[must_use]
    pub const fn by_minute(self) -> ModelId {
        ModelId(self.0 | BY_MINUTE)
    }

    /// The model whose values these are, by minute or not.
    #[must_use]
    pub const fn of_samples(self) -> ModelId {
        ModelId(self.0 & !BY_MINUTE)
    }

    /// Whether this is the table of a model's minute values.
    pub const fn is_by_minute(self) -> bool {
        self.0 & BY_MINUTE != 0
    }
}

/// How many shards a store has. Fixed when the store is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardCount(u32);

impl ShardCount {
    /// `shards` shards, or `None` outside `1..=`[`crate::limits::SHARDS_MAX`].
    pub fn new(shards: u32) -> Option<ShardCount> {
        (1..=crate::limits::SHARDS_MAX).contains(&shards).then_some(ShardCount(shards))
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0
    }

    /// The shard that owns `asset`. The mapping is frozen: stored data depends on it.
    pub fn shard_of(self, asset: AssetId) -> ShardId {
        // The finaliser of MurmurHash3 (public domain, A. Appleby): spreads consecutive ids evenly.
        let mut h = asset.0;
        h ^= h >> 16;
        h = h.wrapping_mul(0x85eb_ca6b);
        h ^= h >> 13;
        h = h.wrapping_mul(0xc2b2_ae35);
        h ^= h >> 16;
        ShardId(((u64::from(h) * u64::from(self.0)) >> 32) as u32)
    }

    /// Every shard in order.
    pub fn iter(self) -> impl Iterator<Item = ShardId> {
        (0..self.0).map(ShardId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_frozen_and_even() {
        let four = ShardCount::new(4).unwrap();
        let first: Vec<u32> = (0..8).map(|a| four.shard_of(AssetId(a)).0).collect();
        assert_eq!(first, GOLDEN, "the mapping of assets to shards must never change");
        let mut counts = [0_u32; 4];
        for asset in 0..100_000 {
            counts[four.shard_of(AssetId(asset)).0 as usize] += 1;
        }
        assert!(counts.iter().all(|&c| (24_000..26_000).contains(&c)), "{counts:?}");
    }

    /// Computed once with an independent implementation of the MurmurHash3 finaliser.
    const GOLDEN: [u32; 8] = [0, 1, 0, 2, 0, 3, 1, 0];
}
