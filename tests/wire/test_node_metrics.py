"""
Metrics by node: <prefix>_origin_..., _target_... (checklist 254 to 269). Those of mirrored reads are in
test_mirror.py.
"""
import asyncio

import pytest

from behaviour import Hold, error, mute, unprepared
from cqlwire import Err, Kind, Op, requests
from helpers import PRIMARIES, assert_error

ERRORS = {"client_timeout": None, "read_timeout": Err.READ_TIMEOUT, "read_failure": Err.READ_FAILURE,
          "write_timeout": Err.WRITE_TIMEOUT, "write_failure": Err.WRITE_FAILURE, "overloaded": Err.OVERLOADED,
          "unavailable": Err.UNAVAILABLE, "unprepared": Err.UNPREPARED, "other": Err.INVALID}
READ = "SELECT * FROM ks.t"
WRITE = "INSERT INTO ks.t (k) VALUES (1)"


def label(cluster, node=0):
    return f"{cluster.nodes[node].address}:{cluster.port}"


class Nodes:
    """What the page says about a cluster's node; numbers count from the moment it was made."""

    def __init__(self, bench, samples, node=0):
        self.bench = bench
        self.before = samples
        self.node = node

    @classmethod
    async def begin(cls, bench, node=0):
        return cls(bench, await bench.proxy.metrics(), node)

    async def scrape(self):
        self.now = await self.bench.proxy.metrics()

    def value(self, name):
        return self.now[name] - self.before.get(name, 0)

    def count(self, cluster, kind):
        return self.value(f'zdm_{cluster.name}_request_duration_seconds_count{{node="{label(cluster, self.node)}",'
                          f'type="{kind}"}}')

    def counts(self):
        """{"origin": (reads, writes), "target": ...}"""
        return {c.name: (self.count(c, "reads"), self.count(c, "writes")) for c in self.bench.clusters}

    def failed(self, cluster):
        """The error counters that have changed."""
        values = {e: self.value(f'zdm_{cluster.name}_requests_failed_total{{error="{e}",'
                                f'node="{label(cluster, self.node)}"}}') for e in ERRORS}
        return {e: n for e, n in values.items() if n}

    def gauge(self, cluster, name):
        return self.now[f'zdm_{cluster.name}_{name}{{node="{label(cluster, self.node)}"}}']


def has_series(samples, cluster, node=0):
    return [name for name in samples if name.startswith(f"zdm_{cluster.name}_") and label(cluster, node) in name]


@pytest.mark.dedicated
@pytest.mark.connections(165)
@pytest.mark.checklist(254, 255, 266, 269)
async def test_series_come_with_the_first_client_and_stay(make_bench):
    bench = await make_bench(fresh=True, origin={"nodes": 2})
    samples = await bench.proxy.metrics()
    assert not [name for name in samples if name.startswith(("zdm_origin_", "zdm_target_", "zdm_async_"))]
    c = await bench.client()
    nodes = await Nodes.begin(bench)
    await nodes.scrape()
    assert len(has_series(nodes.now, bench.target)) > 0
    used = [n for n in (0, 1) if has_series(nodes.now, bench.origin, n)]
    assert len(used) == 1, "only the node that has a session has series"
    nodes.node = 0
    assert nodes.gauge(bench.target, "connections_total") == 1
    assert nodes.gauge(bench.target, "failed_connections_total") == 0
    assert nodes.gauge(bench.target, "used_stream_ids_total") == 0
    # the handshake is in no request metric, but every series is there with 0
    for kind in ("reads", "writes"):
        assert nodes.now[f'zdm_target_request_duration_seconds_count{{node="{label(bench.target)}",'
                         f'type="{kind}"}}'] == 0
    for name in ERRORS:
        assert nodes.now[f'zdm_target_requests_failed_total{{error="{name}",node="{label(bench.target)}"}}'] == 0
    await c.close()
    await bench.proxy.until_metric(f'zdm_target_connections_total{{node="{label(bench.target)}"}}', 0)
    assert has_series(await bench.proxy.metrics(), bench.origin, used[0])
    # the other node of origin is next
    await bench.client()
    samples = await bench.proxy.metrics()
    assert has_series(samples, bench.origin, 0) and has_series(samples, bench.origin, 1)


@pytest.mark.dedicated
@pytest.mark.connections(142)
@pytest.mark.checklist(255)
async def test_one_connection_per_client_and_cluster(bench):
    for _ in range(3):
        await bench.client()
    nodes = await Nodes.begin(bench)
    await nodes.scrape()
    for cluster in bench.clusters:
        assert nodes.gauge(cluster, "connections_total") == 3
    await bench.clients[0].close()
    for cluster in bench.clusters:
        await bench.proxy.until_metric(f'zdm_{cluster.name}_connections_total{{node="{label(cluster)}"}}', 2)


@pytest.mark.checklist(256, 257, 259)
@pytest.mark.parametrize("primary", PRIMARIES)
async def test_which_requests_count(make_bench, primary):
    bench = await make_bench(primary=primary)
    c = await bench.client()
    nodes = await Nodes.begin(bench)
    await c.options()
    await c.register("SCHEMA_CHANGE")
    await c.query("SELECT * FROM system.local")
    read = await c.prepare(READ)
    write = await c.prepare(WRITE)
    await nodes.scrape()
    assert nodes.counts() == {"origin": (0, 0), "target": (0, 0)}
    await c.query(WRITE)
    await nodes.scrape()
    assert nodes.counts() == {"origin": (0, 1), "target": (0, 1)}
    await c.query(READ)
    await c.execute(read)
    await nodes.scrape()
    assert nodes.counts() == {"origin": (0, 1), "target": (0, 1), primary: (2, 1)}
    await c.execute(write)
    await c.batch([(WRITE, [])])
    await c.use("ks")
    await c.query("CREATE TABLE ks.t2 (k int PRIMARY KEY)")
    await nodes.scrape()
    assert nodes.counts() == {"origin": (0, 5), "target": (0, 5), primary: (2, 5)}
    # a read of a system table is a read of the cluster that answers it
    await c.query("SELECT * FROM system_schema.tables")
    await nodes.scrape()
    assert nodes.counts()["origin"] == (3 if primary == "origin" else 1, 5)
    assert nodes.failed(bench.origin) == nodes.failed(bench.target) == {}


@pytest.mark.checklist(260)
@pytest.mark.parametrize("name", [name for name, code in ERRORS.items() if code])
async def test_errors_by_class(make_bench, name):
    bench = await make_bench()
    c = await bench.client()
    fields = {"read_timeout": {}, "unprepared": {"id": b"x" * 16}}.get(name, {})
    bench.origin.on("ks.r", error(ERRORS[name], **fields))
    bench.target.on("ks.w", error(ERRORS[name], **fields))
    nodes = await Nodes.begin(bench)
    await c.query("SELECT * FROM ks.r")
    await c.query("INSERT INTO ks.w (k) VALUES (1)")
    await nodes.scrape()
    assert nodes.failed(bench.origin) == nodes.failed(bench.target) == {name: 1}
    # an error is a response, too
    assert nodes.counts() == {"origin": (1, 1), "target": (0, 1)}


@pytest.mark.checklist(260)
@pytest.mark.parametrize("code", [Err.SERVER_ERROR, Err.PROTOCOL_ERROR, Err.SYNTAX_ERROR, Err.UNAUTHORIZED, 0x1600,
                                  0x1700])
async def test_other_errors(bench, code):
    c = await bench.client()
    bench.origin.on("ks.r", error(code))
    nodes = await Nodes.begin(bench)
    assert (await c.query("SELECT * FROM ks.r")).is_error()
    await nodes.scrape()
    assert nodes.failed(bench.origin) == {"other": 1} and nodes.failed(bench.target) == {}


@pytest.mark.checklist(260)
async def test_errors_of_untracked_requests_do_not_count(bench):
    c = await bench.client()
    for cluster in bench.clusters:
        cluster.on("ks.p", error(Err.INVALID))
    nodes = await Nodes.begin(bench)
    assert_error(await c.prepare("SELECT * FROM ks.p"), Err.INVALID)
    await nodes.scrape()
    assert nodes.failed(bench.origin) == nodes.failed(bench.target) == {}
    assert nodes.counts() == {"origin": (0, 0), "target": (0, 0)}


@pytest.mark.checklist(265)
async def test_a_lost_statement_counts_although_it_is_repaired(bench):
    """The node did answer UNPREPARED; the request is observed once, with the answer that ended it."""
    c = await bench.client()
    write = await c.prepare(WRITE)
    misses = (await bench.proxy.metrics())["zdm_pscache_miss_total"]
    bench.target.forget_prepared()
    nodes = await Nodes.begin(bench)
    assert (await c.execute(write)).kind == Kind.VOID
    await nodes.scrape()
    assert nodes.failed(bench.target) == {"unprepared": 1} and nodes.failed(bench.origin) == {}
    assert nodes.counts() == {"origin": (0, 1), "target": (0, 1)}
    assert nodes.now["zdm_pscache_miss_total"] == misses


@pytest.mark.checklist(265)
async def test_our_own_unprepared_is_no_nodes(bench):
    c = await bench.client()
    nodes = await Nodes.begin(bench)
    assert_error(await c.execute(b"0123456789abcdef"), Err.UNPREPARED)
    await nodes.scrape()
    assert nodes.value("zdm_pscache_miss_total") == 1
    assert nodes.failed(bench.origin) == nodes.failed(bench.target) == {}
    assert nodes.counts() == {"origin": (0, 0), "target": (0, 0)}


@pytest.mark.checklist(137, 262)
@pytest.mark.parametrize("silent", ["origin", "target"])
async def test_time_outs(make_bench, silent):
    """client_timeout where nothing came, the histogram only where an answer came."""
    bench = await make_bench(sections={"proxy": {"request_timeout": "1s"}})
    mute_one, other = (bench.origin, bench.target) if silent == "origin" else (bench.target, bench.origin)
    mute_one.on("ks.t", mute())
    c = await bench.client()
    nodes = await Nodes.begin(bench)
    assert_error(await c.query(WRITE), Err.WRITE_TIMEOUT)
    await nodes.scrape()
    assert nodes.failed(mute_one) == {"client_timeout": 1} and nodes.failed(other) == {}
    assert nodes.counts() == {mute_one.name: (0, 0), other.name: (0, 1)}
    assert nodes.gauge(mute_one, "used_stream_ids_total") == 1, "the id stays taken until the answer comes"
    assert nodes.gauge(other, "used_stream_ids_total") == 0


@pytest.mark.checklist(263, 264)
async def test_stream_ids_in_use(bench):
    c = await bench.client()
    holds = [Hold(), Hold()]
    bench.origin.on("ks.", holds[0])
    bench.target.on("ks.", holds[1])
    streams = [c.send_query(READ) for _ in range(3)] + [c.send_query(WRITE) for _ in range(2)]
    await holds[0].arrived(5)
    await holds[1].arrived(2)
    nodes = await Nodes.begin(bench)
    await nodes.scrape()
    assert nodes.gauge(bench.origin, "used_stream_ids_total") == 5
    assert nodes.gauge(bench.target, "used_stream_ids_total") == 2
    for hold in holds:
        hold.release()
    for stream in streams:
        assert not (await c.answer(stream)).is_error()
    await nodes.scrape()
    for cluster in bench.clusters:
        assert nodes.gauge(cluster, "used_stream_ids_total") == 0
    assert nodes.counts() == {"origin": (3, 2), "target": (0, 2)}


@pytest.mark.dedicated
@pytest.mark.connections(147)
@pytest.mark.checklist(147, 263, 264)
@pytest.mark.parametrize("end", ["client", "node"])
async def test_gauges_return_to_zero(bench, end):
    """The client, or one node, goes in the middle of requests."""
    c = await bench.client()
    hold = Hold()
    bench.origin.on("ks.", hold)
    bench.target.on("ks.", hold)
    for _ in range(4):
        c.send_query(WRITE)
    await hold.arrived(8)
    if end == "client":
        c.abort()
    else:
        bench.target.nodes[0].drop()
        await c.closed()
    await bench.until_backends_gone()
    for cluster in bench.clusters:
        for name in ("connections_total", "used_stream_ids_total"):
            await bench.proxy.until_metric(f'zdm_{cluster.name}_{name}{{node="{label(cluster)}"}}', 0)
    await bench.proxy.until_metric('zdm_proxy_inflight_requests_total{type="writes"}', 0)
    hold.release()


@pytest.mark.dedicated
@pytest.mark.connections(166)
@pytest.mark.checklist(67, 68)
@pytest.mark.parametrize("name", ["origin", "target"])
async def test_connections_that_fail(make_bench, name):
    bench = await make_bench(fresh=True)
    cluster = bench.origin if name == "origin" else bench.target
    cluster.nodes[0].refuse()
    c = await bench.open()
    c.send(Op.STARTUP, requests.startup())
    answers = await c.closed()
    assert [a.code for a in answers] == ([] if bench.is_zdm else [Err.SERVER_ERROR])
    nodes = await Nodes.begin(bench)
    await nodes.scrape()
    assert nodes.gauge(cluster, "failed_connections_total") >= 1
    assert nodes.gauge(cluster, "connections_total") == 0
    assert nodes.now[f'zdm_proxy_failed_connections_total{{cluster="{name}"}}'] == 1
    assert nodes.now[f'zdm_{bench.origin.name if name == "target" else bench.target.name}_failed_connections_total'
                     f'{{node="{label(bench.target if name == "origin" else bench.origin)}"}}'] == 0


@pytest.mark.checklist(256, 267)
async def test_buckets_of_each_cluster(make_bench):
    """Each cluster's histograms have its own bounds; ZDM Proxy counts reads_target by origin's, we by target's."""
    bench = await make_bench(fresh=True, primary="target", sections={
        "http": {"origin_latency_buckets_ms": "1, 250", "target_latency_buckets_ms": "2, 60000"}})
    c = await bench.client()
    await c.query(READ)
    await c.query(WRITE)
    samples = await bench.proxy.metrics()

    def bounds(start):
        return [float(name.split('le="')[1].rstrip('"}')) for name in samples if name.startswith(start)]
    assert bounds(f'zdm_origin_request_duration_seconds_bucket{{node="{label(bench.origin)}",type="writes"') == \
        [0.001, 0.25, float("inf")]
    assert bounds(f'zdm_target_request_duration_seconds_bucket{{node="{label(bench.target)}",type="reads"') == \
        [0.002, 60.0, float("inf")]
    assert bounds('zdm_proxy_request_duration_seconds_bucket{type="reads_target"') == [0.002, 60.0, float("inf")]
    name = f'zdm_target_request_duration_seconds_bucket{{node="{label(bench.target)}",type="reads",le="60"}}'
    assert samples[name] == 1


@pytest.mark.checklist(256)
async def test_durations_are_measured(bench):
    """From the arrival of the request to the node's answer: the slower node has the longer time."""
    c = await bench.client()
    hold = Hold()
    bench.target.on("ks.t", hold)
    nodes = await Nodes.begin(bench)
    stream = c.send_query(WRITE)
    await hold.arrived()
    await asyncio.sleep(0.3)
    hold.release()
    await c.answer(stream)
    await nodes.scrape()
    sums = {x.name: nodes.value(f'zdm_{x.name}_request_duration_seconds_sum{{node="{label(x)}",type="writes"}}')
            for x in bench.clusters}
    assert 0.25 < sums["target"] and sums["origin"] < sums["target"]


@pytest.mark.connections(162)
@pytest.mark.checklist(268)
async def test_prefix(make_bench):
    bench = await make_bench(fresh=True, sections={"http": {"metrics_prefix": "ferry"}})
    await bench.client()
    samples = await bench.proxy.metrics()
    assert samples[f'ferry_origin_connections_total{{node="{label(bench.origin)}"}}'] == 1
    assert not [name for name in samples if name.startswith("zdm_")]


@pytest.mark.checklist(268)
async def test_no_page_when_switched_off(make_bench):
    bench = await make_bench(fresh=True, sections={"http": {"metrics_enabled": "false"}})
    c = await bench.client()
    assert not (await c.query(READ)).is_error()
    assert (await bench.proxy.get("/metrics"))[0] == 404


@pytest.mark.checklist(254)
async def test_zdm_names(make_bench):
    """The same from ZDM_* variables; no async series without dual reads."""
    bench = await make_bench(fresh=True, profile="zdm")
    c = await bench.client()
    nodes = await Nodes.begin(bench)
    await c.query(READ)
    bench.target.on("ks.lost", unprepared(b"y" * 16))
    await nodes.scrape()
    assert nodes.counts() == {"origin": (1, 0), "target": (0, 0)}
    assert not [name for name in nodes.now if name.startswith("zdm_async_")]
