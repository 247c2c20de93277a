"""Bodies of answers: builders for the fake cluster, parsers for the client."""
import hashlib
import ipaddress
import uuid
from dataclasses import dataclass, field

from .const import CL, Err, FrameFlag, Kind, Op, RowsFlag, Type, has_continuous_paging, has_keyspace, has_short_head
from .primitives import Reader, WireError, Writer


# ---- types and columns ----

@dataclass
class Column:
    name: str
    type: object = Type.VARCHAR  # a Type, or a tuple (LIST, t), (SET, t), (MAP, k, v)
    keyspace: str = None         # None: the table of the whole metadata
    table: str = None


def write_type(w, t):
    if isinstance(t, tuple):
        w.short(t[0])
        for inner in t[1:]:
            write_type(w, inner)
    else:
        w.short(t)


def read_type(r):
    t = Type(r.short())
    if t in (Type.LIST, Type.SET):
        return (t, read_type(r))
    if t == Type.MAP:
        return (t, read_type(r), read_type(r))
    if t == Type.CUSTOM:
        return (t, r.string())
    if t == Type.TUPLE:
        return (t, *(read_type(r) for _ in range(r.short())))
    return t


def pack(value, t, short=False):
    """A Python value as the bytes of type t; None is null. short: collections as v2 has them, with 2-byte lengths."""
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(t, tuple):
        w = Writer()
        put = w.short_bytes if short else w.bytes
        w.short(len(value)) if short else w.int(len(value))
        for item in value:
            put(pack(item, t[1], short))
            if t[0] == Type.MAP:
                put(pack(value[item], t[2], short))
        return w.done()
    if t in (Type.VARCHAR, Type.ASCII):
        return value.encode()
    if t == Type.INT:
        return value.to_bytes(4, "big", signed=True)
    if t == Type.BIGINT:
        return value.to_bytes(8, "big", signed=True)
    if t == Type.BOOLEAN:
        return bytes([value])
    if t == Type.INET:
        return ipaddress.ip_address(value).packed
    if t == Type.UUID:
        return value.bytes
    raise ValueError(f"no packing for {t}")


#: types that are signed integers of so many bytes (timestamp: milliseconds, time: nanoseconds)
INTEGERS = {Type.INT: 4, Type.BIGINT: 8, Type.SMALLINT: 2, Type.TINYINT: 1, Type.TIMESTAMP: 8, Type.TIME: 8,
            Type.COUNTER: 8}


def unpack(data, t, short=False):
    if data is None:
        return None
    if isinstance(t, tuple) and t[0] in (Type.SET, Type.LIST, Type.MAP):
        r = Reader(data)
        take = r.short_bytes if short else r.bytes
        count = r.short() if short else r.int()
        if t[0] == Type.MAP:
            items = {unpack(take(), t[1], short): unpack(take(), t[2], short) for _ in range(count)}
        else:
            items = [unpack(take(), t[1], short) for _ in range(count)]
        if r.left():
            raise WireError(f"{r.left()} bytes too many in a collection")
        return items
    if t in (Type.VARCHAR, Type.ASCII):
        return data.decode()
    if t in INTEGERS:
        if len(data) != INTEGERS[t]:
            raise WireError(f"{len(data)} bytes for a {t!r}")
        return int.from_bytes(data, "big", signed=True)
    if t == Type.BOOLEAN:
        return bool(data[0])
    if t == Type.INET:
        return str(ipaddress.ip_address(data))
    if t in (Type.UUID, Type.TIMEUUID):
        return uuid.UUID(bytes=data)
    return data


# ---- builders ----

def error(code, text, version=4, **fields):
    """An ERROR body; `fields` are those that section 9 of the specification gives the code."""
    w = Writer().int(code).string(text)
    f = dict(consistency=CL.LOCAL_ONE, received=0, block_for=1, data_present=False, write_type="SIMPLE", required=1,
             alive=0, contentions=0, failures=1, keyspace="ks", table="t", function="f", arg_types=(), id=b"",
             extra=b"")
    f.update(fields)
    if code == Err.UNAVAILABLE:
        w.short(f["consistency"]).int(f["required"]).int(f["alive"])
    elif code == Err.WRITE_TIMEOUT:
        w.short(f["consistency"]).int(f["received"]).int(f["block_for"]).string(f["write_type"])
        if version == 5 and f["write_type"] == "CAS":
            w.short(f["contentions"])
    elif code == Err.READ_TIMEOUT:
        w.short(f["consistency"]).int(f["received"]).int(f["block_for"]).byte(f["data_present"])
    elif code in (Err.READ_FAILURE, Err.WRITE_FAILURE):
        w.short(f["consistency"]).int(f["received"]).int(f["block_for"]).int(f["failures"])
        if version >= 5:
            for i in range(f["failures"]):
                w.byte(4).raw(ipaddress.ip_address(f"10.0.0.{i + 1}").packed).short(1)
        w.byte(f["data_present"]) if code == Err.READ_FAILURE else w.string(f["write_type"])
    elif code == Err.FUNCTION_FAILURE:
        w.string(f["keyspace"]).string(f["function"]).string_list(f["arg_types"])
    elif code == Err.CAS_WRITE_UNKNOWN:
        w.short(f["consistency"]).int(f["received"]).int(f["block_for"])
    elif code == Err.ALREADY_EXISTS:
        w.string(f["keyspace"]).string(f["table"])
    elif code == Err.UNPREPARED:
        w.short_bytes(f["id"])
    return w.raw(f["extra"]).done()


def void():
    return Writer().int(Kind.VOID).done()


def set_keyspace(name):
    return Writer().int(Kind.SET_KEYSPACE).string(name).done()


def schema_change(change, target, keyspace, name=None, version=4):
    w = Writer().int(Kind.SCHEMA_CHANGE).string(change)
    if has_short_head(version):
        return w.string(keyspace).string(name or "").done()
    w.string(target).string(keyspace)
    if name is not None:
        w.string(name)
    return w.done()


def write_specs(w, columns, keyspace, table):
    w.string(keyspace).string(table)
    for column in columns:
        w.string(column.name)
        write_type(w, column.type)


def metadata_id(columns, keyspace, table):
    """Like Cassandra: a digest of the result columns, so that equal layouts have equal ids on every cluster."""
    w = Writer()
    write_specs(w, columns, keyspace, table)
    return hashlib.md5(w.done()).digest()


def rows(columns, values, keyspace="ks", table="t", paging_state=None, no_metadata=False, new_metadata_id=None,
         page=None, last=False, short=False):
    """values: rows of Python values (see pack). page, last: one of DSE's continuous pages. short: collections of v2."""
    w = Writer().int(Kind.ROWS)
    flags = RowsFlag(0)
    if page is not None:
        flags |= RowsFlag.CONTINUOUS_PAGE
    if last:
        flags |= RowsFlag.LAST_PAGE
    if paging_state is not None:
        flags |= RowsFlag.MORE_PAGES
    flags |= RowsFlag.NO_METADATA if no_metadata else RowsFlag.GLOBAL_SPEC
    if new_metadata_id is not None:
        flags |= RowsFlag.METADATA_CHANGED
    w.raw(flags.to_bytes(4, "big")).int(len(columns))
    if paging_state is not None:
        w.bytes(paging_state)
    if new_metadata_id is not None:
        w.short_bytes(new_metadata_id)
    if page is not None:
        w.int(page)
    if not no_metadata:
        write_specs(w, columns, keyspace, table)
    w.int(len(values))
    for row in values:
        for column, value in zip(columns, row, strict=True):
            w.bytes(pack(value, column.type, short))
    return w.done()


def prepared(version, prepared_id, bind, pk, result, keyspace="ks", table="t", result_id=None):
    w = Writer().int(Kind.PREPARED).short_bytes(prepared_id)
    if has_keyspace(version):
        w.short_bytes(metadata_id(result, keyspace, table) if result_id is None else result_id)
    w.int(RowsFlag.GLOBAL_SPEC).int(len(bind))
    if version >= 4:
        w.int(len(pk))
        for index in pk:
            w.short(index)
    write_specs(w, bind, keyspace, table)
    if result:
        w.int(RowsFlag.GLOBAL_SPEC).int(len(result))
        write_specs(w, result, keyspace, table)
    else:
        w.int(RowsFlag.NO_METADATA).int(0)
    return w.done()


def event(kind, change, *args):
    """event("SCHEMA_CHANGE", "CREATED", "TABLE", "ks", "t"); the others take (address, port)."""
    w = Writer().string(kind).string(change)
    if kind == "SCHEMA_CHANGE":
        for arg in args:
            w.string(arg)
    else:
        w.inet(*args)
    return w.done()


def preamble(tracing_id=None, warnings=None, payload=None):
    """(flags, bytes) to put in front of an answer's body."""
    flags = FrameFlag(0)
    w = Writer()
    if tracing_id is not None:
        flags |= FrameFlag.TRACING
        w.raw(tracing_id)
    if warnings is not None:
        flags |= FrameFlag.WARNING
        w.string_list(warnings)
    if payload is not None:
        flags |= FrameFlag.CUSTOM_PAYLOAD
        w.bytes_map(payload)
    return flags, w.done()


# ---- parsing ----

@dataclass
class Response:
    """An answer, parsed completely. Only the members that its opcode and kind have are set."""
    frame: object
    opcode: int
    tracing_id: bytes = None
    warnings: list = None
    payload: dict = None
    # ERROR
    code: int = None
    text: str = None
    fields: dict = field(default_factory=dict)
    # RESULT
    kind: int = None
    flags: int = 0
    keyspace: str = None
    table: str = None
    columns: list = None
    column_count: int = None
    rows: list = None
    paging_state: bytes = None
    new_metadata_id: bytes = None
    #: DSE: the number of a continuous page, None for another answer
    page: int = None
    prepared_id: bytes = None
    result_metadata_id: bytes = None
    bind: list = None
    pk: list = None
    change: tuple = None
    # others
    options: dict = None
    authenticator: str = None
    token: bytes = None
    event: tuple = None

    @property
    def stream(self):
        return self.frame.stream

    @property
    def version(self):
        return self.frame.version

    @property
    def is_last_page(self):
        return bool(self.flags & RowsFlag.LAST_PAGE)

    def is_error(self):
        return self.opcode == Op.ERROR

    def dicts(self):
        """The rows as dictionaries; a repeated column keeps the last value."""
        return [{c.name: v for c, v in zip(self.columns, row)} for row in self.rows]

    def __repr__(self):
        if self.is_error():
            code = Err(self.code).name if self.code in Err._value2member_map_ else hex(self.code)
            return f"<ERROR {code} {self.text!r} {self.fields} stream={self.stream} v{self.version}>"
        return f"<{self.frame!r} kind={self.kind} rows={self.rows}>"


def _schema_change_rest(r, version):
    """What stands behind CREATED, UPDATED or DROPPED of an event: keyspace and table in v2, else target, keyspace ..."""
    if has_short_head(version):
        return r.string(), r.string()
    rest = tuple(r.string() for _ in range(3) if r.left())
    return rest + (r.string_list(),) if rest[0] in ("FUNCTION", "AGGREGATE") and version > 3 else rest


def parse(frame):
    r = Reader(frame.body)
    a = Response(frame, frame.opcode)
    if not frame.response:
        raise WireError(f"direction bit missing in an answer: {frame!r}")
    if frame.flags & FrameFlag.TRACING:
        a.tracing_id = r.raw(16)
    if frame.flags & FrameFlag.WARNING:
        a.warnings = r.string_list()
    if frame.flags & FrameFlag.CUSTOM_PAYLOAD:
        a.payload = r.bytes_map()
    if frame.opcode == Op.ERROR:
        _parse_error(r, frame.version, a)
    elif frame.opcode == Op.RESULT:
        _parse_result(r, frame.version, a)
    elif frame.opcode == Op.SUPPORTED:
        a.options = r.string_multimap()
    elif frame.opcode == Op.AUTHENTICATE:
        a.authenticator = r.string()
    elif frame.opcode in (Op.AUTH_CHALLENGE, Op.AUTH_SUCCESS):
        a.token = r.bytes()
    elif frame.opcode == Op.EVENT:
        kind, change = r.string(), r.string()
        rest = _schema_change_rest(r, frame.version) if kind == "SCHEMA_CHANGE" else r.inet()
        a.event = (kind, change) + tuple(rest)
    elif frame.opcode != Op.READY:
        raise WireError(f"opcode {frame.opcode:#x} is no answer")
    if r.left():
        raise WireError(f"{r.left()} bytes too many in {frame!r}")
    return a


def _parse_error(r, version, a):
    a.code, a.text = r.int(), r.string()
    f = a.fields
    if a.code == Err.UNAVAILABLE:
        f.update(consistency=r.short(), required=r.int(), alive=r.int())
    elif a.code == Err.WRITE_TIMEOUT:
        f.update(consistency=r.short(), received=r.int(), block_for=r.int(), write_type=r.string())
        if version == 5 and f["write_type"] == "CAS":
            f["contentions"] = r.short()
    elif a.code == Err.READ_TIMEOUT:
        f.update(consistency=r.short(), received=r.int(), block_for=r.int(), data_present=bool(r.byte()))
    elif a.code in (Err.READ_FAILURE, Err.WRITE_FAILURE):
        f.update(consistency=r.short(), received=r.int(), block_for=r.int(), failures=r.int())
        if version >= 5:
            f["reasons"] = [(r.raw(r.byte()), r.short()) for _ in range(f["failures"])]
        if a.code == Err.READ_FAILURE:
            f["data_present"] = bool(r.byte())
        else:
            f["write_type"] = r.string()
    elif a.code == Err.FUNCTION_FAILURE:
        f.update(keyspace=r.string(), function=r.string(), arg_types=r.string_list())
    elif a.code == Err.CAS_WRITE_UNKNOWN:
        f.update(consistency=r.short(), received=r.int(), block_for=r.int())
    elif a.code == Err.ALREADY_EXISTS:
        f.update(keyspace=r.string(), table=r.string())
    elif a.code == Err.UNPREPARED:
        f["id"] = r.short_bytes()
    elif a.code not in Err._value2member_map_:
        f["rest"] = r.raw(r.left())


def _read_specs(r, flags, count, a):
    keyspace, table = (r.string(), r.string()) if flags & RowsFlag.GLOBAL_SPEC else (None, None)
    columns = []
    for _ in range(count):
        own = (keyspace, table) if keyspace is not None else (r.string(), r.string())
        columns.append(Column(r.string(), read_type(r), *own))
    if columns:
        a.keyspace, a.table = columns[0].keyspace, columns[0].table
    return columns


def _read_result_metadata(r, a):
    a.flags = r.int() & 0xFFFFFFFF
    a.column_count = r.int()
    if a.flags & RowsFlag.MORE_PAGES:
        a.paging_state = r.bytes()
    if a.flags & RowsFlag.METADATA_CHANGED:
        a.new_metadata_id = r.short_bytes()
    if a.flags & RowsFlag.CONTINUOUS_PAGE:
        if not has_continuous_paging(a.version):
            raise WireError("a continuous page in a version that has none")
        a.page = r.int()
    a.columns = None if a.flags & RowsFlag.NO_METADATA else _read_specs(r, a.flags, a.column_count, a)


def _parse_result(r, version, a):
    a.kind = r.int()
    if a.kind == Kind.ROWS:
        _read_result_metadata(r, a)
        a.rows = []
        for _ in range(r.int()):
            raw = [r.bytes() for _ in range(a.column_count)]
            a.rows.append(raw if a.columns is None else [unpack(v, c.type, has_short_head(version))
                                                       for v, c in zip(raw, a.columns)])
    elif a.kind == Kind.SET_KEYSPACE:
        a.keyspace = r.string()
    elif a.kind == Kind.PREPARED:
        a.prepared_id = r.short_bytes()
        a.result_metadata_id = r.short_bytes() if has_keyspace(version) else None
        flags, count = r.int(), r.int()
        a.pk = [r.short() for _ in range(r.int())] if version >= 4 else []
        a.bind = _read_specs(r, flags, count, a)
        _read_result_metadata(r, a)
    elif a.kind == Kind.SCHEMA_CHANGE:
        # v2 has no target: what changed, the keyspace, the table or nothing
        a.change = tuple(r.string() for _ in range(3 if has_short_head(version) else 4) if r.left())
    elif a.kind != Kind.VOID:
        a.fields["rest"] = r.raw(r.left())
