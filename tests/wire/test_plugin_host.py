"""What plugins get from the proxy: metrics, timers, pages; holds, and what plugins do wrong with them."""
import gzip
import json
import re

import pytest

from proxy import ProxyFailure

P = "zdm_cqlferry_"


async def start_meter(make_bench, plugin_path):
    """With the fixture meter.c, when its timers and its thread have counted all that they will."""
    bench = await make_bench(sections={"plugin m": {"file": plugin_path("meter")}})
    await bench.proxy.until_metric(P + 'meter_ticks_total{where="worker"}', 10)
    await bench.proxy.until_metric(P + 'meter_ticks_total{where="main"}', 5)
    await bench.proxy.until_metric(P + r'meter_seconds_bucket{le="+Inf"}', 16)
    return bench


# ---- metrics ----

async def test_metrics_from_all_threads(make_bench, plugin_path):
    """Counters, gauges and histograms from main, two workers and a thread of the plugin's."""
    meter = await start_meter(make_bench, plugin_path)
    metrics = await meter.proxy.metrics()
    assert metrics[P + r'meter_thread_total{what="a \"b\""}'] == 10000
    assert metrics[P + "meter_gauge"] == 10 + 1 + 2 + 100, "each share is what was set last"
    assert metrics[P + 'meter_seconds_bucket{le="0.005"}'] == 15
    assert metrics[P + 'meter_seconds_bucket{le="1"}'] == 15
    assert metrics[P + "meter_seconds_count"] == 16
    assert metrics[P + "meter_seconds_sum"] == 15 * 0.005 + 2
    assert "plugin m: the thread has counted to 10000" in meter.proxy.log


async def test_wrong_metrics(make_bench, plugin_path):
    """They are not there, it is said why, and the page is sound."""
    meter = await start_meter(make_bench, plugin_path)
    _, body = await meter.proxy.get("/metrics")
    assert b"meter_wrong" not in body and b"cqlferry_9" not in body
    for name, labels in (("meter ticks", ""), ("meter_wrong", "a=b"), ("9", "")):
        assert f"plugin m: '{name}' with the labels '{labels}' is no metric" in meter.proxy.log
    assert "the bounds of the histogram meter_wrong make no sense" in meter.proxy.log
    assert "there is no metric meter_ticks_total: it has another type, or there are too many already" \
        in meter.proxy.log
    types = re.findall(r"^# TYPE (\S+) ", body.decode(), re.M)
    assert len(types) == len(set(types)), "no family twice"


async def test_visit(make_bench, plugin_path):
    """A visit sees each line of the page."""
    meter = await start_meter(make_bench, plugin_path)
    status, body = await meter.proxy.get("/meter")
    assert status == 200
    seen = dict(re.fullmatch(r"(.+) (\S+) \(\w+\)", line).groups() for line in body.decode().splitlines())
    metrics = await meter.proxy.metrics()
    assert len(seen) == len(metrics)
    for name, value in metrics.items():
        if "process_" not in name:
            assert float(seen[name if "{" in name else name + "{}"]) == value, name


# ---- pages ----

async def test_pages(make_bench, plugin_path):
    """Status, headers, what a handler forgets, methods that pages of plugins do not know."""
    meter = await start_meter(make_bench, plugin_path)
    async def get(path, method="GET", **headers):
        answer = await meter.proxy.fetch(path, headers, method)
        return answer.status, answer.body

    assert await get("/meter/echo", **{"x-say": "hello"}) == (202, b"hello")
    assert (await get("/meter/echo"))[0] == 500, "1000 is no status"
    assert (await get("/meter/silent"))[0] == 500
    assert await get("/meter/echo?a=1", **{"X-SAY": "query"}) == (202, b"query")
    assert (await get("/meter/none"))[0] == 404
    assert (await get("/meter/", **{"x-say": "hello"}))[0] == 404
    assert await get("/meter/echo", "HEAD", **{"x-say": "hello"}) == (202, b"")
    assert (await get("/meter/echo", "POST", **{"x-say": "hello"}))[0] == 405


async def test_pages_are_packed(make_bench, plugin_path):
    meter = await start_meter(make_bench, plugin_path)
    answer = await meter.proxy.fetch("/meter", {"Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip" and answer.headers["content-type"] == "text/x-lines"
    assert b"client_connections_total{} " in gzip.decompress(answer.body)


@pytest.mark.parametrize("wrong,message", [
    ("ours", "http_route(): the page /health/mine is the proxy's own"),
    ("twice", "http_route(): plugin m has the page /meter already"),
    ("path", "http_route(): 'meter page' is no path: a slash, and then"),
])
async def test_pages_that_cannot_be(make_bench, plugin_path, wrong, message):
    """The plugin is told why, and does not open."""
    sections = {"plugin m": {"file": plugin_path("meter"), "wrong": wrong}}
    with pytest.raises(ProxyFailure) as failure:
        await make_bench(fresh=True, sections=sections)
    assert message in str(failure.value)


async def test_one_page_of_two_instances(make_bench, plugin_path):
    sections = {f"plugin m{i}": {"file": plugin_path("meter")} for i in range(2)}
    with pytest.raises(ProxyFailure) as failure:
        await make_bench(fresh=True, sections=sections)
    assert "http_route(): plugin m0 has the page /meter already" in str(failure.value)
