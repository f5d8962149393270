import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Timestamp;
import java.sql.Types;
import java.time.OffsetDateTime;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Properties;
import java.util.TreeMap;

/** What DBeaver and Metabase do with pgjdbc. Usage: PgJdbc HOST PORT. */
public class PgJdbc {
    static void same(Object found, Object expected) {
        if (!Objects.equals(found, expected)) {
            throw new AssertionError("found " + found + ", expected " + expected);
        }
    }

    static List<String> column(ResultSet rows, String name) throws SQLException {
        List<String> all = new ArrayList<>();
        while (rows.next()) {
            all.add(rows.getString(name));
        }
        rows.close();
        return all;
    }

    static void metadata(Connection connection) throws SQLException {
        DatabaseMetaData data = connection.getMetaData();
        same(data.getDatabaseProductName(), "PostgreSQL");
        same(data.getDatabaseMajorVersion() >= 12, true);
        same(column(data.getCatalogs(), "TABLE_CAT"), List.of("wattline"));
        List<String> schemas = column(data.getSchemas(), "TABLE_SCHEM");
        same(schemas.containsAll(List.of("public", "latest", "system")), true);
        same(column(data.getTableTypes(), "TABLE_TYPE").contains("TABLE"), true);
        List<String> tables = column(data.getTables(null, "public", "%", new String[] {"TABLE", "VIEW"}), "TABLE_NAME");
        same(tables.contains("turbine") && tables.contains("assets"), true);
        same(column(data.getTables("wattline", "latest", "turb%", null), "TABLE_NAME"), List.of("turbine"));

        Map<String, List<Object>> columns = new TreeMap<>();
        ResultSet rows = data.getColumns(null, "public", "turbine", "%");
        while (rows.next()) {
            columns.put(rows.getString("COLUMN_NAME"), List.of(rows.getInt("DATA_TYPE"), rows.getString("TYPE_NAME"),
                    rows.getInt("ORDINAL_POSITION"), rows.getString("IS_NULLABLE")));
        }
        same(columns.size(), 8);
        same(columns.get("asset_id"), List.of(Types.VARCHAR, "text", 1, "NO"));
        same(columns.get("time"), List.of(Types.TIMESTAMP, "timestamptz", 2, "NO"));
        same(columns.get("p0"), List.of(Types.DOUBLE, "float8", 6, "YES"));
        same(columns.get("n"), List.of(Types.BIGINT, "int8", 3, "YES"));
        same(columns.get("on"), List.of(Types.BIT, "bool", 5, "YES"));
        same(columns.get("state"), List.of(Types.INTEGER, "int4", 8, "YES"));

        same(column(data.getPrimaryKeys(null, "public", "turbine"), "COLUMN_NAME"), List.of());
        same(column(data.getIndexInfo(null, "public", "turbine", false, true), "INDEX_NAME"), List.of());
        same(column(data.getImportedKeys(null, "public", "turbine"), "FK_NAME"), List.of());
        same(column(data.getExportedKeys(null, "public", "turbine"), "FK_NAME"), List.of());
        List<String> types = column(data.getTypeInfo(), "TYPE_NAME");
        same(types.containsAll(List.of("float8", "timestamptz", "text", "int8", "bool")), true);
        column(data.getFunctions(null, "pg_catalog", "%"), "FUNCTION_NAME");
        column(data.getProcedures(null, null, "%"), "PROCEDURE_NAME");
        column(data.getTablePrivileges(null, "public", "turbine"), "PRIVILEGE");
        column(data.getUDTs(null, null, "%", null), "TYPE_NAME");
        column(data.getClientInfoProperties(), "NAME");
        column(data.getBestRowIdentifier(null, "public", "turbine", DatabaseMetaData.bestRowSession, true), "COLUMN_NAME");
        same(data.getSQLKeywords() != null, true);
        same(data.getMaxColumnNameLength() > 0, true);
    }

    /** The sixth run of a statement is prepared on the server, and its values come in binary. */
    static void prepared(Connection connection) throws SQLException {
        String sql = "SELECT count(*), max(\"time\") FROM turbine WHERE p0 < ? AND \"time\" >= ? AND \"on\" = ?";
        OffsetDateTime from = OffsetDateTime.parse("2024-01-01T00:00:00Z");
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            same(statement.getParameterMetaData().getParameterCount(), 3);
            for (int i = 0; i < 12; i++) {
                statement.setDouble(1, i);
                statement.setObject(2, from);
                statement.setBoolean(3, true);
                try (ResultSet rows = statement.executeQuery()) {
                    rows.next();
                    // Two turbines with rows at even minutes up to 8, of minute + 0.5.
                    same(rows.getInt(1), 2 * Math.min((i + 1) / 2, 5));
                    same(rows.getTimestamp(2) == null, i == 0);
                }
            }
        }
        try (PreparedStatement statement =
                connection.prepareStatement("SELECT count(*) FROM turbine WHERE state = ANY(?) AND note = ANY(?)")) {
            for (int i = 0; i < 7; i++) {
                statement.setArray(1, connection.createArrayOf("int4", new Integer[] {-5, -4, 77}));
                statement.setArray(2, connection.createArrayOf("text", new String[] {"m0\t\"", "m1\t\"", "none"}));
                try (ResultSet rows = statement.executeQuery()) {
                    rows.next();
                    same(rows.getInt(1), 4);
                }
            }
        }
        try (PreparedStatement statement = connection.prepareStatement(
                "SELECT ?::double precision * 2, CAST(? AS timestamptz), ?::text, coalesce(?::int, 7)")) {
            for (int i = 0; i < 7; i++) {
                statement.setDouble(1, 1.25);
                statement.setTimestamp(2, Timestamp.from(from.toInstant()));
                statement.setString(3, "x");
                statement.setNull(4, Types.INTEGER);
                try (ResultSet rows = statement.executeQuery()) {
                    rows.next();
                    same(rows.getDouble(1), 2.5);
                    same(rows.getTimestamp(2).toInstant(), from.toInstant());
                    same(rows.getString(3), "x");
                    same(rows.getInt(4), 7);
                }
            }
        }
    }

    /** A fetch size within a transaction is a portal that is asked for so many rows at a time. */
    static void portals(Connection connection) throws SQLException {
        connection.setAutoCommit(false);
        try (Statement statement = connection.createStatement()) {
            statement.setFetchSize(100);
            ResultSet rows = statement.executeQuery("SELECT value FROM generate_series(1, 1005) AS t(value)");
            long n = 0;
            while (rows.next()) {
                same(rows.getLong(1), ++n);
            }
            same(n, 1005L);
        }
        connection.commit();
        connection.setAutoCommit(true);
    }

    static void cancels(Connection connection) throws Exception {
        String endless = "SELECT count(*) FROM generate_series(1, 3000000) a, generate_series(1, 3000000) b";
        try (Statement statement = connection.createStatement()) {
            Thread canceller = new Thread(() -> {
                try {
                    Thread.sleep(700);
                    statement.cancel();
                } catch (InterruptedException | SQLException e) {
                    throw new IllegalStateException(e);
                }
            });
            canceller.start();
            try {
                statement.executeQuery(endless);
                throw new AssertionError("an endless statement ended");
            } catch (SQLException e) {
                same(e.getSQLState(), "57014");
            }
            canceller.join();
            statement.setQueryTimeout(1);
            try {
                statement.executeQuery(endless);
                throw new AssertionError("an endless statement ended");
            } catch (SQLException e) {
                same(e.getSQLState(), "57014");
            }
        }
        same(connection.isValid(5), true);
    }

    static void copies(Connection connection, String asset) throws Exception {
        org.postgresql.copy.CopyManager copies = connection.unwrap(org.postgresql.PGConnection.class).getCopyAPI();
        String data = asset + ",2024-02-01T00:00:00Z,1.5\n" + asset + ",2024-02-01T00:01:00Z,\n";
        long rows = copies.copyIn("COPY turbine (asset_id, time, p0) FROM STDIN (FORMAT csv)", new java.io.StringReader(data));
        // The second row has no value at all, so it is no sample.
        same(rows, 1L);
        try (Statement statement = connection.createStatement();
                ResultSet found = statement.executeQuery("SELECT p0 FROM turbine WHERE \"time\" = '2024-02-01T00:00:00Z'")) {
            found.next();
            same(found.getDouble(1), 1.5);
        }
    }

    /** What Metabase asks when it looks at a database, besides the metadata above. */
    static void metabase(Connection connection) throws SQLException {
        String[] asked = {
            "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'",
            "with table_privileges as (select NULL as role, t.schemaname as schema, t.objectname as table,"
                + " pg_catalog.has_any_column_privilege(current_user, '\"' || replace(t.schemaname, '\"', '\"\"') || '\"'"
                + " || '.' || '\"' || replace(t.objectname, '\"', '\"\"') || '\"', 'update') as update,"
                + " pg_catalog.has_any_column_privilege(current_user, '\"' || replace(t.schemaname, '\"', '\"\"') || '\"'"
                + " || '.' || '\"' || replace(t.objectname, '\"', '\"\"') || '\"', 'select') as select,"
                + " pg_catalog.has_table_privilege(current_user, '\"' || replace(t.schemaname, '\"', '\"\"') || '\"'"
                + " || '.' || '\"' || replace(t.objectname, '\"', '\"\"') || '\"', 'delete') as delete"
                + " from (select schemaname, tablename as objectname from pg_catalog.pg_tables"
                + " union select schemaname, viewname as objectname from pg_catalog.pg_views"
                + " union select schemaname, matviewname as objectname from pg_catalog.pg_matviews) t"
                + " where t.schemaname !~ '^pg_' and t.schemaname <> 'information_schema'"
                + " and pg_catalog.has_schema_privilege(current_user, t.schemaname, 'usage'))"
                + " select t.* from table_privileges t",
            "SELECT n.nspname AS schema, c.relname AS name, CASE c.relkind WHEN 'r' THEN 'TABLE' WHEN 'p' THEN"
                + " 'PARTITIONED TABLE' WHEN 'v' THEN 'VIEW' WHEN 'f' THEN 'FOREIGN TABLE' WHEN 'm' THEN"
                + " 'MATERIALIZED VIEW' ELSE NULL END AS type, d.description AS description, stat.n_live_tup AS"
                + " estimated_row_count FROM pg_catalog.pg_class AS c INNER JOIN pg_catalog.pg_namespace AS n ON"
                + " c.relnamespace = n.oid LEFT JOIN pg_catalog.pg_description AS d ON (c.oid = d.objoid) AND"
                + " (d.objsubid = 0) AND (d.classoid = 'pg_class'::regclass) LEFT JOIN pg_stat_user_tables AS stat ON"
                + " (n.nspname = stat.schemaname) AND (c.relname = stat.relname) WHERE (c.relnamespace = n.oid) AND"
                + " (n.nspname !~ '^pg_') AND (n.nspname <> 'information_schema') AND c.relkind in ('r', 'p', 'v', 'f', 'm')"
                + " AND (n.nspname IN ('public')) ORDER BY type ASC, schema ASC, name ASC",
            "SELECT c.column_name AS name, c.udt_name AS \"database-type\", c.ordinal_position - 1 AS \"database-position\","
                + " c.table_schema AS \"table-schema\", c.table_name AS \"table-name\", pk.column_name IS NOT NULL AS \"pk?\","
                + " COL_DESCRIPTION(CAST(CAST(FORMAT('%I.%I', CAST(c.table_schema AS TEXT), CAST(c.table_name AS TEXT)) AS"
                + " REGCLASS) AS OID), c.ordinal_position) AS \"field-comment\", ((column_default IS NULL) OR"
                + " (LOWER(column_default) = 'null')) AND (is_nullable = 'NO') AND NOT (((column_default IS NOT NULL) AND"
                + " (column_default LIKE '%nextval(%')) OR (is_identity <> 'NO')) AS \"database-required\","
                + " ((column_default IS NOT NULL) AND (column_default LIKE '%nextval(%')) OR (is_identity <> 'NO') AS"
                + " \"database-is-auto-increment\" FROM information_schema.columns AS c LEFT JOIN (SELECT tc.table_schema,"
                + " tc.table_name, kc.column_name FROM information_schema.table_constraints AS tc INNER JOIN"
                + " information_schema.key_column_usage AS kc ON (tc.constraint_name = kc.constraint_name) AND"
                + " (tc.table_schema = kc.table_schema) AND (tc.table_name = kc.table_name) WHERE tc.constraint_type ="
                + " 'PRIMARY KEY') AS pk ON (c.table_schema = pk.table_schema) AND (c.table_name = pk.table_name) AND"
                + " (c.column_name = pk.column_name) WHERE c.table_schema !~ '^information_schema|catalog_history|pg_'"
                + " AND (c.table_schema IN ('public')) ORDER BY \"table-schema\" ASC, \"table-name\" ASC,"
                + " \"database-position\" ASC",
            "SELECT fk_ns.nspname AS \"fk-table-schema\", fk_table.relname AS \"fk-table-name\", fk_column.attname AS"
                + " \"fk-column-name\", pk_ns.nspname AS \"pk-table-schema\", pk_table.relname AS \"pk-table-name\","
                + " pk_column.attname AS \"pk-column-name\" FROM pg_constraint AS c INNER JOIN pg_class AS fk_table ON"
                + " c.conrelid = fk_table.oid INNER JOIN pg_namespace AS fk_ns ON c.connamespace = fk_ns.oid INNER JOIN"
                + " pg_attribute AS fk_column ON c.conrelid = fk_column.attrelid INNER JOIN pg_class AS pk_table ON"
                + " c.confrelid = pk_table.oid INNER JOIN pg_namespace AS pk_ns ON pk_table.relnamespace = pk_ns.oid"
                + " INNER JOIN pg_attribute AS pk_column ON c.confrelid = pk_column.attrelid WHERE fk_ns.nspname !~"
                + " '^information_schema|catalog_history|pg_' AND (c.contype = 'f'::char) AND (fk_column.attnum ="
                + " ANY(c.conkey)) AND (pk_column.attnum = ANY(c.confkey)) ORDER BY \"fk-table-schema\" ASC",
            "SELECT tablename, indexname FROM pg_indexes WHERE schemaname = 'public'",
            "SELECT nspname, typname FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.oid IN"
                + " (SELECT DISTINCT enumtypid FROM pg_enum)",
            "SELECT true AS \"_\" FROM \"public\".\"turbine\" WHERE 1 <> 1 LIMIT 0",
            "SHOW TIMEZONE",
        };
        List<String> failed = new ArrayList<>();
        for (String sql : asked) {
            try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(sql)) {
                while (rows.next()) {
                    rows.getString(1);
                }
            } catch (SQLException e) {
                failed.add(sql + "\n  " + e.getMessage());
            }
        }
        same(String.join("\n", failed), "");
    }

    interface Part {
        void run() throws Exception;
    }

    static int bad = 0;

    static void part(String name, Part part) {
        try {
            part.run();
        } catch (Throwable e) {
            bad++;
            System.err.println(name + ": " + e);
            for (StackTraceElement at : e.getStackTrace()) {
                if (at.getClassName().startsWith("PgJdbc")) {
                    System.err.println("  " + at);
                }
            }
        }
    }

    public static void main(String[] args) throws Exception {
        Properties properties = new Properties();
        properties.setProperty("user", "ann");
        String url = "jdbc:postgresql://" + args[0] + ":" + args[1] + "/wattline";
        try (Connection connection = DriverManager.getConnection(url, properties)) {
            part("metadata", () -> metadata(connection));
            part("prepared", () -> prepared(connection));
            part("portals", () -> portals(connection));
            part("metabase", () -> metabase(connection));
            part("cancels", () -> cancels(connection));
            part("copies", () -> copies(connection, args[2]));
        }
        if (bad > 0) {
            System.exit(1);
        }
        System.out.println("ok");
    }
}
