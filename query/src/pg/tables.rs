//! The tables of `pg_catalog` and of `information_schema`: columns and rows.
//!
//! Owns: what clients read of them. Does not own: how a scan of a small table works (`crate::tables`).
//!
//! Columns are those of PostgreSQL 15 that clients ask for. Tables of things that are not here (indexes, constraints,
//! triggers, …) are there and empty; [`is_empty`] knows them, so that a query over one need not be planned.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float32Array, Int16Array, Int32Array, Int64Array, ListBuilder, RecordBatch,
    StringArray, StringBuilder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::Session;

use super::listed;
use super::relations::{NAMESPACES, PG_CATALOG, Relation, Relations, namespace};
use super::types::{TYPE_KEY, TYPES, by_oid, oid, oid_of_field};
use crate::error::Error;
use crate::scan::record_batch;
use crate::tables::RowsSource;

/// The number of the one role.
const OWNER: i32 = 10;

/// The number of the one database.
const DATABASE: i32 = 16_384;

/// A value of a row.
enum Cell {
    Null,
    Bool(bool),
    Int(i64),
    Text(String),
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell::Text(text)
    }
}

impl From<bool> for Cell {
    fn from(flag: bool) -> Cell {
        Cell::Bool(flag)
    }
}

impl From<i32> for Cell {
    fn from(n: i32) -> Cell {
        Cell::Int(i64::from(n))
    }
}

impl From<u32> for Cell {
    fn from(n: u32) -> Cell {
        Cell::Int(i64::from(n))
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Cell {
        value.map_or(Cell::Null, Into::into)
    }
}

/// A row by the names of its columns; those not named are NULL, or zero, empty or false where their column cannot be.
type Row = Vec<(&'static str, Cell)>;

macro_rules! row {
    ($($name:literal: $value:expr),* $(,)?) => { vec![$(($name, Cell::from($value))),*] };
}

/// A table.
struct Table {
    name: &'static str,
    /// Names and types of its columns, with commas between them; a type with `?` is NULL where a row says nothing.
    columns: &'static str,
    rows: Option<fn(&Relations) -> Vec<Row>>,
}

const fn empty(name: &'static str, columns: &'static str) -> Table {
    Table { name, columns, rows: None }
}

const fn table(name: &'static str, columns: &'static str, rows: fn(&Relations) -> Vec<Row>) -> Table {
    Table { name, columns, rows: Some(rows) }
}

/// A function of PostgreSQL that gives rows, here a table.
pub(crate) const KEYWORDS: &str = "pg_get_keywords";

/// The prefix under which tables of `information_schema` are kept here; `rewrite` leads there.
pub(crate) const INFORMATION: &str = "is_";

const TABLES: &[Table] = &[
    table("pg_namespace", "oid oid, nspname name, nspowner oid, nspacl text[]?", |_| {
        NAMESPACES.iter().map(|n| row! {"oid": n.oid, "nspname": n.name, "nspowner": OWNER}).collect()
    }),
    table(
        "pg_class",
        "oid oid, relname name, relnamespace oid, reltype oid, reloftype oid, relowner oid, relam oid, relfilenode oid, \
         reltablespace oid, relpages int4, reltuples float4, relallvisible int4, reltoastrelid oid, relhasindex bool, \
         relisshared bool, relpersistence char, relkind char, relnatts int2, relchecks int2, relhasrules bool, \
         relhastriggers bool, relhassubclass bool, relrowsecurity bool, relforcerowsecurity bool, relispopulated bool, \
         relreplident char, relispartition bool, relrewrite oid, relfrozenxid int4, relminmxid int4, relacl text[]?, \
         reloptions text[]?, relpartbound text?, relhasoids bool",
        classes,
    ),
    table(
        "pg_attribute",
        "attrelid oid, attname name, atttypid oid, attstattarget int4, attlen int2, attnum int2, attndims int4, \
         attcacheoff int4, atttypmod int4, attbyval bool, attalign char, attstorage char, attcompression char, \
         attnotnull bool, atthasdef bool, atthasmissing bool, attidentity char, attgenerated char, attisdropped bool, \
         attislocal bool, attinhcount int4, attcollation oid, attacl text[]?, attoptions text[]?, attfdwoptions text[]?, \
         attmissingval text?",
        attributes,
    ),
    table(
        "pg_type",
        "oid oid, typname name, typnamespace oid, typowner oid, typlen int2, typbyval bool, typtype char, \
         typcategory char, typispreferred bool, typisdefined bool, typdelim char, typrelid oid, typsubscript text, \
         typelem oid, typarray oid, typinput text, typoutput text, typreceive text, typsend text, typmodin text, \
         typmodout text, typanalyze text, typalign char, typstorage char, typnotnull bool, typbasetype oid, \
         typtypmod int4, typndims int4, typcollation oid, typdefaultbin text?, typdefault text?, typacl text[]?",
        types,
    ),
    table(
        "pg_database",
        "oid oid, datname name, datdba oid, encoding int4, datlocprovider char, datistemplate bool, datallowconn bool, \
         datconnlimit int4, datfrozenxid int4, datminmxid int4, dattablespace oid, datcollate text, datctype text, \
         daticulocale text?, datcollversion text?, datacl text[]?, datlastsysoid oid",
        |_| {
            vec![row! {
                "oid": DATABASE, "datname": "wattline", "datdba": OWNER, "encoding": 6, "datlocprovider": "c",
                "datallowconn": true, "datconnlimit": -1, "dattablespace": 1663, "datcollate": "C", "datctype": "C",
            }]
        },
    ),
    table(
        "pg_roles",
        "oid oid, rolname name, rolsuper bool, rolinherit bool, rolcreaterole bool, rolcreatedb bool, rolcanlogin bool, \
         rolreplication bool, rolconnlimit int4, rolpassword text?, rolvaliduntil text?, rolbypassrls bool, \
         rolconfig text[]?",
        |_| {
            vec![
                row! {"oid": OWNER, "rolname": "wattline", "rolinherit": true, "rolcanlogin": true, "rolconnlimit": -1},
            ]
        },
    ),
    table("pg_user", "usename name, usesysid oid, usecreatedb bool, usesuper bool", |_| {
        vec![row! {"usename": "wattline", "usesysid": OWNER}]
    }),
    table("pg_description", "objoid oid, classoid oid, objsubid int4, description text", |relations| {
        let commented = relations.0.iter().filter_map(|r| Some((r.oid, r.comment.as_deref()?)));
        commented
            .map(|(oid, comment)| row! {"objoid": oid, "classoid": 1259, "objsubid": 0, "description": comment})
            .collect()
    }),
    table(
        "pg_settings",
        "name text, setting text, unit text?, category text, short_desc text, context text, \
                          vartype text, source text, min_val text?, max_val text?, enumvals text[]?, boot_val text?, \
                          reset_val text?, pending_restart bool",
        |_| {
            SETTINGS
                .iter()
                .map(|(name, value)| row! {"name": *name, "setting": *value, "reset_val": *value})
                .collect()
        },
    ),
    table(
        "pg_tables",
        "schemaname name, tablename name, tableowner name, tablespace name?, hasindexes bool, \
                        hasrules bool, hastriggers bool, rowsecurity bool",
        |relations| {
            let rows = relations.0.iter();
            rows.map(|r| row! {"schemaname": r.schema, "tablename": r.name.clone(), "tableowner": "wattline"})
                .collect()
        },
    ),
    table("pg_tablespace", "oid oid, spcname name, spcowner oid, spcacl text[]?, spcoptions text[]?", |_| {
        vec![row! {"oid": 1663, "spcname": "pg_default", "spcowner": OWNER}]
    }),
    table("pg_am", "oid oid, amname name, amhandler text, amtype char", |_| {
        vec![row! {"oid": 2, "amname": "heap", "amtype": "t"}]
    }),
    table(
        "is_schemata",
        "catalog_name name, schema_name name, schema_owner name, default_character_set_catalog name?, \
                          default_character_set_schema name?, default_character_set_name name?, sql_path text?",
        |_| {
            let rows = NAMESPACES.iter().filter(|n| ![PG_CATALOG, "information_schema"].contains(&n.name));
            rows.map(|n| row! {"catalog_name": "wattline", "schema_name": n.name, "schema_owner": "wattline"})
                .collect()
        },
    ),
    table(
        "is_tables",
        "table_catalog name, table_schema name, table_name name, table_type text, \
                        self_referencing_column_name name?, reference_generation text?, \
                        user_defined_type_catalog name?, user_defined_type_schema name?, user_defined_type_name name?, \
                        is_insertable_into text, is_typed text, commit_action text?",
        |relations| {
            listed(relations)
                .map(|r| {
                    row! {
                        "table_catalog": "wattline", "table_schema": r.schema, "table_name": r.name.clone(),
                        "table_type": "BASE TABLE", "is_insertable_into": "NO", "is_typed": "NO",
                    }
                })
                .collect()
        },
    ),
    table(
        "is_columns",
        "table_catalog name, table_schema name, table_name name, column_name name, ordinal_position int4, \
                         column_default text?, is_nullable text, data_type text, character_maximum_length int4?, \
                         character_octet_length int4?, numeric_precision int4?, numeric_precision_radix int4?, \
                         numeric_scale int4?, datetime_precision int4?, interval_type text?, collation_name name?, \
                         domain_name name?, udt_catalog name, udt_schema name, udt_name name, is_self_referencing text, \
                         is_identity text, identity_generation text?, is_generated text, generation_expression text?, \
                         is_updatable text",
        columns,
    ),
    empty(
        "pg_index",
        "indexrelid oid, indrelid oid, indnatts int2, indnkeyatts int2, indisunique bool, \
                       indnullsnotdistinct bool, indisprimary bool, indisexclusion bool, indimmediate bool, \
                       indisclustered bool, indisvalid bool, indcheckxmin bool, indisready bool, indislive bool, \
                       indisreplident bool, indkey text, indcollation text, indclass text, indoption text, \
                       indexprs text?, indpred text?",
    ),
    empty("pg_indexes", "schemaname name, tablename name, indexname name, tablespace name?, indexdef text"),
    empty(
        "pg_constraint",
        "oid oid, conname name, connamespace oid, contype char, condeferrable bool, condeferred bool, \
                            convalidated bool, conrelid oid, contypid oid, conindid oid, conparentid oid, confrelid oid, \
                            confupdtype char, confdeltype char, confmatchtype char, conislocal bool, coninhcount int4, \
                            connoinherit bool, conkey int2[], confkey int2[], conpfeqop text, conbin text?, consrc text?",
    ),
    empty("pg_attrdef", "oid oid, adrelid oid, adnum int2, adbin text, adsrc text"),
    table(
        "pg_proc",
        "oid oid, proname name, pronamespace oid, proowner oid, prolang oid, procost float4, \
                      prorows float4, provariadic oid, prosupport text, prokind char, prosecdef bool, \
                      proleakproof bool, proisstrict bool, proretset bool, provolatile char, proparallel char, \
                      pronargs int2, pronargdefaults int2, prorettype oid, proargtypes text, proallargtypes text[]?, \
                      proargmodes text[]?, proargnames text[]?, proargdefaults text?, prosrc text, probin text?, \
                      proconfig text[]?, proacl text[]?",
        procedures,
    ),
    table(KEYWORDS, "word text, catcode char, catdesc text", keywords),
    empty("pg_aggregate", "aggfnoid oid, aggkind char, aggnumdirectargs int2"),
    empty(
        "pg_language",
        "oid oid, lanname name, lanowner oid, lanispl bool, lanpltrusted bool, lanacl text[]?",
    ),
    empty("pg_enum", "oid oid, enumtypid oid, enumsortorder float4, enumlabel name"),
    empty(
        "pg_range",
        "rngtypid oid, rngsubtype oid, rngmultitypid oid, rngcollation oid, rngsubopc oid, \
                       rngcanonical text, rngsubdiff text",
    ),
    empty("pg_inherits", "inhrelid oid, inhparent oid, inhseqno int4, inhdetachpending bool"),
    empty(
        "pg_partitioned_table",
        "partrelid oid, partstrat char, partnatts int2, partdefid oid, partattrs text, \
                                   partclass text, partexprs text?",
    ),
    empty(
        "pg_rewrite",
        "oid oid, rulename name, ev_class oid, ev_type char, ev_enabled char, is_instead bool, \
                         ev_qual text, ev_action text",
    ),
    empty("pg_rules", "schemaname name, tablename name, rulename name, definition text"),
    empty("pg_views", "schemaname name, viewname name, viewowner name, definition text"),
    empty(
        "pg_matviews",
        "schemaname name, matviewname name, matviewowner name, tablespace name?, hasindexes bool, \
                          ispopulated bool, definition text",
    ),
    empty(
        "pg_trigger",
        "oid oid, tgrelid oid, tgparentid oid, tgname name, tgfoid oid, tgtype int2, tgenabled char, \
                         tgisinternal bool, tgconstrrelid oid, tgconstrindid oid, tgconstraint oid, \
                         tgdeferrable bool, tginitdeferred bool, tgnargs int2, tgattr text, tgargs text, tgqual text?",
    ),
    empty(
        "pg_policy",
        "oid oid, polname name, polrelid oid, polcmd char, polpermissive bool, polroles text[], \
                        polqual text?, polwithcheck text?",
    ),
    empty(
        "pg_statistic_ext",
        "oid oid, stxrelid oid, stxname name, stxnamespace oid, stxowner oid, \
                               stxstattarget int4, stxkeys text, stxkind text[], stxexprs text?",
    ),
    empty(
        "pg_publication",
        "oid oid, pubname name, pubowner oid, puballtables bool, pubinsert bool, pubupdate bool, \
                             pubdelete bool, pubtruncate bool, pubviaroot bool",
    ),
    empty("pg_publication_rel", "oid oid, prpubid oid, prrelid oid, prqual text?, prattrs text?"),
    empty("pg_publication_namespace", "oid oid, pnpubid oid, pnnspid oid"),
    empty("pg_publication_tables", "pubname name, schemaname name, tablename name"),
    empty("pg_subscription", "oid oid, subdbid oid, subname name, subowner oid, subenabled bool"),
    empty(
        "pg_collation",
        "oid oid, collname name, collnamespace oid, collowner oid, collprovider char, \
                           collisdeterministic bool, collencoding int4, collcollate text, collctype text, \
                           colliculocale text?, collversion text?",
    ),
    empty("pg_conversion", "oid oid, conname name, connamespace oid"),
    empty(
        "pg_opclass",
        "oid oid, opcmethod oid, opcname name, opcnamespace oid, opcowner oid, opcfamily oid, \
                         opcintype oid, opcdefault bool, opckeytype oid",
    ),
    empty(
        "pg_operator",
        "oid oid, oprname name, oprnamespace oid, oprowner oid, oprkind char, oprleft oid, \
                          oprright oid, oprresult oid, oprcode text",
    ),
    empty(
        "pg_extension",
        "oid oid, extname name, extowner oid, extnamespace oid, extrelocatable bool, \
                           extversion text, extconfig text[]?, extcondition text[]?",
    ),
    empty(
        "pg_available_extensions",
        "name name, default_version text, installed_version text?, comment text?",
    ),
    empty(
        "pg_depend",
        "classid oid, objid oid, objsubid int4, refclassid oid, refobjid oid, refobjsubid int4, \
                        deptype char",
    ),
    empty(
        "pg_shdepend",
        "dbid oid, classid oid, objid oid, objsubid int4, refclassid oid, refobjid oid, deptype char",
    ),
    empty("pg_shdescription", "objoid oid, classoid oid, description text"),
    empty("pg_seclabel", "objoid oid, classoid oid, objsubid int4, provider text, label text"),
    empty(
        "pg_sequence",
        "seqrelid oid, seqtypid oid, seqstart int8, seqincrement int8, seqmax int8, seqmin int8, \
                          seqcache int8, seqcycle bool",
    ),
    empty("pg_sequences", "schemaname name, sequencename name, sequenceowner name"),
    empty("pg_foreign_table", "ftrelid oid, ftserver oid, ftoptions text[]?"),
    empty(
        "pg_foreign_server",
        "oid oid, srvname name, srvowner oid, srvfdw oid, srvtype text?, srvversion text?, \
                                srvacl text[]?, srvoptions text[]?",
    ),
    empty("pg_foreign_data_wrapper", "oid oid, fdwname name, fdwowner oid"),
    empty("pg_user_mapping", "oid oid, umuser oid, umserver oid"),
    empty("pg_event_trigger", "oid oid, evtname name, evtevent name, evtowner oid, evtenabled char"),
    empty("pg_auth_members", "roleid oid, member oid, grantor oid, admin_option bool"),
    empty("pg_db_role_setting", "setdatabase oid, setrole oid, setconfig text[]"),
    empty(
        "pg_default_acl",
        "oid oid, defaclrole oid, defaclnamespace oid, defaclobjtype char, defaclacl text[]",
    ),
    empty("pg_init_privs", "objoid oid, classoid oid, objsubid int4, privtype char, initprivs text[]"),
    empty(
        "pg_cast",
        "oid oid, castsource oid, casttarget oid, castfunc oid, castcontext char, castmethod char",
    ),
    empty("pg_locks", "locktype text, database oid, relation oid, pid int4, mode text, granted bool"),
    empty(
        "pg_stat_activity",
        "datid oid, datname name, pid int4, usesysid oid, usename name, application_name text, \
                               client_addr text?, client_port int4?, backend_start timestamptz?, \
                               query_start timestamptz?, state_change timestamptz?, wait_event_type text?, \
                               wait_event text?, state text, query text, backend_type text",
    ),
    empty(
        "pg_stat_user_tables",
        "relid oid, schemaname name, relname name, n_live_tup int8, n_dead_tup int8",
    ),
    empty("pg_timezone_names", "name text, abbrev text, utc_offset text, is_dst bool"),
    empty(
        "is_views",
        "table_catalog name, table_schema name, table_name name, view_definition text, \
                       check_option text, is_updatable text, is_insertable_into text",
    ),
    empty(
        "is_table_constraints",
        "constraint_catalog name, constraint_schema name, constraint_name name, \
                                   table_catalog name, table_schema name, table_name name, constraint_type text, \
                                   is_deferrable text, initially_deferred text, enforced text",
    ),
    empty(
        "is_key_column_usage",
        "constraint_catalog name, constraint_schema name, constraint_name name, \
                                  table_catalog name, table_schema name, table_name name, column_name name, \
                                  ordinal_position int4, position_in_unique_constraint int4",
    ),
    empty(
        "is_constraint_column_usage",
        "table_catalog name, table_schema name, table_name name, column_name name, \
                                         constraint_catalog name, constraint_schema name, constraint_name name",
    ),
    empty(
        "is_referential_constraints",
        "constraint_catalog name, constraint_schema name, constraint_name name, \
                                         unique_constraint_catalog name, unique_constraint_schema name, \
                                         unique_constraint_name name, match_option text, update_rule text, \
                                         delete_rule text",
    ),
    empty(
        "is_check_constraints",
        "constraint_catalog name, constraint_schema name, constraint_name name, \
                                   check_clause text",
    ),
    empty("is_sequences", "sequence_catalog name, sequence_schema name, sequence_name name, data_type text"),
    empty(
        "is_triggers",
        "trigger_catalog name, trigger_schema name, trigger_name name, event_object_schema name, \
                          event_object_table name",
    ),
];

/// Settings as `pg_settings` and `current_setting` show them; a session's own are the wire's to show.
pub(crate) const SETTINGS: &[(&str, &str)] = &[
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("client_encoding", "UTF8"),
    ("integer_datetimes", "on"),
    ("lc_collate", "C"),
    ("max_identifier_length", "63"),
    ("max_index_keys", "32"),
    ("search_path", "\"$user\", public"),
    ("server_encoding", "UTF8"),
    ("server_version", "15.0"),
    ("server_version_num", "150000"),
    ("jit", "off"),
    ("standard_conforming_strings", "on"),
    ("transaction_isolation", "read committed"),
];

/// Whether `name`, of `pg_catalog`, never has rows.
pub(crate) fn is_empty(name: &str) -> bool {
    TABLES.iter().any(|t| t.name == name && t.rows.is_none())
}

/// Whether there is a table called `name` here.
pub(crate) fn exists(name: &str) -> bool {
    TABLES.iter().any(|t| t.name == name)
}

/// Every table with its schema, those of `information_schema` left out.
pub(crate) fn all() -> impl Iterator<Item = (&'static str, SchemaRef)> {
    TABLES.iter().filter(|t| !t.name.starts_with(INFORMATION)).map(|t| (t.name, schema(t.columns)))
}

/// The sources of all tables.
pub(crate) fn sources(relations: &Relations) -> Vec<(&'static str, Source)> {
    let source =
        |t: &'static Table| Source { table: t, schema: schema(t.columns), relations: relations.clone() };
    TABLES.iter().map(|t| (t.name, source(t))).collect()
}

fn schema(columns: &str) -> SchemaRef {
    let fields = columns.split(',').map(|column| {
        let (name, kind) = column.trim().split_once(' ').unwrap_or((column, "text"));
        let (kind, nullable) = kind.strip_suffix('?').map_or((kind, false), |kind| (kind, true));
        field(name, kind.trim(), nullable)
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn field(name: &str, kind: &str, nullable: bool) -> Field {
    let item = |t| DataType::List(Arc::new(Field::new("item", t, true)));
    let (data_type, shown) = match kind {
        "oid" => (DataType::Int32, Some(oid::OID)),
        "name" => (DataType::Utf8, Some(oid::NAME)),
        "char" => (DataType::Utf8, Some(oid::CHAR)),
        "bool" => (DataType::Boolean, None),
        "int2" => (DataType::Int16, None),
        "int4" => (DataType::Int32, None),
        "int8" => (DataType::Int64, None),
        "float4" => (DataType::Float32, None),
        "timestamptz" => (crate::columns::instant(), None),
        "text[]" => (item(DataType::Utf8), None),
        "int2[]" => (item(DataType::Int16), None),
        _ => (DataType::Utf8, None),
    };
    let field = Field::new(name, data_type, nullable);
    match shown {
        Some(oid) => field.with_metadata([(TYPE_KEY.to_owned(), oid.to_string())].into()),
        None => field,
    }
}

/// One table, as of one version of the catalog.
pub(crate) struct Source {
    table: &'static Table,
    schema: SchemaRef,
    relations: Relations,
}

#[async_trait]
impl RowsSource for Source {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    async fn rows(&self, _: &dyn Session) -> Result<RecordBatch, Error> {
        let Some(rows) = self.table.rows else { return Ok(RecordBatch::new_empty(self.schema())) };
        let rows = rows(&self.relations);
        let arrays = self.schema.fields().iter().map(|field| array(field, &rows)).collect();
        record_batch(&self.schema, arrays, rows.len())
    }
}

fn array(field: &Field, rows: &[Row]) -> ArrayRef {
    let cells = || {
        rows.iter().map(|row| {
            row.iter().find(|(name, _)| name == field.name()).map_or(&Cell::Null, |(_, cell)| cell)
        })
    };
    let int = |cell: &Cell| match cell {
        Cell::Int(n) => Some(*n),
        _ => (!field.is_nullable()).then_some(0),
    };
    match field.data_type() {
        DataType::Boolean => Arc::new(BooleanArray::from_iter(cells().map(|cell| match cell {
            Cell::Bool(flag) => Some(*flag),
            _ => (!field.is_nullable()).then_some(false),
        }))),
        DataType::Int16 => Arc::new(Int16Array::from_iter(cells().map(|c| int(c).map(|n| n as i16)))),
        DataType::Int32 => Arc::new(Int32Array::from_iter(cells().map(|c| int(c).map(|n| n as i32)))),
        DataType::Int64 => Arc::new(Int64Array::from_iter(cells().map(int))),
        DataType::Float32 => Arc::new(Float32Array::from_iter(cells().map(|c| int(c).map(|n| n as f32)))),
        DataType::List(_) => {
            let mut lists = ListBuilder::new(StringBuilder::new());
            rows.iter().for_each(|_| lists.append_null());
            Arc::new(lists.finish())
        }
        _ => Arc::new(StringArray::from_iter(cells().map(|cell| match cell {
            Cell::Text(text) => Some(text.as_str()),
            _ => (!field.is_nullable()).then_some(""),
        }))),
    }
}

/// The words of the parser's own list.
fn keywords(_: &Relations) -> Vec<Row> {
    use datafusion::sql::sqlparser::keywords::{ALL_KEYWORDS, ALL_KEYWORDS_INDEX, RESERVED_FOR_COLUMN_ALIAS};
    let rows = ALL_KEYWORDS.iter().zip(ALL_KEYWORDS_INDEX).map(|(word, index)| {
        let (code, description) = match RESERVED_FOR_COLUMN_ALIAS.contains(index) {
            true => ("R", "reserved"),
            false => ("U", "unreserved"),
        };
        row! { "word": word.to_lowercase(), "catcode": code, "catdesc": description }
    });
    rows.collect()
}

fn procedures(_: &Relations) -> Vec<Row> {
    let rows = listed::all().map(|listed| {
        row! {
            "oid": listed.oid, "proname": listed.name, "pronamespace": namespace("public"), "proowner": OWNER,
            "procost": 1, "prokind": listed.kind, "prorettype": listed.gives_oid(), "provolatile": "i", "proparallel": "s", "prosrc": listed.name,
        }
    });
    rows.collect()
}

fn classes(relations: &Relations) -> Vec<Row> {
    let rows = relations.0.iter().map(|r| {
        row! {
            "oid": r.oid, "relname": r.name.clone(), "relnamespace": namespace(r.schema), "relowner": OWNER,
            "relam": 2, "reltuples": -1, "relpersistence": "p", "relkind": "r", "relreplident": "n",
            "relnatts": r.columns.fields().len() as i32, "relispopulated": true,
        }
    });
    rows.collect()
}

/// The columns of a table with their types.
fn fields(r: &Relation) -> impl Iterator<Item = (i32, &Field, u32)> {
    r.columns.fields().iter().zip(1..).map(|(field, i)| (i, &**field, oid_of_field(field)))
}

fn attributes(relations: &Relations) -> Vec<Row> {
    let of_relation = |r: &Relation| -> Vec<Row> {
        let columns = fields(r).map(|(i, field, type_oid)| {
            let length = by_oid(type_oid).map_or(-1, |t| t.length);
            row! {
                "attrelid": r.oid, "attname": field.name().clone(), "atttypid": type_oid, "attstattarget": -1,
                "attlen": i32::from(length), "attnum": i, "attcacheoff": -1, "atttypmod": -1,
                "attbyval": (1..=8).contains(&length), "attalign": "i", "attstorage": "p",
                "attnotnull": !field.is_nullable(), "attislocal": true,
            }
        });
        columns.collect()
    };
    relations.0.iter().flat_map(of_relation).collect()
}

fn types(_: &Relations) -> Vec<Row> {
    let plain = TYPES.iter().map(|t| {
        let kind = if t.category == 'P' { "p" } else { "b" };
        row! {
            "oid": t.oid, "typname": t.name, "typnamespace": 11, "typowner": OWNER, "typlen": i32::from(t.length),
            "typbyval": (1..=8).contains(&t.length), "typtype": kind, "typcategory": t.category.to_string(),
            "typisdefined": true, "typdelim": ",", "typarray": t.array, "typinput": format!("{}in", t.name),
            "typoutput": format!("{}out", t.name), "typreceive": format!("{}recv", t.name),
            "typsend": format!("{}send", t.name), "typalign": "i", "typstorage": "p", "typtypmod": -1,
        }
    });
    let arrays = TYPES.iter().filter(|t| t.array != 0).map(|t| {
        row! {
            "oid": t.array, "typname": format!("_{}", t.name), "typnamespace": 11, "typowner": OWNER, "typlen": -1,
            "typtype": "b", "typcategory": "A", "typisdefined": true, "typdelim": ",", "typelem": t.oid,
            "typsubscript": "array_subscript_handler", "typinput": "array_in", "typoutput": "array_out",
            "typreceive": "array_recv", "typsend": "array_send", "typalign": "i", "typstorage": "x", "typtypmod": -1,
        }
    });
    plain.chain(arrays).collect()
}

/// What `information_schema` lists: it is for people too, who ask for their own tables.
fn listed(relations: &Relations) -> impl Iterator<Item = &Relation> {
    relations.0.iter().filter(|r| r.schema != PG_CATALOG)
}

fn columns(relations: &Relations) -> Vec<Row> {
    let of_relation = |r: &Relation| -> Vec<Row> {
        let columns = fields(r).map(|(i, field, type_oid)| {
            let known = by_oid(type_oid);
            let (bits, radix) = match type_oid {
                oid::INT2 => (Some(16), Some(2)),
                oid::INT4 => (Some(32), Some(2)),
                oid::INT8 => (Some(64), Some(2)),
                oid::FLOAT4 => (Some(24), Some(2)),
                oid::FLOAT8 => (Some(53), Some(2)),
                _ => (None, None),
            };
            let whole = matches!(type_oid, oid::INT2 | oid::INT4 | oid::INT8).then_some(0);
            row! {
                "table_catalog": "wattline", "table_schema": r.schema, "table_name": r.name.clone(),
                "column_name": field.name().clone(), "ordinal_position": i,
                "is_nullable": if field.is_nullable() { "YES" } else { "NO" },
                "data_type": known.map_or("ARRAY", |t| t.sql_name), "numeric_precision": bits,
                "numeric_precision_radix": radix, "numeric_scale": whole,
                "datetime_precision": matches!(type_oid, oid::TIMESTAMP | oid::TIMESTAMPTZ | oid::TIME).then_some(6),
                "udt_catalog": "wattline", "udt_schema": PG_CATALOG, "udt_name": known.map_or("_text", |t| t.name),
                "is_self_referencing": "NO", "is_identity": "NO", "is_generated": "NEVER", "is_updatable": "NO",
            }
        });
        columns.collect()
    };
    listed(relations).flat_map(of_relation).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_name_only_columns_that_are_there() {
        let columns = Arc::new(Schema::new(vec![Field::new("time", DataType::Int64, false)]));
        let relation = Relation {
            oid: 7,
            schema: "public",
            name: "t".to_owned(),
            columns,
            comment: Some("c".to_owned()),
        };
        let relations = Relations(Arc::new(vec![relation]));
        for table in TABLES {
            let schema = schema(table.columns);
            let Some(rows) = table.rows else { continue };
            let rows = rows(&relations);
            assert!(!rows.is_empty(), "{}", table.name);
            for row in &rows {
                for (name, _) in row {
                    assert!(schema.field_with_name(name).is_ok(), "{}.{name}", table.name);
                }
            }
            let arrays = schema.fields().iter().map(|field| array(field, &rows)).collect();
            record_batch(&schema, arrays, rows.len()).unwrap();
        }
    }
}
