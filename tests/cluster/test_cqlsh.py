"""cqlsh through the proxy, in the ways people use it."""

import pytest

from clients import cqlsh

pytestmark = pytest.mark.pair("migration")


def table(output):
    """The rows of the last table that cqlsh printed, cells without blanks."""
    cells = [[cell.strip() for cell in line.split("|")] for line in output.splitlines()]
    rule = max(i for i, line in enumerate(output.splitlines()) if line and set(line) <= set("-+"))
    rows = []
    for row in cells[rule + 1:]:
        if row == [""] or row[0].startswith("("):
            break
        rows.append(row)
    return rows


def test_version(pair, ferry):
    output = cqlsh(ferry, "-e", "SHOW VERSION", login=pair.client_login)
    assert "Cassandra 4.1.10" in output and "Native protocol v5" in output


def test_source(pair, ferry, keyspace, tmp_path):
    script = tmp_path / "load.cql"
    script.write_text("USE %s;\nCREATE TABLE t (id int PRIMARY KEY, v text);\n" % keyspace +
                      "".join("INSERT INTO t (id, v) VALUES (%d, 'it''s %d');\n" % (i, i) for i in range(20)) +
                      "-- a comment; with a semicolon\nDELETE FROM t WHERE id = 0;\n")
    output = cqlsh(ferry, login=pair.client_login,
                   text="SOURCE '%s'\nSELECT count(*) FROM %s.t;\n" % (script, keyspace))
    assert table(output) == [["19"]]
    assert pair.rows("SELECT id, v FROM %s.t" % keyspace) == [(i, "it's %d" % i) for i in range(1, 20)]


def test_copy_both_ways(pair, ferry, keyspace, tmp_path):
    cqlsh(ferry, "-e", "CREATE TABLE %s.t (p int, c int, v text, PRIMARY KEY (p, c))" % keyspace,
          login=pair.client_login)
    source = tmp_path / "in.csv"
    source.write_text("".join("%d,%d,value %d\n" % (i % 7, i, i) for i in range(1500)))
    out = tmp_path / "out.csv"
    output = cqlsh(ferry, login=pair.client_login, text="COPY %s.t (p, c, v) FROM '%s';\nCOPY %s.t (p, c, v) TO '%s';\n" % (
        keyspace, source, keyspace, out))
    assert "1500 rows imported" in output and "1500 rows exported" in output
    assert sorted(out.read_text().split("\n")) == sorted(source.read_text().split("\n"))
    assert len(pair.rows("SELECT p, c, v FROM %s.t" % keyspace)) == 1500


def test_describe(pair, ferry, keyspace):
    """A query of the server's own from 4.0 on, with several pages of answers."""
    cqlsh(ferry, "-e", "CREATE TABLE %s.described (id int PRIMARY KEY, v text)" % keyspace, login=pair.client_login)
    output = cqlsh(ferry, "-e", "DESCRIBE TABLE %s.described; DESCRIBE KEYSPACES; DESCRIBE CLUSTER" % keyspace,
                   login=pair.client_login)
    assert "CREATE TABLE %s.described" % keyspace in output and "PRIMARY KEY" in output
    assert "system_schema" in output
    assert "Cluster: origin" in output


def test_errors_are_shown(pair, ferry):
    error = cqlsh(ferry, "-e", "SELECT * FROM no_such_keyspace.t", login=pair.client_login, ok=False)
    assert "InvalidRequest" in error and "no_such_keyspace" in error


def test_wrong_password(pair, ferry):
    error = cqlsh(ferry, "-e", "SHOW VERSION", login=(pair.client_login[0], "wrong"), ok=False)
    assert "AuthenticationFailed" in error and "Bad credentials" in error
