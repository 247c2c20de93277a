"""client_idle_timeout: a client that sends nothing is closed, whatever it was."""
import asyncio
import time

import pytest

from behaviour import Hold
from cqlwire import Op, requests
from helpers import assert_alive

LIMIT = 0.4
#: for what is not idle: the pauses between its signs of life are longer than they should be on a busy machine
LONG = 2.0
#: for the end of a connection, on a busy machine
PATIENCE = 30
IDLE = {"proxy": {"client_idle_timeout": f"{int(LIMIT * 1000)}ms"}}
IDLE_LONG = {"proxy": {"client_idle_timeout": f"{int(LONG * 1000)}ms", "workers": 1}}


async def closed_after(client, since):
    """Seconds until the end of the connection, on which nothing came. A worker that looks late may find it idle a look earlier."""
    assert await client.closed(PATIENCE) == []
    return time.monotonic() - since


async def others_are_closed(idle, keep_busy):
    """Calls keep_busy() again and again until the idle clients, which were there later than the busy ones, are closed."""
    ends = asyncio.gather(*(c.closed(PATIENCE) for c in idle))
    while not ends.done():
        await keep_busy()
    assert await ends == [[]] * len(idle)


@pytest.mark.parametrize("version,compression", [(3, None), (4, "lz4"), (5, "lz4")])
async def test_an_idle_client_is_closed(make_bench, version, compression):
    """Its connections to the clusters go with it, and the log says why."""
    bench = await make_bench(sections=IDLE)
    c = await bench.client(version, compression)
    since = time.monotonic()
    assert (await c.query("SELECT * FROM ks.t")).rows
    address, port = c.transport.get_extra_info("sockname")
    assert LIMIT * 0.7 < await closed_after(c, since)
    await bench.until_backends_gone()
    await bench.proxy.until_logged(rf"{address}:{port} #\d+: closed after .*: idle \(nothing came for 400 ms\)")


async def test_off_by_default(make_bench):
    bench = await make_bench()
    c = await bench.client()
    await asyncio.sleep(LIMIT * 2)
    await assert_alive(c, bench)
    assert "idle" not in bench.proxy.messages


async def test_any_frame_is_a_sign_of_life(make_bench):
    """A heartbeat, a read that we answer ourselves, a request of the clusters."""
    bench = await make_bench(sections=IDLE_LONG)
    busy = [await bench.client() for _ in range(3)]

    async def frames():
        await busy[0].options()
        await busy[1].query("SELECT key FROM system.local")
        await busy[2].query("SELECT * FROM ks.t")
        await asyncio.sleep(LONG / 20)
    await others_are_closed([await bench.client() for _ in range(3)], frames)
    since = time.monotonic()
    for c in busy:
        await assert_alive(c, bench)
    for c in busy:
        assert LONG * 0.7 < await closed_after(c, since)


async def test_a_request_in_flight_is_waited_for(make_bench):
    bench = await make_bench(sections=IDLE_LONG)
    c = await bench.client()
    hold = Hold()
    bench.origin.on("ks.slow", hold)
    stream = c.send_query("SELECT * FROM ks.slow")
    await hold.arrived()
    await others_are_closed([await bench.client()], lambda: asyncio.sleep(LONG / 20))
    since = time.monotonic()
    hold.release()
    assert (await c.answer(stream)).rows
    assert LONG * 0.7 < await closed_after(c, since)


async def test_a_large_frame_that_comes_slowly(make_bench):
    """What comes of it is a sign of life; when nothing more comes the client is idle."""
    bench = await make_bench(sections=IDLE_LONG)
    c = await bench.client()
    body = requests.query(4, "INSERT INTO ks.t (v) VALUES ('%s')" % ("x" * 3000000))
    frame = b"\x04\x00\x00\x01\x07" + len(body).to_bytes(4, "big") + body
    since, at = 0, 0

    async def pieces():
        nonlocal since, at
        since = time.monotonic()
        c.write(frame[at:at + 20000])
        at += 20000
        assert at < len(body)
        await asyncio.sleep(LONG / 20)
    await others_are_closed([await bench.client() for _ in range(3)], pieces)
    assert not c.is_closed
    assert LONG * 0.7 < await closed_after(c, since)


async def test_only_the_idle_ones(make_bench):
    """Clients that have not begun have handshake_timeout; others go on."""
    bench = await make_bench(sections=IDLE_LONG)
    silent = await bench.open()
    busy = await bench.client()

    async def keep_busy():
        assert (await busy.query("SELECT * FROM ks.t")).rows
        await asyncio.sleep(LONG / 20)
    await others_are_closed([await bench.client() for _ in range(5)], keep_busy)
    silent.send(Op.STARTUP, requests.startup())
    assert (await silent.next_answer()).opcode == Op.READY
    await assert_alive(busy, bench)


@pytest.mark.native
async def test_a_reload_switches_it_on_and_off(make_bench):
    bench = await make_bench(fresh=True)
    c = await bench.client()
    await bench.reload(proxy={"client_idle_timeout": "400ms"})
    assert await c.closed() == []
    await bench.reload(proxy={"client_idle_timeout": "0"})
    c = await bench.client()
    await asyncio.sleep(LIMIT * 2)
    await assert_alive(c, bench)


@pytest.mark.native
async def test_reloads_do_not_keep_it_alive(make_bench):
    """They come more often than a worker looks at its clients."""
    bench = await make_bench(fresh=True, sections=IDLE)
    begun = time.monotonic()
    c = await bench.client()
    end = asyncio.create_task(closed_after(c, begun))
    while not end.done() and time.monotonic() < begun + PATIENCE:
        await bench.reload(proxy={"shutdown_timeout": f"{int(time.monotonic() * 1000) % 9000 + 1000}ms"})
        await asyncio.sleep(LIMIT / 16)
    assert LIMIT * 0.7 < await end
