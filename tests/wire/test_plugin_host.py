"""What plugins get from the proxy: metrics, timers, pages; holds, and what plugins do wrong with them."""
import asyncio
import gzip
import json
import json
import re

import pytest

from cqlwire import Err, Kind
from helpers import assert_error
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


async def test_what_is_of_another_thread(make_bench, plugin_path):
    """Timers are made and freed in main and in workers only; a visit is for pages: otherwise nothing happens."""
    meter = await start_meter(make_bench, plugin_path)
    assert "plugin m: timer_free(): the timer is none of this thread's; nothing is done" in meter.proxy.log
    assert "a timer of a thread" not in meter.proxy.log


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
    assert "the metric cqlferry_reloads_total of a script or plugin is not shown" in meter.proxy.log
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
        if not re.search("process_|cpu_seconds_|plugin_(calls|time)_", name):  # seeing them is a call, and costs time
            assert float(seen[name if "{" in name else name + "{}"]) == value, name


async def test_status_page(make_bench, plugin_path):
    """Which plugins there are."""
    file = plugin_path("holder")
    sections = {f"plugin {name}": {"file": file, "in": "connect", "do": "nothing", "order": order}
                for name, order in (("second", 2), ("first", 1))}
    bench = await make_bench(sections=sections, profile="native")
    status, body = await bench.proxy.get("/health/status")
    assert status == 200
    assert json.loads(body)["plugins"] == [{"name": name, "plugin": "holder", "version": "1.0", "file": file}
                                           for name in ("first", "second")]


# ---- log ----

async def test_lines_that_come_again(make_bench, plugin_path):
    """The same line a thousand times is written once, and a second later how often it came."""
    meter = await start_meter(make_bench, plugin_path)
    line = "INFO  plugin m: the thread has counted to 10000"
    assert re.search(f"{line}$", meter.proxy.log, re.M)
    await meter.proxy.until_logged(rf"{line} \(\d+ times more\)")
    lines = re.findall(rf"{line}(?: \((\d+) times more\))?$", meter.proxy.log, re.M)
    assert lines[0] == "" and len(lines) <= 4
    assert sum(int(more) if more else 1 for more in lines) == 1000
    assert "ERROR plugin m: a level below all" in meter.proxy.log
    assert "DEBUG plugin m: a level above all: xxxxx" in meter.proxy.log


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
    assert await get("/meter/echo", **{"x-say": "nothing"}) == (204, b""), "whatever was given as its body"
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


async def test_pages_without_a_server(make_bench, plugin_path):
    """It is said that nobody will see them."""
    bench = await make_bench(fresh=True, wait=False, sections={"plugin m": {"file": plugin_path("meter")},
                                                               "http": {"enabled": "off"}})
    await bench.proxy.until_logged("plugin m: nobody sees its page /meter: there is no HTTP server")


async def test_one_page_of_two_instances(make_bench, plugin_path):
    sections = {f"plugin m{i}": {"file": plugin_path("meter")} for i in range(2)}
    with pytest.raises(ProxyFailure) as failure:
        await make_bench(fresh=True, sections=sections)
    assert "http_route(): plugin m0 has the page /meter already" in str(failure.value)


# ---- holds, errors and denials ----

HOOKS = {"connect": Err.UNAUTHORIZED, "credentials": Err.BAD_CREDENTIALS, "request": Err.UNAUTHORIZED}
everywhere = pytest.mark.parametrize("where", HOOKS)


class Held:
    """A proxy with the fixture holder.c as plugin h."""

    def __init__(self, bench, where):
        self.bench = bench
        self.where = where
        self.client = None

    async def ask(self):
        """What the hook is about: the answer to STARTUP, or to a query."""
        if self.where == "request":
            self.client = await self.bench.client()
            return await self.client.query("SELECT a FROM ks.t")
        self.client = await self.bench.open()
        return await self.client.startup()

    async def ask_and_hold(self):
        """The same, which is held."""
        asked = asyncio.ensure_future(self.ask())
        await self.until("plugin_held", 1)
        while not self.client:  # it is held as soon as its connection is there
            await asyncio.sleep(0)
        return asked

    async def metric(self, name, **labels):
        labels = ",".join(f'{key}="{value}"' for key, value in labels.items())
        return (await self.bench.proxy.metrics())[P + name + (f"{{{labels}}}" if labels else "")]

    async def until(self, name, value, **labels):
        labels = ",".join(f'{key}="{value}"' for key, value in labels.items())
        await self.bench.proxy.until_metric(P + name + (f"{{{labels}}}" if labels else ""), value)

    @property
    def hook(self):
        return f"on_{self.where}"

    async def passes(self, answer):
        """It is no error, and behind it all is as it always is."""
        assert not answer.is_error(), answer
        answer = await self.client.query("SELECT a FROM ks.t")
        assert answer.kind == Kind.ROWS, answer

    async def refused(self, answer, text):
        assert_error(answer, HOOKS[self.where], text)
        for cluster in self.bench.clusters:
            assert not [r for r in cluster.received if r.statement == "SELECT a FROM ks.t"], "nothing was sent"


@pytest.fixture
def holder(make_bench, plugin_path):
    async def start(where, do, **more):
        section = {"file": plugin_path("holder"), "in": where, "do": do, **more}
        return Held(await make_bench(sections={"plugin h": section}), where)
    return start


@everywhere
@pytest.mark.parametrize("do,calls", [("nothing", 1), ("resume", 2), ("twice", 2), ("again", 4), ("drop", 1)])
async def test_holds(holder, where, do, calls):
    """Held, resumed by another thread, held again: each hold is over once, and then all goes on."""
    held = await holder(where, do)
    answer = await held.ask()
    holds = {"nothing": 0, "again": 3}.get(do, 1)
    assert await held.metric("holder_calls_total") == calls
    await held.until("holder_releases_total", holds)
    assert await held.metric("plugin_held") == 0
    if do == "twice":
        await held.until("plugin_late_resumes_total", 3)
    await held.passes(answer)
    calls_of_hook = await held.metric("plugin_calls_total", plugin="h", hook=held.hook)
    assert calls_of_hook == await held.metric("holder_calls_total") >= calls
    assert await held.metric("plugin_errors_total", plugin="h", hook=held.hook, reason="hold") == 0


@everywhere
@pytest.mark.parametrize("on_error", ["deny", "pass"])
@pytest.mark.parametrize("do,reason,text", [
    ("bare", "verdict", "it returned HOLD without a ticket of hold()"),
    ("range", "verdict", "it returned a verdict that there is not"),
    ("fail", "error", "told to fail"),
    ("silent", "error", "an error without a text"),
])
async def test_errors(holder, where, on_error, do, reason, text):
    """on_error decides what becomes of what a plugin fails about; it is counted, and said in the log."""
    held = await holder(where, do, timeout="100ms", on_error=on_error)
    answer = await held.ask()
    errors = {r: await held.metric("plugin_errors_total", plugin="h", hook=held.hook, reason=r)
              for r in ("error", "hold", "verdict")}
    assert errors == {"error": 0, "hold": 0, "verdict": 0} | {reason: 1}
    assert f"plugin h: {held.hook}: {text}; on_error = {on_error}" in held.bench.proxy.log
    assert await held.metric("plugin_denials_total", plugin="h") == (on_error == "deny")
    if on_error == "pass":
        await held.passes(answer)
    else:
        await held.refused(answer, "refused by plugin h: it failed")
    assert await held.metric("plugin_held") == 0


@everywhere
@pytest.mark.parametrize("on_error", ["deny", "pass"])
async def test_never_resumed(holder, where, on_error):
    """When the time is over, that is the plugin's error, and it is not asked again."""
    held = await holder(where, "forever", timeout="100ms", on_error=on_error)
    answer = await held.ask()
    assert await held.metric("plugin_errors_total", plugin="h", hook=held.hook, reason="hold") == 1
    assert f"plugin h: {held.hook}: what it held was not resumed in time" in held.bench.proxy.log
    assert await held.metric("holder_calls_total") == 1
    assert await held.metric("holder_releases_total") == 1
    assert await held.metric("plugin_held") == 0
    if on_error == "deny":
        await held.refused(answer, "refused by plugin h: it failed")
    else:
        await held.passes(answer)


@everywhere
async def test_denial(holder, where):
    """With the code and the text that it says."""
    held = await holder(where, "deny")
    answer = await held.ask()
    assert_error(answer, Err.OVERLOADED, "denied by h")
    assert await held.metric("plugin_denials_total", plugin="h") == 1
    assert await held.metric("plugin_errors_total", plugin="h", hook=held.hook, reason="error") == 0


@everywhere
async def test_resumed_after_disconnect(holder, where):
    """The client goes while it is held: nothing is left of it, and a resume() that comes then is counted."""
    held = await holder(where, "late")
    asked = await held.ask_and_hold()
    held.client.abort()
    await held.until("plugin_late_resumes_total", 1)
    assert await held.metric("plugin_held") == 0
    assert await held.metric("holder_releases_total") == 1
    asked.cancel()


async def test_tickets_that_never_were(holder):
    held = await holder("connect", "stray")
    await held.passes(await held.ask())
    assert await held.metric("plugin_late_resumes_total") == 1, "the one that could be one"


@everywhere
async def test_end_while_held(holder, where):
    """The proxy is told to end: what is held does not keep it from that for ever."""
    held = await holder(where, "late")
    asked = await held.ask_and_hold()
    held.bench.may_be_down = True
    await held.bench.proxy.stop()
    assert held.bench.proxy.process.returncode == 0
    asked.cancel()


async def test_time_is_measured(make_bench, plugin_path):
    """Of timers and pages each call, with what they took."""
    meter = await start_meter(make_bench, plugin_path)
    await meter.proxy.get("/meter")
    metrics = await meter.proxy.metrics()
    assert metrics[P + 'plugin_calls_total{plugin="m",hook="timer"}'] == 15
    assert metrics[P + 'plugin_calls_total{plugin="m",hook="page"}'] == 1
    assert 0 < metrics[P + 'plugin_time_seconds_total{plugin="m"}'] < 5
