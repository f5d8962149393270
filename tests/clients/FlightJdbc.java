import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;

/**
 * Arrow Flight SQL through its JDBC driver: what a BI tool does.
 *
 * Usage: java -cp driver.jar FlightJdbc.java HOST:PORT ASSET. The server has a model `flight` with p0 DOUBLE and an asset
 * of it. Every expected value is worked out by hand. Prints "ok".
 */
public class FlightJdbc {
    static void same(Object found, Object expected) {
        if (!expected.equals(found)) {
            throw new AssertionError("expected " + expected + ", found " + found);
        }
    }

    public static void main(String[] args) throws Exception {
        String url = "jdbc:arrow-flight-sql://" + args[0] + "/?useEncryption=false";
        String asset = args[1];
        try (Connection connection = DriverManager.getConnection(url)) {
            try (Statement statement = connection.createStatement()) {
                String insert = "INSERT INTO flight (asset_id, time, p0) VALUES ('" + asset + "', '2026-01-01T00:00:00Z', 1.5), ('"
                        + asset + "', '2026-01-01T00:00:01Z', 2.5)";
                same(statement.executeUpdate(insert), 2);
                try (ResultSet rows = statement.executeQuery("SELECT asset_id, p0, time FROM flight ORDER BY time")) {
                    same(rows.next(), true);
                    same(rows.getString(1), asset);
                    same(rows.getDouble("p0"), 1.5);
                    same(rows.getTimestamp(3).toInstant().toString(), "2026-01-01T00:00:00Z");
                    same(rows.next(), true);
                    same(rows.getDouble(2), 2.5);
                    same(rows.next(), false);
                }
                try {
                    statement.executeQuery("SELECT nothing FROM flight");
                    throw new AssertionError("a wrong statement was answered");
                } catch (SQLException error) {
                    same(error.getMessage().contains("nothing"), true);
                }
            }
            try (PreparedStatement query = connection.prepareStatement("SELECT p0 FROM flight WHERE asset_id = ? AND p0 > ?")) {
                query.setString(1, asset);
                query.setDouble(2, 2.0);
                try (ResultSet rows = query.executeQuery()) {
                    same(rows.next(), true);
                    same(rows.getDouble(1), 2.5);
                    same(rows.next(), false);
                }
            }
            try (PreparedStatement insert =
                    connection.prepareStatement("INSERT INTO flight (asset_id, time, p0) VALUES (?, '2026-01-02', ?)")) {
                insert.setString(1, asset);
                insert.setDouble(2, 4.0);
                same(insert.executeUpdate(), 1);
            }
            List<String> tables = new ArrayList<>();
            try (ResultSet found = connection.getMetaData().getTables(null, "public", "%", new String[] {"TABLE"})) {
                while (found.next()) {
                    tables.add(found.getString("TABLE_NAME"));
                }
            }
            same(tables.contains("flight"), true);
            List<String> columns = new ArrayList<>();
            try (ResultSet found = connection.getMetaData().getColumns(null, "public", "flight", "%")) {
                while (found.next()) {
                    columns.add(found.getString("COLUMN_NAME"));
                }
            }
            same(columns.subList(0, 2), List.of("asset_id", "time"));
            same(connection.getMetaData().getDatabaseProductName(), "Wattline");
        }
        System.out.println("ok");
    }
}
