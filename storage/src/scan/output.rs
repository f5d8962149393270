//! The batch that a scan fills: rows of runs, one after the other, column by column.
//!
//! Owns: appending stretches of rows, or rows that were picked, with presence and quality where some have them. Does not
//! own: which rows those are (`scan`).

use wattline_model::{AssetId, Column, Kind, PointId, Presence, Quality, Rows, ValueRef, Values};

use super::{ScanBatch, ScanColumn, ScanRequest};
use crate::error::{Error, ErrorKind, Result};
use crate::run::Run;

/// The batch being filled.
pub(super) struct Output {
    assets: Vec<AssetId>,
    times: Vec<i64>,
    columns: Vec<ScanColumn>,
    points: Vec<PointId>,
}

impl Output {
    pub(super) fn new(request: &ScanRequest) -> Output {
        Output {
            assets: Vec::new(),
            times: Vec::new(),
            columns: request.points.iter().map(|p| ScanColumn::new(p.1)).collect(),
            points: request.points.iter().map(|p| p.0).collect(),
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.times.len()
    }

    pub(super) fn take(&mut self, request: &ScanRequest) -> ScanBatch {
        let full = std::mem::replace(self, Output::new(request));
        ScanBatch { assets: full.assets, times: full.times, columns: full.columns }
    }

    /// Appends rows `[from, to)` of `run`, which are those of `asset`.
    pub(super) fn push(&mut self, asset: AssetId, run: &Run, from: usize, to: usize) -> Result<()> {
        let before = self.rows();
        self.times.extend_from_slice(&run.times[from..to]);
        self.assets.resize(before + to - from, asset);
        for (output, point) in self.columns.iter_mut().zip(&self.points) {
            match run.columns.binary_search_by_key(point, |c| c.point) {
                Ok(i) => output.append(&run.columns[i], from, to, before)?,
                Err(_) => output.append_absent(to - from, before),
            }
        }
        Ok(())
    }

    /// As `push`, for the rows `rows`.
    pub(super) fn pick(&mut self, asset: AssetId, run: &Run, rows: &[u32]) -> Result<()> {
        let before = self.rows();
        self.times.extend(rows.iter().map(|&row| run.times[row as usize]));
        self.assets.resize(before + rows.len(), asset);
        for (output, point) in self.columns.iter_mut().zip(&self.points) {
            match run.columns.binary_search_by_key(point, |c| c.point) {
                Ok(i) => output.append_picked(&run.columns[i], rows, before)?,
                Err(_) => output.append_absent(rows.len(), before),
            }
        }
        Ok(())
    }
}

impl ScanColumn {
    fn new(kind: Kind) -> ScanColumn {
        ScanColumn { values: Values::new(kind), presence: None, quality: None }
    }

    fn append_absent(&mut self, rows: usize, before: usize) {
        let presence = self.presence.get_or_insert_with(|| Presence::filled(before, true));
        for _ in 0..rows {
            self.values.push_absent();
            presence.push(false);
        }
        if let Some(quality) = &mut self.quality {
            quality.resize(before + rows, Quality::GOOD);
        }
    }

    fn check_kind(&self, column: &Column) -> Result<()> {
        if column.values.kind() != self.values.kind() {
            return Err(Error::new(
                ErrorKind::Bug,
                format!(
                    "{} holds {} values, the request says {}",
                    column.point,
                    column.values.kind().name(),
                    self.values.kind().name()
                ),
            ));
        }
        Ok(())
    }

    /// Appends rows `[from, to)` of a run's column; there are `before` rows already.
    fn append(&mut self, column: &Column, from: usize, to: usize, before: usize) -> Result<()> {
        self.check_kind(column)?;
        let (first, last) = match &column.rows {
            Rows::All => (from, to),
            Rows::Some(rows) => {
                (rows.partition_point(|&r| (r as usize) < from), rows.partition_point(|&r| (r as usize) < to))
            }
        };
        if column.quality.is_some() && self.quality.is_none() {
            self.quality = Some(vec![Quality::GOOD; before]);
        }
        if last - first == to - from {
            self.append_dense(column, first, last);
        } else {
            self.append_sparse(column, from, to, (first, last), before);
        }
        Ok(())
    }

    fn append_dense(&mut self, column: &Column, first: usize, last: usize) {
        match (&mut self.values, &column.values) {
            (Values::Float(a), Values::Float(b)) => a.extend_from_slice(&b[first..last]),
            (Values::Int(a), Values::Int(b)) => a.extend_from_slice(&b[first..last]),
            (Values::Bool(a), Values::Bool(b)) => a.extend_from_slice(&b[first..last]),
            (Values::Text(a), Values::Text(b)) => (first..last).for_each(|i| a.push(b.get(i))),
            _ => unreachable!("kinds were compared"),
        }
        if let Some(presence) = &mut self.presence {
            (first..last).for_each(|_| presence.push(true));
        }
        if let Some(quality) = &mut self.quality {
            match &column.quality {
                Some(own) => quality.extend_from_slice(&own[first..last]),
                None => quality.resize(quality.len() + last - first, Quality::GOOD),
            }
        }
    }

    /// Appends the values numbered `places`.
    fn append_values(&mut self, column: &Column, places: &[u32]) {
        let places = places.iter().map(|&place| place as usize);
        match (&mut self.values, &column.values) {
            (Values::Float(a), Values::Float(b)) => a.extend(places.clone().map(|i| b[i])),
            (Values::Int(a), Values::Int(b)) => a.extend(places.clone().map(|i| b[i])),
            (Values::Bool(a), Values::Bool(b)) => a.extend(places.clone().map(|i| b[i])),
            (Values::Text(a), Values::Text(b)) => places.clone().for_each(|i| a.push(b.get(i))),
            _ => unreachable!("kinds were compared"),
        }
        if let Some(presence) = &mut self.presence {
            places.clone().for_each(|_| presence.push(true));
        }
        if let Some(quality) = &mut self.quality {
            match &column.quality {
                Some(own) => quality.extend(places.map(|i| own[i])),
                None => quality.resize(quality.len() + places.len(), Quality::GOOD),
            }
        }
    }

    /// Appends the rows `rows` of a run's column; there are `before` rows already.
    fn append_picked(&mut self, column: &Column, rows: &[u32], before: usize) -> Result<()> {
        self.check_kind(column)?;
        if column.quality.is_some() && self.quality.is_none() {
            self.quality = Some(vec![Quality::GOOD; before]);
        }
        let Rows::Some(listed) = &column.rows else {
            self.append_values(column, rows);
            return Ok(());
        };
        let presence = self.presence.get_or_insert_with(|| Presence::filled(before, true));
        let mut next = 0;
        for &row in rows {
            next += listed[next..].partition_point(|&listed| listed < row);
            let present = listed.get(next) == Some(&row);
            presence.push(present);
            match present {
                true => _ = self.values.push(column.values.get(next)),
                false => self.values.push_absent(),
            }
            if let Some(quality) = &mut self.quality {
                let own = if present { column.quality.as_ref().map(|q| q[next]) } else { None };
                quality.push(own.unwrap_or_default());
            }
        }
        Ok(())
    }

    fn append_sparse(
        &mut self,
        column: &Column,
        from: usize,
        to: usize,
        values: (usize, usize),
        before: usize,
    ) {
        let presence = self.presence.get_or_insert_with(|| Presence::filled(before, true));
        let Rows::Some(rows) = &column.rows else { unreachable!("a dense column has a value a row") };
        let mut next = values.0;
        for row in from..to {
            let present = next < values.1 && rows[next] as usize == row;
            presence.push(present);
            if present {
                let value: ValueRef<'_> = column.values.get(next);
                let fits = self.values.push(value);
                debug_assert!(fits, "kinds were compared");
            } else {
                self.values.push_absent();
            }
            if let Some(quality) = &mut self.quality {
                let own = if present { column.quality.as_ref().map(|q| q[next]) } else { None };
                quality.push(own.unwrap_or_default());
            }
            next += usize::from(present);
        }
    }
}
