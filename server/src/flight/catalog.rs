//! What the protocol asks of a catalog: catalogs, schemas, tables, types, and what this server can do.
//!
//! Owns: the answers as batches. Does not own: which tables there are (`query`), their form on the wire (`running`).

use std::sync::{Arc, LazyLock};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow_flight::error::FlightError;
use arrow_flight::sql::metadata::{
    SqlInfoData, SqlInfoDataBuilder, XdbcTypeInfo, XdbcTypeInfoData, XdbcTypeInfoDataBuilder,
};
use arrow_flight::sql::{
    Command, Nullable, Searchable, SqlInfo, SqlNullOrdering, SqlSupportedCaseSensitivity,
    SqlSupportedTransaction, XdbcDataType,
};
use wattline_query::{Caller, Engine};

use super::running::wire_schema;

/// The one catalog.
const CATALOG: &str = "wattline";

/// The answer to a command that asks for what there is; `None` for any other.
pub fn answer(
    engine: &Engine,
    caller: &Caller,
    command: Command,
) -> Option<Result<RecordBatch, FlightError>> {
    let built = match command {
        Command::CommandGetCatalogs(query) => {
            let mut builder = query.into_builder();
            builder.append(CATALOG);
            builder.build()
        }
        Command::CommandGetDbSchemas(query) => {
            let mut builder = query.into_builder();
            schemas(engine, caller).for_each(|schema| builder.append(CATALOG, schema));
            builder.build()
        }
        Command::CommandGetTables(query) => {
            let mut builder = query.into_builder();
            let appended = engine.tables(caller).into_iter().try_for_each(|table| {
                let columns = wire_schema(&table.columns);
                builder.append(CATALOG, table.schema, table.name, table_type(table.schema), &columns)
            });
            appended.and_then(|()| builder.build())
        }
        Command::CommandGetTableTypes(query) => {
            let mut builder = query.into_builder();
            TABLE_TYPES.into_iter().for_each(|name| builder.append(name));
            builder.build()
        }
        Command::CommandGetSqlInfo(query) => query.into_builder(&INFO).build(),
        Command::CommandGetXdbcTypeInfo(query) => query.into_builder(&TYPES).build(),
        Command::CommandGetPrimaryKeys(_) => Ok(RecordBatch::new_empty(primary_keys())),
        Command::CommandGetExportedKeys(_)
        | Command::CommandGetImportedKeys(_)
        | Command::CommandGetCrossReference(_) => Ok(RecordBatch::new_empty(foreign_keys())),
        _ => return None,
    };
    Some(built)
}

const TABLE_TYPES: [&str; 3] = ["TABLE", "VIEW", "SYSTEM TABLE"];

/// Tables can be written; what follows from them is shown as views.
fn table_type(schema: &str) -> &'static str {
    match schema {
        "public" => "TABLE",
        "system" => "SYSTEM TABLE",
        _ => "VIEW",
    }
}

fn schemas(engine: &Engine, caller: &Caller) -> impl Iterator<Item = &'static str> + use<> {
    let mut schemas: Vec<&str> = engine.tables(caller).into_iter().map(|table| table.schema).collect();
    schemas.sort_unstable();
    schemas.dedup();
    schemas.into_iter()
}

static INFO: LazyLock<SqlInfoData> = LazyLock::new(|| {
    let mut info = SqlInfoDataBuilder::new();
    info.append(SqlInfo::FlightSqlServerName, "Wattline");
    info.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
    // The version of the format, not of a library.
    info.append(SqlInfo::FlightSqlServerArrowVersion, "1.5");
    info.append(SqlInfo::FlightSqlServerReadOnly, false);
    info.append(SqlInfo::FlightSqlServerSql, true);
    info.append(SqlInfo::FlightSqlServerSubstrait, false);
    info.append(SqlInfo::FlightSqlServerTransaction, SqlSupportedTransaction::None as i32);
    info.append(SqlInfo::FlightSqlServerCancel, true);
    info.append(SqlInfo::FlightSqlServerBulkIngestion, true);
    info.append(SqlInfo::FlightSqlServerIngestTransactionsSupported, false);
    info.append(SqlInfo::SqlDdlCatalog, false);
    info.append(SqlInfo::SqlDdlSchema, false);
    info.append(SqlInfo::SqlDdlTable, true);
    let as_written = SqlSupportedCaseSensitivity::SqlCaseSensitivityCaseInsensitive as i32;
    info.append(SqlInfo::SqlIdentifierCase, as_written);
    info.append(SqlInfo::SqlIdentifierQuoteChar, "\"");
    let quoted = SqlSupportedCaseSensitivity::SqlCaseSensitivityCaseInsensitive as i32;
    info.append(SqlInfo::SqlQuotedIdentifierCase, quoted);
    info.append(SqlInfo::SqlNullOrdering, SqlNullOrdering::SqlNullsSortedHigh as i32);
    info.append(SqlInfo::SqlCatalogTerm, "catalog");
    info.append(SqlInfo::SqlSchemaTerm, "schema");
    info.build().expect("the list above has values of the right kinds")
});

static TYPES: LazyLock<XdbcTypeInfoData> = LazyLock::new(|| {
    let mut types = XdbcTypeInfoDataBuilder::new();
    let kinds = [
        ("BOOLEAN", XdbcDataType::XdbcBit, 1, false),
        ("INTEGER", XdbcDataType::XdbcInteger, 32, false),
        ("BIGINT", XdbcDataType::XdbcBigint, 64, false),
        ("REAL", XdbcDataType::XdbcReal, 24, false),
        ("DOUBLE", XdbcDataType::XdbcDouble, 53, false),
        ("VARCHAR", XdbcDataType::XdbcVarchar, i32::MAX, true),
        ("TIMESTAMP", XdbcDataType::XdbcTimestamp, 26, true),
    ];
    for (name, data_type, size, quoted) in kinds {
        let quote = quoted.then(|| "'".to_owned());
        types.append(XdbcTypeInfo {
            type_name: name.to_owned(),
            data_type,
            sql_data_type: data_type,
            column_size: Some(size),
            literal_prefix: quote.clone(),
            literal_suffix: quote,
            nullable: Nullable::NullabilityNullable,
            searchable: Searchable::Full,
            case_sensitive: quoted,
            unsigned_attribute: (!quoted).then_some(false),
            ..XdbcTypeInfo::default()
        });
    }
    types.build().expect("the list above has values of the right kinds")
});

/// The columns of an answer about keys, of which there are none to tell: a sample is unique by asset and time, but
/// drivers would take a declared key for something that they may update by.
fn primary_keys() -> SchemaRef {
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
    Arc::new(Schema::new(vec![
        text("catalog_name", true),
        text("db_schema_name", true),
        text("table_name", false),
        text("column_name", false),
        Field::new("key_sequence", DataType::Int32, false),
        text("key_name", true),
    ]))
}

fn foreign_keys() -> SchemaRef {
    let mut fields = Vec::new();
    for side in ["pk", "fk"] {
        for (name, nullable) in
            [("catalog_name", true), ("db_schema_name", true), ("table_name", false), ("column_name", false)]
        {
            fields.push(Field::new(format!("{side}_{name}"), DataType::Utf8, nullable));
        }
    }
    fields.push(Field::new("key_sequence", DataType::Int32, false));
    fields.push(Field::new("fk_key_name", DataType::Utf8, true));
    fields.push(Field::new("pk_key_name", DataType::Utf8, true));
    fields.push(Field::new("update_rule", DataType::UInt8, false));
    fields.push(Field::new("delete_rule", DataType::UInt8, false));
    Arc::new(Schema::new(fields))
}
