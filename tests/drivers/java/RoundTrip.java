/* RoundTrip.java - the round trip of test_drivers.py with version 4 of the Java driver. */
import com.datastax.oss.driver.api.core.CqlIdentifier;
import com.datastax.oss.driver.api.core.CqlSession;
import com.datastax.oss.driver.api.core.CqlSessionBuilder;
import com.datastax.oss.driver.api.core.config.DefaultDriverOption;
import com.datastax.oss.driver.api.core.config.DriverConfigLoader;
import com.datastax.oss.driver.api.core.config.ProgrammaticDriverConfigLoaderBuilder;
import com.datastax.oss.driver.api.core.cql.AsyncResultSet;
import com.datastax.oss.driver.api.core.cql.BatchStatement;
import com.datastax.oss.driver.api.core.cql.BatchType;
import com.datastax.oss.driver.api.core.cql.DefaultBatchType;
import com.datastax.oss.driver.api.core.cql.PreparedStatement;
import com.datastax.oss.driver.api.core.cql.ResultSet;
import com.datastax.oss.driver.api.core.cql.Row;
import com.datastax.oss.driver.api.core.cql.SimpleStatement;
import com.datastax.oss.driver.api.core.data.CqlDuration;
import com.datastax.oss.driver.api.core.metadata.Node;
import com.datastax.oss.driver.api.core.metadata.schema.ColumnMetadata;
import com.datastax.oss.driver.api.core.metadata.schema.TableMetadata;
import com.datastax.oss.driver.api.core.servererrors.InvalidQueryException;
import com.datastax.oss.driver.api.core.servererrors.SyntaxError;
import com.datastax.oss.driver.api.core.servererrors.UnauthorizedException;
import com.datastax.oss.driver.api.core.ssl.ProgrammaticSslEngineFactory;
import com.datastax.oss.driver.api.core.type.TupleType;
import com.datastax.oss.driver.api.core.type.UserDefinedType;
import java.io.BufferedReader;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import java.time.Instant;
import java.time.LocalDate;
import java.time.LocalTime;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.CompletionStage;
import java.util.stream.Collectors;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

public class RoundTrip {
	private static final String TYPES = "v_ascii, v_bigint, v_blob, v_boolean, v_date, v_decimal, v_double, v_duration,"
			+ " v_float, v_inet, v_int, v_smallint, v_text, v_time, v_timestamp, v_timeuuid, v_tinyint, v_uuid, v_varint,"
			+ " v_list, v_set, v_map, v_tuple, v_udt, v_nested";
	private static final long PATIENCE = 30_000_000_000L;

	private static final BufferedReader INPUT = new BufferedReader(new InputStreamReader(System.in));
	private static final PrintStream OUTPUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);

	private final CqlSession session;
	private final String keyspace;
	private final PreparedStatement insert;

	private RoundTrip(CqlSession session, String keyspace) {
		this.session = session;
		this.keyspace = keyspace;
		insert = session.prepare("INSERT INTO rows (p, c, v) VALUES (?, ?, ?)");
	}

	private static String option(String name) {
		return System.getenv().getOrDefault("TRIP_" + name, "");
	}

	/* A value as JSON. */
	private static String json(Object value) {
		if (value instanceof Collection)
			return ((Collection<?>) value).stream().map(RoundTrip::json).collect(Collectors.joining(", ", "[", "]"));
		if (value instanceof Boolean || value instanceof Number || value == null)
			return String.valueOf(value);
		return "\"" + value.toString().replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", "\\n") + "\"";
	}

	/* Prints a line for the test; more are names and values in turn. */
	private static void tell(String step, Object... more) {
		StringBuilder line = new StringBuilder("{\"step\": " + json(step));

		for (int i = 0; i < more.length; i += 2)
			line.append(", ").append(json(more[i])).append(": ").append(json(more[i + 1]));
		OUTPUT.println(line.append("}"));
	}

	/* Tells the test that it is its turn, and waits for it. */
	private static void ask(String step) throws Exception {
		tell(step);
		if (INPUT.readLine() == null)
			System.exit(3);
	}

	private static SSLContext trust(String file) throws Exception {
		KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
		TrustManagerFactory managers = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
		SSLContext context = SSLContext.getInstance("TLS");

		store.load(null, null);
		try (InputStream text = Files.newInputStream(Paths.get(file))) {
			store.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(text));
		}
		managers.init(store);
		context.init(null, managers.getTrustManagers(), null);
		return context;
	}

	/* The driver's own choice in everything but its patience: a busy machine makes tables slowly, and nothing is won by
	 * waiting long for more events, or for quiet at the end. */
	private static CqlSession connect(String keyspace) throws Exception {
		ProgrammaticDriverConfigLoaderBuilder options = DriverConfigLoader.programmaticBuilder()
				.withDuration(DefaultDriverOption.REQUEST_TIMEOUT, Duration.ofSeconds(15))
				.withDuration(DefaultDriverOption.CONNECTION_INIT_QUERY_TIMEOUT, Duration.ofSeconds(10))
				.withDuration(DefaultDriverOption.METADATA_SCHEMA_WINDOW, Duration.ofMillis(100))
				.withInt(DefaultDriverOption.NETTY_IO_SHUTDOWN_QUIET_PERIOD, 0)
				.withInt(DefaultDriverOption.NETTY_ADMIN_SHUTDOWN_QUIET_PERIOD, 0);
		if (!option("VERSION").isEmpty())
			options = options.withString(DefaultDriverOption.PROTOCOL_VERSION, "V" + option("VERSION"));
		if (!option("COMPRESSION").isEmpty())
			options = options.withString(DefaultDriverOption.PROTOCOL_COMPRESSION, option("COMPRESSION"));
		CqlSessionBuilder builder = CqlSession.builder().withLocalDatacenter("datacenter1")
				.addContactPoint(new InetSocketAddress(option("ADDRESS"), Integer.parseInt(option("PORT"))))
				.withConfigLoader(options.build());
		if (!option("CA").isEmpty())
			builder = builder.withSslEngineFactory(new ProgrammaticSslEngineFactory(trust(option("CA")), null, true));
		if (!option("USER").isEmpty())
			builder = builder.withAuthCredentials(option("USER"), option("PASSWORD"));
		if (keyspace != null)
			builder = builder.withKeyspace(keyspace);
		return builder.build();
	}

	private Optional<TableMetadata> table(String name) {
		return session.getMetadata().getKeyspace(keyspace).flatMap(known -> known.getTable(name));
	}

	private static List<String> names(Collection<ColumnMetadata> columns) {
		return columns.stream().map(ColumnMetadata::getName).map(CqlIdentifier::asInternal).sorted()
				.collect(Collectors.toList());
	}

	private static String address(Node node) {
		InetSocketAddress address = (InetSocketAddress) node.getEndPoint().resolve();

		return address.getAddress().getHostAddress() + ":" + address.getPort();
	}

	private void schema() {
		TableMetadata rows = table("rows").get();

		tell("schema", "columns", names(rows.getColumns().values()), "key", names(rows.getPartitionKey()), "hosts",
				session.getMetadata().getNodes().values().stream().map(RoundTrip::address).collect(Collectors.toList()),
				"version", session.getContext().getProtocolVersion().getCode());
	}

	private void statements() {
		List<CompletionStage<AsyncResultSet>> written = new ArrayList<>();

		session.execute(SimpleStatement.newInstance("INSERT INTO rows (p, c, v) VALUES (4, 1, ?)", "simple"));
		session.execute("INSERT INTO rows (p, c, v) VALUES (4, 2, 'literal')");
		for (int c = 0; c < 200; c++)
			written.add(session.executeAsync(insert.bind(1, c, "v\u00e4lue " + c)));
		written.forEach(stage -> stage.toCompletableFuture().join());
		tell("statements", "literal", session.execute("SELECT v FROM rows WHERE p = 4 AND c = 2").one().getString(0));
	}

	private static Object[] ordinary(TupleType tuple, UserDefinedType person) throws Exception {
		return new Object[] { "ascii", (1L << 53) + 1, ByteBuffer.wrap(new byte[] { 0, 1, -1 }), true,
				LocalDate.of(2024, 2, 29), new BigDecimal("12345.678"), 1.5e300,
				CqlDuration.newInstance(1, 2, 3000000000L), 0.5f, InetAddress.getByName("192.0.2.7"), 7, (short) 300,
				"v\u00e4lue \ud83d\ude00", LocalTime.parse("13:14:15.123456789"), Instant.ofEpochMilli(1709209974789L),
				UUID.fromString("50554d6e-29bb-11e5-b345-feff819cdc9f"), (byte) -5,
				UUID.fromString("123e4567-e89b-42d3-a456-426614174000"), BigInteger.ONE.shiftLeft(70),
				Arrays.asList(1, 2, 3), new HashSet<>(Arrays.asList("a", "b")), Map.of("x", 1, "y", 2),
				tuple.newValue(1, "one"), person.newValue("ann", 30), Map.of("k", Arrays.asList(1, 2)) };
	}

	private static Object[] extreme(TupleType tuple, UserDefinedType person) throws Exception {
		return new Object[] { "", Long.MIN_VALUE, ByteBuffer.allocate(0), false, LocalDate.of(1901, 1, 1),
				new BigDecimal(BigInteger.valueOf(-1), -10), Double.MIN_VALUE, CqlDuration.newInstance(-1, -2, -3),
				-Float.MAX_VALUE, InetAddress.getByName("2001:db8::1"), Integer.MIN_VALUE, Short.MIN_VALUE, "",
				LocalTime.MIDNIGHT, Instant.ofEpochMilli(-1), UUID.fromString("13814000-1dd2-11b2-8000-000000000000"),
				(byte) 127, UUID.fromString("ffffffff-ffff-4fff-bfff-ffffffffffff"),
				BigInteger.ONE.shiftLeft(70).negate(), Collections.emptyList(), Collections.emptySet(),
				Collections.emptyMap(), tuple.newValue(-1, ""), person.newValue(null, -1), Collections.emptyMap() };
	}

	private static boolean isEmpty(Object value) {
		return value == null || value instanceof Collection && ((Collection<?>) value).isEmpty() ||
				value instanceof Map && ((Map<?, ?>) value).isEmpty();
	}

	private void types() throws Exception {
		PreparedStatement insertTypes = session.prepare(
				"INSERT INTO types (id, " + TYPES + ") VALUES (?" + ", ?".repeat(25) + ")");
		PreparedStatement select = session.prepare("SELECT " + TYPES + " FROM types WHERE id = ?");
		TupleType tuple = (TupleType) insertTypes.getVariableDefinitions().get("v_tuple").getType();
		UserDefinedType person = (UserDefinedType) insertTypes.getVariableDefinitions().get("v_udt").getType();
		Object[][] values = { ordinary(tuple, person), new Object[25], extreme(tuple, person) };
		List<String> wrong = new ArrayList<>();

		for (int id = 1; id <= 3; id++) {
			List<Object> bound = new ArrayList<>(Collections.singletonList(id));
			bound.addAll(Arrays.asList(values[id - 1]));
			session.execute(insertTypes.bind(bound.toArray()));
			Row row = session.execute(select.bind(id)).one();
			for (int at = 0; at < 25; at++) {
				Object wrote = values[id - 1][at], read = row.getObject(at);
				/* an empty collection is null */
				if (isEmpty(wrote) ? !isEmpty(read) : !wrote.equals(read))
					wrong.add(id + " " + row.getColumnDefinitions().get(at).getName() + ": " + wrote + " " + read);
			}
		}
		tell("types", "wrong", wrong);
	}

	private void paging() {
		PreparedStatement select = session.prepare("SELECT c, v FROM rows WHERE p = ?");
		int pages = 0, rows = 0, sum = 0, simple = 0;
		ByteBuffer state = null;

		do {
			ResultSet page = session.execute(
					select.boundStatementBuilder(1).setPageSize(30).setPagingState(state).build());
			while (page.getAvailableWithoutFetching() > 0) {
				Row row = page.one();
				if (!row.getString("v").equals("v\u00e4lue " + row.getInt("c")))
					throw new IllegalStateException(row.getFormattedContents());
				rows++;
				sum += row.getInt("c");
			}
			pages++;
			state = page.getExecutionInfo().getPagingState();
		} while (state != null);
		for (Row row : session.execute(SimpleStatement.newInstance("SELECT c FROM rows WHERE p = 1").setPageSize(30)))
			simple += row.isNull(0) ? 0 : 1;
		tell("paging", "rows", rows, "sum", sum, "pages", pages, "simple", simple);
	}

	private void batches() {
		for (int first : new int[] { 1, 3 }) {
			BatchType type = first == 1 ? DefaultBatchType.LOGGED : DefaultBatchType.UNLOGGED;
			session.execute(BatchStatement.newInstance(type, insert.bind(2, first, "bound"),
					SimpleStatement.newInstance("INSERT INTO rows (p, c, v) VALUES (2, ?, 'text')", first + 1)));
		}
		PreparedStatement add = session.prepare("UPDATE hits SET n = n + ? WHERE id = ?");
		session.execute(add.bind(3L, 1));
		session.execute(BatchStatement.newInstance(DefaultBatchType.COUNTER, add.bind(2L, 1), add.bind(4L, 2)));
		tell("batches", "counter", session.execute("SELECT n FROM hits WHERE id = 1").one().getLong(0));
	}

	private void conditional() {
		PreparedStatement once = session.prepare("INSERT INTO rows (p, c, v) VALUES (3, 1, ?) IF NOT EXISTS");
		List<Boolean> applied = new ArrayList<>();
		String found = null;

		for (String value : new String[] { "once", "twice" }) {
			ResultSet result = session.execute(once.bind(value));
			applied.add(result.wasApplied());
			found = result.wasApplied() ? null : result.one().getString("v");
		}
		tell("conditional", "applied", applied, "found", found);
	}

	private void errors() {
		List<String> seen = new ArrayList<>();

		for (String text : new String[] { "SELEKT v FROM rows", "SELECT v FROM no_such_table", option("FORBIDDEN") }) {
			try {
				session.execute(text);
				seen.add("nothing");
			} catch (SyntaxError e) {
				seen.add("syntax");
			} catch (InvalidQueryException e) {
				seen.add("invalid");
			} catch (UnauthorizedException e) {
				seen.add("unauthorized");
			} catch (RuntimeException e) {
				seen.add(e.toString());
			}
		}
		tell("errors", "seen", seen);
	}

	private void events() throws Exception {
		long deadline = System.nanoTime() + PATIENCE;

		while (!table("outside").isPresent() && System.nanoTime() < deadline)
			Thread.sleep(50);
		tell("events", "columns", table("outside").map(table -> names(table.getColumns().values())).orElse(null));
	}

	/* The session goes on, and with it a statement that was prepared before. */
	private void reconnect() throws Exception {
		long deadline = System.nanoTime() + PATIENCE;

		for (;;) {
			try {
				session.execute(insert.bind(5, 1, "prepared before"));
				break;
			} catch (RuntimeException e) {
				if (System.nanoTime() > deadline)
					throw e;
				Thread.sleep(50);
			}
		}
		session.execute("INSERT INTO rows (p, c, v) VALUES (5, 2, 'simple')");
		tell("reconnect", "read", session.execute("SELECT v FROM rows WHERE p = 5 AND c = 1").one().getString(0));
	}

	public static void main(String[] arguments) throws Exception {
		String keyspace = option("KEYSPACE");
		List<String> texts = Files.readAllLines(Paths.get(option("SCHEMA")));

		try (CqlSession first = connect(null)) {
			tell("connect", "cluster", first.execute("SELECT cluster_name FROM system.local").one().getString(0));
			first.execute(texts.get(0).replace("$KEYSPACE", keyspace));
		}
		try (CqlSession session = connect(keyspace)) {
			for (String text : texts.subList(1, texts.size()))
				session.execute(text);
			RoundTrip trip = new RoundTrip(session, keyspace);
			trip.schema();
			trip.statements();
			trip.types();
			trip.paging();
			trip.batches();
			trip.conditional();
			trip.errors();
			ask("outside");
			trip.events();
			ask("restart");
			trip.reconnect();
			tell("end");
		}
	}
}
