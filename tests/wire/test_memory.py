"""memory_limit: what large frames may take together, who waits for it, and that nobody waits for ever."""
import asyncio
import os
import subprocess
from pathlib import Path

import pytest

import behaviour
import policies
from behaviour import Hold
from cqlwire import Column, Err, Kind, Op, Type, frame_bytes, framing, requests
from helpers import assert_alive, assert_error

MIB = 1 << 20
INSERT = "INSERT INTO ks.t (k, v) VALUES (?, ?)"
BLOB = [Column("v", Type.BLOB)]
WAYS = [(3, None), (4, None), (4, "lz4"), (5, None), (5, "lz4")]
WAY_IDS = [f"v{version}-{compression or 'plain'}" for version, compression in WAYS]
each_way = pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
#: three quarters of it, 24 MiB, are for requests
LIMIT = {"memory_limit": "32MiB", "max_frame_size": "20MiB"}


def limited(**more):
    return {"proxy": {**LIMIT, **more}}


def noise(size):
    return os.urandom(size)


def big(cluster):
    return [r for r in cluster.requests() if len(r.body) > MIB]


async def large_bytes(bench):
    return (await bench.proxy.metrics())["zdm_cqlferry_large_buffer_bytes"]


async def memory_is_free(bench, but=0):
    async def free():
        return await large_bytes(bench) <= but
    await bench.proxy.until(free, "memory given back")


async def occupied(bench, size=18 * MIB):
    """A client whose request holds memory until the Hold that is returned is released."""
    hold = Hold()
    bench.target.on("ks.held", hold)
    c = await bench.client(4)
    stream = c.send_query("INSERT INTO ks.held (v) VALUES (?)", values=[noise(size)])
    await hold.arrived()
    return c, stream, hold


@each_way
async def test_a_large_request_waits_for_memory(make_bench, version, compression):
    """It goes on when memory is free, what stands behind it too, in order; others are served meanwhile."""
    bench = await make_bench(sections=limited())
    holder, held, hold = await occupied(bench)
    assert await large_bytes(bench) > 18 * MIB
    c = await bench.client(version, compression)
    value = noise(8 * MIB)
    streams = [c.send_query("INSERT INTO ks.before (k) VALUES (1)"), c.send_query(INSERT, values=[b"k", value]),
               c.send_query("INSERT INTO ks.behind (k) VALUES (1)")]
    assert (await c.answer(streams[0])).kind == Kind.VOID
    other = await bench.client(version, compression)
    for _ in range(10):
        await assert_alive(other, bench)
        await assert_alive(holder, bench)
    assert not c.received and len(big(bench.origin)) == 1
    hold.release()
    assert (await holder.answer(held)).kind == Kind.VOID
    for stream in streams[1:]:
        assert (await c.answer(stream)).kind == Kind.VOID
    assert [r.params.values[1] for r in big(bench.target)[1:]] == [value]
    await memory_is_free(bench)


@each_way
async def test_a_request_that_waits_too_long_is_refused(make_bench, version, compression):
    """
    Skipped without being kept; the connection goes on with what stands behind it. The memory is held by a large request
    that comes in slowly: it makes progress, so it may.
    """
    bench = await make_bench(sections=limited(request_timeout="2s"))
    before = (await bench.proxy.metrics())["zdm_cqlferry_memory_refused_total"]
    slow = await bench.client(4)
    frame = frame_bytes(4, 0, 9, Op.QUERY, requests.query(4, INSERT, values=[b"k", noise(19 * MIB)]))
    sent = len(frame) // 2
    slow.write(frame[:sent])

    async def held():
        return await large_bytes(bench) > 18 * MIB
    await bench.proxy.until(held, "memory in use")

    async def trickle():
        nonlocal sent
        while True:
            await asyncio.sleep(0.05)
            slow.write(frame[sent:sent + 100])
            sent += 100
    task = asyncio.create_task(trickle())
    c = await bench.client(version, compression)
    value = noise(8 * MIB)
    large = c.send_query(INSERT, values=[b"k", value])
    behind = c.send_query("SELECT * FROM ks.behind")
    assert_error(await c.answer(large), Err.OVERLOADED, "memory_limit", str(32 * MIB), "nothing was sent")
    assert (await c.answer(behind)).rows
    assert (await bench.proxy.metrics())["zdm_cqlferry_memory_refused_total"] == before + 1
    task.cancel()
    slow.write(frame[sent:])
    assert (await slow.answer(9)).kind == Kind.VOID
    await memory_is_free(bench)
    assert len(big(bench.origin)) == 1
    assert (await c.query(INSERT, values=[b"k", value])).kind == Kind.VOID
    await assert_alive(c, bench)


async def test_what_waits_is_forgotten_with_its_client(make_bench):
    bench = await make_bench(sections=limited())
    holder, held, hold = await occupied(bench)
    for version, compression in WAYS:
        c = await bench.client(version, compression)
        c.send_query(INSERT, values=[b"k", noise(9 * MIB)])
        await asyncio.sleep(0.05)
        c.abort()
        bench.clients.remove(c)
    hold.release()
    await holder.answer(held)
    await memory_is_free(bench)
    assert len(big(bench.origin)) == 1


@each_way
async def test_large_answers_have_a_reserve(make_bench, version, compression):
    """Requests have filled their share: answers still come, or nobody would ever give anything back."""
    bench = await make_bench(sections=limited())
    holder, held, hold = await occupied(bench, 19 * MIB)
    c = await bench.client(version, compression)
    value = noise(4 * MIB)
    bench.origin.on("ks.big", behaviour.rows(BLOB, [[value]]))
    for _ in range(5):
        assert (await c.query("SELECT v FROM ks.big")).rows == [[value]]
    hold.release()
    await holder.answer(held)
    await memory_is_free(bench)


@each_way
async def test_a_large_answer_waits_and_is_dropped_with_its_request(make_bench, version, compression):
    """Above the limit answers are not read; the request gets its time-out, the late answer is skipped, others live."""
    bench = await make_bench(sections=limited(request_timeout="3s"))
    value = noise(15 * MIB)
    bench.origin.on("ks.big", behaviour.rows(BLOB, [[value]]))
    hogs = [await bench.open(4, receive_buffer=4096) for _ in range(3)]
    for hog in hogs:
        await hog.startup()
        hog.transport.pause_reading()
        hog.send_query("SELECT v FROM ks.big")

    async def full():
        return await large_bytes(bench) >= 32 * MIB
    await bench.proxy.until(full, "memory in use")
    c = await bench.client(version, compression)
    answer = await c.query("SELECT v FROM ks.big")
    assert_error(answer, Err.READ_TIMEOUT, "origin")
    await assert_alive(c, bench)
    for hog in hogs:
        hog.abort()
        bench.clients.remove(hog)
    await assert_alive(c, bench)
    assert (await c.query("SELECT v FROM ks.big")).rows == [[value]]
    await memory_is_free(bench)


@each_way
async def test_half_an_answer_is_given_up_with_its_request(make_bench, version, compression):
    """A node that stops in the middle of a large answer: its memory is free when the request has ended."""
    bench = await make_bench(sections=limited(request_timeout="1500ms"))
    rest = []

    async def half(conn, got):
        body = behaviour.answer_bytes(conn, got, body=b"\0\0\0\1" + noise(9 * MIB))
        data = conn.codec.wrap(body)
        conn.transport.write(data[:len(data) // 2])
        rest.append((conn, data[len(data) // 2:]))
    bench.origin.on("ks.half", half)
    c = await bench.client(version, compression)
    assert_error(await c.query("SELECT * FROM ks.half"), Err.READ_TIMEOUT, "origin")
    await memory_is_free(bench, but=200_000)  # half a segment may be there
    conn, data = rest[0]
    conn.transport.write(data)
    conn.in_flight.clear()
    for _ in range(5):
        await assert_alive(c, bench)
    assert await large_bytes(bench) == 0


@pytest.mark.parametrize("version", [4, 5])
async def test_half_a_request_does_not_block_the_others(make_bench, version):
    """A client that sends half of a large frame and goes quiet, while memory is short, has to go."""
    bench = await make_bench(sections=limited(request_timeout="1500ms"))
    slow = await bench.client(version)
    body = requests.query(version, INSERT, values=[b"k", noise(19 * MIB)])
    frame = frame_bytes(version, 0, 9, Op.QUERY, body)
    data = framing.segments_of(frame) if version == 5 else frame
    slow.write(data[:len(data) // 2])
    c = await bench.client(4)
    # 8 MiB do not fit beside 19 MiB: the slow one is not in the way for ever
    async def served():
        return not (await c.query(INSERT, values=[b"k", noise(8 * MIB)])).is_error()
    await asyncio.sleep(0.3)
    await bench.proxy.until(served, "room for a request")
    assert_error((await slow.closed())[0], Err.OVERLOADED, "memory_limit")
    await memory_is_free(bench)


async def test_a_slow_client_is_left_alone_while_memory_is_there(make_bench):
    bench = await make_bench(sections=limited(request_timeout="800ms"))
    slow = await bench.client(4)
    body = requests.query(4, INSERT, values=[b"k", noise(3 * MIB)])
    data = frame_bytes(4, 0, 9, Op.QUERY, body)
    slow.write(data[:1000])
    await asyncio.sleep(1)
    slow.write(data[1000:2 * MIB])
    await asyncio.sleep(1)
    slow.write(data[2 * MIB:])
    assert (await slow.answer(9)).kind == Kind.VOID


@pytest.mark.parametrize("compression", ["lz4", "snappy"])
async def test_a_small_body_that_stands_for_a_large_one(make_bench, compression):
    bench = await make_bench(sections=limited())
    holder, held, hold = await occupied(bench)
    c = await bench.client(4, compression)
    value = b"\0" * 12 * MIB
    assert_error(await c.query(INSERT, values=[b"k", value]), Err.OVERLOADED, "memory_limit", "decompressed")
    await assert_alive(c, bench)
    hold.release()
    await holder.answer(held)
    assert (await c.query(INSERT, values=[b"k", value])).kind == Kind.VOID


async def test_no_limit(make_bench):
    bench = await make_bench(sections={"proxy": {"memory_limit": "0", "max_frame_size": "20MiB"}})
    holder, held, hold = await occupied(bench, 19 * MIB)
    c = await bench.client(5)
    assert (await c.query(INSERT, values=[b"k", noise(19 * MIB)])).kind == Kind.VOID
    hold.release()
    assert (await holder.answer(held)).kind == Kind.VOID


@pytest.mark.parametrize("limit,size", [("16MiB", "16MiB"), ("21MiB", "16MiB"), ("1MiB", "1MiB")])
async def test_a_limit_that_the_largest_frame_would_exceed(make_bench, limit, size):
    bench = await make_bench(fresh=True, wait=False,
                             sections={"proxy": {"memory_limit": limit, "max_frame_size": size}})
    await bench.proxy.never_ready(r"memory_limit.*max_frame_size.*allowed: 0", exit_code=1)
    bench.may_be_down = True


# ---- no memory at all ----

@pytest.fixture(scope="session")
def no_memory(tmp_path_factory):
    library = tmp_path_factory.mktemp("no_memory") / "no_memory.so"
    subprocess.run(["gcc", "-O2", "-fno-builtin", "-shared", "-fPIC", "-o", library, Path(__file__).parent / "no_memory.c", "-ldl"],
                   check=True, timeout=60)
    return library


@pytest.mark.native  # which has scripts
@pytest.mark.parametrize("reaches", ["both", "target"])
async def test_no_memory_for_the_copy_of_a_batch(make_bench, no_memory, reaches):
    """Ids of the target are put into a copy of the body. Without it there is one answer, by what was sent; then all goes on."""
    size = 100 * 1024
    variables = {"LD_PRELOAD": str(no_memory), "ASAN_OPTIONS": "verify_asan_link_order=0", "NO_MEMORY_FROM": str(size),
                 "NO_MEMORY_TO": str(size + 8192), "NO_MEMORY_AT": "2"}  # the first one is the body, decompressed
    route = f'proxy.on_request("route", {{ tables = "ks.t" }}, function(req) return "{reaches}" end)'
    bench = await make_bench(fresh=True, configure=policies.settings({"a.lua": route}), variables=variables)
    c = await bench.client(4, "lz4")
    prepared = await c.prepare(INSERT)
    children = [(prepared.prepared_id, [b"key", b"v" * size])]
    answer = await c.batch(children)
    if reaches == "both":
        assert_error(answer, Err.WRITE_TIMEOUT, "could not be sent to target")
    else:
        assert_error(answer, Err.OVERLOADED, "could not be sent to target; nothing was sent")
    await bench.settle(c)
    assert [len(cluster.requests(Op.BATCH)) for cluster in bench.clusters] == [reaches == "both", 0]
    assert (await c.batch(children)).kind == Kind.VOID
    await bench.settle(c)
    assert [len(cluster.requests(Op.BATCH)) for cluster in bench.clusters] == [2 if reaches == "both" else 0, 1]
