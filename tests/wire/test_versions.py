"""Protocol versions: what is agreed on, and how the rest is refused."""
import pytest

import behaviour
from cqlwire import DSE1, DSE2, Err, FrameFlag, Kind, Op, frame_bytes, requests
from helpers import WAYS, assert_error, assert_one_protocol_error, until_served


def refusal(version):
    return f"Invalid or unsupported protocol version ({version})"


@pytest.mark.checklist(3, 5)
@pytest.mark.parametrize("opcode", [Op.STARTUP, Op.OPTIONS])
@pytest.mark.parametrize("version", [0, 1, 2, 6, 7, 0x40, 0x41, 0x42, 0x43, 0x7F])
async def test_versions_that_nobody_speaks(bench, version, opcode):
    """Some we know and the clusters do not, others nobody does: one error, then the end."""
    c = await bench.open(version)
    body = requests.startup() if opcode == Op.STARTUP else b""
    c.write(frame_bytes(version, FrameFlag.USE_BETA, 11, opcode, body))
    answers = await c.closed()
    assert_one_protocol_error(answers, refusal(version), streams=[0])
    assert answers[0].version == 5
    for cluster in bench.clusters:
        assert not cluster.requests()


@pytest.mark.checklist(4, 11)
@pytest.mark.parametrize("origin,target,best", [
    ((3, 4), (3, 4, 5), 4), ((3, 4, 5), (3, 4), 4), ((3,), (3, 4, 5), 3), ((3, 4, 5), (3, 4, 5), 5),
    ((2,), (2, 3), 2), ((2, 3), (3, 4, 5), 3), ((3, 4, DSE1, DSE2), (3, 4, 5), 4), ((3, 4, DSE1, DSE2), (3, 4, DSE1), DSE1),
])
async def test_the_best_version_of_both_clusters(make_bench, origin, target, best):
    bench = await make_bench(origin={"versions": origin}, target={"versions": target})
    for version in (0x42, 0x41, 6, 5, 4, 3, 2):
        c = await bench.open(version)
        if version in origin and version in target:
            assert (await c.startup()).opcode == Op.READY
            assert (await c.query("SELECT * FROM ks.t")).version == version
        else:
            c.send(Op.STARTUP, requests.startup(), stream=3)
            answers = await c.closed()
            assert_one_protocol_error(answers, refusal(version), streams=[0])
            # what it may step down to; where there is nothing below, the best. ZDM: the lower of its own two
            below = [v for v in set(origin) & set(target) if v < version]
            said = min(max(origin), max(target)) if bench.is_zdm else max(below, default=best)
            assert answers[0].version == said


@pytest.mark.connections(100)
@pytest.mark.checklist(8)
async def test_the_way_down_that_drivers_take(make_bench):
    """A driver that follows the version in the header of each refusal is there at the second attempt."""
    bench = await make_bench(origin={"versions": (3, 4)}, target={"versions": (3, 4, 5)})
    c = await bench.open(0x42)
    c.send(Op.OPTIONS)
    answers = await c.closed()
    c = await bench.open(answers[0].version)
    assert (await c.options()).options["PROTOCOL_VERSIONS"]
    assert (await c.startup()).opcode == Op.READY


async def expect_blocked(c, version, stream):
    """STARTUP in a blocked version: refused on stream 0, and the connection stays."""
    c.send(Op.STARTUP, requests.startup(), stream=stream)
    answer = await c.next_answer()
    assert_error(answer, Err.PROTOCOL_ERROR, refusal(version))
    assert answer.stream == 0
    return answer


@pytest.mark.connections(102)
@pytest.mark.checklist(6, 8, 10)
@pytest.mark.parametrize("profile", ["native", "zdm"])
async def test_blocked_versions(make_bench, profile):
    blocked = " V5,, 4"
    more = {"sections": {"proxy": {"blocked_protocol_versions": "v5, 4"}}}
    if profile == "zdm":
        more = {"profile": "zdm", "variables": {"ZDM_BLOCKED_PROTOCOL_VERSIONS": blocked}}
    bench = await make_bench(**more)
    for version in (5, 4):
        answer = await expect_blocked(await bench.open(version), version, stream=77)
        # a driver can go on from the version in the header; ZDM has that of its control connections there
        assert answer.version == (5 if bench.is_zdm else 3)
    for cluster in bench.clusters:
        assert not cluster.requests()
    c = await bench.client(3)
    assert (await c.query("SELECT * FROM ks.t")).rows
    assert (await c.options()).options["PROTOCOL_VERSIONS"] == ["3/v3"]


@pytest.mark.checklist(8)
@pytest.mark.parametrize("profile", ["native", "zdm"])
async def test_a_driver_steps_down_past_blocked_versions(make_bench, profile):
    """One by one, as Java and Python do it."""
    bench = await make_bench(origin={"versions": (2, 3, 4, 5)}, target={"versions": (2, 3, 4, 5)}, profile=profile,
                             **({"variables": {"ZDM_BLOCKED_PROTOCOL_VERSIONS": "v4,v5"}} if profile == "zdm" else
                                {"sections": {"proxy": {"blocked_protocol_versions": "v4,v5"}}}))
    for version in (DSE2, DSE1, 5, 4, 3):
        c = await bench.open(version)
        c.send(Op.STARTUP, requests.startup())
        answer = await c.next_answer()
        if answer.opcode == Op.READY:
            break
        assert_error(answer, Err.PROTOCOL_ERROR, refusal(version))
    assert version == 3
    assert (await c.query("SELECT * FROM ks.t")).version == 3


@pytest.mark.connections(103)
@pytest.mark.checklist(7)
@pytest.mark.parametrize("later", [3, 4, 5, DSE2])
async def test_after_a_blocked_version_nothing_else_is_heard(make_bench, later):
    """Not even what would be right on another connection; handshake_timeout ends it."""
    bench = await make_bench(sections={"proxy": {"blocked_protocol_versions": "5", "handshake_timeout": "1s"}})
    c = await bench.open(5)
    await expect_blocked(c, 5, stream=1)
    for stream in (2, 3):
        c.write(frame_bytes(later, 0, stream, Op.STARTUP, requests.startup()))
        answer = await c.next_answer()
        assert_error(answer, Err.PROTOCOL_ERROR, refusal(5))
        assert answer.stream == 0 and answer.version == (5 if bench.is_zdm else 4)
    assert await c.closed() == []
    for cluster in bench.clusters:
        assert not cluster.requests()


@pytest.mark.checklist(5, 7)
async def test_an_unknown_version_after_a_blocked_one(make_bench):
    bench = await make_bench(sections={"proxy": {"blocked_protocol_versions": "5"}})
    c = await bench.open(5)
    await expect_blocked(c, 5, stream=1)
    c.write(frame_bytes(6, 0, 2, Op.OPTIONS))
    assert_one_protocol_error(await c.closed(), refusal(6), streams=[0])


@pytest.mark.connections(102)
@pytest.mark.checklist(9)
@pytest.mark.parametrize("blocked", ["3, 4, 5", "V2,v3,V4,v5, dsev1,,Dse_V2,"])
async def test_all_versions_blocked(make_bench, blocked):
    bench = await make_bench(sections={"proxy": {"blocked_protocol_versions": blocked}})
    for version in (3, 4, 5):
        await expect_blocked(await bench.open(version), version, stream=3)
    for cluster in bench.clusters:
        assert not cluster.requests()


@pytest.mark.checklist(10)
@pytest.mark.parametrize("blocked,versions", [("V4, dsev1,", (4, DSE1)), ("dse_v2", (DSE2,)), (" ,3 ,", (3,))])
async def test_how_blocked_versions_are_written(make_bench, blocked, versions):
    everything = (2, 3, 4, DSE1, DSE2)
    bench = await make_bench(origin={"versions": everything}, target={"versions": everything},
                             sections={"proxy": {"blocked_protocol_versions": blocked}})
    for version in versions:
        await expect_blocked(await bench.open(version), version, stream=3)
    for version in set(everything) - set(versions):
        c = await bench.client(version)
        assert (await c.query("SELECT * FROM ks.t")).version == version


@pytest.mark.connections(99)
@pytest.mark.checklist(13, 14)
@pytest.mark.parametrize("refusing", [("origin",), ("target",), ("origin", "target")])
async def test_a_cluster_that_refuses_startup_for_its_version(bench, refusing):
    """However the cluster came to do so (a node that was not upgraded): the driver must understand and step down."""
    for name in refusing:
        getattr(bench, name).on(Op.STARTUP, behaviour.error(Err.PROTOCOL_ERROR, refusal(5)))
    c = await bench.open(5)
    c.send(Op.STARTUP, requests.startup(), stream=17)
    answers = await c.closed()
    assert_one_protocol_error(answers, refusal(5), streams=[0])


async def test_the_version_may_not_change(bench):
    c = await bench.client(4)
    c.write(frame_bytes(3, 0, 5, Op.QUERY, requests.query(3, "SELECT * FROM ks.t")))
    assert_one_protocol_error(await c.closed())
    await bench.until_backends_gone()
    assert not bench.origin.requests(Op.QUERY)


@pytest.mark.checklist(5)
async def test_what_follows_a_refused_frame_is_not_read(bench):
    """One error and the end, also when the rest of the frame and more frames come with it."""
    c = await bench.open(6)
    c.write(frame_bytes(6, 0, 1, Op.STARTUP, requests.startup()) + frame_bytes(4, 0, 2, Op.OPTIONS))
    assert_one_protocol_error(await c.closed(), refusal(6), streams=[0])


async def test_a_refusal_comes_in_pieces(bench):
    """The version is refused by its byte; nothing waits for the rest of the header."""
    c = await bench.open(6)
    c.write(b"\x06")
    assert_one_protocol_error(await c.closed(), refusal(6), streams=[0])


@pytest.mark.connections(47)
@pytest.mark.checklist(11)
@pytest.mark.parametrize("profile", ["native", "zdm"])
async def test_control_connections_step_down(make_bench, profile):
    bench = await make_bench(fresh=True, profile=profile, origin={"versions": (2, 3)}, target={"versions": (3, 4, 5)})
    assert {r.version for r in bench.origin.control_requests(Op.REGISTER)} == {3}
    assert {r.version for r in bench.target.control_requests(Op.REGISTER)} == {5}
    assert (await (await bench.client(3)).query("SELECT * FROM ks.t")).version == 3


@pytest.mark.connections(46)
@pytest.mark.checklist(11)
@pytest.mark.parametrize("profile,start", [("zdm", (DSE2, DSE1, 5, 4, 3, 2)), ("native", (5, 2))])
async def test_the_way_down_of_control_connections(make_bench, profile, start):
    """
    A connection for each attempt. ZDM begins with DSE v2 and goes down one by one; otherwise nodes are not asked for DSE's
    versions, and what they say in their refusal is heard.
    """
    bench = await make_bench(fresh=True, profile=profile, origin={"versions": (2,)}, target={"versions": (2,)})
    for cluster in bench.clusters:
        assert [version for version, _ in cluster.refused] == list(start[:-1])
        assert len({conn for _, conn in cluster.refused}) == len(start) - 1
        assert {r.version for r in cluster.control_requests()} == {2}


@pytest.mark.checklist(11)
@pytest.mark.parametrize("limit", ["4", "DseV1"])
async def test_zdm_begins_with_the_configured_version(make_bench, limit):
    versions = (3, 4, 5) if limit == "4" else (3, 4, DSE1, DSE2)
    bench = await make_bench(fresh=True, profile="zdm", origin={"versions": versions}, target={"versions": versions},
                             variables={"ZDM_CONTROL_CONN_MAX_PROTOCOL_VERSION": limit})
    for cluster in bench.clusters:
        assert not cluster.refused
        assert {r.version for r in cluster.control_requests()} == {4 if limit == "4" else DSE1}


@pytest.mark.checklist(12)
@pytest.mark.parametrize("profile", ["native", "zdm"])
async def test_no_version_is_common(make_bench, profile):
    """The proxy starts, and refuses everybody in the lower version of the two."""
    bench = await make_bench(fresh=True, profile=profile, origin={"versions": (2,)}, target={"versions": (3, 4, 5)})
    assert {r.version for r in bench.origin.control_requests(Op.REGISTER)} == {2}
    assert {r.version for r in bench.target.control_requests(Op.REGISTER)} == {5}
    await bench.proxy.until_logged("no protocol version is spoken by both clusters")
    for version in (2, 3, 4, 5, DSE2):
        c = await bench.open(version)
        c.send(Op.STARTUP, requests.startup(), stream=9)
        answers = await c.closed()
        assert_one_protocol_error(answers, refusal(version), streams=[0])
        assert answers[0].version == 2
    for cluster in bench.clusters:
        assert not cluster.requests()


@pytest.mark.connections(101)
@pytest.mark.checklist(4)
@pytest.mark.parametrize("origin,target,lower", [
    ((3, 4, 5), (3, 4), 4), ((3, 4, DSE1, DSE2), (3, 4, 5), 5), ((3, 4, DSE1, DSE2), (3, 4, DSE1), DSE1),
])
async def test_zdm_refuses_in_the_lower_version_of_its_control_connections(make_bench, origin, target, lower):
    bench = await make_bench(profile="zdm", origin={"versions": origin}, target={"versions": target})
    for version in (1, 6):
        c = await bench.open(version)
        c.write(frame_bytes(version, 0, 4, Op.OPTIONS))
        answers = await c.closed()
        assert_one_protocol_error(answers, streams=[0])
        assert answers[0].text == refusal(version)
        assert answers[0].version == lower


async def test_a_beta_is_not_the_version(make_bench):
    """Cassandra 3.11 lists 5/v5-beta, which is another protocol than the v5 of 4.0."""
    supported = {"PROTOCOL_VERSIONS": ["3/v3", "4/v4", "5/v5-beta"]}
    bench = await make_bench(origin={"versions": (3, 4), "supported": supported})
    c = await bench.open(5)
    c.write(frame_bytes(5, FrameFlag.USE_BETA, 4, Op.STARTUP, requests.startup()))
    answers = await c.closed()
    assert_one_protocol_error(answers, refusal(5), streams=[0])
    assert answers[0].version == 4
    c = await bench.client(4)
    assert (await c.options()).options["PROTOCOL_VERSIONS"] == ["3/v3", "4/v4"]


async def test_nodes_that_list_no_versions(make_bench):
    """Before 3.10: what the control connection has agreed on and what is below; no v2 since 3.0."""
    old = {"supported": {"PROTOCOL_VERSIONS": None}, "release_version": "2.1.22", "versions": (2, 3)}
    bench = await make_bench(origin=old, target=old)
    c = await bench.client(2)
    assert (await c.options()).options["PROTOCOL_VERSIONS"] == ["2/v2", "3/v3"]
    newer = {"supported": {"PROTOCOL_VERSIONS": None}, "release_version": "3.0.30", "versions": (3, 4)}
    bench = await make_bench(origin=newer, target=newer)
    c = await bench.client(4)
    assert (await c.options()).options["PROTOCOL_VERSIONS"] == ["3/v3", "4/v4"]


@pytest.mark.parametrize("version", [3, 4, 5])
async def test_the_beta_flag_passes(bench, version):
    """Where a version is served the flag says nothing, and requests keep their flags."""
    c = await bench.client(version)
    answer = await c.query("INSERT INTO ks.t (k) VALUES (1)", flags=FrameFlag.USE_BETA)
    assert answer.kind == Kind.VOID
    for cluster in bench.clusters:
        assert cluster.requests(Op.QUERY)[0].flags == FrameFlag.USE_BETA


@pytest.mark.connections(104)
@pytest.mark.checklist(15)
async def test_a_node_that_answers_startup_in_an_unknown_version(bench):
    bench.target.on(Op.STARTUP, behaviour.changed_answer(version=1))
    c = await bench.open(4)
    c.send(Op.STARTUP, requests.startup(), stream=17)
    if bench.is_pooled:  # it is served without that cluster
        assert (await c.answer(17)).opcode == Op.READY
        assert_error(await c.query("INSERT INTO ks.t (k) VALUES (1)"), Err.UNAVAILABLE, "target")
        bench.target.rules.clear()
        await until_served(c)
        return
    answers = await c.closed()
    assert_one_protocol_error(answers, refusal(1), "target", streams=[0])
    assert answers[0].version == 4


async def test_versions_below_those_of_the_proxy_itself(make_bench):
    bench = await make_bench(sections={"proxy": {"control_conn_max_protocol_version": "4"}})
    c = await bench.open(5)
    c.send(Op.STARTUP, requests.startup())
    answers = await c.closed()
    assert_one_protocol_error(answers, refusal(5), streams=[0])
    assert answers[0].version == 4
    c = await bench.client(4)
    assert (await c.query("SELECT * FROM ks.t")).rows


@pytest.mark.checklist(32, 63)
async def test_options_before_startup_are_plain_in_v5(bench):
    c = await bench.open(5)
    for _ in range(3):
        assert (await c.options()).opcode == Op.SUPPORTED
    assert not c.codec.framed
    assert (await c.startup()).opcode == Op.READY
    assert (await c.options()).opcode == Op.SUPPORTED


@pytest.mark.checklist(31)
async def test_an_error_instead_of_ready_is_plain(bench):
    bench.origin.on(Op.STARTUP, behaviour.error(Err.SERVER_ERROR, "out of order"))
    c = await bench.open(5)
    assert_error(await c.startup(), Err.SERVER_ERROR, "out of order")
    assert not c.codec.framed


async def test_many_connections_of_all_versions_at_once(bench):
    clients = [await bench.client(*WAYS[i % len(WAYS)]) for i in range(40)]
    for i, c in enumerate(clients):
        c.send_query(f"SELECT {i} FROM ks.t", stream=5)
    for i, c in enumerate(clients):
        assert (await c.answer(5)).rows == [["origin", None, f"SELECT {i} FROM ks.t"]]
