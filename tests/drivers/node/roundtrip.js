// roundtrip.js - the round trip of test_round_trips.py with Node's driver.
'use strict';

const assert = require('assert');
const cassandra = require('cassandra-driver');

const [host, port, keyspace, version] = process.argv.slice(2);

function client() {
  const protocolOptions = { port: Number(port) };
  if (version !== '0')
    protocolOptions.maxVersion = Number(version);
  return new cassandra.Client({
    contactPoints: [host], localDataCenter: 'datacenter1', keyspace, protocolOptions,
    policies: { retry: new cassandra.policies.retry.FallthroughRetryPolicy() },
    queryOptions: { consistency: cassandra.types.consistencies.localOne },
  });
}

async function fill(session, rows) {
  const parameters = [];
  for (let c = 0; c < rows; c++)
    parameters.push([1, c, `välue ${c}`, [c, 2 * c], { k: c }, cassandra.types.Uuid.random(), null]);
  const result = await cassandra.concurrent.executeConcurrent(
    session, 'INSERT INTO rows (p, c, v, l, m, u, n) VALUES (?, ?, ?, ?, ?, ?, ?)', parameters,
    { prepare: true, concurrencyLevel: 64 });
  assert.strictEqual(result.errors.length, 0);
}

async function read(session) {
  let count = 0;
  let sum = 0;
  const query = 'SELECT c, v, l, m FROM rows WHERE p = ?';
  for await (const row of await session.execute(query, [1], { prepare: true, fetchSize: 50 })) {
    assert.deepStrictEqual([row.v, row.l, row.m], [`välue ${row.c}`, [row.c, 2 * row.c], { k: row.c }]);
    count++;
    sum += row.c;
  }
  return { rows: count, sum };
}

async function main() {
  const session = client();
  await session.connect();
  await session.execute(
    'CREATE TABLE rows (p int, c int, v text, l list<int>, m map<text, int>, u uuid, n text, PRIMARY KEY (p, c))');
  await session.execute('CREATE TABLE hits (id int PRIMARY KEY, n counter)');
  await fill(session, 200);
  const result = await read(session);

  await session.batch([
    { query: 'INSERT INTO rows (p, c, v) VALUES (?, ?, ?)', params: [2, 1, 'bound'] },
    { query: 'INSERT INTO rows (p, c, v) VALUES (2, 2, ?)', params: ['text'] },
  ], { prepare: true });

  result.applied = [];
  for (let i = 0; i < 2; i++) {
    const answer = await session.execute('INSERT INTO rows (p, c, v) VALUES (3, 1, ?) IF NOT EXISTS', ['once']);
    result.applied.push(answer.wasApplied());
  }
  const three = cassandra.types.Long.fromNumber(3);
  await session.execute('UPDATE hits SET n = n + ? WHERE id = 1', [three], { prepare: true });
  const hits = await session.execute('SELECT n FROM hits WHERE id = 1');
  result.counter = Number(hits.first().n);
  result.refused = await session.execute('SELECT nope FROM rows').then(
    () => false, (error) => error.code === cassandra.types.responseErrorCodes.invalid);
  await session.shutdown();
  console.log(JSON.stringify(result));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
