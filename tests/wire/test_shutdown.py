"""The end: what SIGTERM does to clients, requests, readiness and the process."""
import signal
import time

import pytest

from behaviour import Hold, mute
from cqlwire import Err, Kind, Op, requests
from helpers import WAY_IDS, WAYS, assert_error

INSERT = "INSERT INTO ks.t (k) VALUES (1)"


async def gone(bench, expect=0):
    """Waits for the end of the process."""
    bench.may_be_down = True
    code = await bench.proxy.wait()
    bench.proxy.check_log()
    assert code == expect


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_idle_clients_are_closed_at_once(make_bench, number):
    bench = await make_bench(fresh=True)
    clients = [await bench.client(*way) for way in WAYS]
    early = await bench.open()
    started = time.monotonic()
    bench.proxy.signal(number)
    for c in clients + [early]:
        assert await c.closed() == []
    await gone(bench)
    assert time.monotonic() - started < 5
    with pytest.raises(OSError):
        await bench.open()


@pytest.mark.checklist(144, 145)
@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
async def test_requests_in_flight_are_finished(make_bench, version, compression):
    bench = await make_bench(fresh=True)
    hold = Hold()
    bench.target.on(INSERT, hold)
    c = await bench.client(version, compression)
    stream = c.send_query(INSERT)
    await hold.arrived()
    bench.proxy.signal()

    async def draining():
        return "OVERLOADED" if (await c.query("SELECT * FROM ks.t")).is_error() else None
    await bench.proxy.until(draining, "the end of service")
    answer = await c.query(INSERT)
    assert_error(answer, Err.OVERLOADED, "Shutting down, please retry on next host.")
    hold.release()
    assert (await c.answer(stream)).kind == Kind.VOID
    assert await c.closed() == []
    await gone(bench)


async def test_no_new_clients_meanwhile(make_bench):
    bench = await make_bench(fresh=True)
    hold = Hold()
    bench.target.on(INSERT, hold)
    c = await bench.client()
    stream = c.send_query(INSERT)
    await hold.arrived()
    bench.proxy.signal()

    async def refused():
        try:
            other = await bench.open()
        except OSError:
            return True
        other.send(Op.STARTUP, requests.startup())
        assert all(a.is_error() for a in await other.closed())
        return False
    await bench.proxy.until(refused, "closed listener")
    hold.release()
    assert (await c.answer(stream)).kind == Kind.VOID
    await gone(bench)


async def test_readiness_fails_first(make_bench):
    bench = await make_bench(fresh=True, sections={"proxy": {"drain_delay": "700ms"}})
    c = await bench.client()
    bench.proxy.signal()

    async def unready():
        return (await bench.proxy.get("/health/readiness"))[0] == 503
    await bench.proxy.until(unready, "503")
    # a load balancer needs its time; until then everything goes on
    assert (await c.query("SELECT * FROM ks.t")).rows
    assert (await (await bench.client()).query("SELECT * FROM ks.t")).rows
    for client in bench.clients:
        await client.closed()
    await gone(bench)


async def test_the_end_does_not_wait_for_ever(make_bench):
    bench = await make_bench(fresh=True, sections={"proxy": {"shutdown_timeout": "500ms"}})
    bench.target.on(INSERT, mute())
    c = await bench.client()
    c.send_query(INSERT)
    await bench.target.until_received(1, Op.QUERY)
    started = time.monotonic()
    bench.proxy.signal()
    answers = await c.closed()
    assert all(a.is_error() for a in answers) and len(answers) <= 1
    await gone(bench)
    assert time.monotonic() - started < 4


async def test_a_second_signal_ends_it_at_once(make_bench):
    bench = await make_bench(fresh=True)
    bench.target.on(INSERT, mute())
    c = await bench.client()
    c.send_query(INSERT)
    await bench.target.until_received(1, Op.QUERY)
    bench.proxy.signal()

    async def draining():
        return (await c.query("SELECT * FROM ks.t")).is_error()
    await bench.proxy.until(draining, "the end of service")
    started = time.monotonic()
    bench.proxy.signal()
    bench.may_be_down = True
    await bench.proxy.wait()
    assert time.monotonic() - started < 3
    bench.proxy.check_log()
    c.take_all()
    bench.proxy.process = None


async def test_clients_in_the_handshake_do_not_hold_it_up(make_bench):
    bench = await make_bench(fresh=True)
    bench.target.on(Op.STARTUP, mute())
    c = await bench.open()
    c.send(Op.STARTUP, requests.startup())
    await bench.target.until_received(1, Op.STARTUP)
    started = time.monotonic()
    bench.proxy.signal()
    assert all(a.is_error() for a in await c.closed())
    await gone(bench)
    assert time.monotonic() - started < 9.5


async def test_restart_on_the_same_ports(make_bench):
    bench = await make_bench(fresh=True)
    for _ in range(2):
        c = await bench.client()
        assert (await c.query("SELECT * FROM ks.t")).rows
        await bench.restart_proxy()
        await c.closed()


async def test_sigterm_before_the_clusters_are_there(make_bench):
    bench = await make_bench(fresh=True)
    await bench.proxy.stop()
    for cluster in bench.clusters:
        await cluster.stop()
    await bench.start_proxy(wait=False)

    async def alive():
        return (await bench.proxy.get("/health/liveness"))[0] == 200
    await bench.proxy.until(alive, "liveness")
    started = time.monotonic()
    bench.proxy.signal()
    await gone(bench)
    assert time.monotonic() - started < 5
