/*
 * CassandraParser.java - what Cassandra's own parser makes of CQL texts.
 *
 * Standard input: for each text its length in bytes as a decimal number, a line feed, then the text.
 * Standard output: for each text one line of seven columns,
 *
 *     class keyspace table conditional more variables tables
 *
 * the parser's class for the statement without its package ("refused" when it is no statement), names as
 * hexadecimal UTF-8 ("-" for none, "." for the empty one), 1 for a conditional write else 0, and for a batch its kind
 * and its number of statements, for what is refused the class of the exception ("-" otherwise), and the bind variables
 * in order, separated by commas: "?" or the name in hexadecimal ("-" for none). The tables are those of a batch's
 * statements and what a change of the schema is about, keyspace:table, separated by commas, the table "-" where it is
 * about a keyspace or what belongs to one; "?" where nobody has looked.
 *
 * All by reflection: the same class file runs with the jars of 3.11, 4.1 and 5.0, whose classes differ.
 */
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.lang.reflect.Field;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.nio.charset.StandardCharsets;
import java.util.List;

public class CassandraParser {
	private static final String PACKAGE = "org.apache.cassandra.cql3.";

	private final Method parse;
	private final Object query;

	/* CQLFragmentParser.parseAnyUnhandled(CqlParser::query, text): what QueryProcessor.parseStatement() does. */
	private CassandraParser() throws ReflectiveOperationException {
		Class<?> function = Class.forName(PACKAGE + "CQLFragmentParser$CQLParserFunction");
		Method rule = Class.forName(PACKAGE + "CqlParser").getMethod("query");
		parse = Class.forName(PACKAGE + "CQLFragmentParser").getMethod("parseAnyUnhandled", function, String.class);
		query = Proxy.newProxyInstance(function.getClassLoader(), new Class<?>[] { function }, (self, method, args) -> {
			try {
				return rule.invoke(args[0]);
			} catch (InvocationTargetException e) {
				throw e.getCause();
			}
		});
	}

	private static Object get(Object o, String name) throws ReflectiveOperationException {
		for (Class<?> c = o.getClass(); c != null; c = c.getSuperclass()) {
			for (Field f : c.getDeclaredFields()) {
				if (f.getName().equals(name)) {
					f.setAccessible(true);
					return f.get(o);
				}
			}
		}
		return null;
	}

	private static String call(Object o, String... names) throws ReflectiveOperationException {
		for (Method m : o.getClass().getMethods()) {
			for (String name : names) {
				if (m.getName().equals(name) && m.getParameterCount() == 0) {
					m.setAccessible(true);
					return (String) m.invoke(o);
				}
			}
		}
		throw new NoSuchMethodException(o.getClass() + ": " + names[0]);
	}

	private static String hex(String name) {
		if (name == null)
			return "-";
		if (name.isEmpty())
			return ".";
		StringBuilder out = new StringBuilder();
		for (byte b : name.getBytes(StandardCharsets.UTF_8))
			out.append(String.format("%02x", b));
		return out.toString();
	}

	private static boolean isConditional(Object statement) throws ReflectiveOperationException {
		List<?> conditions = (List<?>) get(statement, "conditions");
		return conditions != null && !conditions.isEmpty() || Boolean.TRUE.equals(get(statement, "ifExists")) ||
				Boolean.TRUE.equals(get(statement, "ifNotExists"));
	}

	/* [keyspace.]table, of a QualifiedName, or CFName in 3.11. */
	private static String pair(Object table) throws ReflectiveOperationException {
		return hex(call(table, "getKeyspace")) + ":" + hex(call(table, "getName", "getColumnFamily"));
	}

	private static Object first(Object o, String... names) throws ReflectiveOperationException {
		Object found = null;

		for (int i = 0; i < names.length && found == null; i++)
			found = get(o, names[i]);
		return found;
	}

	/* Of CREATE, ALTER and DROP from 4.0 on. */
	private static String schemaTables(Object statement, String name) throws ReflectiveOperationException {
		Object keyspace = get(statement, "keyspaceName");
		Object table = get(statement, "tableName");

		if (keyspace != null)
			return hex((String) keyspace) + ":-";
		if (table == null && name.matches(".*(Table|View)Statement.*"))
			table = get(statement, "name");
		if (table != null)
			return pair(table);
		Object other = first(statement, "name", "aggregateName");
		if (other == null)
			return "?";
		keyspace = other.getClass().getSimpleName().equals("QualifiedName") ? call(other, "getKeyspace")
				: first(other, "keyspace", "ksName");
		return hex(keyspace == null ? null : keyspace.toString()) + ":-";
	}

	private static String tables(Object statement, String name, List<?> children) throws ReflectiveOperationException {
		StringBuilder out = new StringBuilder();

		if (children == null)
			return name.matches("(Create|Alter|Drop).*\\$Raw") ? schemaTables(statement, name) : "?";
		for (Object child : children)
			out.append(out.length() > 0 ? "," : "").append(pair(first(child, "qualifiedName", "cfName")));
		return out.length() > 0 ? out.toString() : "-";
	}

	private static String describe(Object statement) throws ReflectiveOperationException {
		String name = statement.getClass().getName().replaceFirst(".*\\.", "");
		List<?> children = (List<?>) get(statement, "parsedStatements");
		Object table = get(statement, "qualifiedName");
		String names = "- -";
		String batch = "-";
		boolean conditional = false;

		if (table == null)
			table = get(statement, "cfName"); /* 3.11 */
		if (name.equals("UseStatement"))
			names = hex((String) get(statement, "keyspace")) + " -";
		else if (table != null)
			names = hex(call(table, "getKeyspace")) + " " + hex(call(table, "getName", "getColumnFamily"));
		if (children != null) {
			batch = get(statement, "type") + ":" + children.size();
			for (Object child : children)
				conditional |= isConditional(child);
		} else if (name.contains("$Parsed")) {
			conditional = isConditional(statement);
		}
		return name + " " + names + " " + (conditional ? 1 : 0) + " " + batch + " " + variables(statement) + " " +
				tables(statement, name, children);
	}

	private static String variables(Object statement) throws ReflectiveOperationException {
		Object specifications = get(statement, "bindVariables");
		StringBuilder out = new StringBuilder();

		if (specifications == null)
			specifications = get(statement, "variables"); /* 3.11 */
		List<?> names = specifications == null ? null : (List<?>) get(specifications, "variableNames");
		if (names == null || names.isEmpty())
			return "-";
		for (Object name : names)
			out.append(out.length() > 0 ? "," : "").append(name == null ? "?" : hex(name.toString()));
		return out.toString();
	}

	private String classify(String text) throws ReflectiveOperationException {
		Object statement;

		try {
			statement = parse.invoke(null, query, text);
		} catch (InvocationTargetException e) {
			/* Bad text gives exceptions of many kinds. What says that the parser itself does not work must not pass. */
			if (e.getCause() instanceof LinkageError)
				throw e;
			return "refused - - 0 " + e.getCause().getClass().getSimpleName() + " - ?";
		}
		return statement == null ? "refused - - 0 - - ?" : describe(statement);
	}

	/* The number on the next line, or -1 at the end. */
	private static int readLength(DataInputStream in) throws IOException {
		int length = -1;

		for (int c = in.read(); c >= 0 && c != '\n'; c = in.read())
			length = Math.max(length, 0) * 10 + (c - '0');
		return length;
	}

	public static void main(String[] arguments) throws Exception {
		DataInputStream in = new DataInputStream(System.in);
		PrintStream out = new PrintStream(new BufferedOutputStream(System.out), false, "UTF-8");
		System.setOut(System.err); /* where loggers write */
		CassandraParser parser = new CassandraParser();

		for (int length = readLength(in); length >= 0; length = readLength(in)) {
			byte[] text = new byte[length];
			in.readFully(text);
			out.println(parser.classify(new String(text, StandardCharsets.UTF_8)));
		}
		out.flush();
	}
}
