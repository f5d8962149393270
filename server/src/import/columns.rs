//! What each column of a file is: the time, the asset, a point, or nothing.
//!
//! Owns: matching headers with points, automatic point names. Does not own: types of values (`infer` for new models,
//! the server's model otherwise), reading values (`rows`).

use crate::error::{Error, Result};

use super::args::{Args, Options, Owner};

/// Headers taken for the time where no `--time-column` is given, as slugs; the first that is there wins.
const TIME_NAMES: [&str; 11] = [
    "time",
    "timestamp",
    "datetime",
    "date_time",
    "date",
    "ts",
    "event_time",
    "time_utc",
    "zeit",
    "zeitstempel",
    "datum",
];

/// How a value is read and sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A 64-bit float.
    Float,
    /// A 64-bit integer.
    Int,
    /// true or false.
    Bool,
    /// UTF-8.
    Text,
    /// An instant: ISO 8601, or milliseconds since 1970.
    Instant,
    /// A civil date and time, which no zone moves.
    Civil,
}

/// A point of the model, as far as an import needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PointInfo {
    /// Identifier.
    pub key: String,
    /// Display name.
    pub name: String,
    /// How its values are sent.
    pub kind: Kind,
}

/// What a column is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The time of the row.
    Time,
    /// The asset id of the row.
    Asset,
    /// The point with this index in [`Layout::points`].
    Point(usize),
    /// Left out.
    Skip,
}

/// What every column of a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Headers.
    pub names: Vec<String>,
    /// One a column.
    pub roles: Vec<Role>,
    /// The points sent, in the order of their columns.
    pub points: Vec<PointInfo>,
}

/// A column that will be a point of a model to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewColumn {
    /// Index of the column.
    pub column: usize,
    /// Identifier the point gets.
    pub key: String,
    /// The header as it is.
    pub header: String,
    /// Display name: the header without its unit.
    pub name: String,
    /// Unit, from the last parentheses of the header.
    pub unit: Option<String>,
}

/// The index of the column the user named, which must be there.
fn named(names: &[String], flag: &str, wanted: &str) -> Result<usize> {
    let exact = names.iter().position(|n| n == wanted);
    exact.or_else(|| names.iter().position(|n| n.trim() == wanted.trim())).ok_or_else(|| {
        Error::usage(format!("{flag} {wanted:?}: there is no such column; the file has {}", list(names)))
    })
}

fn list(names: &[String]) -> String {
    /// More names than this help nobody.
    const SHOWN_MAX: usize = 20;
    let mut text: Vec<String> = names.iter().take(SHOWN_MAX).map(|n| format!("{n:?}")).collect();
    if names.len() > SHOWN_MAX {
        text.push(format!("and {} more", names.len() - SHOWN_MAX));
    }
    text.join(", ")
}

/// The roles that need no model: time, asset, skipped. `None` stands for "a point".
pub fn fixed_roles(names: &[String], args: &Args, options: &Options) -> Result<Vec<Option<Role>>> {
    let mut roles = vec![None; names.len()];
    for skip in &args.skip {
        roles[named(names, "--skip", skip)?] = Some(Role::Skip);
    }
    if let Owner::Column(column) = &options.owner {
        roles[named(names, "--asset-column", column)?] = Some(Role::Asset);
    }
    let time = match &args.time_column {
        Some(column) => named(names, "--time-column", column)?,
        None => {
            let slugs: Vec<String> = names.iter().map(|n| slug(n)).collect();
            TIME_NAMES.iter().find_map(|t| slugs.iter().position(|s| s == t)).ok_or_else(|| {
                Error::usage(format!(
                    "which column is the time? give --time-column; the file has {}",
                    list(names)
                ))
            })?
        }
    };
    roles[time] = Some(Role::Time);
    for (column, _) in &options.map {
        let index = named(names, "--map", column)?;
        if roles[index].is_some() {
            return Err(Error::usage(format!("--map {column:?}: this column has another use already")));
        }
    }
    Ok(roles)
}

/// The points a new model gets from the columns that have no other use.
pub fn new_columns(names: &[String], roles: &[Option<Role>], options: &Options) -> Result<Vec<NewColumn>> {
    let mut found: Vec<NewColumn> = Vec::new();
    for (column, header) in names.iter().enumerate().filter(|(i, _)| roles[*i].is_none()) {
        let (name, unit) = split_unit(header);
        let mapped = options.map.iter().find(|(from, _)| from.trim() == header.trim());
        let key = match mapped {
            Some((_, point)) => point.clone(),
            None => unused(slug(header), column, &found),
        };
        if found.iter().any(|c| c.key == key) {
            return Err(Error::usage(format!("two columns would be the point {key:?}; use --map or --skip")));
        }
        found.push(NewColumn { column, key, header: header.clone(), name, unit });
    }
    if found.is_empty() {
        return Err(Error::usage("the file has no column besides the time"));
    }
    Ok(found)
}

fn unused(slug: String, column: usize, found: &[NewColumn]) -> String {
    /// Column names that a row has anyway.
    const RESERVED: [&str; 4] = ["asset_id", "time", "product_key", "device_key"];
    let base = match slug.as_str() {
        "" => format!("column_{}", column + 1),
        reserved if RESERVED.contains(&reserved) => format!("{reserved}_value"),
        digit if digit.starts_with(|c: char| c.is_ascii_digit()) => format!("p_{digit}"),
        _ => slug,
    };
    let taken = |key: &str| found.iter().any(|c| c.key == key);
    let mut key = base.clone();
    let mut number = 2;
    while taken(&key) {
        key = format!("{base}_{number}");
        number += 1;
    }
    key
}

/// Matches the columns with the points of an existing model.
///
/// A column is the point it is mapped to, else the point whose identifier or name is its header, else the point whose
/// identifier is the header's slug. What is left over stops the import, unless it may be left out.
pub fn match_points(
    names: &[String],
    fixed: &[Option<Role>],
    points: &[PointInfo],
    options: &Options,
    skip_unknown: bool,
) -> Result<Layout> {
    let mut layout = Layout { names: names.to_vec(), roles: Vec::new(), points: Vec::new() };
    let mut unknown = Vec::new();
    for (name, role) in names.iter().zip(fixed) {
        if let Some(role) = role {
            layout.roles.push(*role);
            continue;
        }
        let mapped = options.map.iter().find(|(from, _)| from.trim() == name.trim());
        let point = match mapped {
            Some((_, key)) => {
                let point = points.iter().find(|p| p.key == *key);
                Some(point.ok_or_else(|| {
                    Error::usage(format!("--map {name:?}={key}: the model has no point {key:?}"))
                })?)
            }
            None => find(name, points),
        };
        let Some(point) = point else {
            unknown.push(name.clone());
            layout.roles.push(Role::Skip);
            continue;
        };
        if layout.points.iter().any(|p| p.key == point.key) {
            return Err(Error::usage(format!(
                "two columns are the point {:?}; use --map or --skip",
                point.key
            )));
        }
        layout.roles.push(Role::Point(layout.points.len()));
        layout.points.push(point.clone());
    }
    if !unknown.is_empty() && !skip_unknown {
        return Err(Error::usage(format!(
            "{}: no point of the model; use --map COLUMN=POINT, --skip COLUMN or --skip-unknown (points: {})",
            list(&unknown),
            list(&points.iter().map(|p| p.key.clone()).collect::<Vec<_>>())
        )));
    }
    if layout.points.is_empty() {
        return Err(Error::usage("no column is a point of the model"));
    }
    Ok(layout)
}

fn find<'a>(header: &str, points: &'a [PointInfo]) -> Option<&'a PointInfo> {
    let header = header.trim();
    let slug = slug(header);
    points
        .iter()
        .find(|p| p.key == header)
        .or_else(|| points.iter().find(|p| p.name == header))
        .or_else(|| points.iter().find(|p| p.key.eq_ignore_ascii_case(&slug)))
}

/// An identifier from a header: small letters, digits and single underscores.
pub fn slug(header: &str) -> String {
    let mut out = String::new();
    let mut word = |text: &str| {
        out.push_str(text);
    };
    for c in header.chars() {
        match c {
            c if c.is_ascii_alphanumeric() => word(c.to_ascii_lowercase().encode_utf8(&mut [0; 4])),
            '°' | 'º' => word("_deg_"),
            '%' => word("_pct_"),
            'µ' | 'μ' => word("u"),
            '²' => word("2"),
            '³' => word("3"),
            _ => word("_"),
        }
    }
    let words: Vec<&str> = out.split('_').filter(|w| !w.is_empty()).collect();
    words.join("_").chars().take(wattline_model::limits::IDENTIFIER_BYTES_MAX / 2).collect()
}

/// `Wind Speed (m/s)` is a name and a unit.
fn split_unit(header: &str) -> (String, Option<String>) {
    let header = header.trim();
    let parts = header.strip_suffix([')', ']']).and_then(|h| h.rsplit_once(['(', '[']));
    match parts {
        Some((name, unit)) if !name.trim().is_empty() && !unit.trim().is_empty() => {
            (name.trim().to_owned(), Some(unit.trim().to_owned()))
        }
        _ => (header.to_owned(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_what_one_would_type() {
        for (header, expected) in [
            ("LV ActivePower (kW)", "lv_activepower_kw"),
            ("Wind Speed (m/s)", "wind_speed_m_s"),
            ("Wind Direction (°)", "wind_direction_deg"),
            ("HUFL", "hufl"),
            ("Humidity %", "humidity_pct"),
            ("  a--b__c ", "a_b_c"),
            ("Größe", "gr_e"),
            ("功率", ""),
        ] {
            assert_eq!(slug(header), expected, "{header}");
        }
    }

    #[test]
    fn units_stand_in_the_last_parentheses() {
        assert_eq!(split_unit("Wind Speed (m/s)"), ("Wind Speed".to_owned(), Some("m/s".to_owned())));
        assert_eq!(split_unit("T [°C]"), ("T".to_owned(), Some("°C".to_owned())));
        assert_eq!(split_unit("plain"), ("plain".to_owned(), None));
        assert_eq!(split_unit("(x)"), ("(x)".to_owned(), None));
    }

    #[test]
    fn names_that_collide_are_numbered() {
        let found = vec![
            NewColumn {
                column: 0,
                key: "a".to_owned(),
                header: String::new(),
                name: String::new(),
                unit: None,
            },
            NewColumn {
                column: 1,
                key: "a_2".to_owned(),
                header: String::new(),
                name: String::new(),
                unit: None,
            },
        ];
        assert_eq!(unused("a".to_owned(), 2, &found), "a_3");
        assert_eq!(unused(String::new(), 2, &found), "column_3");
        assert_eq!(unused("time".to_owned(), 2, &found), "time_value");
        assert_eq!(unused("10min_avg".to_owned(), 2, &found), "p_10min_avg");
    }
}
