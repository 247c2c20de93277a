"""Control connections, line by line of tests/connections.txt: what they ask, what they make of answers, what they do next."""
import re

import pytest

import behaviour
from cqlwire import EVENTS, Err, Op
from fakecluster import Auth, DSE_AUTHENTICATOR
from helpers import PRIMARIES, assert_alive

QUICK = {"proxy": {"heartbeat_interval": "100ms", "heartbeat_retry_interval_min": "20ms",
                   "heartbeat_retry_interval_max": "100ms"}}


def used(cluster):
    """The nodes that clients' connections go to."""
    return {conn.node.index for conn in cluster.connections()}


async def restarted(bench, change):
    """Another start of the proxy after `change()`."""
    await bench.proxy.stop()
    change()
    for cluster in bench.clusters:
        cluster.received.clear()
    await bench.start_proxy()


@pytest.mark.connections(45, 52, 53)
@pytest.mark.parametrize("limit,version", [("4", 4), ("DseV2", 0x42)])
async def test_the_first_frames_in_the_zdm_profile(make_bench, limit, version):
    versions = (3, 4, 5, 0x41, 0x42)
    bench = await make_bench(fresh=True, profile="zdm", origin={"versions": versions}, target={"versions": versions},
                             variables={"ZDM_CONTROL_CONN_MAX_PROTOCOL_VERSION": limit})
    for cluster in bench.clusters:
        seen = [r for r in cluster.control_requests()]
        opcodes = [r.opcode for r in seen]
        assert {r.version for r in seen} == {version}
        assert opcodes[:2] == [Op.OPTIONS, Op.STARTUP]
        assert list(seen[1].request.options) == ["CQL_VERSION"]
        assert [r.request.events for r in seen if r.opcode == Op.REGISTER] == [["TOPOLOGY_CHANGE"]]
        texts = [(r.text, r.params.consistency) for r in seen if r.opcode == Op.QUERY and "system." in r.text]
        assert ["system.local" in texts[0][0], "system.peers" in texts[1][0]] == [True, True]
        assert {level for _, level in texts} == {1} and not any("peers_v2" in text for text, _ in texts)


@pytest.mark.connections(47)
async def test_the_highest_version_allowed(make_bench):
    """Allowed up to v3, the cluster has more: v3."""
    bench = await make_bench(fresh=True, profile="zdm", variables={"ZDM_CONTROL_CONN_MAX_PROTOCOL_VERSION": "3"})
    for cluster in bench.clusters:
        assert {r.version for r in cluster.control_requests()} == {3}


@pytest.mark.connections(47)
async def test_no_version_is_left(make_bench):
    """Allowed up to v2, the cluster begins with v3: no start."""
    bench = await make_bench(fresh=True, profile="zdm", wait=False, variables={
        "ZDM_CONTROL_CONN_MAX_PROTOCOL_VERSION": "2"})
    bench.may_be_down = True
    await bench.proxy.never_ready("(?i)origin.*protocol", exit_code=255)


@pytest.mark.connections(48)
@pytest.mark.parametrize("profile", ["native", "zdm"])
async def test_other_errors_are_no_reason_to_go_down(make_bench, profile):
    """STARTUP is refused for another reason: tried again in the same version."""
    bench = await make_bench(fresh=True, profile=profile, wait=False, configure=lambda b: b.origin.on(
        Op.STARTUP, behaviour.error(Err.SERVER_ERROR, "not now"), times=2, control=None),
        origin={"versions": (3, 4)}, target={"versions": (3, 4)},
        **({"variables": {"ZDM_CONTROL_CONN_MAX_PROTOCOL_VERSION": "4"}} if profile == "zdm" else {"sections": QUICK}))
    await bench.proxy.ready()
    assert {r.version for r in bench.origin.control_requests(Op.STARTUP)} == {4}


@pytest.mark.connections(50)
async def test_a_challenge_that_is_not_dses(make_bench):
    """That attempt is over, nothing is said to it; the next one is answered as it should be and succeeds."""
    auth = Auth({"proxy": "proxy-password"}, DSE_AUTHENTICATOR, True)
    bench = await make_bench(fresh=True, wait=False, origin={"auth": auth}, sections=QUICK, configure=lambda b: b.origin.on(
        Op.AUTH_RESPONSE, behaviour.answer(Op.AUTH_CHALLENGE, b"\0\0\0\x0aGSSAPI-NOW"), times=1, control=None))
    await bench.proxy.ready()
    seen = [r.conn.number for r in bench.origin.received if r.opcode == Op.AUTH_RESPONSE]
    assert len(seen) == 3 and seen[0] < seen[1] == seen[2]


@pytest.mark.connections(51)
async def test_credentials_that_nobody_asks_for(make_bench):
    """A cluster without log-in gets none."""
    bench = await make_bench(fresh=True)
    for cluster in bench.clusters:
        assert not cluster.control_requests(Op.AUTH_RESPONSE)
        assert [c.user for c in cluster.control_connections()] == [None]


@pytest.mark.connections(60)
@pytest.mark.parametrize("behave", [behaviour.error(Err.SERVER_ERROR, "busy"), behaviour.answer(Op.READY, b"")],
                         ids=["error", "READY"])
async def test_any_answer_to_a_heartbeat_is_a_sign_of_life(make_bench, behave):
    bench = await make_bench(fresh=True, sections=QUICK)
    first = bench.target.control_connections()
    rule = bench.target.on(Op.OPTIONS, behave, control=True)
    await bench.target.until(lambda: rule.hits >= 4, "heartbeats")
    assert bench.target.control_connections() == first
    status, report = await bench.proxy.readiness()
    assert (status, report["TargetStatus"]["CurrentFailureCount"]) == (200, 0)


@pytest.mark.connections(63)
async def test_a_node_without_rpc_address(make_bench):
    """Cassandra 2.0 has none in system.local: the address that was connected to is the node's."""
    bench = await make_bench(fresh=True)
    await restarted(bench, lambda: bench.origin.local_overrides.update(rpc_address=None))
    await assert_alive(await bench.client(), bench)
    assert used(bench.origin) == {0}


@pytest.mark.connections(64)
@pytest.mark.parametrize("missing", ["data_center", "rack", "host_id"])
async def test_a_local_row_without_what_is_needed(make_bench, missing):
    """No start with it; when the node has mended it there is one."""
    bench = await make_bench(fresh=True, sections=QUICK)
    await bench.proxy.stop()
    bench.origin.local_overrides[missing] = None
    await bench.start_proxy(wait=False)
    await bench.proxy.until_logged(f"origin.*{missing}")
    assert (await bench.proxy.get("/health/readiness"))[0] == 503
    del bench.origin.local_overrides[missing]
    await bench.proxy.ready()


@pytest.mark.connections(65)
async def test_a_node_that_lists_itself(make_bench):
    """Its own row among its peers makes no second node of it."""
    bench = await make_bench(fresh=True, profile="zdm", origin={"nodes": 2})
    assert "with 2 nodes" in bench.proxy.messages
    node = bench.origin.nodes[0]
    await restarted(bench, lambda: bench.origin.peers_overrides.update(rpc_address=node.address, peer=node.address,
                                                                       host_id=node.host_id))
    assert re.search(r"origin .*control connection is up.* with 1 node,", bench.proxy.messages), bench.proxy.messages


@pytest.mark.connections(67)
async def test_a_datacenter_that_does_not_exist(make_bench):
    """A warning that names it, and the contact point's is taken."""
    bench = await make_bench(fresh=True, profile="zdm", origin={"nodes": 2, "datacenters": {1: "dc2"}},
                             variables={"ZDM_ORIGIN_LOCAL_DATACENTER": "nowhere"})
    assert re.search("WARN .*origin.*nowhere", bench.proxy.log)
    for _ in range(4):
        await bench.client()
    assert used(bench.origin) == {0}


def peers_queries(cluster):
    return [r for r in cluster.control_requests(Op.QUERY) if "system.peers" in r.text]


@pytest.mark.connections(69)
async def test_a_burst_of_events(make_bench):
    """Thirty at once: few refreshes, the last of which sees the newest state."""
    bench = await make_bench(fresh=True, profile="zdm", origin={"nodes": 2})
    before = len(peers_queries(bench.origin))
    for _ in range(30):
        bench.origin.emit("TOPOLOGY_CHANGE", "NEW_NODE", bench.origin.nodes[1].address, bench.origin.port, control=True)
    await bench.origin.until(lambda: len(peers_queries(bench.origin)) > before, "a refresh", timeout=10)
    bench.origin.hidden.add(bench.origin.nodes[1])
    bench.origin.emit("TOPOLOGY_CHANGE", "REMOVED_NODE", bench.origin.nodes[1].address, bench.origin.port, control=True)

    async def seen():
        for c in bench.clients:
            await c.closed_quietly() if c.is_closed else None
        client = await bench.client()
        on = used(bench.origin)
        await client.close()
        await bench.until_backends_gone()
        return on == {0} and len(peers_queries(bench.origin)) > before + 1
    await bench.proxy.until(seen, "the second refresh")
    assert len(peers_queries(bench.origin)) <= before + 4


@pytest.mark.connections(70)
async def test_a_refresh_that_fails(make_bench):
    """The control connection is opened anew, and clients notice nothing."""
    bench = await make_bench(fresh=True, origin={"nodes": 2}, sections=QUICK)
    c = await bench.client()
    first = bench.origin.control_connections()[0]
    bench.origin.on(lambda r: r.opcode == Op.QUERY and "system.peers" in (r.text or ""),
                    behaviour.error(Err.SERVER_ERROR, "no peers"), times=1, control=True)
    bench.origin.emit("TOPOLOGY_CHANGE", "NEW_NODE", bench.origin.nodes[1].address, bench.origin.port, control=True)
    await bench.origin.until(lambda: first.is_closed, "end of the first control connection")
    await bench.origin.until(lambda: [conn for conn in bench.origin.control_connections() if conn.registered], "another")
    await bench.proxy.ready()
    await assert_alive(c, bench)


@pytest.mark.connections(124)
@pytest.mark.parametrize("primary", PRIMARIES)
async def test_the_mirror_registers_for_nothing(make_bench, primary):
    bench = await make_bench(profile="zdm", primary=primary, variables={"ZDM_READ_MODE": "DUAL_ASYNC_ON_SECONDARY"})
    c, mirror = await bench.mirrored_client()
    assert (await c.register(*EVENTS)).opcode == Op.READY
    assert (await c.query("SELECT * FROM ks.t")).rows
    await bench.settle(c)
    seen = bench.secondary.requests(Op.REGISTER)
    assert len(seen) == 1 and seen[0].conn is not mirror
    assert len(bench.primary.requests(Op.REGISTER)) == 1
