// roundtrip.js - the round trip of test_drivers.py with Node's driver.
'use strict';

const assert = require('assert');
const fs = require('fs');
const readline = require('readline');
const cassandra = require('cassandra-driver');

const { types } = cassandra;
const TYPES = ('v_ascii v_bigint v_blob v_boolean v_date v_decimal v_double v_duration v_float v_inet v_int ' +
  'v_smallint v_text v_time v_timestamp v_timeuuid v_tinyint v_uuid v_varint v_list v_set v_map v_tuple v_udt ' +
  'v_nested').split(' ');
const PATIENCE = 30000;

const input = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

function option(name) {
  return process.env['TRIP_' + name] || '';
}

function tell(step, more) {
  console.log(JSON.stringify({ ...more, step }));
}

// Tells the test that it is its turn, and waits for it.
async function ask(step) {
  tell(step);
  const line = await input.next();
  assert(!line.done);
}

function pause() {
  return new Promise((resolve) => setTimeout(resolve, 50));
}

function client(keyspace) {
  const options = { contactPoints: [option('ADDRESS')], localDataCenter: 'datacenter1', keyspace,
    protocolOptions: { port: Number(option('PORT')) } };
  if (option('VERSION'))
    options.protocolOptions.maxVersion = Number(option('VERSION'));
  if (option('CA'))
    options.sslOptions = { ca: [fs.readFileSync(option('CA'))], rejectUnauthorized: true };
  if (option('USER'))
    options.credentials = { username: option('USER'), password: option('PASSWORD') };
  return new cassandra.Client(options);
}

async function columns(session, keyspace, table) {
  const known = await session.metadata.getTable(keyspace, table);
  return known ? known.columns.map((column) => column.name).sort() : null;
}

async function schema(session, keyspace) {
  const known = await session.metadata.getTable(keyspace, 'rows');
  tell('schema', { columns: await columns(session, keyspace, 'rows'),
    key: known.partitionKeys.map((column) => column.name), hosts: session.hosts.values().map((host) => host.address) });
}

const INSERT = 'INSERT INTO rows (p, c, v) VALUES (?, ?, ?)';

async function statements(session) {
  await session.execute('INSERT INTO rows (p, c, v) VALUES (4, 1, ?)', ['simple']);
  await session.execute("INSERT INTO rows (p, c, v) VALUES (4, 2, 'literal')");
  const parameters = [];
  for (let c = 0; c < 200; c++)
    parameters.push([1, c, `välue ${c}`]);
  const written = await cassandra.concurrent.executeConcurrent(session, INSERT, parameters,
    { prepare: true, concurrencyLevel: 64 });
  assert.strictEqual(written.errors.length, 0);
  const result = await session.execute('SELECT v FROM rows WHERE p = 4 AND c = 2');
  tell('statements', { literal: result.first().v });
}

function varint(sign) {
  const digits = BigInt(2) ** BigInt(70) * BigInt(sign);
  return types.Integer.fromString(digits.toString());
}

function ordinary() {
  return ['ascii', types.Long.fromString('9007199254740993'), Buffer.from([0, 1, 255]), true,
    types.LocalDate.fromString('2024-02-29'), types.BigDecimal.fromString('12345.678'), 1.5e300,
    new types.Duration(1, 2, types.Long.fromString('3000000000')), 0.5, types.InetAddress.fromString('192.0.2.7'), 7,
    300, 'välue \u{1F600}', types.LocalTime.fromString('13:14:15.123456789'), new Date(1709209974789),
    types.TimeUuid.fromString('50554d6e-29bb-11e5-b345-feff819cdc9f'), -5,
    types.Uuid.fromString('123e4567-e89b-42d3-a456-426614174000'), varint(1), [1, 2, 3], ['a', 'b'], { x: 1, y: 2 },
    new types.Tuple(1, 'one'), { name: 'ann', age: 30 }, { k: [1, 2] }];
}

function extreme() {
  return ['', types.Long.MIN_VALUE, Buffer.alloc(0), false, types.LocalDate.fromString('1901-01-01'),
    new types.BigDecimal(types.Integer.fromInt(-1), -10), 5e-324, new types.Duration(-1, -2, types.Long.fromInt(-3)),
    -3.4028234663852886e38, types.InetAddress.fromString('2001:db8::1'), -(2 ** 31), -(2 ** 15), '',
    types.LocalTime.fromString('00:00:00'), new Date(-1),
    types.TimeUuid.fromString('13814000-1dd2-11b2-8000-000000000000'), 127,
    types.Uuid.fromString('ffffffff-ffff-4fff-bfff-ffffffffffff'), varint(-1), [], [], {}, new types.Tuple(-1, ''),
    { name: null, age: -1 }, {}];
}

function isEmpty(value) {
  return value === null || Array.isArray(value) && value.length === 0 ||
    Object.getPrototypeOf(value) === Object.prototype && Object.keys(value).length === 0;
}

function same(wrote, read) {
  if (isEmpty(wrote))
    return read === null || isEmpty(read);
  if (read === null)
    return false;
  if (typeof wrote.equals === 'function')
    return wrote.equals(read);
  try {
    assert.deepEqual(read, wrote);
    return true;
  } catch {
    return false;
  }
}

async function allTypes(session) {
  const insert = `INSERT INTO types (id, ${TYPES.join(', ')}) VALUES (?${', ?'.repeat(25)})`;
  const select = `SELECT ${TYPES.join(', ')} FROM types WHERE id = ?`;
  const wrong = [];
  for (const [id, values] of [[1, ordinary()], [2, new Array(25).fill(null)], [3, extreme()]]) {
    await session.execute(insert, [id, ...values], { prepare: true });
    const row = (await session.execute(select, [id], { prepare: true })).first();
    TYPES.forEach((name, at) => {
      if (!same(values[at], row[name]))
        wrong.push(`${id} ${name}: ${values[at]} ${row[name]}`);
    });
  }
  tell('types', { wrong });
}

async function paging(session) {
  const seen = { rows: 0, sum: 0, pages: 0, simple: 0 };
  let pageState;
  do {
    const page = await session.execute('SELECT c, v FROM rows WHERE p = ?', [1],
      { prepare: true, fetchSize: 30, pageState });
    for (const row of page.rows) {
      assert.strictEqual(row.v, `välue ${row.c}`);
      seen.rows++;
      seen.sum += row.c;
    }
    seen.pages++;
    pageState = page.pageState;
  } while (pageState);
  for await (const row of await session.execute('SELECT c FROM rows WHERE p = 1', [], { fetchSize: 30 }))
    seen.simple += row ? 1 : 0;
  tell('paging', seen);
}

async function batches(session) {
  for (const [first, logged] of [[1, true], [3, false]]) {
    await session.batch([
      { query: INSERT, params: [2, first, 'bound'] },
      { query: "INSERT INTO rows (p, c, v) VALUES (2, ?, 'text')", params: [first + 1] },
    ], { prepare: true, logged });
  }
  const add = 'UPDATE hits SET n = n + ? WHERE id = ?';
  await session.execute(add, [types.Long.fromInt(3), 1], { prepare: true });
  await session.batch([{ query: add, params: [types.Long.fromInt(2), 1] },
    { query: add, params: [types.Long.fromInt(4), 2] }], { prepare: true, counter: true });
  const hits = await session.execute('SELECT n FROM hits WHERE id = 1');
  tell('batches', { counter: Number(hits.first().n) });
}

async function conditional(session) {
  const results = [];
  for (const value of ['once', 'twice']) {
    results.push(await session.execute('INSERT INTO rows (p, c, v) VALUES (3, 1, ?) IF NOT EXISTS', [value],
      { prepare: true }));
  }
  tell('conditional', { applied: results.map((result) => result.wasApplied()), found: results[1].first().v });
}

async function errors(session) {
  const codes = types.responseErrorCodes;
  const names = { [codes.syntaxError]: 'syntax', [codes.invalid]: 'invalid', [codes.unauthorized]: 'unauthorized' };
  const seen = [];
  for (const text of ['SELEKT v FROM rows', 'SELECT v FROM no_such_table', option('FORBIDDEN')]) {
    seen.push(await session.execute(text).then(() => 'nothing', (error) =>
      error instanceof cassandra.errors.ResponseError && names[error.code] || String(error)));
  }
  tell('errors', { seen });
}

async function events(session, keyspace) {
  const deadline = Date.now() + PATIENCE;
  let seen = await columns(session, keyspace, 'outside');
  while (!seen && Date.now() < deadline) {
    await pause();
    seen = await columns(session, keyspace, 'outside');
  }
  tell('events', { columns: seen });
}

// The session goes on, and with it a statement that was prepared before. This driver may have a host without connections
// once more after the first success: when its control connection comes back late, it adds the host anew. So all of it is
// repeated until it holds.
async function reconnect(session) {
  const deadline = Date.now() + PATIENCE;
  for (;;) {
    try {
      await session.execute(INSERT, [5, 1, 'prepared before'], { prepare: true });
      await session.execute("INSERT INTO rows (p, c, v) VALUES (5, 2, 'simple')");
      const result = await session.execute('SELECT v FROM rows WHERE p = 5 AND c = 1');
      tell('reconnect', { read: result.first().v });
      return;
    } catch (error) {
      if (Date.now() > deadline)
        throw error;
      await pause();
    }
  }
}

async function main() {
  const keyspace = option('KEYSPACE');
  const script = fs.readFileSync(option('SCHEMA'), 'utf8').replaceAll('$KEYSPACE', keyspace);
  const [create, ...more] = script.trim().split('\n');
  const first = client();
  await first.connect();
  const name = await first.execute("SELECT cluster_name FROM system.local WHERE key = 'local'");
  tell('connect', { cluster: name.first().cluster_name });
  await first.execute(create);
  await first.shutdown();
  const session = client(keyspace);
  await session.connect();
  for (const text of more)
    await session.execute(text);
  await schema(session, keyspace);
  await statements(session);
  if (option('VERSION') !== '3') // which has not all types
    await allTypes(session);
  await paging(session);
  await batches(session);
  await conditional(session);
  await errors(session);
  await ask('outside');
  await events(session, keyspace);
  await ask('restart');
  await reconnect(session);
  tell('end');
  await session.shutdown();
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
