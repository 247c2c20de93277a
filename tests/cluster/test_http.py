"""Health and metrics pages of a proxy in front of real clusters."""

import json
import re

import pytest

from ferry import eventually

pytestmark = pytest.mark.pair("migration")

# The proxy-level families of ZDM Proxy and the label sets that exist from the start.
FAMILIES = {
    "zdm_client_connections_total": ("gauge", [""]),
    "zdm_proxy_failed_connections_total": ("counter", ['{cluster="origin"}', '{cluster="target"}']),
    "zdm_proxy_failed_reads_total": ("counter", ['{cluster="origin"}', '{cluster="target"}']),
    "zdm_proxy_failed_writes_total": ("counter", ['{failed_on="%s"}' % on for on in ("both", "origin", "target")]),
    "zdm_proxy_inflight_requests_total": ("gauge", ['{type="%s"}' % t for t in ("reads_origin", "reads_target", "writes")]),
    "zdm_pscache_entries_total": ("gauge", [""]),
    "zdm_pscache_miss_total": ("counter", [""]),
}


def metrics(ferry):
    """Samples by name and labels, and types by family."""
    status, page = ferry.get("/metrics")
    assert status == 200
    samples, types = {}, {}
    for line in page.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            types[name] = kind
        elif line and not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            assert name not in samples, "twice: %s" % name
            samples[name] = float(value)
    return samples, types


def test_liveness_and_readiness(pair, ferry):
    assert ferry.get("/health/liveness") == (200, "OK")
    status, body = ferry.get("/health/readiness")
    assert status == 200
    report = {"OriginStatus": {"Addr": "%s:9042" % pair.origin.node.address, "CurrentFailureCount": 0,
                               "FailureCountThreshold": 1, "Status": "UP"},
              "TargetStatus": {"Addr": "%s:9042" % pair.target.node.address, "CurrentFailureCount": 0,
                               "FailureCountThreshold": 1, "Status": "UP"},
              "Status": "UP"}
    assert body == json.dumps(report, separators=(",", ":"))
    assert ferry.get("/nothing/here")[0] == 404


def test_metrics_are_there_from_the_start(pair, start_ferry):
    samples, types = metrics(start_ferry(pair.environment()))
    for name, (kind, labels) in FAMILIES.items():
        assert types[name] == kind
        assert sorted(s[len(name):] for s in samples if re.fullmatch(name + r"(\{.*\})?", s)) == labels
    histogram = "zdm_proxy_request_duration_seconds"
    assert types[histogram] == "histogram"
    for kind in ("reads_origin", "reads_target", "writes"):
        assert samples['%s_count{type="%s"}' % (histogram, kind)] == 0
        assert samples['%s_bucket{type="%s",le="+Inf"}' % (histogram, kind)] == 0
        assert '%s_bucket{type="%s",le="0.001"}' % (histogram, kind) in samples


def test_metrics_follow_the_requests(pair, start_ferry, connect, keyspace):
    ferry = start_ferry(pair.environment(METRICS_PREFIX="other"))
    session = connect(ferry, login=pair.client_login)
    pair.execute("CREATE TABLE %s.t (id int PRIMARY KEY)" % keyspace)
    pair.origin.execute("CREATE TABLE %s.only_origin (id int PRIMARY KEY)" % keyspace)
    insert = session.prepare("INSERT INTO %s.t (id) VALUES (?)" % keyspace)
    before, _ = metrics(ferry)
    for key in range(10):
        session.execute(insert, (key,))
    for _ in range(4):
        session.execute("SELECT * FROM %s.t" % keyspace)
    for text in ("SELECT * FROM %s.nowhere", "INSERT INTO %s.only_origin (id) VALUES (1)",
                 "INSERT INTO %s.nowhere (id) VALUES (1)"):
        with pytest.raises(Exception, match="nowhere|only_origin"):
            session.execute(text % keyspace)
    after, _ = metrics(ferry)

    def grown(name):
        return after[name] - before[name]

    assert grown('other_proxy_request_duration_seconds_count{type="writes"}') == 12
    assert grown('other_proxy_request_duration_seconds_count{type="reads_origin"}') == 5
    assert grown('other_proxy_request_duration_seconds_count{type="reads_target"}') == 0
    assert grown('other_proxy_failed_reads_total{cluster="origin"}') == 1
    assert grown('other_proxy_failed_writes_total{failed_on="target"}') == 1
    assert grown('other_proxy_failed_writes_total{failed_on="both"}') == 1
    assert grown('other_proxy_failed_writes_total{failed_on="origin"}') == 0
    assert after["other_pscache_entries_total"] >= 1
    assert after["other_client_connections_total"] >= 2
    assert all(value == 0 for name, value in after.items() if "inflight" in name)
    session.cluster.shutdown()
    eventually("no client connection is counted", lambda: metrics(ferry)[0]["other_client_connections_total"] == 0)
