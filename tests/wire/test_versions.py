"""Protocol versions: what is agreed on, and how the rest is refused."""
import pytest

import behaviour
from cqlwire import Err, FrameFlag, Kind, Op, frame_bytes, requests
from helpers import WAY_IDS, WAYS, assert_error, assert_one_protocol_error


def refusal(version):
    return f"Invalid or unsupported protocol version ({version})"


@pytest.mark.checklist(2, 44)
@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
async def test_a_round_trip(bench, version, compression):
    c = await bench.client(version, compression)
    assert (await c.query("INSERT INTO ks.t (k) VALUES (1)")).kind == Kind.VOID
    answer = await c.query("SELECT * FROM ks.t")
    assert answer.version == version
    assert answer.dicts() == [{"cluster": "origin", "keyspace": None, "statement": "SELECT * FROM ks.t"}]
    assert bench.origin.statements() == ["INSERT INTO ks.t (k) VALUES (1)", "SELECT * FROM ks.t"]
    assert bench.target.statements() == ["INSERT INTO ks.t (k) VALUES (1)"]
    for cluster in bench.clusters:
        assert len(cluster.requests(Op.STARTUP)) == 1
        assert {r.version for r in cluster.requests()} == {version}


@pytest.mark.checklist(3, 5)
@pytest.mark.parametrize("opcode", [Op.STARTUP, Op.OPTIONS])
@pytest.mark.parametrize("version", [0, 1, 2, 6, 7, 0x41, 0x42, 0x7F])
async def test_versions_that_nobody_speaks(bench, version, opcode):
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
])
async def test_the_best_version_of_both_clusters(make_bench, origin, target, best):
    bench = await make_bench(origin={"versions": origin}, target={"versions": target})
    for version in (0x42, 0x41, 6, 5, 4, 3):
        c = await bench.open(version)
        if version in origin and version in target:
            assert (await c.startup()).opcode == Op.READY
            assert (await c.query("SELECT * FROM ks.t")).version == version
        else:
            c.send(Op.STARTUP, requests.startup(), stream=3)
            answers = await c.closed()
            assert_one_protocol_error(answers, refusal(version), streams=[0])
            assert answers[0].version == best
            assert answers[0].frame.version == best


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


@pytest.mark.checklist(6, 8, 10)
@pytest.mark.parametrize("profile", ["native", "zdm"])
async def test_blocked_versions(make_bench, profile):
    blocked = " v5,, 4"
    more = {"sections": {"proxy": {"blocked_protocol_versions": "v5, 4"}}}
    if profile == "zdm":
        more = {"profile": "zdm", "variables": {"ZDM_BLOCKED_PROTOCOL_VERSIONS": blocked}}
    bench = await make_bench(**more)
    for version in (5, 4):
        c = await bench.open(version)
        c.send(Op.STARTUP, requests.startup(), stream=77)
        answers = await c.closed()
        assert_one_protocol_error(answers, refusal(version), streams=[0])
    for cluster in bench.clusters:
        assert not cluster.requests()
    c = await bench.client(3)
    assert (await c.query("SELECT * FROM ks.t")).rows


@pytest.mark.checklist(9)
async def test_all_versions_blocked(make_bench):
    bench = await make_bench(sections={"proxy": {"blocked_protocol_versions": "3, 4, 5"}})
    for version in (3, 4, 5):
        c = await bench.open(version)
        c.send(Op.STARTUP, requests.startup())
        assert_one_protocol_error(await c.closed(), refusal(version), streams=[0])
    for cluster in bench.clusters:
        assert not cluster.requests()


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


@pytest.mark.checklist(11, 12)
async def test_control_connections_step_down(make_bench):
    bench = await make_bench(fresh=True, origin={"versions": (3,)}, target={"versions": (4, 5)})
    assert {r.version for r in bench.origin.control_requests(Op.REGISTER)} == {3}
    assert {r.version for r in bench.target.control_requests(Op.REGISTER)} == {5}
    for version in (3, 4, 5):  # no version is common
        c = await bench.open(version)
        c.send(Op.STARTUP, requests.startup())
        answers = await c.closed()
        assert len(answers) == 1 and answers[0].is_error(), answers


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
