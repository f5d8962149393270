//! Schemas, tables and columns as PostgreSQL numbers them.
//!
//! Owns: the numbers of schemas and tables. Does not own: which there are (`catalog`).
//!
//! A number is the same after a restart and on every machine: that of a model's table comes from the model's number,
//! any other from its name.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

/// The first number of models' tables; each model has four.
const MODELS: u32 = 1 << 24;

/// Numbers of tables that are no model's lie here, by a hash of their names.
const NAMED: u32 = 1 << 22;

/// A schema.
#[derive(Clone, Debug)]
pub(crate) struct Namespace {
    pub(crate) oid: u32,
    pub(crate) name: &'static str,
}

/// PostgreSQL's schema of system tables.
pub(crate) const PG_CATALOG: &str = "pg_catalog";

/// All schemas.
pub(crate) const NAMESPACES: &[Namespace] = &[
    Namespace { oid: 11, name: PG_CATALOG },
    Namespace { oid: 2_200, name: "public" },
    Namespace { oid: 13_000, name: "information_schema" },
    Namespace { oid: 16_001, name: "latest" },
    Namespace { oid: 16_002, name: "normalized" },
    Namespace { oid: 16_003, name: "system" },
];

/// The number of a schema; 0 where there is none.
pub(crate) fn namespace(name: &str) -> u32 {
    NAMESPACES.iter().find(|n| n.name == name).map_or(0, |n| n.oid)
}

/// A table.
#[derive(Clone, Debug)]
pub(crate) struct Relation {
    pub(crate) oid: u32,
    pub(crate) schema: &'static str,
    pub(crate) name: String,
    pub(crate) columns: SchemaRef,
    /// What it is, for people.
    pub(crate) comment: Option<String>,
}

/// All tables of one version of the catalog, in the order of schema and name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Relations(pub(crate) Arc<Vec<Relation>>);

impl Relations {
    /// The table of this number.
    pub(crate) fn by_oid(&self, oid: u32) -> Option<&Relation> {
        self.0.iter().find(|r| r.oid == oid)
    }

    /// The table a text means: `name`, `schema.name`, with quotes or without.
    pub(crate) fn by_name(&self, text: &str) -> Option<&Relation> {
        let parts = parts(text)?;
        match &parts[..] {
            [name] => ["public", PG_CATALOG].iter().find_map(|schema| self.find(schema, name)),
            [.., schema, name] => self.find(schema, name),
            [] => None,
        }
    }

    fn find(&self, schema: &str, name: &str) -> Option<&Relation> {
        let of_schema = || self.0.iter().filter(|r| r.schema == schema);
        // As written, as everywhere here; then as standard SQL has it.
        of_schema().find(|r| r.name == name).or_else(|| of_schema().find(|r| r.name == name.to_lowercase()))
    }
}

/// The parts of a name with dots; `None` where a quote is not closed.
pub(crate) fn parts(text: &str) -> Option<Vec<String>> {
    let mut parts = vec![String::new()];
    let mut chars = text.trim().chars().peekable();
    while let Some(c) = chars.next() {
        let part = parts.last_mut()?;
        match c {
            '"' => loop {
                match chars.next()? {
                    '"' if chars.peek() == Some(&'"') => {
                        chars.next();
                        part.push('"');
                    }
                    '"' => break,
                    c => part.push(c),
                }
            },
            '.' => parts.push(String::new()),
            c => part.push(c),
        }
    }
    Some(parts)
}

/// The number of a model's table in a schema of tables.
pub(crate) fn of_model(model: u32, schema: &str) -> u32 {
    let kind = match schema {
        "latest" => 1,
        "normalized" => 2,
        _ => 0,
    };
    MODELS.wrapping_add(model.wrapping_mul(4)).wrapping_add(kind) & 0x7fff_ffff
}

/// The number of a table that is no model's.
pub(crate) fn of_name(schema: &str, name: &str) -> u32 {
    let known = [
        ("pg_type", 1247),
        ("pg_attribute", 1249),
        ("pg_proc", 1255),
        ("pg_class", 1259),
        ("pg_database", 1262),
        ("pg_attrdef", 2604),
        ("pg_constraint", 2606),
        ("pg_description", 2609),
        ("pg_index", 2610),
        ("pg_inherits", 2611),
        ("pg_namespace", 2615),
        ("pg_rewrite", 2618),
        ("pg_trigger", 2620),
        ("pg_extension", 3079),
        ("pg_collation", 3456),
        ("pg_enum", 3501),
        ("pg_range", 3541),
    ];
    if schema == PG_CATALOG
        && let Some((_, oid)) = known.iter().find(|(known, _)| *known == name)
    {
        return *oid;
    }
    // FNV-1a: the same everywhere and for ever.
    let bytes = schema.bytes().chain([b'.']).chain(name.bytes());
    let hash = bytes.fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    NAMED + (hash & (NAMED - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_frozen() {
        // Clients keep them: a change would show as another table.
        assert_eq!(of_model(7, "public"), 16_777_244);
        assert_eq!(of_model(7, "latest"), 16_777_245);
        assert_eq!(of_name("pg_catalog", "pg_class"), 1259);
        assert_eq!(of_name("public", "assets"), of_name("public", "assets"));
        assert!((NAMED..MODELS).contains(&of_name("public", "assets")));
    }

    #[test]
    fn names_have_parts() {
        assert_eq!(parts("a.b"), Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(parts("\"a.b\".\"c\"\"d\""), Some(vec!["a.b".to_owned(), "c\"d".to_owned()]));
        assert_eq!(parts("\"a"), None);
    }
}
