"""The plugin prometheus: its page is OpenMetrics, counts what happens, and is bounded whatever comes."""
import asyncio
import json
import re

import pytest
import yaml

from behaviour import Hold, error, rows
from certificates import Authority
from cqlwire import CL, Column, Err, Op, Type
from fakecluster import Auth
from helpers import assert_error
from openmetrics import assert_rising, scrape
from policies import settings as scripts
from proxy import ROOT

pytestmark = pytest.mark.native

WRONG = {
    "labels": ("keyspace tables", "'keyspace tables': allowed are keyspace, table, kind, route, outcome"),
    "path": ("metrics", "'metrics' is no path of a page"),
    "buckets": ("0.1 0.01", "each bound has to be larger than the one before it"),
    "added_buckets": ("0.1 soon", "not a list of seconds"),
    "tables": ("1001", "1000"),
}
STATEMENTS = "zdm_cqlferry_statements_total"
USERS = "zdm_cqlferry_user_statements_total"
PAGE_CPU = "zdm_cqlferry_prometheus_page_cpu_seconds_total"
DRIVERS = "zdm_cqlferry_driver_statements_total"


def section(plugin_path, **options):
    return {"plugin prometheus": {"file": plugin_path("prometheus"), **options}}


async def until(bench, condition, what):
    """Answers reach the client before the last of them is counted; scrapes until the page is so."""
    async def is_so():
        page = await scrape(bench)
        return page if condition(page) else None
    return await bench.proxy.until(is_so, what)


@pytest.mark.parametrize("option", WRONG)
async def test_options_that_are_wrong(make_bench, plugin_path, option):
    """What is wrong is named, with what is allowed; the process ends with 1."""
    value, message = WRONG[option]
    bench = await make_bench(fresh=True, wait=False, sections=section(plugin_path, **{option: value}))
    await bench.proxy.never_ready(f"{option}.*{message}", exit_code=1)
    bench.may_be_down = True


async def test_path_of_another_page(make_bench, plugin_path):
    """A page that is there already is not taken over."""
    bench = await make_bench(fresh=True, wait=False, sections=section(plugin_path, path="/metrics"))
    await bench.proxy.never_ready("plugin prometheus.*/metrics", exit_code=1)
    bench.may_be_down = True


async def test_page_has_all_of_metrics(make_bench, plugin_path):
    """Each series of /metrics is there, under the name that OpenMetrics gives it, and the text is what its parser takes."""
    bench = await make_bench(fresh=True, sections=section(plugin_path))
    client = await bench.client()
    assert not (await client.query("INSERT INTO ks.t (k) VALUES (1)")).is_error()
    assert not (await client.query("SELECT a FROM ks.t")).is_error()
    await scrape(bench)
    page = await scrape(bench)
    status, body = await bench.proxy.get("/metrics")
    types = dict(re.findall(r"^# TYPE (\w+) (\w+)$", body.decode(), re.M))
    missing = []
    for name, type_ in types.items():
        ours = name if type_ == "histogram" else name.removesuffix("_total").removesuffix("_info")
        family = page.families.get(ours)
        if family is None or family.type != ("info" if name.endswith("_info") else type_):
            missing.append((name, type_))
        elif name.endswith(("_seconds", "_seconds_total")):
            assert family.unit == "seconds", name
        elif name.endswith("_bytes"):
            assert family.unit == "bytes", name
        if family is not None:
            assert family.documentation
    assert not missing, missing
    assert len(types) > 50
    assert page.value("zdm_cqlferry_build_info", version=page.values("zdm_cqlferry_build_info", "version").pop()) == 1
    assert page.values("zdm_proxy_request_duration_seconds_bucket", "le") >= {"1.0", "+Inf"}


async def test_other_path_and_compressed(make_bench, plugin_path):
    """The page is where `path` says, and nowhere else; it is sent compressed to those who take that."""
    bench = await make_bench(fresh=True, sections=section(plugin_path, path="/own/page"))
    assert (await bench.proxy.get("/openmetrics"))[0] == 404
    page = await scrape(bench, "/own/page")
    assert page.value("process_open_fds") > 0


@pytest.mark.parametrize("prefix", ["mine", ""])
async def test_prefix(make_bench, plugin_path, prefix):
    """Series of the plugin begin as all others do: with `metrics_prefix`, or with none."""
    bench = await make_bench(fresh=True, sections=section(plugin_path) | {"http": {"metrics_prefix": prefix}})
    client = await bench.client()
    assert not (await client.query("SELECT a FROM ks.t")).is_error()
    start = prefix + "_" if prefix else ""
    page = await until(bench, lambda p: p.sum(f"{start}cqlferry_statements_total", table="t") == 1, "counts")
    assert page.value(f"{start}client_connections") == 1


async def test_statements_by_their_labels(make_bench, plugin_path):
    """Keyspace, table, kind, route and outcome of QUERY, PREPARE, EXECUTE and BATCH; prepared ones from their slot."""
    bench = await make_bench(fresh=True, sections=section(plugin_path))
    client = await bench.client(keyspace="shop")
    prepared = await client.prepare("INSERT INTO orders (k) VALUES (?)")
    for _ in range(5):
        assert not (await client.execute(prepared, values=[b"\0\0\0\1"])).is_error()
    for _ in range(2):
        assert not (await client.query("SELECT a FROM orders")).is_error()
    assert not (await client.batch([("INSERT INTO a.x (k) VALUES (1)", []),
                                    ("INSERT INTO b.y (k) VALUES (1)", [])])).is_error()
    assert not (await client.batch([("INSERT INTO a.x (k) VALUES (1)", []),
                                    ("INSERT INTO a.y (k) VALUES (1)", [])])).is_error()
    await client.query("SELECT * FROM system.local")
    page = await until(bench, lambda p: p.sum(STATEMENTS, keyspace="system") == 1, "counts")
    shop = {"keyspace": "shop", "table": "orders", "outcome": "answered"}
    assert page.value(STATEMENTS, kind="prepare", route="both", **shop) == 1
    assert page.value(STATEMENTS, kind="write", route="both", **shop) == 5
    assert page.value(STATEMENTS, kind="read", route="origin", **shop) == 2
    assert page.sum(STATEMENTS, keyspace="*", table="*", kind="write", route="both") == 1
    assert page.sum(STATEMENTS, keyspace="a", table="*", kind="write", route="both") == 1
    assert page.value(STATEMENTS, keyspace="system", table="local", kind="read", route="none", outcome="local") == 1
    assert page.value("zdm_cqlferry_statement_duration_seconds_count", kind="write", route="both") == 7
    assert page.value("zdm_cqlferry_cluster_duration_seconds_count", cluster="target", kind="write") == 7
    assert page.value("zdm_cqlferry_cluster_duration_seconds_count", cluster="target", kind="read") == 0
    assert page.value("zdm_cqlferry_added_duration_seconds_count") >= 10


async def test_outcomes_and_errors(make_bench, plugin_path):
    """Errors of clusters, of the proxy and of scripts, by code and by whose they are."""
    lua = 'proxy.on_request("no", { tables = { "ks.secret" } }, function(req) return req:deny("unauthorized", "no") end)\n'
    bench = await make_bench(fresh=True, configure=scripts({"a.lua": lua}),
                             sections=section(plugin_path) | {"proxy": {"request_timeout": "1s"}})
    client = await bench.client()
    bench.origin.on("ks.broken", error(Err.OVERLOADED))
    bench.target.on("ks.half", error(Err.WRITE_TIMEOUT, consistency=CL.ONE, received=0, required=1, write_type="SIMPLE"))
    hold = Hold()
    bench.origin.on("ks.slow", hold)
    assert_error(await client.query("SELECT a FROM ks.broken"), Err.OVERLOADED)
    assert (await client.query("INSERT INTO ks.half (k) VALUES (1)")).is_error()
    assert_error(await client.query("SELECT a FROM ks.secret"), Err.UNAUTHORIZED)
    assert (await client.query("SELECT a FROM ks.slow")).is_error()
    hold.release()
    page = await until(bench, lambda p: p.sum(STATEMENTS, keyspace="ks") == 4, "counts")
    assert page.value(STATEMENTS, keyspace="ks", table="broken", kind="read", route="origin", outcome="failed") == 1
    assert page.value(STATEMENTS, keyspace="ks", table="half", kind="write", route="both", outcome="failed") == 1
    assert page.sum(STATEMENTS, keyspace="ks", table="secret", outcome="denied") == 1
    assert page.sum(STATEMENTS, keyspace="ks", table="slow", outcome="refused") == 1
    assert page.value("zdm_cqlferry_errors_total", **{"from": "origin", "code": "OVERLOADED"}) == 1
    assert page.value("zdm_cqlferry_errors_total", **{"from": "target", "code": "WRITE_TIMEOUT"}) == 1
    assert page.value("zdm_cqlferry_errors_total", **{"from": "proxy", "code": "UNAUTHORIZED"}) == 1
    assert page.sum("zdm_cqlferry_errors_total", **{"from": "proxy"}) == 2
    assert page.value("zdm_cqlferry_cluster_errors_total", cluster="target", code="WRITE_TIMEOUT") == 1
    assert page.value("zdm_cqlferry_cluster_errors_total", cluster="origin", code="OVERLOADED") == 1
    assert page.value("zdm_cqlferry_decided_statements_total", by="script") == 1


async def test_users_and_drivers(make_bench, plugin_path):
    """Who has logged in, and by what driver; what is no UTF-8 or has quotes is shown so that the page can be read."""
    users = {"ann": "a", 'b"o\\b': "b", "other": "c"}
    auth = {"auth": Auth({"proxy": "proxy-password"} | users)}
    bench = await make_bench(fresh=True, origin=auth, target=auth, sections=section(plugin_path))
    for user, password in users.items():
        client = await bench.client(user=user, password=password,
                                    options={"DRIVER_NAME": "d " + user, "DRIVER_VERSION": "1.0\n"})
        assert not (await client.query("SELECT a FROM ks.t")).is_error()
    page = await until(bench, lambda p: p.sum(USERS) == 3, "counts")
    assert {user: page.value(USERS, user=user, outcome="answered") for user in users} == dict.fromkeys(users, 1)
    assert page.value(DRIVERS, driver='d b"o\\b', version="1.0?", outcome="answered") == 1
    assert page.value("zdm_cqlferry_tracked_names", of="users") == 2, "other has no number of its own"


async def test_names_without_number(make_bench, plugin_path):
    """
    Thousands of tables, many drivers: N series and other, sums that are exact, numbers that are bounded. (Those of
    10000 names each are in tests/unit/test_prometheus.c.)
    """
    bench = await make_bench(fresh=True, sections=section(plugin_path, tables=5, users=3, drivers=2))
    client = await bench.client()
    for _ in range(50):
        assert not (await client.query("SELECT a FROM ks.known")).is_error()
    assert (await until(bench, lambda p: p.sum(STATEMENTS) == 50, "counts")).sum(STATEMENTS, table="known") == 50
    for start in range(0, 2500, 500):
        streams = [client.send_query(f"SELECT a FROM ks.t{n}") for n in range(start, start + 500)]
        for stream in streams:
            await client.answer(stream)
    for n in range(100):
        other = await bench.client(options={"DRIVER_NAME": f"driver {n}", "DRIVER_VERSION": str(n)})
        assert not (await other.query("SELECT a FROM ks.known")).is_error()
        await other.close()
    page = await until(bench, lambda p: p.sum(STATEMENTS) == 2650, "counts")
    assert page.sum(STATEMENTS, table="known") == 150
    assert len(page.values(STATEMENTS, "table")) == 6 and "other" in page.values(STATEMENTS, "table")
    assert len(page.values(DRIVERS, "driver")) == 3 and page.sum(DRIVERS) == 2650
    assert page.value("zdm_cqlferry_tracked_names", of="tables") <= 5 * 4 + 16
    assert page.value("zdm_cqlferry_tracked_names", of="drivers") <= 2 * 4 + 16


async def test_fewer_labels(make_bench, plugin_path):
    """`labels` says which ones there are; with tables = 0 none has a name in it."""
    bench = await make_bench(fresh=True, sections=section(plugin_path, labels="keyspace kind"))
    client = await bench.client()
    for table in ("x", "y", "z"):
        assert not (await client.query(f"SELECT a FROM ks.{table}")).is_error()
    page = await until(bench, lambda p: p.sum(STATEMENTS) == 3, "counts")
    assert page.value(STATEMENTS, keyspace="ks", kind="read") == 3
    assert page.value("zdm_cqlferry_statement_duration_seconds_count", kind="read") == 3
    await bench.proxy.stop()
    bench.sections["plugin prometheus"].update(labels="table outcome", tables=0)
    await bench.start_proxy()
    client = await bench.client()
    assert not (await client.query("SELECT a FROM ks.t")).is_error()
    page = await until(bench, lambda p: p.sum(STATEMENTS) == 1, "counts")
    assert page.value(STATEMENTS, outcome="answered") == 1
    assert page.value("zdm_cqlferry_tracked_names", of="tables") == 0


async def test_counters_over_a_reload(make_bench, plugin_path):
    """A reload, also one that changes settings, sets nothing back; options of the plugin need a restart."""
    bench = await make_bench(fresh=True, sections=section(plugin_path))
    client = await bench.client()
    prepared = await client.prepare("SELECT a FROM ks.t WHERE k = ?")
    for _ in range(4):
        assert not (await client.execute(prepared, values=[b"\0\0\0\1"])).is_error()
    before = await until(bench, lambda p: p.sum(STATEMENTS, kind="read") == 4, "counts")
    await bench.reload(routing={"primary": "target"})
    for _ in range(3):
        assert not (await client.execute(prepared, values=[b"\0\0\0\1"])).is_error()
    after = await until(bench, lambda p: p.sum(STATEMENTS, kind="read") == 7, "counts")
    assert_rising(before, after)
    assert after.sum(STATEMENTS, kind="read", route="origin") == 4
    assert after.sum(STATEMENTS, kind="read", route="target") == 3
    log = await bench.reload("refused", **{"plugin prometheus": {"tables": "7"}})
    assert "restart" in log
    assert_rising(after, await scrape(bench))


async def test_pages_under_load(make_bench, plugin_path):
    """Pages while clients are busy: each can be read, no counter ever falls, and the clients get all their answers."""
    bench = await make_bench(fresh=True, sections=section(plugin_path, tables=3))
    clients = [await bench.client() for _ in range(4)]
    answers = 0
    is_over = False

    async def ask(client, number):
        nonlocal answers
        for n in range(25):
            streams = [client.send_query(f"SELECT a FROM ks.t{(n * 7 + number + i) % 20}") for i in range(20)]
            for stream in streams:
                answer = await client.answer(stream)
                assert answer.opcode == Op.RESULT, answer
                answers += 1

    async def watch():
        last = await scrape(bench)
        pages = 1
        while not is_over:
            page = await scrape(bench)
            assert_rising(last, page)
            last, pages = page, pages + 1
        return pages
    watching = asyncio.create_task(watch())
    await asyncio.gather(*(ask(client, n) for n, client in enumerate(clients)))
    is_over = True
    assert await watching > 2
    assert answers == 2000
    page = await until(bench, lambda p: p.sum(STATEMENTS) == answers, "counts")
    assert len(page.values(STATEMENTS, "table")) <= 4
    assert page.sum("zdm_cqlferry_turn_seconds_count", of="answers") <= answers
    assert page.value("zdm_cqlferry_worker_busy_seconds_total") > 0


async def test_what_a_page_costs(make_bench, plugin_path):
    """
    500 series: under 1 ms of one processor, which is 0.25 to 0.4 as it is installed. A build with sanitizers takes up to
    ten times as much; what grows faster than the series is found with that, too.
    """
    bench = await make_bench(fresh=True, sections=section(plugin_path, tables=200))
    c = await bench.client()
    for n in range(200):
        await c.query(f"SELECT a FROM ks.t{n}")
        await c.query(f"INSERT INTO ks.t{n} (k) VALUES (1)")
    page = await until(bench, lambda p: p.sum(STATEMENTS) == 400, "counts")
    costs = []
    for _ in range(20):
        last, page = page, await scrape(bench)
        costs.append(page.sum(PAGE_CPU) - last.sum(PAGE_CPU))
    assert len(page.values(STATEMENTS, "table")) == 200
    assert 0 < min(costs) < 0.010, costs


async def test_what_workers_have(make_bench, plugin_path):
    """Pools, TLS sessions and memory are what the workers had when the page before was made."""
    bench = await make_bench(fresh=True, sections=section(plugin_path) | {
        "proxy": {"backend_connections": "pooled", "pool_idle_timeout": "50ms"}})
    client = await bench.client()
    assert not (await client.query("INSERT INTO ks.t (k) VALUES (1)")).is_error()
    page = await until(bench, lambda p: p.value("zdm_cqlferry_pool_connections", cluster="origin") > 0 and
                       p.value("zdm_cqlferry_pools", cluster="target") > 0 and
                       p.value("zdm_cqlferry_buffers", state="free") > 0 and
                       p.value("zdm_cqlferry_buffers_free_bytes") > 0 and
                       p.value("zdm_cqlferry_cached_objects", of="requests", state="free") > 0, "what workers have")
    assert page.value("zdm_cqlferry_pool_waiting_requests", cluster="origin") == 0


async def test_tls_sessions(make_bench, plugin_path, tmp_path):
    """Handshakes of clients that succeed, fail and are given up, and sessions that are open."""
    authority = Authority(tmp_path, "prometheus test CA")

    def configure(bench):
        cert, key = authority.certificate([bench.proxy.listen[0]])
        bench.sections["listener"] = {"tls_cert": cert, "tls_key": key}
        bench.sections["proxy"] = {"handshake_timeout": "2s"}
    bench = await make_bench(fresh=True, configure=configure, sections=section(plugin_path))

    def is_so(done, failed, still_open):
        name = "zdm_cqlferry_tls_handshakes_total"
        return lambda p: (p.value(name, side="clients", result="ok"), p.value(name, side="clients", result="failed"),
                          p.value("zdm_cqlferry_tls_sessions", side="clients")) == (done, failed, still_open)
    clients = [await bench.client(ssl=authority.client()) for _ in range(2)]
    await until(bench, is_so(2, 0, 2), "two sessions")
    await clients[0].close()
    await until(bench, is_so(2, 0, 1), "one session")
    _, plain = await asyncio.open_connection(*bench.proxy.listen)
    plain.write(b"\x04\0\0\1\5\0\0\0\0" * 3)
    await until(bench, is_so(2, 1, 1), "a failed handshake")
    _, silent = await asyncio.open_connection(*bench.proxy.listen)
    await until(bench, is_so(2, 2, 1), "a handshake that is given up")
    for writer in (plain, silent):
        writer.close()


# ---- the dashboard and the alerts ----

#: labels that Prometheus adds, and metrics of its own
OF_PROMETHEUS = {"instance", "job"}, {"up"}
KEYWORDS = {"and", "or", "unless", "bool", "offset"}


def read_expression(text):
    """
    What a PromQL expression names: [(metric, labels in its braces)], and the labels that it groups by. Names in front of
    a bracket are functions.
    """
    text = re.sub(r"\[[^\]]*\]", "", text.replace("$instance", ".*"))
    groups = set()
    for labels in re.findall(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)", text):
        groups |= {label.strip() for label in labels.split(",") if label.strip()}
    text = re.sub(r"\b(?:by|without|on|ignoring)\s*\([^)]*\)", "", text)
    metrics = []
    for found in re.finditer(r"(?<![\w.:])([a-zA-Z_:][\w:]*)(\s*\{[^}]*\})?", text):
        name, braces = found.groups()
        if name not in KEYWORDS and not text[found.end():].lstrip().startswith("("):
            metrics.append((name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", braces or ""))))
    assert metrics, text
    return metrics, groups


def expressions():
    """Where it stands, to the expression: of the dashboard with its default prefix, and of the alerts."""
    dashboard = json.loads((ROOT / "etc/grafana/cqlferry.json").read_text())
    prefix = next(v["query"] for v in dashboard["templating"]["list"] if v["name"] == "prefix")
    found = {}
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"].replace("${prefix}", prefix).replace("$__rate_interval", "5m")
            found[f"panel {panel['title']} {target['refId']}"] = expression
            grouped = read_expression(expression)[1]
            for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
                assert not grouped or label in grouped, (panel["title"], label)
    for group in yaml.safe_load((ROOT / "etc/prometheus/cqlferry.rules.yml").read_text())["groups"]:
        for rule in group["rules"]:
            assert {"summary", "reason", "runbook"} == set(rule["annotations"]), rule["alert"]
            assert rule["labels"]["severity"] in ("page", "ticket")
            found[f"alert {rule['alert']}"] = rule["expr"]
    return found


def test_reading_expressions():
    """The reader that the next test relies on."""
    assert read_expression('sum by (a, le) (rate(m_x{b="1",c=~"$instance"}[5m])) / 2e9 > m_y') == (
        [("m_x", {"b", "c"}), ("m_y", set())], {"a", "le"})
    assert read_expression("histogram_quantile(0.99, sum by (le) (rate(h_bucket[5m])))") == ([("h_bucket", set())], {"le"})
    assert len(expressions()) > 80


LUA = """
proxy.on_request("denies", { tables = { "ks.secret" } }, function(req) return req:deny("unauthorized", "no") end)
proxy.on_request("fails", { tables = { "ks.fails" } }, function(req) error("on purpose") end)
"""


async def everything(make_bench, plugin_path):
    """The page of a proxy to which all happened that is counted when it happens."""
    users = {"auth": Auth({"proxy": "proxy-password", "ann": "a"})}
    witness = {"plugin witness": {"file": plugin_path("witness")}}
    bench = await make_bench(fresh=True, configure=scripts({"a.lua": LUA}), origin=users, target=users,
                             sections=section(plugin_path) | witness)
    await scrape(bench)
    client = await bench.client(user="ann", password="a", options={"DRIVER_NAME": "d", "DRIVER_VERSION": "1"})
    bench.origin.on("ks.broken", error(Err.OVERLOADED))
    bench.target.on("ks.half", error(Err.WRITE_TIMEOUT, consistency=CL.ONE, received=0, required=1, write_type="SIMPLE"))
    lwt = "INSERT INTO ks.lwt (k) VALUES (1) IF NOT EXISTS"
    applied = [Column("[applied]", Type.BOOLEAN)]
    bench.origin.on("ks.lwt", rows(applied, [[True]]))
    bench.target.on("ks.lwt", rows(applied, [[False]]))
    for text in ("SELECT a FROM ks.t", "SELECT a FROM ks.broken", "INSERT INTO ks.t (k) VALUES (1)",
                 "INSERT INTO ks.half (k) VALUES (1)", "SELECT a FROM ks.secret", "SELECT a FROM ks.fails", lwt):
        await client.query(text)
    return await until(bench, lambda p: p.sum(STATEMENTS) == 7, "counts")


async def test_dashboard_and_alerts(make_bench, plugin_path):
    """Each metric of each expression is on the page of a proxy with traffic, with the labels that are asked of it."""
    page = await everything(make_bench, plugin_path)
    labels = page.labels()
    missing = []
    for place, expression in expressions().items():
        metrics, groups = read_expression(expression)
        known = set(OF_PROMETHEUS[0])
        for name, wanted in metrics:
            if name in OF_PROMETHEUS[1]:
                continue
            if name not in labels:
                missing.append(f"{place}: there is no {name}")
                continue
            known |= labels[name]
            missing += [f"{place}: {name} has no label {w}" for w in wanted - labels[name] - OF_PROMETHEUS[0]]
        missing += [f"{place}: no metric has the label {g}" for g in groups - known]
    assert not missing, "\n".join(missing)
