// roundtrip.rs - the round trip of test_drivers.py with the crate scylla.
use futures::StreamExt;
use openssl::ssl::{SslConnector, SslMethod};
use scylla::client::session::{OpenSsl010Config, Session};
use scylla::client::session_builder::SessionBuilder;
use scylla::errors::{DbError, ExecutionError, RequestAttemptError};
use scylla::response::{PagingState, PagingStateResponse};
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::prepared::PreparedStatement;
use scylla::statement::Statement;
use scylla::value::{
	Counter, CqlDate, CqlDecimal, CqlDuration, CqlTime, CqlTimestamp, CqlTimeuuid, CqlValue, CqlVarint, Row,
};
use serde_json::{json, Value};
use std::error::Error;
use std::io::BufRead;
use std::time::{Duration, Instant};

type Outcome<T> = Result<T, Box<dyn Error>>;

const TYPES: &str = "v_ascii, v_bigint, v_blob, v_boolean, v_date, v_decimal, v_double, v_duration, v_float, v_inet, \
	v_int, v_smallint, v_text, v_time, v_timestamp, v_timeuuid, v_tinyint, v_uuid, v_varint, v_list, v_set, v_map, \
	v_tuple, v_udt, v_nested";
const PATIENCE: Duration = Duration::from_secs(30);

fn option(name: &str) -> String {
	std::env::var(format!("TRIP_{name}")).unwrap_or_default()
}

fn tell(step: &str, mut more: Value) {
	more["step"] = json!(step);
	println!("{more}");
}

/// Tells the test that it is its turn, and waits for it.
fn ask(step: &str) {
	tell(step, json!({}));
	let mut line = String::new();
	if std::io::stdin().lock().read_line(&mut line).unwrap_or(0) == 0 {
		std::process::exit(3);
	}
}

/// The driver reads what an event has named when its next refresh is due: that is in a second instead of a minute.
async fn connect(keyspace: Option<&str>) -> Outcome<Session> {
	let mut builder = SessionBuilder::new()
		.known_node(format!("{}:{}", option("ADDRESS"), option("PORT")))
		.cluster_metadata_refresh_interval(Duration::from_secs(1));
	if let Some(name) = keyspace {
		builder = builder.use_keyspace(name, false);
	}
	if !option("CA").is_empty() {
		let mut tls = SslConnector::builder(SslMethod::tls())?;
		tls.set_ca_file(option("CA"))?;
		builder = builder.tls_context(Some(OpenSsl010Config::new(tls)));
	}
	if !option("USER").is_empty() {
		builder = builder.user(option("USER"), option("PASSWORD"));
	}
	Ok(builder.build().await?)
}

async fn scalar(session: &Session, text: &str) -> Outcome<CqlValue> {
	let rows = session.query_unpaged(text, ()).await?.into_rows_result()?;
	Ok(rows.single_row::<(CqlValue,)>()?.0)
}

async fn columns(session: &Session, keyspace: &str, table: &str) -> Option<Vec<String>> {
	let state = session.get_cluster_state();
	let table = state.get_keyspace(keyspace)?.tables.get(table)?;
	let mut names: Vec<String> = table.columns.keys().cloned().collect();
	names.sort();
	Some(names)
}

async fn schema(session: &Session, keyspace: &str) -> Outcome<()> {
	session.await_schema_agreement().await?;
	session.refresh_metadata().await?;
	let state = session.get_cluster_state();
	let rows = state.get_keyspace(keyspace).and_then(|known| known.tables.get("rows")).ok_or("no table rows")?;
	let nodes: Vec<String> =
		state.get_nodes_info().iter().map(|node| format!("{}:{}", node.address.ip(), node.address.port())).collect();
	tell("schema", json!({"columns": columns(session, keyspace, "rows").await, "key": rows.partition_key,
		"hosts": nodes}));
	Ok(())
}

async fn statements(session: &Session, insert: &PreparedStatement) -> Outcome<()> {
	session.query_unpaged("INSERT INTO rows (p, c, v) VALUES (4, 1, ?)", ("simple",)).await?;
	session.query_unpaged("INSERT INTO rows (p, c, v) VALUES (4, 2, 'literal')", ()).await?;
	let written = (0..200).map(|c| session.execute_unpaged(insert, (1, c, format!("välue {c}"))));
	for result in futures::future::join_all(written).await {
		result?;
	}
	let literal = scalar(session, "SELECT v FROM rows WHERE p = 4 AND c = 2").await?;
	tell("statements", json!({"literal": literal.as_text()}));
	Ok(())
}

fn some(values: Vec<CqlValue>) -> Vec<Option<CqlValue>> {
	values.into_iter().map(Some).collect()
}

fn text(value: &str) -> CqlValue {
	CqlValue::Text(value.into())
}

fn person(keyspace: &str, name: Option<&str>, age: i32) -> CqlValue {
	CqlValue::UserDefinedType { keyspace: keyspace.into(), name: "person".into(),
		fields: vec![("name".into(), name.map(text)), ("age".into(), Some(CqlValue::Int(age)))] }
}

fn ordinary(keyspace: &str) -> Outcome<Vec<Option<CqlValue>>> {
	let ints = |list: &[i32]| CqlValue::List(list.iter().map(|i| CqlValue::Int(*i)).collect());
	Ok(some(vec![
		CqlValue::Ascii("ascii".into()), CqlValue::BigInt((1 << 53) + 1), CqlValue::Blob(vec![0, 1, 255]),
		CqlValue::Boolean(true), CqlValue::Date(CqlDate((1u32 << 31) + 19782)),
		CqlValue::Decimal(CqlDecimal::from_signed_be_bytes_and_exponent(12345678i32.to_be_bytes().to_vec(), 3)),
		CqlValue::Double(1.5e300), CqlValue::Duration(CqlDuration { months: 1, days: 2, nanoseconds: 3_000_000_000 }),
		CqlValue::Float(0.5), CqlValue::Inet("192.0.2.7".parse()?), CqlValue::Int(7), CqlValue::SmallInt(300),
		text("välue \u{1F600}"), CqlValue::Time(CqlTime(47_655_123_456_789)),
		CqlValue::Timestamp(CqlTimestamp(1_709_209_974_789)),
		CqlValue::Timeuuid("50554d6e-29bb-11e5-b345-feff819cdc9f".parse::<CqlTimeuuid>()?), CqlValue::TinyInt(-5),
		CqlValue::Uuid("123e4567-e89b-42d3-a456-426614174000".parse()?),
		CqlValue::Varint(CqlVarint::from_signed_bytes_be((1i128 << 70).to_be_bytes().to_vec())), ints(&[1, 2, 3]),
		CqlValue::Set(vec![text("a"), text("b")]),
		CqlValue::Map(vec![(text("x"), CqlValue::Int(1)), (text("y"), CqlValue::Int(2))]),
		CqlValue::Tuple(some(vec![CqlValue::Int(1), text("one")])), person(keyspace, Some("ann"), 30),
		CqlValue::Map(vec![(text("k"), ints(&[1, 2]))]),
	]))
}

fn extreme(keyspace: &str) -> Outcome<Vec<Option<CqlValue>>> {
	Ok(some(vec![
		CqlValue::Ascii(String::new()), CqlValue::BigInt(i64::MIN), CqlValue::Blob(vec![]), CqlValue::Boolean(false),
		CqlValue::Date(CqlDate((1u32 << 31) - 25202)),
		CqlValue::Decimal(CqlDecimal::from_signed_be_bytes_and_exponent(vec![255], -10)), CqlValue::Double(5e-324),
		CqlValue::Duration(CqlDuration { months: -1, days: -2, nanoseconds: -3 }), CqlValue::Float(f32::MIN),
		CqlValue::Inet("2001:db8::1".parse()?), CqlValue::Int(i32::MIN), CqlValue::SmallInt(i16::MIN), text(""),
		CqlValue::Time(CqlTime(0)), CqlValue::Timestamp(CqlTimestamp(-1)),
		CqlValue::Timeuuid("13814000-1dd2-11b2-8000-000000000000".parse::<CqlTimeuuid>()?), CqlValue::TinyInt(127),
		CqlValue::Uuid("ffffffff-ffff-4fff-bfff-ffffffffffff".parse()?),
		CqlValue::Varint(CqlVarint::from_signed_bytes_be((-(1i128 << 70)).to_be_bytes().to_vec())),
		CqlValue::List(vec![]), CqlValue::Set(vec![]), CqlValue::Map(vec![]),
		CqlValue::Tuple(some(vec![CqlValue::Int(-1), text("")])), person(keyspace, None, -1), CqlValue::Map(vec![]),
	]))
}

fn is_empty(value: &CqlValue) -> bool {
	matches!(value, CqlValue::List(list) | CqlValue::Set(list) if list.is_empty())
		|| matches!(value, CqlValue::Map(pairs) if pairs.is_empty())
}

async fn types(session: &Session, keyspace: &str) -> Outcome<()> {
	let insert = session.prepare(format!("INSERT INTO types (id, {TYPES}) VALUES (?{})", ", ?".repeat(25))).await?;
	let select = session.prepare(format!("SELECT {TYPES} FROM types WHERE id = ?")).await?;
	let mut wrong = vec![];
	for (id, values) in [(1, ordinary(keyspace)?), (2, vec![None; 25]), (3, extreme(keyspace)?)] {
		let mut bound = vec![Some(CqlValue::Int(id))];
		bound.extend(values.clone());
		session.execute_unpaged(&insert, bound).await?;
		let rows = session.execute_unpaged(&select, (id,)).await?.into_rows_result()?;
		let row = rows.single_row::<Row>()?;
		for (at, (wrote, read)) in values.into_iter().zip(row.columns).enumerate() {
			// an empty collection is null
			if wrote.clone().filter(|value| !is_empty(value)) != read {
				wrong.push(format!("{id} {at}: {wrote:?} {read:?}"));
			}
		}
	}
	tell("types", json!({"wrong": wrong}));
	Ok(())
}

async fn paging(session: &Session) -> Outcome<()> {
	let mut select = session.prepare("SELECT c, v FROM rows WHERE p = ?").await?;
	select.set_page_size(30);
	let (mut pages, mut rows, mut sum, mut state) = (0, 0, 0, PagingState::start());
	loop {
		let (page, next) = session.execute_single_page(&select, (1,), state).await?;
		pages += 1;
		for row in page.into_rows_result()?.rows::<(i32, String)>()? {
			let (c, v) = row?;
			if v != format!("välue {c}") {
				return Err(format!("row {c}: {v}").into());
			}
			rows += 1;
			sum += c;
		}
		match next {
			PagingStateResponse::HasMorePages { state: more } => state = more,
			PagingStateResponse::NoMorePages => break,
		}
	}
	let mut text = Statement::new("SELECT c FROM rows WHERE p = 1");
	text.set_page_size(30);
	let all = session.query_iter(text, ()).await?.rows_stream::<(i32,)>()?.count().await;
	tell("paging", json!({"rows": rows, "sum": sum, "pages": pages, "simple": all}));
	Ok(())
}

async fn batches(session: &Session, insert: &PreparedStatement) -> Outcome<()> {
	for (kind, first) in [(BatchType::Logged, 1), (BatchType::Unlogged, 3)] {
		let mut batch = Batch::new(kind);
		batch.append_statement(insert.clone());
		batch.append_statement("INSERT INTO rows (p, c, v) VALUES (2, ?, 'text')");
		session.batch(&batch, ((2, first, "bound"), (first + 1,))).await?;
	}
	let add = session.prepare("UPDATE hits SET n = n + ? WHERE id = ?").await?;
	session.execute_unpaged(&add, (Counter(3), 1)).await?;
	let mut batch = Batch::new(BatchType::Counter);
	batch.append_statement(add.clone());
	batch.append_statement(add);
	session.batch(&batch, ((Counter(2), 1), (Counter(4), 2))).await?;
	let hits = scalar(session, "SELECT n FROM hits WHERE id = 1").await?.as_counter().map(|counter| counter.0);
	tell("batches", json!({"counter": hits}));
	Ok(())
}

async fn conditional(session: &Session) -> Outcome<()> {
	let insert = session.prepare("INSERT INTO rows (p, c, v) VALUES (3, 1, ?) IF NOT EXISTS").await?;
	let mut applied = vec![];
	let mut found = None;
	for value in ["once", "twice"] {
		let result = session.execute_unpaged(&insert, (value,)).await?.into_rows_result()?;
		let at = result.column_specs().iter().position(|column| column.name() == "v");
		let row = result.single_row::<Row>()?;
		applied.push(row.columns[0].as_ref().and_then(|value| value.as_boolean()));
		found = at.and_then(|at| row.columns[at].as_ref().and_then(|value| value.as_text().cloned()));
	}
	tell("conditional", json!({"applied": applied, "found": found}));
	Ok(())
}

async fn errors(session: &Session) -> Outcome<()> {
	let mut seen = vec![];
	for text in ["SELEKT v FROM rows", "SELECT v FROM no_such_table", &option("FORBIDDEN")] {
		seen.push(match session.query_unpaged(text, ()).await {
			Err(ExecutionError::LastAttemptError(RequestAttemptError::DbError(error, _))) => match error {
				DbError::SyntaxError => "syntax".to_owned(),
				DbError::Invalid => "invalid".to_owned(),
				DbError::Unauthorized => "unauthorized".to_owned(),
				other => format!("{other:?}"),
			},
			other => format!("{other:?}"),
		});
	}
	tell("errors", json!({"seen": seen}));
	Ok(())
}

async fn events(session: &Session, keyspace: &str) {
	let started = Instant::now();
	let mut seen = None;
	while seen.is_none() && started.elapsed() < PATIENCE {
		tokio::time::sleep(Duration::from_millis(50)).await;
		seen = columns(session, keyspace, "outside").await;
	}
	tell("events", json!({"columns": seen}));
}

/// The session goes on, and with it a statement that was prepared before.
async fn reconnect(session: &Session, insert: &PreparedStatement) -> Outcome<()> {
	let started = Instant::now();
	while let Err(error) = session.execute_unpaged(insert, (5, 1, "prepared before")).await {
		if started.elapsed() > PATIENCE {
			return Err(error.into());
		}
		tokio::time::sleep(Duration::from_millis(50)).await;
	}
	session.query_unpaged("INSERT INTO rows (p, c, v) VALUES (5, 2, 'simple')", ()).await?;
	let read = scalar(session, "SELECT v FROM rows WHERE p = 5 AND c = 1").await?;
	tell("reconnect", json!({"read": read.as_text()}));
	Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
	let keyspace = option("KEYSPACE");
	let script = std::fs::read_to_string(option("SCHEMA"))?.replace("$KEYSPACE", &keyspace);
	let mut schema_texts = script.lines();

	let first = connect(None).await?;
	let name = scalar(&first, "SELECT cluster_name FROM system.local WHERE key = 'local'").await?;
	tell("connect", json!({"cluster": name.as_text()}));
	first.query_unpaged(schema_texts.next().ok_or("an empty schema")?, ()).await?;
	let session = connect(Some(&keyspace)).await?;
	for text in schema_texts {
		session.query_unpaged(text, ()).await?;
	}
	let insert = session.prepare("INSERT INTO rows (p, c, v) VALUES (?, ?, ?)").await?;
	schema(&session, &keyspace).await?;
	statements(&session, &insert).await?;
	types(&session, &keyspace).await?;
	paging(&session).await?;
	batches(&session, &insert).await?;
	conditional(&session).await?;
	errors(&session).await?;
	ask("outside");
	events(&session, &keyspace).await;
	ask("restart");
	reconnect(&session, &insert).await?;
	tell("end", json!({}));
	Ok(())
}
