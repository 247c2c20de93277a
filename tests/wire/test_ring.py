"""Replicas and partition keys as the Python driver has them: no proxy here, but tests/unit/ring_dump.c."""
import datetime
import decimal
import io
import ipaddress
import os
import random
import subprocess
import uuid
from pathlib import Path
from types import SimpleNamespace

import pytest
from cassandra import ConsistencyLevel
from cassandra.cqltypes import lookup_casstype
from cassandra.metadata import KeyspaceMetadata, Murmur3Token, TokenMap
from cassandra.protocol import ExecuteMessage
from cassandra.query import UNSET_VALUE, BoundStatement, PreparedStatement
from cassandra.util import Date, Time

from cqlwire import Column, Type, Writer, responses
from proxy import binary

LOW, HIGH = -2 ** 63, 2 ** 63 - 1
VNODES = 16
REMOTE = 255


@pytest.fixture(scope="session")
def ring_dump():
    """Sends lines to ring_dump, made in the folder of the proxy; returns its lines."""
    build = Path(binary()).resolve().parent
    environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL")}
    subprocess.run(["make", "-s", "tests/unit/ring_dump"], cwd=build, env=environment, check=True, timeout=300)

    def run(lines):
        done = subprocess.run([build / "tests" / "unit" / "ring_dump"], input="\n".join(lines) + "\n", text=True,
                              capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()
    return run


# ---- replicas ----

class Host(SimpleNamespace):
    def __hash__(self):
        return self.number


def make_hosts(rng, places):
    """Hosts with VNODES random tokens each; places are (tier, datacenter, rack), in the order of tiers."""
    used = [rng.randint(LOW, HIGH) for _ in range(VNODES * len(places))]
    return [Host(number=i, tier=tier, datacenter=datacenter, rack=rack, tokens=used[i * VNODES:(i + 1) * VNODES])
            for i, (tier, datacenter, rack) in enumerate(places)]


# Six nodes in two datacenters: of four nodes in three racks, and of two in two.
SIX = [(0, "dc1", "r1"), (0, "dc1", "r1"), (0, "dc1", "r2"), (0, "dc1", "r3"), (1, "dc2", "r1"), (1, "dc2", "r2")]
SIX_REMOTE = [(REMOTE if tier else 0, datacenter, rack) for tier, datacenter, rack in SIX]
ONE_RACK = [(0, "dc1", "r1")] * 4 + [(1, "dc2", "r1")] * 2

SIMPLE = [{"class": "SimpleStrategy", "replication_factor": str(n)} for n in (1, 2, 3, 5, 6, 9)]
NETWORK = [{"class": "org.apache.cassandra.locator.NetworkTopologyStrategy", **factors} for factors in (
    {"dc1": "1"}, {"dc1": "2"}, {"dc1": "3"}, {"dc1": "4"}, {"dc1": "7"}, {"dc2": "1"}, {"dc2": "3"},
    {"dc1": "3", "dc2": "2"}, {"dc1": "2", "dc2": "1"}, {"dc1": "1", "dc2": "5"}, {"dc1": "0", "dc2": "2"},
    {"dc1": "2", "dc9": "3"}, {"dc9": "3"})]


def driver_map(hosts, replication):
    owners = {Murmur3Token(t): host for host in hosts for t in host.tokens}
    options = {key: value for key, value in replication.items() if key != "class"}
    name = replication["class"].rpartition(".")[2]
    keyspaces = {"ks": KeyspaceMetadata("ks", True, name, options)}
    return TokenMap(Murmur3Token, owners, sorted(owners), SimpleNamespace(keyspaces=keyspaces))


def own_placement(hosts, replication, token):
    """The hosts by the rules of Cassandra's strategies, looked for the slow way."""
    ring = sorted((t, host.number) for host in hosts for t in host.tokens)
    walk = [hosts[n] for t, n in ring if t >= token] + [hosts[n] for t, n in ring if t < token]
    if replication["class"] == "SimpleStrategy":
        found = list(dict.fromkeys(host.number for host in walk))[:int(replication["replication_factor"])]
        return sorted(found, key=lambda n: hosts[n].tier)
    found = []
    for datacenter in dict.fromkeys(host.datacenter for host in hosts):
        here = [host for host in walk if host.datacenter == datacenter]
        factor = int(replication.get(datacenter, 0))
        repeats = factor - len({host.rack for host in here})
        chosen, racks = [], set()
        for host in here:
            if len(chosen) == factor or host.number in chosen:
                continue
            if host.rack in racks:
                if repeats <= 0:
                    continue
                repeats -= 1
            racks.add(host.rack)
            chosen.append(host.number)
        found += chosen
    return found


def describe(hosts, keyspaces):
    for host in hosts:
        yield f"host {host.tier} {host.datacenter} {host.rack} {','.join(map(str, host.tokens)) or '-'}"
    for name, replication in keyspaces.items():
        options = " ".join(f"{key}={value}" for key, value in replication.items() if key != "class")
        yield f"keyspace {name} {replication['class']} {options}".rstrip()
    yield "build"


def sample_tokens(rng, hosts):
    """Random ones, and those at and around the nodes' own."""
    own = [t + d for host in hosts for t in host.tokens[:4] for d in (-1, 0, 1)]
    return own + [LOW, LOW + 1, 0, HIGH] + [rng.randint(LOW, HIGH) for _ in range(150)]


@pytest.mark.parametrize("places", (SIX, SIX_REMOTE, ONE_RACK, [(0, "dc1", "r1")]), ids=("six", "remote", "racks", "one"))
@pytest.mark.parametrize("replication", SIMPLE + NETWORK, ids=lambda r: "-".join(map(str, r.values())).rpartition(".")[2])
def test_replicas_are_the_drivers(ring_dump, places, replication):
    """For each token the driver's token map and ours name the same nodes, and ours in the order of the walk."""
    rng = random.Random(repr((places, replication)))
    hosts = make_hosts(rng, places)
    token_map = driver_map(hosts, replication)
    tokens = sample_tokens(rng, hosts)
    answers = ring_dump([*describe(hosts, {"ks": replication}), *(f"replicas ks {token}" for token in tokens)])
    assert answers[0] == f"ring {sum(host.tier != REMOTE for host in hosts)}"
    for token, answer in zip(tokens, answers[1:], strict=True):
        ours = [int(n) for n in answer.split()]
        drivers = [host.number for host in token_map.get_replicas("ks", Murmur3Token(token))]
        reachable = {n for n in drivers if hosts[n].tier != REMOTE}
        # The driver's list can have a node twice, with a rack used twice: then it lacks another one.
        if len(set(drivers)) == len(drivers):
            assert set(ours) == reachable, token
        else:
            assert set(ours) >= reachable, token
        expected = own_placement(hosts, replication, token)
        assert ours == [n for n in expected if hosts[n].tier != REMOTE], token


def test_nodes_without_tokens(ring_dump):
    """They take no part, and those that have some are found as without them."""
    rng = random.Random(7)
    hosts = make_hosts(rng, SIX)
    bare = Host(number=6, tier=1, datacenter="dc2", rack="r3", tokens=[])
    replication = {"class": "NetworkTopologyStrategy", "dc1": "3", "dc2": "3"}
    token_map = driver_map(hosts, replication)
    tokens = sample_tokens(rng, hosts)
    answers = ring_dump([*describe([*hosts, bare], {"ks": replication}), *(f"replicas ks {token}" for token in tokens)])
    assert answers[0] == "ring 7"
    for token, answer in zip(tokens, answers[1:], strict=True):
        drivers = {host.number for host in token_map.get_replicas("ks", Murmur3Token(token))}
        assert {int(n) for n in answer.split()} == drivers | {4, 5}


def test_no_tokens_at_all(ring_dump):
    assert ring_dump(describe([Host(number=0, tier=0, datacenter="dc1", rack="r1", tokens=[])], {})) == ["no ring"]


def test_strategies_that_place_nothing(ring_dump):
    hosts = make_hosts(random.Random(1), SIX)
    keyspaces = {"system": {"class": "org.apache.cassandra.locator.LocalStrategy"},
                 "dse": {"class": "org.apache.cassandra.locator.EverywhereStrategy"},
                 "odd": {"class": "com.example.Odd", "replication_factor": "3"}}
    names = [*keyspaces, "absent"]
    assert ring_dump([*describe(hosts, keyspaces), *(f"replicas {name} 5" for name in names)])[1:] == ["unknown"] * 4


# ---- keys ----

def samples(rng):
    """Values of every type that a partition key may have."""
    number = rng.getrandbits
    return {
        "AsciiType": "".join(chr(rng.randint(1, 127)) for _ in range(rng.randint(1, 40))),
        "BooleanType": bool(number(1)),
        "ByteType": rng.randint(-128, 127),
        "BytesType": rng.randbytes(rng.randint(1, 300)),
        "DecimalType": decimal.Decimal(rng.randint(-10 ** 20, 10 ** 20)).scaleb(-rng.randint(0, 9)),
        "DoubleType": rng.uniform(-1e300, 1e300),
        "FloatType": rng.uniform(-1e30, 1e30),
        "InetAddressType": str(ipaddress.ip_address(number(32)) if number(1) else ipaddress.IPv6Address(number(128))),
        "Int32Type": rng.randint(-2 ** 31, 2 ** 31 - 1),
        "IntegerType": rng.randint(-2 ** 90, 2 ** 90),
        "LongType": rng.randint(LOW, HIGH),
        "ShortType": rng.randint(-2 ** 15, 2 ** 15 - 1),
        "SimpleDateType": Date(rng.randint(-10000, 10000)),
        "TimestampType": datetime.datetime(2001, 1, 1) + datetime.timedelta(milliseconds=number(36)),
        "TimeType": Time(rng.randint(0, 86400 * 10 ** 9 - 1)),
        "TimeUUIDType": uuid.uuid1(number(48), number(14)),
        "UTF8Type": "".join(rng.choice("aä€𝄞") for _ in range(rng.randint(1, 40))),
        "UUIDType": uuid.UUID(int=number(128), version=4),
        "FrozenType(ListType(Int32Type))": [rng.randint(0, 9) for _ in range(number(3))],
        "FrozenType(SetType(UTF8Type))": {str(number(8)) for _ in range(number(3))},
        "FrozenType(MapType(UTF8Type, LongType))": {str(number(8)): number(60) for _ in range(number(3))},
        "FrozenType(TupleType(Int32Type, UTF8Type))": (number(31), "x" * number(5)),
    }


TYPES = list(samples(random.Random(0)))


class Statement:
    """A statement with variables of these types, prepared on both sides; `key` has the positions of the key."""

    def __init__(self, version, types, key):
        self.version = version
        names = [f"column{i}" for i in range(len(types))]
        metadata = [SimpleNamespace(keyspace_name="ks", table_name="t", name=name, type=lookup_casstype(t))
                    for name, t in zip(names, types)]
        self.prepared = PreparedStatement(metadata, b"id", list(key) or None, "", "ks", version, [], b"result")
        # The types on the wire do not matter to us.
        self.line = f"prepared {version} " + responses.prepared(
            version, b"id", [Column(name, Type.BLOB) for name in names], key, [], result_id=b"result").hex()

    def bind(self, values):
        return BoundStatement(self.prepared).bind(values)

    def execute(self, bound):
        message = ExecuteMessage(b"id", bound.values, ConsistencyLevel.ONE, ConsistencyLevel.SERIAL, fetch_size=10,
                                 timestamp=5, result_metadata_id=b"result")
        body = io.BytesIO()
        message.send_body(body, self.version)
        return f"execute {self.version} {body.getvalue().hex()}"


def token_of(bound):
    return str(Murmur3Token.from_key(bound.routing_key).value)


@pytest.mark.parametrize("version", (4, 5))
def test_single_keys_of_all_types(ring_dump, version):
    rng = random.Random(version)
    lines, expected = [], []
    for name in TYPES:
        for position in range(3):
            types = rng.sample(TYPES, 3)
            types[position] = name
            statement = Statement(version, types, [position])
            lines.append(statement.line)
            expected.append(f"key {position}")
            for _ in range(8):
                values = [samples(rng)[t] if i == position or rng.random() < 0.6 else rng.choice((None, UNSET_VALUE))
                          for i, t in enumerate(types)]
                bound = statement.bind(values)
                lines.append(statement.execute(bound))
                expected.append(token_of(bound))
    assert ring_dump(lines) == expected


@pytest.mark.parametrize("version", (4, 5))
def test_composite_keys(ring_dump, version):
    """Of two to five columns, in any order among the variables."""
    rng = random.Random(version)
    lines, expected = [], []
    for _ in range(150):
        types = rng.choices(TYPES, k=rng.randint(2, 8))
        key = rng.sample(range(len(types)), rng.randint(2, min(5, len(types))))
        statement = Statement(version, types, key)
        lines.append(statement.line)
        expected.append("key " + " ".join(map(str, key)))
        for _ in range(3):
            bound = statement.bind([samples(rng)[t] if i in key else None for i, t in enumerate(types)])
            lines.append(statement.execute(bound))
            expected.append(token_of(bound))
    assert ring_dump(lines) == expected


def test_keys_without_a_token(ring_dump):
    """Null, unset and empty keys, and statements whose key no variable holds."""
    single = Statement(4, ["UTF8Type", "UTF8Type"], [1])
    both = Statement(4, ["UTF8Type", "UTF8Type"], [0, 1])
    none = Statement(4, ["UTF8Type"], [])
    unset = single.bind(["v", "k"])
    unset.values[1] = UNSET_VALUE
    lines = [single.line, single.execute(single.bind(["v", None])), single.execute(single.bind(["v", ""])),
             single.execute(unset), both.line, both.execute(both.bind([None, "x"])),
             both.execute(both.bind(["", ""])), none.line, none.execute(none.bind(["v"]))]
    assert ring_dump(lines) == ["key 1", *["no token"] * 3, "key 0 1", "no token",
                                token_of(both.bind(["", ""])), "no key", "no token"]


def test_an_old_version_has_no_key(ring_dump):
    """Protocol v3 says nothing of the key in PREPARED."""
    statement = Statement(3, ["UTF8Type"], [0])
    assert ring_dump([statement.line, statement.execute(statement.bind(["k"]))]) == ["no key", "no token"]


def named_execute(version, values):
    w = Writer().short_bytes(b"id").short(ConsistencyLevel.ONE).byte(0x41).short(len(values))
    for name, value in values:
        w.string(name).bytes(value)
    return f"execute {version} {w.done().hex()}"


def test_values_by_name(ring_dump):
    statement = Statement(4, ["UTF8Type"] * 3, [2, 0])
    bound = statement.bind(["first", "v", "second"])
    named = [("column1", b"v"), ("column0", b"first"), ("other", b"?"), ("column2", b"second")]
    lines = [statement.line, statement.execute(bound), named_execute(4, named), named_execute(4, named[:3])]
    assert ring_dump(lines) == ["key 2 0", token_of(bound), token_of(bound), "no token"]
