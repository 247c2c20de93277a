"""What the Python driver does on its own when it is given nothing but an address."""

import time

import pytest
from cassandra import ConsistencyLevel, Unavailable
from cassandra.query import SimpleStatement

import clients
from ferry import eventually

pytestmark = pytest.mark.pair("migration")


def test_default_connect_ends_at_v5(pair, ferry, connect):
    """It starts with the DSE version 0x42 and comes down by the versions in the proxy's refusals."""
    session = connect(ferry, login=pair.client_login)
    assert session.cluster.protocol_version == 5
    connection = list(session.get_pools())[0].get_connections()[0]
    assert connection._compression_type == "lz4"
    assert session.execute("SELECT release_version FROM system.local").one().release_version.startswith("4.1")


def test_sees_one_host_which_is_the_proxy(pair, ferry, connect):
    session = connect(ferry, login=pair.client_login)
    hosts = session.cluster.metadata.all_hosts()
    assert [(host.address, host.endpoint.port) for host in hosts] == [(ferry.address, ferry.port)]
    assert hosts[0].is_up and hosts[0].host_id is not None
    assert session.cluster.metadata.token_map is not None
    assert len(session.cluster.metadata.token_map.ring) == 8
    assert clients.rows(session.execute("SELECT peer FROM system.peers")) == []


def test_schema_events_reach_the_other_sessions(pair, ferry, connect, keyspace):
    watching = connect(ferry, login=pair.client_login)
    changing = connect(ferry, login=pair.client_login)
    changing.execute("CREATE TABLE %s.t (id int PRIMARY KEY)" % keyspace)
    tables = watching.cluster.metadata.keyspaces
    eventually("the table in the other driver's metadata", lambda: keyspace in tables and "t" in tables[keyspace].tables)


def test_a_schema_change_is_told_once(pair, ferry, connect, keyspace):
    """Both clusters announce it to the proxy."""
    session = connect(ferry, login=pair.client_login)
    told = []
    connection = session.cluster.control_connection._connection
    connection.register_watchers({"SCHEMA_CHANGE": lambda event: told.append(event.get("table"))})
    session.execute("CREATE TABLE %s.first (id int PRIMARY KEY)" % keyspace)
    session.execute("CREATE TABLE %s.second (id int PRIMARY KEY)" % keyspace)
    # Events keep their order, so once the second is here no further one of the first can come.
    eventually("the event of the second table", lambda: "second" in told)
    assert told.count("first") == 1
    assert told.count("second") == 1


def test_heartbeats_are_answered(pair, ferry, connect):
    """Idle connections are asked by OPTIONS every second; one that gets no answer would be replaced."""
    session = connect(ferry, login=pair.client_login, idle_heartbeat_interval=1, idle_heartbeat_timeout=5)

    def connections():
        return {id(c) for holder in session.cluster.get_connection_holders() for c in holder.get_connections()}

    before = connections()
    time.sleep(8)
    assert before and connections() == before


def test_consistency_is_passed_on(pair, ferry, connect, keyspace):
    session = connect(ferry, login=pair.client_login)
    session.execute("CREATE TABLE %s.t (id int PRIMARY KEY)" % keyspace)
    with pytest.raises(Unavailable) as raised:
        session.execute(SimpleStatement("INSERT INTO %s.t (id) VALUES (1)" % keyspace,
                                        consistency_level=ConsistencyLevel.THREE))
    assert raised.value.required_replicas == 3
