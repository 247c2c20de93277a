"""v5 segments and compressed bodies, both ways and each leg for itself."""
import asyncio
import os
import struct

import pytest

import behaviour
from cqlwire import Column, FrameFlag, Kind, Op, Type, framing, requests, responses
from cqlwire.framing import MAX_PAYLOAD, HEAD
from fakecluster import Auth
from helpers import PRIMARIES, WAY_IDS, WAYS

V5 = pytest.mark.parametrize("compression", [None, "lz4"])
BLOB = [Column("v", Type.BLOB)]


def noise(size):
    """Bytes that do not compress."""
    return os.urandom(size)


def lz4_literals(body):
    """A legal body that no compressor makes: everything as literals, one block."""
    extra = len(body) - 15
    return struct.pack(">I", len(body)) + b"\xf0" + b"\xff" * (extra // 255) + bytes([extra % 255]) + body


def snappy_literals(body):
    """The same for snappy: the length, then literals of 60 bytes at most."""
    size, head = len(body), b""
    while size >= 0x80:
        head, size = head + bytes([size & 0x7F | 0x80]), size >> 7
    parts = [body[i:i + 60] for i in range(0, len(body), 60)]
    return head + bytes([size]) + b"".join(bytes([len(part) - 1 << 2]) + part for part in parts)


LITERALS = {"lz4": lz4_literals, "snappy": snappy_literals}


# ---- compression of bodies ----

@pytest.mark.connections(105)
@pytest.mark.checklist(23, 24, 25)
@pytest.mark.parametrize("name", ["LZ4", "lz4", "snappy", "SNAPPY"])
@pytest.mark.parametrize("version", [3, 4])
async def test_compressed_bodies(bench, version, name):
    """They pass as they are, in both directions: byte by byte the same."""
    c = await bench.client(version, name)
    text = "SELECT * FROM ks.t WHERE a = '" + "x" * 500 + "'"
    # another packing of the same body than a compressor would make: whoever packs anew is found out
    body = requests.query(version, text)
    packed = LITERALS[name.lower()](body)
    c.write(framing.frame_bytes(version, FrameFlag.COMPRESSED, 9, Op.QUERY, packed))
    answer = await c.answer(9)
    assert answer.frame.was_compressed and answer.rows[0][2] == text
    await c.query("INSERT INTO ks.t (k) VALUES (1)")
    for cluster in bench.clusters:
        conn = cluster.connections()[0]
        assert conn.startup_options["COMPRESSION"].lower() == name.lower()
    sent = bench.origin.requests(Op.QUERY)[0]
    assert sent.frame.was_compressed and sent.statement == text and sent.wire_body == packed


@pytest.mark.checklist(23, 24)
@pytest.mark.parametrize("name", ["lz4", "snappy"])
async def test_compressed_answers(bench, name):
    body = responses.rows(BLOB, [[b"y" * 700]])
    packed = LITERALS[name](body)

    async def answer_packed(conn, got):
        conn.in_flight.discard(got.stream)
        conn.transport.write(framing.frame_bytes(4, FrameFlag.COMPRESSED, got.stream, Op.RESULT, packed, True))
    bench.origin.on("ks.t", answer_packed)
    c = await bench.client(4, name)
    answer = await c.query("SELECT * FROM ks.t")
    assert answer.rows == [[b"y" * 700]] and answer.frame.wire_body == packed


@pytest.mark.checklist(26)
@pytest.mark.parametrize("name", ["lz4", "snappy"])
async def test_uncompressed_frames_on_compressed_connections(bench, name):
    bench.origin.compress_answers = False
    try:
        c = await bench.client(4, name)
        stream = c.send(Op.QUERY, requests.query(4, "SELECT * FROM ks.t"), compress=False)
        answer = await c.answer(stream)
        assert answer.rows[0][2] == "SELECT * FROM ks.t"
    finally:
        bench.origin.compress_answers = True


@pytest.mark.checklist(27)
@pytest.mark.parametrize("name", ["lz4", "snappy"])
@pytest.mark.parametrize("size", [10, 3000, 300_000])
async def test_compressed_execute_towards_target(bench, name, size):
    c = await bench.client(4, name)
    prepared = await c.prepare("INSERT INTO ks.t (k, v) VALUES (?, ?)")
    values = [b"key", b"value " * (size // 6)]
    await c.execute(prepared, values=values, page_size=10, timestamp=5)
    origin, target = [cluster.requests(Op.EXECUTE)[0] for cluster in bench.clusters]
    assert origin.prepared_id != target.prepared_id
    assert origin.params == target.params
    assert origin.body.replace(origin.prepared_id, target.prepared_id) == target.body


@pytest.mark.checklist(28)
@pytest.mark.parametrize("version,compression", [(3, "lz4"), (4, "lz4"), (4, "snappy"), (5, "lz4")])
async def test_ratios_far_above_8(bench, version, compression):
    value = b"\0" * 3_000_000
    bench.origin.on("ks.t", behaviour.rows(BLOB, [[value]]))
    c = await bench.client(version, compression)
    answer = await c.query("SELECT v FROM ks.t WHERE k = ?", values=[value])
    assert answer.rows == [[value]]
    assert bench.origin.requests(Op.QUERY)[0].params.values == [value]


@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
@pytest.mark.parametrize("offered", [("lz4", ()), ((), "lz4"), ("snappy", "lz4"), ((), ())])
async def test_each_leg_has_its_own_compression(make_bench, version, compression, offered):
    """A node that does not offer the driver's algorithm gets plain frames; the fake nodes refuse anything else."""
    per = [((o,) if isinstance(o, str) else o) for o in offered]
    bench = await make_bench(origin={"compression": per[0]}, target={"compression": per[1]})
    c = await bench.client(version, compression)
    text = "INSERT INTO ks.t (k) VALUES ('" + "v" * 1000 + "')"
    assert (await c.query(text)).kind == Kind.VOID
    answer = await c.query("SELECT * FROM ks.t")
    assert answer.rows[0][0] == "origin"
    prepared = await c.prepare("INSERT INTO ks.t (k) VALUES (?)")
    assert (await c.execute(prepared, values=[b"v" * 1000])).kind == Kind.VOID
    assert (await c.batch([(prepared.prepared_id, [b"x" * 1000])])).kind == Kind.VOID
    for cluster, algorithms in zip(bench.clusters, per):
        conn = cluster.connections()[0]
        wanted = compression if compression in algorithms else None
        assert (conn.startup_options.get("COMPRESSION") or "none").lower() == (wanted or "none")
        assert text in cluster.statements()
        assert cluster.requests(Op.BATCH)[0].children[0][1] == [b"x" * 1000]


async def test_ready_may_be_compressed(bench):
    """Section 4.2.2 of v4: once STARTUP is there, even its answer may be compressed."""
    async def compressed_ready(conn, got):
        conn.send(Op.READY, b"", got.stream, version=4, compress=True)
    for cluster in bench.clusters:
        cluster.on(Op.STARTUP, compressed_ready)
    c = await bench.client(4, "lz4")
    assert (await c.query("SELECT * FROM ks.t")).rows


# ---- segments ----

@pytest.mark.checklist(29, 30, 33)
@V5
async def test_segments_behind_ready(bench, compression):
    c = await bench.client(5, compression)
    assert c.codec.framed and not c.codec.segments
    answer = await c.query("SELECT * FROM ks.t WHERE a = '" + "x" * 900 + "'")
    assert answer.rows[0][0] == "origin"
    await bench.settle(c)
    assert len(c.codec.segments) >= 1
    for cluster in bench.clusters:
        conn = cluster.connections()[0]
        assert conn.codec.framed and len(conn.codec.segments) >= 1
    if compression:
        assert any(s.compressed for s in c.codec.segments)
        assert any(s.compressed for s in bench.origin.connections()[0].codec.segments)


@pytest.mark.checklist(29, 30)
@V5
async def test_segments_behind_authenticate(make_bench, compression):
    bench = await make_bench(target={"auth": Auth({"app": "secret", "proxy": "proxy-password"})})
    c = await bench.open(5)
    assert (await c.startup(compression)).opcode == Op.AUTHENTICATE
    assert c.codec.framed
    assert (await c.login("app", "secret")).opcode == Op.AUTH_SUCCESS
    assert (await c.query("SELECT * FROM ks.t")).rows


@pytest.mark.checklist(33)
async def test_stored_segments_in_compressed_framing(bench):
    """Uncompressed length 0: the payload lies there as it is."""
    c = await bench.client(5, "lz4")
    for store in (True, False):
        c.send_segment(c.frame(Op.QUERY, requests.query(5, "SELECT * FROM ks.t"), stream=6), store_plain=store)
        assert (await c.answer(6)).rows[0][0] == "origin"
    value = noise(100_000)
    bench.origin.on("noise", behaviour.rows(BLOB, [[value]]))
    assert (await c.query("SELECT noise FROM ks.t", values=[value])).rows == [[value]]
    assert any(not s.compressed for s in c.codec.segments)


@pytest.mark.checklist(34)
@V5
async def test_several_requests_in_one_segment(bench, compression):
    c = await bench.client(5, compression)
    frames = b"".join(c.frame(Op.QUERY, requests.query(5, f"SELECT {i} FROM ks.t"), stream=i) for i in range(50))
    c.send_segment(frames)
    for i in range(50):
        assert (await c.answer(i)).rows[0][2] == f"SELECT {i} FROM ks.t"


@pytest.mark.checklist(35, 38)
@V5
@pytest.mark.parametrize("cut", range(1, HEAD + 3))
@pytest.mark.parametrize("self_contained", [False, True])
async def test_a_request_split_over_two_segments(bench, compression, cut, self_contained):
    """Also within the header. Some drivers set the self-contained flag all the same; it is not looked at."""
    c = await bench.client(5, compression)
    frame = c.frame(Op.QUERY, requests.query(5, "SELECT * FROM ks.t"), stream=8)
    c.send_segment(frame[:cut], self_contained=self_contained)
    c.send_segment(frame[cut:], self_contained=self_contained)
    assert (await c.answer(8)).rows[0][0] == "origin"


@V5
async def test_segments_that_arrive_byte_by_byte(bench, compression):
    c = await bench.client(5, compression)
    data = c.codec.wrap(c.frame(Op.QUERY, requests.query(5, "SELECT * FROM ks.t"), stream=8))
    for i in range(len(data)):
        c.write(data[i:i + 1])
        await asyncio.sleep(0)
    assert (await c.answer(8)).rows[0][0] == "origin"


@pytest.mark.checklist(36)
@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
@pytest.mark.parametrize("kind", ["noise", "text"])
async def test_large_frames(bench, version, compression, kind):
    size = 1_100_000
    value = noise(size) if kind == "noise" else b"0123456789abcdef" * (size // 16)
    bench.origin.on("ks.t", behaviour.rows(BLOB, [[value]]))
    c = await bench.client(version, compression)
    answer = await c.query("SELECT v FROM ks.t WHERE k = ?", values=[value])
    assert answer.rows == [[value]]
    prepared = await c.prepare("INSERT INTO ks.big (v) VALUES (?)")
    assert (await c.execute(prepared, values=[value])).kind == Kind.VOID
    for cluster in bench.clusters:
        assert cluster.requests(Op.EXECUTE)[0].params.values == [value]
    if version == 5:
        assert any(not s.self_contained for s in c.codec.segments)
        for cluster in bench.clusters:
            assert any(not s.self_contained for conn in cluster.connections() for s in conn.codec.segments)


@pytest.mark.checklist(37)
@V5
@pytest.mark.parametrize("total", [MAX_PAYLOAD - 1, MAX_PAYLOAD, MAX_PAYLOAD + 1, 2 * MAX_PAYLOAD, 2 * MAX_PAYLOAD + 1])
async def test_frames_around_the_size_of_a_segment(bench, compression, total):
    c = await bench.client(5, compression)
    # a request of exactly `total` bytes ...
    empty = len(requests.query(5, "SELECT v FROM ks.t WHERE k = ?", values=[b""]))
    value = noise(total - HEAD - empty)
    # ... and an answer of exactly `total` bytes
    bare = len(framing.frame_bytes(5, 0, 0, Op.RESULT, responses.rows(BLOB, [[b""]]), True))
    result = noise(total - bare)
    bench.origin.on("ks.t", behaviour.rows(BLOB, [[result]]))
    c.codec.segments.clear()
    bench.origin.connections()[0].codec.segments.clear()
    answer = await c.query("SELECT v FROM ks.t WHERE k = ?", values=[value])
    assert answer.rows == [[result]]
    assert bench.origin.requests(Op.QUERY)[0].params.values == [value]
    for segments in (c.codec.segments, bench.origin.connections()[0].codec.segments):
        assert sum(s.plain_length for s in segments) == total
        if total <= MAX_PAYLOAD:
            assert [s.self_contained for s in segments] == [True]
        else:
            assert not any(s.self_contained for s in segments)
            assert len(segments) == -(-total // MAX_PAYLOAD)


@pytest.mark.checklist(41)
@V5
async def test_the_compressed_flag_inside_segments_means_nothing(bench, compression):
    """gocql sets it; bodies in segments are never compressed by themselves."""
    c = await bench.client(5, compression)
    body = requests.query(5, "INSERT INTO ks.t (k) VALUES (1)")
    c.send_frame_bytes(framing.frame_bytes(5, FrameFlag.COMPRESSED, 4, Op.QUERY, body))
    assert (await c.answer(4)).kind == Kind.VOID
    for cluster in bench.clusters:
        assert not cluster.requests(Op.QUERY)[0].flags & FrameFlag.COMPRESSED


@pytest.mark.checklist(43)
@V5
async def test_small_write_buffers_lose_nothing(make_bench, compression):
    """ZDM's sizes of buffers are understood, and none is too small."""
    sizes = {f"ZDM_{way}_WRITE_BUFFER_SIZE_BYTES": "256" for way in ("REQUEST", "RESPONSE")}
    bench = await make_bench(profile="zdm", variables=sizes)
    clients = [await bench.client(5, compression) for _ in range(5)]
    sent = [(c, c.send_query(f"SELECT '{i:03}{'x' * 385}' FROM ks.t", stream=i), f"SELECT '{i:03}") for i in range(100)
            for c in clients]
    for c, stream, start in sent:
        assert (await c.answer(stream)).rows[0][2].startswith(start)
    assert len(bench.origin.requests(Op.QUERY)) == len(sent)


@pytest.mark.checklist(43)
@V5
@pytest.mark.parametrize("primary", PRIMARIES)
async def test_nothing_is_lost_under_pipelining(make_bench, compression, primary):
    bench = await make_bench(primary=primary)
    c = await bench.client(5, compression)
    texts = {}
    for i in range(1000):
        text = f"INSERT INTO ks.t (k) VALUES ({i}) IF NOT EXISTS"
        if i % 2:
            text = f"SELECT '{i:04}{'x' * (i % 400)}' FROM ks.t"
        texts[c.send_query(text, stream=i)] = text
    for stream, text in texts.items():
        answer = await c.answer(stream)
        assert answer.rows == ([[primary, None, text]] if stream % 2 else [[True, primary]])
    assert bench.secondary.statements() == [t for s, t in texts.items() if s % 2 == 0]


@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
async def test_answers_of_all_sizes_in_between(bench, version, compression):
    """Small, medium (copied) and large (referenced) answers mixed on one connection keep their bytes."""
    c = await bench.client(version, compression)
    sizes = [0, 1, 100, 4095, 16383, 16384, 16385, 65536, 131072, 262144, 5, 300_000]
    values = {i: noise(size) for i, size in enumerate(sizes)}
    for i, value in values.items():
        bench.origin.on(f"SELECT v{i} ", behaviour.rows(BLOB, [[value]]))
    streams = {i: c.send_query(f"SELECT v{i} FROM ks.t", values=[values[i]]) for i in values}
    for i, stream in streams.items():
        assert (await c.answer(stream)).rows == [[values[i]]]
    received = {r.statement: r.params.values for r in bench.origin.requests(Op.QUERY)}
    assert received == {f"SELECT v{i} FROM ks.t": [value] for i, value in values.items()}
