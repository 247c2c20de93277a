"""
What a node may do wrong: its garbage costs the connection concerned and nothing else. With connections of its own the
driver gets an error for each request in flight, then the end of its connection. With pooled ones reads are sent once
more, each other request in flight gets an error, and clients go on. Other drivers notice nothing.
"""
import random
import struct

import pytest

import behaviour
from behaviour import Hold, raw
from cqlwire import CL, Err, FrameFlag, Op, frame_bytes, responses
from helpers import (PRIMARIES, WAY_IDS, WAYS, assert_alive, assert_error, assert_lost_connection, client_of_both,
                     until_served)

READ = "SELECT * FROM ks.broken"
WRITE = "INSERT INTO ks.broken (k) VALUES (1)"


def in_segment(data):
    """Bytes as a frame of the connection: in a segment where it speaks them."""
    def make(conn, got):
        conn.in_flight.discard(got.stream)  # it may be taken for the answer
        return conn.codec.wrap(data(got) if callable(data) else data)
    return raw(make)


def head(got, **changes):
    values = dict(version=got.version, flags=0, stream=got.stream, opcode=Op.RESULT, body=responses.void())
    values.update(changes)
    length = values.pop("length", None)
    return frame_bytes(values["version"], values["flags"], values["stream"], values["opcode"], values["body"],
                       values.get("response", True), length)


GARBAGE = {
    "closes": behaviour.close(),
    "resets": behaviour.reset(),
    "half a frame, then closes": behaviour.half_answer("close"),
    "half a frame, then resets": behaviour.half_answer("reset"),
    "negative length": in_segment(lambda got: head(got, length=-1, body=b"")),
    "huge length": in_segment(lambda got: head(got, length=0x7FFFFFFF, body=b"")),
    "length over 256 MiB": in_segment(lambda got: head(got, length=(256 << 20) + 1, body=b"")),
    "version 1": in_segment(lambda got: head(got, version=1)),
    "version 6": in_segment(lambda got: head(got, version=6)),
    "another version": in_segment(lambda got: head(got, version=7 - got.version if got.version < 5 else 4)),
    "a request": in_segment(lambda got: head(got, response=False, opcode=Op.QUERY)),
    "unknown opcode": in_segment(lambda got: head(got, opcode=0x77)),
    "a request's opcode": in_segment(lambda got: head(got, opcode=Op.QUERY)),
    "HTTP": raw(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n" * 3),
    "ones": raw(b"\xff" * 300),
}
GARBAGE_V5 = {
    "wrong CRC of a segment head": behaviour.bad_crc("head"),
    "wrong CRC of a payload": behaviour.bad_crc("payload"),
    "a plain frame among segments": raw(lambda conn, got: head(got)),
}


async def break_one(bench, cluster, behave, version, compression, read):
    """One driver is hit, another one on the same node is not."""
    other = await bench.client(version, compression)
    hit = await bench.client(version, compression)
    text, attempts = (READ, 2) if read and bench.is_pooled else (READ if read else WRITE, 1)
    cluster.received.clear()
    if attempts == 2:
        cluster.on("broken", behave, times=1)
        assert (await hit.query(text)).rows[0][0] == cluster.name
        assert cluster.statements() == [text, text]
        cluster.received.clear()
    rule = cluster.on("broken", behave, times=attempts)
    answer = await hit.query(text, consistency=CL.TWO)
    assert_error(answer, Err.READ_TIMEOUT if read else Err.WRITE_TIMEOUT, cluster.name, cluster.nodes[0].address)
    assert answer.fields["consistency"] == CL.TWO
    assert rule.hits == attempts and cluster.statements() == [text] * attempts
    await assert_lost_connection(hit, bench)
    await assert_alive(other, bench)
    await hit.close()
    await other.close()


@pytest.mark.checklist(15, 141, 142)
@pytest.mark.parametrize("where", PRIMARIES)
@pytest.mark.parametrize("name", GARBAGE)
async def test_garbage_instead_of_an_answer(bench, where, name):
    cluster = getattr(bench, where)
    for version, compression in ((3, None), (4, "lz4"), (5, None), (5, "lz4")):
        if where == "origin":
            await break_one(bench, cluster, GARBAGE[name], version, compression, read=True)
        await break_one(bench, cluster, GARBAGE[name], version, compression, read=False)


@pytest.mark.checklist(39, 40)
@pytest.mark.parametrize("where", PRIMARIES)
@pytest.mark.parametrize("compression", [None, "lz4"])
@pytest.mark.parametrize("name", GARBAGE_V5)
async def test_garbage_between_segments(bench, where, compression, name):
    await break_one(bench, getattr(bench, where), GARBAGE_V5[name], 5, compression, read=False)


@pytest.mark.checklist(141, 142)
@pytest.mark.parametrize("where", PRIMARIES)
@pytest.mark.parametrize("reset", [False, True])
async def test_a_lost_connection_answers_everything_in_flight(bench, where, reset):
    cluster = getattr(bench, where)
    hold = Hold()
    cluster.on("held", hold)
    bench.origin.on("held", hold)
    bench.target.on("held", hold)
    c = await bench.client(4, keyspace=None if bench.is_pooled else "ks")  # pooled: then there is one connection
    prepared = await c.prepare("INSERT INTO ks.t (k) VALUES (?)")
    for each in bench.clusters:
        each.on(Op.EXECUTE, behaviour.mute())
        each.on(Op.PREPARE, behaviour.mute())
        each.on(Op.BATCH, behaviour.mute())
        each.on("USE ks2", behaviour.mute())
        each.on(Op.REGISTER, behaviour.mute())
        each.received.clear()
    once = {
        c.send_query("INSERT INTO ks.held (k) VALUES (1)"): (Err.WRITE_TIMEOUT, "SIMPLE"),
        c.send_execute(prepared, values=[b"1"]): (Err.WRITE_TIMEOUT, "SIMPLE"),
        c.send_batch([("INSERT INTO ks.held (k) VALUES (1)", [])], kind=1): (Err.WRITE_TIMEOUT, "UNLOGGED_BATCH"),
    }
    if bench.is_zdm:
        once[c.send(Op.REGISTER, b"\0\1\0\x0dSTATUS_CHANGE")] = (Err.SERVER_ERROR, None)
    repeated = {c.send_prepare("SELECT * FROM ks.held"): (Err.SERVER_ERROR, None)}
    if where == "origin":
        repeated[c.send_query("SELECT * FROM ks.held", stream=9999)] = (Err.READ_TIMEOUT, None)
    if not bench.is_pooled:
        once[c.send_query("USE ks2")] = (Err.SERVER_ERROR, None)

    def arrived():
        return len(cluster.requests(Op.QUERY, Op.EXECUTE, Op.BATCH, Op.PREPARE, Op.REGISTER))
    count = len(once) + len(repeated)
    await cluster.until(lambda: arrived() == count, "all requests")
    cluster.nodes[0].drop(reset=reset)
    if bench.is_pooled:
        await cluster.until(lambda: arrived() == count + len(repeated), "what does no harm once more")
        assert not c.received or all(frame.stream in once for frame in c.received)
        cluster.nodes[0].drop(reset=reset)
    for stream, (code, write_type) in {**once, **repeated}.items():
        answer = await c.answer(stream)
        assert_error(answer, code, cluster.name)
        if write_type:
            assert answer.fields["write_type"] == write_type
    await assert_lost_connection(c, bench)
    again = await bench.client()
    await assert_alive(again, bench)


@pytest.mark.connections(145)
@pytest.mark.checklist(141, 142)
@pytest.mark.parametrize("where", PRIMARIES)
async def test_a_lost_connection_ends_an_idle_client(bench, where):
    """One of its own does. A pooled one is opened again when there is a request for it."""
    c = await bench.client()
    other = await bench.client()
    cluster = getattr(bench, where)
    lost = cluster.connections()[0]
    lost.close()
    await cluster.until(lambda: lost.is_closed, "end of it")
    await assert_lost_connection(c, bench)
    await assert_alive(other, bench)


@pytest.mark.parametrize("where", PRIMARIES)
async def test_what_the_other_cluster_answered_does_not_count(bench, where):
    """The write was acknowledged by one cluster only: no success."""
    cluster = getattr(bench, where)
    other = bench.target if cluster is bench.origin else bench.origin
    hold = Hold(behaviour.close())
    cluster.on(WRITE, hold)
    c = await bench.client()
    stream = c.send_query(WRITE)
    await hold.arrived()
    await other.until_received(1, Op.QUERY)
    hold.release()
    assert_error(await c.answer(stream), Err.WRITE_TIMEOUT, cluster.name)
    await assert_lost_connection(c, bench)


@pytest.mark.checklist(242)
@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
@pytest.mark.parametrize("stream", [1234, 32767, -1, -2])
async def test_answers_that_nobody_asked_for_are_dropped(bench, version, compression, stream):
    async def behave(conn, got):
        conn.transport.write(conn.codec.wrap(behaviour.answer_bytes(conn, got, stream=stream)))
        conn.answer(got)
    bench.origin.on(READ, behave)
    c = await bench.client(version, compression)
    assert (await c.query(READ)).rows[0][0] == "origin"
    await assert_alive(c, bench)


@pytest.mark.checklist(242)
async def test_a_second_answer_is_dropped(bench):
    bench.origin.on(READ, behaviour.twice())
    c = await bench.client()
    for _ in range(3):
        assert (await c.query(READ)).rows[0][0] == "origin"
    await assert_alive(c, bench)


@pytest.mark.checklist(15)
async def test_protocol_errors_of_a_cluster_after_the_handshake(make_bench):
    """They belong to their request like any other error (the original put them on stream 0)."""
    bench = await make_bench()
    c = await bench.client(4)
    bench.origin.on(READ, behaviour.error(Err.PROTOCOL_ERROR, "odd"))
    for _ in range(2):
        stream = c.send_query(READ, stream=21)
        assert_error(await c.answer(stream), Err.PROTOCOL_ERROR, "odd")
    await assert_alive(c, bench)


@pytest.mark.parametrize("opcode,body", [
    (Op.RESULT, b""), (Op.RESULT, b"\0\0"), (Op.ERROR, b""), (Op.ERROR, b"\0\0\x10\0"),
    (Op.RESULT, struct.pack(">ii", 2, 2)),
    (Op.RESULT, struct.pack(">iiii", 2, 2, 1, 0x7FFFFFFF)), (Op.RESULT, struct.pack(">iH", 4, 60000)),
    (Op.RESULT, struct.pack(">iH", 3, 60000)), (Op.READY, b""), (Op.SUPPORTED, b"\xff\xff"), (Op.AUTH_SUCCESS, b""),
])
@pytest.mark.parametrize("request_kind", ["query", "prepare", "execute", "use"])
async def test_short_and_strange_answers(bench, opcode, body, request_kind):
    """Something comes back or the connection ends; the proxy lives, nobody else is hit."""
    other = await bench.client()
    c = await bench.client()
    prepared = await c.prepare("SELECT * FROM ks.broken")
    for cluster in bench.clusters:
        cluster.on("broken", in_segment(lambda got: head(got, opcode=opcode, body=body)))
    send = {"query": lambda: c.send_query(READ), "prepare": lambda: c.send_prepare(WRITE),
            "execute": lambda: c.send_execute(prepared), "use": lambda: c.send_query("USE broken")}[request_kind]
    stream = send()
    await c.until(lambda: c.is_closed or c.received, "answer or end")
    frames, c.received = c.received, []
    assert len(frames) <= 1 and all(f.stream == stream for f in frames)
    await assert_alive(other, bench)


@pytest.mark.parametrize("version,flags", [(4, FrameFlag.WARNING), (4, FrameFlag.CUSTOM_PAYLOAD),
                                           (4, FrameFlag.TRACING),
                                           (5, FrameFlag.WARNING | FrameFlag.TRACING), (3, 0xF0)])
async def test_flags_without_what_they_announce(bench, version, flags):
    other = await bench.client()
    c = await bench.client(version)
    bench.origin.on("broken", in_segment(lambda got: head(got, flags=flags, body=b"\0")))
    c.send_query(READ)
    await c.until(lambda: c.is_closed or c.received, "answer or end")
    c.received.clear()
    await assert_alive(other, bench)


@pytest.mark.parametrize("read", [True, False])
async def test_answers_whose_compression_is_damaged(bench, read):
    other = await bench.client(4, "lz4")
    c = await bench.client(4, "lz4")
    bench.origin.on("broken", behaviour.damaged_compression())
    c.send_query(READ if read else WRITE)
    await c.until(lambda: c.is_closed or c.received or c.failure, "answer or end")
    c.failure = None  # it may be passed on as it is: then the driver finds the damage
    c.received.clear()
    await assert_alive(other, bench)


@pytest.mark.dedicated
@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
async def test_mutated_answers(bench, version, compression):
    """
    Good answers with a few wrong bytes: whatever the driver makes of them, the proxy lives and others are served. On a
    shared connection a wrong stream id is an answer to somebody else, and a wrong length the end of all that follow.
    """
    source = random.Random(version * 11 + len(compression or ""))

    async def mutate(conn, got):
        normal = conn.normal_answer(got)
        flags = FrameFlag.COMPRESSED if conn.codec.compression and not conn.codec.framed else 0
        data = bytearray(conn.codec.encode(got.version, flags, got.stream, normal.opcode, normal.body))
        for _ in range(source.randrange(1, 4)):
            data[source.randrange(0 if source.random() < 0.3 else 9, len(data))] = source.randrange(256)
        conn.in_flight.discard(got.stream)
        conn.transport.write(conn.codec.wrap(bytes(data)))
    other = await bench.client(version, compression)
    texts = ("SELECT * FROM ks.broken", "INSERT INTO ks.broken (k) VALUES (?)")
    prepared = {text: await other.prepare(text) for text in texts}
    for cluster in bench.clusters:
        cluster.on(lambda r: "broken" in (r.statement or ""), mutate)
    c = None
    for round_number in range(120):
        if c is None or c.is_closed:
            c = await bench.client(version, compression)
        kind = source.randrange(4)
        if kind == 0:
            c.send_query("SELECT * FROM ks.broken", page_size=1)
        elif kind == 1:
            c.send_prepare(f"SELECT {source.randrange(20)} FROM ks.broken")
        elif kind == 2:
            c.send_execute(prepared["SELECT * FROM ks.broken"])
        else:
            c.send_execute(prepared["INSERT INTO ks.broken (k) VALUES (?)"], values=[b"v"])
        if round_number % 10 == 9:
            await assert_alive(other, bench)
    for client in bench.clients:
        if client is not other:
            client.abort()
    bench.clients[:] = [other]
    await assert_alive(other, bench)


# ---- in the handshake ----

STARTUP = b"\0\1\0\x0bCQL_VERSION\0\x053.0.0"


def assert_refused(bench, cluster, answers):
    """
    Of the one cluster the client may hear in an error. With pooled connections it is served without the other one until
    that is back.
    """
    if bench.is_pooled and cluster is not bench.primary:
        assert [frame.opcode for frame in answers] == [Op.READY], answers
    else:
        assert len(answers) <= 1 and all(frame.opcode == Op.ERROR for frame in answers), answers


@pytest.mark.parametrize("where", PRIMARIES)
@pytest.mark.parametrize("name", GARBAGE)
async def test_garbage_instead_of_ready(bench, where, name):
    cluster = getattr(bench, where)
    cluster.on(Op.STARTUP, GARBAGE[name], times=1)
    c = await bench.open(4)
    stream = c.send(Op.STARTUP, STARTUP)
    served = bench.is_pooled and cluster is not bench.primary
    assert_refused(bench, cluster, [await c.answer(stream)] if served else await c.closed())
    await assert_alive(await client_of_both(bench, 4), bench)
    if served:
        await until_served(c)
        await assert_alive(c, bench)


@pytest.mark.parametrize("opcode,body", [(Op.RESULT, responses.void()), (Op.SUPPORTED, b"\0\0"), (Op.ERROR, b"\0\0"),
                                         (Op.AUTHENTICATE, b"\xff\xff"), (Op.AUTH_CHALLENGE, b"\0\0\0\x09x")])
@pytest.mark.parametrize("where", PRIMARIES)
async def test_strange_answers_to_startup(bench, where, opcode, body):
    cluster = getattr(bench, where)
    cluster.on(Op.STARTUP, behaviour.answer(opcode, body), times=1)
    c = await bench.open(4)
    c.send(Op.STARTUP, STARTUP)
    await c.until(lambda: c.is_closed or c.received, "answer or end")
    if opcode == Op.AUTH_CHALLENGE:  # an answer, and not one that the other cluster could make up for
        assert all(frame.opcode == Op.ERROR for frame in c.received), c.received
    else:
        assert_refused(bench, cluster, c.received)
    c.received.clear()
    await assert_alive(await client_of_both(bench, 4), bench)


@pytest.mark.checklist(15)
async def test_a_cluster_that_forgets_its_version_in_the_handshake(bench):
    """Version byte 1 in the answer to STARTUP: the driver gets one protocol error on stream 0, or the end."""
    bench.target.on(Op.STARTUP, in_segment(lambda got: head(got, version=1, opcode=Op.READY, body=b"")), times=1)
    c = await bench.open(5)
    c.send(Op.STARTUP, STARTUP, stream=12)
    assert_refused(bench, bench.target, [await c.answer(12)] if bench.is_pooled else await c.closed())
