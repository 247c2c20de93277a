"""The audit plugin: what was sent and answered, by whom and how long it took, stands in its log."""
import csv
import datetime
import hashlib
import io
import os
import re
import stat

import pytest

import policies
from audit_log import AuditLog, audited, section
from behaviour import Hold, error, late, rows
from certificates import Authority
from cqlwire import CL, Column, Err, Op
from cqlwire.requests import plain_token
from fakecluster import Auth
from helpers import WAY_IDS, WAYS, assert_error

pytestmark = pytest.mark.native
ways = pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
SCRIPT = """
proxy.on_request("gate", { kinds = "write" }, function(req) return req:deny("unauthorized", "not today") end)
"""


def auth(**users):
    return {"auth": Auth({"proxy": "proxy-password", **users})}


def when(line):
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line["time"])
    return datetime.datetime.fromisoformat(line["time"])


@ways
async def test_a_read(make_bench, plugin_path, tmp_path, version, compression):
    """Each field of a QUERY that one cluster answers."""
    bench, log = await audited(make_bench, plugin_path, tmp_path, statement="full", values="on")
    bench.origin.on("SELECT a FROM t", rows([Column("a")], [["x"], ["y"], ["z"]], keyspace="ks", table="t"))
    c = await bench.client(version, compression, keyspace="shop", options={"DRIVER_NAME": "raw", "DRIVER_VERSION": "7"})
    before = datetime.datetime.now(datetime.timezone.utc)
    await c.query("SELECT a FROM t WHERE k = ?", values=[b"\0k"], consistency=CL.TWO)
    line = await log.one(verb="SELECT")
    after = datetime.datetime.now(datetime.timezone.utc)
    assert before <= when(line) <= after
    address, port = c.transport.get_extra_info("sockname")[:2]
    durations = {name: line.pop(name) for name in ("duration_us", "origin_us")}
    assert 0 < durations["origin_us"] <= durations["duration_us"] < 10_000_000
    assert line.pop("id") > 0 and line.pop("connection") > 0 and line.pop("time")
    assert line == {
        "event": "request", "client": address, "port": port, "driver": "raw",
        "driver_version": "7", "protocol": version, "tls": False, "opcode": "QUERY", "kind": "read", "verb": "SELECT",
        "prepared": False, "lwt": False, "statement": "SELECT a FROM t WHERE k = ?", "statement_length": 27,
        "values": ["0x006b"], "keyspace": "shop", "tables": ["shop.t"], "consistency": "TWO", "to": "origin",
        "decided_by": "default", "result": "ok", "answered_by": "origin", "rows": 3, "origin": "ok",
        "target": "unsent"}


@ways
async def test_prepared_writes(make_bench, plugin_path, tmp_path, version, compression):
    """A PREPARE, and an EXECUTE that both clusters get, one of them late."""
    bench, log = await audited(make_bench, plugin_path, tmp_path, statement="full", values="on")
    c = await bench.client(version, compression)
    insert = await c.prepare("INSERT INTO ks.t (k, v) VALUES (?, ?) IF NOT EXISTS")
    bench.target.on(Op.EXECUTE, late(0.4))
    await c.execute(insert, values=[b"k", None], consistency=CL.LOCAL_QUORUM)
    prepare = await log.one(opcode="PREPARE")
    assert prepare["to"] == "both" and prepare["result"] == "ok" and "consistency" not in prepare
    assert not prepare["prepared"]
    execute = await log.one(opcode="EXECUTE")
    assert execute["prepared"] and execute["lwt"] and execute["kind"] == "write" and execute["verb"] == "INSERT"
    assert execute["statement"] == "INSERT INTO ks.t (k, v) VALUES (?, ?) IF NOT EXISTS"
    assert execute["values"] == ["0x6b", None] and execute["tables"] == ["ks.t"]
    assert execute["consistency"] == "LOCAL_QUORUM" and execute["to"] == "both"
    assert execute["origin"] == execute["target"] == "ok"
    assert execute["target_us"] >= 400_000 and execute["origin_us"] < execute["target_us"] and execute["duration_us"] >= execute["target_us"]
    assert execute["id"] > prepare["id"]


async def test_a_batch(make_bench, plugin_path, tmp_path):
    bench, log = await audited(make_bench, plugin_path, tmp_path, values="on")
    c = await bench.client(keyspace="shop")
    prepared = await c.prepare("DELETE FROM t WHERE k = ?")
    await c.batch([("INSERT INTO ks.u (k) VALUES (17)", []), (prepared.prepared_id, [b"k"])])
    line = await log.one(opcode="BATCH")
    assert line["statement"] == "INSERT INTO ks.u (k) VALUES (?); DELETE FROM t WHERE k = ?"
    assert sorted(line["tables"]) == ["ks.u", "shop.t"] and line["prepared"] and "values" not in line


async def test_errors(make_bench, plugin_path, tmp_path):
    """Of a cluster, of the proxy, of a client that goes; answers of the proxy itself."""
    bench, log = await audited(make_bench, plugin_path, tmp_path)
    c = await bench.client()
    bench.target.on(Op.QUERY, error(Err.INVALID, "not \"this\" one\n"))
    assert_error(await c.query("INSERT INTO ks.t (k) VALUES (1)"), Err.INVALID)
    line = await log.one(result="error")
    assert line["answered_by"] == "target" and line["error_code"] == line["target_error_code"] == "0x2200"
    assert line["error"] == "not \"this\" one\n" and line["origin"] == "ok" and line["target"] == "error"
    await c.query("SELECT * FROM system.local")
    line = await log.one(result="local")
    assert (line["to"], line["answered_by"], line["decided_by"]) == ("none", "proxy", "protocol")
    assert (await c.ask(Op.EXECUTE, b"\0")).is_error()
    line = await log.one(result="refused")
    assert line["answered_by"] == "proxy" and line["error_code"] == "0x000A" and line["kind"] == "unknown"
    assert line["tables_incomplete"]
    hold = Hold()
    bench.origin.on(Op.QUERY, hold)
    c.send_query("SELECT a FROM ks.gone")
    await hold.arrived()
    c.abort()
    line = await log.one(result="abandoned")
    assert line["tables"] == ["ks.gone"] and line["origin"] == "pending" and "answered_by" not in line
    hold.release()


async def test_the_rule_that_chose(make_bench, plugin_path, tmp_path):
    bench, log = await audited(make_bench, plugin_path, tmp_path,
                               sections={"routing": {"rule": "read ks.moved target"}})
    c = await bench.client()
    await c.query("SELECT a FROM ks.moved")
    line = await log.one(event="request")
    assert line["to"] == line["answered_by"] == "target" and line["decided_by"] == "rule"
    assert line["decider"] == "read ks.moved target"


async def test_denials(make_bench, plugin_path, tmp_path):
    """A script's denial is written though the filters leave out all requests."""
    bench, log = await audited(make_bench, plugin_path, tmp_path, kinds="read", keyspaces="other", sample=1000000000,
                               configure=policies.settings({"gate.lua": SCRIPT}))
    c = await bench.client()
    await c.query("SELECT a FROM ks.t")
    assert_error(await c.query("INSERT INTO ks.t (k) VALUES (1)"), Err.UNAUTHORIZED)
    line = await log.one(event="request")
    assert line["result"] == "denied" and line["decided_by"] == "script" and line["decider"] == "gate"
    assert line["error_code"] == "0x2100" and "not today" in line["error"] and line["to"] == "none"
    await bench.reload(**{"plugin audit": {"events": "request login"}})
    assert_error(await c.query("INSERT INTO ks.t (k) VALUES (1)"), Err.UNAUTHORIZED)
    await bench.reload(**{"plugin audit": {"events": "request login denial"}})
    assert_error(await c.query("INSERT INTO ks.t (k) VALUES (3)"), Err.UNAUTHORIZED)
    await log.wait(2, result="denied")


async def test_a_certificate_and_a_plugins_denial(make_bench, plugin_path, tmp_path):
    """Who it is by its certificate, at which listener; and which plugin has denied what, whatever the filters say."""
    authority = Authority(tmp_path, "audit test CA")

    def with_tls(bench):
        cert, key = authority.certificate([bench.proxy.listen[0]])
        bench.sections["listener"] = {"tls_cert": cert, "tls_key": key, "tls_ca": authority.ca,
                                      "tls_require_client_cert": "true"}
    no_scans = {"plugin no_scans": {"file": plugin_path("sample"), "table": "ks.orders", "order": -1}}
    bench, log = await audited(make_bench, plugin_path, tmp_path, kinds="write", configure=with_tls, sections=no_scans)
    c = await bench.open(ssl=authority.client(own=authority.certificate()))
    assert (await c.startup()).opcode == Op.READY
    login = await log.one(event="login")
    assert login["tls"] is True and login["tls_subject"].startswith("CN="), login
    assert_error(await c.query("SELECT a FROM ks.orders"), Err.INVALID)
    line = await log.one(event="request")
    assert line["tls_subject"] == login["tls_subject"]
    assert (line["result"], line["decided_by"], line["decider"], line["to"]) == ("denied", "plugin", "no_scans", "none")
    assert line["error_code"] == "0x2200" and line["error"] == "SELECT of ks.orders needs a WHERE"


async def test_logins(make_bench, plugin_path, tmp_path):
    """Who comes, who is let in and who is not, who goes; no password anywhere."""
    bench, log = await audited(make_bench, plugin_path, tmp_path, statement="full", events="connect login disconnect request",
                               origin=auth(alice="right-secret"))
    c = await bench.client(user="alice", password="right-secret")
    await c.query("SELECT a FROM ks.t")
    assert (await log.one(event="request"))["user"] == "alice"
    login = await log.one(event="login")
    assert login["user"] == "alice" and login["result"] == "ok" and login["duration_us"] > 0
    connect = await log.one(event="connect")
    assert connect["connection"] == login["connection"] and "user" not in connect
    await c.close()
    gone = await log.one(event="disconnect")
    assert gone["connection"] == login["connection"] and gone["user"] == "alice"
    c = await bench.open()
    await c.startup()
    assert (await c.auth(plain_token("alice", "wrong-secret"))).is_error()
    line = await log.one(event="login", result="refused")
    assert line["user"] == "alice" and line["error_code"] == "0x0100" and line["answered_by"] == "origin"
    assert "secret" not in log.path.read_text()


PASSWORDS = [
    "CREATE ROLE r WITH PASSWORD = 'the-secret' AND LOGIN = true",
    "alter user r with password 'the-secret'",
    "CREATE ROLE r WITH PASSWORD = the-secret",
    "CREATE ROLE r WITH PASSWORD = 'it's the-secret'",
    "CREATE ROLE r WITH HASHED PASSWORD = '$2a$10$the-secret'",
]


@pytest.mark.parametrize("statement", ["full", "shape", "hash", "none"])
async def test_passwords_of_roles(make_bench, plugin_path, tmp_path, statement):
    """Neither in the statement nor in the error of a cluster that quotes it."""
    bench, log = await audited(make_bench, plugin_path, tmp_path, statement=statement)
    bench.origin.on(Op.QUERY, error(Err.SYNTAX_ERROR, "no viable alternative at input 'the-secret'"))
    c = await bench.client()
    for text in PASSWORDS:
        await c.query(text)
    await log.wait(len(PASSWORDS), event="request", error="***")
    assert "secret" not in log.path.read_text()


async def test_forms_of_a_statement(make_bench, plugin_path, tmp_path):
    """Its hash, its shape, its text, nothing: changed by a reload; its length always."""
    text = "SELECT a FROM ks.t WHERE k = 'Ärger' -- why"
    bench, log = await audited(make_bench, plugin_path, tmp_path, statement="hash", events="request")
    c = await bench.client()
    await c.query(text)
    line = await log.one()
    before = 1
    assert line["statement_hash"] == hashlib.sha256(text.encode()).hexdigest()[:32] and "statement" not in line
    for form, written in (("shape", "SELECT a FROM ks.t WHERE k = ?"), ("full", text), ("none", None)):
        await bench.reload(**{"plugin audit": {"statement": form}})
        await c.query(text)
        before += 1
        line = (await log.wait(before))[-1]
        assert line.get("statement") == written and line["statement_length"] == len(text.encode())
    await bench.reload(**{"plugin audit": {"statement": "full", "max_length": "64B"}})
    await c.query("SELECT a FROM ks.t WHERE k = '" + "ü" * 500 + "'")
    line = await log.one(statement_cut=True)
    assert line["statement"] == "SELECT a FROM ks.t WHERE k = '" + "ü" * 17 and line["statement_length"] == 1031


async def test_values_are_cut(make_bench, plugin_path, tmp_path):
    bench, log = await audited(make_bench, plugin_path, tmp_path, values="on", max_value="4B")
    await bench.proxy.until_logged("plugin audit: values = on")
    c = await bench.client()
    await c.query("INSERT INTO ks.t (a, b, c) VALUES (?, ?, ?)", values=[b"12345", b"", b"1234"])
    assert (await log.one(event="request"))["values"] == ["0x31323334...", "0x", "0x31323334"]


async def test_filters(make_bench, plugin_path, tmp_path):
    """By kind, keyspace, table, user and result; each alone, changed by a reload."""
    bench, log = await audited(make_bench, plugin_path, tmp_path, events="request",
                               origin=auth(app_a="a", other="o"), sections={"proxy": {"workers": 1}})
    a = await bench.client(user="app_a", password="a", keyspace="ks")
    other = await bench.client(user="other", password="o", keyspace="ks")
    prepared = await a.prepare("SELECT a FROM ks.log_1 WHERE k = ?")
    all_lists = {"kinds": None, "keyspaces": None, "tables": None, "users": None, "results": None}
    wanted = [
        ({"kinds": "write"}, ["INSERT INTO ks.t (k) VALUES (?)", "INSERT INTO ks.t (k) VALUES (?)"]),
        ({"keyspaces": "o*, !other"}, ["SELECT a FROM ok.t"]),
        ({"tables": "*.log_*"}, ["SELECT a FROM ks.log_1 WHERE k = ?"]),
        ({"users": "app_*"}, ["INSERT INTO ks.t (k) VALUES (?)", "SELECT a FROM ok.t", "SELECT bad FROM ks.t",
                              "SELECT a FROM ks.log_1 WHERE k = ?"]),
        ({"results": "error"}, ["SELECT bad FROM ks.t"]),
    ]
    bench.origin.on("SELECT bad FROM ks.t", error(Err.INVALID))
    uses = await log.wait(2, kind="use")
    for options, statements in wanted:
        await bench.reload(**{"plugin audit": {**all_lists, **options}})
        before = len(log.lines())
        for c in (a, other):
            await c.query("INSERT INTO ks.t (k) VALUES (1)")
        await a.query("SELECT a FROM ok.t")
        assert (await a.query("SELECT bad FROM ks.t")).is_error()
        for _ in range(2):  # what is remembered of a prepared statement is of these options
            await a.execute(prepared, values=[b"k"])
        await bench.reload(**{"plugin audit": {**all_lists, "kinds": "use"}})
        await a.use("ks")  # behind everything else
        uses = await log.wait(len(uses) + 1, kind="use")
        found = [line["statement"] for line in log.lines()[before:-1]]
        if "SELECT a FROM ks.log_1 WHERE k = ?" in statements:
            statements = statements + ["SELECT a FROM ks.log_1 WHERE k = ?"]
        assert sorted(found) == sorted(statements), options


async def test_sample(make_bench, plugin_path, tmp_path):
    """One of four; another instance chooses the same ones."""
    sections = section(plugin_path, tmp_path / "second.log", name="second", sample=4)
    bench, log = await audited(make_bench, plugin_path, tmp_path, sample=4, events="request", sections=sections)
    second = AuditLog(bench, tmp_path / "second.log")
    c = await bench.client()
    for i in range(400):
        await c.query(f"SELECT a FROM ks.t WHERE k = {i}")
    bench.may_be_down = True
    await bench.proxy.stop()
    ids = [line["id"] for line in log.lines(event="request")]
    assert 50 < len(ids) < 170
    assert ids == [line["id"] for line in second.lines(event="request")]


async def test_csv(make_bench, plugin_path, tmp_path):
    """The names once, then rows of as many columns; a newline in a statement makes no line."""
    bench, log = await audited(make_bench, plugin_path, tmp_path, format="csv", statement="full", values="on")
    c = await bench.client()
    await c.query("SELECT a, \"b\"\nFROM ks.t WHERE k = ?", values=[b"x"])
    await bench.restart_proxy()
    c = await bench.client()
    await c.query("SELECT 'x'")
    bench.may_be_down = True
    await bench.proxy.stop()
    text = log.path.read_bytes().decode()
    assert text.count("\r\n") == text.count("\n") == 5
    lines = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [line["event"] for line in lines] == ["login", "request"] * 2
    assert lines[1]["statement"] == "SELECT a, \"b\" FROM ks.t WHERE k = ?" and lines[1]["values"] == "0x78"
    assert lines[1]["tables"] == "ks.t" and lines[1]["rows"] == "1" and lines[1]["count"] == ""
    assert all(None not in line and None not in line.values() for line in lines)


async def test_mode_of_the_file(make_bench, plugin_path, tmp_path):
    bench, log = await audited(make_bench, plugin_path, tmp_path)
    assert stat.S_IMODE(os.stat(log.path).st_mode) == 0o600


@pytest.mark.parametrize("options,pattern", [
    ({"sections": {"plugin audit": {"path": None}}}, "sink = file needs path"),
    ({"path": "/nowhere/at/all"}, "cannot open /nowhere/at/all: No such file or directory"),
    ({"sink": "syslog"}, r"\.ini:\d+: path belongs to sink = file, and sink is syslog"),
    ({"sink": "journal", "socket": "/nowhere/sock", "sections": {"plugin audit": {"path": None}}}, "cannot connect to /nowhere/sock: No such file"),
    ({"kinds": "read rite"}, r'\.ini:\d+: kinds: "rite" is none of read, write, schema, use, unknown'),
    ({"results": "OK"}, r'\.ini:\d+: results: "OK" is none of ok, error, refused, denied, local, abandoned'),
    ({"events": "requests"}, r'\.ini:\d+: events: "requests" is none of request, login, connect, disconnect, denial'),
    ({"kinds": ""}, r"\.ini:\d+: kinds: there has to be a word, or no such line"),
    ({"events": ","}, r"\.ini:\d+: events: there has to be a word"),
    ({"keyspaces": "!"}, r'\.ini:\d+: keyspaces: "!" is no name'),
    ({"tables": "ks.t, orders"}, r'\.ini:\d+: tables: "orders" is no keyspace\.table'),
    ({"socket": "/run/log"}, r"\.ini:\d+: socket belongs to the other sinks, and sink is file"),
    ({"on_full": "wait"}, "on_full.*drop.*block.*refuse"),
    ({"sample": 0}, "sample"),
    ({"max_length": "1B"}, "max_length"),
    ({"queue_size": "1KiB"}, "queue_size"),
])
async def test_options_that_are_wrong(make_bench, plugin_path, tmp_path, options, pattern):
    bench, _ = await audited(make_bench, plugin_path, tmp_path, wait=False, **options)
    bench.may_be_down = True
    await bench.proxy.never_ready(pattern, exit_code=1)


async def test_a_reload_that_is_wrong(make_bench, plugin_path, tmp_path):
    """The old options stay; what cannot change says that it needs a restart."""
    bench, log = await audited(make_bench, plugin_path, tmp_path, kinds="write")
    c = await bench.client()
    await bench.reload("refused", **{"plugin audit": {"kinds": "everything"}})
    assert "needs a restart" in await bench.reload("refused", **{"plugin audit": {"kinds": "write", "format": "csv"}})
    await c.query("SELECT a FROM ks.t")
    await c.query("INSERT INTO ks.t (k) VALUES (1)")
    assert (await log.one(event="request"))["kind"] == "write"
