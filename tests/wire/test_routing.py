"""Which cluster gets which statement, as QUERY and as PREPARE and EXECUTE."""
import pytest

import behaviour
from cqlwire import CL, Err, Kind, Op, Writer
from fakecluster import markers_of
from helpers import PRIMARIES, assert_error, reached

#: texts, each with the lines of the checklist that it shows
READS = {
    "SELECT * FROM ks.t": [80, 81],
    "select a, b from ks.t where k = 1;": [102],
    "  \n\tSELECT * FROM ks.t": [],
    "/* block */ SELECT * FROM ks.t": [99],
    "-- line\nSELECT * FROM ks.t": [99],
    "// line\r\nSELECT * FROM ks.t": [99],
    "/* INSERT INTO ks.t */ -- DELETE\n// UPDATE\nSELECT /* x */ a FROM ks.t": [99],
    "SELECT * FROM ks.t -- behind it, no newline": [100],
    "SELECT * FROM ks.t;;": [101],
    "SELECT token(k) FROM ks.t": [103],
    "SELECT * FROM ks.t WHERE token(k) > ?": [104],
    "SELECT * FROM ks.t WHERE token(k) > token(1)": [105],
    "SELECT a.b, m['k'], a + 1 FROM ks.t": [106],
    "SELECT * FROM ks.t ORDER BY v ANN OF [1.0, 2.0] LIMIT 3": [107],
    "SELECT * FROM ks.t WHERE a NOT IN (1, 2) AND b BETWEEN 1 AND 2 AND c <> 3 AND expr(idx, 'q')": [108],
    "SELECT * FROM ks.t GROUP BY floor(ts, 5m)": [109],
    "SELECT JSON * FROM ks.t": [110],
    "SELECT DISTINCT k FROM ks.t": [110],
    "SELECT COUNT(*) FROM ks.t": [110],
    "SELECT JSON DISTINCT COUNT(*), CAST(a AS text), writetime(v), ttl(v), max(min(v)) FROM ks.t": [110],
    "SELECT * FROM ks.t GROUP BY a, b ORDER BY c DESC PER PARTITION LIMIT 2 LIMIT ? ALLOW FILTERING": [111],
    "SELECT * FROM ks.t WHERE c CONTAINS 1 AND m CONTAINS KEY 'x' AND s LIKE '%a' AND v IS NOT NULL "
    "AND (a, b) IN ((1, 2)) AND k IN ?": [112],
    "SELECT * FROM ks.t WHERE v : 'fuzzy' OR w = 1": [113],
    "SELECT * FROM ks.t WHERE solr_query = 'name:x'": [114],
    "SELECT * FROM ks.t WHERE solr_query = '{\"q\": \"*:*\"}'": [114],
    "SELECT call, \"call\" FROM ks.t": [115],
    "SELECT \"insert\" FROM \"ks\".\"T\" WHERE a = 'UPDATE x'": [],
    "SELECT * FROM \"System\".t": [93],
    "SELECT * FROM system_foo.t": [95],
    "SELECT * FROM dse_foo.t": [95],
}

WRITES = {
    "INSERT INTO ks.t (k) VALUES (1)": [82],
    "insert into ks.t (k, v) values (?, ?) using ttl 5": [],
    "UPDATE ks.t SET v = 1 WHERE k = 1": [82],
    "DELETE FROM ks.t WHERE k = 1": [82],
    "INSERT INTO ks.t (k) VALUES (1) IF NOT EXISTS": [],
    "UPDATE ks.t SET v = 1 WHERE k = 1 IF v = 2": [],
    "DELETE FROM ks.t WHERE k = 1 IF EXISTS": [],
    "BEGIN BATCH INSERT INTO ks.t (k) VALUES (1); UPDATE ks.t SET v = 2 WHERE k = 2 APPLY BATCH": [84],
    "BEGIN UNLOGGED BATCH DELETE FROM ks.t WHERE k = 1 APPLY BATCH": [],
    "INSERT INTO ks.t JSON '{\"k\": 1}'": [86],
    "INSERT INTO system_auth.roles (role) VALUES ('x')": [98],
    "CREATE TABLE ks.t2 (k int PRIMARY KEY)": [87],
    "ALTER TABLE ks.t ADD w int": [87],
    "DROP TABLE ks.t2": [87],
    "TRUNCATE ks.t": [87],
    "TRUNCATE TABLE ks.t": [],
    "GRANT SELECT ON KEYSPACE ks TO r": [87],
    "REVOKE SELECT ON KEYSPACE ks FROM r": [87],
    "CREATE ROLE r WITH PASSWORD = 'x'": [],
    "CALL DseGraphRpc.run(1)": [119],
    "g.V().has('name', 'x').values('age')": [89],
    "": [88],
    "   ": [],
    ";": [],
    "SELEC * FROM ks.t": [],
    "BEGIN TRANSACTION SELECT * FROM ks.t; COMMIT TRANSACTION": [],
    "EXPLAIN SELECT * FROM ks.t": [],
    "\u00e9\u00e8 not CQL at all": [],
}

SYSTEM_READS = [
    "SELECT * FROM system_schema.tables",
    "SELECT * FROM system_auth.roles",
    "SELECT * FROM \"system_auth\".\"roles\"",
    "select * from SYSTEM_TRACES.sessions",
    "SELECT * FROM system_virtual_schema.tables",
    "SELECT * FROM system.size_estimates",
    "SELECT token(x) FROM system.size_estimates -- comment",
    "SELECT prepared_id FROM system.prepared_statements",
    "SELECT keyspace_name, toJson(replication) AS replication FROM system_schema.keyspaces",
]


async def check(bench, text, expected, prepare=True):
    """QUERY of the text reaches the expected clusters; PREPARE reaches both, EXECUTE the expected ones."""
    c = await bench.client()
    markers = markers_of(text)
    answer = await c.query(text, values=[b"v"] * len(markers) if markers else None)
    assert not answer.is_error(), answer
    await bench.settle(c)
    assert reached(bench, Op.QUERY, text) == expected
    if not prepare:
        return
    prepared = await c.prepare(text)
    assert prepared.kind == Kind.PREPARED, prepared
    assert reached(bench, Op.PREPARE, text) == "both"
    answer = await c.execute(prepared, values=[b"v"] * len(markers) if markers else None)
    assert not answer.is_error(), answer
    await bench.settle(c)
    assert reached(bench, Op.EXECUTE, text) == expected


def marked(texts):
    """The texts as parameters, each marked with its lines."""
    return [pytest.param(text, marks=pytest.mark.checklist(*lines) if lines else ()) for text, lines in texts.items()]


@pytest.mark.parametrize("primary", PRIMARIES)
@pytest.mark.parametrize("text", marked(READS))
async def test_reads_go_to_the_primary(make_bench, primary, text):
    await check(await make_bench(primary=primary), text, primary)


@pytest.mark.parametrize("primary", PRIMARIES)
@pytest.mark.parametrize("text", marked(WRITES))
async def test_writes_and_what_nobody_knows_go_to_both(make_bench, primary, text):
    await check(await make_bench(primary=primary), text, "both")


@pytest.mark.checklist(120)
@pytest.mark.parametrize("primary", PRIMARIES)
async def test_the_error_of_a_wrong_text_comes_back(make_bench, primary):
    bench = await make_bench(primary=primary)
    text = "SELEC * FROM ks.t"
    for cluster in bench.clusters:
        cluster.on(text, behaviour.error(Err.SYNTAX_ERROR, f"{cluster.name}: no viable alternative at SELEC"))
    c = await bench.client()
    for answer in (await c.query(text), await c.prepare(text)):
        assert_error(answer, Err.SYNTAX_ERROR, f"{primary}: no viable alternative")
    assert reached(bench, Op.QUERY, text) == reached(bench, Op.PREPARE, text) == "both"


@pytest.mark.checklist(91, 92, 93)
@pytest.mark.parametrize("primary", PRIMARIES)
@pytest.mark.parametrize("system", PRIMARIES)
@pytest.mark.parametrize("text", SYSTEM_READS)
async def test_system_keyspaces_have_their_own_cluster(make_bench, primary, system, text):
    bench = await make_bench(primary=primary, sections={"routing": {"system_queries_mode": system}})
    await check(bench, text, system)


@pytest.mark.checklist(87)
@pytest.mark.parametrize("text", ["LIST ROLES", "LIST ALL PERMISSIONS OF r", "DESCRIBE KEYSPACES", "DESC TABLE ks.t",
                                  "DESCRIBE FULL SCHEMA"])
async def test_list_and_describe_go_to_one(bench, text):
    c = await bench.client()
    answer = await c.query(text)
    assert not answer.is_error(), answer
    await bench.settle(c)
    assert reached(bench, Op.QUERY, text) in PRIMARIES


@pytest.mark.checklist(85)
@pytest.mark.parametrize("primary", PRIMARIES)
@pytest.mark.parametrize("version", [3, 4, 5])
async def test_batches_go_to_both(make_bench, primary, version):
    bench = await make_bench(primary=primary)
    c = await bench.client(version)
    for children in ([("INSERT INTO ks.t (k) VALUES (1)", [])], [("INSERT INTO ks.t (k) VALUES (?)", [b"1"])] * 3, []):
        assert (await c.batch(children)).kind == Kind.VOID
    for cluster in bench.clusters:
        assert [len(r.children) for r in cluster.requests(Op.BATCH)] == [1, 3, 0]


@pytest.mark.checklist(90, 94)
@pytest.mark.parametrize("primary", PRIMARIES)
async def test_use_goes_to_both_and_decides_for_unqualified_names(make_bench, primary):
    bench = await make_bench(primary=primary)
    c = await bench.client()
    await c.use("system_schema")
    assert reached(bench, Op.QUERY, "USE system_schema") == "both"
    await c.query("SELECT * FROM tables")
    await c.use('"Mixed Case"')
    answer = await c.query("SELECT * FROM t")
    assert answer.dicts()[0]["keyspace"] == "Mixed Case"
    await bench.settle(c)
    assert reached(bench, Op.QUERY, "SELECT * FROM tables") == "origin"  # system_queries_mode's default
    assert reached(bench, Op.QUERY, "SELECT * FROM t") == primary


@pytest.mark.checklist(96, 201)
async def test_a_keyspace_in_a_v5_request_decides_for_it(make_bench):
    bench = await make_bench(primary="target")
    c = await bench.client(5, keyspace="ks")
    await c.query("SELECT * FROM tables", keyspace="system_schema")
    assert reached(bench, Op.QUERY, "SELECT * FROM tables") == "origin"
    prepared = await c.prepare("SELECT * FROM views", keyspace="system_schema")
    assert reached(bench, Op.PREPARE, "SELECT * FROM views") == "both"
    for cluster in bench.clusters:
        assert cluster.requests(Op.PREPARE)[0].request.keyspace == "system_schema"
    await c.execute(prepared)
    await bench.settle(c)
    assert reached(bench, Op.EXECUTE, "SELECT * FROM views") == "origin"
    await c.query("SELECT * FROM mine")
    await bench.settle(c)
    assert reached(bench, Op.QUERY, "SELECT * FROM mine") == "target"


@pytest.mark.checklist(97)
async def test_v4_has_no_keyspace_in_requests(make_bench):
    """Bit 0x80 of the flags is v5's keyspace: in v4 it says nothing, and is the node's to judge."""
    bench = await make_bench(primary="target")
    c = await bench.client(4, keyspace="ks")
    text = "SELECT * FROM tables"
    body = Writer().long_string(text).short(CL.ONE).byte(0x80).done()
    answer = await c.ask(Op.QUERY, body)
    assert answer.dicts()[0] == {"cluster": "target", "keyspace": "ks", "statement": text}
    await bench.settle(c)
    assert reached(bench, Op.QUERY, text) == "target"
    assert bench.target.requests(Op.QUERY)[-1].body == body


@pytest.mark.checklist(88)
@pytest.mark.parametrize("version", [4, 5])
async def test_custom_payloads_pass_both_ways(bench, version):
    c = await bench.client(version)
    payload = {"graph-language": b"gremlin", "empty": b"", "null": None}
    for cluster in bench.clusters:
        cluster.on(Op.QUERY, behaviour.normally(payload={"answer": cluster.name.encode()}))
    answer = await c.answer(c.send_query("", payload=payload))
    assert answer.payload == {"answer": b"origin"}
    for cluster in bench.clusters:
        assert cluster.requests(Op.QUERY)[0].payload == payload


@pytest.mark.checklist(202)
@pytest.mark.parametrize("version", [3, 4, 5])
@pytest.mark.parametrize("text", ["INSERT INTO ks.t (k, v) VALUES (now(), ?)", "UPDATE ks.t SET v = now() WHERE k = ?",
                                  "SELECT * FROM ks.t WHERE k = now() AND v = ?"])
async def test_functions_are_left_alone(bench, version, text):
    """replace_cql_functions is off by default: texts, variables and values arrive as they were sent."""
    c = await bench.client(version)
    await c.query(text, values=[b"v"])
    prepared = await c.prepare(text)
    assert len(prepared.bind) == 1
    await c.execute(prepared, values=[b"v"])
    await c.batch([(text, [b"v"])])
    await bench.settle(c)
    for cluster in bench.clusters:
        seen = cluster.requests(Op.QUERY, Op.PREPARE, Op.EXECUTE)
        assert {r.statement for r in seen} <= {text}
        assert all(r.params is None or r.params.values == [b"v"] for r in seen)
        assert cluster.requests(Op.BATCH)[0].children == [(text, [b"v"])]


@pytest.mark.parametrize("version", [3, 4, 5])
async def test_long_texts_are_classified_too(bench, version):
    """Longer than any read buffer, with the table at the very end."""
    c = await bench.client(version)
    text = "SELECT " + ", ".join(f"column_{i}" for i in range(40000)) + " FROM ks.t"
    assert len(text) > 500_000
    answer = await c.query(text)
    assert answer.rows[0][2] == text
    await bench.settle(c)
    assert reached(bench, Op.QUERY, text) == "origin"
