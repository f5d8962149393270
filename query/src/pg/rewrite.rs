//! What PostgreSQL's clients write and our planner does not take, said in words it takes.
//!
//! Owns: the rewriting of a statement's syntax tree. Does not own: tables (`tables`), functions (`functions`).
//!
//! The rules, in the order of this file:
//! * tables: `pg_class` is `pg_catalog.pg_class`; those of `information_schema` that we have go to ours;
//! * functions lose `pg_catalog.`; `current_user` and its like are values;
//! * casts to PostgreSQL's own types: `'t'::regclass` is the table's number, `oid::regclass` its name, `'{a,b}'::text[]`
//!   an array;
//! * operators: `OPERATOR(pg_catalog.~)`, `COLLATE`, `= ANY (ARRAY(SELECT …))`;
//! * asyncpg's question about types is asked plainly;
//! * subqueries over tables that are always empty are what they come to; others over system tables that must give one
//!   value say so with `max`, which is what our planner wants to see.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    self, AccessExpr, ArrayElemTypeDef, BinaryOperator, CastKind, DataType, Expr, FunctionArg,
    FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, ObjectName, ObjectNamePart, Query,
    SelectItem, SetExpr, TableAlias, TableFactor, Value, VisitMut, VisitorMut,
};

use super::relations::PG_CATALOG;
use super::tables::{INFORMATION, KEYWORDS, exists, is_empty};

/// The one who asks where nobody signed in.
const NOBODY: &str = "wattline";

/// Words without one of which no rule applies: most statements need no walk.
const SIGNS: [&str; 11] = [
    "::",
    "pg_",
    "information_schema",
    "collate",
    "operator",
    "any",
    "all",
    "current_",
    "user",
    "array",
    "cast",
];

/// Rewrites `statement`, whose text is `text`; `user` is who asks.
pub(crate) fn rewrite(statement: &mut Statement, text: &str, user: Option<&str>) {
    let lower = text.to_ascii_lowercase();
    if !SIGNS.iter().any(|sign| lower.contains(sign)) {
        return;
    }
    let mut statement = statement;
    while let Statement::Explain(explain) = statement {
        statement = &mut explain.statement;
    }
    if let Statement::Statement(sql) = statement {
        if asks_for_a_tree_of_types(sql)
            && let Some(plain) = parsed(TYPES_ASKED)
        {
            **sql = plain;
        }
        let _ = sql.visit(&mut Rewriter { user: user.unwrap_or(NOBODY) });
    }
}

/// What asyncpg asks about types that it has no codec for, arrays above all: it walks from each to its parts by a
/// recursive query over tables of ranges, composites and domains. There are none here, and the parts of arrays it knows.
const TYPES_ASKED: &str = "SELECT t.oid, 'pg_catalog' AS ns, t.typname AS name, t.typtype AS kind, \
    CAST(NULL AS int) AS basetype, t.typelem AS elemtype, ',' AS elemdelim, CAST(NULL AS int) AS range_subtype, \
    CAST(NULL AS text) AS attrtypoids, CAST(NULL AS text) AS attrnames, 0 AS depth, CAST(NULL AS text) AS basetype_name, \
    format_type(t.typelem, NULL) AS elemtype_name, CAST(NULL AS text) AS range_subtype_name \
    FROM pg_catalog.pg_type t WHERE t.oid = ANY($1)";

fn asks_for_a_tree_of_types(statement: &ast::Statement) -> bool {
    let ast::Statement::Query(query) = statement else { return false };
    let tables = query.with.iter().flat_map(|with| &with.cte_tables);
    tables.into_iter().any(|table| table.alias.name.value == "typeinfo_tree")
}

fn parsed(text: &str) -> Option<ast::Statement> {
    use datafusion::sql::sqlparser::{dialect::PostgreSqlDialect, parser::Parser};
    Parser::parse_sql(&PostgreSqlDialect {}, text).ok()?.pop()
}

struct Rewriter<'a> {
    user: &'a str,
}

impl VisitorMut for Rewriter<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        void_query(query);
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut ast::Select) -> ControlFlow<()> {
        void_select(select);
        let mut seen = Vec::new();
        for (i, item) in select.projection.iter_mut().enumerate() {
            let SelectItem::UnnamedExpr(expr) = item else { continue };
            // A value in place of a call would take the call's name with it.
            let mut name = name_of(expr);
            // Columns of one name are fine with PostgreSQL, and not with our planner.
            if name.is_none() && matches!(expr, Expr::Value(_)) {
                let shown = expr.to_string();
                if seen.contains(&shown) {
                    name = Some(format!("?column?_{i}"));
                }
                seen.push(shown);
            }
            if let Some(mut name) = name {
                if seen.contains(&name) {
                    name = format!("{name}_{i}");
                }
                seen.push(name.clone());
                let expr = std::mem::replace(expr, null());
                *item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', name) };
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, args, .. } = factor
            && args.is_some()
            && name.0.len() == 2
            && name.0[0].to_string().eq_ignore_ascii_case(PG_CATALOG)
        {
            // A function as a table is called by its name alone; the one that is a table here is read as such.
            name.0.remove(0);
            if name.to_string().eq_ignore_ascii_case(KEYWORDS) {
                *args = None;
            }
        }
        if let TableFactor::Table { name, alias, args: None, .. } = factor
            && let Some((table, shown)) = system_table(name)
        {
            // Under another name it is called as before.
            if alias.is_none() && table != shown {
                let name = Ident::new(shown);
                *alias = Some(TableAlias { explicit: true, name, columns: Vec::new(), at: None });
            }
            *name = ObjectName::from(vec![Ident::new(PG_CATALOG), Ident::new(table)]);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        subquery(expr);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let taken = std::mem::replace(expr, null());
        *expr = match taken {
            Expr::Function(function) => self.function(function),
            Expr::Cast { kind, expr, data_type, array, format } => {
                cast(kind, *expr, data_type, array, format)
            }
            Expr::Collate { expr, .. } => *expr,
            Expr::Like { negated, any, expr, pattern, escape_char: Some(escape) } => Expr::Like {
                negated,
                any,
                expr,
                pattern: Box::new(escaped(*pattern, &escape)),
                escape_char: None,
            },
            Expr::BinaryOp { left, op, right } => Expr::BinaryOp { left, op: operator(op), right },
            Expr::AnyOp { left, compare_op, right, is_some } => {
                let right = Box::new(array_of_text(*right));
                Expr::AnyOp { left, compare_op: operator(compare_op), right, is_some }
            }
            Expr::AllOp { left, compare_op, right } => {
                let right = Box::new(array_of_text(*right));
                Expr::AllOp { left, compare_op: operator(compare_op), right }
            }
            // Fields of records come from functions over indexes only, of which there are none.
            Expr::CompoundFieldAccess { root, access_chain }
                if matches!((&*root, &access_chain[..]), (Expr::Nested(_), [AccessExpr::Dot(_)])) =>
            {
                null()
            }
            Expr::Identifier(name) if name.quote_style.is_none() && is_user(&name.value) => text(self.user),
            other => other,
        };
        ControlFlow::Continue(())
    }
}

impl Rewriter<'_> {
    fn function(&self, mut function: ast::Function) -> Expr {
        let parts: Vec<String> = function.name.0.iter().map(|part| part.to_string()).collect();
        if let [schema, _] = &parts[..]
            && ["pg_catalog", "information_schema"]
                .contains(&schema.trim_matches('"').to_lowercase().as_str())
        {
            function.name.0.remove(0);
        }
        let name = parts.last().map(|name| name.trim_matches('"').to_lowercase()).unwrap_or_default();
        match name.as_str() {
            name if is_user(name) => text(self.user),
            "current_catalog" => text("wattline"),
            "pg_backend_pid"
            | "inet_server_port"
            | "pg_relation_size"
            | "pg_total_relation_size"
            | "pg_table_size"
            | "pg_indexes_size"
            | "pg_database_size"
            | "inet_server_addr"
            | "inet_client_addr"
            | "txid_current"
            | "_pg_expandarray"
            | "pg_advisory_unlock_all"
            | "pg_stat_get_numscans" => null(),
            // Of an array that is NULL here because it would be empty: the planner wants to see a list.
            "array_to_string" if first_is_null(&function) => null(),
            "current_schema" => text("public"),
            "clock_timestamp"
            | "statement_timestamp"
            | "transaction_timestamp"
            | "pg_postmaster_start_time"
            | "pg_conf_load_time" => call("now", Vec::new()),
            _ => Expr::Function(function),
        }
    }
}

fn first_is_null(function: &ast::Function) -> bool {
    let FunctionArguments::List(list) = &function.args else { return false };
    match list.args.first() {
        Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value)))) => value.value == Value::Null,
        _ => false,
    }
}

fn is_user(name: &str) -> bool {
    ["current_user", "session_user", "current_role"].iter().any(|known| name.eq_ignore_ascii_case(known))
}

fn null() -> Expr {
    Expr::value(Value::Null)
}

fn boolean(flag: bool) -> Expr {
    Expr::value(Value::Boolean(flag))
}

fn text(text: &str) -> Expr {
    Expr::value(Value::SingleQuotedString(text.to_owned()))
}

/// A pattern with the escape character our planner knows, the backslash.
fn escaped(pattern: Expr, escape: &ast::ValueWithSpan) -> Expr {
    match &escape.value {
        Value::SingleQuotedString(escape) if escape != "\\" && !escape.is_empty() => {
            let doubled = call("replace", vec![pattern, text("\\"), text("\\\\")]);
            call("replace", vec![doubled, text(escape), text("\\")])
        }
        _ => pattern,
    }
}

/// The text of a literal.
fn literal(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => Some(text),
            _ => None,
        },
        Expr::Nested(inner) => literal(inner),
        _ => None,
    }
}

fn call(name: &str, args: Vec<Expr>) -> Expr {
    let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    Expr::Function(ast::Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// The name PostgreSQL gives a column of `expr`, where a rule here would make another of it.
fn name_of(expr: &Expr) -> Option<String> {
    let last =
        |name: &ObjectName| name.0.last().map(|part| part.to_string().trim_matches('"').to_lowercase());
    match expr {
        Expr::Function(function) => {
            let name = last(&function.name)?;
            let ours = function.name.0.len() > 1 || name.starts_with("current_") || name.starts_with("pg_");
            (ours || matches!(name.as_str(), "version" | "session_user" | "format_type" | "to_regclass"))
                .then_some(name)
        }
        Expr::Identifier(name) if name.quote_style.is_none() && is_user(&name.value) => {
            Some(name.value.to_lowercase())
        }
        Expr::Cast { expr, data_type, .. } => match (&**expr, target(data_type)) {
            (_, None) => None,
            (Expr::Identifier(name), _) => Some(name.value.clone()),
            (Expr::CompoundIdentifier(names), _) => names.last().map(|name| name.value.clone()),
            (inner, Some(_)) => name_of(inner).or_else(|| Some(data_type.to_string().to_lowercase())),
        },
        _ => None,
    }
}

/// Our table for a name, and what it is called in the statement.
fn system_table(name: &ObjectName) -> Option<(String, String)> {
    let part = |i: usize| match name.0.get(i) {
        Some(ObjectNamePart::Identifier(ident)) => Some(ident.value.to_lowercase()),
        _ => None,
    };
    match name.0.len() {
        1 => part(0).filter(|table| table.starts_with("pg_") && exists(table)).map(|t| (t.clone(), t)),
        2 => match (part(0)?.as_str(), part(1)?) {
            (PG_CATALOG, table) if exists(&table) => Some((table.clone(), table)),
            ("information_schema", table) => {
                let ours = format!("{INFORMATION}{table}");
                exists(&ours).then_some((ours, table))
            }
            _ => None,
        },
        _ => None,
    }
}

/// What a cast to one of PostgreSQL's types is.
#[derive(Clone, PartialEq)]
enum Target {
    RegClass,
    RegType,
    RegNamespace,
    /// One of our own types.
    Type(DataType),
    Array(DataType),
}

fn target(data_type: &DataType) -> Option<Target> {
    let name = match data_type {
        DataType::Regclass => return Some(Target::RegClass),
        DataType::Array(ArrayElemTypeDef::SquareBracket(element, _)) => {
            let element = match target(element) {
                Some(Target::Type(element)) => element,
                Some(_) => DataType::Int(None),
                None => (**element).clone(),
            };
            return Some(Target::Array(element));
        }
        DataType::JSON | DataType::JSONB | DataType::Uuid => return Some(Target::Type(DataType::Text)),
        DataType::Custom(name, _) => name.0.last()?.to_string().trim_matches('"').to_lowercase(),
        _ => return None,
    };
    Some(match name.as_str() {
        "regclass" => Target::RegClass,
        "regtype" => Target::RegType,
        "regnamespace" => Target::RegNamespace,
        "oid" | "xid" | "cid" | "int4" => Target::Type(DataType::Int(None)),
        "int2" => Target::Type(DataType::SmallInt(None)),
        "int8" | "xid8" => Target::Type(DataType::BigInt(None)),
        "float4" => Target::Type(DataType::Real),
        "float8" => Target::Type(DataType::Double(ast::ExactNumberInfo::None)),
        "bool" => Target::Type(DataType::Boolean),
        "timestamptz" => Target::Type(DataType::Timestamp(None, ast::TimezoneInfo::Tz)),
        "name" | "char" | "text" | "bpchar" | "varchar" | "unknown" | "regproc" | "regprocedure"
        | "regrole" | "regoper" | "regoperator" | "sql_identifier" | "character_data" | "cardinal_number"
        | "yes_or_no" | "aclitem" | "inet" | "cidr" | "pg_node_tree" | "json" | "jsonb" => {
            Target::Type(DataType::Text)
        }
        _ => return None,
    })
}

fn cast(
    kind: CastKind,
    expr: Expr,
    data_type: DataType,
    array: bool,
    format: Option<ast::CastFormat>,
) -> Expr {
    match target(&data_type) {
        None => Expr::Cast { kind, expr: Box::new(expr), data_type, array, format },
        Some(Target::Type(data_type)) => cast_to(kind, expr, data_type),
        Some(Target::RegClass) => match expr {
            // A column holds numbers, and is cast to see names; whatever is computed is a name.
            column @ (Expr::Identifier(_) | Expr::CompoundIdentifier(_)) => {
                call("regclass_name", vec![column])
            }
            name => call("to_regclass", vec![name]),
        },
        Some(Target::RegType) => match expr {
            column @ (Expr::Identifier(_) | Expr::CompoundIdentifier(_)) => {
                call("format_type", vec![column, null()])
            }
            name => call("to_regtype", vec![name]),
        },
        Some(Target::RegNamespace) => match expr {
            column @ (Expr::Identifier(_) | Expr::CompoundIdentifier(_)) => {
                call("regnamespace_name", vec![column])
            }
            name => call("to_regnamespace", vec![name]),
        },
        Some(Target::Array(element)) => match array_of_text(expr) {
            Expr::Array(mut list) => {
                let items = list.elem.into_iter();
                list.elem = items.map(|item| cast_to(kind.clone(), item, element.clone())).collect();
                Expr::Array(list)
            }
            other => {
                let data_type = DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(element), None));
                cast_to(kind, other, data_type)
            }
        },
    }
}

fn cast_to(kind: CastKind, expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast { kind, expr: Box::new(expr), data_type, array: false, format: None }
}

/// `'{a,b}'`: the array it means. What is quoted or nested inside is left to fail by name.
fn array_of_text(expr: Expr) -> Expr {
    let items = match literal(&expr).map(str::trim) {
        Some(text) => match text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
            Some(items) if !items.contains(['"', '{', '\\']) => items,
            _ => return expr,
        },
        None => return expr,
    };
    let items = items.split(',').map(str::trim).filter(|item| !item.is_empty()).map(text);
    Expr::Array(ast::Array { elem: items.collect(), named: true })
}

fn operator(op: BinaryOperator) -> BinaryOperator {
    let BinaryOperator::PGCustomBinaryOperator(parts) = &op else { return op };
    match parts.last().map(String::as_str) {
        Some("~") => BinaryOperator::PGRegexMatch,
        Some("~*") => BinaryOperator::PGRegexIMatch,
        Some("!~") => BinaryOperator::PGRegexNotMatch,
        Some("!~*") => BinaryOperator::PGRegexNotIMatch,
        Some("~~") => BinaryOperator::PGLikeMatch,
        Some("~~*") => BinaryOperator::PGILikeMatch,
        Some("!~~") => BinaryOperator::PGNotLikeMatch,
        Some("=") => BinaryOperator::Eq,
        Some("<>") => BinaryOperator::NotEq,
        Some("<") => BinaryOperator::Lt,
        Some("<=") => BinaryOperator::LtEq,
        Some(">") => BinaryOperator::Gt,
        Some(">=") => BinaryOperator::GtEq,
        Some("+") => BinaryOperator::Plus,
        Some("-") => BinaryOperator::Minus,
        Some("||") => BinaryOperator::StringConcat,
        _ => op,
    }
}

/// Before what is in it is visited: a subquery that need not be planned.
fn subquery(expr: &mut Expr) {
    let replaced = match expr {
        Expr::Subquery(query) if is_void(query) => null(),
        Expr::Exists { subquery, negated } if is_void(subquery) => boolean(*negated),
        Expr::InSubquery { subquery, negated, .. } if is_void(subquery) => boolean(*negated),
        Expr::InSubquery { expr, subquery, negated } if is_search_path(subquery) => Expr::InList {
            expr: std::mem::replace(expr, Box::new(null())),
            list: vec![text("public")],
            negated: *negated,
        },
        Expr::Subquery(query) => return one_value(query),
        Expr::Function(function) => match array_subquery(function) {
            Some(query) if is_search_path(query) => {
                Expr::Array(ast::Array { elem: vec![text("public")], named: true })
            }
            // NULL rather than no items: what is done with either in a client is the same.
            // Options of storage and rights on columns, in which psql looks: there are none.
            Some(query) if is_void(query) || is_of_no_use(query) => null(),
            _ => return,
        },
        Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => {
            let mut inner = &**right;
            while let Expr::Nested(nested) = inner {
                inner = nested;
            }
            let query = match inner {
                Expr::Subquery(query) => query.clone(),
                Expr::Function(function) => match array_subquery(function) {
                    Some(query) if !is_search_path(query) => Box::new(query.clone()),
                    _ => return,
                },
                _ => return,
            };
            let left = std::mem::replace(left, Box::new(null()));
            Expr::InSubquery { expr: left, subquery: query, negated: false }
        }
        _ => return,
    };
    *expr = replaced;
}

/// The query of `ARRAY(SELECT …)`.
fn array_subquery(function: &ast::Function) -> Option<&Query> {
    let is_array = function.name.0.len() == 1 && function.name.to_string().eq_ignore_ascii_case("array");
    match &function.args {
        FunctionArguments::Subquery(query) if is_array => Some(&**query),
        _ => None,
    }
}

/// Whether a query is about what no table here has.
fn is_of_no_use(query: &Query) -> bool {
    let query = query.to_string();
    query.contains("reloptions") || query.contains("attacl IS NOT NULL")
}

/// How clients ask which schemas the search path has: it has one.
fn is_search_path(query: &Query) -> bool {
    query.to_string().to_lowercase().contains("current_setting('search_path')")
}

fn select_of(query: &Query) -> Option<&ast::Select> {
    match &*query.body {
        SetExpr::Select(select) => Some(select),
        _ => None,
    }
}

/// Whether a query has no rows, or one of NULL, because a table that is always empty is joined into it.
fn is_void(query: &Query) -> bool {
    let Some(select) = select_of(query) else { return false };
    let counts = select.projection.iter().any(|item| item.to_string().to_lowercase().contains("count("));
    !counts && is_void_from(select)
}

fn is_void_from(select: &ast::Select) -> bool {
    select.from.iter().any(is_void_join)
}

/// Names of aggregates: without GROUP BY they give a row where there was none.
const AGGREGATES: [&str; 11] = [
    "count(",
    "sum(",
    "avg(",
    "max(",
    "min(",
    "array_agg(",
    "string_agg(",
    "json_agg(",
    "json_object_agg(",
    "bool_and(",
    "bool_or(",
];

/// A query that has no rows for sure loses what only a planner would stumble over: its order and what it names by WITH.
fn void_query(query: &mut Query) {
    let void = select_of(query).is_some_and(|select| void_names(select).is_some());
    if void {
        query.with = None;
        query.order_by = None;
        query.limit_clause = None;
    }
}

/// The names of the columns of a SELECT that has no rows for sure, where all are known.
fn void_names(select: &ast::Select) -> Option<Vec<String>> {
    let grouped = select.group_by != ast::GroupByExpr::Expressions(Vec::new(), Vec::new());
    let aggregates = || {
        select.projection.iter().any(|item| {
            // Those of a subquery are its own.
            let item = item.to_string().to_lowercase();
            let item = item.split("(select ").next().unwrap_or_default();
            AGGREGATES.iter().any(|name| item.contains(name))
        })
    };
    if !is_void_from(select) || (!grouped && aggregates()) {
        return None;
    }
    let mut names: Vec<String> = Vec::new();
    for (i, item) in select.projection.iter().enumerate() {
        let name = match item {
            SelectItem::ExprWithAlias { alias, .. } => alias.value.clone(),
            SelectItem::UnnamedExpr(Expr::Identifier(name)) => name.value.clone(),
            SelectItem::UnnamedExpr(Expr::CompoundIdentifier(path)) => path.last()?.value.clone(),
            SelectItem::UnnamedExpr(expr) => name_of(expr).unwrap_or_else(|| "?column?".to_owned()),
            _ => return None,
        };
        names.push(if names.contains(&name) { format!("{name}_{i}") } else { name });
    }
    Some(names)
}

/// `SELECT NULL AS a, … WHERE false` in place of a SELECT that has no rows for sure.
fn void_select(select: &mut ast::Select) {
    let Some(names) = void_names(select) else { return };
    let column = |name| SelectItem::ExprWithAlias { expr: null(), alias: Ident::with_quote('"', name) };
    select.projection = names.into_iter().map(column).collect();
    select.distinct = None;
    select.from = Vec::new();
    select.group_by = ast::GroupByExpr::Expressions(Vec::new(), Vec::new());
    select.having = None;
    select.selection = Some(boolean(false));
}

fn is_void_join(table: &ast::TableWithJoins) -> bool {
    use ast::JoinOperator::{CrossJoin, Inner, Join, Left, LeftOuter};
    let keeps_left = |op: &ast::JoinOperator| matches!(op, Left(_) | LeftOuter(_));
    let drops = |op: &ast::JoinOperator| matches!(op, Inner(_) | Join(_) | CrossJoin(_));
    // A right or full join further on could bring rows back.
    let never_more = table.joins.iter().all(|j| drops(&j.join_operator) || keeps_left(&j.join_operator));
    let void_joined =
        || table.joins.iter().any(|join| drops(&join.join_operator) && is_void_table(&join.relation));
    never_more && (is_void_table(&table.relation) || void_joined())
}

fn is_void_table(factor: &TableFactor) -> bool {
    match factor {
        TableFactor::Table { name, args: None, .. } => {
            system_table(name).is_some_and(|(table, _)| is_empty(&table))
        }
        TableFactor::Derived { subquery, .. } => is_void(subquery),
        TableFactor::NestedJoin { table_with_joins, .. } => is_void_join(table_with_joins),
        _ => false,
    }
}

/// `(SELECT x FROM pg_… WHERE …)` as a value: of several our planner would not know which, so it is the largest, of one.
fn one_value(query: &mut Query) {
    let SetExpr::Select(select) = &mut *query.body else { return };
    let system = |factor: &TableFactor| matches!(factor, TableFactor::Table { name, args: None, .. } if system_table(name).is_some());
    let plain = select.group_by == ast::GroupByExpr::Expressions(Vec::new(), Vec::new())
        && !select.from.is_empty()
        && select.from.iter().all(|t| system(&t.relation) && t.joins.iter().all(|j| system(&j.relation)));
    if !plain || select.projection.len() != 1 {
        return;
    }
    match &mut select.projection[0] {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
            let shown = expr.to_string().to_lowercase();
            if AGGREGATES.iter().any(|name| shown.contains(name)) {
                return;
            }
            let value = std::mem::replace(expr, null());
            *expr = call("max", vec![value]);
            query.order_by = None;
            query.limit_clause = None;
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
