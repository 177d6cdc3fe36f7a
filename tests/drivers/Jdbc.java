// pgjdbc: prepared statements in text and binary, arrays, fetch size, batches, COPY, cancel, typed errors, metadata.

import java.math.BigDecimal;
import java.sql.*;
import java.time.*;
import java.util.*;

public class Jdbc {
    static void check(boolean holds, String what) {
        if (!holds) throw new AssertionError(what);
    }

    static void same(Object found, Object expected) {
        check(Objects.equals(found, expected), "expected " + expected + ", found " + found);
    }

    interface Work { void run() throws SQLException; }

    static void fails(String state, Work work) {
        try {
            work.run();
        } catch (SQLException error) {
            same(error.getSQLState(), state);
            return;
        }
        throw new AssertionError("no error " + state);
    }

    static Connection open(String more) throws SQLException {
        Properties properties = new Properties();
        properties.setProperty("user", System.getenv("TEST_USER"));
        properties.setProperty("password", System.getenv("TEST_PASSWORD"));
        return DriverManager.getConnection(System.getenv("TEST_URL") + more, properties);
    }

    public static void main(String[] arguments) throws Exception {
        for (String more : new String[] {"?prepareThreshold=1", "?prepareThreshold=0", "?preferQueryMode=simple"}) {
            try (Connection connection = open(more)) {
                // The simple protocol has the driver write its values into the text; it cannot do so with bytes.
                if (!more.contains("simple")) {
                    values(connection);
                    arrays(connection);
                }
                errors(connection);
                transactions(connection);
            }
        }
        try (Connection connection = open("")) {
            metadata(connection);
            millionRows(connection);
            cancel(connection);
            copy(connection);
        }
        System.out.println("ok");
    }

    static void values(Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute("CREATE TABLE jdbc (id int PRIMARY KEY, i bigint, n numeric(20,5), t text, d date, ts timestamp, tz timestamptz, b bytea, f double precision, o boolean, u uuid)");
        }
        OffsetDateTime instant = OffsetDateTime.of(2026, 11, 20, 1, 2, 3, 4000, ZoneOffset.UTC);
        LocalDateTime moment = LocalDateTime.of(2000, 2, 29, 23, 59, 59, 999999000);
        UUID id = UUID.fromString("2b8f0dd5-3d3c-4c68-9d45-0f0a3f2ab0c1");
        try (PreparedStatement insert = connection.prepareStatement("INSERT INTO jdbc VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")) {
            for (int row = 1; row <= 6; row++) {
                insert.setInt(1, row);
                if (row == 6) {
                    int[] kinds = {Types.BIGINT, Types.NUMERIC, Types.VARCHAR, Types.DATE, Types.TIMESTAMP, Types.TIMESTAMP_WITH_TIMEZONE, Types.BINARY, Types.DOUBLE, Types.BOOLEAN, Types.OTHER};
                    for (int column = 0; column < kinds.length; column++) insert.setNull(column + 2, kinds[column]);
                } else {
                    insert.setLong(2, 1L << 40);
                    insert.setBigDecimal(3, new BigDecimal("-12345.67891"));
                    insert.setString(4, "it's \\ é");
                    insert.setObject(5, LocalDate.of(1969, 12, 31));
                    insert.setObject(6, moment);
                    insert.setObject(7, instant);
                    insert.setBytes(8, new byte[] {0, -1, 39});
                    insert.setDouble(9, -0.1);
                    insert.setBoolean(10, true);
                    insert.setObject(11, id);
                }
                insert.addBatch();
            }
            same(Arrays.stream(insert.executeBatch()).sum(), 6);
        }
        try (PreparedStatement select = connection.prepareStatement("SELECT * FROM jdbc WHERE id = ?")) {
            for (int row = 1; row <= 6; row++) {
                select.setInt(1, row);
                try (ResultSet rows = select.executeQuery()) {
                    check(rows.next(), "a row");
                    if (row == 6) {
                        for (int column = 2; column <= 11; column++) same(rows.getObject(column), null);
                    } else {
                        same(rows.getLong(2), 1L << 40);
                        same(rows.getBigDecimal(3), new BigDecimal("-12345.67891"));
                        same(rows.getString(4), "it's \\ é");
                        same(rows.getObject(5, LocalDate.class), LocalDate.of(1969, 12, 31));
                        same(rows.getObject(6, LocalDateTime.class), moment);
                        same(rows.getObject(7, OffsetDateTime.class).toInstant(), instant.toInstant());
                        check(Arrays.equals(rows.getBytes(8), new byte[] {0, -1, 39}), "bytes");
                        same(rows.getDouble(9), -0.1);
                        same(rows.getBoolean(10), true);
                        same(rows.getObject(11), id);
                    }
                    check(!rows.next(), "one row");
                }
            }
        }
        try (Statement statement = connection.createStatement()) {
            statement.execute("DROP TABLE jdbc");
        }
    }

    static void arrays(Connection connection) throws SQLException {
        String query = "SELECT array_agg(r_regionkey), array_agg(r_name) FROM (SELECT * FROM region WHERE r_regionkey = ANY(?) AND r_name <> ALL(?) ORDER BY 1) AS r";
        try (PreparedStatement select = connection.prepareStatement(query)) {
            for (int round = 0; round < 6; round++) {
                select.setArray(1, connection.createArrayOf("bigint", new Long[] {1L, 3L, 4L, null}));
                select.setArray(2, connection.createArrayOf("text", new String[] {"MIDDLE EAST"}));
                try (ResultSet rows = select.executeQuery()) {
                    check(rows.next(), "a row");
                    check(Arrays.equals((Integer[]) rows.getArray(1).getArray(), new Integer[] {1, 3}), "keys");
                    check(Arrays.equals((String[]) rows.getArray(2).getArray(), new String[] {"AMERICA", "EUROPE"}), "names");
                    same(rows.getMetaData().getColumnTypeName(1), "_int4");
                }
            }
        }
    }

    static void errors(Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            fails("42P01", () -> statement.executeQuery("SELECT * FROM nothing"));
            fails("42703", () -> statement.executeQuery("SELECT nothing FROM region"));
            fails("42601", () -> statement.executeQuery("SELEC"));
            fails("22012", () -> statement.executeQuery("SELECT 1/0"));
            fails("23505", () -> statement.executeUpdate("INSERT INTO region VALUES (0, 'AFRICA', '')"));
        }
    }

    static void transactions(Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute("CREATE TABLE jdbc_tx (id int PRIMARY KEY)");
            connection.setAutoCommit(false);
            statement.executeUpdate("INSERT INTO jdbc_tx VALUES (1)");
            connection.rollback();
            statement.executeUpdate("INSERT INTO jdbc_tx VALUES (2)");
            connection.commit();
            fails("22012", () -> statement.executeQuery("SELECT 1/0"));
            fails("25P02", () -> statement.executeQuery("SELECT 1"));
            connection.rollback();
            try (ResultSet rows = statement.executeQuery("SELECT id FROM jdbc_tx")) {
                check(rows.next(), "a row");
                same(rows.getInt(1), 2);
                check(!rows.next(), "one row");
            }
            connection.commit();
            connection.setAutoCommit(true);
            statement.execute("DROP TABLE jdbc_tx");
        }
    }

    static void metadata(Connection connection) throws SQLException {
        DatabaseMetaData metadata = connection.getMetaData();
        Set<String> tables = new HashSet<>();
        try (ResultSet rows = metadata.getTables(null, "public", "%", new String[] {"TABLE"})) {
            while (rows.next()) tables.add(rows.getString("TABLE_NAME"));
        }
        check(tables.containsAll(List.of("region", "nation", "orders")), "tables " + tables);
        List<String> columns = new ArrayList<>();
        try (ResultSet rows = metadata.getColumns(null, "public", "region", "%")) {
            while (rows.next()) columns.add(rows.getString("COLUMN_NAME") + " " + rows.getString("TYPE_NAME"));
        }
        same(columns.get(0), "r_regionkey int4");
        try (ResultSet rows = metadata.getPrimaryKeys(null, "public", "region")) {
            check(rows.next(), "a key");
            same(rows.getString("COLUMN_NAME"), "r_regionkey");
        }
    }

    static void millionRows(Connection connection) throws SQLException {
        connection.setAutoCommit(false);
        try (Statement statement = connection.createStatement()) {
            statement.setFetchSize(10_000);
            int count = 0;
            try (ResultSet rows = statement.executeQuery("SELECT a.value FROM generate_series(1, 1000) AS a(value), generate_series(1, 1000) AS b(value)")) {
                while (rows.next()) count++;
            }
            same(count, 1_000_000);
        }
        connection.commit();
        connection.setAutoCommit(true);
    }

    static void cancel(Connection connection) throws Exception {
        String slow = "SELECT count(*) FROM lineitem a, lineitem b, lineitem c WHERE a.l_comment > b.l_comment || c.l_comment";
        try (Statement statement = connection.createStatement()) {
            Thread canceller = new Thread(() -> {
                try {
                    Thread.sleep(500);
                    statement.cancel();
                } catch (Exception error) {
                    throw new AssertionError(error);
                }
            });
            canceller.start();
            fails("57014", () -> statement.executeQuery(slow));
            canceller.join();
            statement.setQueryTimeout(1);
            fails("57014", () -> statement.executeQuery(slow));
            statement.setQueryTimeout(0);
            try (ResultSet rows = statement.executeQuery("SELECT 1")) {
                check(rows.next(), "still of use");
            }
        }
    }

    static void copy(Connection connection) throws Exception {
        try (Statement statement = connection.createStatement()) {
            statement.execute("CREATE TABLE jdbc_copy (id int PRIMARY KEY, v text)");
            org.postgresql.copy.CopyManager manager = connection.unwrap(org.postgresql.PGConnection.class).getCopyAPI();
            StringBuilder lines = new StringBuilder();
            for (int row = 0; row < 10_000; row++) lines.append(row).append("\tline ").append(row).append('\n');
            same(manager.copyIn("COPY jdbc_copy FROM STDIN", new java.io.StringReader(lines.toString())), 10_000L);
            java.io.StringWriter out = new java.io.StringWriter();
            same(manager.copyOut("COPY (SELECT * FROM jdbc_copy ORDER BY id) TO STDOUT", out), 10_000L);
            same(out.toString(), lines.toString());
            statement.execute("DROP TABLE jdbc_copy");
        }
    }
}
