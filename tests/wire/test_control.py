"""
Control connections and what they learn: which nodes there are, at which address and port, in which datacenters, and what
becomes of that when nodes, names and tables change.
"""
import asyncio
import collections
import re
import socket
import subprocess
import time
from pathlib import Path

import pytest

import behaviour
from cqlwire import Err, Op
from cqlwire.responses import rows
from fakecluster import KEYSPACES_COLUMNS
from helpers import PRIMARIES, assert_alive, assert_error

LOCAL, PEERS, PEERS_V2 = "SELECT * FROM system.local", "SELECT * FROM system.peers", "SELECT * FROM system.peers_v2"
KEYSPACES = "SELECT keyspace_name, replication FROM system_schema.keyspaces"
READ, WRITE = "SELECT * FROM ks.t", "INSERT INTO ks.t (k) VALUES (1)"
NATIVE = pytest.mark.native


def asked(cluster, text=LOCAL):
    """How often the control connections of this cluster have sent this query."""
    return len([r for r in cluster.control_requests(Op.QUERY) if r.text == text])


def used(cluster):
    """How many requests of clients each node got: by index."""
    return collections.Counter(r.node.index for r in cluster.requests(Op.QUERY))


async def use_nodes(bench, cluster, count=36):
    """
    Lets clients make requests one after the other; which nodes of the cluster got any, by index. One whose node leaves the
    cluster between its log-in and its request is sent elsewhere.
    """
    before = used(cluster)
    for _ in range(count):
        client = await bench.client()
        answer = await client.query(WRITE)
        if answer.is_error():
            assert_error(answer, Err.OVERLOADED, "Shutting down, please retry on next host.")
            await bench.proxy.until_logged("draining: its node has left the cluster")
        await client.close()
    return set(used(cluster) - before)


async def until_used(bench, cluster, *nodes):
    """Requests of clients come to all of these nodes and to no other one."""
    async def so():
        return await use_nodes(bench, cluster, 6 * len(nodes)) == set(nodes)
    await bench.proxy.until(so, f"requests at nodes {nodes}")


def control_node(cluster):
    """The node that the control connection is on, None while there is none."""
    found = [c.node for c in cluster.control_connections() if c.registered and not c.transport.is_closing()]
    return found[-1] if found else None


async def until_refreshed(cluster, before):
    await cluster.until(lambda: asked(cluster) > before, "look at the tables")


# ---- addresses and ports ----

@NATIVE
@pytest.mark.parametrize("where", PRIMARIES)
async def test_nodes_with_ports_of_their_own(make_bench, where):
    """system.peers_v2 says them, and the connection itself says that of its node; system.peers is not asked for."""
    bench = await make_bench(fresh=True, **{where: {"nodes": 3, "own_ports": True}})
    cluster = getattr(bench, where)
    assert await use_nodes(bench, cluster) == {0, 1, 2}
    assert (asked(cluster, PEERS_V2), asked(cluster, PEERS)) == (1, 0)
    await control_node(cluster).stop()
    await cluster.until(lambda: control_node(cluster), "control connection to another node")
    await bench.proxy.ready()
    await cluster.nodes[0].start()
    await until_used(bench, cluster, 0, 1, 2)


async def test_one_port_for_all(make_bench):
    """As ZDM Proxy has it: what nodes say of their ports does not count, and is not asked for."""
    def ports_of_others(bench):
        bench.origin.peers_overrides["native_port"] = bench.origin.local_overrides["rpc_port"] = 1
    bench = await make_bench(fresh=True, configure=ports_of_others, origin={"nodes": 3},
                             sections={"origin": {"node_ports": "configured"}})
    assert await use_nodes(bench, bench.origin) == {0, 1, 2}
    assert (asked(bench.origin, PEERS_V2), asked(bench.origin, PEERS)) == (0, 1)


@NATIVE
async def test_ports_of_another_listener(make_bench):
    """The node asked says a port that it was not reached at: so those of the others are no use either."""
    def ports_of_others(bench):
        bench.origin.peers_overrides["native_port"] = bench.origin.local_overrides["rpc_port"] = 9142
    bench = await make_bench(fresh=True, configure=ports_of_others, origin={"nodes": 3})
    assert await use_nodes(bench, bench.origin) == {0, 1, 2}
    assert re.search(r"WARN +origin: node \S+ says that its port is 9142: .* node_ports = configured",
                     bench.proxy.messages)


@NATIVE
@pytest.mark.parametrize("code,again", [(Err.INVALID, 0), (Err.SERVER_ERROR, 0), (Err.UNAUTHORIZED, 0),
                                        (Err.OVERLOADED, 1)])
async def test_nodes_without_peers_v2(make_bench, code, again):
    """Any ERROR leads to system.peers; one that says nothing about the table does not count for the next time."""
    def lack_it(bench):
        bench.origin.on(lambda r: r.statement == PEERS_V2, behaviour.error(code, "no"), times=1, control=True)
    bench = await make_bench(fresh=True, configure=lack_it, origin={"nodes": 3})
    assert await use_nodes(bench, bench.origin) == {0, 1, 2}
    assert (asked(bench.origin, PEERS_V2), asked(bench.origin, PEERS)) == (1, 1)
    before = asked(bench.origin)
    bench.origin.emit("TOPOLOGY_CHANGE", "NEW_NODE", "10.1.2.3", 9042, control=True)
    await until_refreshed(bench.origin, before)
    await bench.origin.until(lambda: asked(bench.origin, KEYSPACES) == 2, "the end of it")
    assert (asked(bench.origin, PEERS_V2), asked(bench.origin, PEERS)) == (1 + again, 2 - again)
    assert not [c for c in bench.origin.control_connections() if c.is_closed]


@NATIVE
async def test_peers_v2_that_fails_later(make_bench):
    """It was there before: without its ports nodes would seem to move, so another node is asked instead."""
    bench = await make_bench(fresh=True, origin={"nodes": 2, "own_ports": True})
    first = control_node(bench.origin)
    bench.origin.on(lambda r: r.statement == PEERS_V2, behaviour.error(Err.SERVER_ERROR, "no"), control=True, node=first)
    bench.origin.emit("TOPOLOGY_CHANGE", "NEW_NODE", "10.1.2.3", 9042, control=True)
    await bench.origin.until(lambda: control_node(bench.origin) not in (None, first), "another node")
    assert asked(bench.origin, PEERS) == 0
    await until_used(bench, bench.origin, 0, 1)


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
        return True
    except OSError:
        return False


@NATIVE
@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")
@pytest.mark.parametrize("where", PRIMARIES)
async def test_ipv6(make_bench, where):
    """Contact point, rows, connections, messages: all with addresses of 16 bytes."""
    bench = await make_bench(fresh=True, **{where: {"addresses": ["::1", "::1"], "own_ports": True}})
    cluster = getattr(bench, where)
    await until_used(bench, cluster, 0, 1)
    assert f"{where} [::1]:{cluster.port}: control connection is up" in bench.proxy.messages
    on = control_node(cluster)
    await on.stop()
    await cluster.until(lambda: control_node(cluster), "control connection to the other node")
    await on.start()
    await until_used(bench, cluster, 0, 1)


def translated(bench):
    """origin's nodes say addresses that cannot be reached from here, and the contact point says its own such."""
    def outside(node):
        return f"10.99.0.{node.index + 1}"
    for overrides in (bench.origin.local_overrides, bench.origin.peers_overrides):
        for column in ("rpc_address", "peer", "broadcast_address", "listen_address"):
            overrides[column] = outside
    return [outside(node) for node in bench.origin.nodes]


@NATIVE
@pytest.mark.parametrize("with_port", [False, True])
async def test_address_map(make_bench, with_port):
    """Nodes behind an address translation; with ports where these are translated, too."""
    def behind(bench):
        nodes = bench.origin.nodes
        pairs = [f"{says}={node.address}" + (f":{node.port}" if with_port else "")
                 for says, node in zip(translated(bench), nodes)]
        if with_port:
            for overrides in (bench.origin.local_overrides, bench.origin.peers_overrides):
                overrides.update(rpc_port=9042, native_port=9042)
        bench.sections = {"origin": {"address_map": ",\n  ".join(pairs)}}
    bench = await make_bench(fresh=True, configure=behind, origin={"nodes": 3, "own_ports": True})
    assert await use_nodes(bench, bench.origin) == {0, 1, 2}
    await control_node(bench.origin).stop()
    await bench.origin.until(lambda: control_node(bench.origin), "control connection by a translated address")


# ---- rows ----

@NATIVE
async def test_peers_that_are_left_out_are_named(make_bench):
    def spoil(bench):
        bad = bench.origin.nodes[1]
        bench.origin.peers_overrides["rpc_address"] = lambda node: None if node is bad else node.address
    bench = await make_bench(fresh=True, configure=spoil, origin={"nodes": 3})
    assert await use_nodes(bench, bench.origin) == {0, 2}
    assert (f"origin: peer {bench.origin.nodes[1].address} of system.peers_v2 is left out: it has no usable "
            "native_address") in bench.proxy.messages


async def test_a_row_that_is_complete_later(make_bench):
    """A new node's row has no rack at first, and no event says when it has: the tables are read again."""
    def spoil(bench):
        bench.origin.peers_overrides["rack"] = None
    bench = await make_bench(fresh=True, configure=spoil, origin={"nodes": 2})
    assert await use_nodes(bench, bench.origin) == {0}
    bench.origin.peers_overrides["rack"] = "r1"
    await until_used(bench, bench.origin, 0, 1)


async def test_an_event_does_not_wait_for_a_row(make_bench):
    """Rows that stay incomplete are looked at less and less often; an event is followed after a second all the same."""
    def spoil(bench):
        bench.origin.peers_overrides["rack"] = lambda node: None if node.index == 1 else "r1"
        bench.origin.hidden.add(bench.origin.nodes[2])
    bench = await make_bench(fresh=True, configure=spoil, origin={"nodes": 3})
    await until_refreshed(bench.origin, 1)
    await until_refreshed(bench.origin, 2)  # the next look is 8 s away
    await bench.origin.until(lambda: not any(c.in_flight for c in bench.origin.control_connections()), "its end")
    bench.origin.hidden.clear()
    happened = time.monotonic()
    bench.origin.emit("TOPOLOGY_CHANGE", "NEW_NODE", bench.origin.nodes[2].address, bench.origin.port, control=True)
    await until_refreshed(bench.origin, 3)
    assert time.monotonic() - happened < 6
    await until_used(bench, bench.origin, 0, 2)


@pytest.mark.parametrize("value", [None, [], ["x"], ["1", "1"]], ids=["null", "none", "no number", "one for two"])
async def test_hosts_without_tokens(make_bench, value):
    """Nobody knows their replicas then; requests are served all the same."""
    def without(bench):
        for overrides in (bench.origin.local_overrides, bench.origin.peers_overrides):
            overrides["tokens"] = value
        bench.origin.keyspaces = {"ks": {"class": "org.apache.cassandra.locator.SimpleStrategy",
                                         "replication_factor": "1"}}
    bench = await make_bench(fresh=True, configure=without, origin={"nodes": 2})
    assert await use_nodes(bench, bench.origin) == {0, 1}
    client = await bench.client()
    prepared = await client.prepare("SELECT * FROM ks.t WHERE k = ?")
    assert (await client.execute(prepared, values=[b"1"])).rows


async def test_forty_nodes(make_bench):
    bench = await make_bench(fresh=True, origin={"nodes": 40})
    await bench.proxy.until_logged("datacenter dc1 with 40 nodes")
    seen = set()

    async def all_seen():
        seen.update(await use_nodes(bench, bench.origin, 40))
        return len(seen) == 40
    await bench.proxy.until(all_seen, "requests at all nodes")


# ---- keyspaces ----

def many(count):
    return {f"ks{i}": {"class": "org.apache.cassandra.locator.SimpleStrategy", "replication_factor": "1"}
            for i in range(count)}


@NATIVE
async def test_keyspaces_come_in_pages(make_bench):
    bench = await make_bench(fresh=True, origin={"keyspaces": many(25)},
                             configure=lambda bench: setattr(bench.origin, "keyspaces_page", 10))
    states = [r.params.paging_state for r in bench.origin.control_requests(Op.QUERY) if r.text == KEYSPACES]
    assert states == [None, b"10", b"20"]


@NATIVE
async def test_pages_without_end(make_bench):
    """A node that always has one more page does not keep the proxy from starting, nor fill its memory."""
    def endless(bench):
        page = rows(KEYSPACES_COLUMNS, [["ks", {"class": "x"}]], paging_state=b"more")
        bench.origin.on(lambda r: r.statement == KEYSPACES, behaviour.answer(Op.RESULT, page), control=True)
    bench = await make_bench(fresh=True, configure=endless)
    await assert_alive(await bench.client(), bench)
    assert asked(bench.origin, KEYSPACES) == 200
    assert "it has too many keyspaces; only the first 200 are known" in bench.proxy.messages


@NATIVE
@pytest.mark.parametrize("behave", [behaviour.error(Err.INVALID, "no such table"),
                                    behaviour.rows([KEYSPACES_COLUMNS[0]], [["ks"]])],
                         ids=["error", "columns"])
async def test_without_keyspaces(make_bench, behave):
    """Cassandra before 3.0, and what only looks like Cassandra: not known, and not asked for again."""
    def lack_them(bench):
        bench.origin.on(lambda r: r.statement == KEYSPACES, behave, control=True)
    bench = await make_bench(fresh=True, configure=lack_them)
    await assert_alive(await bench.client(), bench)
    bench.origin.emit("TOPOLOGY_CHANGE", "NEW_NODE", "10.1.2.3", 9042, control=True)
    await bench.origin.until(lambda: asked(bench.origin, PEERS_V2) == 2, "another look")
    await assert_alive(await bench.client(), bench)
    assert asked(bench.origin, KEYSPACES) == 1


# ---- datacenters ----

THREE = {"nodes": 3, "datacenters": {0: "dc1", 1: "dc2", 2: "dc3"}}


@pytest.mark.connections(66)
async def test_contact_point_in_another_datacenter(make_bench):
    bench = await make_bench(fresh=True, origin={"nodes": 3, "datacenters": {0: "dc2", 1: "dc1", 2: "dc1"}},
                             sections={"origin": {"local_datacenter": "dc1"}})
    assert await use_nodes(bench, bench.origin) == {1, 2}


@NATIVE
@pytest.mark.parametrize("where", PRIMARIES)
async def test_a_datacenter_that_is_not_there(make_bench, where):
    """A mistake that trying again does not heal: the start ends, and says what there is."""
    bench = await make_bench(fresh=True, wait=False, **{where: THREE}, sections={where: {"local_datacenter": "DC1"}})
    bench.may_be_down = True
    await bench.proxy.never_ready(f"{where} .*no node is in the configured local_datacenter DC1; the cluster has "
                                  "dc[123], dc[123], dc[123]", exit_code=1)


@pytest.mark.connections(67)
async def test_a_datacenter_that_is_not_there_for_zdm(make_bench):
    """ZDM Proxy's way: a warning, and the contact point's datacenter."""
    bench = await make_bench(fresh=True, profile="zdm", origin=THREE, variables={"ZDM_ORIGIN_LOCAL_DATACENTER": "DC1"})
    assert await use_nodes(bench, bench.origin) == {0}
    assert "no node is in the configured local_datacenter DC1; using dc1" in bench.proxy.messages


@pytest.mark.parametrize("where", PRIMARIES)
async def test_fallback_datacenters(make_bench, where):
    """Their nodes get nothing while one of the local ones is up, then the first one that has a node up gets all."""
    bench = await make_bench(fresh=True, **{where: dict(THREE, nodes=4, datacenters={**THREE["datacenters"], 3: "dc4"})},
                             sections={where: {"fallback_datacenters": "dc3, dc2", "connection_timeout": "1s"}})
    cluster = getattr(bench, where)
    assert await use_nodes(bench, cluster) == {0}
    await cluster.nodes[0].stop()
    await until_used(bench, cluster, 2)
    await cluster.nodes[2].stop()
    await until_used(bench, cluster, 1)


@NATIVE
async def test_datacenters_are_reloaded(make_bench):
    """They count at once; with a name that no node has, the nodes known before stay in use."""
    bench = await make_bench(fresh=True, origin=THREE, sections={"proxy": {"heartbeat_retry_interval_max": "300ms"}})
    assert await use_nodes(bench, bench.origin) == {0}
    await bench.reload(origin={"local_datacenter": "dc2"})
    await until_used(bench, bench.origin, 1)
    await bench.reload(origin={"local_datacenter": "dc4", "fallback_datacenters": "dc3"})
    await until_used(bench, bench.origin, 2)
    await bench.reload(origin={"local_datacenter": "dc5", "fallback_datacenters": None})
    await bench.proxy.until_logged("no node is in datacenter dc5; the cluster has dc")
    assert await use_nodes(bench, bench.origin) == {2}
    await bench.reload(origin={"local_datacenter": "dc1"})
    await until_used(bench, bench.origin, 0)
    await bench.proxy.ready()


@NATIVE
async def test_an_address_map_is_reloaded(make_bench):
    bench = await make_bench(fresh=True, configure=translated, origin={"nodes": 2}, sections={
        "origin": {"connection_timeout": "500ms"}})
    pairs = ", ".join(f"10.99.0.{node.index + 1}={node.address}" for node in bench.origin.nodes)
    await bench.reload(origin={"address_map": pairs})
    await bench.proxy.until_logged("origin: node 10.99.0.2:.* has gone")  # the tables are read again first
    await until_used(bench, bench.origin, 0, 1)


# ---- looking again ----

@NATIVE
async def test_nodes_are_found_without_events(make_bench):
    """Every topology_refresh_interval; when nothing has changed, nobody is told."""
    bench = await make_bench(fresh=True, origin={"nodes": 3}, sections={"proxy": {"topology_refresh_interval": "200ms"}},
                             configure=lambda bench: bench.origin.hidden.add(bench.origin.nodes[2]))
    await until_used(bench, bench.origin, 0, 1)
    await bench.proxy.until_logged("origin .*topology read again: 2 nodes, nothing has changed")
    bench.origin.hidden.clear()
    await until_used(bench, bench.origin, 0, 1, 2)
    assert f"origin: node {bench.origin.nodes[2].address}:{bench.origin.port} of datacenter dc1 is new" in \
        bench.proxy.messages
    bench.origin.hidden.add(bench.origin.nodes[1])
    await until_used(bench, bench.origin, 0, 2)
    assert f"origin: node {bench.origin.nodes[1].address}:{bench.origin.port} of datacenter dc1 has gone" in \
        bench.proxy.messages


@pytest.mark.connections(69)
async def test_a_burst_of_events(make_bench):
    """However many come, the tables are read twice at most; what comes later makes them be read again."""
    bench = await make_bench(fresh=True, origin={"nodes": 2})
    before = asked(bench.origin)
    begun = time.monotonic()
    for i in range(200):
        bench.origin.emit("TOPOLOGY_CHANGE", "NEW_NODE" if i % 3 else "REMOVED_NODE", f"10.1.2.{i}", 9042, control=True)
        await asyncio.sleep(0.001)
    seconds = int(time.monotonic() - begun)  # none, but on a busy machine
    await until_refreshed(bench.origin, before)
    bench.origin.emit("TOPOLOGY_CHANGE", "NEW_NODE", "10.1.2.3", 9042, control=True)
    await until_refreshed(bench.origin, before + 1)
    assert asked(bench.origin) <= before + 3 + seconds
    await until_used(bench, bench.origin, 0, 1)


def raw_event(*parts):
    return b"".join(len(p).to_bytes(2, "big") + p for p in parts)


@NATIVE
async def test_odd_events(make_bench):
    """In any order, about nodes that nobody knows, cut off anywhere: the control connection and the nodes stay."""
    bench = await make_bench(fresh=True, origin={"nodes": 2})
    conn, = bench.origin.control_connections()
    node, port = bench.origin.nodes[1], bench.origin.port
    whole = raw_event(b"STATUS_CHANGE", b"DOWN") + b"\x04\x0a\x01\x02\x03" + port.to_bytes(4, "big")
    for body in [whole[:n] for n in range(len(whole))] + [raw_event(b"STATUS_CHANGE", b"DOWN") + b"\xff" + b"x" * 50,
                                                          raw_event(b"WEATHER_CHANGE", b"RAIN"), b"\xff" * 300]:
        conn.send(Op.EVENT, body, stream=-1)
    bench.origin.emit("STATUS_CHANGE", "UP", node.address, port, control=True)
    bench.origin.emit("TOPOLOGY_CHANGE", "REMOVED_NODE", node.address, port, control=True)
    bench.origin.emit("TOPOLOGY_CHANGE", "NEW_NODE", node.address, port, control=True)
    bench.origin.emit("STATUS_CHANGE", "DOWN", node.address, port, control=True)
    bench.origin.emit("STATUS_CHANGE", "UP", node.address, port, control=True)
    await until_used(bench, bench.origin, 0, 1)
    assert bench.origin.control_connections() == [conn] and not conn.is_closed


# ---- the connection moves on ----

@pytest.mark.connections(70)
@pytest.mark.parametrize("behave", [behaviour.error(Err.SERVER_ERROR, "no"), behaviour.close(),
                                    behaviour.answer(Op.READY, b"")], ids=["error", "close", "READY"])
async def test_a_refresh_that_fails(make_bench, behave):
    """The other node is asked at once, never this one again."""
    bench = await make_bench(fresh=True, origin={"nodes": 2})
    for turn in range(2):
        on = control_node(bench.origin)
        rule = bench.origin.on(lambda r: r.statement == LOCAL, behave, control=True, node=on)
        bench.origin.emit("TOPOLOGY_CHANGE", "NEW_NODE", "10.1.2.3", 9042, control=True)
        await bench.origin.until(lambda: control_node(bench.origin) not in (None, on), "the other node")
        await bench.proxy.until_logged(f"(?s)(control connection is up.*){{{turn + 3}}}")
        bench.origin.rules.remove(rule)
        assert len(bench.origin.control_requests(Op.STARTUP)) == turn + 2
    await bench.proxy.ready()


@pytest.mark.connections(55)
@pytest.mark.parametrize("where", PRIMARIES)
async def test_a_node_that_dies(make_bench, where):
    """Noticed by its end, not by a heartbeat; with the default intervals another one has the connection in no time."""
    bench = await make_bench(fresh=True, **{where: {"nodes": 3}})
    cluster = getattr(bench, where)
    on = control_node(cluster)
    await on.stop()
    await cluster.until(lambda: control_node(cluster), "control connection to another node")  # has a limit below heartbeat_interval
    assert "next try in" not in bench.proxy.messages
    await bench.proxy.ready()
    await on.start()
    await until_used(bench, cluster, 0, 1, 2)


@NATIVE
@pytest.mark.parametrize("where", PRIMARIES)
async def test_a_node_that_falls_silent(make_bench, where):
    """As one that was stopped (SIGSTOP) or cut off does: the heartbeat finds out, and another node has the connection."""
    bench = await make_bench(fresh=True, **{where: {"nodes": 3}}, sections={"proxy": {
        "heartbeat_interval": "100ms", "heartbeat_timeout": "300ms"}})
    cluster = getattr(bench, where)
    on = control_node(cluster)
    cluster.on(lambda r: True, behaviour.mute(), control=None, node=on)
    await cluster.until(lambda: control_node(cluster) not in (None, on), "control connection to another node")
    assert "a heartbeat was not answered within 300 ms" in bench.proxy.messages
    await bench.proxy.ready()


@NATIVE
async def test_nodes_that_the_cluster_calls_down(make_bench):
    """They get no requests until it says that they are up; addresses are translated in events, too."""
    def behind(bench):
        pairs = [f"{says}={node.address}" for says, node in zip(translated(bench), bench.origin.nodes)]
        bench.sections = {"origin": {"address_map": ", ".join(pairs)}}
    bench = await make_bench(fresh=True, configure=behind, origin={"nodes": 3})
    assert await use_nodes(bench, bench.origin) == {0, 1, 2}
    bench.origin.emit("STATUS_CHANGE", "DOWN", "10.99.0.2", bench.origin.port, control=True)
    await until_used(bench, bench.origin, 0, 2)
    bench.origin.emit("STATUS_CHANGE", "UP", "10.99.0.2", bench.origin.port, control=True)
    await until_used(bench, bench.origin, 0, 1, 2)


async def test_nodes_of_other_datacenters_will_do(make_bench):
    """All of the local datacenter are down: the control connection goes where somebody answers."""
    bench = await make_bench(fresh=True, origin={"nodes": 3, "datacenters": {0: "dc1", 1: "dc1", 2: "dc2"}})
    for node in bench.origin.nodes[:2]:
        await node.stop()
    await bench.origin.until(lambda: control_node(bench.origin) is bench.origin.nodes[2], "control connection to dc2")
    await bench.proxy.ready()
    for node in bench.origin.nodes[:2]:
        await node.start()
    await until_used(bench, bench.origin, 0, 1)


@pytest.mark.connections(56)
async def test_all_nodes_are_new(make_bench):
    """While it was away the cluster has moved: known nodes are gone, the contact points lead to the new ones."""
    bench = await make_bench(fresh=True, origin={"nodes": 3}, sections={"proxy": {
        "heartbeat_retry_interval_min": "50ms", "heartbeat_retry_interval_max": "200ms"}})
    old, new = bench.origin.nodes[1:], bench.origin.nodes[0]
    bench.origin.hidden.update(old)
    for node in bench.origin.nodes:
        await node.stop()
    await bench.proxy.until_logged("no other address is left to try|next try in")
    await new.start()
    await bench.origin.until(lambda: control_node(bench.origin) is new, "control connection to the contact point")
    await until_used(bench, bench.origin, 0)


@pytest.fixture(scope="session")
def wild_names(tmp_path_factory):
    library = tmp_path_factory.mktemp("names") / "wild_names.so"
    source = Path(__file__).parent / "wild_names.c"
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True, timeout=60)
    return library


class Names:
    """What the proxy finds for names in ".test"."""

    def __init__(self, path, library):
        self.path = path
        self.variables = {"LD_PRELOAD": str(library), "WILD_NAMES": str(path),
                          "ASAN_OPTIONS": "verify_asan_link_order=0:quarantine_size_mb=8"}

    def say(self, **addresses):
        written = self.path.with_suffix(".new")
        written.write_text("".join(f"{name}.test {a}\n" for name, found in addresses.items() for a in found))
        written.rename(self.path)


async def test_contact_points_by_name(make_bench, tmp_path, wild_names):
    """A name has all its addresses tried, and is looked up again in every round."""
    names = Names(tmp_path / "names", wild_names)

    def by_name(bench):
        first, second, _ = (node.address for node in bench.origin.nodes)
        names.say(cluster=[first, second])
        bench.variables = names.variables
        bench.sections = {"origin": {"contact_points": "cluster.test, nowhere.test", "enable_host_assignment": "no"},
                          "proxy": {"heartbeat_retry_interval_max": "300ms"}}
    bench = await make_bench(fresh=True, configure=by_name, origin={"nodes": 3})
    on = control_node(bench.origin)
    assert on in bench.origin.nodes[:2]
    assert f"origin cluster.test ({on.address}:{bench.origin.port}): control connection is up" in bench.proxy.messages
    await on.stop()
    await bench.origin.until(lambda: control_node(bench.origin), "control connection to the other address")
    assert control_node(bench.origin) in bench.origin.nodes[:2]
    names.say(cluster=[bench.origin.nodes[2].address])
    await control_node(bench.origin).stop()
    await bench.origin.until(lambda: control_node(bench.origin) is bench.origin.nodes[2], "the name's new address")
    await bench.proxy.ready()
    await assert_alive(await bench.client(), bench)


async def test_a_name_that_comes_late(make_bench, tmp_path, wild_names):
    """The start waits for it, as for a cluster that is down."""
    names = Names(tmp_path / "names", wild_names)

    def by_name(bench):
        names.say()
        bench.variables = names.variables
        bench.sections = {"origin": {"contact_points": "cluster.test"}}
    bench = await make_bench(fresh=True, configure=by_name, wait=False)
    await bench.proxy.until_logged("origin cluster.test:.*next try in")
    names.say(cluster=[bench.origin.nodes[0].address])
    await bench.proxy.ready()
    await assert_alive(await bench.client(), bench)


async def test_localhost(make_bench):
    """The system's own names, which may have an IPv6 address, too, where nobody listens."""
    def at_home(bench):
        port = bench.origin.port
        bench.origin.nodes[0].address = "127.0.0.1"
        bench.sections = {"origin": {"contact_points": "localhost", "port": port}}
    bench = await make_bench(fresh=True, configure=at_home)
    assert "origin localhost (127.0.0.1:" in bench.proxy.messages
    await until_used(bench, bench.origin, 0)
