"""Control connections, and which node a driver's connection goes to."""
import asyncio
import collections
import time

import pytest

import behaviour
from cqlwire import Err, Op, requests
from fakecluster import Auth, DSE_AUTHENTICATOR, PASSWORD_AUTHENTICATOR
from helpers import PRIMARIES, assert_alive, assert_error

QUICK = {"proxy": {"heartbeat_interval": "200ms", "heartbeat_retry_interval_min": "50ms",
                   "heartbeat_retry_interval_max": "200ms"}}


def spread(cluster):
    """Client connections per node, in the order of the nodes."""
    counts = collections.Counter(c.node.index for c in cluster.connections())
    return [counts[node.index] for node in cluster.nodes]


async def test_what_a_control_connection_asks(make_bench):
    bench = await make_bench(fresh=True)
    for cluster in bench.clusters:
        seen = [r for r in cluster.control_requests()]
        opcodes = [r.opcode for r in seen]
        assert opcodes.index(Op.STARTUP) < opcodes.index(Op.QUERY)
        texts = [r.text for r in seen if r.opcode == Op.QUERY]
        if bench.is_zdm:
            assert texts == ["SELECT * FROM system.local", "SELECT * FROM system.peers"]
        else:
            assert texts == ["SELECT * FROM system.local", "SELECT * FROM system.peers_v2",
                             "SELECT keyspace_name, replication FROM system_schema.keyspaces"]
        events = [r.request.events for r in seen if r.opcode == Op.REGISTER]
        assert len(events) == 1 and "TOPOLOGY_CHANGE" in events[0]
        startup = next(r for r in seen if r.opcode == Op.STARTUP)
        assert startup.request.options["CQL_VERSION"]


@pytest.mark.connections(52)
async def test_control_connections_of_the_zdm_profile_register_topology_only(make_bench):
    bench = await make_bench(fresh=True, profile="zdm")
    for cluster in bench.clusters:
        assert [r.request.events for r in cluster.control_requests(Op.REGISTER)] == [["TOPOLOGY_CHANGE"]]


@pytest.mark.connections(49)
@pytest.mark.parametrize("two_step", [False, True])
async def test_control_connections_log_in(make_bench, two_step):
    settings = {"auth": Auth({"proxy": "proxy-password"}, DSE_AUTHENTICATOR if two_step else PASSWORD_AUTHENTICATOR,
                             two_step)}
    bench = await make_bench(fresh=True, origin=settings, target=settings)
    for cluster in bench.clusters:
        assert [c.user for c in cluster.control_connections()] == ["proxy"]


@pytest.mark.dedicated
@pytest.mark.connections(73)
async def test_connections_are_spread_over_the_nodes(make_bench):
    bench = await make_bench(origin={"nodes": 3}, target={"nodes": 2})
    clients = [await bench.client() for _ in range(12)]
    assert spread(bench.origin) == [4, 4, 4]
    assert spread(bench.target) == [6, 6]
    for c in clients:
        await assert_alive(c, bench)


@pytest.mark.dedicated
async def test_only_the_local_datacenter_is_used(make_bench):
    bench = await make_bench(origin={"nodes": 4, "datacenters": {2: "dc2", 3: "dc2"}})
    [await bench.client() for _ in range(8)]
    assert spread(bench.origin) == [4, 4, 0, 0]


@pytest.mark.dedicated
@pytest.mark.connections(66)
async def test_a_configured_datacenter(make_bench):
    bench = await make_bench(origin={"nodes": 4, "datacenters": {2: "dc2", 3: "dc2"}},
                             sections={"origin": {"local_datacenter": "dc2"}})
    [await bench.client() for _ in range(8)]
    assert spread(bench.origin) == [0, 0, 4, 4]


@pytest.mark.dedicated
@pytest.mark.connections(74)
async def test_without_host_assignment_all_go_to_the_contact_point(make_bench):
    bench = await make_bench(origin={"nodes": 3}, sections={"origin": {"enable_host_assignment": "false"}})
    [await bench.client() for _ in range(6)]
    assert spread(bench.origin) == [6, 0, 0]


@pytest.mark.dedicated
@pytest.mark.connections(71, 72)
@pytest.mark.parametrize("index,expected", [(0, [3, 0, 3]), (1, [0, 6, 0])])
async def test_several_instances_share_the_nodes(make_bench, index, expected):
    """Two instances, three nodes: the first has the first and the last, the second the one in between."""
    racks = {0: "r1", 1: "r2", 2: "r3"}
    bench = await make_bench(origin={"nodes": 3, "racks": racks},
                             sections={"proxy": {"topology_addresses": "10.9.0.1, 10.9.0.2", "topology_index": index}})
    [await bench.client() for _ in range(6)]
    assert spread(bench.origin) == expected


@pytest.mark.dedicated
@pytest.mark.connections(148)
@pytest.mark.parametrize("where", PRIMARIES)
async def test_a_node_that_is_down_is_passed_over(make_bench, where):
    """It still stands in system.peers, but takes no connections: drivers get one of the others."""
    bench = await make_bench(fresh=True, **{where: {"nodes": 3}}, sections={where: {"connection_timeout": "1s"}})
    cluster = getattr(bench, where)
    down = next(n for n in cluster.nodes if not any(c.is_control for c in n.connections))
    down.refuse()
    for _ in range(9):
        await assert_alive(await bench.client(), bench)
    assert spread(cluster)[down.index] == 0 and sum(spread(cluster)) == 9


BEATS = {"proxy": {"heartbeat_interval": "200ms"}}


@pytest.mark.connections(143)
@pytest.mark.checklist(244)
@pytest.mark.parametrize("primary", PRIMARIES)
@pytest.mark.parametrize("version", [3, 5])
async def test_idle_backend_connections_are_kept_alive(make_bench, primary, version):
    """Reads go to one cluster; the connection to the other one must not look dead to what lies in between."""
    bench = await make_bench(primary=primary, sections=BEATS)
    c = await bench.client(version)
    read = "SELECT * FROM ks.t"
    assert (await c.query(read)).rows
    assert not bench.secondary.requests(Op.OPTIONS)

    async def beaten():
        assert (await c.query(read)).rows
        return bench.secondary.requests(Op.OPTIONS)
    beats = await bench.proxy.until(beaten, "OPTIONS on the connection without requests")
    assert [r.version for r in beats] == [version]
    assert not bench.primary.requests(Op.OPTIONS)
    assert not c.received


@pytest.mark.dedicated
@pytest.mark.checklist(245)
async def test_idle_clients_send_no_heartbeats(make_bench):
    """Neither one that waits, nor one that has not begun: nodes see nothing of them."""
    bench = await make_bench(sections=BEATS)
    clients = [await bench.open(), await bench.client()]
    await asyncio.sleep(0.7)
    for cluster in bench.clusters:
        assert [r.opcode for r in cluster.requests()] == [Op.STARTUP]
    assert not clients[0].received and not clients[1].received


@pytest.mark.connections(143)
@pytest.mark.checklist(246)
async def test_requests_put_heartbeats_off(make_bench):
    """Writes keep the other connection busy: a read long after the last heartbeat sends none."""
    bench = await make_bench(sections={"proxy": {"heartbeat_interval": "3s"}})
    c = await bench.client()
    end = time.monotonic() + 3.5
    while time.monotonic() < end:
        await bench.settle(c)
        await asyncio.sleep(0.05)
    for _ in range(3):
        assert (await c.query("SELECT * FROM ks.t")).rows
    await bench.settle(c)
    assert not bench.target.requests(Op.OPTIONS)


@pytest.mark.connections(144)
@pytest.mark.checklist(243)
@pytest.mark.parametrize("version", [3, 4, 5])
async def test_heartbeats_and_requests_share_the_stream_ids(make_bench, version):
    """A heartbeat that is not answered yet holds an id of its own; its answer reaches no driver."""
    bench = await make_bench(sections={"proxy": {"heartbeat_interval": "20ms"}})
    c = await bench.client(version)
    for turn in range(5):
        beat = behaviour.Hold()
        bench.target.on(Op.OPTIONS, beat)

        async def beaten():
            assert (await c.query("SELECT * FROM ks.t", stream=0)).rows
            return beat.waiting
        held = (await bench.proxy.until(beaten, "a heartbeat"))[0].stream
        writes = [c.send_query(f"INSERT INTO ks.t{turn} (k) VALUES ({i}) IF NOT EXISTS", stream=i) for i in range(20)]
        for stream in writes:
            assert (await c.answer(stream)).rows == [[True, "origin"]]
        seen = [r.stream for r in bench.target.requests(Op.QUERY) if f"ks.t{turn}" in r.statement]
        assert len(seen) == 20 and held not in seen
        beat.release()
        await bench.target.until(lambda: beat.answered == len(beat.waiting), "the answer")
        await assert_alive(c, bench)
    assert not c.received


@pytest.mark.dedicated
@pytest.mark.connections(62)
@pytest.mark.parametrize("address", ["0.0.0.0", "::"])
async def test_nodes_that_say_any_address(make_bench, address):
    """rpc_address "all": the node's other address counts."""
    bench = await make_bench(fresh=True, origin={"nodes": 2})
    for overrides in (bench.origin.local_overrides, bench.origin.peers_overrides):
        overrides["rpc_address"] = address
    await bench.restart_proxy()
    [await bench.client() for _ in range(4)]
    assert spread(bench.origin) == [2, 2]


@pytest.mark.dedicated
@pytest.mark.connections(64)
@pytest.mark.parametrize("missing", ["rpc_address", "data_center", "rack", "host_id"])
async def test_peers_without_what_is_needed_are_left_out(make_bench, missing):
    bench = await make_bench(fresh=True, origin={"nodes": 2})
    bench.origin.peers_overrides[missing] = None
    await bench.restart_proxy()
    [await bench.client() for _ in range(4)]
    assert spread(bench.origin) == [4, 0]


@pytest.mark.dedicated
@pytest.mark.connections(68, 77)
async def test_a_node_comes(make_bench):
    bench = await make_bench(fresh=True, origin={"nodes": 2})
    bench.origin.hidden.add(bench.origin.nodes[1])
    await bench.restart_proxy()
    [await bench.client() for _ in range(2)]
    assert spread(bench.origin) == [2, 0]
    bench.origin.hidden.clear()
    assert bench.origin.emit("TOPOLOGY_CHANGE", "NEW_NODE", bench.origin.nodes[1].address, bench.origin.port,
                             control=True) == 1

    async def used():
        await bench.client()
        return spread(bench.origin)[1] > 0
    await bench.proxy.until(used, "connection to the new node")


@pytest.mark.dedicated
@pytest.mark.connections(68, 76)
@pytest.mark.checklist(146)
async def test_a_node_goes(make_bench):
    """Its clients drain: requests in flight are finished, new ones refused, then it closes; others stay."""
    bench = await make_bench(fresh=True, origin={"nodes": 2})
    clients = [await bench.client() for _ in range(2)]
    leaving = bench.origin.nodes[1]
    number = {c.node.index: i for i, c in enumerate(sorted(bench.origin.connections(), key=lambda c: c.number))}
    hit, other = clients[number[1]], clients[number[0]]
    hold = behaviour.Hold()
    bench.origin.on("ks.slow", hold, node=leaving)
    stream = hit.send_query("SELECT * FROM ks.slow")
    await hold.arrived()
    bench.origin.hidden.add(leaving)
    assert bench.origin.emit("TOPOLOGY_CHANGE", "REMOVED_NODE", leaving.address, bench.origin.port, control=True) == 1

    async def draining():
        return (await hit.query("SELECT * FROM ks.t")).is_error()
    await bench.proxy.until(draining, "draining")
    assert_error(await hit.query("SELECT * FROM ks.t"), Err.OVERLOADED, "Shutting down, please retry on next host.")
    hold.release()
    assert (await hit.answer(stream)).rows
    assert await hit.closed() == []
    await assert_alive(other, bench)


@pytest.mark.dedicated
async def test_a_node_that_goes_takes_its_own_clients_only(make_bench):
    """Of either cluster; the clients of the others go on under load, new ones go to those."""
    bench = await make_bench(fresh=True, origin={"nodes": 3}, target={"nodes": 2})
    clients = [await bench.client() for _ in range(12)]
    leaving = bench.target.nodes[1]
    by_order = sorted(bench.target.connections(), key=lambda conn: conn.number)
    hit = [c for c, conn in zip(clients, by_order) if conn.node is leaving]
    others = [c for c, conn in zip(clients, by_order) if conn.node is not leaving]
    assert len(hit) == len(others) == 6
    bench.target.hidden.add(leaving)
    bench.target.emit("TOPOLOGY_CHANGE", "REMOVED_NODE", leaving.address, bench.target.port, control=True)
    for c in hit:
        assert await c.closed() == []
    for c in others:
        await assert_alive(c, bench)
    assert spread(bench.target) == [6, 0] and spread(bench.origin) == [2, 2, 2]
    for _ in range(4):
        await assert_alive(await bench.client(), bench)
    assert spread(bench.target) == [10, 0]


@pytest.mark.dedicated
async def test_a_node_that_moves_keeps_its_clients(make_bench):
    """Another address with the same host id: who is connected stays, whoever comes goes to the new one."""
    bench = await make_bench(fresh=True, origin={"nodes": 3})
    stays, before, after = bench.origin.nodes
    bench.origin.hidden.add(after)
    await bench.restart_proxy()
    clients = [await bench.client() for _ in range(2)]
    assert spread(bench.origin) == [1, 1, 0]
    after.host_id = before.host_id
    bench.origin.hidden.clear()
    bench.origin.hidden.add(before)
    for change in ("MOVED_NODE", "NEW_NODE"):  # the second look is behind what the first one did
        bench.origin.emit("TOPOLOGY_CHANGE", change, after.address, bench.origin.port, control=True)

        async def used():
            await bench.client()
            return after.connections
        await bench.proxy.until(used, "connection to the new address")
    for c in clients:
        await assert_alive(c, bench)
    # but not when the node leaves
    bench.origin.hidden.add(after)
    bench.origin.emit("TOPOLOGY_CHANGE", "REMOVED_NODE", after.address, bench.origin.port, control=True)
    await bench.origin.until(lambda: not before.connections and not after.connections, "end of the node's clients")
    await bench.proxy.until(lambda: asyncio.sleep(0, any(c.is_closed for c in clients)), "end of the client")
    left, = [c for c in clients if not c.is_closed]
    await assert_alive(left, bench)
    assert stays.connections


@pytest.mark.parametrize("where", PRIMARIES)
@pytest.mark.parametrize("reset", [False, True])
async def test_a_lost_control_connection_comes_back(make_bench, where, reset):
    bench = await make_bench(fresh=True, sections=QUICK)
    cluster = getattr(bench, where)
    c = await bench.client()
    lost = cluster.control_connections()[0]
    lost.reset() if reset else lost.close()
    await cluster.until(lambda: any(conn is not lost and conn.registered for conn in cluster.control_connections()),
                        "another one")
    await bench.proxy.ready()
    await assert_alive(c, bench)


@pytest.mark.parametrize("where", PRIMARIES)
async def test_readiness_follows_the_control_connections(make_bench, where):
    bench = await make_bench(fresh=True, sections=QUICK)
    cluster = getattr(bench, where)
    status, report = await bench.proxy.readiness()
    assert status == 200 and report["Status"] == "UP"
    await cluster.stop()

    async def down():
        status, report = await bench.proxy.readiness()
        return status == 503 and report
    report = await bench.proxy.until(down, "503")
    assert report["Status"] == "DOWN"
    assert report[f"{where.capitalize()}Status"]["Status"] == "DOWN"
    other = "Target" if where == "origin" else "Origin"
    assert report[f"{other}Status"]["Status"] == "UP"
    await cluster.start()
    await bench.proxy.ready()
    await assert_alive(await bench.client(), bench)


@pytest.mark.connections(55, 56)
async def test_the_other_contact_points_and_nodes_are_tried(make_bench):
    bench = await make_bench(fresh=True, origin={"nodes": 3}, sections=QUICK)
    on = bench.origin.control_connections()[0].node
    await on.stop()
    def elsewhere():
        return [c for c in bench.origin.control_connections() if c.registered and c.node is not on]
    await bench.origin.until(elsewhere, "control connection to another node")
    await bench.proxy.ready()


@pytest.mark.connections(54)
async def test_contact_points_that_are_down_are_passed_over(make_bench):
    bench = await make_bench(fresh=True, origin={"nodes": 3})
    points = ", ".join(node.address for node in bench.origin.nodes)
    bench.sections = {"origin": {"contact_points": points, "connection_timeout": "1s"}}
    await bench.proxy.stop()
    for node in bench.origin.nodes[:2]:
        await node.stop()
    await bench.start_proxy()
    assert [c.node.index for c in bench.origin.control_connections()] == [2]


@pytest.mark.connections(57, 58)
@pytest.mark.parametrize("where", ["target"])
async def test_heartbeats(make_bench, where):
    """Unanswered ones make the control connection open again; that takes ten seconds."""
    bench = await make_bench(fresh=True, sections={"proxy": dict(QUICK["proxy"], request_timeout="500ms")})
    cluster = getattr(bench, where)
    first = cluster.control_connections()[0]
    await cluster.until(lambda: len([r for r in cluster.control_requests(Op.OPTIONS) if r.conn is first]) >= 2,
                        "heartbeats")
    cluster.on(Op.OPTIONS, behaviour.mute(), control=True)
    await cluster.until(lambda: first.is_closed, "end of the silent control connection", timeout=40)
    cluster.rules.clear()
    await bench.proxy.ready()


@pytest.mark.parametrize("behave", [behaviour.answer(Op.RESULT, b""), behaviour.answer(Op.RESULT, b"\0\0\0\2\xff\xff"),
                                    behaviour.error(Err.SERVER_ERROR, "no"), behaviour.close(),
                                    behaviour.half_answer("close"),
                                    behaviour.raw(b"\xff" * 50), behaviour.answer(Op.READY, b"")],
                         ids=["empty", "short", "error", "close", "half", "garbage", "READY"])
@pytest.mark.parametrize("table", ["system.local", "system.peers"])
async def test_control_queries_that_fail(make_bench, table, behave):
    """The connection is given up and opened again; the proxy comes up in the end and never dies."""
    bench = await make_bench(fresh=True, sections=QUICK)
    await bench.proxy.stop()
    rule = bench.target.on(lambda r: r.opcode == Op.QUERY and table in (r.text or ""), behave, times=2, control=None)
    await bench.start_proxy()
    assert rule.hits == 2 or table == "system.peers"
    await assert_alive(await bench.client(), bench)
    bench.target.complaints.clear()


@pytest.mark.connections(61)
async def test_a_partitioner_that_is_not_supported(make_bench):
    """ByteOrdered tokens are no numbers: the proxy does not get ready, and says why."""
    bench = await make_bench(fresh=True, origin={"partitioner": "ByteOrderedPartitioner"}, wait=False)
    bench.may_be_down = True
    await bench.proxy.never_ready("origin.*ByteOrderedPartitioner")


@pytest.mark.connections(20)
async def test_clusters_that_come_late(make_bench):
    """Start-up goes on trying and says so."""
    bench = await make_bench(fresh=True, sections=QUICK)
    await bench.proxy.stop()
    for cluster in bench.clusters:
        await cluster.stop()
    await bench.start_proxy(wait=False)

    async def unready():
        return (await bench.proxy.get("/health/readiness"))[0] == 503
    await bench.proxy.until(unready, "503")
    await bench.proxy.until_logged(bench.origin.nodes[0].address)
    await bench.start_clusters()
    await bench.proxy.ready()
    await assert_alive(await bench.client(), bench)


@pytest.mark.connections(51)
async def test_wrong_configured_credentials(make_bench):
    bench = await make_bench(fresh=True, target={"auth": Auth({"somebody": "else"})}, wait=False)
    bench.may_be_down = True
    await bench.proxy.never_ready("(?i)target.*(username|password|credential|authent)", exit_code=1)
    assert "proxy-password" not in bench.proxy.log


@pytest.mark.dedicated
async def test_a_node_that_accepts_and_says_nothing(make_bench):
    bench = await make_bench(fresh=True, sections={"proxy": {"handshake_timeout": "500ms", "request_timeout": "500ms"}})
    bench.target.on(Op.STARTUP, behaviour.mute())
    c = await bench.open()
    c.send(Op.STARTUP, requests.startup())
    answers = await c.closed()
    assert all(a.is_error() for a in answers)
