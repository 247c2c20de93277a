"""The end: what SIGTERM does to clients, requests, readiness and the process."""
import asyncio
import signal
import threading
import time

import pytest
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
from cassandra.policies import ConstantReconnectionPolicy, RoundRobinPolicy

from behaviour import Hold, mute
from cqlwire import EVENTS, Err, Kind, Op, requests
from cqlwire.client import Closed
from helpers import WAY_IDS, WAYS, assert_error
from instances import two_instances

INSERT = "INSERT INTO ks.t (k) VALUES (1)"


async def gone(bench, expect=0):
    """Waits for the end of the process."""
    bench.may_be_down = True
    code = await bench.proxy.wait()
    bench.proxy.check_log()
    assert code == expect


@pytest.mark.connections(151)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_idle_clients_are_closed_at_once(make_bench, number):
    bench = await make_bench(fresh=True, sections={"proxy": {"shutdown_timeout": "1h"}})
    clients = [await bench.client(*way) for way in WAYS]
    early = await bench.open()
    bench.proxy.signal(number)
    for c in clients + [early]:
        assert await c.closed() == []
    await gone(bench)
    with pytest.raises(OSError):
        await bench.open()


@pytest.mark.connections(149)
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


@pytest.mark.connections(149)
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
        # One that was accepted a moment before the listener closed may still be greeted; then it is closed all the same.
        assert all(a.is_error() or a.opcode == Op.READY for a in await other.closed())
        return False
    await bench.proxy.until(refused, "closed listener")
    hold.release()
    assert (await c.answer(stream)).kind == Kind.VOID
    await gone(bench)


async def test_readiness_fails_first(make_bench):
    bench = await make_bench(fresh=True, sections={"proxy": {"drain_delay": "3s"}})
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


@pytest.mark.connections(150)
async def test_the_end_does_not_wait_for_ever(make_bench):
    bench = await make_bench(fresh=True, sections={"proxy": {"shutdown_timeout": "500ms"}})
    bench.target.on(INSERT, mute())
    c = await bench.client()
    c.send_query(INSERT)
    await bench.target.until_received(1, Op.QUERY)
    bench.proxy.signal()
    answers = await c.closed()
    assert all(a.is_error() for a in answers) and len(answers) <= 1
    await gone(bench)
    assert "shutdown_timeout (500 ms) is over" in bench.proxy.messages


async def test_a_second_signal_ends_it_at_once(make_bench):
    bench = await make_bench(fresh=True, sections={"proxy": {"shutdown_timeout": "1h", "request_timeout": "1h"}})
    bench.target.on(INSERT, mute())
    c = await bench.client()
    c.send_query(INSERT)
    await bench.target.until_received(1, Op.QUERY)
    bench.proxy.signal()

    async def draining():
        return (await c.query("SELECT * FROM ks.t")).is_error()
    await bench.proxy.until(draining, "the end of service")
    bench.proxy.signal()
    bench.may_be_down = True
    await bench.proxy.wait()
    bench.proxy.check_log()
    c.take_all()
    bench.proxy.process = None


async def test_clients_in_the_handshake_do_not_hold_it_up(make_bench):
    """What they wait for is answered; one that has asked nothing is just closed."""
    bench = await make_bench(fresh=True, sections={"proxy": {"shutdown_timeout": "1h", "handshake_timeout": "1h"}})
    bench.target.on(Op.STARTUP, mute())
    silent = await bench.open()
    c = await bench.open()
    stream = c.send(Op.STARTUP, requests.startup(), stream=7)
    await bench.target.until_received(1, Op.STARTUP)
    bench.proxy.signal()
    answers = await c.closed()
    assert len(answers) == 1 and answers[0].stream == stream
    assert_error(answers[0], Err.OVERLOADED, "Shutting down, please retry on next host.")
    assert await silent.closed() == []
    await gone(bench)


@pytest.mark.connections(152)
async def test_restart_on_the_same_ports(make_bench):
    bench = await make_bench(fresh=True)
    for _ in range(2):
        c = await bench.client()
        assert (await c.query("SELECT * FROM ks.t")).rows
        await bench.restart_proxy()
        await c.closed()


@pytest.mark.connections(21)
async def test_sigterm_before_the_clusters_are_there(make_bench):
    bench = await make_bench(fresh=True)
    await bench.proxy.stop()
    for cluster in bench.clusters:
        await cluster.stop()
    await bench.start_proxy(wait=False)

    async def alive():
        return (await bench.proxy.get("/health/liveness"))[0] == 200
    await bench.proxy.until(alive, "liveness")
    bench.proxy.signal()
    await gone(bench)
    assert "shutdown_timeout (" not in bench.proxy.messages


async def keep_asking(c, text):
    """One request after the other, the next as soon as the last is answered. Returns (sent, answers)."""
    sent, answers = 0, []
    while not answers or not answers[-1].is_error():
        stream = c.send_query(text)
        sent += 1
        try:
            answers.append(await c.answer(stream))
        except Closed:
            break
    return sent, answers


@pytest.mark.parametrize("version,compression", [(4, None), (5, "lz4")], ids=["v4", "v5"])
async def test_no_answer_is_lost_under_load(make_bench, version, compression):
    """
    Drivers send the next request as soon as they have an answer. The connection must not end between the two: a write
    without an answer may have been executed, one that was refused can be tried elsewhere.
    """
    bench = await make_bench(fresh=True)
    clients = [await bench.client(version, compression) for _ in range(12)]
    tasks = [asyncio.ensure_future(keep_asking(c, text))
             for c, text in zip(clients, [INSERT, "SELECT * FROM ks.t", "INSERT INTO ks.u (k) VALUES (2)"] * 4)]
    await bench.target.until(lambda: len(bench.target.requests(Op.QUERY)) > 200, "200 requests")
    bench.proxy.signal()
    for sent, answers in await asyncio.gather(*tasks):
        assert len(answers) == sent > 1
        assert_error(answers[-1], Err.OVERLOADED, "Shutting down, please retry on next host.")
    for c in clients:
        assert await c.closed() == []
    await gone(bench)


async def test_many_requests_in_flight_on_one_connection(make_bench):
    bench = await make_bench(fresh=True)
    hold = Hold()
    bench.target.on(INSERT, hold)
    c = await bench.client()
    streams = [c.send_query(INSERT, stream=i) for i in range(200)]
    await bench.target.until(lambda: len(bench.target.requests(Op.QUERY)) == 200, "200 requests")
    bench.proxy.signal()

    async def draining():
        return (await c.query("SELECT * FROM ks.t")).is_error()
    await bench.proxy.until(draining, "the end of service")
    hold.release()
    for stream in streams:
        assert (await c.answer(stream)).kind == Kind.VOID
    assert await c.closed() == []
    await gone(bench)


# ---- what drivers are told of it ----

def own_row(rows):
    row = rows.dicts()[0]
    return row["rpc_address"], row["rpc_port"]


@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
async def test_drivers_are_told_that_this_instance_goes_down(make_bench, version, compression):
    """Under the address and port that its row of system.local has."""
    bench = await make_bench(fresh=True, profile="native")
    c, other = await bench.client(version, compression), await bench.client(version, compression)
    await c.register(*EVENTS)
    await other.register("SCHEMA_CHANGE", "TOPOLOGY_CHANGE")
    address, port = own_row(await c.query("SELECT rpc_address, rpc_port FROM system.local"))
    assert (str(address), port) == bench.proxy.listen
    bench.proxy.signal()
    assert await c.closed() == []
    assert [(e.event, e.stream, e.version) for e in c.events] == [(("STATUS_CHANGE", "DOWN", address, port), -1, version)]
    assert await other.closed() == [] and not other.events
    await gone(bench)


async def test_the_zdm_profile_says_nothing(make_bench):
    bench = await make_bench(fresh=True, profile="zdm")
    c = await bench.client()
    await c.register(*EVENTS)
    bench.proxy.signal()
    assert await c.closed() == [] and not c.events
    await gone(bench)


@pytest.mark.parametrize("instances", [1, 2])
async def test_when_they_are_told(make_bench, instances):
    """
    Where there are other instances drivers may leave for them while this one still serves. Drivers of one that stands
    alone would only lose it earlier.
    """
    proxy = {"drain_delay": "3s"}
    if instances > 1:
        proxy.update({"topology_addresses": "10.9.0.1, 10.9.0.2", "topology_index": 1})
    bench = await make_bench(fresh=True, profile="native", sections={"proxy": proxy})
    c = await bench.client()
    await c.register("STATUS_CHANGE")
    bench.proxy.signal()

    async def unready():
        return (await bench.proxy.get("/health/readiness"))[0] == 503
    await bench.proxy.until(unready, "503")
    if instances > 1:
        await c.until(lambda: c.events, "event")
        assert str(c.events[0].event[2]) == "10.9.0.2"
    late = await bench.client()
    assert (await c.query("SELECT * FROM ks.t")).rows
    assert len(c.events) == (1 if instances > 1 else 0)
    await late.register("STATUS_CHANGE")
    for client in (c, late):
        assert await client.closed() == []
        assert len(client.events) == 1
    await gone(bench)


class Driver:
    """The Python driver with a load of one request after the other, in a thread of its own."""

    def __init__(self, addresses, port):
        profile = ExecutionProfile(load_balancing_policy=RoundRobinPolicy(), request_timeout=10)
        self.cluster = Cluster(addresses, port=port, protocol_version=4, connect_timeout=10,
                               execution_profiles={EXEC_PROFILE_DEFAULT: profile}, schema_metadata_enabled=False,
                               token_metadata_enabled=False, reconnection_policy=ConstantReconnectionPolicy(0.2, None))
        self.session = self.cluster.connect()
        self.errors = []
        self.served = []  # by which address
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        while not self.stopped.is_set():
            future = self.session.execute_async(INSERT)
            try:
                future.result()
                self.served.append(future.coordinator_host.address)
            except Exception as e:
                self.errors.append(e)

    def until(self, condition, what):
        end = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < end, f"no {what}; errors {self.errors[:3]}"
            time.sleep(0.02)

    def close(self):
        self.stopped.set()
        self.thread.join()
        self.cluster.shutdown()


async def test_a_driver_moves_to_the_other_instance(make_bench, free_addresses):
    """The Python driver under load, with its defaults for retries: nothing fails, and it comes back afterwards."""
    loop = asyncio.get_running_loop()
    async with two_instances(make_bench, free_addresses) as (bench, addresses, port):
        driver = await loop.run_in_executor(None, Driver, [addresses[0]], port)

        async def until(condition, what):
            await loop.run_in_executor(None, driver.until, condition, what)
        try:
            await until(lambda: set(driver.served[-10:]) == set(addresses), "load on both")
            bench.proxy.signal()
            assert await bench.proxy.wait() == 0
            mark = len(driver.served)
            await until(lambda: len(driver.served) > mark + 50, "load on the other")
            assert set(driver.served[mark + 5:]) == {addresses[1]}
            await bench.start_proxy()
            await until(lambda: addresses[0] in driver.served[mark + 50:], "load on the first again")
            assert driver.errors == []
        finally:
            await loop.run_in_executor(None, driver.close)
