//! Tables and columns that a changing statement names.
//!
//! Names are taken as written; failing that, unquoted ones in lower case, as in statements that read.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{Ident, ObjectName, ObjectNamePart};
use wattline_model::Model;

use crate::catalog::{CATALOG, PUBLIC};
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Position, nearest};

/// Where a name stands, where the parser noted it.
pub(super) fn place(ident: &Ident) -> Option<Position> {
    let start = ident.span.start;
    (start.line > 0).then_some(Position { line: start.line, column: start.column })
}

/// A wrong statement.
pub(super) fn wrong(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Input, message)
}

/// The last part of a name, where those before say the catalog's only schema of tables that can be changed.
pub(super) fn in_public(name: &ObjectName) -> Result<&Ident, Error> {
    let parts: Option<Vec<&Ident>> = name.0.iter().map(ObjectNamePart::as_ident).collect();
    let is = |part: &Ident, wanted: &str| part.value.eq_ignore_ascii_case(wanted);
    match parts.as_deref() {
        Some([table]) => Ok(table),
        Some([schema, table]) if is(schema, PUBLIC) => Ok(table),
        Some([catalog, schema, table]) if is(catalog, CATALOG) && is(schema, PUBLIC) => Ok(table),
        _ => {
            let at = name.0.first().and_then(ObjectNamePart::as_ident).and_then(place);
            Err(wrong(format!("{name} cannot be changed: only the tables of models can")).at(at))
        }
    }
}

/// What `ident` may mean: the text as written, then in lower case where it is not quoted.
pub(super) fn readings(ident: &Ident) -> Vec<String> {
    let mut readings = vec![ident.value.clone()];
    if ident.quote_style.is_none() {
        readings.push(ident.value.to_lowercase());
    }
    readings
}

impl Engine {
    /// The model whose table `name` is.
    pub(super) fn model_named(&self, name: &ObjectName) -> Result<Arc<Model>, Error> {
        let table = in_public(name)?;
        let found = readings(table).iter().find_map(|name| self.catalog().model_of(name));
        found.ok_or_else(|| self.no_table(&table.value).at(place(table)))
    }

    /// There is no table of this name that can be changed.
    pub(super) fn no_table(&self, name: &str) -> Error {
        let names = self.catalog().table_names();
        if names.iter().any(|known| known == name) {
            return wrong(format!("{name} cannot be changed: only the tables of models can"));
        }
        let near = nearest(name, names);
        wrong(format!(
            "there is no table {name}{}",
            near.map(|near| format!(", did you mean {near}?")).unwrap_or_default()
        ))
    }
}
