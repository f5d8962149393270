//! A run: the rows of one asset in time order, and how several of them become one.
//!
//! Owns: the duplicate rule. Does not own: where runs come from (`memtable`, `segment`) or go to (`scan`, `flush`,
//! `compact`). Every reader of data, and every rewrite of it, merges through [`merge`]: there is one duplicate rule.

use wattline_model::{Column, Quality, Rows, TextColumn, Values};

/// Rows of one asset: times strictly ascending, columns by point ascending, each with the values it has.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Run {
    pub(crate) times: Vec<i64>,
    pub(crate) columns: Vec<Column>,
}

impl Run {
    pub(crate) fn rows(&self) -> usize {
        self.times.len()
    }

    /// The rows `[from, to)`.
    pub(crate) fn slice(&self, from: usize, to: usize) -> Run {
        if from == 0 && to == self.rows() {
            return self.clone();
        }
        let columns =
            self.columns.iter().filter_map(|c| slice_column(c, from as u32, to as u32, from as u32));
        Run { times: self.times[from..to].to_vec(), columns: columns.collect() }
    }

    /// Appends a run that begins after this one ends.
    pub(crate) fn extend(&mut self, later: Run) {
        debug_assert!(
            self.times.last() < later.times.first() || later.times.is_empty() || self.times.is_empty()
        );
        if self.times.is_empty() {
            *self = later;
            return;
        }
        let base = self.times.len() as u32;
        self.times.extend_from_slice(&later.times);
        let mut columns = std::mem::take(&mut self.columns);
        for column in later.columns {
            match columns.iter_mut().find(|c| c.point == column.point) {
                Some(mine) => extend_column(mine, base, &column, later.times.len() as u32),
                None => {
                    let rows = rows_of(&column).map(|row| row + base).collect();
                    columns.push(Column { rows: Rows::Some(rows), ..column });
                }
            }
        }
        for column in &mut columns {
            if column.rows == Rows::All && column.values.len() < self.times.len() {
                column.rows = Rows::Some((0..column.values.len() as u32).collect());
            }
        }
        columns.sort_by_key(|c| c.point);
        self.columns = columns;
    }
}

/// The rows of a column as numbers.
pub(crate) fn rows_of(column: &Column) -> Box<dyn Iterator<Item = u32> + '_> {
    match &column.rows {
        Rows::All => Box::new(0..column.values.len() as u32),
        Rows::Some(rows) => Box::new(rows.iter().copied()),
    }
}

/// The values of `column` in rows `[from, to)`, their rows counted from `origin`; `None` where there are none.
pub(crate) fn slice_column(column: &Column, from: u32, to: u32, origin: u32) -> Option<Column> {
    let (first, last, rows) = match &column.rows {
        Rows::All => (from as usize, to as usize, Rows::All),
        Rows::Some(list) => {
            let first = list.partition_point(|&r| r < from);
            let last = first + list[first..].partition_point(|&r| r < to);
            let dense = last - first == (to - from) as usize;
            let rows = if dense {
                Rows::All
            } else {
                Rows::Some(list[first..last].iter().map(|r| r - origin).collect())
            };
            (first, last, rows)
        }
    };
    (first < last).then(|| Column {
        point: column.point,
        rows,
        values: slice_values(&column.values, first, last),
        quality: column.quality.as_ref().map(|q| q[first..last].to_vec()),
    })
}

fn slice_values(values: &Values, from: usize, to: usize) -> Values {
    match values {
        Values::Float(v) => Values::Float(v[from..to].to_vec()),
        Values::Int(v) => Values::Int(v[from..to].to_vec()),
        Values::Bool(v) => Values::Bool(v[from..to].to_vec()),
        Values::Text(v) => Values::Text((from..to).map(|i| v.get(i)).collect()),
    }
}

fn extend_values(values: &mut Values, more: &Values) {
    match (values, more) {
        (Values::Float(a), Values::Float(b)) => a.extend_from_slice(b),
        (Values::Int(a), Values::Int(b)) => a.extend_from_slice(b),
        (Values::Bool(a), Values::Bool(b)) => a.extend_from_slice(b),
        (Values::Text(a), Values::Text(b)) => b.iter().for_each(|t| a.push(t)),
        (values, more) => unreachable!("a point of {:?} and {:?}", values.kind(), more.kind()),
    }
}

/// Appends the values of `later`, whose listed rows come after those of `mine`, which are listed too.
pub(crate) fn append_column(mine: &mut Column, later: &Column) {
    extend_column(mine, 0, later, 0);
}

fn extend_column(mine: &mut Column, base: u32, later: &Column, later_rows: u32) {
    let dense = mine.rows == Rows::All
        && mine.values.len() as u32 == base
        && later.rows == Rows::All
        && later.values.len() as u32 == later_rows;
    if !dense {
        let mut rows: Vec<u32> = rows_of(mine).collect();
        rows.extend(rows_of(later).map(|r| r + base));
        mine.rows = Rows::Some(rows);
    }
    match (&mut mine.quality, &later.quality) {
        (None, None) => {}
        (mine_quality, later_quality) => {
            let quality = mine_quality.get_or_insert_with(|| vec![Quality::GOOD; mine.values.len()]);
            match later_quality {
                Some(q) => quality.extend_from_slice(q),
                None => quality.resize(quality.len() + later.values.len(), Quality::GOOD),
            }
        }
    }
    extend_values(&mut mine.values, &later.values);
}

/// The rows of `run` in which a column has a value.
pub(crate) fn without_empty_rows(run: Run) -> Run {
    if run.columns.iter().any(|c| c.rows == Rows::All && c.values.len() == run.rows()) {
        return run;
    }
    let mut keep = vec![false; run.rows()];
    run.columns.iter().for_each(|c| rows_of(c).for_each(|row| keep[row as usize] = true));
    let mut place = 0;
    let places: Vec<u32> = keep
        .iter()
        .map(|&k| {
            place += u32::from(k);
            place.wrapping_sub(1)
        })
        .collect();
    let times: Vec<i64> = run.times.iter().zip(&keep).filter(|(_, k)| **k).map(|(&t, _)| t).collect();
    let moved = |c: Column| {
        let rows: Vec<u32> = rows_of(&c).map(|row| places[row as usize]).collect();
        let rows = if rows.len() == times.len() { Rows::All } else { Rows::Some(rows) };
        Column { rows, ..c }
    };
    let columns = run.columns.into_iter().map(moved).collect();
    Run { columns, times }
}

/// Merges runs of one asset, oldest first, into one. Where two have a value for the same point and time, the one
/// from the later run stays (promise 2: the write acknowledged last wins).
///
/// The axis of time is cut wherever a run begins or ends. Between two cuts either one run has rows, and they are
/// taken as they are, or several have, and those rows are merged one by one: late data costs what it touches.
pub(crate) fn merge(mut runs: Vec<Run>) -> Run {
    runs.retain(|run| run.rows() > 0);
    if runs.len() < 2 {
        return runs.pop().unwrap_or_default();
    }
    let mut cuts: Vec<i64> = runs.iter().flat_map(|r| [r.times[0], r.times[r.rows() - 1] + 1]).collect();
    cuts.sort_unstable();
    cuts.dedup();
    let mut next = vec![0; runs.len()];
    let mut merged = Run::default();
    for &cut in &cuts[1..] {
        let mut parts = Vec::new();
        for (run, from) in runs.iter_mut().zip(&mut next) {
            let to = *from + run.times[*from..].partition_point(|&t| t < cut);
            if to > *from {
                let whole = *from == 0 && to == run.rows();
                parts.push(if whole { std::mem::take(run) } else { run.slice(*from, to) });
                *from = if whole { 0 } else { to };
            }
        }
        match parts.len() {
            0 => {}
            1 => merged.extend(parts.remove(0)),
            _ => {
                merged.extend(merge_overlapping(parts));
            }
        }
    }
    merged
}

/// Rows that a stretch of one run has on average at least, for stretches to be copied rather than rows compared.
const STRETCH_ROWS_MIN: usize = 16;

/// The rows of all runs in order of time, as stretches of one run each: (run, first row, row after the last). `None` where
/// two runs have the same time, or take turns so often that rows are better merged one by one.
fn stretches(runs: &[Run]) -> Option<Vec<(usize, usize, usize)>> {
    let most = runs.iter().map(Run::rows).sum::<usize>() / STRETCH_ROWS_MIN;
    let mut next = vec![0; runs.len()];
    let mut found = Vec::new();
    loop {
        // The run whose turn it is, and when the next one's is.
        let (mut turn, mut until): (Option<(usize, i64)>, i64) = (None, i64::MAX);
        for (i, run) in runs.iter().enumerate() {
            let Some(&time) = run.times.get(next[i]) else { continue };
            match turn {
                Some((_, earliest)) if time == earliest => return None,
                Some((_, earliest)) if time > earliest => until = until.min(time),
                before => {
                    until = before.map_or(until, |(_, later)| until.min(later));
                    turn = Some((i, time));
                }
            }
        }
        let Some((i, _)) = turn else { return Some(found) };
        let others = (0..runs.len()).any(|other| other != i && next[other] < runs[other].rows());
        let from = next[i];
        let to = if others {
            from + runs[i].times[from..].partition_point(|&t| t < until)
        } else {
            runs[i].rows()
        };
        if found.len() == most {
            return None;
        }
        found.push((i, from, to));
        next[i] = to;
    }
}

/// Merges runs that overlap: stretch by stretch where others have no row in between, else row by row.
fn merge_overlapping(runs: Vec<Run>) -> Run {
    if let Some(stretches) = stretches(&runs) {
        let mut merged = Run::default();
        stretches.into_iter().for_each(|(run, from, to)| merged.extend(runs[run].slice(from, to)));
        return merged;
    }
    let (times, places) = merge_times(&runs);
    let mut all: Vec<Part> = Vec::new();
    for (run, places) in runs.into_iter().zip(&places) {
        all.extend(run.columns.into_iter().map(|column| Part { column, places }));
    }
    // Stable: of one point, parts stay oldest first.
    all.sort_by_key(|part| part.column.point);
    let mut columns = Vec::new();
    let mut rest = all.into_iter().peekable();
    while let Some(first) = rest.next() {
        let point = first.column.point;
        let mut parts = vec![first];
        while let Some(next) = rest.next_if(|part| part.column.point == point) {
            parts.push(next);
        }
        columns.push(if parts.len() == 1 {
            parts.remove(0).moved(times.len())
        } else {
            merge_column(&parts, times.len())
        });
    }
    Run { times, columns }
}

/// The values of one point in one of the runs, and where the rows of that run went.
struct Part<'a> {
    column: Column,
    places: &'a [u32],
}

impl Part<'_> {
    /// The rows its values have in the merged run.
    fn rows(&self) -> impl Iterator<Item = u32> {
        rows_of(&self.column).map(|row| self.places[row as usize])
    }

    /// The column among `rows` rows, where no other run has values of the point: they are taken as they are.
    fn moved(self, rows: usize) -> Column {
        let listed = match self.column.values.len() == rows {
            true => Rows::All,
            false => Rows::Some(self.rows().collect()),
        };
        Column { rows: listed, ..self.column }
    }
}

/// The union of the times, and for each run where its rows went.
fn merge_times(runs: &[Run]) -> (Vec<i64>, Vec<Vec<u32>>) {
    let mut times: Vec<i64> = Vec::with_capacity(runs.iter().map(Run::rows).sum());
    for run in runs {
        times.extend_from_slice(&run.times);
    }
    // Runs are ascending, so this is a merge of sorted stretches, which the standard sort is good at.
    times.sort();
    times.dedup();
    let places = runs
        .iter()
        .map(|run| {
            let mut at = 0;
            run.times
                .iter()
                .map(|&time| {
                    while times[at] < time {
                        at += 1;
                    }
                    at as u32
                })
                .collect()
        })
        .collect();
    (times, places)
}

/// A column with at least one value in this many rows is merged by scattering, a sparser one by sorting.
const SCATTER_SHARE: usize = 8;

/// A row without a value while values are scattered.
const NOBODY: (u32, u32) = (u32::MAX, 0);

/// Which values stay: for each row that has one, ascending, the row and (part, number of the value), the latest part's.
fn winners(parts: &[Part<'_>], rows: usize) -> (Vec<u32>, Vec<(u32, u32)>) {
    let entries: usize = parts.iter().map(|part| part.column.values.len()).sum();
    if entries * SCATTER_SHARE >= rows {
        let mut at = vec![NOBODY; rows];
        for (p, part) in parts.iter().enumerate() {
            part.rows().zip(0_u32..).for_each(|(row, i)| at[row as usize] = (p as u32, i));
        }
        if !at.contains(&NOBODY) {
            return ((0..rows as u32).collect(), at);
        }
        let stay = (0_u32..).zip(at).filter(|entry| entry.1 != NOBODY);
        return stay.unzip();
    }
    let mut entries: Vec<(u32, (u32, u32))> = Vec::with_capacity(entries);
    for (p, part) in parts.iter().enumerate() {
        entries.extend(part.rows().zip(0_u32..).map(|(row, i)| (row, (p as u32, i))));
    }
    entries.sort_unstable();
    let mut kept = 0;
    for i in 0..entries.len() {
        if entries.get(i + 1).is_none_or(|next| next.0 != entries[i].0) {
            entries[kept] = entries[i];
            kept += 1;
        }
    }
    entries.truncate(kept);
    entries.into_iter().unzip()
}

fn floats(values: &Values) -> Option<&Vec<f64>> {
    if let Values::Float(v) = values { Some(v) } else { None }
}

fn ints(values: &Values) -> Option<&Vec<i64>> {
    if let Values::Int(v) = values { Some(v) } else { None }
}

fn bools(values: &Values) -> Option<&Vec<bool>> {
    if let Values::Bool(v) = values { Some(v) } else { None }
}

fn texts(values: &Values) -> Option<&TextColumn> {
    if let Values::Text(v) = values { Some(v) } else { None }
}

/// The values that `stay`, as (part, number of the value), from parts whose values are all of one type.
fn gather<'a, V, T, C>(
    parts: &'a [Part<'_>],
    stay: &[(u32, u32)],
    typed: impl Fn(&'a Values) -> Option<&'a V>,
    get: impl Fn(&'a V, usize) -> T,
) -> C
where
    V: 'a,
    C: FromIterator<T>,
{
    let all = parts.iter().map(|part| typed(&part.column.values).expect("a point keeps its type"));
    let all: Vec<&V> = all.collect();
    stay.iter().map(|&(part, i)| get(all[part as usize], i as usize)).collect()
}

/// Merges the values that several runs have of one point.
fn merge_column(parts: &[Part<'_>], rows: usize) -> Column {
    let (listed, stay) = winners(parts, rows);
    let Column { point, values, .. } = &parts[0].column;
    let values = match values {
        Values::Float(_) => Values::Float(gather(parts, &stay, floats, |v, i| v[i])),
        Values::Int(_) => Values::Int(gather(parts, &stay, ints, |v, i| v[i])),
        Values::Bool(_) => Values::Bool(gather(parts, &stay, bools, |v, i| v[i])),
        Values::Text(_) => Values::Text(gather(parts, &stay, texts, TextColumn::get)),
    };
    let quality = parts.iter().any(|part| part.column.quality.is_some()).then(|| {
        let of = |&(part, i): &(u32, u32)| {
            parts[part as usize].column.quality.as_ref().map_or(Quality::GOOD, |quality| quality[i as usize])
        };
        stay.iter().map(of).collect()
    });
    let rows = if listed.len() == rows { Rows::All } else { Rows::Some(listed) };
    Column { point: *point, rows, values, quality }
}

#[cfg(test)]
mod tests;
