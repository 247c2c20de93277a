"""
Compression of the three legs, each on its own: client, origin and target may have none, lz4 or snappy in any
combination. What a driver reads and what each node reads must not depend on it.
"""
import itertools
import os

import pytest

import behaviour
from cqlwire import Column, Err, FrameFlag, Kind, Op, Type, framing, requests, responses
from helpers import assert_alive, assert_error

ALGORITHMS = {3: (None, "lz4", "snappy"), 4: (None, "lz4", "snappy"), 5: (None, "lz4")}
#: (version, client, origin, target)
LEGS = [(version, *legs) for version in ALGORITHMS for legs in itertools.product(
    ALGORITHMS[version], (None, "lz4", "snappy"), (None, "lz4", "snappy"))]
#: where one cluster at a time matters: each algorithm against each other one
PAIRS = [legs for legs in LEGS if legs[2] == legs[3]]
#: versions whose frames are compressed as those of v4 are: v2 and DSE's, in a sample
LEGS += [(version, client, origin, target) for version in (2, 0x41, 0x42)
         for client, origin, target in ((None, "lz4", "snappy"), ("lz4", "snappy", None), ("snappy", "snappy", "lz4"))]
BLOB = [Column("v", Type.BLOB)]


def name(legs):
    return "-".join(f"v{leg}" if isinstance(leg, int) else leg or "none" for leg in legs)


matrix = pytest.mark.parametrize("legs", LEGS, ids=name)
pairs = pytest.mark.parametrize("legs", PAIRS, ids=name)


async def connect(make_bench, legs, keyspace=None, **proxy):
    version, client, origin, target = legs
    speaks = {} if version in (3, 4, 5) else {"versions": (2, 3, 4, 0x41, 0x42)}
    bench = await make_bench(origin=speaks, target=speaks, sections={"origin": {"compression": origin or "none"},
                                                                     "target": {"compression": target or "none"},
                                                                     **({"proxy": proxy} if proxy else {})})
    c = await bench.client(version, client, keyspace=keyspace)
    for cluster, algorithm in ((bench.origin, origin), (bench.target, target)):
        if version == 5 and algorithm == "snappy":
            algorithm = None
        options = [conn.startup_options for conn in cluster.connections()]
        assert [o.get("COMPRESSION") for o in options] == [algorithm], options
    return bench, c


def assert_carried(frame, legs, leg):
    """A frame of a node has come to the client compressed exactly where their algorithms are equal, in v3 and v4."""
    version, client = legs[0], legs[1]
    assert frame.was_compressed == (version != 5 and client is not None and legs[leg] == client), frame


def last(cluster, opcode):
    return cluster.requests(opcode)[-1]


# ---- the matrix ----

@pytest.mark.checklist(23, 24, 26, 27, 33)
@matrix
async def test_every_request_on_every_combination(make_bench, legs):
    bench, c = await connect(make_bench, legs)
    version, client = legs[0], legs[1]

    read = "SELECT * FROM ks.t WHERE a = '" + "x" * 400 + "'"
    answer = await c.query(read)
    assert answer.rows == [["origin", None, read]]
    assert_carried(answer.frame, legs, 2)

    write = "INSERT INTO ks.t (k, v) VALUES (1, '" + "y" * 400 + "')"
    assert (await c.query(write)).kind == Kind.VOID
    for cluster, leg in ((bench.origin, 2), (bench.target, 3)):
        got = last(cluster, Op.QUERY)
        assert got.statement == write
        assert_carried(got.frame, legs, leg)

    prepared = await c.prepare("INSERT INTO ks.t (k, v) VALUES (?, ?)")
    assert prepared.kind == Kind.PREPARED
    values = [b"key", b"value " * 100]
    assert (await c.execute(prepared, values=values, page_size=7)).kind == Kind.VOID
    ids = set()
    for cluster in bench.clusters:
        got = last(cluster, Op.EXECUTE)
        assert got.params.values == values and got.params.page_size == 7
        ids.add(got.prepared_id)
    assert len(ids) == 2

    children = [(write, []), (prepared.prepared_id, values)]
    assert (await c.batch(children)).kind == Kind.VOID
    for cluster in bench.clusters:
        (text, _), (child_id, child_values) = last(cluster, Op.BATCH).request.children
        assert text == write and child_values == values and child_id in cluster.nodes[0].prepared

    answer = await c.use("ks2")
    assert answer.keyspace == "ks2" and c.version == version
    assert_carried(answer.frame, legs, 2)
    assert (await c.query("SELECT * FROM t")).rows[0][1] == "ks2"
    if client and version != 5:  # a driver need not compress
        stream = c.send(Op.QUERY, requests.query(version, read), compress=False)
        assert (await c.answer(stream)).rows[0][2] == read
        assert not last(bench.origin, Op.QUERY).frame.was_compressed


@pytest.mark.checklist(27)
@matrix
async def test_pages_errors_and_repairs_on_every_combination(make_bench, legs):
    bench, c = await connect(make_bench, legs)

    state, seen = None, []
    while True:
        answer = await c.query("SELECT * FROM ks.paged", page_size=1, paging_state=state)
        seen.append(answer.rows[0][2])
        state = answer.paging_state
        if state is None:
            break
    assert seen == ["page 0", "page 1", "page 2"]

    bench.origin.on("ks.refused", behaviour.error(Err.INVALID, "no such thing " * 30))
    answer = await c.query("SELECT * FROM ks.refused")
    assert_error(answer, Err.INVALID, "no such thing")
    assert_carried(answer.frame, legs, 2)
    bench.target.on("INSERT INTO ks.late", behaviour.error(Err.WRITE_TIMEOUT, "late " * 50, block_for=1))
    assert_error(await c.query("INSERT INTO ks.late (k) VALUES (1)"), Err.WRITE_TIMEOUT)

    prepared = await c.prepare("UPDATE ks.t SET v = ? WHERE k = ?")
    bench.target.forget_prepared()
    assert (await c.execute(prepared, values=[b"v" * 300, b"k"])).kind == Kind.VOID
    assert len(bench.origin.requests(Op.EXECUTE)) == 1 and len(bench.target.requests(Op.EXECUTE)) == 2
    bench.origin.forget_prepared()
    assert (await c.batch([(prepared.prepared_id, [b"v" * 300, b"k"])])).kind == Kind.VOID

    answer = await c.execute(b"\x01" * 16)
    assert_error(answer, Err.UNPREPARED)
    assert answer.fields["id"] == b"\x01" * 16


@matrix
async def test_what_stands_in_front_of_a_body(make_bench, legs):
    """Warnings, payload and tracing id of the answer, the payload of the request, with their flags."""
    bench, c = await connect(make_bench, legs)
    version = legs[0]
    more = {} if version < 4 else {"warnings": ["careful " * 40], "payload": {"k": b"v" * 200}}
    for cluster in bench.clusters:
        cluster.on("ks.t", behaviour.normally(tracing_id=cluster.name.encode().ljust(16), **more))
    for text in ("SELECT * FROM ks.t", "INSERT INTO ks.t (k) VALUES (1)"):
        payload = {"from the driver": b"p" * 300} if version >= 4 else None
        answer = await c.answer(c.send_query(text, payload=payload, flags=FrameFlag.TRACING))
        assert answer.tracing_id == b"origin".ljust(16)
        assert answer.warnings == more.get("warnings") and answer.payload == more.get("payload")
        assert answer.frame.flags & FrameFlag.TRACING
        assert_carried(answer.frame, legs, 2)
        got = last(bench.origin, Op.QUERY)
        assert got.request.payload == payload and got.flags & FrameFlag.TRACING


@pytest.mark.own_profile
@matrix
async def test_events_on_every_combination(make_bench, legs):
    """Those that a node sends on a client's own connection, which are passed on in the zdm profile."""
    bench, c = await connect(make_bench, legs, profile="zdm", backend_connections="dedicated")
    assert (await c.register("SCHEMA_CHANGE", "STATUS_CHANGE")).opcode == Op.READY
    kind = [] if legs[0] == 2 else ["TABLE"]  # v2 does not say what was changed
    body = responses.event("SCHEMA_CHANGE", "CREATED", *kind, "ks" * 60, "t")
    for conn in bench.origin.connections():
        conn.send(Op.EVENT, body, stream=-1, compress=bool(conn.codec.compression and not conn.codec.framed))
    await c.until(lambda: c.events, "event")
    assert c.events[0].frame.body == body
    await assert_alive(c, bench)
    assert len(c.events) == 1


# ---- sizes ----

@pytest.mark.checklist(28, 33, 36)
@pairs
@pytest.mark.parametrize("kind", ["zeros", "noise"])
async def test_large_bodies_both_ways(make_bench, legs, kind):
    bench, c = await connect(make_bench, legs)
    for size in (0, 100, 131_071, 400_000, 3_000_000):
        value = b"\0" * size if kind == "zeros" else os.urandom(size)
        bench.origin.on("ks.large", behaviour.rows(BLOB, [[value]]))
        assert (await c.query("SELECT v FROM ks.large WHERE k = ?", values=[value])).rows == [[value]]
        assert last(bench.origin, Op.QUERY).params.values == [value]
        assert (await c.query("INSERT INTO ks.written (v) VALUES (?)", values=[value])).kind == Kind.VOID
        for cluster in bench.clusters:
            assert last(cluster, Op.QUERY).params.values == [value]
    state = b"s" * 50
    bench.origin.on("ks.pages", behaviour.rows(BLOB, [[value]], paging_state=state))
    answer = await c.query("SELECT v FROM ks.pages", page_size=1)
    assert answer.rows == [[value]] and answer.paging_state[:len(state)] == state


@pytest.mark.parametrize("algorithm", ["lz4", "snappy"])
async def test_many_answers_at_once(make_bench, algorithm):
    """Answers that are decompressed on their way keep their place, and no buffer is another's."""
    bench, c = await connect(make_bench, (4, None, algorithm, "lz4"))
    texts = {}
    for i in range(300):
        text = f"SELECT * FROM ks.t WHERE k = {i} AND v = '{'v' * (i * 7)}'"
        texts[c.send_query(text, stream=i)] = text
    for stream, text in texts.items():
        assert (await c.answer(stream)).rows[0][2] == text


# ---- damage ----

def damaged(conn, got, opcode=Op.RESULT):
    """A compressed answer that is not what its length says."""
    good = framing.compress_body(conn.codec.compression, b"\0\0\0\1" + os.urandom(3000))
    conn.in_flight.discard(got.stream)
    return framing.frame_bytes(got.version, FrameFlag.COMPRESSED, got.stream, opcode, good[:-900], True)


@pytest.mark.parametrize("opcode", [Op.RESULT, Op.ERROR])
@pytest.mark.parametrize("client,node", [(None, "lz4"), (None, "snappy"), ("lz4", "snappy"), ("snappy", "lz4"),
                                         ("snappy", "snappy")])
async def test_damaged_answers_become_errors(make_bench, client, node, opcode):
    bench, c = await connect(make_bench, (4, client, node, node))
    bench.origin.on("ks.broken", behaviour.raw(lambda conn, got: damaged(conn, got, opcode)))
    where = ("origin", bench.origin.nodes[0].address)
    assert_error(await c.query("SELECT * FROM ks.broken"), Err.READ_TIMEOUT, *where, "decompressed")
    assert_error(await c.query("INSERT INTO ks.broken (k) VALUES (1)"), Err.WRITE_TIMEOUT, "origin")
    assert_error(await c.prepare("SELECT a FROM ks.broken"), Err.SERVER_ERROR, *where)
    await assert_alive(c, bench)


@pytest.mark.parametrize("client,node", [(None, "lz4"), ("lz4", "lz4"), ("snappy", "lz4")])
async def test_a_length_that_is_a_lie(make_bench, client, node):
    bench, c = await connect(make_bench, (4, client, node, node))
    bench.origin.on("ks.broken", behaviour.damaged_compression())
    assert_error(await c.query("SELECT * FROM ks.broken"), Err.READ_TIMEOUT, "origin", bench.origin.nodes[0].address)
    await assert_alive(c, bench)


@pytest.mark.parametrize("client", [None, "lz4", "snappy"])
async def test_a_compressed_answer_without_agreement(make_bench, client):
    """The node was told to compress nothing."""
    bench, c = await connect(make_bench, (4, client, None, None))
    body = framing.compress_body("lz4", b"\0\0\0\1")
    bench.origin.on("ks.broken", behaviour.raw(lambda conn, got: (
        conn.in_flight.discard(got.stream),
        framing.frame_bytes(got.version, FrameFlag.COMPRESSED, got.stream, Op.RESULT, body, True))[1]))
    assert_error(await c.query("SELECT * FROM ks.broken"), Err.READ_TIMEOUT, "origin", "agreed on no compression")
    await assert_alive(c, bench)


# ---- the option ----

@pytest.mark.parametrize("algorithm", ["lz4", "snappy"])
async def test_a_fixed_algorithm_that_the_cluster_lacks(make_bench, algorithm):
    bench = await make_bench(fresh=True, target={"compression": ()}, sections={"target": {"compression": algorithm}})
    await bench.proxy.until_logged(f"WARN.*target does not offer the compression {algorithm}")
    c = await bench.client(4, "lz4")
    assert (await c.query("INSERT INTO ks.t (k) VALUES (1)")).kind == Kind.VOID
    assert "COMPRESSION" not in bench.target.connections()[0].startup_options
    assert bench.origin.connections()[0].startup_options["COMPRESSION"] == "lz4"
    assert len([line for line in bench.proxy.messages.splitlines() if "does not offer" in line]) == 1


async def test_an_algorithm_that_does_not_exist(make_bench):
    bench = await make_bench(fresh=True, wait=False, sections={"origin": {"compression": "zstd"}})
    await bench.proxy.never_ready(r"\[origin\] compression.*zstd.*auto.*none.*lz4.*snappy", exit_code=1)
    bench.may_be_down = True
