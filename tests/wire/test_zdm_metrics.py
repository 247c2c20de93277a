"""ZDM Proxy's metrics as a table: every family with its type, its labels and when it is there."""
import pytest

from cqlwire import Kind

pytestmark = pytest.mark.own_profile

CLUSTERS = {"cluster": {"origin", "target"}}
TYPES = {"type": {"reads_origin", "reads_target", "writes"}}
#: family, type, labels with their values; series at proxy level are there from the start
PROXY = {
    "client_connections_total": ("gauge", {}),
    "proxy_failed_connections_total": ("counter", CLUSTERS),
    "proxy_failed_reads_total": ("counter", CLUSTERS),
    "proxy_failed_writes_total": ("counter", {"failed_on": {"origin", "target", "both"}}),
    "proxy_request_duration_seconds": ("histogram", TYPES),
    "proxy_inflight_requests_total": ("gauge", TYPES),
    "pscache_entries_total": ("gauge", {}),
    "pscache_miss_total": ("counter", {}),
}
ERRORS = {"client_timeout", "read_timeout", "read_failure", "write_timeout", "write_failure", "overloaded",
          "unavailable", "unprepared", "other"}
#: the same by node, of origin, target and async; there with the first client
NODES = {
    "connections_total": ("gauge", {}),
    "failed_connections_total": ("counter", {}),
    "requests_failed_total": ("counter", {"error": ERRORS}),
    "request_duration_seconds": ("histogram", {"type": {"reads", "writes"}}),
    "used_stream_ids_total": ("gauge", {}),
}
ASYNC_ONLY = {"inflight_requests_total": ("gauge", {})}
BOUNDS = ["0.001", "0.004", "0.007", "0.01", "0.025", "0.04", "0.06", "0.08", "0.1", "0.15", "0.25", "0.5", "1", "2.5",
          "5", "10", "15", "+Inf"]


async def page(bench):
    """{family: type} and {family: [(labels, value)]} of the page."""
    status, body = await bench.proxy.get("/metrics")
    assert status == 200
    kinds, samples = {}, {}
    for line in body.decode().splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            kinds[name] = kind
        elif line and not line.startswith("#"):
            sample, _, value = line.rpartition(" ")
            name, _, rest = sample.partition("{")
            base = name
            for end in ("_bucket", "_sum", "_count"):
                if base.endswith(end) and base.removesuffix(end) in kinds:
                    base = base.removesuffix(end)
            labels = dict(part.split("=", 1) for part in rest.rstrip("}").replace('"', "").split(",") if part)
            samples.setdefault(base, []).append((name.removeprefix(base), labels, float(value)))
    return kinds, samples


def assert_family(kinds, samples, name, kind, labels, fixed=None):
    """All combinations of these labels, none more; a histogram has all bounds, a sum and a count for each."""
    assert kinds.get(name) == kind, name
    (label, values), = labels.items() if labels else ((None, {None}),)
    expected = set()
    for value in values:
        own = dict(fixed or {}, **({label: value} if label else {}))
        if kind == "histogram":
            expected |= {("_bucket", frozenset({**own, "le": le}.items())) for le in BOUNDS}
            expected |= {(end, frozenset(own.items())) for end in ("_sum", "_count")}
        else:
            expected.add(("", frozenset(own.items())))
    assert {(end, frozenset(said.items())) for end, said, _ in samples[name]} == expected, name


@pytest.mark.connections(165)
async def test_every_family(make_bench):
    bench = await make_bench(fresh=True, profile="zdm", variables={"ZDM_READ_MODE": "DUAL_ASYNC_ON_SECONDARY"})
    kinds, samples = await page(bench)
    for name, (kind, labels) in PROXY.items():
        assert_family(kinds, samples, f"zdm_{name}", kind, labels)
        assert all(value == 0 for _, _, value in samples[f"zdm_{name}"]), f"{name} does not begin at 0"
    assert not [name for name in samples if name.startswith(("zdm_origin_", "zdm_target_", "zdm_async_"))]
    c, _ = await bench.mirrored_client()
    assert (await c.query("SELECT * FROM ks.t")).rows
    assert (await c.query("INSERT INTO ks.t (k) VALUES (1)")).kind == Kind.VOID
    kinds, samples = await page(bench)
    for prefix, cluster, families in (("origin", bench.origin, NODES), ("target", bench.target, NODES),
                                      ("async", bench.target, {**NODES, **ASYNC_ONLY})):
        node = {"node": f"{cluster.nodes[0].address}:{cluster.port}"}
        for name, (kind, labels) in families.items():
            assert_family(kinds, samples, f"zdm_{prefix}_{name}", kind, labels, node)
    known = {f"zdm_{name}" for name in PROXY} | {f"zdm_{p}_{name}" for p in ("origin", "target", "async")
                                               for name in {**NODES, **ASYNC_ONLY}}
    others = {name for name in kinds if name not in known}
    assert all(name.startswith(("zdm_cqlferry_", "process_")) for name in others), others


@pytest.mark.connections(162, 165)
async def test_without_mirrored_reads_and_prefix(make_bench):
    bench = await make_bench(fresh=True, profile="zdm", variables={"ZDM_METRICS_PREFIX": ""})
    await bench.client()
    kinds, _ = await page(bench)
    assert {name for name in PROXY} <= set(kinds) and {f"origin_{name}" for name in NODES} <= set(kinds)
    assert not [name for name in kinds if name.startswith(("async_", "zdm_"))]
