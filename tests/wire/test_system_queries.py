"""Every form of a SELECT on the system tables that the proxy answers: what Cassandra says to it, we say."""
import hashlib
import pathlib
import re
import struct
import uuid

import pytest

import behaviour
from cqlwire import Err, FrameFlag, Kind, Op, Type
from cqlwire import requests as rq
from fakecluster import markers_of
from helpers import WAY_IDS, WAYS, assert_alive, assert_error, schema_version
from test_system_tables import TOPOLOGY, assert_not_asked, inet, three

LIST = pathlib.Path(__file__).resolve().parents[1] / "system_queries.txt"
NATIVE = {"profile": "native"}


def known_queries():
    lines = [line for line in LIST.read_text().splitlines() if line and not line.startswith("#")]
    return [tuple(field.strip() for field in line.split(" | ")) for line in lines]


def type_name(t):
    if isinstance(t, tuple):
        return {Type.LIST: "list<%s>", Type.SET: "set<%s>", Type.MAP: "map<%s,%s>"}[t[0]] % tuple(map(type_name, t[1:]))
    return "text" if t == Type.VARCHAR else t.name.lower()


def described(columns):
    return "; ".join(f"{column.name} {type_name(column.type)}" for column in columns) or "-"


def assert_as_listed(answer, result, what):
    if answer.is_error():
        assert result.rstrip("!") == Err(answer.code).name, (what, answer)
    elif result != "*":
        assert described(answer.columns) == result, what


@pytest.mark.checklist(164, 166, 167, 171, 172, 177)
async def test_the_list(make_bench):
    bench = await make_bench(sections={"proxy": NATIVE})
    c = await bench.client()
    queries = known_queries()
    assert len(queries) > 200
    for text, result, rows, markers in queries:
        prepared = await c.prepare(text)
        assert prepared.is_error() or described(prepared.bind) == markers, text
        if rows == "?":
            assert_as_listed(prepared, result, text)
            continue
        answer = await c.query(text)
        assert_as_listed(answer, result, text)
        # LIMIT and nulls are only looked at when it is executed
        assert prepared.is_error() == answer.is_error() or answer.code == Err.INVALID, text
        if not answer.is_error():
            assert len(answer.rows) == int(rows), text
            assert prepared.columns == answer.columns, text
    assert_not_asked(bench)


@pytest.mark.checklist(172, 177)
@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
async def test_values_for_every_kind_of_relation(make_bench, version, compression):
    bench = await make_bench(sections=three())
    c = await bench.client(version, compression)

    def addresses(*items):
        packed = [inet(item) for item in items]
        return struct.pack(">i", len(packed)) + b"".join(struct.pack(">i", len(p)) + p for p in packed)
    for text, values, rows in [
            ("SELECT peer FROM system.peers WHERE peer IN (?, ?)", [inet(TOPOLOGY[1]), inet(TOPOLOGY[2])], 2),
            ("SELECT peer FROM system.peers WHERE peer IN ?", [addresses(TOPOLOGY[1], "1.2.3.4")], 1),
            ("SELECT peer FROM system.peers WHERE peer IN ?", [addresses()], 0),
            ("SELECT peer FROM system.peers WHERE peer > ? ALLOW FILTERING", [inet(TOPOLOGY[1])], 1),
            ("SELECT peer FROM system.peers WHERE token(peer) >= ?", [struct.pack(">q", -2 ** 63)], 2),
            ("SELECT peer FROM system.peers WHERE token(peer) > token(?)", [inet(TOPOLOGY[1])], None),
            ("SELECT peer FROM system.peers WHERE tokens CONTAINS ? ALLOW FILTERING", [b"0"], 0),
            ("SELECT peer FROM system.peers LIMIT ?", [struct.pack(">i", 1)], 1),
            ("SELECT peer FROM system.peers PER PARTITION LIMIT ? LIMIT ?", [struct.pack(">i", 3)] * 2, 2)]:
        direct = await c.query(text, values=values)
        executed = await c.execute(await c.prepare(text), values=values)
        assert direct.rows == executed.rows and direct.columns == executed.columns, (text, direct, executed)
        assert rows is None or len(direct.rows) == rows, (text, direct)
    names = [None if m == "?" else m for m in markers_of("peer = :a AND data_center = :b")]
    answer = await c.query("SELECT peer FROM system.peers WHERE peer = :a AND data_center = :b LIMIT :n ALLOW FILTERING",
                           values=[struct.pack(">i", 5), b"dc1", inet(TOPOLOGY[1])], names=["n", "b", "a"])
    assert names == ["a", "b"] and answer.rows == [[TOPOLOGY[1]]]
    answer = await c.query("SELECT (int)? AS five, key FROM system.local", values=[struct.pack(">i", 5)])
    assert answer.rows == [[5, "local"]]
    assert_not_asked(bench)


@pytest.mark.parametrize("text,values,names", [
    ("SELECT peer FROM system.peers WHERE peer IN ?", [b"\0\0"], None),
    ("SELECT peer FROM system.peers WHERE peer IN ?", [b"\0\0\0\5\0\0\0\4abcd"], None),
    ("SELECT peer FROM system.peers WHERE peer IN ?", [b"\x7f\xff\xff\xff"], None),
    ("SELECT peer FROM system.peers WHERE peer IN ?", [b"\0\0\0\1\0\0\0\3abc"], None),
    ("SELECT peer FROM system.peers WHERE peer IN ?", [b"\0\0\0\1\xff\xff\xff\xff"], None),
    ("SELECT peer FROM system.peers WHERE peer IN ?", [None], None),
    ("SELECT peer FROM system.peers WHERE peer = ?", [b"x"] * 2000, None),
    ("SELECT peer FROM system.peers WHERE peer = :a", [b"abcd"], ["b"]),
    ("SELECT peer FROM system.peers WHERE token(peer) > ?", [b"abc"], None),
    ("SELECT peer FROM system.peers LIMIT ?", [b"\0\0\0\0"], None),
    ("SELECT peer FROM system.peers LIMIT ?", [None], None),
    ("SELECT (int)? FROM system.local", [b"abc"], None), ("SELECT key FROM system.local WHERE key = ?", [b""], None),
])
async def test_bad_values(bench, text, values, names):
    c = await bench.client()
    answer = await c.query(text, values=values, names=names)
    assert answer.is_error() and answer.code == Err.INVALID, answer
    if names is None:
        answer = await c.execute(await c.prepare(text), values=values)
        assert answer.is_error() and answer.code == Err.INVALID, answer
    await assert_alive(c, bench)


@pytest.mark.parametrize("text", [
    "SELECT " + ", ".join(["key"] * 65) + " FROM system.local", "SELECT " + "f(" * 40 + "1" + ")" * 40 + " FROM system.local",
    "SELECT key FROM system.local WHERE key IN (" + ", ".join(["'x'"] * 600) + ")",
    "SELECT key FROM system.local " + " " * 70000, "SELECT é FROM system.local", "SELECT \"é\" FROM system.local",
    "SELECT key FROM system.local WHERE key = 'x' AND", "SELECT \0 FROM system.local"])
async def test_texts_that_are_too_much(bench, text):
    c = await bench.client()
    for answer in (await c.query(text), await c.prepare(text)):
        assert answer.is_error() and answer.code in (Err.INVALID, Err.SYNTAX_ERROR), answer
    await assert_alive(c, bench)


async def test_an_answer_that_would_grow(make_bench):
    """toJson() of a text doubles its backslashes each time."""
    bench = await make_bench(sections=three())
    c = await bench.client()
    text = "SELECT toJson(toJson(toJson(toJson((text)'%s')))) FROM system.peers"
    answer = await c.query(text % "a\"b")
    assert len(answer.rows) == 2 and answer.rows[0][0].count("a") == 1
    big = "SELECT " + ", ".join(["toJson(toJson(toJson(toJson((text)'%s'))))" % ('"' * 1000)] * 60) + " FROM system.peers"
    assert len((await c.query(big)).rows) == 2
    prepared = await c.prepare("SELECT " + ", ".join(["toJson(toJson(toJson((text)?)))"] * 60) + " FROM system.peers")
    answer = await c.execute(prepared, values=[b'"' * 20000] * 60)
    assert_error(answer, Err.INVALID, "too large")
    answer = await c.execute(prepared, values=[b"x" * 70000] + [b""] * 59)
    assert_error(answer, Err.INVALID, "70000 bytes")
    await assert_alive(c, bench)


# ---- pages ----

@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
async def test_pages(make_bench, version, compression):
    bench = await make_bench(sections=three())
    c = await bench.client(version, compression)
    text = "SELECT peer FROM system.peers"
    prepared = await c.prepare(text)

    async def ask(way, **params):
        return await (c.query(text, **params) if way == "query" else c.execute(prepared, **params))
    for way in ("query", "execute"):
        first = await ask(way, page_size=1)
        assert first.rows == [[TOPOLOGY[1]]] and first.paging_state is not None
        second = await ask(way, page_size=1, paging_state=first.paging_state)
        assert second.rows == [[TOPOLOGY[2]]] and second.paging_state is None
        whole = await ask(way, page_size=2)
        assert len(whole.rows) == 2 and whole.paging_state is None
    counted = await c.query("SELECT count(*) FROM system.peers", page_size=1)
    assert counted.rows == [[2]] and counted.paging_state is None
    assert_not_asked(bench)


@pytest.mark.parametrize("state", [b"", b"x", b"\xcf\x4c\0\0\0\7", b"\xcf\x4c\xff\xff\xff\xff", b"0123456789" * 10,
                                   b"origin:1\xcf\0"])
async def test_paging_states_that_are_not_ours(make_bench, state):
    bench = await make_bench(sections=three())
    c = await bench.client()
    answer = await c.query("SELECT peer FROM system.peers", page_size=1, paging_state=state)
    assert_error(answer, Err.PROTOCOL_ERROR, "paging state")
    await assert_alive(c, bench)


# ---- metadata ----

@pytest.mark.parametrize("version", [3, 4, 5])
async def test_skipped_metadata(bench, version):
    c = await bench.client(version)
    prepared = await c.prepare("SELECT key, rack FROM system.local")
    answer = await c.execute(prepared, skip_metadata=True)
    assert answer.columns is None and answer.column_count == 2 and answer.rows == [[b"local", b"rack0"]]
    answer = await c.query("SELECT key FROM system.local", skip_metadata=True)
    assert answer.columns is None and answer.rows == [[b"local"]]
    star = await c.prepare("SELECT * FROM system.local")
    answer = await c.execute(star, skip_metadata=True)
    # without an id nobody knows which columns the driver holds
    assert (answer.columns is None) == (version == 5)


async def test_the_id_of_result_columns(bench):
    c = await bench.client(5)
    prepared = await c.prepare("SELECT key, rack FROM system.local")
    assert len(prepared.result_metadata_id) == 16
    stale = await c.execute(prepared, skip_metadata=True, result_metadata_id=b"another id, old.")
    assert stale.new_metadata_id == prepared.result_metadata_id and stale.columns == prepared.columns
    same = await c.prepare("SELECT key, rack FROM system.local WHERE key = 'local'")
    assert same.result_metadata_id == prepared.result_metadata_id and same.prepared_id != prepared.prepared_id


async def test_types_of_v4_in_v3(bench):
    three_, four = await bench.client(3), await bench.client(4)
    text = "SELECT currentDate(), currentTime(), CAST((int)5 AS smallint) FROM system.local"
    old, new = await three_.query(text), await four.query(text)
    assert [c.type for c in new.columns] == [Type.DATE, Type.TIME, Type.SMALLINT]
    assert [c.type[1].rsplit(".")[-1] for c in old.columns] == ["SimpleDateType", "TimeType", "ShortType"]
    assert new.rows[0][2] == 5


# ---- peers_v2 ----

@pytest.mark.checklist(164)
@pytest.mark.parametrize("version", [3, 4, 5])
async def test_peers_v2(make_bench, version):
    """Both clusters have it."""
    sections = three()
    sections["proxy"].update(NATIVE)
    bench = await make_bench(sections=sections)
    c = await bench.client(version)
    port = bench.proxy.listen[1]
    rows = (await c.query("SELECT * FROM system.peers_v2")).dicts()
    assert [row["peer"] for row in rows] == TOPOLOGY[1:]
    for row in rows:
        assert row["native_address"] == row["preferred_ip"] == row["peer"]
        assert row["native_port"] == row["peer_port"] == row["preferred_port"] == port
        assert row["host_id"] and row["schema_version"] == schema_version(bench) and len(row["tokens"]) == 8
    # what the Java driver asks when a node comes up
    text = "SELECT * FROM system.peers_v2 WHERE peer = :address AND peer_port = :port"
    answer = await c.query(text, values=[inet(TOPOLOGY[2]), struct.pack(">i", port)], names=["address", "port"])
    assert [row["peer"] for row in answer.dicts()] == [TOPOLOGY[2]]
    assert_error(await c.query("SELECT rpc_address FROM system.peers_v2"), Err.INVALID, "Undefined column name rpc_address")
    assert_not_asked(bench)


# ---- tracing ----

def traced(c, text, **params):
    return c.query(text, flags=FrameFlag.TRACING, **params)


@pytest.mark.checklist(130, 154)
@pytest.mark.parametrize("system", ["origin", "target"])
@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
async def test_a_trace_comes_from_a_node(make_bench, system, version, compression):
    bench = await make_bench(sections={"routing": {"system_queries_mode": system}, **three()})
    c = await bench.client(version, compression)
    cluster, other = (bench.origin, bench.target) if system == "origin" else (bench.target, bench.origin)
    own_id = uuid.UUID(bytes=hashlib.md5(cluster.name.encode()).digest())
    text = "SELECT rack FROM system.peers WHERE peer = ?"
    values = [inet(TOPOLOGY[1])]
    answer = await traced(c, text, values=values, page_size=5)
    assert answer.rows == [["rack0"]] and uuid.UUID(bytes=bytes(answer.tracing_id)) == own_id
    prepared = await c.prepare(text)
    stream = c.send(Op.EXECUTE, rq.execute(version, prepared.prepared_id, prepared.result_metadata_id or b"",
                                           values=values), flags=FrameFlag.TRACING)
    answer = await c.answer(stream)
    assert answer.rows == [["rack0"]] and uuid.UUID(bytes=bytes(answer.tracing_id)) == own_id
    answer = await c.answer(c.send(Op.PREPARE, rq.prepare(version, text), flags=FrameFlag.TRACING))
    assert answer.kind == Kind.PREPARED and uuid.UUID(bytes=bytes(answer.tracing_id)) == own_id
    assert [r.statement for r in cluster.requests(Op.QUERY, Op.PREPARE)] == [text] * 3
    assert all(r.flags & FrameFlag.TRACING for r in cluster.requests(Op.QUERY, Op.PREPARE))
    assert not other.requests(Op.QUERY, Op.PREPARE)
    assert (await c.query(text, values=values)).tracing_id is None
    assert len(cluster.requests(Op.QUERY)) == 2


async def test_a_traced_page_and_a_traced_error(make_bench):
    bench = await make_bench(sections=three())
    c = await bench.client()
    first = await traced(c, "SELECT peer FROM system.peers", page_size=1)
    second = await traced(c, "SELECT peer FROM system.peers", page_size=1, paging_state=first.paging_state)
    assert second.rows == [[TOPOLOGY[2]]] and second.tracing_id
    assert all(r.params.paging_state is None for r in bench.origin.requests(Op.QUERY))
    answer = await traced(c, "SELECT nonsense FROM system.peers")
    assert_error(answer, Err.INVALID, "Undefined column name nonsense")
    assert answer.tracing_id and len(bench.origin.requests(Op.QUERY)) == 3


@pytest.mark.parametrize("how", ["error", "mute", "close", "without"])
async def test_the_node_is_of_no_help(make_bench, how):
    """Then there is no tracing id, but an answer."""
    sections = three()
    sections["proxy"]["request_timeout"] = "800ms"
    bench = await make_bench(sections=sections)
    c = await bench.client()
    bench.origin.on(Op.QUERY, {"error": behaviour.error(Err.SERVER_ERROR), "mute": behaviour.mute(),
                               "close": behaviour.close(), "without": behaviour.normally(tracing_id=None)}[how])
    answer = await traced(c, "SELECT rack FROM system.peers")
    assert answer.rows == [["rack0"]] * 2 and answer.tracing_id is None
    # a read that was lost with a pooled connection is sent once more
    assert len(bench.origin.requests(Op.QUERY)) == (2 if how == "close" and bench.is_pooled else 1)


async def test_payloads_and_the_beta_flag_change_nothing(bench):
    for version in (4, 5):
        c = await bench.client(version)
        answer = await c.query("SELECT rack FROM system.local", payload={"request-id": b"x", "other": None})
        assert answer.rows == [["rack0"]] and not answer.payload and not answer.warnings
        answer = await c.query("SELECT rack FROM system.local", flags=FrameFlag.USE_BETA)
        assert answer.rows == [["rack0"]]
    assert_not_asked(bench)


def test_the_list_is_in_good_order():
    queries = known_queries()
    assert len({text for text, *_ in queries}) == len(queries)
    for text, result, rows, _ in queries:
        assert re.fullmatch(r"\d+|\?|-", rows), text
        assert (rows == "-") == (result.rstrip("!") in ("INVALID", "SYNTAX_ERROR")), text
