"""
What every driver does, in every version that the proxy speaks: v2 to v5 and DSE's two, between clusters that speak it.
"""
import pytest

import behaviour
from cqlwire import DSE1, DSE2, Err, Kind, Op, Type, requests
from cqlwire.const import has_keyspace
from helpers import assert_error, reached, warned

#: Cassandra 2.1 and its like, Cassandra 4, DSE
KINDS = {2: (2, 3), 3: (2, 3), 4: (3, 4, 5), 5: (3, 4, 5), DSE1: (3, 4, DSE1, DSE2), DSE2: (3, 4, DSE1, DSE2)}
VERSIONS = sorted(KINDS)
WAYS = [(version, compression) for version in VERSIONS
        for compression in ((None, "lz4") if version == 5 else (None, "lz4", "snappy"))]
IDS = [f"v{version}-{compression or 'plain'}" for version, compression in WAYS]

every_version = pytest.mark.parametrize("version", VERSIONS)


async def bench_for(make_bench, version, **more):
    versions = KINDS[version]
    return await make_bench(origin={"versions": versions}, target={"versions": versions}, **more)


@pytest.mark.checklist(1, 2, 44)
@pytest.mark.parametrize("version,compression", WAYS, ids=IDS)
async def test_a_round_trip(make_bench, version, compression):
    bench = await bench_for(make_bench, version)
    c = await bench.client(version, compression)
    assert (await c.query("INSERT INTO ks.t (k) VALUES (1)", values=[b"\0\0\0\1"])).kind == Kind.VOID
    answer = await c.query("SELECT * FROM ks.t")
    assert answer.version == version
    assert answer.dicts() == [{"cluster": "origin", "keyspace": None, "statement": "SELECT * FROM ks.t"}]
    assert bench.origin.statements() == ["INSERT INTO ks.t (k) VALUES (1)", "SELECT * FROM ks.t"]
    assert bench.target.statements() == ["INSERT INTO ks.t (k) VALUES (1)"]
    for cluster in bench.clusters:
        assert len(cluster.requests(Op.STARTUP)) == 1
        assert {r.version for r in cluster.requests()} == {version}
        assert cluster.requests(Op.QUERY)[0].params.values == [b"\0\0\0\1"]


@every_version
async def test_options(make_bench, version):
    bench = await bench_for(make_bench, version)
    c = await bench.open(version)
    names = {2: "2/v2", 3: "3/v3", 4: "4/v4", 5: "5/v5", DSE1: "65/dse-v1", DSE2: "66/dse-v2"}
    wanted = [names[v] for v in KINDS[version]]
    assert (await c.options()).options["PROTOCOL_VERSIONS"] == wanted
    assert (await c.startup()).opcode == Op.READY
    answer = await c.options()
    assert answer.options["PROTOCOL_VERSIONS"] == wanted
    assert answer.version == version


@every_version
async def test_log_in(make_bench, version):
    from fakecluster import Auth
    auth = Auth({"app": "secret", "proxy": "proxy-password"})
    bench = await bench_for_auth(make_bench, version, auth)
    c = await bench.client(version, user="app", password="secret")
    assert (await c.query("SELECT * FROM ks.t")).rows
    assert [x.user for x in bench.target.connections()] == ["app"]


async def bench_for_auth(make_bench, version, auth):
    versions = KINDS[version]
    return await make_bench(fresh=True, origin={"versions": versions, "auth": auth},
                            target={"versions": versions, "auth": auth})


@every_version
async def test_prepared_statements(make_bench, version):
    bench = await bench_for(make_bench, version)
    c = await bench.client(version)
    write = await c.prepare("INSERT INTO ks.t (k, v) VALUES (?, ?)")
    read = await c.prepare("SELECT * FROM ks.t WHERE k = ?")
    assert write.kind == Kind.PREPARED and len(write.bind) == 2
    assert write.pk == ([0] if version >= 4 else [])
    assert (read.result_metadata_id is not None) == has_keyspace(version)
    assert (await c.execute(write, values=[b"1", None])).kind == Kind.VOID
    answer = await c.execute(read, values=[b"1"])
    assert answer.dicts()[0]["statement"] == "SELECT * FROM ks.t WHERE k = ?"
    assert bench.target.requests(Op.EXECUTE)[0].params.values == [b"1", None]
    assert reached(bench, Op.EXECUTE, "SELECT * FROM ks.t WHERE k = ?") == "origin"
    # with the columns left out, as drivers ask for it
    short = await c.execute(read, values=[b"1"], skip_metadata=True)
    assert short.columns is None and short.rows


@every_version
async def test_a_lost_statement_is_prepared_again(make_bench, version):
    bench = await bench_for(make_bench, version)
    c = await bench.client(version, keyspace="ks")
    write = await c.prepare("INSERT INTO t (k) VALUES (?)")
    bench.target.forget_prepared()
    assert (await c.execute(write, values=[b"1"])).kind == Kind.VOID
    assert len(bench.target.requests(Op.PREPARE)) == 2
    assert [r.statement for r in bench.target.requests(Op.EXECUTE)] == [None, "INSERT INTO t (k) VALUES (?)"]
    assert len(bench.origin.requests(Op.EXECUTE)) == 1


@every_version
async def test_a_lost_statement_of_another_keyspace(make_bench, version):
    """v5 and DSE v2 say the keyspace in PREPARE, the others need a connection that stands in it."""
    bench = await bench_for(make_bench, version)
    c = await bench.client(version, keyspace="one")
    write = await c.prepare("INSERT INTO t (k) VALUES (?)")
    await c.use("two")
    bench.target.forget_prepared()
    assert (await c.execute(write, values=[b"1"])).kind == Kind.VOID
    again = bench.target.requests(Op.PREPARE)[1]
    assert (again.request.keyspace or again.keyspace) == "one"
    assert (again.request.keyspace is not None) == has_keyspace(version)


@every_version
async def test_batches(make_bench, version):
    bench = await bench_for(make_bench, version)
    c = await bench.client(version)
    write = await c.prepare("INSERT INTO ks.t (k) VALUES (?)")
    children = [("INSERT INTO ks.t (k) VALUES (1)", []), (write.prepared_id, [b"2"]), (write.prepared_id, [None])]
    assert (await c.batch(children)).kind == Kind.VOID
    if version > 2:
        assert (await c.batch(children, serial_consistency=8, timestamp=1234567)).kind == Kind.VOID
    for cluster in bench.clusters:
        own = cluster.prepared_id("INSERT INTO ks.t (k) VALUES (?)", None)
        batches = cluster.requests(Op.BATCH)
        assert batches[0].children == [children[0], (own, [b"2"]), (own, [None])]
        if version > 2:
            assert batches[1].params.timestamp == 1234567
    bench.target.on(Op.BATCH, behaviour.error(Err.INVALID, "no such thing"))
    assert_error(await c.batch(children), Err.INVALID, "no such thing")


@pytest.mark.checklist(20)
@pytest.mark.parametrize("version", [v for v in VERSIONS if v > 2])
async def test_names_in_a_batch(make_bench, version):
    bench = await bench_for(make_bench, version)
    c = await bench.client(version)
    body = requests.batch(version, [("INSERT INTO ks.t (k) VALUES (1)", [])], flags_extra=0x40)
    assert_error(await c.ask(Op.BATCH, body), Err.PROTOCOL_ERROR, "BATCH", "batch flags")
    assert (await c.query("SELECT * FROM ks.t")).rows
    assert not bench.origin.requests(Op.BATCH)


@every_version
async def test_paging(make_bench, version):
    """Each page comes from the cluster that the first one came from."""
    bench = await bench_for(make_bench, version)
    c = await bench.client(version)
    state, seen = None, []
    for _ in range(3):
        answer = await c.query("SELECT * FROM ks.paged", page_size=1, paging_state=state)
        seen.append(answer.dicts()[0]["statement"])
        state = answer.paging_state
    assert seen == ["page 0", "page 1", "page 2"] and state is None
    assert not bench.target.requests(Op.QUERY)


@pytest.mark.checklist(178)
@every_version
async def test_system_tables(make_bench, version):
    """With collections as the version has them: the reader of the tests leaves no byte unread."""
    bench = await bench_for(make_bench, version)
    c = await bench.client(version)
    answer = await c.query("SELECT * FROM system.local")
    row = answer.dicts()[0]
    assert len(row["tokens"]) == 8 and all(int(token) is not None for token in row["tokens"])
    assert row["cluster_name"] == "origin cluster"
    assert answer.version == version
    only = await c.query("SELECT tokens, key FROM system.local WHERE key = 'local'")
    assert only.rows == [[row["tokens"], "local"]]
    assert (await c.query("SELECT * FROM system.peers")).rows == []
    prepared = await c.prepare("SELECT key, tokens FROM system.local WHERE key = ?")
    assert prepared.columns[1].type == (Type.SET, Type.VARCHAR)
    assert (await c.execute(prepared, values=[b"local"])).rows == [["local", row["tokens"]]]
    assert not bench.origin.requests(Op.QUERY, Op.PREPARE)


@every_version
async def test_use(make_bench, version):
    bench = await bench_for(make_bench, version)
    c = await bench.client(version, keyspace="shop")
    assert (await c.query("SELECT * FROM t")).dicts()[0]["keyspace"] == "shop"
    bench.target.on("USE other", behaviour.error(Err.INVALID, "no keyspace"))
    assert_error(await c.query("USE other"), Err.INVALID, "no keyspace")
    # both stand where they stood
    assert (await c.query("INSERT INTO t (k) VALUES (1)")).kind == Kind.VOID
    assert [r.keyspace for r in bench.origin.requests(Op.QUERY)][-1] == "shop"


@every_version
async def test_errors_of_nodes(make_bench, version):
    bench = await bench_for(make_bench, version)
    c = await bench.client(version)
    for code in (Err.UNAVAILABLE, Err.READ_TIMEOUT, Err.SYNTAX_ERROR, Err.ALREADY_EXISTS):
        bench.origin.on("ks.t", behaviour.error(code, "by the node"), times=1)
        assert_error(await c.query("SELECT * FROM ks.t"), code, "by the node")


@every_version
async def test_time_outs(make_bench, version):
    bench = await bench_for(make_bench, version, sections={"proxy": {"request_timeout": "300ms"}})
    c = await bench.client(version)
    bench.origin.on("ks.t", behaviour.mute())
    answer = await c.query("SELECT * FROM ks.t")
    assert_error(answer, Err.READ_TIMEOUT, "no answer from origin")
    answer = await c.query("INSERT INTO ks.t (k) VALUES (1) IF NOT EXISTS")
    assert_error(answer, Err.WRITE_TIMEOUT, "no answer from origin")
    assert answer.fields["write_type"] == "CAS"
    # v5 has one field more here, which the reader of the tests has looked for
    assert ("contentions" in answer.fields) == (version == 5)


@pytest.mark.own_profile
@pytest.mark.parametrize("version", [v for v in VERSIONS if v >= 3])
async def test_events(make_bench, version):
    """In the zdm profile, where each connection has its own. The native profile's are in test_schema_events.py."""
    bench = await bench_for(make_bench, version, profile="zdm")
    c = await bench.client(version)
    await c.register("SCHEMA_CHANGE", "STATUS_CHANGE")
    for cluster in bench.clusters:
        # in the native profile only the control connections hear of it, and it is told when both have
        table = cluster.name if bench.is_zdm else f"t{version}"
        assert cluster.emit("SCHEMA_CHANGE", "CREATED", "TABLE", "ks", table, control=not bench.is_zdm) == 1
    await c.until(lambda: c.events, "event")
    await bench.settle(c)
    kind, table = (("TABLE",), "origin") if bench.is_zdm else (() if version == 2 else ("TABLE",), f"t{version}")
    assert [e.event for e in c.events] == [("SCHEMA_CHANGE", "CREATED", *kind, "ks", table)]
    assert c.events[0].version == version and c.events[0].stream == -1


@every_version
async def test_schema_changes_pass(make_bench, version):
    bench = await bench_for(make_bench, version)
    c = await bench.client(version)
    answer = await c.query("CREATE KEYSPACE ks WITH replication = {}")
    assert answer.change == (("CREATED", "ks", "") if version == 2 else ("CREATED", "KEYSPACE", "ks"))


@pytest.mark.parametrize("version", [v for v in VERSIONS if v >= 4])
async def test_warnings_and_payloads(make_bench, version):
    bench = await bench_for(make_bench, version)
    c = await bench.client(version)
    bench.origin.on("ks.t", behaviour.normally(payload={"p": b"1"}, **warned("origin")))
    stream = c.send_query("SELECT * FROM ks.t", payload={"k": b"v"})
    answer = await c.answer(stream)
    assert answer.payload == {"p": b"1"} and answer.warnings == ["from origin"]
    assert bench.origin.requests(Op.QUERY)[0].payload == {"k": b"v"}


@pytest.mark.parametrize("version", [2, 3])
async def test_no_payload_before_v4(make_bench, version):
    bench = await bench_for(make_bench, version)
    c = await bench.client(version)
    stream = c.send_query("SELECT * FROM ks.t", payload={"k": b"v"})
    assert_error(await c.answer(stream), Err.PROTOCOL_ERROR, "custom payload")


@pytest.mark.parametrize("version", [5, DSE2])
async def test_the_keyspace_of_a_request(make_bench, version):
    bench = await bench_for(make_bench, version)
    c = await bench.client(version, keyspace="one")
    assert (await c.query("SELECT * FROM t", keyspace="two")).dicts()[0]["keyspace"] == "two"
    assert (await c.query("SELECT * FROM local", keyspace="system")).dicts()[0]["key"] == "local"
    prepared = await c.prepare("SELECT * FROM t", keyspace="two")
    assert (await c.execute(prepared)).dicts()[0]["keyspace"] == "two"
    assert (await c.batch([("INSERT INTO t (k) VALUES (1)", [])], keyspace="two")).kind == Kind.VOID
    assert bench.target.requests(Op.BATCH)[0].request.keyspace == "two"


@pytest.mark.checklist(97)
@pytest.mark.parametrize("version", [3, 4, DSE1])
async def test_the_flag_of_a_keyspace_where_there_is_none(make_bench, version):
    """The bit means nothing there: the keyspace is the connection's, and bytes behind the body are the cluster's matter."""
    bench = await bench_for(make_bench, version)
    c = await bench.client(version, keyspace="mine")
    body = bytearray(requests.query(version, "SELECT * FROM local"))
    body[-1] |= 0x80
    answer = await c.ask(Op.QUERY, bytes(body))
    assert answer.dicts()[0] == {"cluster": "origin", "keyspace": "mine", "statement": "SELECT * FROM local"}


@pytest.mark.dedicated
@pytest.mark.checklist(238)
async def test_stream_ids_of_v2(make_bench):
    """At most 127 requests on a connection; what is beyond is refused, and every id serves again and again."""
    bench = await bench_for(make_bench, 2)
    c = await bench.client(2)
    for _ in range(3):
        hold = behaviour.Hold()
        rule = bench.origin.on("ks.t", hold)
        for stream in range(128):
            c.send_query(f"SELECT {stream} FROM ks.t", stream=stream)
        await hold.arrived(127)
        refused = await c.answer(127)
        assert_error(refused, Err.OVERLOADED, "127 stream ids", "origin")
        hold.release()
        for stream in range(127):
            assert (await c.answer(stream)).dicts()[0]["statement"] == f"SELECT {stream} FROM ks.t"
        assert sorted(r.stream for r in hold.waiting) == list(range(127))
        bench.origin.rules.remove(rule)


async def test_a_negative_stream_id_of_v2(make_bench):
    bench = await bench_for(make_bench, 2)
    c = await bench.client(2)
    c.send_query("SELECT * FROM ks.t", stream=-5)
    answer = await c.next_answer()
    assert_error(answer, Err.PROTOCOL_ERROR, "negative stream id: -5")
    assert answer.stream == -5
    assert (await c.query("SELECT * FROM ks.t")).rows


@every_version
async def test_frames_in_pieces(make_bench, version):
    """The header split at every byte."""
    import asyncio
    bench = await bench_for(make_bench, version)
    c = await bench.client(version)
    data = c.codec.wrap(c.frame(Op.QUERY, requests.query(version, "SELECT * FROM ks.t"), stream=7))
    for cut in range(1, 12):
        c.write(data[:cut])
        await asyncio.sleep(0.002)
        c.write(data[cut:])
        assert (await c.answer(7)).rows


@every_version
async def test_large_answers_and_requests(make_bench, version):
    from cqlwire import Column
    bench = await bench_for(make_bench, version)
    c = await bench.client(version)
    value = bytes(range(256)) * 1200
    bench.origin.on("ks.big", behaviour.rows([Column("v", Type.BLOB)], [[value]]))
    assert (await c.query("SELECT * FROM ks.big")).rows == [[value]]
    assert (await c.query("INSERT INTO ks.t (v) VALUES (?)", values=[value])).kind == Kind.VOID
    assert bench.target.requests(Op.QUERY)[0].params.values == [value]
