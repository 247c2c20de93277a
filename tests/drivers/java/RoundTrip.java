/* RoundTrip.java - the round trip of test_round_trips.py with version 4 of the Java driver. */
import com.datastax.oss.driver.api.core.CqlSession;
import com.datastax.oss.driver.api.core.config.DefaultDriverOption;
import com.datastax.oss.driver.api.core.config.DriverConfigLoader;
import com.datastax.oss.driver.api.core.config.ProgrammaticDriverConfigLoaderBuilder;
import com.datastax.oss.driver.api.core.cql.AsyncResultSet;
import com.datastax.oss.driver.api.core.cql.BatchStatement;
import com.datastax.oss.driver.api.core.cql.DefaultBatchType;
import com.datastax.oss.driver.api.core.cql.PreparedStatement;
import com.datastax.oss.driver.api.core.cql.Row;
import com.datastax.oss.driver.api.core.cql.SimpleStatement;
import com.datastax.oss.driver.api.core.servererrors.InvalidQueryException;
import java.net.InetSocketAddress;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.CompletionStage;

public class RoundTrip {
	private static CqlSession connect(String host, int port, String keyspace, String version, String compression) {
		ProgrammaticDriverConfigLoaderBuilder options = DriverConfigLoader.programmaticBuilder()
				.withDuration(DefaultDriverOption.REQUEST_TIMEOUT, Duration.ofSeconds(15))
				.withDuration(DefaultDriverOption.CONNECTION_INIT_QUERY_TIMEOUT, Duration.ofSeconds(10))
				.withString(DefaultDriverOption.PROTOCOL_COMPRESSION, compression);
		if (!version.equals("0"))
			options = options.withString(DefaultDriverOption.PROTOCOL_VERSION, "V" + version);
		return CqlSession.builder().addContactPoint(new InetSocketAddress(host, port)).withLocalDatacenter("datacenter1")
				.withKeyspace(keyspace).withConfigLoader(options.build()).build();
	}

	private static void fill(CqlSession session, int rows) {
		PreparedStatement insert = session.prepare("INSERT INTO rows (p, c, v, l, m, u, n) VALUES (?, ?, ?, ?, ?, ?, ?)");
		List<CompletionStage<AsyncResultSet>> written = new ArrayList<>();

		for (int c = 0; c < rows; c++)
			written.add(session.executeAsync(insert.bind(1, c, "v\u00e4lue " + c, Arrays.asList(c, 2 * c),
					Collections.singletonMap("k", c), UUID.randomUUID(), null)));
		written.forEach(stage -> stage.toCompletableFuture().join());
	}

	private static int[] read(CqlSession session) {
		PreparedStatement select = session.prepare("SELECT c, v, l, m FROM rows WHERE p = :p");
		int[] countAndSum = { 0, 0 };

		for (Row row : session.execute(select.boundStatementBuilder().setInt("p", 1).setPageSize(50).build())) {
			int c = row.getInt("c");
			if (!row.getString("v").equals("v\u00e4lue " + c) ||
					!row.getList("l", Integer.class).equals(Arrays.asList(c, 2 * c)) ||
					row.getMap("m", String.class, Integer.class).get("k") != c)
				throw new IllegalStateException("row " + c + ": " + row.getFormattedContents());
			countAndSum[0]++;
			countAndSum[1] += c;
		}
		return countAndSum;
	}

	private static boolean isRefused(CqlSession session) {
		try {
			session.execute("SELECT nope FROM rows");
			return false;
		} catch (InvalidQueryException e) {
			return true;
		}
	}

	public static void main(String[] arguments) {
		int port = Integer.parseInt(arguments[1]);

		try (CqlSession session = connect(arguments[0], port, arguments[2], arguments[3], arguments[4])) {
			session.execute("CREATE TABLE rows (p int, c int, v text, l list<int>, m map<text, int>, u uuid, n text,"
					+ " PRIMARY KEY (p, c))");
			session.execute("CREATE TABLE hits (id int PRIMARY KEY, n counter)");
			fill(session, 200);
			int[] countAndSum = read(session);
			session.execute(BatchStatement.newInstance(DefaultBatchType.LOGGED,
					session.prepare("INSERT INTO rows (p, c, v) VALUES (?, ?, ?)").bind(2, 1, "bound"),
					SimpleStatement.newInstance("INSERT INTO rows (p, c, v) VALUES (2, 2, ?)", "text")));
			List<Boolean> applied = new ArrayList<>();
			for (int i = 0; i < 2; i++)
				applied.add(session.execute(SimpleStatement.newInstance(
						"INSERT INTO rows (p, c, v) VALUES (3, 1, ?) IF NOT EXISTS", "once")).wasApplied());
			session.execute(session.prepare("UPDATE hits SET n = n + ? WHERE id = 1").bind(3L));
			long hits = session.execute("SELECT n FROM hits WHERE id = 1").one().getLong(0);
			System.out.printf("{\"rows\": %d, \"sum\": %d, \"applied\": %s, \"counter\": %d, \"refused\": %b}%n",
					countAndSum[0], countAndSum[1], applied, hits, isRefused(session));
		}
	}
}
