"""Health and metrics."""
import gzip
import json
import os
import re
from pathlib import Path

import pytest

from behaviour import error, mute
from cqlwire import Err, Kind
from helpers import PRIMARIES, assert_error

PROXY_LEVEL = ["client_connections_total", 'proxy_failed_connections_total{cluster="origin"}',
               'proxy_failed_connections_total{cluster="target"}', 'proxy_failed_reads_total{cluster="origin"}',
               'proxy_failed_reads_total{cluster="target"}', 'proxy_failed_writes_total{failed_on="origin"}',
               'proxy_failed_writes_total{failed_on="target"}', 'proxy_failed_writes_total{failed_on="both"}',
               'proxy_inflight_requests_total{type="reads_origin"}',
               'proxy_inflight_requests_total{type="reads_target"}',
               'proxy_inflight_requests_total{type="writes"}', "pscache_entries_total", "pscache_miss_total"]
TYPES = ("reads_origin", "reads_target", "writes")


def changes(before, after):
    """What has changed between two scrapes, histograms by their count only."""
    return {name: after[name] - before.get(name, 0) for name in after
            if after[name] != before.get(name, 0) and "_bucket" not in name and "_sum" not in name}


def requests_counted(before, after):
    return {t: after[f'zdm_proxy_request_duration_seconds_count{{type="{t}"}}'] -
            before[f'zdm_proxy_request_duration_seconds_count{{type="{t}"}}'] for t in TYPES}


@pytest.mark.connections(154)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
async def test_liveness(bench, method):
    assert await bench.proxy.get("/health/liveness", method) == (200, b"OK")


@pytest.mark.connections(156)
async def test_readiness(bench):
    status, body = await bench.proxy.get("/health/readiness")
    assert status == 200
    report = json.loads(body)
    more = [] if bench.is_zdm else ["Primary", "PrimaryEpoch"]
    assert list(report) == ["OriginStatus", "TargetStatus", "Status"] + more
    assert report["Status"] == "UP"
    for cluster in bench.clusters:
        part = report[f"{cluster.name.capitalize()}Status"]
        assert list(part) == ["Addr", "CurrentFailureCount", "FailureCountThreshold", "Status"]
        assert part == {"Addr": f"{cluster.nodes[0].address}:{cluster.port}", "CurrentFailureCount": 0,
                        "FailureCountThreshold": 1, "Status": "UP"}
    assert not body.endswith(b"\n")


@pytest.mark.connections(159, 160)
@pytest.mark.parametrize("method,path", [("POST", "/health/readiness"), ("HEAD", "/health/readiness"), ("GET", "/"),
                                         ("GET", "/health"), ("GET", "/metrics/x"), ("GET", "/health/readiness/")])
async def test_what_is_not_there(bench, method, path):
    assert (await bench.proxy.get(path, method))[0] == 404


@pytest.mark.checklist(254)
async def test_everything_starts_at_zero(make_bench):
    bench = await make_bench(fresh=True)
    samples = await bench.proxy.metrics()
    for name in PROXY_LEVEL:
        assert samples[f"zdm_{name}"] == 0, name
    for kind in TYPES:
        assert samples[f'zdm_proxy_request_duration_seconds_count{{type="{kind}"}}'] == 0
        assert samples[f'zdm_proxy_request_duration_seconds_bucket{{type="{kind}",le="+Inf"}}'] == 0


@pytest.mark.connections(163, 164)
@pytest.mark.checklist(255, 256, 257, 259, 266)
@pytest.mark.parametrize("primary", PRIMARIES)
async def test_what_is_counted(make_bench, primary):
    bench = await make_bench(primary=primary)
    before = await bench.proxy.metrics()
    c = await bench.client()
    samples = await bench.proxy.metrics()
    assert samples["zdm_client_connections_total"] == 1
    assert requests_counted(before, samples) == dict.fromkeys(TYPES, 0)
    # neither of these is a tracked request
    await c.options()
    await c.register("SCHEMA_CHANGE")
    await c.query("SELECT * FROM system.local")
    read = await c.prepare("SELECT * FROM ks.t")
    write = await c.prepare("INSERT INTO ks.t (k) VALUES (1)")
    samples = await bench.proxy.metrics()
    assert requests_counted(before, samples) == dict.fromkeys(TYPES, 0)
    for _ in range(3):
        await c.query("SELECT * FROM ks.t")
        await c.execute(read)
    await c.query("INSERT INTO ks.t (k) VALUES (1)")
    await c.execute(write)
    await c.batch([("INSERT INTO ks.t (k) VALUES (1)", [])])
    await c.use("ks")
    await c.query("CREATE TABLE ks.t2 (k int PRIMARY KEY)")
    counted = requests_counted(before, await bench.proxy.metrics())
    assert counted == {"writes": 5, f"reads_{primary}": 6, f"reads_{bench.secondary.name}": 0}
    await c.close()
    await bench.proxy.until_metric("zdm_client_connections_total", 0)


@pytest.mark.checklist(261)
async def test_failures_are_counted(bench):
    c = await bench.client()
    before = await bench.proxy.metrics()
    bench.origin.on("ks.o", error(Err.INVALID))
    bench.target.on("ks.t", error(Err.INVALID))
    for cluster in bench.clusters:
        cluster.on("ks.b", error(Err.INVALID))
    for table in ("o", "t", "t", "b", "b", "b"):
        assert_error(await c.query(f"INSERT INTO ks.{table} (k) VALUES (1)"), Err.INVALID)
    for _ in range(4):
        assert_error(await c.query("SELECT * FROM ks.o"), Err.INVALID)
    found = changes(before, await bench.proxy.metrics())
    expected = {'zdm_proxy_failed_writes_total{failed_on="origin"}': 1,
                'zdm_proxy_failed_writes_total{failed_on="target"}': 2,
                'zdm_proxy_failed_writes_total{failed_on="both"}': 3,
                'zdm_proxy_failed_reads_total{cluster="origin"}': 4}
    assert {name: found.get(name) for name in expected} == expected
    assert 'zdm_proxy_failed_reads_total{cluster="target"}' not in found


@pytest.mark.checklist(262, 263)
async def test_a_time_out_is_observed(make_bench):
    bench = await make_bench(sections={"proxy": {"request_timeout": "1500ms"}})
    bench.origin.on("ks.t", mute())
    c = await bench.client()
    before = await bench.proxy.metrics()
    assert_error(await c.query("SELECT * FROM ks.t"), Err.READ_TIMEOUT)
    after = await bench.proxy.metrics()
    assert requests_counted(before, after)["reads_origin"] == 1
    assert after['zdm_proxy_inflight_requests_total{type="reads_origin"}'] == 0
    name = 'zdm_proxy_request_duration_seconds_sum{type="reads_origin"}'
    assert 1.4 < after[name] - before[name] < 8


@pytest.mark.checklist(256)
async def test_buckets(make_bench):
    bench = await make_bench(fresh=True, sections={"http": {"origin_latency_buckets_ms": "1, 250, 60000"}})
    c = await bench.client()
    assert (await c.query("INSERT INTO ks.t (k) VALUES (1)")).kind == Kind.VOID
    samples = await bench.proxy.metrics()
    buckets = [(name.split('le="')[1].rstrip('"}'), value) for name, value in samples.items()
               if name.startswith('zdm_proxy_request_duration_seconds_bucket{type="writes"')]
    assert [float(bound) for bound, _ in buckets] == [0.001, 0.25, 60.0, float("inf")]
    assert [value for _, value in buckets][-2:] == [1, 1]


@pytest.mark.connections(162)
@pytest.mark.checklist(268)
async def test_another_prefix(make_bench):
    bench = await make_bench(fresh=True, sections={"http": {"metrics_prefix": "ferry"}})
    samples = await bench.proxy.metrics()
    assert samples["ferry_client_connections_total"] == 0
    assert not [name for name in samples if name.startswith("zdm_")]


@pytest.mark.checklist(268)
async def test_metrics_can_be_switched_off(make_bench):
    bench = await make_bench(fresh=True, sections={"http": {"metrics_enabled": "false"}})
    assert await bench.proxy.get("/metrics") == (404, b"Metrics are disabled on this proxy instance.\n")
    assert (await bench.proxy.get("/health/readiness"))[0] == 200


@pytest.mark.checklist(254)
async def test_metrics_are_well_formed(bench):
    """Each family has one TYPE line before its samples, no sample comes twice."""
    c = await bench.client()
    await c.query("SELECT * FROM ks.t")
    status, body = await bench.proxy.get("/metrics")
    assert status == 200
    families, seen = {}, set()
    for line in body.decode().splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert name not in families
            families[name] = kind
        elif line and not line.startswith("#"):
            sample = line.rpartition(" ")[0]
            assert sample not in seen
            seen.add(sample)
            name = sample.split("{")[0]
            base = name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count")
            assert families.get(name) in ("counter", "gauge") or families.get(base) == "histogram", line
    assert families["zdm_client_connections_total"] == "gauge"
    assert families["zdm_proxy_request_duration_seconds"] == "histogram"
    assert families["zdm_pscache_miss_total"] == "counter"
    for kind in TYPES:
        counts = [float(line.rpartition(" ")[2]) for line in body.decode().splitlines()
                  if line.startswith(f'zdm_proxy_request_duration_seconds_bucket{{type="{kind}"')]
        assert counts == sorted(counts) and counts


# ---- ready_when ----

NOT_READY_SECONDARY = {"http": {"ready_when": "primary"}, "proxy": {"heartbeat_interval": "100ms",
                       "heartbeat_retry_interval_min": "50ms", "heartbeat_retry_interval_max": "100ms"}}


async def statuses(bench):
    status, report = await bench.proxy.readiness()
    return status, report["OriginStatus"]["Status"], report["TargetStatus"]["Status"], report["Status"]


@pytest.mark.parametrize("primary", PRIMARIES)
async def test_ready_while_the_secondary_is_down(make_bench, primary):
    """ready_when = primary: only the loss of the primary makes the whole unready."""
    bench = await make_bench(fresh=True, profile="native", primary=primary, sections=NOT_READY_SECONDARY)
    down = {"origin": ("DOWN", "UP"), "target": ("UP", "DOWN")}

    async def secondary_is_down():
        return await statuses(bench) == (200, *down[bench.secondary.name], "UP")

    async def primary_is_down():
        return await statuses(bench) == (503, *down[bench.primary.name], "DOWN")

    async def all_is_well():
        return await statuses(bench) == (200, "UP", "UP", "UP")
    await bench.secondary.stop()
    await bench.proxy.until(secondary_is_down, "report of the secondary's loss")
    await bench.secondary.start()
    await bench.proxy.until(all_is_well, "readiness")
    await bench.primary.stop()
    await bench.proxy.until(primary_is_down, "report of the primary's loss")


@pytest.mark.parametrize("primary", PRIMARIES)
async def test_start_without_the_secondary(make_bench, primary):
    """ready_when = primary: listeners open, drivers may ask what we speak; all is well when the other cluster comes."""
    bench = await make_bench(fresh=True, profile="native", primary=primary, sections=NOT_READY_SECONDARY)
    await bench.proxy.stop()
    await bench.secondary.stop()
    await bench.start_proxy()
    status, report = await bench.proxy.readiness()
    assert status == 200 and report["Status"] == "UP"
    part = report[f"{bench.secondary.name.capitalize()}Status"]
    assert (part["Addr"], part["Status"]) == ("NOT_CONNECTED", "DOWN")
    c = await bench.open()
    assert "4/v4" in (await c.options()).options["PROTOCOL_VERSIONS"]
    await bench.secondary.start()

    async def all_is_well():
        return await statuses(bench) == (200, "UP", "UP", "UP")
    await bench.proxy.until(all_is_well, "readiness")
    client = await bench.client()
    assert (await client.query("SELECT * FROM ks.t")).rows
    await bench.settle(client)


@pytest.mark.parametrize("primary", PRIMARIES)
async def test_the_zdm_profile_waits_for_both(make_bench, primary):
    bench = await make_bench(fresh=True, profile="native", primary=primary, sections=NOT_READY_SECONDARY)
    await bench.proxy.stop()
    bench.profile = None
    bench.sections["proxy"]["profile"] = "zdm"
    await bench.secondary.stop()
    await bench.start_proxy(wait=False)
    await bench.proxy.until_logged(f"{bench.secondary.name} .*next try in")
    assert (await bench.proxy.readiness())[0] == 503
    with pytest.raises(OSError):
        await bench.open()
    await bench.secondary.start()
    await bench.proxy.ready()


async def test_an_unknown_ready_when(make_bench):
    bench = await make_bench(fresh=True, profile="native", sections={"http": {"ready_when": "origin"}}, wait=False)
    bench.may_be_down = True
    await bench.proxy.never_ready("ready_when.*both.*primary", exit_code=1)


@pytest.mark.checklist(254)
async def test_a_compressed_page(bench):
    """For those who accept it, as Prometheus does; the same page, in a tenth of its length."""
    plain = await bench.proxy.fetch("/metrics")
    assert plain.status == 200 and "content-encoding" not in plain.headers
    packed = await bench.proxy.fetch("/metrics", {"Accept-Encoding": "gzip"})
    assert packed.status == 200 and packed.headers["content-encoding"] == "gzip"
    assert packed.headers["content-type"] == plain.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert len(packed.body) < len(plain.body) / 5

    def families(text):
        return [line for line in text.decode().splitlines() if line.startswith("#")]
    assert families(gzip.decompress(packed.body)) == families(plain.body)
    refused = await bench.proxy.fetch("/metrics", {"Accept-Encoding": "gzip;q=0, identity"})
    assert "content-encoding" not in refused.headers


async def test_the_process(bench):
    """What Prometheus' clients say of every process, whatever the prefix of the other names is."""
    samples = await bench.proxy.metrics()
    pid = bench.proxy.process.pid
    assert samples["process_open_fds"] == pytest.approx(len(os.listdir(f"/proc/{pid}/fd")), abs=3)
    status = Path(f"/proc/{pid}/status").read_text()
    resident = int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1)) * 1024
    assert samples["process_resident_memory_bytes"] == pytest.approx(resident, rel=0.3)
    assert samples["process_virtual_memory_bytes"] > resident
    assert samples["process_max_fds"] >= samples["process_open_fds"]
    assert 0 < samples["process_cpu_seconds_total"] < 1000
    assert abs(samples["process_start_time_seconds"] - os.stat(f"/proc/{pid}").st_mtime) < 60
