"""OPTIONS, REGISTER, and in the zdm profile what nodes send on their own; for the native one see test_schema_events.py."""
import pytest

import behaviour
from cqlwire import EVENTS, Err, Op
from helpers import PRIMARIES, WAY_IDS, WAYS, assert_error


@pytest.mark.connections(78)
@pytest.mark.checklist(63, 71, 72, 73)
@pytest.mark.parametrize("origin,target,common", [
    (("lz4", "snappy"), ("snappy", "lz4"), {"lz4", "snappy"}), (("lz4",), ("snappy", "lz4"), {"lz4"}),
    (("snappy",), ("lz4",), set()), ((), ("lz4",), None), (("lz4",), (), None), (("lz4", "zstd"), ("zstd", "lz4"), {"lz4"}),
])
@pytest.mark.parametrize("profile", ["native", "zdm"])
async def test_supported_is_what_both_clusters_offer(make_bench, origin, target, common, profile):
    """common None: one of them has no COMPRESSION at all, so neither have we."""
    bench = await make_bench(profile=profile, origin={"compression": origin, "versions": (3, 4)},
                             target={"compression": target, "versions": (3, 4, 5)})
    c = await bench.open(4)
    before = await c.options()
    await c.startup()
    for options in (before.options, (await c.options()).options):
        assert options.get("COMPRESSION") is None if common is None else set(options["COMPRESSION"]) == common
        assert {v.split("/")[0] for v in options["PROTOCOL_VERSIONS"]} == {"3", "4"}


@pytest.mark.connections(78)
@pytest.mark.checklist(70)
@pytest.mark.parametrize("primary", PRIMARIES)
async def test_the_other_options_are_targets(make_bench, primary):
    told = {"CQL_VERSION": ["3.4.7"], "PAGE_UNIT": ["BYTES", "ROWS"], "EMPTY": [""], "PRODUCT_TYPE": ["x" * 300]}
    bench = await make_bench(primary=primary, origin={"supported": {"CQL_VERSION": ["3.4.4"], "ONLY_ORIGIN": ["1"]}},
                             target={"supported": told})
    c = await bench.open()
    options = (await c.options()).options
    assert {k: v for k, v in options.items() if k not in ("COMPRESSION", "PROTOCOL_VERSIONS")} == told


async def test_the_options_of_shards_are_not_passed_on(make_bench):
    """Scylla's drivers would open connections to its shard-aware port, past the proxy."""
    bench = await make_bench(target={"supported": {"SCYLLA_SHARD": ["1"], "SCYLLA_SHARD_AWARE_PORT": ["19042"]}})
    c = await bench.open()
    assert not [key for key in (await c.options()).options if key.startswith("SCYLLA")]


@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
async def test_options_as_heartbeat(bench, version, compression):
    c = await bench.client(version, compression)
    for _ in range(5):
        assert (await c.options()).opcode == Op.SUPPORTED


@pytest.mark.checklist(69)
async def test_the_zdm_profile_forwards_options(make_bench):
    bench = await make_bench(profile="zdm")
    c = await bench.client()
    assert (await c.options()).opcode == Op.SUPPORTED
    for cluster in bench.clusters:
        assert len(cluster.requests(Op.OPTIONS)) == 1


@pytest.mark.checklist(74)
async def test_the_zdm_profile_passes_errors_of_options_on(make_bench):
    bench = await make_bench(profile="zdm")
    bench.target.on(Op.OPTIONS, behaviour.error(Err.SERVER_ERROR, "no options"))
    c = await bench.client()
    assert_error(await c.options(), Err.SERVER_ERROR, "no options")


@pytest.mark.connections(121)
@pytest.mark.checklist(75)
@pytest.mark.parametrize("primary", PRIMARIES)
@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
async def test_register_goes_to_both(make_bench, primary, version, compression):
    bench = await make_bench(primary=primary, profile="zdm")
    c = await bench.client(version, compression)
    assert (await c.register(*EVENTS)).opcode == Op.READY
    await bench.settle(c)
    for cluster in bench.clusters:
        seen = cluster.requests(Op.REGISTER)
        assert len(seen) == 1 and seen[0].request.events == EVENTS


@pytest.mark.checklist(75)
@pytest.mark.parametrize("where", PRIMARIES)
async def test_register_that_fails_on_one(make_bench, where):
    bench = await make_bench(profile="zdm")
    getattr(bench, where).on(Op.REGISTER, behaviour.error(Err.SERVER_ERROR, "no events"))
    c = await bench.client()
    assert_error(await c.register("SCHEMA_CHANGE"), Err.SERVER_ERROR, "no events")


@pytest.mark.connections(122, 123)
@pytest.mark.checklist(76, 77, 78, 79)
@pytest.mark.parametrize("primary", PRIMARIES)
@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
async def test_schema_changes_come_once_and_nothing_else(make_bench, primary, version, compression):
    bench = await make_bench(primary=primary, profile="zdm")
    c = await bench.client(version, compression)
    await c.register(*EVENTS)
    for cluster in (bench.secondary, bench.primary):
        assert cluster.emit("STATUS_CHANGE", "DOWN", "10.1.2.3", 9042) == 1
        cluster.emit("TOPOLOGY_CHANGE", "NEW_NODE", "10.1.2.3", 9042)
        cluster.emit("SCHEMA_CHANGE", "CREATED", "TABLE", "ks", f"made_by_{cluster.name}")
    await c.until(lambda: c.events, "event")
    await bench.settle(c)  # the secondary's events came before its answer to this
    assert [e.event for e in c.events] == [("SCHEMA_CHANGE", "CREATED", "TABLE", "ks", f"made_by_{primary}")]
    assert c.events[0].stream == -1 and c.events[0].version == version


@pytest.mark.checklist(76)
async def test_events_between_answers(make_bench):
    bench = await make_bench(profile="zdm")
    c = await bench.client(5, "lz4")
    await c.register("SCHEMA_CHANGE")
    for i in range(30):
        c.send_query(f"SELECT {i} FROM ks.t", stream=i)
        bench.origin.emit("SCHEMA_CHANGE", "UPDATED", "KEYSPACE", f"ks{i}")
    for i in range(30):
        assert (await c.answer(i)).rows[0][2] == f"SELECT {i} FROM ks.t"
    await c.until(lambda: len(c.events) == 30, "30 events")
    assert [e.event[3] for e in c.events] == [f"ks{i}" for i in range(30)]


async def test_events_reach_only_those_who_asked(make_bench):
    bench = await make_bench(profile="zdm")
    one, other = await bench.client(), await bench.client()
    await one.register("SCHEMA_CHANGE")
    assert bench.origin.emit("SCHEMA_CHANGE", "DROPPED", "KEYSPACE", "ks") == 1
    await one.until(lambda: one.events, "event")
    await bench.settle(other)
    assert not other.events


@pytest.mark.parametrize("body", [b"", b"\0", b"\0\x0dSCHEMA_CHANG", b"\0\7WEATHER\0\3SUN", b"\xff\xff"])
async def test_events_that_cannot_be_read(make_bench, body):
    bench = await make_bench(profile="zdm")
    c = await bench.client()
    await c.register(*EVENTS)
    bench.origin.connections()[0].send(Op.EVENT, body, stream=-1)
    c.send_query("SELECT * FROM ks.t", stream=1)
    await c.until(lambda: c.is_closed or c.received, "answer or end")
    c.take_all()
    assert not c.events
    other = await bench.client()
    assert (await other.query("SELECT * FROM ks.t")).rows


async def test_results_of_schema_changes(make_bench):
    bench = await make_bench(primary="target")
    c = await bench.client()
    answer = await c.query("CREATE KEYSPACE ks WITH replication = {}")
    assert answer.change == ("CREATED", "KEYSPACE", "ks")
