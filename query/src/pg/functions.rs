//! The functions that PostgreSQL's clients call to find their way.
//!
//! Owns: names, types and answers. Does not own: what is written in another syntax (`rewrite`).
//!
//! Each is evaluated value by value: they are called on the rows of system tables, which are few.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::Array as _;
use arrow::datatypes::{DataType, Field};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::listed::{self, Listed};
use super::relations::{NAMESPACES, Relations, parts};
use super::tables::SETTINGS;
use super::types::{by_array, by_name, by_oid};
use crate::catalog::Catalog;

/// What a function gives.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gives {
    Text,
    Bool,
    Int,
    Long,
    Texts,
}

type Eval = fn(&Relations, &[ScalarValue]) -> ScalarValue;

/// Name, type of the answer, answer.
const FUNCTIONS: &[(&str, Gives, Eval)] = &[
    ("version", Gives::Text, |_, _| {
        text(concat!("PostgreSQL 15.0 (Wattline ", env!("CARGO_PKG_VERSION"), ")"))
    }),
    ("current_database", Gives::Text, |_, _| text("wattline")),
    ("current_schema", Gives::Text, |_, _| text("public")),
    ("current_schemas", Gives::Texts, |_, args| match args.first() {
        Some(ScalarValue::Boolean(Some(true))) => texts(["pg_catalog", "public"]),
        _ => texts(["public"]),
    }),
    ("pg_client_encoding", Gives::Text, |_, _| text("UTF8")),
    ("getdatabaseencoding", Gives::Text, |_, _| text("UTF8")),
    ("pg_encoding_to_char", Gives::Text, |_, _| text("UTF8")),
    ("current_setting", Gives::Text, setting),
    // A statement changes nothing here, SET does: what it gives is the value after it, which is the one before.
    ("set_config", Gives::Text, setting),
    ("format_type", Gives::Text, |_, args| {
        int(args, 0).map_or(ScalarValue::Utf8(None), |oid| text(type_name(oid)))
    }),
    ("regclass_name", Gives::Text, |relations, args| {
        int(args, 0).map_or(ScalarValue::Utf8(None), |oid| {
            text(relations.by_oid(oid).map_or_else(
                || oid.to_string(),
                |r| match r.schema {
                    "public" | "pg_catalog" => quoted(&r.name),
                    schema => format!("{schema}.{}", quoted(&r.name)),
                },
            ))
        })
    }),
    ("regnamespace_name", Gives::Text, |_, args| {
        int(args, 0).map_or(ScalarValue::Utf8(None), |oid| {
            text(
                NAMESPACES
                    .iter()
                    .find(|n| n.oid == oid)
                    .map_or_else(|| oid.to_string(), |n| n.name.to_owned()),
            )
        })
    }),
    ("to_regclass", Gives::Int, |relations, args| {
        ScalarValue::Int32(
            string(args, 0)
                .and_then(|name| relations.by_name(&name).map(|r| r.oid).or_else(|| name.parse().ok()))
                .map(u32::cast_signed),
        )
    }),
    ("to_regtype", Gives::Int, |_, args| {
        ScalarValue::Int32(string(args, 0).and_then(|name| type_number(&name)).map(u32::cast_signed))
    }),
    ("to_regnamespace", Gives::Int, |_, args| {
        ScalarValue::Int32(
            string(args, 0)
                .and_then(|name| NAMESPACES.iter().find(|n| n.name == name))
                .map(|n| n.oid.cast_signed()),
        )
    }),
    ("pg_table_is_visible", Gives::Bool, |relations, args| {
        ScalarValue::Boolean(
            int(args, 0)
                .and_then(|oid| relations.by_oid(oid))
                .map(|r| matches!(r.schema, "public" | "pg_catalog")),
        )
    }),
    ("pg_type_is_visible", Gives::Bool, yes),
    ("pg_function_is_visible", Gives::Bool, yes),
    ("pg_operator_is_visible", Gives::Bool, yes),
    ("pg_opclass_is_visible", Gives::Bool, yes),
    ("pg_collation_is_visible", Gives::Bool, yes),
    ("has_table_privilege", Gives::Bool, privilege),
    ("has_any_column_privilege", Gives::Bool, privilege),
    ("has_column_privilege", Gives::Bool, privilege),
    ("has_schema_privilege", Gives::Bool, privilege),
    ("has_database_privilege", Gives::Bool, privilege),
    ("has_function_privilege", Gives::Bool, yes),
    ("has_sequence_privilege", Gives::Bool, yes),
    ("pg_has_role", Gives::Bool, yes),
    ("pg_is_in_recovery", Gives::Bool, no),
    ("pg_is_other_temp_schema", Gives::Bool, no),
    ("pg_relation_is_publishable", Gives::Bool, no),
    ("row_security_active", Gives::Bool, no),
    ("pg_get_userbyid", Gives::Text, |_, _| text("wattline")),
    ("obj_description", Gives::Text, |relations, args| {
        let relation = int(args, 0).and_then(|oid| relations.by_oid(oid));
        ScalarValue::Utf8(relation.and_then(|r| r.comment.clone()))
    }),
    ("col_description", Gives::Text, nothing),
    ("shobj_description", Gives::Text, nothing),
    ("pg_get_expr", Gives::Text, nothing),
    ("pg_get_viewdef", Gives::Text, nothing),
    ("pg_get_ruledef", Gives::Text, nothing),
    ("pg_get_indexdef", Gives::Text, nothing),
    ("pg_get_constraintdef", Gives::Text, nothing),
    ("pg_get_triggerdef", Gives::Text, nothing),
    ("pg_get_partkeydef", Gives::Text, nothing),
    ("pg_get_functiondef", Gives::Text, nothing),
    ("pg_get_function_arguments", Gives::Text, |_, args| of_listed(args, |listed| listed.arguments)),
    ("pg_get_function_identity_arguments", Gives::Text, |_, args| of_listed(args, |listed| listed.arguments)),
    ("pg_get_function_result", Gives::Text, |_, args| of_listed(args, |listed| listed.gives)),
    ("pg_get_function_sqlbody", Gives::Text, nothing),
    ("pg_get_serial_sequence", Gives::Text, nothing),
    ("pg_get_statisticsobjdef_columns", Gives::Text, nothing),
    ("pg_tablespace_location", Gives::Text, nothing),
    ("pg_my_temp_schema", Gives::Int, |_, _| ScalarValue::Int32(Some(0))),
    ("pg_relation_is_updatable", Gives::Int, |_, _| ScalarValue::Int32(Some(0))),
    // Wider than PostgreSQL's, as `generate_series` wants it.
    ("array_lower", Gives::Long, |_, _| ScalarValue::Int64(Some(1))),
    ("array_upper", Gives::Long, |_, args| ScalarValue::Int64(items(args))),
    ("pg_size_pretty", Gives::Text, |_, args| ScalarValue::Utf8(string(args, 0).and_then(|n| pretty(&n)))),
    ("format", Gives::Text, |_, args| ScalarValue::Utf8(formatted(args))),
    ("quote_ident", Gives::Text, |_, args| ScalarValue::Utf8(string(args, 0).map(|name| quoted(&name)))),
    ("quote_literal", Gives::Text, |_, args| ScalarValue::Utf8(string(args, 0).map(|t| literal(&t)))),
    ("quote_nullable", Gives::Text, |_, args| {
        text(string(args, 0).map_or_else(|| "NULL".to_owned(), |t| literal(&t)))
    }),
    ("parse_ident", Gives::Texts, |_, args| match string(args, 0).as_deref().and_then(parts) {
        Some(parts) => texts(parts.iter().map(String::as_str)),
        None => no_texts(),
    }),
];

fn setting(_: &Relations, args: &[ScalarValue]) -> ScalarValue {
    let name = string(args, 0).unwrap_or_default();
    let found = SETTINGS.iter().find(|(known, _)| known.eq_ignore_ascii_case(&name));
    found.map_or(ScalarValue::Utf8(None), |(_, value)| text(*value))
}

fn of_listed(args: &[ScalarValue], what: fn(&Listed) -> &'static str) -> ScalarValue {
    ScalarValue::Utf8(int(args, 0).and_then(listed::by_oid).map(|listed| what(&listed).to_owned()))
}

fn text(text: impl Into<String>) -> ScalarValue {
    ScalarValue::Utf8(Some(text.into()))
}

fn texts<'a>(items: impl IntoIterator<Item = &'a str>) -> ScalarValue {
    let items: Vec<ScalarValue> = items.into_iter().map(text).collect();
    ScalarValue::List(ScalarValue::new_list_nullable(&items, &DataType::Utf8))
}

fn no_texts() -> ScalarValue {
    ScalarValue::new_null_list(DataType::Utf8, true, 1)
}

fn yes(_: &Relations, _: &[ScalarValue]) -> ScalarValue {
    ScalarValue::Boolean(Some(true))
}

fn no(_: &Relations, _: &[ScalarValue]) -> ScalarValue {
    ScalarValue::Boolean(Some(false))
}

fn nothing(_: &Relations, _: &[ScalarValue]) -> ScalarValue {
    ScalarValue::Utf8(None)
}

/// Everybody may read everything; nothing may be created or used otherwise.
fn privilege(_: &Relations, args: &[ScalarValue]) -> ScalarValue {
    let asked = string(args, args.len().saturating_sub(1)).unwrap_or_default().to_uppercase();
    let reads = |one: &str| matches!(one.trim(), "SELECT" | "USAGE" | "CONNECT");
    ScalarValue::Boolean(Some(asked.split(',').any(reads)))
}

fn string(args: &[ScalarValue], i: usize) -> Option<String> {
    match args.get(i)? {
        ScalarValue::Utf8(t) | ScalarValue::LargeUtf8(t) | ScalarValue::Utf8View(t) => t.clone(),
        value if value.is_null() => None,
        value => Some(value.to_string()),
    }
}

fn int(args: &[ScalarValue], i: usize) -> Option<u32> {
    string(args, i)?.parse().ok()
}

fn type_name(oid: u32) -> String {
    match (by_oid(oid), by_array(oid)) {
        (Some(t), _) => t.sql_name.to_owned(),
        (None, Some(t)) => format!("{}[]", t.sql_name),
        (None, None) => "???".to_owned(),
    }
}

fn type_number(name: &str) -> Option<u32> {
    match name.strip_suffix("[]") {
        Some(element) => by_name(element).map(|t| t.array).filter(|&oid| oid != 0),
        None => by_name(name).map(|t| t.oid).or_else(|| name.parse().ok()),
    }
}

/// A name as it must be written: with quotes, unless it is plain.
pub(crate) fn quoted(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// How many items the first argument has; NULL where it is no list, or has none.
fn items(args: &[ScalarValue]) -> Option<i64> {
    let ScalarValue::List(list) = args.first()? else { return None };
    if list.is_null(0) {
        return None;
    }
    i64::try_from(list.value(0).len()).ok().filter(|&n| n > 0)
}

/// Bytes as PostgreSQL shows them: each unit up to ten thousand of it.
fn pretty(bytes: &str) -> Option<String> {
    let mut n: i128 = bytes.parse().ok()?;
    for unit in ["bytes", "kB", "MB", "GB", "TB"] {
        if n.abs() < 10_240 {
            return Some(format!("{n} {unit}"));
        }
        n = (n + n.signum() * 512) / 1_024;
    }
    Some(format!("{n} PB"))
}

/// `format('%I.%I', schema, table)`: `%s` a text, `%I` a name, `%L` a literal, `%%` a percent sign. NULL for any other
/// form.
fn formatted(args: &[ScalarValue]) -> Option<String> {
    let pattern = string(args, 0)?;
    let (mut out, mut next, mut chars) = (String::new(), 1, pattern.chars());
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let kind = chars.next()?;
        if kind == '%' {
            out.push('%');
            continue;
        }
        let value = (next < args.len()).then(|| string(args, next))?;
        next += 1;
        match kind {
            's' => out.push_str(&value.unwrap_or_default()),
            'I' => out.push_str(&quoted(&value?)),
            'L' => out.push_str(&value.map_or_else(|| "NULL".to_owned(), |text| literal(&text))),
            _ => return None,
        }
    }
    Some(out)
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// One of [`FUNCTIONS`] with the catalog it asks.
struct PgFunction {
    catalog: Arc<Catalog>,
    name: &'static str,
    gives: Gives,
    eval: Eval,
    signature: Signature,
}

/// All functions, over `catalog`.
pub(crate) fn all(catalog: &Arc<Catalog>) -> Vec<Arc<ScalarUDF>> {
    let make = |&(name, gives, eval): &(&'static str, Gives, Eval)| {
        // The catalog may change while a connection is open, and with it the answer.
        let signature = Signature::one_of(
            vec![
                datafusion::logical_expr::TypeSignature::Nullary,
                datafusion::logical_expr::TypeSignature::VariadicAny,
            ],
            Volatility::Stable,
        );
        let function = PgFunction { catalog: Arc::clone(catalog), name, gives, eval, signature };
        Arc::new(ScalarUDF::new_from_impl(function))
    };
    FUNCTIONS.iter().map(make).collect()
}

impl fmt::Debug for PgFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PgFunction({})", self.name)
    }
}

impl PartialEq for PgFunction {
    fn eq(&self, other: &PgFunction) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.catalog, &other.catalog)
    }
}

impl Eq for PgFunction {}

impl Hash for PgFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for PgFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.gives {
            Gives::Text => DataType::Utf8,
            Gives::Bool => DataType::Boolean,
            Gives::Int => DataType::Int32,
            Gives::Long => DataType::Int64,
            Gives::Texts => DataType::List(Arc::new(Field::new("item", DataType::Utf8, true))),
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let relations = self.catalog.relations();
        let scalars: Option<Vec<ScalarValue>> = args
            .args
            .iter()
            .map(|arg| match arg {
                ColumnarValue::Scalar(value) => Some(value.clone()),
                ColumnarValue::Array(_) => None,
            })
            .collect();
        if let Some(scalars) = scalars {
            return Ok(ColumnarValue::Scalar((self.eval)(&relations, &scalars)));
        }
        if args.number_rows == 0 {
            let none = ScalarValue::try_from(args.return_type())?;
            return Ok(ColumnarValue::Scalar(none));
        }
        let mut out = Vec::with_capacity(args.number_rows);
        for row in 0..args.number_rows {
            let values = args.args.iter().map(|arg| match arg {
                ColumnarValue::Scalar(value) => Ok(value.clone()),
                ColumnarValue::Array(array) => ScalarValue::try_from_array(array, row),
            });
            out.push((self.eval)(&relations, &values.collect::<Result<Vec<_>>>()?));
        }
        Ok(ColumnarValue::Array(ScalarValue::iter_to_array(out)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_where_they_must_be() {
        for (name, expected) in
            [("meter", "meter"), ("windTurbine", "\"windTurbine\""), ("a\"b", "\"a\"\"b\""), ("1a", "\"1a\"")]
        {
            assert_eq!(quoted(name), expected);
        }
    }

    #[test]
    fn sizes_and_forms_are_those_of_the_manual() {
        for (bytes, expected) in
            [("10239", "10239 bytes"), ("10240", "10 kB"), ("1048576", "1024 kB"), ("16000000000", "15 GB")]
        {
            assert_eq!(pretty(bytes).as_deref(), Some(expected));
        }
        let format = |args: &[&str]| formatted(&args.iter().map(|&arg| text(arg)).collect::<Vec<_>>());
        assert_eq!(
            format(&["%I.%I: %s %L %%", "public", "Foo bar", "x", "it's"]).as_deref(),
            Some("public.\"Foo bar\": x 'it''s' %")
        );
        assert_eq!(format(&["%I"]), None);
    }

    #[test]
    fn types_have_names() {
        assert_eq!(type_name(701), "double precision");
        assert_eq!(type_name(1009), "text[]");
        assert_eq!(type_number("timestamp with time zone"), Some(1184));
        assert_eq!(type_number("integer[]"), Some(1007));
        assert_eq!(type_number("nothing"), None);
    }
}
