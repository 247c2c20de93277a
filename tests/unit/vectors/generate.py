#!/usr/bin/env python3
"""Writes requests.hex, versions.hex, answers.hex and segments.hex: frames and segments as other people's software makes them.

Requests and segments are encoded by the Python driver (pip install cassandra-driver lz4); what it cannot send (names
for values, "now in seconds") and all answers are put together here from the protocol's specification, and the answers
are read back by the driver before they are written. The .hex files are checked in: this script is only needed to
change them.
"""

import io
import struct
import sys

import lz4.block
from cassandra import ConsistencyLevel as CL
from cassandra import protocol as p
from cassandra.cluster import ContinuousPagingOptions
from cassandra.query import BatchType
from cassandra.segment import SegmentCodec

ID = bytes.fromhex("0123456789abcdeffedcba9876543210")
METADATA_ID = bytes.fromhex("aabbccddeeff00112233445566778899")
TEXT = "INSERT INTO shop.orders (id, name) VALUES (?, ?)"


def short(n):
    return struct.pack(">H", n & 0xFFFF)


def integer(n):
    return struct.pack(">i", n)


def string(s):
    s = s.encode() if isinstance(s, str) else s
    return short(len(s)) + s


def long_string(s):
    return integer(len(s)) + s.encode()


def data(b):
    return integer(-1) if b is None else integer(len(b)) + b


def frame(version, opcode, body, flags=0, stream=7):
    return struct.pack(">BBhBi", version, flags, stream, opcode, len(body)) + body


def encode(message, version, payload=None, tracing=False, stream=7):
    message.custom_payload = payload
    message.tracing = tracing
    return p.ProtocolHandler.encode_message(message, stream, version, None, False)


def dump(out, name, raw, comment=None):
    if comment:
        out.write(f"# {comment}\n")
    lines = [raw[i : i + 32].hex(" ") for i in range(0, len(raw), 32)] or [""]
    out.write(f"{name}: {lines[0]}\n")
    for line in lines[1:]:
        out.write(f"\t{line}\n")


def requests(out):
    for v in (3, 4, 5):
        flags = (lambda n: struct.pack(">I", n)) if v == 5 else (lambda n: bytes([n & 0xFF]))
        dump(out, f"v{v}_startup", encode(p.StartupMessage(cqlversion="3.4.5", options={"COMPRESSION": "lz4"}), v))
        dump(out, f"v{v}_options", encode(p.OptionsMessage(), v))
        dump(out, f"v{v}_register", encode(p.RegisterMessage(["TOPOLOGY_CHANGE", "STATUS_CHANGE", "SCHEMA_CHANGE"]), v))
        dump(out, f"v{v}_register_schema", encode(p.RegisterMessage(["SCHEMA_CHANGE"]), v))
        dump(out, f"v{v}_auth_response", encode(p.AuthResponseMessage(b"\0user\0secret"), v))
        dump(out, f"v{v}_query_plain", encode(p.QueryMessage("SELECT * FROM t", CL.ONE), v))
        everything = dict(
            serial_consistency_level=CL.LOCAL_SERIAL, fetch_size=5000, paging_state=b"page-7", timestamp=1234567890123456
        )
        m = p.QueryMessage(TEXT, CL.LOCAL_QUORUM, keyspace="shop" if v == 5 else None, **everything)
        m.query_params = [b"\0\0\0\1", None, b""]
        dump(out, f"v{v}_query_everything", encode(m, v), "3 values (1, null, empty) and every option")
        if v >= 4:
            m = p.QueryMessage(TEXT, CL.ONE)
            m.query_params = [b"ab", p._UNSET_VALUE]
            dump(out, f"v{v}_query_unset", encode(m, v, payload={"k": b"value", "n": b""}), "value, unset; payload")
        body = long_string("SELECT * FROM system.peers WHERE peer = :address") + short(CL.ONE) + flags(0x41) + short(1)
        body += string("address") + data(b"\x7f\0\0\1")
        dump(out, f"v{v}_query_named", frame(v, 0x07, body), "a value with its name")
        dump(out, f"v{v}_prepare", encode(p.PrepareMessage(TEXT), v, tracing=True))
        m = p.ExecuteMessage(ID, [b"\0\0\0\1", b"one"], CL.QUORUM, skip_meta=True, result_metadata_id=METADATA_ID)
        dump(out, f"v{v}_execute", encode(m, v))
        m = p.ExecuteMessage(ID, [b"\0\0\0\1", None], CL.TWO, result_metadata_id=METADATA_ID, **everything)
        dump(out, f"v{v}_execute_everything", encode(m, v))
        m = p.ExecuteMessage(ID, [], CL.TWO, result_metadata_id=METADATA_ID)
        dump(out, f"v{v}_execute_no_values", encode(m, v), "the flag for values, and none")
        children = [(False, TEXT, [b"\0\0\0\1", None]), (True, ID, [b"x"]), (True, METADATA_ID, [])]
        m = p.BatchMessage(
            BatchType.UNLOGGED, children, CL.EACH_QUORUM, CL.SERIAL, 99, keyspace="shop" if v == 5 else None
        )
        dump(out, f"v{v}_batch", encode(m, v), "a text and two prepared ids")
        dump(out, f"v{v}_batch_empty", encode(p.BatchMessage(BatchType.LOGGED, [], CL.ONE), v))
        body = b"\0" + short(1) + b"\0" + long_string(TEXT) + short(0) + short(CL.ONE) + flags(0x40)
        dump(out, f"v{v}_bad_batch_names", frame(v, 0x0D, body), "names in a batch cannot work (CASSANDRA-10246)")
        body = b"\0" + short(1) + b"\2" + long_string(TEXT) + short(0) + short(CL.ONE) + flags(0)
        dump(out, f"v{v}_bad_batch_kind", frame(v, 0x0D, body))
    dump(out, "v5_prepare_keyspace", encode(p.PrepareMessage(TEXT, keyspace="shop"), 5))
    body = long_string(TEXT) + short(CL.ONE) + integer(0x100) + integer(1700000000)
    dump(out, "v5_query_now", frame(5, 0x07, body), "now in seconds")
    body = long_string(TEXT) + short(CL.ONE) + b"\1" + short(1) + integer(-2)
    dump(out, "v3_query_minus_two", frame(3, 0x07, body), "below v4 any negative length is null")
    dump(out, "v4_bad_query_minus_three", frame(4, 0x07, body[:-4] + integer(-3)), "a value of length -3")
    dump(out, "v4_bad_query_negative_text", frame(4, 0x07, integer(-1) + short(1) + b"\0"))
    dump(out, "v4_bad_query_long_text", frame(4, 0x07, integer(0x7FFFFFFF) + b"SELECT"))
    dump(out, "v4_bad_query_many_values", frame(4, 0x07, long_string("x") + short(1) + b"\1" + short(65535) + data(b"")))
    dump(out, "v4_bad_register", frame(4, 0x0B, short(2) + string("STATUS_CHANGE") + string("STATUS")))


def versions(out):
    """v2 and DSE's two: what sets them apart from the others."""
    everything = dict(serial_consistency_level=CL.LOCAL_SERIAL, fetch_size=5000, paging_state=b"page-7")
    m = p.QueryMessage(TEXT, CL.LOCAL_QUORUM, **everything)
    m.query_params = [b"\0\0\0\1", None, b""]
    dump(out, "v2_startup", encode(p.StartupMessage(cqlversion="3.0.0", options={"COMPRESSION": "lz4"}), 2))
    dump(out, "v2_options", encode(p.OptionsMessage(), 2))
    dump(out, "v2_register", encode(p.RegisterMessage(["TOPOLOGY_CHANGE", "STATUS_CHANGE", "SCHEMA_CHANGE"]), 2))
    dump(out, "v2_query_everything", encode(m, 2), "3 values (1, null, empty) and every option of v2")
    dump(out, "v2_prepare", encode(p.PrepareMessage(TEXT), 2))
    m = p.ExecuteMessage(ID, [b"\0\0\0\1", None], CL.QUORUM, skip_meta=True, **everything)
    dump(out, "v2_execute_everything", encode(m, 2))
    children = [(False, TEXT, [b"\0\0\0\1", None]), (True, ID, [b"x"]), (True, METADATA_ID, [])]
    dump(out, "v2_batch", encode(p.BatchMessage(BatchType.UNLOGGED, children, CL.EACH_QUORUM), 2), "ends with consistency")
    everything["timestamp"] = 1234567890123456
    for v in (0x41, 0x42):
        second = v == 0x42
        paging = ContinuousPagingOptions(max_pages=7, max_pages_per_second=3, max_queue_size=4)
        dump(out, f"v{v}_startup", encode(p.StartupMessage(cqlversion="3.4.5", options={}), v))
        m = p.QueryMessage(TEXT, CL.LOCAL_QUORUM, keyspace="shop" if second else None, continuous_paging_options=paging,
                           **everything)
        m.query_params = [b"\0\0\0\1", None, b""]
        dump(out, f"v{v}_query_everything", encode(m, v), "continuous paging behind all the rest")
        dump(out, f"v{v}_query_plain", encode(p.QueryMessage("SELECT * FROM t", CL.ONE), v))
        body = long_string(TEXT) + short(CL.ONE) + struct.pack(">I", 0x40000084 if second else 0x40000004)
        body += integer(65536) + (string("shop") if second else b"")
        dump(out, f"v{v}_query_bytes", frame(v, 0x07, body), "the page size counts bytes")
        dump(out, f"v{v}_prepare", encode(p.PrepareMessage(TEXT, keyspace="shop" if second else None), v))
        m = p.ExecuteMessage(ID, [b"\0\0\0\1", None], CL.TWO, result_metadata_id=METADATA_ID,
                             continuous_paging_options=paging, **everything)
        dump(out, f"v{v}_execute_everything", encode(m, v))
        m = p.BatchMessage(BatchType.LOGGED, children, CL.ONE, CL.SERIAL, 99, keyspace="shop" if second else None)
        dump(out, f"v{v}_batch", encode(m, v))
        dump(out, f"v{v}_revise_cancel", encode(p.ReviseRequestMessage(1, 77), v))
    dump(out, "v66_revise_more", encode(p.ReviseRequestMessage(2, 77, next_pages=5), 0x42))
    dump(out, "v66_bad_revise_kind", frame(0x42, 0xFF, integer(3) + integer(77)))
    body = long_string(TEXT) + short(CL.ONE) + b"\x80"
    dump(out, "v4_query_keyspace_flag", frame(4, 0x07, body), "a flag that v4 does not have: nothing stands there for it")
    body = long_string(TEXT) + short(CL.ONE) + integer(0x80)
    dump(out, "v65_query_keyspace_flag", frame(0x41, 0x07, body), "nor does DSE v1")
    body = long_string(TEXT) + short(CL.ONE) + b"\x21" + short(1) + data(b"x")
    dump(out, "v2_query_timestamp_flag", struct.pack(">BBbBi", 2, 0, 7, 0x07, len(body)) + body, "v2 has no timestamps")


def read_back(raw):
    version, flags, stream, opcode, length = struct.unpack(">BBhBi", raw[:9])
    assert length == len(raw) - 9 and version & 0x80
    m = p.ProtocolHandler.decode_message(version & 0x7F, {}, stream, flags, opcode, raw[9:], None, None)
    return m.to_exception() if opcode == 0 and hasattr(m, "to_exception") else m


VARCHAR, INT, INET, UUID, BLOB, SET, MAP, LIST, UDT, TUPLE = (
    b"\0\x0d", b"\0\x09", b"\0\x10", b"\0\x0c", b"\0\x03", b"\0\x22", b"\0\x21", b"\0\x20", b"\0\x30", b"\0\x31",
)
PERSON = UDT + string("shop") + string("person") + short(2) + string("name") + VARCHAR + string("age") + INT
NESTED = MAP + INT + LIST + TUPLE + short(3) + INT + PERSON + SET + INET
CUSTOM = b"\0\0" + string("org.apache.cassandra.db.marshal.ShortType")
COLUMNS = string("id") + INT + string("deep") + NESTED + string("small") + CUSTOM


def answers(out):
    def answer(name, raw, check, comment=None):
        assert check(read_back(raw)), name
        dump(out, name, raw, comment)

    v4 = lambda opcode, body, flags=0: frame(0x84, opcode, body, flags)
    v5 = lambda opcode, body, flags=0: frame(0x85, opcode, body, flags)
    error = lambda code, text, rest=b"": integer(code) + string(text) + rest

    answer("error_server", v4(0, error(0, "it broke")), lambda m: "it broke" in str(m))
    answer("error_unavailable", v4(0, error(0x1000, "no", short(4) + integer(2) + integer(1))),
           lambda m: m.required_replicas == 2 and m.alive_replicas == 1)
    answer("error_unprepared", v4(0, error(0x2500, "unknown", string(ID))), lambda m: m.info == ID)
    answer("error_v5_cas", v5(0, error(0x1100, "slow", short(8) + integer(0) + integer(1) + string("CAS") + short(3))),
           lambda m: "CAS" in str(m))
    multimap = short(2) + string("COMPRESSION") + short(2) + string("lz4") + string("snappy")
    multimap += string("CQL_VERSION") + short(1) + string("3.4.6")
    answer("supported", v4(6, multimap), lambda m: m.cql_versions == ["3.4.6"])
    inet = b"\4\x7f\0\0\2" + integer(9042)
    answer("event_status", frame(0x84, 12, string("STATUS_CHANGE") + string("UP") + inet, stream=-1),
           lambda m: m.event_type == "STATUS_CHANGE")
    answer("event_topology", frame(0x84, 12, string("TOPOLOGY_CHANGE") + string("NEW_NODE") + inet, stream=-1),
           lambda m: m.event_type == "TOPOLOGY_CHANGE")
    created = string("CREATED") + string("TABLE") + string("shop") + string("orders")
    answer("event_schema", frame(0x85, 12, string("SCHEMA_CHANGE") + created, stream=-1),
           lambda m: m.event_args["table"] == "orders")

    rows = integer(2) + integer(1) + integer(3) + string("shop") + string("orders") + COLUMNS + integer(2)
    rows += data(b"\0\0\0\1") + data(None) + data(b"\0\5") + data(b"\0\0\0\2") + data(None) + data(None)
    answer("rows_global", v4(8, rows), lambda m: m.parsed_rows[0][0] == 1 and m.column_names == ["id", "deep", "small"],
           "3 columns with a deep type, 2 rows")
    spec = string("shop") + string("a") + string("x") + INT + string("shop") + string("b") + string("y") + VARCHAR
    rows = integer(2) + integer(2) + integer(2) + data(b"more") + spec + integer(1) + data(b"\0\0\0\7") + data(b"seven")
    extra = ID + short(2) + string("careful") + string("slow") + short(1) + string("k") + data(b"v")
    answer("rows_page", v4(8, extra + rows, 0x02 | 0x04 | 0x08), lambda m: m.paging_state == b"more" and m.warnings == [
        "careful", "slow"], "tracing id, 2 warnings, payload; a table per column; more pages")
    rows = integer(2) + integer(1 | 2 | 8) + integer(1) + data(b"more") + string(METADATA_ID) + string("k") + string("t")
    rows += string("v") + VARCHAR + integer(1) + data(b"new")
    answer("rows_v5_changed", v5(8, rows), lambda m: m.result_metadata_id == METADATA_ID and m.parsed_rows == [("new",)],
           "metadata changed, more pages")
    rows = integer(2) + integer(4) + integer(1) + integer(1) + data(b"raw")
    dump(out, "rows_no_metadata", v4(8, rows), "not read back: the driver needs the metadata of the PREPARED")
    answer("rows_empty", v4(8, integer(2) + integer(1) + integer(1) + string("k") + string("t") + string("v") + INT +
                            integer(0)), lambda m: m.parsed_rows == [])

    answer("void", v4(8, integer(1)), lambda m: m.kind == 1)
    answer("set_keyspace", v4(8, integer(3) + string("shop")), lambda m: m.new_keyspace == "shop")
    bind = string("shop") + string("orders") + string("id") + INT + string("deep") + NESTED
    result = integer(1) + integer(3) + string("shop") + string("orders") + COLUMNS
    none = integer(4) + integer(0)
    prepared = integer(4) + string(ID)
    pk = integer(2) + short(1) + short(0)
    ok = lambda m: m.query_id == ID and [c.name for c in m.bind_metadata] == ["id", "deep"]
    answer("v3_prepared", frame(0x83, 8, prepared + integer(1) + integer(2) + bind + result), ok, "no count of key columns")
    answer("v4_prepared", v4(8, prepared + integer(1) + integer(2) + pk + bind + result), ok, "2 binds, 2 key indexes")
    answer("v4_prepared_write", v4(8, prepared + integer(1) + integer(2) + pk + bind + none), ok, "no result metadata")
    answer("v5_prepared", v5(8, prepared + string(METADATA_ID) + integer(1) + integer(2) + pk + bind + result),
           lambda m: ok(m) and m.result_metadata_id == METADATA_ID, "the result metadata id behind the id")
    answer("v4_prepared_no_binds", v4(8, prepared + integer(0) + integer(0) + integer(0) + none),
           lambda m: m.query_id == ID and not m.bind_metadata)
    local = integer(0) + integer(1) + integer(0) + string("k") + string("t") + string("c") + VARCHAR + none
    answer("v4_prepared_local_spec", v4(8, prepared + local), lambda m: m.bind_metadata[0].table_name == "t",
           "the table with each column")

    dump(out, "bad_rows_many_columns", v4(8, integer(2) + integer(1) + integer(0x7FFFFFFF) + string("k") + string("t")))
    few = integer(2) + integer(1) + integer(1) + string("k") + string("t") + string("v") + INT
    dump(out, "bad_rows_many_rows", v4(8, few + integer(0x7FFFFFFF) + data(b"x")))
    dump(out, "bad_rows_no_columns", v4(8, integer(2) + integer(1) + integer(0) + string("k") + string("t") +
                                        integer(0x7FFFFFFF)), "rows without columns")
    deep = integer(2) + integer(1) + integer(1) + string("k") + string("t") + string("v") + LIST * 200 + INT + integer(0)
    dump(out, "bad_rows_deep_type", v4(8, deep), "200 lists within one another")
    dump(out, "bad_prepared_many_keys", v4(8, prepared + integer(1) + integer(1) + integer(0x7FFFFFFF) + bind + none))
    dump(out, "bad_prepared_many_binds", v4(8, prepared + integer(1) + integer(0x7FFFFFFF) + pk + bind + none))


def segments(out):
    plain = SegmentCodec()
    packed = SegmentCodec(lambda b: struct.pack(">i", len(b)) + lz4.block.compress(b, store_size=False),
                          lambda b: lz4.block.decompress(b[4:], uncompressed_size=struct.unpack(">i", b[:4])[0]))
    query = encode(p.QueryMessage("SELECT * FROM t", CL.ONE), 5)
    for name, payload, comment in (
        ("one", query, "one frame"),
        ("two", query + encode(p.OptionsMessage(), 5, stream=8), "two frames"),
        ("repeated", b"cqlferry" * 100, "compresses well"),
        ("byte", b"\0", None),
    ):
        for kind, codec in (("plain", plain), ("lz4", packed)):
            buffer = io.BytesIO()
            codec.encode(buffer, payload)
            dump(out, f"{kind}_{name}", buffer.getvalue(), comment)
    buffer = io.BytesIO()
    plain._encode_segment(buffer, query[:13], False)
    dump(out, "plain_part", buffer.getvalue(), "not self-contained")
    buffer = io.BytesIO()
    packed._encode_segment(buffer, b"abcd" * 20, False)
    dump(out, "lz4_part", buffer.getvalue(), "not self-contained")


def main():
    for name, write in (("requests", requests), ("versions", versions), ("answers", answers), ("segments", segments)):
        with open(f"{name}.hex", "w") as out:
            out.write(f"# {name}.hex - written by generate.py; the format is explained in ../vectors.h\n")
            write(out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
