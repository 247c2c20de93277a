"""An application's day with each driver, through the proxy: it connects as the driver does by itself, reads the schema,
writes and reads by simple and prepared statements, all types, pages, batches, conditional writes, errors; it learns of
a table that somebody else has made, and goes on after the proxy was killed and started again, or was one of two. One
program for each driver says what it saw; what it wrote is read from both clusters.

A language whose tool chain is not there is skipped by name.
"""

import itertools
import json
import signal

import pytest

import checklist as shown
import programs

# Users that may make keyspaces, and own what they have made.
CLERKS = {"origin": ("olga", "olga_pw"), "target": ("tom", "tom_pw")}

MODES = ["pooled-plain", "pooled-two", "dedicated-plain", "pooled-tls-auth", "dedicated-tls-auth"]
DRIVERS = list(programs.BUILDERS)
# A driver chooses version and compression by itself, but for these.
CHOSEN = {("dedicated-plain", "Python"): {"VERSION": 4}, ("dedicated-plain", "gocql-1.7"): {"VERSION": 3},
          ("dedicated-plain", "gocql-2.1"): {"VERSION": 5}, ("dedicated-plain", "Node"): {"VERSION": 3},
          ("dedicated-plain", "Java"): {"VERSION": 4, "COMPRESSION": "lz4"},
          ("pooled-tls-auth", "Java"): {"COMPRESSION": "lz4"}}

ORDINARY = {
    "v_ascii": "ascii", "v_bigint": 2**53 + 1, "v_blob": "0x0001ff", "v_boolean": True, "v_date": "2024-02-29",
    "v_decimal": 12345.678, "v_double": 1.5e300, "v_duration": "1mo2d3s", "v_float": 0.5, "v_inet": "192.0.2.7",
    "v_int": 7, "v_smallint": 300, "v_text": "välue \U0001F600", "v_time": "13:14:15.123456789",
    "v_timestamp": "2024-02-29 12:32:54.789Z", "v_timeuuid": "50554d6e-29bb-11e5-b345-feff819cdc9f", "v_tinyint": -5,
    "v_uuid": "123e4567-e89b-42d3-a456-426614174000", "v_varint": 2**70, "v_list": [1, 2, 3], "v_set": ["a", "b"],
    "v_map": {"x": 1, "y": 2}, "v_tuple": [1, "one"], "v_udt": {"name": "ann", "age": 30}, "v_nested": {"k": [1, 2]},
}
EXTREME = {
    "v_ascii": "", "v_bigint": -2**63, "v_blob": "0x", "v_boolean": False, "v_date": "1901-01-01",
    "v_decimal": -1e10, "v_double": 5e-324, "v_duration": "-1mo2d3ns", "v_float": -3.4028235e38,
    "v_inet": "2001:db8:0:0:0:0:0:1", "v_int": -2**31, "v_smallint": -2**15, "v_text": "",
    "v_time": "00:00:00.000000000", "v_timestamp": "1969-12-31 23:59:59.999Z",
    "v_timeuuid": "13814000-1dd2-11b2-8000-000000000000", "v_tinyint": 127,
    "v_uuid": "ffffffff-ffff-4fff-bfff-ffffffffffff", "v_varint": -2**70, "v_list": None, "v_set": None,
    "v_map": None, "v_tuple": [-1, ""], "v_udt": {"name": None, "age": -1}, "v_nested": None,
}

_numbers = itertools.count(1)


def shape(pair, mode):
    """Gives the clusters the shape of a mode."""
    secure = mode.endswith("-auth")
    pair.become("both-auth" if secure else "open")
    for side in pair.sides:
        side.execute("CREATE KEYSPACE IF NOT EXISTS closed WITH replication = {'class': 'SimpleStrategy', "
                     "'replication_factor': 1}")
        side.execute("CREATE TABLE IF NOT EXISTS closed.t (id int PRIMARY KEY)")
        if secure:
            side.execute("CREATE ROLE IF NOT EXISTS %s WITH PASSWORD = '%s' AND LOGIN = true" % CLERKS[side.name])
            side.execute("GRANT CREATE ON ALL KEYSPACES TO %s" % CLERKS[side.name][0])
    return secure


def proxy_of(pair, proxies, front, mode):
    """The native profile, but for dedicated-plain: that is ZDM's by its variables, primary target. With dedicated
    connections and log-in the clients' credentials are for origin, else for target. pooled-two has two instances."""
    if mode == "dedicated-plain":
        return proxies.of(mode, environment=pair.environment(PRIMARY_CLUSTER="TARGET"))
    sections = {"routing": {"primary": "origin"}, "proxy": {"backend_connections": mode.split("-")[0]}}
    if mode.endswith("-auth"):
        sections["listener"] = {"tls_cert": front / "proxy.pem", "tls_key": front / "proxy.key"}
        if mode.startswith("dedicated"):
            sections["routing"]["forward_client_credentials_to_origin"] = "true"
    if mode == "pooled-two":
        sections["proxy"]["topology_addresses"] = ", ".join(proxies.ADDRESSES)
    return proxies.of(mode, ini=pair.ini(**sections))


def options(mode, driver, secure, proxy, front, keyspace):
    chosen = {"ADDRESS": proxy.address, "PORT": proxy.port, "KEYSPACE": keyspace,
              "SCHEMA": programs.HERE / "schema.cql", "FORBIDDEN": "DROP TABLE system.local",
              **CHOSEN.get((mode, driver), {})}
    if secure:
        user, password = CLERKS["target" if mode.startswith("pooled") else "origin"]
        chosen.update(CA=front / "ca.pem", USER=user, PASSWORD=password,
                      FORBIDDEN="INSERT INTO closed.t (id) VALUES (1)")
    return chosen


def check_users(pair, mode):
    """Who is connected to each cluster besides this harness."""
    users = {"origin": {"oskar"}, "target": {"tamara"}}
    side = "target" if mode.startswith("pooled") else "origin"
    users[side].add(CLERKS[side][0])
    assert {side.name: side.users() for side in pair.sides} == users


def check_steps(trip, proxy, addresses, with_types):
    # of both profiles the system tables are origin's by default, whichever is primary
    assert trip.step("connect") == {"cluster": "origin"}
    schema = trip.step("schema")
    assert schema["columns"] == ["c", "p", "v"] and schema["key"] == ["p"]
    assert sorted(schema["hosts"]) == ["%s:%d" % (address, proxy.port) for address in addresses]
    assert trip.step("statements") == {"literal": "literal"}
    if with_types:
        assert trip.step("types") == {"wrong": []}
    paging = trip.step("paging")
    assert paging.pop("pages") >= 7
    assert paging == {"rows": 200, "sum": 199 * 100, "simple": 200}
    assert trip.step("batches") == {"counter": 5}
    assert trip.step("conditional") == {"applied": [True, False], "found": "once"}
    assert trip.step("errors") == {"seen": ["syntax", "invalid", "unauthorized"]}


def check_data(pair, keyspace, with_types):
    for side in pair.sides:
        assert side.rows("SELECT c, v FROM %s.rows WHERE p = 1" % keyspace) == \
            [(c, "välue %d" % c) for c in range(200)]
        assert side.rows("SELECT p, c, v FROM %s.rows WHERE p IN (2, 3, 4, 5)" % keyspace) == [
            (2, 1, "bound"), (2, 2, "text"), (2, 3, "bound"), (2, 4, "text"), (3, 1, "once"),
            (4, 1, "simple"), (4, 2, "literal"), (5, 1, "prepared before"), (5, 2, "simple")]
        assert side.rows("SELECT id, n FROM %s.hits" % keyspace) == [(1, 5), (2, 4)]
        for key, wanted in ((1, ORDINARY), (2, dict.fromkeys(ORDINARY)), (3, EXTREME)) if with_types else ():
            text = "SELECT JSON %s FROM %s.types WHERE id = %d" % (", ".join(ORDINARY), keyspace, key)
            seen = json.loads(side.execute(text).one().json)
            if seen["v_tuple"] == [None, None]:  # gocql writes a tuple by its elements, null too
                seen["v_tuple"] = None
            assert seen == wanted


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("mode", MODES)
def test_driver(request, tmp_path, pair, proxies, front, mode, driver):
    programs.program(driver)
    secure = shape(pair, mode)
    proxy = proxy_of(pair, proxies, front, mode)
    shown.note_profile(request.node, proxy.profile)
    keyspace = "trip%d" % next(_numbers)
    with_types = CHOSEN.get((mode, driver), {}).get("VERSION") != 3  # which has not all of them
    chosen = options(mode, driver, secure, proxy, front, keyspace)
    with programs.Trip(driver, tmp_path / "stderr", **chosen) as trip:
        check_steps(trip, proxy, proxies.ADDRESSES if mode == "pooled-two" else [proxy.address], with_types)
        trip.step("outside")
        if secure:
            check_users(pair, mode)
        pair.execute("CREATE TABLE %s.outside (id int PRIMARY KEY, x int)" % keyspace)
        trip.go_on()
        assert trip.step("events") == {"columns": ["id", "x"]}
        trip.step("restart")
        proxy.signal(signal.SIGKILL)
        proxy.wait_end()
        if mode != "pooled-two":  # there the other one is enough
            proxy.start()
        trip.go_on()
        assert trip.step("reconnect") == {"read": "prepared before"}
        trip.step("end")
        trip.wait_end()
    check_data(pair, keyspace, with_types)
