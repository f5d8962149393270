//! PostgreSQL's types: numbers, names, sizes, and which Arrow types they are.
//!
//! Owns: the table of types that have a number here. Does not own: their text and binary forms (`server`).
//!
//! Numbers of built-in types are part of PostgreSQL's wire: clients have them compiled in.

use arrow::datatypes::{DataType, Field, IntervalUnit};

/// Key of a field's metadata that names another PostgreSQL type than its Arrow type has by itself.
pub const TYPE_KEY: &str = "pg.type";

/// One type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PgType {
    /// Its number.
    pub oid: u32,
    /// Its name in `pg_type`.
    pub name: &'static str,
    /// Its name in SQL, as `format_type` gives it.
    pub sql_name: &'static str,
    /// Its bytes; -1 where that varies, -2 for texts that end in a zero.
    pub length: i16,
    /// Its category: B boolean, N number, S text, D time, T span, U other, A array, P pseudo.
    pub category: char,
    /// The number of its array type; 0 where it has none.
    pub array: u32,
}

const fn t(
    oid: u32,
    name: &'static str,
    sql_name: &'static str,
    length: i16,
    category: char,
    array: u32,
) -> PgType {
    PgType { oid, name, sql_name, length, category, array }
}

/// Every type that has a number here, but for arrays, which follow from it.
pub const TYPES: &[PgType] = &[
    t(16, "bool", "boolean", 1, 'B', 1000),
    t(17, "bytea", "bytea", -1, 'U', 1001),
    t(18, "char", "\"char\"", 1, 'Z', 1002),
    t(19, "name", "name", 64, 'S', 1003),
    t(20, "int8", "bigint", 8, 'N', 1016),
    t(21, "int2", "smallint", 2, 'N', 1005),
    t(22, "int2vector", "int2vector", -1, 'A', 1006),
    t(23, "int4", "integer", 4, 'N', 1007),
    t(24, "regproc", "regproc", 4, 'N', 1008),
    t(25, "text", "text", -1, 'S', 1009),
    t(26, "oid", "oid", 4, 'N', 1028),
    t(30, "oidvector", "oidvector", -1, 'A', 1013),
    t(114, "json", "json", -1, 'U', 199),
    t(700, "float4", "real", 4, 'N', 1021),
    t(701, "float8", "double precision", 8, 'N', 1022),
    t(705, "unknown", "unknown", -2, 'X', 0),
    t(1033, "aclitem", "aclitem", 12, 'U', 1034),
    t(1042, "bpchar", "character", -1, 'S', 1014),
    t(1043, "varchar", "character varying", -1, 'S', 1015),
    t(1082, "date", "date", 4, 'D', 1182),
    t(1083, "time", "time without time zone", 8, 'D', 1183),
    t(1114, "timestamp", "timestamp without time zone", 8, 'D', 1115),
    t(1184, "timestamptz", "timestamp with time zone", 8, 'D', 1185),
    t(1186, "interval", "interval", 16, 'T', 1187),
    t(1700, "numeric", "numeric", -1, 'N', 1231),
    t(2205, "regclass", "regclass", 4, 'N', 2210),
    t(2206, "regtype", "regtype", 4, 'N', 2211),
    t(2249, "record", "record", -1, 'P', 2287),
    t(2283, "anyelement", "anyelement", 4, 'P', 0),
    t(2278, "void", "void", 4, 'P', 0),
    t(2950, "uuid", "uuid", 16, 'U', 2951),
    t(3802, "jsonb", "jsonb", -1, 'U', 3807),
    t(4089, "regnamespace", "regnamespace", 4, 'N', 4090),
];

/// Numbers of single types, for code that tells them apart.
#[expect(missing_docs, reason = "the names are PostgreSQL's")]
pub mod oid {
    pub const BOOL: u32 = 16;
    pub const BYTEA: u32 = 17;
    pub const CHAR: u32 = 18;
    pub const NAME: u32 = 19;
    pub const INT8: u32 = 20;
    pub const INT2: u32 = 21;
    pub const INT4: u32 = 23;
    pub const TEXT: u32 = 25;
    pub const OID: u32 = 26;
    pub const JSON: u32 = 114;
    pub const FLOAT4: u32 = 700;
    pub const FLOAT8: u32 = 701;
    pub const UNKNOWN: u32 = 705;
    pub const BPCHAR: u32 = 1042;
    pub const VARCHAR: u32 = 1043;
    pub const DATE: u32 = 1082;
    pub const TIME: u32 = 1083;
    pub const TIMESTAMP: u32 = 1114;
    pub const TIMESTAMPTZ: u32 = 1184;
    pub const INTERVAL: u32 = 1186;
    pub const NUMERIC: u32 = 1700;
}

/// The type of number `oid`, where it is no array.
pub fn by_oid(oid: u32) -> Option<&'static PgType> {
    TYPES.iter().find(|t| t.oid == oid)
}

/// The type whose array has the number `oid`.
pub fn by_array(oid: u32) -> Option<&'static PgType> {
    TYPES.iter().find(|t| t.array == oid && oid != 0)
}

/// The type a name of SQL or of `pg_type` means.
pub fn by_name(name: &str) -> Option<&'static PgType> {
    let name = name.trim().trim_start_matches("pg_catalog.").trim_matches('"').to_lowercase();
    TYPES.iter().find(|t| t.name == name || t.sql_name == name)
}

/// The number of the type a column is shown as.
pub fn oid_of_field(field: &Field) -> u32 {
    match field.metadata().get(TYPE_KEY).and_then(|number| number.parse().ok()) {
        Some(oid) => oid,
        None => oid_of(field.data_type()),
    }
}

/// The number of the type that values of an Arrow type are shown as. What has no counterpart is shown as text.
pub fn oid_of(data_type: &DataType) -> u32 {
    match data_type {
        DataType::Boolean => oid::BOOL,
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => oid::INT2,
        DataType::Int32 | DataType::UInt16 => oid::INT4,
        DataType::Int64 | DataType::UInt32 => oid::INT8,
        DataType::UInt64
        | DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => oid::NUMERIC,
        DataType::Float16 | DataType::Float32 => oid::FLOAT4,
        DataType::Float64 => oid::FLOAT8,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            oid::BYTEA
        }
        DataType::Timestamp(_, Some(_)) => oid::TIMESTAMPTZ,
        DataType::Timestamp(_, None) => oid::TIMESTAMP,
        DataType::Date32 | DataType::Date64 => oid::DATE,
        DataType::Time32(_) | DataType::Time64(_) => oid::TIME,
        DataType::Interval(_) | DataType::Duration(_) => oid::INTERVAL,
        DataType::Dictionary(_, value) => oid_of(value),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            by_oid(oid_of_field(item)).map_or(0, |t| t.array).max(array_of_text_unless(item))
        }
        _ => oid::TEXT,
    }
}

/// Lists of what has no array type are arrays of texts.
fn array_of_text_unless(item: &Field) -> u32 {
    match by_oid(oid_of_field(item)) {
        Some(t) if t.array != 0 => 0,
        _ => 1009,
    }
}

/// The Arrow type that parameters of the type of number `oid` become; `None` where any will do.
pub fn arrow_of(oid: u32) -> Option<DataType> {
    use arrow::datatypes::TimeUnit::Microsecond;
    Some(match oid {
        oid::BOOL => DataType::Boolean,
        oid::INT2 => DataType::Int16,
        oid::INT4 => DataType::Int32,
        oid::INT8 | oid::OID => DataType::Int64,
        oid::FLOAT4 => DataType::Float32,
        oid::FLOAT8 => DataType::Float64,
        oid::BYTEA => DataType::Binary,
        oid::DATE => DataType::Date32,
        oid::TIME => DataType::Time64(Microsecond),
        oid::TIMESTAMP => DataType::Timestamp(Microsecond, None),
        oid::TIMESTAMPTZ => DataType::Timestamp(Microsecond, Some("UTC".into())),
        oid::INTERVAL => DataType::Interval(IntervalUnit::MonthDayNano),
        oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME | oid::JSON => DataType::Utf8,
        oid::NUMERIC => DataType::Decimal128(38, 10),
        _ => {
            let element = arrow_of(by_array(oid)?.oid)?;
            DataType::List(std::sync::Arc::new(Field::new("item", element, true)))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn numbers_and_names_are_unique() {
        let mut numbers: Vec<u32> =
            TYPES.iter().flat_map(|t| [t.oid, t.array]).filter(|&oid| oid != 0).collect();
        let n = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), n);
        assert_eq!(by_name("double precision").map(|t| t.oid), Some(701));
        assert_eq!(by_name("pg_catalog.int4").map(|t| t.oid), Some(23));
    }

    #[test]
    fn lists_are_arrays() {
        let list = |item| DataType::List(Arc::new(Field::new("item", item, true)));
        assert_eq!(oid_of(&list(DataType::Int32)), 1007);
        assert_eq!(oid_of(&list(DataType::Utf8View)), 1009);
        assert_eq!(oid_of(&list(list(DataType::Int32))), 1009, "of lists: shown as texts");
    }
}
