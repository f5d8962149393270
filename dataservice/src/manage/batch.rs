//! Devices by the file (data service §7.4): a template to fill in, and the file that comes back.
//!
//! Owns: what the columns mean, which rows are taken, and what is said of the others. Does not own: the file format
//! (`sheet`), the rules of a device (`registry`).
//!
//! A file has a heading, may have the template's row of hints below it, and then a row a device. Rows that are good are
//! registered together; for each of the others there is a line in `errmsg.txt`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;

use serde_json::{Number, Value as Json, json};
use wattline_model::{DataType, EnumKind};
use wattline_registry::devices::DEVICES_PER_PRODUCT_MAX;
use wattline_registry::{Attribute, NewDevice, Product, Registry, Right};

use super::answer::{refused, success};
use super::sheet::{self, Cell, FILE_BYTES_MAX, Sheet};
use super::{Ask, Done, Request, devices};
use crate::error::{Error, Result};

/// Devices of a file (data service §7.4).
pub const ROWS_MAX: usize = 1_000;

/// Bytes of a file (data service §7.4).
pub const BYTES_MAX: usize = FILE_BYTES_MAX;

/// Characters of a device key in a file (data service §7.4).
const KEY_CHARS: std::ops::RangeInclusive<usize> = 4..=64;

/// Characters of a device name in a file (data service §7.4).
const NAME_CHARS_MAX: usize = 64;

const KEY: &str = "DeviceKey";
const NAME: &str = "Device Name";
const ZONE: &str = "Time Zone";

/// What stands below `DeviceKey` in the template, and is no device key, as it has blanks.
const KEY_HINT: &str = "4 to 64 letters, digits, - _ . :";

/// A file was read: what to answer, and what was wrong with the rows that were not taken.
pub struct Imported {
    /// The answer as JSON.
    pub done: Done,
    /// The text of `errmsg.txt`; empty where every row was taken.
    pub errmsg: String,
}

/// A file to fill in.
pub struct Template {
    /// What it is called.
    pub name: String,
    /// It.
    pub bytes: Vec<u8>,
}

/// The template of a product: blank, or with the attributes of a device there is (`deviceKey`) in its third row.
///
/// # Errors
/// Whatever [`crate::ErrorKind`] says.
pub fn template(registry: &Registry, request: &Request<'_>) -> Result<Template> {
    let ask = Ask::new(registry, request)?;
    ask.whole(Right::Read)?;
    let product = devices::product(&ask)?;
    let attributes = registry.model_attributes(product.model);
    let marked = |name: &str, required: bool| if required { format!("{name}*") } else { name.to_owned() };
    let mut heading: Vec<String> = [KEY, NAME, ZONE].map(|name| marked(name, true)).to_vec();
    heading.extend(attributes.iter().map(|attribute| marked(&attribute.key, attribute.required)));
    let mut hints =
        vec![KEY_HINT.to_owned(), "1 to 64 characters".to_owned(), "+08:00 or Asia/Shanghai".to_owned()];
    hints.extend(attributes.iter().map(hint));
    let mut rows = vec![heading, hints];
    if let Some(key) = request.params.text("deviceKey") {
        let device = ask.device(&product.key, key)?;
        let mut row = vec![String::new(), String::new(), device.timezone.to_string()];
        row.extend(attributes.iter().map(|attribute| match device.attributes.get(&attribute.key) {
            None => String::new(),
            Some(Json::String(text)) => text.clone(),
            Some(value) => value.to_string(),
        }));
        rows.push(row);
    }
    Ok(Template { name: format!("Template_{}.xlsx", product.key), bytes: sheet::write(&rows)? })
}

fn hint(attribute: &Attribute) -> String {
    let mut text = attribute.data_type.name().to_owned();
    let values: Vec<String> = match attribute.data_type {
        DataType::Enum(EnumKind::Int) => attribute.enum_ints.iter().map(i64::to_string).collect(),
        DataType::Enum(EnumKind::Text) => attribute.enum_texts.clone(),
        _ => Vec::new(),
    };
    if !values.is_empty() {
        // The rest is in the model.
        let _ = write!(text, ": {}", values.into_iter().take(20).collect::<Vec<_>>().join(", "));
    }
    if let Some(unit) = &attribute.unit {
        let _ = write!(text, " in {unit}");
    }
    text
}

/// Registers the devices of a file, which is the body; with `checkOnly` none of them.
///
/// # Errors
/// Where the file as a whole cannot be taken.
pub fn import(registry: &Registry, request: &Request<'_>) -> Result<Imported> {
    let ask = Ask::new(registry, request)?;
    ask.whole(Right::Manage)?;
    let product = devices::product(&ask)?;
    let check_only = request.params.flag("checkOnly", false)?;
    let attributes = registry.model_attributes(product.model);
    // A heading and hints stand above the devices.
    let Sheet { mut rows, since_1904 } = sheet::read(request.body, ROWS_MAX + 2)?;
    let heading = rows.remove(&1).ok_or_else(|| Error::invalid("file: row 1 has no heading"))?;
    let columns = columns(&heading, &attributes)?;
    if rows.get(&2).is_some_and(|row| row.get(&0) == Some(&Cell::Text(KEY_HINT.to_owned()))) {
        rows.remove(&2);
    }
    match rows.len() {
        0 => return Err(Error::invalid("file: has no device")),
        1..=ROWS_MAX => {}
        n => return Err(Error::invalid(format!("file: has {n} devices; at most {ROWS_MAX} are allowed"))),
    }
    if registry.product_size(&product.key) + rows.len() > DEVICES_PER_PRODUCT_MAX {
        let what = format!("the product would have more than {DEVICES_PER_PRODUCT_MAX} devices");
        return Err(Error::invalid(what).numbered(Some(super::answer::DEVICES_MAX)));
    }
    let (mut good, mut errmsg, total) = (Vec::new(), String::new(), rows.len());
    let mut lines: HashMap<String, u32> = HashMap::new();
    let taken = taken(&ask, &rows, &columns);
    for (line, row) in rows {
        let (new, mut faults) = device(&product, &columns, &row, since_1904);
        if let Some(key) = &new.device_key {
            if let Some(first) = lines.get(key) {
                faults.push(format!("{KEY}: {key} is in line {first} already"));
            } else if taken.contains(key) {
                faults.push(format!("{KEY}: {key} is taken"));
            }
            lines.entry(key.clone()).or_insert(line);
        }
        if faults.is_empty()
            && let Err(error) = registry.check_device(&new)
        {
            faults.push(fault(&error));
        }
        if faults.is_empty() {
            good.push((line, new));
        } else {
            let _ = writeln!(errmsg, "Line {line}: {}", faults.join("; "));
        }
    }
    let valid = good.len();
    let made = if check_only { Vec::new() } else { register(&ask, good)? };
    let data = json!({
        "productKey": product.key,
        "total": total,
        "valid": valid,
        "imported": made.len(),
        "failed": total - valid,
        "devices": made,
        "errmsg": errmsg,
    });
    Ok(Imported { done: success(&data, None).into(), errmsg })
}

fn register(ask: &Ask<'_>, good: Vec<(u32, NewDevice)>) -> Result<Vec<Json>> {
    if good.is_empty() {
        return Ok(Vec::new());
    }
    let (lines, new): (Vec<u32>, Vec<NewDevice>) = good.into_iter().unzip();
    let made = ask.registry.register_devices(new, ask.operator, ask.now_micros).map_err(refused)?;
    let told = made.iter().zip(lines).map(|(device, line)| {
        let mut json = devices::created_json(device);
        json["line"] = line.into();
        json
    });
    Ok(told.collect())
}

/// What a column holds.
enum Column {
    Key,
    Name,
    Zone,
    /// An attribute, with its definition where the model defines any.
    Attribute(String, Option<Attribute>),
}

/// What the columns hold, by their number.
fn columns(heading: &BTreeMap<u32, Cell>, attributes: &[Attribute]) -> Result<BTreeMap<u32, Column>> {
    let wrong = |what: String| Err(Error::invalid(format!("file: row 1: {what}")));
    let mut columns = BTreeMap::new();
    let mut seen = HashSet::new();
    for (&place, cell) in heading {
        let text = cell.text();
        let name = text.trim_end_matches('*').trim();
        let is = |fixed: &str| {
            let letters = |text: &str| text.chars().filter(|c| *c != ' ').collect::<String>().to_lowercase();
            letters(name) == letters(fixed)
        };
        let column = if is(KEY) {
            Column::Key
        } else if is(NAME) {
            Column::Name
        } else if is(ZONE) {
            Column::Zone
        } else {
            let definition = attributes.iter().find(|attribute| attribute.key == name);
            if definition.is_none() && !attributes.is_empty() {
                let name: String = name.chars().take(64).collect();
                return wrong(format!("column {name:?} is no attribute of the model"));
            }
            Column::Attribute(name.to_owned(), definition.cloned())
        };
        if !seen.insert(name.to_lowercase()) {
            return wrong(format!("column {name:?} is there twice"));
        }
        columns.insert(place, column);
    }
    for (name, there) in [
        (KEY, columns.values().any(|column| matches!(column, Column::Key))),
        (NAME, columns.values().any(|column| matches!(column, Column::Name))),
        (ZONE, columns.values().any(|column| matches!(column, Column::Zone))),
    ] {
        if !there {
            return wrong(format!("column {name:?} is missing"));
        }
    }
    Ok(columns)
}

/// Keys of the file that devices of the organization have, in whichever product: a key is unique in an organization here.
fn taken(ask: &Ask<'_>, rows: &sheet::Rows, columns: &BTreeMap<u32, Column>) -> HashSet<String> {
    let place = columns.iter().find(|(_, column)| matches!(column, Column::Key)).map(|(place, _)| *place);
    let keys: HashSet<String> = rows.values().filter_map(|row| Some(row.get(&place?)?.text())).collect();
    let all = ask.registry.assets();
    let of_org = all.iter().filter(|device| device.is_device() && device.org == ask.org);
    of_org.map(|device| device.device_key.to_string()).filter(|key| keys.contains(key)).collect()
}

/// The device of a row, and what is wrong with it.
fn device(
    product: &Product,
    columns: &BTreeMap<u32, Column>,
    row: &BTreeMap<u32, Cell>,
    since_1904: bool,
) -> (NewDevice, Vec<String>) {
    let mut new = NewDevice { product_key: product.key.clone(), ..NewDevice::default() };
    let mut faults = Vec::new();
    for (place, column) in columns {
        let cell = row.get(place);
        match column {
            Column::Key => match cell {
                None => faults.push(format!("{KEY} is required")),
                Some(cell) => {
                    let key = cell.text();
                    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
                    if !KEY_CHARS.contains(&key.chars().count()) || !key.chars().all(fits) {
                        let shown: String = key.chars().take(80).filter(|c| !c.is_control()).collect();
                        faults.push(format!("{KEY}: {shown:?} is not {KEY_HINT}"));
                    }
                    new.device_key = Some(key);
                }
            },
            Column::Name => match cell {
                None => faults.push(format!("{NAME} is required")),
                Some(cell) => {
                    new.name = cell.text();
                    let chars = new.name.chars().count();
                    if chars > NAME_CHARS_MAX {
                        let what = format!("has {chars} characters; at most {NAME_CHARS_MAX} are allowed");
                        faults.push(format!("{NAME}: {what}"));
                    }
                }
            },
            Column::Zone => match cell {
                None => faults.push(format!("{ZONE} is required")),
                Some(cell) => new.timezone = cell.text(),
            },
            Column::Attribute(key, definition) => {
                if let Some(cell) = cell {
                    new.attributes.insert(key.clone(), attribute(cell, definition.as_ref(), since_1904));
                }
            }
        }
    }
    (new, faults)
}

/// A cell as a value of the attribute; where it cannot be one, as it is, so that it is refused by what it says.
fn attribute(cell: &Cell, definition: Option<&Attribute>, since_1904: bool) -> Json {
    let as_text = || Json::String(cell.text());
    let whole = |number: f64| {
        // Every whole number below 2^53 is one in a cell; larger ones were rounded when they were typed.
        (number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0).then(|| Json::from(number as i64))
    };
    let number = |number: f64| Number::from_f64(number).map_or(Json::Null, Json::Number);
    let Some(definition) = definition else {
        return match cell {
            Cell::Number(n) => whole(*n).unwrap_or_else(|| number(*n)),
            Cell::Flag(flag) => Json::Bool(*flag),
            Cell::Text(_) => as_text(),
        };
    };
    match (definition.data_type, cell) {
        (
            DataType::Int | DataType::Long | DataType::Timestamp | DataType::Enum(EnumKind::Int),
            Cell::Number(n),
        ) => whole(*n).unwrap_or_else(|| number(*n)),
        (DataType::Int | DataType::Long | DataType::Enum(EnumKind::Int), Cell::Text(text)) => {
            text.trim().parse::<i64>().map_or_else(|_| as_text(), Json::from)
        }
        (DataType::Float | DataType::Double, Cell::Number(n)) => number(*n),
        (DataType::Float | DataType::Double, Cell::Text(text)) => {
            text.trim().parse::<f64>().map_or_else(|_| as_text(), number)
        }
        (DataType::Bool, Cell::Flag(flag)) => Json::Bool(*flag),
        (DataType::Bool, Cell::Number(n)) => whole(*n).unwrap_or_else(|| number(*n)),
        (DataType::Bool, Cell::Text(text)) => match text.trim().to_lowercase().as_str() {
            "true" | "1" => Json::Bool(true),
            "false" | "0" => Json::Bool(false),
            _ => as_text(),
        },
        (DataType::Array | DataType::Struct, Cell::Text(text)) => {
            serde_json::from_str(text).unwrap_or_else(|_| as_text())
        }
        (DataType::Date, Cell::Number(n)) => date(*n, since_1904).map_or_else(as_text, Json::String),
        _ => as_text(),
    }
}

/// The date that a sheet counts as so many days, with its time where it has one.
fn date(days: f64, since_1904: bool) -> Option<String> {
    // Sheets have a 29th of February in 1900: days since the end of 1899 are right from that March on.
    let first = if since_1904 { jiff::civil::date(1904, 1, 1) } else { jiff::civil::date(1899, 12, 30) };
    let seconds = (days * 86_400.0).round();
    if !(0.0..4e11).contains(&seconds) {
        return None;
    }
    let time = first.at(0, 0, 0, 0).checked_add(jiff::Span::new().try_seconds(seconds as i64).ok()?).ok()?;
    Some(time.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

/// What the registry has against a row, under the name its column has.
fn fault(error: &wattline_registry::Error) -> String {
    let field = match error.field() {
        Some("deviceKey") => KEY,
        Some("deviceName") => NAME,
        Some("timezone") => ZONE,
        Some(field) => field.strip_prefix("attributes.").unwrap_or(field),
        None => error.item(),
    };
    format!("{field}: {}", error.reason())
}

#[cfg(test)]
mod tests;
