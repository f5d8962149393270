import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Properties;

/** Signs in over Flight SQL with user name and password. Usage: FlightJdbcLogin HOST:PORT USER PASSWORD; prints who it is. */
public class FlightJdbcLogin {
    static Connection connect(String address, String user, String password) throws SQLException {
        Properties properties = new Properties();
        properties.setProperty("user", user);
        properties.setProperty("password", password);
        properties.setProperty("useEncryption", "false");
        return DriverManager.getConnection("jdbc:arrow-flight-sql://" + address + "/", properties);
    }

    public static void main(String[] args) throws SQLException {
        try (Connection wrong = connect(args[0], args[1], args[2] + "x")) {
            throw new AssertionError("a wrong password was taken");
        } catch (SQLException e) {
            if (!String.valueOf(e).toLowerCase().contains("password") && !String.valueOf(e).contains("UNAUTHENTICATED")) {
                throw e;
            }
        }
        try (Connection connection = connect(args[0], args[1], args[2]);
                Statement statement = connection.createStatement();
                ResultSet rows = statement.executeQuery("SELECT current_user AS who")) {
            rows.next();
            System.out.println(rows.getString(1));
        }
    }
}
