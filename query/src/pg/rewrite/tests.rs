//! From what clients write to what is planned.

use datafusion::sql::parser::DFParser;

use super::*;

fn rewritten(sql: &str) -> String {
    let mut statement = DFParser::parse_sql(sql).unwrap().pop_front().unwrap();
    rewrite(&mut statement, sql, Some("ann"));
    statement.to_string()
}

#[test]
fn what_is_no_system_thing_stays_as_it_is() {
    for sql in [
        "SELECT a, b::INT FROM meter WHERE x = ANY(make_array(1, 2))",
        "SELECT (SELECT a FROM meter WHERE meter.x = t.x) FROM t",
        "SELECT count(*) FROM users WHERE EXISTS (SELECT 1 FROM t)",
        "SELECT user_name FROM t",
    ] {
        assert_eq!(rewritten(sql), sql);
    }
}

#[test]
fn tables_and_functions_are_found_by_their_short_names() {
    assert_eq!(
        rewritten("SELECT c.relname FROM pg_class c WHERE pg_catalog.pg_table_is_visible(c.oid)"),
        "SELECT c.relname FROM pg_catalog.pg_class c WHERE pg_table_is_visible(c.oid)"
    );
    assert_eq!(
        rewritten("SELECT pg_class.relname FROM pg_catalog.pg_class"),
        "SELECT pg_class.relname FROM pg_catalog.pg_class"
    );
    assert_eq!(
        rewritten("SELECT columns.x FROM information_schema.columns"),
        "SELECT columns.x FROM pg_catalog.is_columns AS columns"
    );
    assert_eq!(rewritten("SELECT pg_catalog.version()"), "SELECT version() AS \"version\"");
    assert_eq!(rewritten("SELECT current_user"), "SELECT 'ann' AS \"current_user\"");
}

#[test]
fn casts_to_types_of_postgresql() {
    assert_eq!(
        rewritten("SELECT 1 FROM t WHERE a = 'public.t'::regclass AND b::pg_catalog.regclass = ''"),
        "SELECT 1 FROM t WHERE a = to_regclass('public.t') AND regclass_name(b) = ''"
    );
    assert_eq!(
        rewritten("SELECT 1 FROM t WHERE x = ANY('{a, b}'::text[]) OR y = ANY('{c}')"),
        "SELECT 1 FROM t WHERE x = ANY(ARRAY['a'::TEXT, 'b'::TEXT]) OR y = ANY(ARRAY['c'])"
    );
    assert_eq!(rewritten("SELECT 1 FROM t WHERE a::oid = 1"), "SELECT 1 FROM t WHERE a::INT = 1");
}

#[test]
fn operators_and_collations() {
    assert_eq!(
        rewritten("SELECT 1 FROM t WHERE n OPERATOR(pg_catalog.~) '^(x)$' COLLATE pg_catalog.default"),
        "SELECT 1 FROM t WHERE n ~ '^(x)$'"
    );
}

#[test]
fn subqueries_over_system_tables() {
    assert_eq!(
        rewritten("SELECT 1, (SELECT d.adsrc FROM pg_attrdef d WHERE d.adrelid = a.oid) FROM a"),
        "SELECT 1, NULL FROM a"
    );
    assert_eq!(
        rewritten("SELECT 1 FROM a WHERE NOT EXISTS (SELECT 1 FROM pg_index i JOIN pg_class c ON true)"),
        "SELECT 1 FROM a WHERE true"
    );
    assert_eq!(
        rewritten("SELECT (SELECT n.nspname FROM pg_namespace n WHERE n.oid = c.ns LIMIT 1) FROM c"),
        "SELECT (SELECT max(n.nspname) FROM pg_catalog.pg_namespace n WHERE n.oid = c.ns) FROM c"
    );
    let path =
        "SELECT 1 FROM t WHERE s = ANY (ARRAY(SELECT x FROM y WHERE current_setting('search_path') = x))";
    assert_eq!(rewritten(path), "SELECT 1 FROM t WHERE s = ANY(ARRAY['public'])");
}

#[test]
fn what_has_no_rows_is_not_planned() {
    // psql's \d asks for policies like this.
    let policies = "SELECT pol.polname, CASE WHEN pol.polroles = '{0}' THEN NULL ELSE array_to_string(array(select rolname \
                    from pg_roles where oid = any (pol.polroles)), ',') END FROM pg_catalog.pg_policy pol \
                    WHERE pol.polrelid = '1' ORDER BY pol.polname";
    assert_eq!(rewritten(policies), "SELECT NULL AS \"polname\", NULL AS \"?column?\" WHERE false");
    let keys = "SELECT attr.a, array_agg(attr.b) AS cols FROM (SELECT con.a, t.b FROM pg_attribute t JOIN (SELECT \
                unnest(conkey) AS a FROM pg_constraint) con ON true) attr GROUP BY attr.a ORDER BY attr.a";
    assert_eq!(rewritten(keys), "SELECT NULL AS \"a\", NULL AS \"cols\" WHERE false");
    // One row, of zero.
    let count = rewritten("SELECT count(*) FROM pg_index");
    assert_eq!(count, "SELECT count(*) FROM pg_catalog.pg_index");
    // A table that is joined and may be missing takes nothing away.
    let left = "SELECT c.x FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_index i ON c.oid = i.indrelid";
    assert_eq!(rewritten(left), left);
    assert_eq!(
        rewritten("SELECT '', '' FROM pg_class"),
        "SELECT '', '' AS \"?column?_1\" FROM pg_catalog.pg_class"
    );
}

#[test]
fn a_right_join_brings_rows_back() {
    let sql = "SELECT c.x FROM a JOIN pg_catalog.pg_index i ON true RIGHT JOIN pg_catalog.pg_class c ON true";
    assert_eq!(rewritten(sql), sql);
}

#[test]
fn escapes_of_like_are_backslashes() {
    assert_eq!(
        rewritten("SELECT 1 FROM pg_catalog.pg_class c WHERE c.relname NOT LIKE 'pg/_%' ESCAPE '/'"),
        "SELECT 1 FROM pg_catalog.pg_class c WHERE c.relname NOT LIKE \
         replace(replace('pg/_%', '\\', '\\\\'), '/', '\\')"
    );
}
