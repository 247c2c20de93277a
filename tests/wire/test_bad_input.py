"""
Malformed input from drivers: a PROTOCOL_ERROR on the right stream where the connection can go on, else one and the end;
never a crash, a hang or growth, nothing malformed towards a cluster (the fake nodes complain about it), and no harm to
anybody else.
"""
import asyncio
import random
import socket
import struct

import pytest

import behaviour
from behaviour import Hold
from cqlwire import Err, FrameFlag, Op, UNSET, Writer, frame_bytes, framing, requests
from fakecluster import Auth
from helpers import (WAY_IDS, WAYS, assert_alive, assert_broken_off, assert_error, assert_one_protocol_error,
                     client_of_both)

AUTH = {"auth": Auth({"app": "secret", "proxy": "proxy-password"})}


async def assert_serving(bench):
    """A new client is served."""
    c = await bench.client()
    await assert_alive(c, bench)


# ---- before the client is ready ----

EARLY = {
    "QUERY": (Op.QUERY, lambda v: requests.query(v, "SELECT * FROM system.local")),
    "PREPARE": (Op.PREPARE, lambda v: requests.prepare(v, "SELECT * FROM system.local")),
    "EXECUTE": (Op.EXECUTE, lambda v: requests.execute(v, b"x" * 16)),
    "BATCH": (Op.BATCH, lambda v: requests.batch(v, [])),
    "REGISTER": (Op.REGISTER, lambda v: requests.register(["SCHEMA_CHANGE"])),
}


@pytest.mark.connections(106)
@pytest.mark.parametrize("version", [3, 4, 5])
@pytest.mark.parametrize("name", EARLY)
async def test_nothing_is_served_before_startup(bench, version, name):
    opcode, body = EARLY[name]
    c = await bench.open(version)
    stream = c.send(opcode, body(version))
    assert_one_protocol_error(await c.closed(), streams=[stream])
    for cluster in bench.clusters:
        assert not cluster.requests()


@pytest.mark.connections(106)
@pytest.mark.parametrize("version", [3, 4, 5])
@pytest.mark.parametrize("name", EARLY)
async def test_nothing_is_served_before_authentication(make_bench, version, name):
    bench = await make_bench(origin=AUTH, target=AUTH)
    opcode, body = EARLY[name]
    c = await bench.open(version)
    assert (await c.startup()).opcode == Op.AUTHENTICATE
    stream = c.send(opcode, body(version))
    assert_one_protocol_error(await c.closed(), streams=[stream])
    for cluster in bench.clusters:
        assert not cluster.requests(opcode)


async def test_auth_response_before_startup(bench):
    c = await bench.open()
    stream = c.send(Op.AUTH_RESPONSE, requests.auth_response(b"\0u\0p"))
    assert_one_protocol_error(await c.closed(), streams=[stream])


@pytest.mark.parametrize("opcode,body", [(Op.STARTUP, requests.startup()),
                                         (Op.AUTH_RESPONSE, requests.auth_response(b"\0u\0p"))])
async def test_a_second_handshake(bench, opcode, body):
    c = await bench.client()
    assert_error(await c.ask(opcode, body), Err.PROTOCOL_ERROR)
    for cluster in bench.clusters:
        assert len(cluster.requests(Op.STARTUP)) == 1 and not cluster.requests(Op.AUTH_RESPONSE)


BAD_STARTUPS = {
    "empty": b"",
    "one byte": b"\0",
    "count without pairs": b"\0\1",
    "count too large": b"\xff\xff" + requests.startup()[2:],
    "key beyond the end": b"\0\1\0\x20CQL",
    "value beyond the end": b"\0\1" + Writer().string("CQL_VERSION").done() + b"\xff\xffx",
    "value missing": b"\0\1" + Writer().string("CQL_VERSION").done(),
    "cut in the middle": requests.startup({"COMPRESSION": "lz4", "DRIVER_NAME": "x"})[:-3],
}


@pytest.mark.connections(97)
@pytest.mark.checklist(21)
@pytest.mark.parametrize("name", BAD_STARTUPS)
async def test_startup_that_cannot_be_read(bench, name):
    c = await bench.open()
    stream = c.send(Op.STARTUP, BAD_STARTUPS[name])
    assert_one_protocol_error(await c.closed(), streams=[0, stream])
    for cluster in bench.clusters:
        assert not cluster.requests()
    await assert_serving(bench)


@pytest.mark.connections(97)
@pytest.mark.checklist(21)
@pytest.mark.parametrize("version", [3, 4, 5])
async def test_startup_with_the_compressed_flag(bench, version):
    c = await bench.open(version)
    c.write(frame_bytes(version, FrameFlag.COMPRESSED, 3, Op.STARTUP, framing.compress_body("lz4", requests.startup())))
    assert_one_protocol_error(await c.closed(), streams=[0, 3])
    await assert_serving(bench)


@pytest.mark.connections(98)
@pytest.mark.checklist(22, 42)
@pytest.mark.parametrize("version,name", [(3, "zstd"), (4, "zstd"), (5, "zstd"), (4, "Deflate"), (4, "x" * 300),
                                          (5, "snappy")])
async def test_startup_with_a_compression_that_is_unknown(bench, version, name):
    c = await bench.open(version)
    stream = c.send(Op.STARTUP, requests.startup({"COMPRESSION": name}))
    assert_one_protocol_error(await c.closed(), name[:32], streams=[0, stream])
    for cluster in bench.clusters:
        assert not cluster.requests()
    await assert_serving(bench)


@pytest.mark.parametrize("token", [None, b"", b"user", b"user\0", b"\0", b"\0\0", b"\xff\xfe\0\xff\0\xff",
                                   b"x" * 100_000])
async def test_tokens_that_are_no_credentials(make_bench, token):
    """They are answered: with an error, or by what the cluster says; never by silence."""
    bench = await make_bench(target=AUTH)
    c = await bench.open()
    await c.startup()
    answer = await c.auth(token)
    assert answer.is_error() and answer.code in (Err.PROTOCOL_ERROR, Err.BAD_CREDENTIALS), answer


async def test_auth_response_that_cannot_be_read(make_bench):
    bench = await make_bench(target=AUTH)
    for body in (b"", b"\0\0", b"\0\0\0\x09abc", b"\x7f\xff\xff\xffabc"):
        c = await bench.open()
        await c.startup()
        stream = c.send(Op.AUTH_RESPONSE, body)
        assert_error(await c.answer(stream), Err.PROTOCOL_ERROR)
    assert not bench.target.requests(Op.AUTH_RESPONSE)


EARLY_LIMIT = 128 * 1024


@pytest.mark.parametrize("opcode", [Op.STARTUP, Op.OPTIONS, Op.AUTH_RESPONSE])
@pytest.mark.parametrize("length", [EARLY_LIMIT + 1, 16 << 20, 0x7FFFFFFF, -1, -0x80000000])
async def test_early_frames_are_small(bench, opcode, length):
    """Refused from the header: nothing of the body is waited for."""
    c = await bench.open()
    c.write(frame_bytes(4, 0, 3, opcode, b"", length=length))
    if length < 0:
        assert_broken_off(bench, await c.closed(), streams=[0, 3])
    else:
        assert_one_protocol_error(await c.closed(), streams=[0, 3])


async def test_a_startup_of_just_128_kib_is_read(bench):
    c = await bench.open()
    options = {f"OPTION_{i}": "x" * 1000 for i in range(125)}
    options["LAST"] = "x" * (EARLY_LIMIT - len(requests.startup(options)) - 8)
    body = requests.startup(options)
    assert len(body) == EARLY_LIMIT
    answer = await c.answer(c.send(Op.STARTUP, body))
    assert answer.opcode == Op.READY


# ---- frames that no node would take, on a ready connection ----

@pytest.mark.checklist(18)
@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
@pytest.mark.parametrize("length", [-1, -0x80000000])
async def test_negative_lengths(bench, version, compression, length):
    c = await bench.client(version, compression)
    c.send_frame_bytes(frame_bytes(version, 0, 3, Op.QUERY, b"", length=length))
    assert_broken_off(bench, await c.closed(), f"negative frame length {length}", streams=[0, 3])
    await assert_serving(bench)


@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
@pytest.mark.parametrize("length", [(16 << 20) + 1, 256 << 20, 0x7FFFFFFF])
async def test_lengths_over_the_limit(make_bench, version, compression, length):
    bench = await make_bench(sections={"proxy": {"max_frame_size": "16MiB"}})
    c = await bench.client(version, compression)
    c.send_frame_bytes(frame_bytes(version, 0, 3, Op.QUERY, b"", length=length))
    assert_one_protocol_error(await c.closed(), f"frame of {length} bytes", streams=[0, 3])
    await assert_serving(bench)


@pytest.mark.checklist(16, 17)
@pytest.mark.parametrize("version,compression", [(3, None), (4, "lz4"), (5, None), (5, "lz4")])
@pytest.mark.parametrize("opcode", [0x00, 0x02, 0x03, 0x04, 0x06, 0x08, 0x0C, 0x0E, 0x10, 0x11, 0x20, 0x80, 0xFF])
async def test_opcodes_that_are_no_requests(bench, version, compression, opcode):
    c = await bench.client(version, compression)
    c.send_frame_bytes(frame_bytes(version, 0, 3, opcode, b"\0\0\0\0"))
    assert_broken_off(bench, await c.closed(), streams=[0, 3])
    await bench.until_backends_gone()
    for cluster in bench.clusters:
        assert [r.opcode for r in cluster.requests()] == [Op.STARTUP]


@pytest.mark.checklist(17)
@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("version", [3, 4, 5])
async def test_frames_in_the_wrong_direction(bench, version, early):
    c = await (bench.open if early else bench.client)(version)
    c.send_frame_bytes(frame_bytes(version, 0, 3, Op.OPTIONS, b"", response=True))
    assert_broken_off(bench, await c.closed(), streams=[0, 3])


@pytest.mark.checklist(16)
@pytest.mark.parametrize("opcode", [0x00, 0x04, 0x08, 0x20, 0xFF])
async def test_wrong_opcodes_before_startup(bench, opcode):
    c = await bench.open()
    c.write(frame_bytes(4, 0, 3, opcode))
    assert_broken_off(bench, await c.closed(), streams=[0, 3])


@pytest.mark.checklist(39, 40)
@pytest.mark.parametrize("compression", [None, "lz4"])
@pytest.mark.parametrize("how", ["break_head", "break_payload"])
async def test_broken_checksums(bench, compression, how):
    c = await bench.client(5, compression)
    c.send_segment(c.frame(Op.QUERY, requests.query(5, "INSERT INTO ks.t (k) VALUES (1)")), **{how: True})
    assert_broken_off(bench, await c.closed())
    await bench.until_backends_gone()
    for cluster in bench.clusters:
        assert not cluster.requests(Op.QUERY)


@pytest.mark.parametrize("compression", [None, "lz4"])
async def test_plain_frames_where_segments_are_due(bench, compression):
    c = await bench.client(5, compression)
    c.write(frame_bytes(5, 0, 3, Op.QUERY, requests.query(5, "SELECT * FROM ks.t")))
    assert_broken_off(bench, await c.closed())


async def test_segments_whose_lz4_is_damaged(bench):
    def segment(payload, plain_length):
        head = (len(payload) | plain_length << 17 | 1 << 34).to_bytes(5, "little")
        return head + framing.crc24(head).to_bytes(3, "little") + payload + framing.crc32(payload).to_bytes(4, "little")
    good = framing.lz4.block.compress(b"\0" * 5000, store_size=False)
    for payload, plain_length in ((b"\xff" * 40, 5000), (good, 4999), (good, 5001), (good[:-3], 5000), (b"", 7),
                                  (good, 1)):
        c = await bench.client(5, "lz4")
        c.write(segment(payload, plain_length))
        assert_broken_off(bench, await c.closed())
    await assert_serving(bench)


# ---- bodies that cannot be read ----

def bodies(version):
    """Whole bodies of each kind, with everything in them."""
    more = {"keyspace": "ks", "now_in_seconds": 1} if version == 5 else {}
    params = dict(values=[b"abc", None, UNSET if version > 3 else b""], page_size=5, paging_state=b"state",
                  serial_consistency=8, timestamp=7, **more)
    return {
        Op.QUERY: requests.query(version, "INSERT INTO ks.t (k) VALUES (?)", **params),
        Op.EXECUTE: requests.execute(version, b"i" * 16, b"m" * 16, **params),
        Op.PREPARE: requests.prepare(version, "INSERT INTO ks.t (k) VALUES (?)", "ks" if version == 5 else None),
        Op.BATCH: requests.batch(version, [("INSERT INTO ks.t (k) VALUES (?)", [b"v"]), (b"i" * 16, [b"w", None])],
                                 serial_consistency=8, timestamp=7, **more),
        Op.REGISTER: requests.register(["SCHEMA_CHANGE", "STATUS_CHANGE"]),
    }


@pytest.mark.parametrize("version", [3, 4, 5])
@pytest.mark.parametrize("opcode", [Op.QUERY, Op.EXECUTE, Op.PREPARE, Op.BATCH, Op.REGISTER], ids=lambda o: o.name)
async def test_every_short_body(bench, version, opcode):
    """Each body cut at each byte."""
    whole = bodies(version)[opcode]
    c = await bench.client(version)
    streams = {c.send(opcode, whole[:cut]): cut for cut in range(len(whole))}
    for stream, cut in streams.items():
        answer = await c.answer(stream)
        assert answer.is_error() and answer.code == Err.PROTOCOL_ERROR, (cut, whole[:cut], answer)
    await assert_alive(c, bench)
    for cluster in bench.clusters:
        assert not cluster.requests(opcode) or opcode == Op.QUERY


def long_string(length, data=b""):
    return struct.pack(">i", length) + data


BAD_BODIES = {
    "query text longer than the frame": (Op.QUERY, long_string(1000, b"SELECT") + b"\0\1\0\0\0\0"),
    "query text of length -1": (Op.QUERY, long_string(-1) + b"\0\1\0\0\0\0"),
    "query text of length -2^31": (Op.QUERY, long_string(-0x80000000) + b"\0\1\0\0\0\0"),
    "query text of length 2^31-1": (Op.QUERY, long_string(0x7FFFFFFF, b"SELECT") + b"\0\1\0\0\0\0"),
    "prepare text longer than the frame": (Op.PREPARE, long_string(1000, b"SELECT")),
    "prepare text of length -1": (Op.PREPARE, long_string(-1)),
    "id longer than the frame": (Op.EXECUTE, b"\xff\xffabc"),
    "batch with an unknown kind of child": (Op.BATCH, b"\0\0\1\2" + long_string(1, b"x") + b"\0\0\0\1\0\0\0\0"),
    "batch with more children than bytes": (Op.BATCH, b"\0\xff\xff\0" + long_string(1, b"x") + b"\0\0"),
    "batch child of length -1": (Op.BATCH, b"\0\0\1\0" + long_string(-1) + b"\0\0\0\1\0\0\0\0"),
    "batch child with a value beyond the end": (Op.BATCH, b"\0\0\1\0\0\0\0\1x\0\1" + long_string(999, b"v")),
    "register for unknown events": (Op.REGISTER, requests.register(["SCHEMA_CHANGE", "WEATHER_CHANGE"])),
    "register with more names than bytes": (Op.REGISTER, b"\xff\xff" + requests.register(["SCHEMA_CHANGE"])[2:]),
}


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("name", BAD_BODIES)
async def test_lengths_that_make_no_sense(bench, version, name):
    opcode, body = BAD_BODIES[name]
    c = await bench.client(version)
    assert_error(await c.ask(opcode, body), Err.PROTOCOL_ERROR)
    await assert_alive(c, bench)


def query_with(version, flags, rest):
    flag_bytes = struct.pack(">I", flags) if version == 5 else struct.pack(">B", flags)
    return Writer().long_string("INSERT INTO ks.t (k) VALUES (?)").short(1).raw(flag_bytes).raw(rest).done()


@pytest.mark.parametrize("version", [3, 4, 5])
@pytest.mark.parametrize("flags,rest", [
    (0x01, b"\xff\xff" + long_string(1, b"v")), (0x01, b"\0\1" + long_string(100, b"v")), (0x01, b""),
    (0x41, b"\0\1\0\x50name" + long_string(1, b"v")), (0x04, b"\0\0"), (0x08, long_string(100, b"x")),
    (0x10, b"\0"), (0x20, b"\0\0\0\0"), (0x01, b"\0\1" + long_string(0x7FFFFFFF, b"v")),
])
async def test_parameters_that_go_beyond_the_frame(bench, version, flags, rest):
    c = await bench.client(version)
    assert_error(await c.ask(Op.QUERY, query_with(version, flags, rest)), Err.PROTOCOL_ERROR)
    await assert_alive(c, bench)


@pytest.mark.parametrize("body", [b"\xff\xff", b"\0\1\0\4na", b"\0\1\0\1k" + long_string(100, b"v"),
                                  b"\0\1\0\1k" + long_string(0x7FFFFFFF)])
@pytest.mark.parametrize("opcode", [Op.QUERY, Op.PREPARE, Op.EXECUTE, Op.BATCH], ids=lambda o: o.name)
async def test_custom_payloads_that_cannot_be_read(bench, opcode, body):
    c = await bench.client(4)
    assert_error(await c.ask(opcode, body, flags=FrameFlag.CUSTOM_PAYLOAD), Err.PROTOCOL_ERROR)
    await assert_alive(c, bench)


@pytest.mark.checklist(19)
@pytest.mark.parametrize("version", [3, 4, 5])
async def test_a_consistency_that_does_not_exist(bench, version):
    """It is the cluster's to refuse."""
    for cluster in bench.clusters:
        cluster.on("ks.odd", behaviour.error(Err.PROTOCOL_ERROR, "Invalid consistency code 153"))
    c = await bench.client(version)
    for text in ("SELECT * FROM ks.odd", "INSERT INTO ks.odd (k) VALUES (1)"):
        assert_error(await c.query(text, consistency=0x99), Err.PROTOCOL_ERROR, "Invalid consistency code 153")
        assert bench.origin.requests(Op.QUERY)[-1].params.consistency == 0x99
    await assert_alive(c, bench)


@pytest.mark.checklist(20)
@pytest.mark.parametrize("version", [3, 4, 5])
async def test_a_batch_with_names_for_values(bench, version):
    """Names in it are nothing that could be read (v5, section 4.1.7), so no cluster is to guess."""
    c = await bench.client(version)
    text = "INSERT INTO ks.t (k) VALUES (?)"
    w = Writer().byte(0).short(1).byte(0).long_string(text).short(1).string("name").value(b"v").short(1)
    named = (w.int(0x40) if version == 5 else w.byte(0x40)).done()
    for body in (named, requests.batch(version, [(text, [b"v"])], flags_extra=0x40)):
        assert_error(await c.ask(Op.BATCH, body), Err.PROTOCOL_ERROR, "the body of BATCH cannot be read")
    await assert_alive(c, bench)
    for cluster in bench.clusters:
        assert not cluster.requests(Op.BATCH)


async def test_an_empty_prepared_id(bench):
    c = await bench.client()
    assert_error(await c.execute(b""), Err.UNPREPARED, "not found")
    await assert_alive(c, bench)


# ---- compression ----

@pytest.mark.parametrize("version", [3, 4])
async def test_a_compressed_frame_without_negotiation(bench, version):
    c = await bench.client(version)
    body = framing.compress_body("lz4", requests.query(version, "INSERT INTO ks.t (k) VALUES (1)"))
    c.write(frame_bytes(version, FrameFlag.COMPRESSED, 9, Op.QUERY, body))
    assert_error(await c.answer(9), Err.PROTOCOL_ERROR)
    for cluster in bench.clusters:
        assert not cluster.requests(Op.QUERY)


@pytest.mark.parametrize("opcode", [Op.QUERY, Op.PREPARE, Op.EXECUTE, Op.BATCH, Op.REGISTER], ids=lambda o: o.name)
@pytest.mark.parametrize("algorithm", ["lz4", "snappy"])
async def test_compressed_bodies_that_are_damaged(bench, opcode, algorithm):
    good = framing.compress_body(algorithm, bodies(4)[opcode])
    damaged = [b"", b"\0", good[:len(good) // 2], b"\x7f\xff\xff\xff" + good[4:],
               b"\xff\xff\xff\xff\xff\xff" + good[4:],
               b"\0\0\0\5" + b"\xff" * 20]
    for body in damaged:
        c = await bench.client(4, algorithm)
        c.write(frame_bytes(4, FrameFlag.COMPRESSED, 9, opcode, body))
        assert_error(await c.answer(9), Err.PROTOCOL_ERROR)
    for cluster in bench.clusters:
        assert not cluster.requests(opcode)
    await assert_serving(bench)


@pytest.mark.parametrize("algorithm", ["lz4", "snappy"])
async def test_a_compression_bomb(make_bench, algorithm):
    """17 MiB out of a few kilobytes: more than max_frame_size, refused by the length that it announces."""
    bench = await make_bench(sections={"proxy": {"max_frame_size": "16MiB"}})
    c = await bench.client(4, algorithm)
    body = framing.compress_body(algorithm, b"\0" * (17 << 20))
    assert len(body) < 1 << 20
    c.write(frame_bytes(4, FrameFlag.COMPRESSED, 9, Op.QUERY, body))
    assert_error(await c.answer(9), Err.PROTOCOL_ERROR)
    await assert_serving(bench)


# ---- stream ids ----

@pytest.mark.checklist(239)
@pytest.mark.parametrize("version", [3, 4, 5])
@pytest.mark.parametrize("stream", [-1, -2, -32768])
@pytest.mark.parametrize("name", EARLY)
async def test_negative_stream_ids(bench, version, stream, name):
    opcode, body = EARLY[name]
    c = await bench.client(version)
    answer = await c.ask(opcode, body(version), stream=stream)
    assert_error(answer, Err.PROTOCOL_ERROR, f"negative stream id: {stream}")
    await assert_alive(c, bench)


@pytest.mark.checklist(240)
@pytest.mark.parametrize("version", [3, 4, 5])
@pytest.mark.parametrize("second", ["query", "prepare", "options", "virtual"])
async def test_a_stream_id_that_is_in_use(bench, version, second):
    hold = Hold()
    bench.target.on("first", hold)
    c = await bench.client(version)
    c.send_query("INSERT INTO ks.first (k) VALUES (1) IF NOT EXISTS", stream=5)
    await hold.arrived()
    if second == "query":
        c.send_query("SELECT * FROM ks.t", stream=5)
    elif second == "prepare":
        c.send_prepare("SELECT * FROM ks.t", stream=5)
    elif second == "virtual":
        c.send_query("SELECT * FROM system.local", stream=5)
    else:
        c.send(Op.OPTIONS, stream=5)
    assert_error(await c.answer(5), Err.PROTOCOL_ERROR)
    hold.release()
    assert (await c.answer(5)).rows == [[True, "origin"]]
    await assert_alive(c, bench)
    assert (await c.query("SELECT 1 FROM ks.t", stream=5)).rows  # free again
    assert bench.origin.statements().count("SELECT * FROM ks.t") == 0


# ---- silence and noise ----

#: long enough for the handshakes that do come to their end, on a busy machine
HANDSHAKE_LIMIT = {"proxy": {"handshake_timeout": "1500ms"}}


@pytest.mark.parametrize("sent", [b"", b"\x04", frame_bytes(4, 0, 1, Op.STARTUP, requests.startup())[:15],
                                  frame_bytes(4, 0, 1, Op.OPTIONS)],
                         ids=["nothing", "a byte", "half a STARTUP", "OPTIONS"])
async def test_a_client_that_never_gets_ready_is_closed(make_bench, sent):
    bench = await make_bench(sections=HANDSHAKE_LIMIT)
    other = await bench.client()
    c = await bench.open()
    c.write(sent)
    await c.closed()
    await assert_alive(other, bench)


async def test_a_client_that_never_sends_its_password_is_closed(make_bench):
    bench = await make_bench(sections=HANDSHAKE_LIMIT, target=AUTH)
    c = await bench.open()
    assert (await c.startup()).opcode == Op.AUTHENTICATE
    await c.closed()
    await bench.until_backends_gone()


@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
async def test_half_a_frame_then_silence_holds_up_nobody(bench, version, compression):
    slow = await bench.client(version, compression)
    data = slow.codec.wrap(slow.frame(Op.QUERY, requests.query(version, "SELECT " + "x" * 70_000 + " FROM ks.t"),
                                      stream=3))
    half = len(data) // 2
    slow.write(data[:half])
    for _ in range(5):
        await assert_alive(await bench.client(version, compression), bench)
    slow.write(data[half:])
    assert (await slow.answer(3)).rows


@pytest.mark.parametrize("sent", [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 600, b"\0" * 1000,
    b"\xff" * 1000, b"SSH-2.0-OpenSSH_9.2\r\n",
], ids=["HTTP", "TLS", "zeros", "ones", "SSH"])
async def test_other_protocols(bench, sent):
    c = await bench.open()
    c.write(sent)
    answers = await c.closed()
    assert_one_protocol_error(answers)
    await assert_serving(bench)


async def test_noise_before_startup(make_bench):
    bench = await make_bench(sections=HANDSHAKE_LIMIT)
    source = random.Random(1)
    for _ in range(100):
        c = await bench.open()
        data = bytearray(source.randbytes(source.randrange(1, 300)))
        if source.random() < 0.7:
            data[0] = source.choice((3, 4, 5))
            if len(data) > 4:
                data[4] = source.choice((1, 5, 7, 15))
        c.write(bytes(data))
    for c in bench.clients:
        await c.closed()
    await assert_serving(bench)


@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
async def test_mutated_requests(bench, version, compression):
    """
    Good frames with a few wrong bytes. Each gets an answer, or ends the connection; what passes the proxy may still be
    refused by the nodes, so their complaints do not count here.
    """
    source = random.Random(version * 7 + len(compression or ""))
    kinds = list(bodies(version).items())
    c = None
    for _ in range(250):
        if c is None or c.is_closed:
            c = await client_of_both(bench, version, compression)
        opcode, body = source.choice(kinds)
        data = bytearray(c.frame(opcode, body, FrameFlag.COMPRESSED if compression and version < 5 else 0,
                                 stream=source.randrange(100)))
        for _ in range(source.randrange(1, 4)):
            data[source.randrange(0 if source.random() < 0.2 else 9, len(data))] = source.randrange(256)
        c.send_frame_bytes(bytes(data))
        if source.random() < 0.1:
            await asyncio.sleep(0)
    for c in bench.clients:
        c.abort()
        c.received.clear()
    await bench.until_backends_gone()
    for cluster in bench.clusters:
        cluster.complaints.clear()
    bench.clients.clear()
    if bench.is_pooled:
        await bench.until_nodes_up()
    await assert_serving(bench)


@pytest.mark.parametrize("when", ["before STARTUP", "in the handshake", "ready", "in flight"])
async def test_clients_that_vanish(bench, when):
    hold = Hold()
    bench.target.on("held", hold)
    for reset in (False, True):
        c = await bench.open()
        if when == "in the handshake":
            c.send(Op.STARTUP, requests.startup())
        elif when != "before STARTUP":
            await c.startup()
        if when == "in flight":
            c.send_query("INSERT INTO ks.held (k) VALUES (1)")
            await hold.arrived(1 + reset)
        if reset:
            sock = c.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        c.abort()
    await bench.until_backends_gone()
    await assert_serving(bench)
