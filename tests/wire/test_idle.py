"""client_idle_timeout: a client that sends nothing is closed, whatever it was."""
import asyncio
import time

import pytest

from behaviour import Hold
from cqlwire import Op, requests
from helpers import assert_alive

LIMIT = 0.4
#: for the end of a connection, on a busy machine
PATIENCE = 5
IDLE = {"proxy": {"client_idle_timeout": f"{int(LIMIT * 1000)}ms"}}


async def closed_after(client, since):
    """Seconds until the end of the connection, on which nothing came."""
    assert await client.closed() == []
    return time.monotonic() - since


@pytest.mark.parametrize("version,compression", [(3, None), (4, "lz4"), (5, "lz4")])
async def test_an_idle_client_is_closed(make_bench, version, compression):
    """Its connections to the clusters go with it, and the log says why."""
    bench = await make_bench(sections=IDLE)
    c = await bench.client(version, compression)
    assert (await c.query("SELECT * FROM ks.t")).rows
    address, port = c.transport.get_extra_info("sockname")
    assert LIMIT * 0.9 < await closed_after(c, time.monotonic()) < PATIENCE
    await bench.until_backends_gone()
    await bench.proxy.until_logged(rf"{address}:{port} #\d+: closed after .*: idle \(nothing came for 400 ms\)")


async def test_off_by_default(make_bench):
    bench = await make_bench()
    c = await bench.client()
    await asyncio.sleep(LIMIT * 2)
    await assert_alive(c, bench)
    assert "idle" not in bench.proxy.messages


@pytest.mark.parametrize("kind", ["options", "local", "request"])
async def test_any_frame_is_a_sign_of_life(make_bench, kind):
    """A heartbeat, a read that we answer ourselves, a request of the clusters."""
    bench = await make_bench(sections=IDLE)
    c = await bench.client()
    end = time.monotonic() + LIMIT * 3
    while time.monotonic() < end:
        if kind == "options":
            await c.options()
        else:
            await c.query("SELECT key FROM system.local" if kind == "local" else "SELECT * FROM ks.t")
        await asyncio.sleep(LIMIT / 5)
    await assert_alive(c, bench)
    assert LIMIT * 0.9 < await closed_after(c, time.monotonic()) < PATIENCE


async def test_a_request_in_flight_is_waited_for(make_bench):
    bench = await make_bench(sections=IDLE)
    c = await bench.client()
    hold = Hold()
    bench.origin.on("ks.slow", hold)
    stream = c.send_query("SELECT * FROM ks.slow")
    await hold.arrived()
    await asyncio.sleep(LIMIT * 2)
    hold.release()
    assert (await c.answer(stream)).rows
    assert LIMIT * 0.7 < await closed_after(c, time.monotonic()) < PATIENCE


async def test_a_large_frame_that_comes_slowly(make_bench):
    """What comes of it is a sign of life; when nothing more comes the client is idle."""
    bench = await make_bench(sections=IDLE)
    c = await bench.client()
    body = requests.query(4, "INSERT INTO ks.t (v) VALUES ('%s')" % ("x" * 300000))
    frame = b"\x04\x00\x00\x01\x07" + len(body).to_bytes(4, "big") + body
    for n in range(0, 200000, 20000):
        c.write(frame[n:n + 20000])
        await asyncio.sleep(LIMIT / 4)
    assert not c.is_closed
    assert LIMIT * 0.7 < await closed_after(c, time.monotonic()) < PATIENCE


async def test_only_the_idle_ones(make_bench):
    """Clients that have not begun have handshake_timeout; others go on."""
    bench = await make_bench(sections=IDLE)
    silent = await bench.open()
    idle = [await bench.client() for _ in range(5)]
    busy = await bench.client()

    async def keep_busy():
        while True:
            assert (await busy.query("SELECT * FROM ks.t")).rows
            await asyncio.sleep(LIMIT / 8)
    task = asyncio.ensure_future(keep_busy())
    for c in idle:
        assert await c.closed() == []
    task.cancel()
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
    c = await bench.client()
    begun = time.monotonic()
    end = asyncio.create_task(closed_after(c, begun))
    while not end.done() and time.monotonic() < begun + PATIENCE:
        await bench.reload(proxy={"shutdown_timeout": f"{int(time.monotonic() * 1000) % 9000 + 1000}ms"})
        await asyncio.sleep(LIMIT / 16)
    assert LIMIT * 0.9 < await end < PATIENCE
