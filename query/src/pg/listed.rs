//! The functions for time series as `pg_proc` lists them.
//!
//! Owns: what people read of them in tools: names, arguments, answers. Does not own: what they do (`crate::functions`),
//! DataFusion's own functions, which are many, documented elsewhere, and not listed here.

use super::types::by_name;

/// The number of the first; the others follow, so a new one comes last.
const FIRST: u32 = 15_000;

/// A function.
#[derive(Debug)]
pub(super) struct Listed {
    /// Its number.
    pub(super) oid: u32,
    /// Its name.
    pub(super) name: &'static str,
    /// `f`: of a row, `a`: an aggregate, `w`: of a window.
    pub(super) kind: &'static str,
    /// Its arguments, for people.
    pub(super) arguments: &'static str,
    /// The type of what it gives, for people.
    pub(super) gives: &'static str,
}

impl Listed {
    /// The number of the type of what it gives; that of any type where it is that of an argument.
    pub(super) fn gives_oid(&self) -> u32 {
        match by_name(self.gives) {
            Some(known) => known.oid,
            None if self.gives.starts_with("list") => RECORDS,
            None => ANY_ELEMENT,
        }
    }
}

/// `record[]` and `anyelement`.
const RECORDS: u32 = 2_287;
const ANY_ELEMENT: u32 = 2_283;

const FUNCTIONS: &[(&str, &str, &str, &str)] = &[
    ("time_bucket", "f", "interval, time [, origin] [, zone]", "timestamp with time zone"),
    ("time_bucket_gapfill", "f", "interval, time [, zone] [, start, finish]", "timestamp with time zone"),
    ("locf", "f", "value", "type of value"),
    ("interpolate", "f", "value", "double precision"),
    ("session", "w", "time, gap", "timestamp with time zone"),
    ("first", "a", "value, time", "type of value"),
    ("last", "a", "value, time", "type of value"),
    ("state_at", "a", "state, time, at", "type of state"),
    ("delta", "a", "value, time", "double precision"),
    ("increase", "a", "value, time", "double precision"),
    ("rate", "a", "value, time [, unit]", "double precision"),
    ("counter_energy", "a", "value, time [, roll_over [, slope_max [, scale]]]", "double precision"),
    ("time_weighted_avg", "a", "value, time [, method]", "double precision"),
    ("integral", "a", "value, time [, unit [, method]]", "double precision"),
    ("state_duration", "a", "state, time, wanted", "double precision"),
    ("state_changes", "a", "state, time", "bigint"),
    ("lttb", "a", "value, time, count", "list of time and value"),
    ("swinging_door", "a", "value, time, deviation", "list of time and value"),
    ("asof", "f", "time, time [, tolerance]", "boolean"),
];

/// All of them.
pub(super) fn all() -> impl Iterator<Item = Listed> {
    let listed = |(&(name, kind, arguments, gives), oid)| Listed { oid, name, kind, arguments, gives };
    FUNCTIONS.iter().zip(FIRST..).map(listed)
}

/// The one of a number.
pub(super) fn by_oid(oid: u32) -> Option<Listed> {
    all().find(|listed| listed.oid == oid)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page of functions has a line for each: names, arguments in parentheses.
    #[test]
    fn arguments_are_those_of_the_documentation() {
        let page = include_str!("../../../docs/functions.md");
        for listed in all().filter(|listed| listed.name != "asof") {
            let written = format!("`{}({})", listed.name, listed.arguments);
            assert!(page.contains(&written), "{written}");
        }
    }
}
