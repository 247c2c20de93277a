"""system.local, system.peers and peers_v2 as drivers see them: the proxy, never the nodes."""
import hashlib
import ipaddress
import uuid

import pytest

from cqlwire import Column, Err, Kind, Op, Type
from helpers import PRIMARIES, WAY_IDS, WAYS, assert_alive, assert_error, schema_version

TOPOLOGY = ["10.9.0.1", "10.9.0.2", "10.9.0.3"]
LOCAL = ["key", "bootstrapped", "broadcast_address", "broadcast_port", "cluster_name", "cql_version", "data_center",
         "gossip_generation", "host_id", "listen_address", "listen_port", "native_protocol_version", "partitioner", "rack",
         "release_version", "rpc_address", "rpc_port", "schema_version", "tokens", "truncated_at"]
PORTS = ("broadcast_port", "listen_port", "rpc_port")
PEERS = ["peer", "data_center", "host_id", "preferred_ip", "rack", "release_version", "rpc_address", "schema_version",
         "tokens"]


def three(index=0, tokens=8):
    return {"proxy": {"topology_addresses": ", ".join(TOPOLOGY), "topology_index": index,
                      "topology_num_tokens": tokens}}


def host_id(address, length):
    packed = ipaddress.ip_address(address).packed
    if length == 16:
        packed = bytes(10) + b"\xff\xff" + packed
    digest = bytearray(hashlib.sha1(bytes(16) + packed).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    return uuid.UUID(bytes=bytes(digest))


def tokens_of(index, count, per):
    step = 2 ** 64 // (per * count)
    return [str(step * (t * count + index) - 2 ** 63) for t in range(per)]


def assert_not_asked(bench):
    for cluster in bench.clusters:
        assert not cluster.requests(Op.QUERY, Op.PREPARE, Op.EXECUTE), cluster.requests()
        # a client's connection that asks for system.local would be taken for one of these
        assert len(cluster.control_connections()) == 1, cluster.control_connections()


async def both_ways(c, text, **params):
    """The answer to QUERY, and to PREPARE with EXECUTE; they must say the same."""
    direct = await c.query(text, **params)
    prepared = await c.prepare(text)
    assert prepared.kind == Kind.PREPARED, prepared
    executed = await c.execute(prepared, **params)
    assert (direct.kind, direct.rows) == (executed.kind, executed.rows)
    assert direct.columns == executed.columns == prepared.columns
    return direct


def test_the_formulas_of_this_file():
    assert str(host_id("127.0.0.1", 16)) == "70ce2f37-9d6d-5010-98d8-80fe51a498ed"
    assert str(host_id("127.0.0.2", 4)) == "7433272a-9ebb-540e-a4dd-8c539de36565"
    assert tokens_of(0, 1, 8)[:2] == ["-9223372036854775808", "-6917529027641081856"]
    assert tokens_of(2, 3, 8)[-1] == "8454757700450211142"


@pytest.mark.connections(109, 110)
@pytest.mark.checklist(151, 154, 155, 156, 157, 158, 159, 161, 178)
@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
async def test_local(bench, version, compression):
    c = await bench.client(version, compression)
    answer = await both_ways(c, "SELECT * FROM system.local")
    known = [name for name in LOCAL if name not in PORTS or not bench.is_zdm]
    assert [column.name for column in answer.columns] == known
    assert (answer.keyspace, answer.table) == ("system", "local")
    row, = answer.dicts()
    own = bench.proxy.listen[0]
    for name in ("rpc_address", "broadcast_address", "listen_address"):
        assert row[name] == own
    assert [row[name] for name in PORTS if name in row] == ([] if bench.is_zdm else [bench.proxy.listen[1]] * 3)
    assert row["key"] == "local" and row["rack"] == "rack0" and row["data_center"] == "dc1"
    assert row["partitioner"] == "org.apache.cassandra.dht.Murmur3Partitioner"
    assert row["cluster_name"] == "origin cluster" and row["release_version"] == "4.1.10"
    assert row["schema_version"] == schema_version(bench)
    assert row["host_id"] == host_id(own, 4)
    assert sorted(row["tokens"], key=int) == tokens_of(0, 1, 8)
    assert row["truncated_at"] is None
    assert {column.name: column.type for column in answer.columns}["tokens"] == (Type.SET, Type.VARCHAR)
    assert_not_asked(bench)


@pytest.mark.connections(111)
@pytest.mark.checklist(153)
@pytest.mark.parametrize("version", [3, 4, 5])
async def test_peers_of_a_single_proxy(bench, version):
    c = await bench.client(version)
    answer = await both_ways(c, "SELECT * FROM system.peers")
    assert answer.rows == [] and [column.name for column in answer.columns] == PEERS
    assert_not_asked(bench)


@pytest.mark.connections(107, 108, 111)
@pytest.mark.checklist(152, 155, 157, 158)
@pytest.mark.parametrize("index", [0, 1, 2])
@pytest.mark.parametrize("tokens", [1, 8])
async def test_three_proxies(make_bench, index, tokens):
    bench = await make_bench(sections=three(index, tokens))
    c = await bench.client()
    local, = (await c.query("SELECT * FROM system.local")).dicts()
    assert local["rpc_address"] == TOPOLOGY[index] and local["host_id"] == host_id(TOPOLOGY[index], 16)
    assert sorted(local["tokens"], key=int) == tokens_of(index, 3, tokens)
    peers = (await c.query("SELECT * FROM system.peers")).dicts()
    others = [i for i in range(3) if i != index]
    assert [row["peer"] for row in peers] == [TOPOLOGY[i] for i in others]
    for i, row in zip(others, peers):
        assert row["rpc_address"] == row["preferred_ip"] == TOPOLOGY[i]
        assert row["host_id"] == host_id(TOPOLOGY[i], 16) and row["rack"] == "rack0"
        assert sorted(row["tokens"], key=int) == tokens_of(i, 3, tokens)
        assert row["schema_version"] == local["schema_version"]  # drivers wait until these agree
    assert_not_asked(bench)


@pytest.mark.connections(118)
@pytest.mark.checklist(160)
@pytest.mark.parametrize("primary", PRIMARIES)
@pytest.mark.parametrize("system", PRIMARIES)
async def test_the_values_come_from_the_system_queries_cluster(make_bench, primary, system):
    bench = await make_bench(primary=primary, origin={"release_version": "4.0.1"}, target={"release_version": "5.0.2"},
                             sections={"routing": {"system_queries_mode": system}})
    c = await bench.client()
    row, = (await c.query("SELECT * FROM system.local")).dicts()
    cluster = getattr(bench, system)
    assert row["cluster_name"] == f"{system} cluster" and row["release_version"] == cluster.release_version
    assert row["schema_version"] == schema_version(bench, system)


@pytest.mark.checklist(156)
async def test_a_random_partitioner_is_shown_as_murmur3(make_bench):
    bench = await make_bench(origin={"partitioner": "RandomPartitioner"})
    c = await bench.client()
    row, = (await c.query("SELECT partitioner FROM system.local")).rows
    assert row == ["org.apache.cassandra.dht.Murmur3Partitioner"]


@pytest.mark.connections(113)
@pytest.mark.checklist(163)
@pytest.mark.parametrize("text,columns", [
    ("SELECT key, rack FROM system.local", ["key", "rack"]),
    ("SELECT rack, key, rack FROM system.local", ["rack", "key", "rack"]),
    ("SELECT rack AS Shelf, key AS \"The Key\" FROM system.local", ["shelf", "The Key"]),
    ("SELECT host_id, peer, data_center, rack, rpc_address, rpc_address, release_version, schema_version "
     "FROM system.peers",
     ["host_id", "peer", "data_center", "rack", "rpc_address", "rpc_address", "release_version", "schema_version"]),
    ("SELECT host_id, rpc_address, data_center, rack, tokens, cluster_name FROM system.local WHERE key='local'",
     ["host_id", "rpc_address", "data_center", "rack", "tokens", "cluster_name"]),
])
async def test_named_columns(make_bench, text, columns):
    bench = await make_bench(sections=three())
    c = await bench.client()
    answer = await both_ways(c, text)
    assert [column.name for column in answer.columns] == columns
    assert len(answer.rows) == (2 if "peers" in text else 1)
    assert_not_asked(bench)


DRIVER_QUERIES = [
    "SELECT * FROM system.local WHERE key='local'", "select * from system.local where key = 'local'",
    "SELECT schema_version FROM system.local WHERE key='local'", "SELECT cluster_name FROM system.local",
    "select cluster_name from system.local where key = 'local'",
    "SELECT schema_version, host_id FROM system.local WHERE key='local'",
    "SELECT schema_version FROM system.local", "SELECT * FROM system.local;", "SELECT * FROM system.local -- note",
    "/* driver */ SELECT * FROM SYSTEM.LOCAL", "SELECT * FROM \"system\".\"local\"",
    "SELECT DISTINCT key FROM system.local",
    "SELECT * FROM system.local WHERE key = 'local' LIMIT 1 ALLOW FILTERING", "SELECT * FROM system . local",
]


@pytest.mark.checklist(154, 171, 172, 175)
@pytest.mark.parametrize("text", DRIVER_QUERIES)
async def test_what_drivers_ask_of_local(bench, text):
    c = await bench.client()
    assert len((await both_ways(c, text)).rows) == 1
    assert_not_asked(bench)


@pytest.mark.checklist(154, 172)
@pytest.mark.parametrize("text", ["SELECT * FROM system.peers",
                                  "SELECT peer, rpc_address, schema_version, host_id FROM system.peers",
                                  "SELECT schema_version FROM system.peers",
                                  "SELECT host_id, rpc_address, data_center, rack, tokens FROM system.peers"])
async def test_what_drivers_ask_of_peers(make_bench, text):
    bench = await make_bench(sections=three())
    c = await bench.client()
    assert len((await both_ways(c, text)).rows) == 2
    assert_not_asked(bench)


@pytest.mark.checklist(172)
@pytest.mark.parametrize("text,rows", [
    ("SELECT * FROM system.local WHERE key = 'other'", 0), ("SELECT * FROM system.peers WHERE peer = '10.9.0.2'", 1),
    ("SELECT * FROM system.peers WHERE peer = '10.9.0.1'", 0),  # that is this one
    ("SELECT * FROM system.peers WHERE peer = '10.200.0.9'", 0), ("SELECT * FROM system.peers LIMIT 1", 1),
])
async def test_literals_in_where(make_bench, text, rows):
    bench = await make_bench(sections=three())
    c = await bench.client()
    assert len((await both_ways(c, text)).rows) == rows
    assert_not_asked(bench)


def inet(address):
    return ipaddress.ip_address(address).packed


@pytest.mark.checklist(172, 177)
@pytest.mark.parametrize("text,name,bind_type,values,rows", [
    ("SELECT * FROM system.peers WHERE peer = ?", "peer", Type.INET, [inet("10.9.0.3")], 1),
    ("SELECT * FROM system.peers WHERE peer = ?", "peer", Type.INET, [inet("10.9.0.1")], 0),
    ("SELECT * FROM system.local WHERE key = ?", "key", Type.VARCHAR, [b"local"], 1),
    ("SELECT * FROM system.local WHERE key = ?", "key", Type.VARCHAR, [b"nonsense"], 0),
])
async def test_markers_in_where(make_bench, text, name, bind_type, values, rows):
    bench = await make_bench(sections=three())
    c = await bench.client()
    answer = await both_ways(c, text, values=values)
    assert len(answer.rows) == rows
    prepared = await c.prepare(text)
    assert [(column.name, column.type) for column in prepared.bind] == [(name, bind_type)]
    assert_not_asked(bench)


@pytest.mark.checklist(172, 177)
@pytest.mark.parametrize("version", [3, 4, 5])
async def test_named_markers_in_a_query(make_bench, version):
    """The form that the Java driver sends."""
    bench = await make_bench(sections=three())
    c = await bench.client(version)
    text = "SELECT * FROM system.peers WHERE peer = :address"
    answer = await c.query(text, values=[inet("10.9.0.2")], names=["address"])
    assert [row["peer"] for row in answer.dicts()] == ["10.9.0.2"]
    prepared = await c.prepare(text)
    assert [column.name for column in prepared.bind] == ["address"]
    answer = await c.execute(prepared, values=[inet("10.9.0.3")])
    assert [row["peer"] for row in answer.dicts()] == ["10.9.0.3"]
    assert_not_asked(bench)


@pytest.mark.parametrize("values", [None, [], [None], [b"\1\2\3"], [b"1234", b"5678"]])
async def test_markers_without_a_good_value(make_bench, values):
    bench = await make_bench(sections=three())
    c = await bench.client()
    text = "SELECT * FROM system.peers WHERE peer = ?"
    for answer in (await c.query(text, values=values), await c.execute(await c.prepare(text), values=values)):
        assert answer.is_error() or answer.rows == [], answer
    await assert_alive(c, bench)


@pytest.mark.connections(114)
@pytest.mark.checklist(164, 165)
@pytest.mark.parametrize("text,name", [
    ("SELECT nonsense FROM system.local", "nonsense"),
    ("SELECT key, first_bad, second_bad FROM system.local", "first_bad"),
    ("SELECT rack, bad, key FROM system.local", "bad"), ("SELECT peer FROM system.local", "peer"),
    ("SELECT key FROM system.peers", "key"), ("SELECT \"KEY\" FROM system.local", "KEY"),
])
async def test_unknown_columns(bench, text, name):
    c = await bench.client()
    for answer in (await c.query(text), await c.prepare(text)):
        assert_error(answer, Err.INVALID, f"Undefined column name {name}")
    assert_not_asked(bench)


@pytest.mark.checklist(166)
@pytest.mark.parametrize("text", ["SELECT dse_version FROM system.local", "SELECT key, thrift_version FROM system.local",
                                  "SELECT native_transport_port FROM system.peers",
                                  "SELECT key FROM system.local WHERE workload = 'x' ALLOW FILTERING"])
async def test_columns_that_the_nodes_lack(bench, text):
    """Known, but not here: ZDM Proxy never answers."""
    c = await bench.client()
    for answer in (await c.query(text), await c.prepare(text)):
        assert_error(answer, Err.INVALID, "Undefined column name")
    assert_not_asked(bench)
    await assert_alive(c, bench)


@pytest.mark.connections(112)
@pytest.mark.checklist(167, 168)
@pytest.mark.parametrize("sections,peers", [({}, 0), (three(), 2)], ids=["one", "three"])
async def test_count(make_bench, sections, peers):
    bench = await make_bench(sections=sections)
    c = await bench.client()
    for text, name, count in (("SELECT count(*) FROM system.local", "count", 1),
                              ("SELECT COUNT(*) FROM system.peers", "count", peers),
                              ("SELECT count(1) FROM system.peers", "count", peers),
                              ("SELECT COUNT(*) AS N FROM system.peers", "n", peers)):
        answer = await both_ways(c, text)
        assert answer.rows == [[count]]
        assert (answer.columns[0].name, answer.columns[0].type) == (name, Type.BIGINT)
    assert_not_asked(bench)


@pytest.mark.checklist(169)
@pytest.mark.parametrize("sections,expected", [({}, [0, None]), (three(), [2, "10.9.0.2"])], ids=["one", "three"])
async def test_count_beside_columns(make_bench, sections, expected):
    """One row: the count, and the columns of the first other instance."""
    bench = await make_bench(sections=sections)
    c = await bench.client()
    assert (await both_ways(c, "SELECT count(*), peer FROM system.peers")).rows == [expected]
    assert_not_asked(bench)


@pytest.mark.connections(117)
@pytest.mark.checklist(162)
async def test_native_transport_columns_show_the_proxy(make_bench):
    """DSE has them; they must not lead drivers past the proxy."""
    more = [Column("native_transport_address", Type.INET), Column("native_transport_port", Type.INT),
            Column("dse_version")]

    def configure(bench):
        bench.origin.local_columns += more
        bench.origin.peers_columns += more
        for overrides in (bench.origin.local_overrides, bench.origin.peers_overrides):
            overrides.update(native_transport_address=lambda node: node.address, native_transport_port=9042,
                             dse_version="6.8.1")
    bench = await make_bench(fresh=True, configure=configure, sections=three(1))
    c = await bench.client()
    row, = (await c.query("SELECT * FROM system.local")).dicts()
    port = bench.proxy.listen[1]
    assert (row["native_transport_address"], row["native_transport_port"]) == (TOPOLOGY[1], port)
    assert row["dse_version"] == "6.8.1"
    for row in (await c.query("SELECT peer, native_transport_address, native_transport_port FROM system.peers")).rows:
        assert row == [row[0], row[0], port]


@pytest.mark.native
async def test_schema_versions_are_fresh(make_bench):
    """Drivers wait after DDL until all schema versions agree; an old one would keep them waiting."""
    bench = await make_bench(fresh=True, sections=three())
    c = await bench.client()
    bench.origin.schema_version = uuid.uuid4()
    assert bench.origin.emit("SCHEMA_CHANGE", "CREATED", "KEYSPACE", "ks", control=True) == 1

    async def shown():
        local = (await c.query("SELECT schema_version FROM system.local")).rows
        peers = (await c.query("SELECT schema_version FROM system.peers")).rows
        return local + peers == [[schema_version(bench)]] * 3
    await bench.proxy.until(shown, "new schema version")


OLD = {"release_version": "3.11.19", "versions": (3, 4)}


@pytest.mark.connections(115)
@pytest.mark.checklist(170)
@pytest.mark.parametrize("settings", [{"sections": {"proxy": {"profile": "zdm"}}}, {"origin": OLD}, {"target": OLD},
                                      {"origin": OLD, "target": OLD}], ids=["zdm", "origin", "target", "both"])
@pytest.mark.parametrize("text", ["SELECT * FROM system.peers_v2", "SELECT peer, peer_port FROM system.peers_v2",
                                  "SELECT * FROM system.peers_v2 WHERE peer = '1.2.3.4' AND peer_port = 7000",
                                  "select nonsense from SYSTEM.PEERS_V2"])
async def test_peers_v2_does_not_exist(make_bench, settings, text):
    """Where a cluster has none, and with the zdm profile never: drivers fall back to system.peers."""
    bench = await make_bench(**settings)
    c = await bench.client()
    for answer in (await c.query(text), await c.prepare(text)):
        assert_error(answer, Err.INVALID, "unconfigured table peers_v2")
    assert_not_asked(bench)


@pytest.mark.connections(113)
@pytest.mark.checklist(173)
async def test_unqualified_names_in_keyspace_system(bench):
    c = await bench.client(keyspace="system")
    assert (await c.query("SELECT * FROM local")).dicts()[0]["rpc_address"] == bench.proxy.listen[0]
    assert (await c.query("SELECT * FROM peers")).rows == []
    answer = await c.query("SELECT * FROM peers_v2")
    if bench.is_zdm:
        assert_error(answer, Err.INVALID, "unconfigured table peers_v2")
    else:
        assert answer.rows == []
    prepared = await c.prepare("SELECT * FROM local")
    assert (await c.execute(prepared)).dicts()[0]["rack"] == "rack0"
    for cluster in bench.clusters:
        assert cluster.statements() == ["USE system"]


@pytest.mark.connections(113)
@pytest.mark.checklist(173)
async def test_the_keyspace_of_a_v5_request(bench):
    c = await bench.client(5, keyspace="ks")
    assert (await c.query("SELECT * FROM local", keyspace="system")).dicts()[0]["rack"] == "rack0"
    prepared = await c.prepare("SELECT * FROM peers", keyspace="system")
    assert (await c.execute(prepared)).rows == []
    assert (await c.query("SELECT * FROM local")).dicts()[0]["keyspace"] == "ks"


@pytest.mark.checklist(174)
async def test_tables_of_the_same_name_elsewhere(bench):
    c = await bench.client(keyspace="ks")
    for text in ("SELECT * FROM ks1.local", "SELECT * FROM ks1.peers", "SELECT * FROM peers",
                 "SELECT * FROM \"Local\""):
        assert (await c.query(text)).rows[0][0] == "origin"
    assert len(bench.origin.requests(Op.QUERY)) == 5  # USE and these


@pytest.mark.connections(116)
@pytest.mark.checklist(176)
async def test_prepared_on_one_connection_executed_on_another(bench):
    one, other = await bench.client(4), await bench.client(5, "lz4")
    text = "SELECT * FROM system.local"
    prepared = await one.prepare(text)
    assert prepared.prepared_id == hashlib.md5(text.encode()).digest()
    assert (await other.execute(prepared.prepared_id)).dicts()[0]["rack"] == "rack0"
    assert (await other.execute(prepared.prepared_id, skip_metadata=True, page_size=1)).rows
    assert_not_asked(bench)


async def test_writes_to_these_tables_are_the_clusters_to_refuse(bench):
    c = await bench.client()
    assert (await c.query("INSERT INTO system.local (key) VALUES ('x')")).kind == Kind.VOID
    for cluster in bench.clusters:
        assert len(cluster.requests(Op.QUERY)) == 1


async def test_many_at_once(bench):
    c = await bench.client(5, "lz4")
    for i in range(300):
        c.send_query("SELECT * FROM system.local" if i % 3 else f"SELECT {i} FROM ks.t", stream=i)
    for i in range(300):
        answer = await c.answer(i)
        assert answer.rows[0][0] == ("local" if i % 3 else "origin")


@pytest.mark.checklist(159)
async def test_nodes_of_an_old_cluster(make_bench):
    """Without rpc_port and friends, and with an rpc_address that says "all": the proxy copes."""
    bench = await make_bench(fresh=True, origin={"release_version": "3.11.19", "versions": (3, 4)})
    c = await bench.client()
    row, = (await c.query("SELECT * FROM system.local")).dicts()
    assert row["release_version"] == "3.11.19" and row["rpc_address"] == bench.proxy.listen[0]
