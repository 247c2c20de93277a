"""The round trip of test_drivers.py with the Python driver."""

import datetime
import decimal
import ipaddress
import json
import os
import ssl
import sys
import time
import uuid

from cassandra import InvalidRequest, Unauthorized
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import Cluster
from cassandra.concurrent import execute_concurrent_with_args
from cassandra.protocol import SyntaxException
from cassandra.query import BatchStatement, BatchType, SimpleStatement
from cassandra.util import Date, Duration, Time

TYPES = ("v_ascii, v_bigint, v_blob, v_boolean, v_date, v_decimal, v_double, v_duration, v_float, v_inet, v_int, "
         "v_smallint, v_text, v_time, v_timestamp, v_timeuuid, v_tinyint, v_uuid, v_varint, v_list, v_set, v_map, "
         "v_tuple, v_udt, v_nested")
PATIENCE = 30


class Person:
    def __init__(self, name, age):
        self.name = name
        self.age = age

    def __eq__(self, other):
        return (self.name, self.age) == (other.name, other.age)


ORDINARY = ["ascii", 2**53 + 1, b"\0\1\xff", True, Date("2024-02-29"), decimal.Decimal("12345.678"), 1.5e300,
            Duration(1, 2, 3000000000), 0.5, "192.0.2.7", 7, 300, "välue \U0001F600", Time("13:14:15.123456789"),
            datetime.datetime(2024, 2, 29, 12, 32, 54, 789000), uuid.UUID("50554d6e-29bb-11e5-b345-feff819cdc9f"), -5,
            uuid.UUID("123e4567-e89b-42d3-a456-426614174000"), 2**70, [1, 2, 3], {"a", "b"}, {"x": 1, "y": 2},
            (1, "one"), Person("ann", 30), {"k": [1, 2]}]
EXTREME = ["", -2**63, b"", False, Date("1901-01-01"), decimal.Decimal("-1E+10"), 5e-324, Duration(-1, -2, -3),
           -3.4028234663852886e38, "2001:db8::1", -2**31, -2**15, "", Time(0),
           datetime.datetime(1969, 12, 31, 23, 59, 59, 999000), uuid.UUID("13814000-1dd2-11b2-8000-000000000000"), 127,
           uuid.UUID("ffffffff-ffff-4fff-bfff-ffffffffffff"), -2**70, [], set(), {}, (-1, ""), Person(None, -1), {}]


def option(name):
    return os.environ.get("TRIP_" + name) or None


def tell(step, **more):
    print(json.dumps(dict(more, step=step)), flush=True)


def ask(step):
    """Tells the test that it is its turn, and waits for it."""
    tell(step)
    if not sys.stdin.readline():
        sys.exit(3)


def connect():
    options = {}
    if option("CA"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(option("CA"))
        options.update(ssl_context=context, ssl_options={"server_hostname": option("ADDRESS")})
    if option("USER"):
        options.update(auth_provider=PlainTextAuthProvider(option("USER"), option("PASSWORD")))
    if option("VERSION"):
        options.update(protocol_version=int(option("VERSION")))
    return Cluster([option("ADDRESS")], port=int(option("PORT")), **options)


def schema(cluster, keyspace):
    table = cluster.metadata.keyspaces[keyspace].tables["rows"]
    tell("schema", columns=sorted(table.columns), key=[column.name for column in table.partition_key],
         hosts=["%s:%d" % (host.endpoint.address, host.endpoint.port) for host in cluster.metadata.all_hosts()],
         version=cluster.protocol_version)


def statements(session, insert):
    session.execute("INSERT INTO rows (p, c, v) VALUES (4, 1, %s)", ("simple",))
    session.execute("INSERT INTO rows (p, c, v) VALUES (4, 2, 'literal')")
    execute_concurrent_with_args(session, insert, [(1, c, "välue %d" % c) for c in range(200)])
    tell("statements", literal=session.execute("SELECT v FROM rows WHERE p = 4 AND c = 2").one().v)


def types(session):
    insert = session.prepare("INSERT INTO types (id, %s) VALUES (?%s)" % (TYPES, ", ?" * 25))
    select = session.prepare("SELECT %s FROM types WHERE id = ?" % TYPES)
    wrong = []
    for key, values in ((1, ORDINARY), (2, [None] * 25), (3, EXTREME)):
        session.execute(insert, [key, *values])
        for name, wrote, read in zip(TYPES.split(", "), values, session.execute(select, (key,)).one()):
            # an empty collection is null
            if isinstance(wrote, (list, set, dict)):
                same = wrote == read or not wrote and read is None
            elif name == "v_inet" and wrote:
                same = ipaddress.ip_address(wrote) == ipaddress.ip_address(read)
            else:
                same = wrote == read
            if not same:
                wrong.append("%d %s: %r %r" % (key, name, wrote, read))
    tell("types", wrong=wrong)


def paging(session):
    select = session.prepare("SELECT c, v FROM rows WHERE p = ?")
    select.fetch_size = 30
    result = session.execute(select, (1,))
    rows, pages = list(result.current_rows), 1
    while result.has_more_pages:
        result.fetch_next_page()
        rows += result.current_rows
        pages += 1
    assert all(row.v == "välue %d" % row.c for row in rows)
    simple = list(session.execute(SimpleStatement("SELECT c FROM rows WHERE p = 1", fetch_size=30)))
    tell("paging", rows=len(rows), sum=sum(row.c for row in rows), pages=pages, simple=len(simple))


def batches(session, insert):
    for kind, first in ((BatchType.LOGGED, 1), (BatchType.UNLOGGED, 3)):
        batch = BatchStatement(batch_type=kind)
        batch.add(insert, (2, first, "bound"))
        batch.add(SimpleStatement("INSERT INTO rows (p, c, v) VALUES (2, %s, 'text')"), (first + 1,))
        session.execute(batch)
    add = session.prepare("UPDATE hits SET n = n + ? WHERE id = ?")
    session.execute(add, (3, 1))
    batch = BatchStatement(batch_type=BatchType.COUNTER)
    batch.add(add, (2, 1))
    batch.add(add, (4, 2))
    session.execute(batch)
    tell("batches", counter=session.execute("SELECT n FROM hits WHERE id = 1").one().n)


def conditional(session):
    insert = session.prepare("INSERT INTO rows (p, c, v) VALUES (3, 1, ?) IF NOT EXISTS")
    results = [session.execute(insert, (value,)) for value in ("once", "twice")]
    tell("conditional", applied=[result.was_applied for result in results], found=results[1].one().v)


def errors(session):
    names = {SyntaxException: "syntax", InvalidRequest: "invalid", Unauthorized: "unauthorized"}
    seen = []
    for text in ("SELEKT v FROM rows", "SELECT v FROM no_such_table", option("FORBIDDEN")):
        try:
            session.execute(text)
            seen.append("nothing")
        except Exception as error:
            seen.append(names.get(type(error), repr(error)))
    tell("errors", seen=seen)


def events(cluster, keyspace):
    deadline = time.monotonic() + PATIENCE
    while "outside" not in cluster.metadata.keyspaces[keyspace].tables and time.monotonic() < deadline:
        time.sleep(0.05)
    table = cluster.metadata.keyspaces[keyspace].tables.get("outside")
    tell("events", columns=sorted(table.columns) if table else None)


def reconnect(session, insert):
    """The session goes on, and with it a statement that was prepared before."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            session.execute(insert, (5, 1, "prepared before"))
            break
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    session.execute("INSERT INTO rows (p, c, v) VALUES (5, 2, 'simple')")
    tell("reconnect", read=session.execute("SELECT v FROM rows WHERE p = 5 AND c = 1").one().v)


def main():
    keyspace = option("KEYSPACE")
    with open(option("SCHEMA")) as file:
        first, *more = file.read().replace("$KEYSPACE", keyspace).splitlines()
    cluster = connect()
    session = cluster.connect()
    tell("connect", cluster=session.execute("SELECT cluster_name FROM system.local").one().cluster_name)
    session.execute(first)
    session.set_keyspace(keyspace)
    for text in more:
        session.execute(text)
    cluster.register_user_type(keyspace, "person", Person)
    insert = session.prepare("INSERT INTO rows (p, c, v) VALUES (?, ?, ?)")
    schema(cluster, keyspace)
    statements(session, insert)
    types(session)
    paging(session)
    batches(session, insert)
    conditional(session)
    errors(session)
    ask("outside")
    events(cluster, keyspace)
    ask("restart")
    reconnect(session, insert)
    tell("end")
    cluster.shutdown()


main()
