"""The audit plugin in front of real nodes: what the Python driver did stands in the log, with rows, values and times."""
import json
import pathlib
import signal

import cassandra
import pytest
from cassandra import ConsistencyLevel, InvalidRequest
from cassandra.protocol import SyntaxException
from cassandra.query import BatchStatement, SimpleStatement

import clients
from ferry import binary, eventually

pytestmark = pytest.mark.pair("migration")


class Log:
    def __init__(self, path):
        self.path = path

    def lines(self, **fields):
        lines = [json.loads(line) for line in self.path.read_text().splitlines()]
        return [line for line in lines if all(line.get(k) == v for k, v in fields.items())]

    def one(self, **fields):
        eventually("a line with %s" % fields, lambda: self.lines(**fields))
        line, = self.lines(**fields)
        return line


@pytest.fixture
def audited(pair, start_ferry, tmp_path):
    """A proxy with the plugin, and its log."""
    def start(**options):
        plugin = pathlib.Path(binary()).resolve().parent / "plugins" / ".libs" / "audit.so"
        options = {"file": plugin, "path": tmp_path / "audit.log", "flush_interval": "10ms", **options}
        return start_ferry(ini=pair.ini(**{"plugin audit": options})), Log(tmp_path / "audit.log")
    return start


def test_what_the_driver_did(pair, audited, connect, keyspace):
    ferry, log = audited(statement="full", values="on", kinds="read write schema", keyspaces=keyspace)
    session = connect(ferry, login=pair.client_login)
    table = "%s.t" % keyspace
    session.execute("CREATE TABLE %s (id int, n int, v text, PRIMARY KEY (id, n))" % table)
    line = log.one(kind="schema")
    assert (line["verb"], line["to"], line["tables"]) == ("SCHEMA", "both", [table])
    insert = session.prepare("INSERT INTO %s (id, n, v) VALUES (?, ?, ?)" % table)
    insert.consistency_level = ConsistencyLevel.QUORUM
    for n in range(5):
        session.execute(insert, (1, n, "grün" if n else None))
    lines = log.lines(opcode="EXECUTE")
    eventually("five lines", lambda: len(log.lines(opcode="EXECUTE")) == 5)
    lines = sorted(log.lines(opcode="EXECUTE"), key=lambda line: line["id"])
    assert [line["values"] for line in lines] == [
        ["0x00000001", "0x%08x" % n, "0x" + "grün".encode().hex() if n else None] for n in range(5)]
    for line in lines:
        assert line["statement"] == insert.query_string and line["consistency"] == "QUORUM" and line["prepared"]
        assert line["to"] == "both" and line["result"] == line["origin"] == line["target"] == "ok"
        assert 0 < line["origin_us"] <= line["duration_us"] and 0 < line["target_us"] <= line["duration_us"]
        assert line["user"] == pair.client_login[0] and "Python Driver" in line["driver"]
        assert line["driver_version"] == cassandra.__version__ and line["protocol"] == 5
    assert len(list(session.execute("SELECT * FROM %s WHERE id = 1" % table))) == 5
    line = log.one(kind="read")
    assert line["rows"] == 5 and line["to"] == line["answered_by"] == "origin" and line["target"] == "unsent"
    select = SimpleStatement("SELECT n FROM %s" % table, fetch_size=2)
    assert len(list(session.execute(select))) == 5
    eventually("three pages", lambda: len(log.lines(statement=select.query_string)) == 3)
    assert sorted(line["rows"] for line in log.lines(statement=select.query_string)) == [1, 2, 2]
    batch = BatchStatement()
    batch.add(insert, (2, 1, "a"))
    batch.add("DELETE FROM %s WHERE id = 1 AND n = 0" % table)
    session.execute(batch)
    line = log.one(opcode="BATCH")
    assert line["statement"] == "%s; DELETE FROM %s WHERE id = 1 AND n = 0" % (insert.query_string, table)
    result = session.execute("INSERT INTO %s (id, n) VALUES (1, 1) IF NOT EXISTS" % table)
    assert not result.was_applied
    assert log.one(lwt=True)["rows"] == 1


def test_errors_and_logins(pair, audited, connect, keyspace):
    """The nodes' own errors; passwords of log-ins and roles are nowhere, though Cassandra quotes them."""
    ferry, log = audited(statement="full")
    user, password = pair.client_login
    assert "AuthenticationFailed" in clients.connect_error(ferry.address, ferry.port, (user, "wrong_secret"))
    eventually("the refused log-in", lambda: log.lines(event="login", result="refused"))
    line = log.lines(event="login", result="refused")[0]
    assert (line["user"], line["answered_by"], line["error_code"]) == (user, "target", "0x0100")
    session = connect(ferry, login=pair.client_login)
    eventually("the log-in", lambda: log.lines(event="login", result="ok", user=user))
    for text in ("SELECT a FROM %s.nowhere" % keyspace, "CREATE ROLE r WITH PASSWORD = my_secret",
                 "CREATE ROLE r WITH PASSWORD = 'my_secret' AND LOGIN = 'no'"):
        with pytest.raises((InvalidRequest, SyntaxException)):
            session.execute(text)
    eventually("three errors", lambda: len(log.lines(event="request", result="error")) >= 3)
    line, = log.lines(tables=["%s.nowhere" % keyspace])
    assert line["error_code"] == line["origin_error_code"] == "0x2200" and "nowhere" in line["error"]
    for line in log.lines(kind="schema"):
        assert line["error"] == "***" and "***" in line["statement"]
    text = log.path.read_text()
    assert "secret" not in text and password not in text


def test_moved_away(pair, audited, connect, keyspace, tmp_path):
    """SIGUSR1 under the driver's requests: each is in one of the files, once."""
    ferry, log = audited(events="request", kinds="write")
    session = connect(ferry, login=pair.client_login)
    session.execute("CREATE TABLE %s.t (id int PRIMARY KEY)" % keyspace)
    insert = session.prepare("INSERT INTO %s.t (id) VALUES (?)" % keyspace)
    futures = [session.execute_async(insert, (i,)) for i in range(200)]
    log.path.rename(tmp_path / "moved.log")
    ferry.signal(signal.SIGUSR1)
    futures += [session.execute_async(insert, (i,)) for i in range(200)]
    for future in futures:
        future.result()
    moved = Log(tmp_path / "moved.log")

    def found():
        return log.lines(opcode="EXECUTE") + moved.lines(opcode="EXECUTE") if log.path.exists() else []
    eventually("400 lines", lambda: len(found()) == 400)
    assert len({line["id"] for line in found()}) == 400
