"""Which cluster a request reaches, seen from different data on the two."""

import pytest
from cassandra import InvalidRequest
from cassandra.query import SimpleStatement

import clients
from ferry import eventually

pytestmark = pytest.mark.pair("migration")


@pytest.fixture
def table(pair, keyspace):
    """A table whose rows tell the cluster they came from."""
    pair.execute("CREATE TABLE %s.t (id int PRIMARY KEY, v text)" % keyspace)
    for side in pair.sides:
        for key in range(40):
            side.execute("INSERT INTO %s.t (id, v) VALUES (%d, '%s')" % (keyspace, key, side.name))
    return keyspace + ".t"


def origins(result):
    return {row.v for row in result}


@pytest.mark.parametrize("primary", ["origin", "target"])
def test_reads_go_to_the_primary(pair, start_ferry, connect, table, primary):
    session = connect(start_ferry(pair.environment(PRIMARY_CLUSTER=primary.upper())), login=pair.client_login)
    prepared = session.prepare("SELECT v FROM %s WHERE id = ?" % table)
    assert origins(session.execute("SELECT v FROM %s" % table)) == {primary}
    assert origins(session.execute("-- a comment\n select /* and one */ v FROM %s" % table)) == {primary}
    assert origins(session.execute(prepared, (7,))) == {primary}
    # System keyspaces stay with origin, the default of system_queries_mode.
    assert session.execute("SELECT cluster_name FROM system.local").one().cluster_name == "origin"
    session.execute("UPDATE %s SET v = 'new' WHERE id = 7" % table)
    for side in pair.sides:
        assert side.rows("SELECT v FROM %s WHERE id = 7" % table) == [("new",)]


@pytest.mark.parametrize("version", [4, 5])
def test_pages_stay_with_their_cluster_when_the_primary_is_flipped(pair, start_ferry, connect, table, version):
    statement = SimpleStatement("SELECT id, v FROM %s" % table, fetch_size=15)
    before = start_ferry(pair.environment())
    first = connect(before, login=pair.client_login, protocol_version=version).execute(statement)
    state = first.paging_state
    ids = [row.id for row in first.current_rows]
    assert len(ids) == 15 and origins(first.current_rows) == {"origin"}

    after = start_ferry(pair.environment(PRIMARY_CLUSTER="TARGET"))
    session = connect(after, login=pair.client_login, protocol_version=version)
    assert origins(session.execute("SELECT v FROM %s" % table)) == {"target"}
    while state:
        page = session.execute(statement, paging_state=state)
        assert origins(page.current_rows) == {"origin"}
        ids += [row.id for row in page.current_rows]
        state = page.paging_state
    assert sorted(ids) == list(range(40))


def test_a_write_that_fails_on_one_cluster_fails(pair, ferry, connect, keyspace):
    """Whichever it is, and the cluster's own error comes back."""
    session = connect(ferry, login=pair.client_login)
    for side, other in (pair.sides, pair.sides[::-1]):
        side.execute("CREATE TABLE %s.only_%s (id int PRIMARY KEY)" % (keyspace, side.name))
        with pytest.raises(InvalidRequest, match="only_" + side.name):
            session.execute("INSERT INTO %s.only_%s (id) VALUES (1)" % (keyspace, side.name))
        assert other.name != side.name


def test_system_tables_of_the_primary_do_not_leak_addresses(pair, ferry, connect):
    session = connect(ferry, login=pair.client_login)
    prepared = session.prepare("SELECT * FROM system.local WHERE key = ?")
    for result in (session.execute("SELECT * FROM system.local WHERE key='local'"), session.execute(prepared, ("local",))):
        row = result.one()
        assert {str(row.rpc_address), str(row.broadcast_address), str(row.listen_address)} == {ferry.address}
        assert row.rack == "rack0" and row.cluster_name == "origin"
    assert clients.rows(session.execute(prepared, ("other",))) == []
    assert session.execute("SELECT count(*) FROM system.peers").one()[0] == 0
    with pytest.raises(InvalidRequest, match="peers_v2"):
        session.execute("SELECT * FROM system.peers_v2")


def test_unknown_statements_reach_both(pair, ferry, connect):
    """Roles exist on both clusters after a statement that the proxy need not understand."""
    session = connect(ferry, login=pair.client_login)
    # Origin has no authorizer: it refuses what target would do, so that the error tells that it was asked as well.
    with pytest.raises(Exception, match="(?i)role|authenticat|authoriz"):
        session.execute("CREATE ROLE made_by_both WITH LOGIN = false")
    eventually("the role on target", lambda: pair.target.rows(
        "SELECT role FROM system_auth.roles WHERE role = 'made_by_both'") == [("made_by_both",)])
    pair.target.execute("DROP ROLE made_by_both")
