"""
Limits of connections: of the process, of an address, of a user, of handshakes at a time; requests in flight of one client.
Who is over a limit is told so, and who is within it notices nothing.
"""
import asyncio
import os
import re
import resource
from pathlib import Path

import pytest

from behaviour import Hold
from certificates import Authority
from cqlwire import Closed, Err, Op, requests
from fakecluster import Auth
from helpers import WAY_IDS, WAYS, assert_alive, assert_error

REFUSED = 'zdm_cqlferry_clients_refused_total{reason="%s"}'
LOGIN = {"auth": Auth({"proxy": "proxy-password", "app": "app-password", "other": "other-password"})}


def proxy_section(**options):
    return {"sections": {"proxy": options}}


async def refusals(bench, reason):
    return (await bench.proxy.metrics())[REFUSED % reason]


def descriptors_in_use(bench):
    return len(os.listdir(f"/proc/{bench.proxy.process.pid}/fd"))


async def refused(bench, *texts, version=4, **how):
    """One more client: it gets OVERLOADED as its only answer, on the stream of its first frame, then the end."""
    c = await bench.open(version, **how)
    stream = c.send(Op.STARTUP, requests.startup(), stream=17)
    answers = await c.closed()
    assert len(answers) == 1, answers
    assert answers[0].stream == stream
    assert_error(answers[0], Err.OVERLOADED, *texts)
    return answers[0]


async def until_accepted(bench, **how):
    """A place is free as soon as the proxy has seen the end of the one that had it."""
    async def attempt():
        try:
            return await bench.client(**how)
        except (Closed, AssertionError):
            for c in bench.clients:
                c.received.clear()
            return None
    return await bench.proxy.until(attempt, "a free place")


# ---- max_client_connections ----

@pytest.mark.connections(141)
@pytest.mark.native
@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
async def test_one_client_too_many_is_told_so(make_bench, version, compression):
    """A refusal at the limit is an error that names the limit, in the version and on the stream of the client."""
    bench = await make_bench(profile="native", **proxy_section(max_client_connections=2))
    clients = [await bench.client(version, compression) for _ in range(2)]
    before = await refusals(bench, "max_client_connections")
    for _ in range(3):
        answer = await refused(bench, "max_client_connections (2) are open", version=version)
        assert answer.version == version
    assert await refusals(bench, "max_client_connections") == before + 3
    assert (await bench.proxy.metrics())["zdm_client_connections_total"] == 2
    for c in clients:
        await assert_alive(c, bench)
    for cluster in bench.clusters:
        assert len(cluster.connections()) == 2  # nothing was opened for those that were refused
    await clients[0].close()
    await assert_alive(await until_accepted(bench), bench)


@pytest.mark.native
async def test_a_refused_driver_that_asks_for_options_first(make_bench):
    """Most drivers begin with OPTIONS; those that begin with a version nobody speaks find out the version first."""
    bench = await make_bench(profile="native", **proxy_section(max_client_connections=1))
    await bench.client()
    c = await bench.open()
    c.send(Op.OPTIONS, stream=3)
    c.send(Op.OPTIONS, stream=4)
    answers = await c.closed()
    assert [a.stream for a in answers] == [3]
    assert_error(answers[0], Err.OVERLOADED, "max_client_connections")
    c = await bench.open(6)
    c.write(b"\x06\0\0\1\5\0\0\0\0")
    answers = await c.closed()
    assert len(answers) == 1
    assert_error(answers[0], Err.PROTOCOL_ERROR, "Invalid or unsupported protocol version (6)")


@pytest.mark.native
async def test_silence_over_the_limit(make_bench):
    """Who says nothing cannot be told anything: the end comes after two seconds, long before handshake_timeout."""
    bench = await make_bench(profile="native", **proxy_section(max_client_connections=1, handshake_timeout="60s"))
    await bench.client()
    begun = asyncio.get_running_loop().time()
    c = await bench.open()
    assert await c.closed() == []  # handshake_timeout is longer than that would wait
    assert 1.8 < asyncio.get_running_loop().time() - begun


@pytest.mark.native
async def test_a_storm_over_the_limit(make_bench):
    """Of a thousand that say nothing at most 128 are waited for; those within the limit are served all the time."""
    bench = await make_bench(fresh=True, profile="native", **proxy_section(max_client_connections=3))
    clients = [await bench.client() for _ in range(3)]
    storm = []
    ends = []
    before = descriptors_in_use(bench)

    async def one():
        reader, writer = await asyncio.open_connection(*bench.proxy.listen)
        storm.append(writer)
        try:
            ends.append(await reader.read())
        except ConnectionResetError:
            ends.append(b"")
    tasks = [asyncio.ensure_future(one()) for _ in range(1000)]

    async def refused_all():
        return await refusals(bench, "max_client_connections") == 1000
    await bench.proxy.until(refused_all, "end of the storm")
    assert descriptors_in_use(bench) <= before + 128 + 5
    for c in clients:
        await assert_alive(c, bench)
    assert (await bench.proxy.metrics())["zdm_client_connections_total"] == 3
    await asyncio.gather(*tasks)
    assert ends == [b""] * 1000
    for writer in storm:
        writer.close()
    lines = [line for line in bench.proxy.messages.splitlines() if "was turned away" in line]
    assert 1 <= len(lines) <= 40, len(lines)  # 10 in 10 s, and how many more there were
    await refused(bench, "max_client_connections (3) are open")
    await clients[0].close()
    await assert_alive(await until_accepted(bench), bench)


@pytest.mark.connections(141)
async def test_zdm_closes_without_a_frame(make_bench):
    """Client number max+1 is closed without data; after one leaves, a new one is accepted."""
    bench = await make_bench(profile="zdm", variables={"ZDM_PROXY_MAX_CLIENT_CONNECTIONS": "2"})
    clients = [await bench.client() for _ in range(2)]
    for _ in range(3):
        c = await bench.open()
        try:
            c.send(Op.STARTUP, requests.startup())
        except OSError:
            pass
        assert await c.closed() == []
    for c in clients:
        await assert_alive(c, bench)
    await clients[1].close()
    await assert_alive(await until_accepted(bench), bench)


@pytest.mark.native
async def test_told_so_over_tls(make_bench, tmp_path):
    """The refusal comes in the encrypted connection; who makes no TLS handshake is closed."""
    authority = Authority(tmp_path, "ours")

    def configure(bench):
        cert, key = authority.certificate([bench.proxy.listen[0]])
        bench.sections["listener"] = {"tls_cert": cert, "tls_key": key}
    bench = await make_bench(fresh=True, profile="native", configure=configure,
                             **proxy_section(max_client_connections=1))
    first = await bench.client(ssl=authority.client())
    await refused(bench, "max_client_connections (1) are open", ssl=authority.client())
    mute = await bench.open()
    assert await mute.closed() == []
    await assert_alive(first, bench)


# ---- max_connections_per_address ----

async def test_connections_of_one_address(make_bench, free_addresses):
    """Others have places still; a place is free again when its connection ends."""
    bench = await make_bench(**proxy_section(max_connections_per_address=2))
    clients = [await bench.client() for _ in range(2)]
    before = await refusals(bench, "max_connections_per_address")
    if bench.is_zdm:
        c = await bench.open()
        assert await c.closed() == []
    else:
        await refused(bench, "max_connections_per_address (2) are open from its address")
    assert await refusals(bench, "max_connections_per_address") == before + 1
    other = await bench.client(local_address=free_addresses.take()[0])
    await assert_alive(other, bench)
    for c in clients:
        await assert_alive(c, bench)
    await clients[0].close()
    await assert_alive(await until_accepted(bench), bench)


# ---- max_connections_per_user ----

@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
async def test_connections_of_one_user(make_bench, version, compression):
    """Counted when both clusters have accepted the log-in; the refusal answers AUTH_RESPONSE, in v5 within segments."""
    bench = await make_bench(origin=LOGIN, target=LOGIN, **proxy_section(max_connections_per_user=2))
    who = {"user": "app", "password": "app-password"}
    clients = [await bench.client(version, compression, **who) for _ in range(2)]
    before = await refusals(bench, "max_connections_per_user")
    c = await bench.open(version)
    assert (await c.startup(compression)).opcode == Op.AUTHENTICATE
    answer = await c.login("app", "app-password")
    assert_error(answer, Err.OVERLOADED, "max_connections_per_user (2) of user app are open")
    assert await c.closed() == []
    assert await refusals(bench, "max_connections_per_user") == before + 1
    # another user has places of its own, and a wrong password takes none
    other = await bench.client(version, compression, user="other", password="other-password")
    await assert_alive(other, bench)
    wrong = await bench.open(version)
    await wrong.startup(compression)
    assert_error(await wrong.login("other", "wrong"), Err.BAD_CREDENTIALS)
    again = await bench.client(version, compression, user="other", password="other-password")
    for c in clients + [again]:
        await assert_alive(c, bench)
    await clients[0].close()
    await assert_alive(await until_accepted(bench, version=version, compression=compression, **who), bench)


async def test_without_a_log_in_nobody_counts(make_bench):
    bench = await make_bench(**proxy_section(max_connections_per_user=1))
    for _ in range(3):
        await assert_alive(await bench.client(), bench)


# ---- max_handshakes ----

async def test_handshakes_take_turns(make_bench):
    """Two at a time; the third waits, unread, and goes on when one of them is through."""
    bench = await make_bench(fresh=True, **proxy_section(max_handshakes=2))
    slow = [await bench.open() for _ in range(2)]
    await bench.proxy.until_metric("zdm_cqlferry_handshakes", 2)
    waiting = [await bench.open() for _ in range(3)]
    streams = [c.send(Op.STARTUP, requests.startup()) for c in waiting]
    await bench.proxy.until_metric("zdm_cqlferry_handshakes_waiting", 3)
    assert all(not c.received for c in waiting)
    assert all(not cluster.connections() for cluster in bench.clusters)
    assert (await slow[0].startup()).opcode == Op.READY
    for c, stream in zip(waiting, streams):
        assert (await c.answer(stream)).opcode == Op.READY  # one after the other, in the one place
    await bench.proxy.until_metric("zdm_cqlferry_handshakes", 1)
    assert (await bench.proxy.metrics())["zdm_cqlferry_handshakes_waiting"] == 0
    await slow[1].close()
    await bench.proxy.until_metric("zdm_cqlferry_handshakes", 0)
    for c in [slow[0]] + waiting:
        await assert_alive(c, bench)


async def test_a_turn_that_does_not_come(make_bench):
    """Places held by silent connections are free after handshake_timeout; who has waited for as long is closed."""
    bench = await make_bench(fresh=True, **proxy_section(max_handshakes=1, handshake_timeout="3s"))
    silent = await bench.open()
    await bench.proxy.until_metric("zdm_cqlferry_handshakes", 1)
    behind = [await bench.open() for _ in range(4)]
    await bench.proxy.until_metric("zdm_cqlferry_handshakes_waiting", 4)
    assert await silent.closed() == []
    # one may get its turn at that very moment; it has the whole time then
    await asyncio.gather(*(c.closed() for c in behind))
    assert await refusals(bench, "max_handshakes") in (3, 4)
    await bench.proxy.until_metric("zdm_cqlferry_handshakes", 0)
    await assert_alive(await bench.client(), bench)


async def test_turns_of_those_that_have_gone(make_bench):
    """Who goes while it waits costs the others nothing."""
    bench = await make_bench(fresh=True, **proxy_section(max_handshakes=1))
    first = await bench.open()
    await bench.proxy.until_metric("zdm_cqlferry_handshakes", 1)
    gone = [await bench.open() for _ in range(20)]
    last = await bench.open()
    stream = last.send(Op.STARTUP, requests.startup())
    await bench.proxy.until_metric("zdm_cqlferry_handshakes_waiting", 21)
    for c in gone:
        c.abort()
    await first.close()
    assert (await last.answer(stream)).opcode == Op.READY
    await assert_alive(last, bench)


async def test_stop_while_clients_wait_for_their_turn(make_bench):
    bench = await make_bench(fresh=True, **proxy_section(max_handshakes=1))
    await bench.open()
    await bench.proxy.until_metric("zdm_cqlferry_handshakes", 1)
    waiting = [await bench.open() for _ in range(5)]
    await bench.proxy.until_metric("zdm_cqlferry_handshakes_waiting", 5)
    bench.may_be_down = True
    await bench.proxy.stop()
    for c in waiting:
        assert await c.closed() == []


@pytest.mark.connections(153)
@pytest.mark.parametrize("workers", [1, 20])
async def test_twenty_log_ins_at_once(make_bench, workers):
    """With 1 and with 20 workers, 20 sessions that log in at the same moment, and many more than may shake hands."""
    bench = await make_bench(origin=LOGIN, target=LOGIN, **proxy_section(workers=workers, max_handshakes=4))
    clients = await asyncio.gather(*(bench.client(user="app", password="app-password") for _ in range(20)))
    for c in clients:
        await assert_alive(c, bench)


# ---- max_requests_per_client ----

@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
async def test_requests_in_flight_of_one_client(make_bench, version, compression):
    """With four in flight the others wait in the socket; no error, nothing lost, another client is served meanwhile."""
    bench = await make_bench(**proxy_section(max_requests_per_client=4))
    hold = Hold()
    bench.origin.on("ks.slow", hold)
    c = await bench.client(version, compression)
    streams = [c.send_query(f"SELECT {i} FROM ks.slow") for i in range(20)]
    await bench.origin.until_received(4, Op.QUERY)
    other = await bench.client(version, compression)
    await assert_alive(other, bench)
    assert len([r for r in bench.origin.requests(Op.QUERY) if "ks.slow" in r.statement]) == 4
    assert (await bench.proxy.metrics())['zdm_proxy_inflight_requests_total{type="reads_origin"}'] == 4
    hold.release()
    for i, stream in enumerate(streams):
        assert (await c.answer(stream)).rows, i
    await assert_alive(c, bench)


# ---- reload ----

@pytest.mark.native
async def test_limits_of_a_running_process(make_bench):
    """What was open before a limit came counts in it; who waits for a turn gets it when there are more."""
    bench = await make_bench(fresh=True, profile="native", origin=LOGIN, target=LOGIN, **proxy_section(max_handshakes=1))
    who = {"user": "app", "password": "app-password"}
    clients = [await bench.client(**who) for _ in range(3)]
    await bench.reload(proxy={"max_connections_per_user": 3})
    c = await bench.open()
    await c.startup()
    assert_error(await c.login("app", "app-password"), Err.OVERLOADED, "max_connections_per_user (3)")
    await c.closed()
    await bench.reload(proxy={"max_connections_per_user": None, "max_connections_per_address": 3})
    await refused(bench, "max_connections_per_address (3)")
    await bench.reload(proxy={"max_connections_per_address": None, "max_client_connections": 3})
    await refused(bench, "max_client_connections (3)")
    await bench.reload(proxy={"max_client_connections": None})
    await bench.open()
    await bench.proxy.until_metric("zdm_cqlferry_handshakes", 1)
    waiting = await bench.open()
    stream = waiting.send(Op.STARTUP, requests.startup())
    await bench.proxy.until_metric("zdm_cqlferry_handshakes_waiting", 1)
    await bench.reload(proxy={"max_handshakes": 2})
    assert (await waiting.answer(stream)).opcode == Op.AUTHENTICATE
    for c in clients:
        await assert_alive(c, bench)


@pytest.mark.native
async def test_lists_of_a_running_process(make_bench, free_addresses):
    """Clients that are connected stay."""
    bench = await make_bench(fresh=True, profile="native")
    here = free_addresses.take()[0]
    c = await bench.client(local_address=here)
    await bench.reload(listener={"deny": here})
    denied = await bench.open(local_address=here)
    assert await denied.closed() == []
    await assert_alive(c, bench)
    await assert_alive(await bench.client(), bench)
    await bench.reload(listener={"deny": None})
    await assert_alive(await bench.client(local_address=here), bench)


# ---- descriptors ----

@pytest.mark.native
async def test_too_few_descriptors_for_the_limits(make_bench):
    """The warning says all numbers, and what would fit; it comes again with a reload."""
    bench = await make_bench(fresh=True, profile="native", **proxy_section(backend_connections="pooled"))
    resource.prlimit(bench.proxy.process.pid, resource.RLIMIT_NOFILE, (2000, 2000))
    text = await bench.reload(proxy={"max_client_connections": 11000})
    assert re.search(r"the limit of open files \(2000\) is below what may be needed, 11\d\d\d: 1 for each of "
                     r"max_client_connections \(11000\), 4 for connections to nodes, \d\d of the process; raise it "
                     r"\(LimitNOFILE, ulimit -n\), or lower max_client_connections to 19\d\d", text), text


@pytest.mark.native
async def test_out_of_descriptors(make_bench):
    """Accepting pauses, without a busy loop; clients that are there are served; what waited in the backlog comes in."""
    bench = await make_bench(fresh=True, profile="native")
    c = await bench.client()
    pid = bench.proxy.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir(f"/proc/{pid}/fd"))
    assert highest < descriptors_in_use(bench)  # no gap below it
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (highest + 1, before[1]))
    waiting = [await bench.open() for _ in range(5)]
    streams = [w.send(Op.STARTUP, requests.startup()) for w in waiting]

    async def logged():
        return bench.proxy.messages.count("accepting a connection failed: Too many open files") >= 3
    await bench.proxy.until(logged, "attempts to accept")
    await assert_alive(c, bench)
    used = sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
    begun = asyncio.get_running_loop().time()
    await asyncio.sleep(0.5)
    more = sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13])) - used
    ticks = os.sysconf("SC_CLK_TCK") * (asyncio.get_running_loop().time() - begun)
    assert more < ticks / 4, f"{more} of {ticks} ticks of CPU time"
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    for w, stream in zip(waiting, streams):
        assert (await w.answer(stream)).opcode == Op.READY
        await assert_alive(w, bench)
