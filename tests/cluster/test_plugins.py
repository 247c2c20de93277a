"""
All four shipped plugins at once, on real clusters with the Python driver. Applications know neither cluster's passwords; who did
what is in the audit log; a scan is refused; the page of figures has it all. Then the same under reloads.
"""

import json
import pathlib
import re
import signal
import subprocess
import threading
import urllib.request

import pytest
from cassandra import InvalidRequest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

import clients
from ferry import binary, eventually
from pair import LOGINS

pytestmark = pytest.mark.pair("both-auth")

MODES = ["pooled", "dedicated"]
APP = ("shop_app", "the application's own")
MAP = """[default]
action = deny

[user shop_*]
hash = {hash}
origin_user = {origin[0]}
origin_password = {origin[1]}
target_user = {target[0]}
target_password = {target[1]}
"""
#: no password of a cluster or an application may ever be seen outside of the mapping file
SECRETS = [LOGINS["origin"][1], LOGINS["target"][1], APP[1]]


def hash_of(password):
    """As the manual of auth_map says that people make them."""
    return subprocess.run(["openssl", "passwd", "-6", password], capture_output=True, text=True, check=True).stdout.strip()


class Stand:
    """A proxy with all four plugins, its files, and what they have written."""

    def __init__(self, pair, start_ferry, connect, folder):
        self.pair, self._start, self._connect, self.folder = pair, start_ferry, connect, folder
        self.map, self.audit = folder / "map.ini", folder / "audit.log"
        self.ferry, self.sections = None, None

    def write_map(self, password=APP[1]):
        self.map.touch(mode=0o600)
        self.map.write_text(MAP.format(hash=hash_of(password), **LOGINS))

    def start(self, keyspace, mode):
        plugins = pathlib.Path(binary()).resolve().parent / "plugins" / ".libs"
        self.write_map()
        self.sections = self.pair.ini(**{
            "proxy": {"backend_connections": mode, "plugin_dir": plugins},
            "plugin audit": {"file": "audit.so", "path": self.audit, "flush_interval": "20ms"},
            "plugin auth": {"file": "auth_map.so", "map": self.map},
            "plugin figures": {"file": "prometheus.so"},
            "plugin no_scans": {"file": "sample.so", "order": 5, "table": ["%s.t" % keyspace]}})
        self.ferry = self._start(ini=self.sections)
        return self.session()

    def session(self, login=APP):
        return self._connect(self.ferry, login=login)

    def reload(self, result="ok"):
        name = 'cqlferry_reloads_total{result="%s"}' % result
        before = self.metric(name)
        self.ferry.rewrite()
        self.ferry.signal(signal.SIGHUP)
        eventually("the configuration is read again", lambda: self.metric(name) > before)

    def metric(self, name):
        lines = self.ferry.get("/metrics")[1].splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if name in line and not line.startswith("#"))

    def page(self):
        """Samples of the page of the prometheus plugin, as a library of others reads it."""
        request = urllib.request.Request("http://%s:%d/openmetrics" % (self.ferry.address, self.ferry.http_port))
        with urllib.request.urlopen(request, timeout=5) as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
        return [sample for family in families for sample in family.samples]

    def lines(self, *paths, **wanted):
        text = "".join(path.read_text() for path in paths or (self.audit,))
        return [line for line in map(json.loads, text.splitlines()) if all(line.get(k) == v for k, v in wanted.items())]

    def no_secrets(self):
        seen = self.ferry.log() + self.audit.read_text() + self.ferry.get("/health/status")[1] + self.ferry.get("/metrics")[1]
        return [secret for secret in SECRETS if secret in seen] == []


@pytest.fixture
def stand(pair, start_ferry, connect, tmp_path):
    return Stand(pair, start_ferry, connect, tmp_path)


@pytest.fixture
def table(pair, keyspace):
    pair.execute("CREATE TABLE %s.t (id int PRIMARY KEY, v text)" % keyspace)
    pair.execute("CREATE TABLE %s.small (id int PRIMARY KEY, v text)" % keyspace)
    return keyspace


@pytest.mark.parametrize("mode", MODES)
def test_all_four(stand, pair, table, mode):
    session = stand.start(table, mode)
    # auth_map: the application's own password, and the clusters' own users.
    session.execute("SELECT key FROM system.local")
    assert [side.users() for side in pair.sides] == [{LOGINS["origin"][0]}, {LOGINS["target"][0]}]
    for login in ((APP[0], "wrong"), ("nobody", APP[1]), LOGINS["origin"]):
        assert "AuthenticationFailed" in clients.connect_error(stand.ferry.address, stand.ferry.port, login)
    # Requests as ever, on both clusters.
    insert = session.prepare("INSERT INTO %s.t (id, v) VALUES (?, ?)" % table)
    for number in range(20):
        session.execute(insert, (number, "v%d" % number))
    assert len(pair.rows("SELECT * FROM %s.t" % table)) == 20
    read = session.prepare("SELECT v FROM %s.t WHERE id = ?" % table)
    assert session.execute(read, (7,)).one().v == "v7"
    # sample: a scan is refused, of the table that it names only.
    scan = "SELECT * FROM %s.t" % table
    with pytest.raises(InvalidRequest, match="SELECT of %s.t needs a WHERE" % table):
        session.execute(scan)
    with pytest.raises(InvalidRequest, match="needs a WHERE"):
        session.prepare(scan)
    assert session.execute("SELECT * FROM %s.small" % table).all() == []
    # audit: all of it, by the application's name.
    eventually("the line of the last request", lambda: stand.lines(statement="SELECT * FROM %s.small" % table))
    writes = stand.lines(opcode="EXECUTE", verb="INSERT")
    assert len(writes) == 20
    for line in writes:
        assert (line["user"], line["result"], line["to"], line["tables"]) == (APP[0], "ok", "both", ["%s.t" % table])
        assert line["origin"] == line["target"] == "ok" and "Python" in line["driver"]
    denied = stand.lines(event="request", result="denied")
    assert {(line["opcode"], line["decider"], line["to"]) for line in denied} == {("QUERY", "no_scans", "none"),
                                                                              ("PREPARE", "no_scans", "none")}
    logins = stand.lines(event="login")
    assert {(line["user"], line["result"]) for line in logins} >= {
        (APP[0], "ok"), (APP[0], "denied"), ("nobody", "denied"), (LOGINS["origin"][0], "denied")}
    # prometheus, and what the core says about plugins.
    samples = stand.page()
    counted = sum(s.value for s in samples if s.name == "zdm_cqlferry_statements_total" and s.labels["kind"] == "write"
                  and s.labels["keyspace"] == table and s.labels["table"] == "t" and s.labels["outcome"] == "answered")
    assert counted == 20
    assert sum(s.value for s in samples if s.name == "zdm_cqlferry_user_statements_total"
               and s.labels["user"] == APP[0]) >= 24
    assert stand.metric("cqlferry_sample_denied_total") == 2
    assert stand.metric("cqlferry_plugin_errors_total") == 0 and stand.metric("cqlferry_plugin_held") == 0
    assert stand.metric('cqlferry_plugin_calls_total{plugin="audit"') > 0
    assert stand.no_secrets()


class Load:
    """An application that writes and reads until it is told to end, and forgives nothing."""

    def __init__(self, session, table, first):
        self.session, self.table, self.number, self.first = session, table, first, first
        self.errors, self.ends = [], threading.Event()
        self.insert = session.prepare("INSERT INTO %s.t (id, v) VALUES (?, ?)" % table)
        self.read = session.prepare("SELECT v FROM %s.t WHERE id = ?" % table)
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        try:
            while not self.ends.is_set():
                self.session.execute(self.insert, (self.number, "v"))
                assert self.session.execute(self.read, (self.number,)).one().v == "v"
                self.number += 1
        except Exception as error:  # told to the test
            self.errors.append(error)

    def end(self):
        self.ends.set()
        self.thread.join(30)
        assert self.errors == [] and not self.thread.is_alive()
        return range(self.first, self.number)


@pytest.mark.parametrize("mode", MODES)
def test_reloads_under_load(stand, pair, table, mode):
    """Nothing fails, nothing is lost, each request has one line; new settings count, wrong ones change nothing."""
    scan = "SELECT * FROM %s.small" % table
    session = stand.start(table, mode)
    loads = [Load(stand.session(), table, first) for first in (0, 100000, 200000)]
    try:
        moved = []
        for turn in range(4):
            # sample: another table. auth_map: another password for those who come.
            password = "password %d" % turn
            stand.sections["plugin no_scans"]["table"] = ["%s.t" % table] + ["%s.small" % table] * (turn % 2)
            stand.write_map(password)
            stand.reload()
            if turn % 2:
                with pytest.raises(InvalidRequest, match="needs a WHERE"):
                    session.execute(scan)
            else:
                session.execute(scan)
            stand.session((APP[0], password)).execute("SELECT key FROM system.local")
            assert "AuthenticationFailed" in clients.connect_error(stand.ferry.address, stand.ferry.port, APP)
            # audit: its file is moved away.
            moved.append(stand.audit.with_suffix(".%d" % turn))
            stand.audit.rename(moved[-1])
            stand.ferry.signal(signal.SIGUSR1)
            eventually("a new file", stand.audit.exists)
        # What one of them cannot take, none takes.
        stand.map.write_text(MAP.format(hash="none", **LOGINS))
        stand.sections["plugin no_scans"]["table"] = ["%s.small" % table]
        stand.reload("failed")
        assert re.search(r"map\.ini:\d+: .*hash", stand.ferry.log())
        with pytest.raises(InvalidRequest, match="needs a WHERE"):
            session.execute("SELECT * FROM %s.t" % table)
        stand.session((APP[0], "password 3")).execute(scan.replace("*", "id") + " WHERE id = 1")
    finally:
        written = [number for load in loads for number in load.end()]
    assert len(written) > 30
    assert [row[0] for row in pair.rows("SELECT id FROM %s.t" % table)] == sorted(written)
    stand.ferry.stop()
    lines = stand.lines(*moved, stand.audit, opcode="EXECUTE", verb="INSERT", result="ok")
    assert len(lines) == len(written) and len({line["id"] for line in lines}) == len(lines)
    assert len(stand.lines(*moved, stand.audit, opcode="EXECUTE", verb="SELECT", result="ok")) >= len(written)
