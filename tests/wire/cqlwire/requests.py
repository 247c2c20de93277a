"""Bodies of requests: builders for the client, parsers for the fake cluster."""
from dataclasses import dataclass, field

from .const import (CL, FrameFlag, Op, QueryFlag, Revision, has_continuous_paging, has_int_flags, has_keyspace,
                    has_next_pages, has_short_head)
from .primitives import Reader, WireError, Writer


@dataclass
class Params:
    """<query_parameters> of QUERY, EXECUTE and (where they apply) BATCH."""
    consistency: int = CL.LOCAL_ONE
    values: list = None
    names: list = None
    skip_metadata: bool = False
    page_size: int = None
    paging_state: bytes = None
    serial_consistency: int = None
    timestamp: int = None
    keyspace: str = None
    now_in_seconds: int = None
    page_size_in_bytes: bool = False
    #: DSE: (pages in all, pages in a second, pages that are welcome; the last one not in DSE v1)
    continuous: tuple = None

    def flags(self):
        flags = QueryFlag(0)
        for present, flag in ((self.values is not None, QueryFlag.VALUES),
                              (self.skip_metadata, QueryFlag.SKIP_METADATA),
                              (self.page_size is not None, QueryFlag.PAGE_SIZE),
                              (self.paging_state is not None, QueryFlag.PAGING_STATE),
                              (self.serial_consistency is not None, QueryFlag.SERIAL_CONSISTENCY),
                              (self.timestamp is not None, QueryFlag.TIMESTAMP),
                              (self.names is not None, QueryFlag.NAMES),
                              (self.keyspace is not None, QueryFlag.KEYSPACE),
                              (self.now_in_seconds is not None, QueryFlag.NOW_IN_SECONDS),
                              (self.page_size_in_bytes, QueryFlag.PAGE_SIZE_BYTES),
                              (self.continuous is not None, QueryFlag.CONTINUOUS_PAGING)):
            if present:
                flags |= flag
        return flags

    def write(self, w, version):
        flags = self.flags()
        w.short(self.consistency)
        write_flags(w, version, flags)
        if self.values is not None:
            w.short(len(self.values))
            for i, value in enumerate(self.values):
                if self.names is not None:
                    w.string(self.names[i])
                w.value(value)
        if self.page_size is not None:
            w.int(self.page_size)
        if self.paging_state is not None:
            w.bytes(self.paging_state)
        self.write_tail(w)
        if self.continuous is not None:
            for number in self.continuous[:3 if has_next_pages(version) else 2]:
                w.int(number)

    def write_tail(self, w):
        if self.serial_consistency is not None:
            w.short(self.serial_consistency)
        if self.timestamp is not None:
            w.long(self.timestamp)
        if self.keyspace is not None:
            w.string(self.keyspace)
        if self.now_in_seconds is not None:
            w.int(self.now_in_seconds)

    @staticmethod
    def read(r, version):
        p = Params(consistency=r.short())
        flags = read_flags(r, version)
        if flags & QueryFlag.VALUES:
            p.values = []
            p.names = [] if flags & QueryFlag.NAMES else None
            for _ in range(r.short()):
                if p.names is not None:
                    p.names.append(r.string())
                p.values.append(r.value())
        p.skip_metadata = bool(flags & QueryFlag.SKIP_METADATA)
        if flags & QueryFlag.PAGE_SIZE:
            p.page_size = r.int()
        if flags & QueryFlag.PAGING_STATE:
            p.paging_state = r.bytes()
        p.read_tail(r, version, flags)
        p.page_size_in_bytes = bool(flags & QueryFlag.PAGE_SIZE_BYTES)
        if flags & QueryFlag.CONTINUOUS_PAGING:
            if not has_continuous_paging(version):
                raise WireError("continuous paging in a version that has none")
            p.continuous = tuple(r.int() for _ in range(3 if has_next_pages(version) else 2))
        return p

    def read_tail(self, r, version, flags):
        if flags & QueryFlag.SERIAL_CONSISTENCY:
            self.serial_consistency = r.short()
        if flags & QueryFlag.TIMESTAMP:
            self.timestamp = r.long()
        if has_keyspace(version) and flags & QueryFlag.KEYSPACE:
            self.keyspace = r.string()
        if version == 5 and flags & QueryFlag.NOW_IN_SECONDS:
            self.now_in_seconds = r.int()


def write_flags(w, version, flags):
    w.raw((flags & 0xFFFFFFFF).to_bytes(4, "big")) if has_int_flags(version) else w.byte(flags & 0xFF)


def read_flags(r, version):
    return QueryFlag(r.int() & 0xFFFFFFFF if has_int_flags(version) else r.byte())


# ---- builders: each returns the body ----

def startup(options=None, **more):
    pairs = {"CQL_VERSION": "3.0.0"}
    pairs.update(options or {})
    pairs.update(more)
    return Writer().string_map(pairs).done()


def query(version, text, **params):
    w = Writer().long_string(text)
    Params(**params).write(w, version)
    return w.done()


def prepare(version, text, keyspace=None):
    w = Writer().long_string(text)
    if has_keyspace(version):
        w.int(1 if keyspace is not None else 0)
        if keyspace is not None:
            w.string(keyspace)
    return w.done()


def execute(version, prepared_id, result_metadata_id=b"", **params):
    w = Writer().short_bytes(prepared_id)
    if has_keyspace(version):
        w.short_bytes(result_metadata_id)
    Params(**params).write(w, version)
    return w.done()


def batch(version, children, kind=0, flags_extra=0, **params):
    """children: (text or id, [values]) pairs; str is a text, bytes is a prepared id."""
    w = Writer().byte(kind).short(len(children))
    for statement, values in children:
        if isinstance(statement, str):
            w.byte(0).long_string(statement)
        else:
            w.byte(1).short_bytes(statement)
        w.short(len(values))
        for value in values:
            w.value(value)
    p = Params(**params)
    flags = p.flags() | flags_extra
    w.short(p.consistency)
    if has_short_head(version):
        assert not flags, "BATCH of v2 ends with its consistency"
        return w.done()
    write_flags(w, version, flags)
    p.write_tail(w)
    return w.done()


def revise(kind, stream, next_pages=None):
    """DSE: about the request that was sent on `stream`."""
    w = Writer().int(kind).int(stream)
    if next_pages is not None:
        w.int(next_pages)
    return w.done()


def register(events):
    return Writer().string_list(events).done()


def auth_response(token):
    return Writer().bytes(token).done()


def plain_token(user, password, authzid=""):
    return f"{authzid}\0{user}\0{password}".encode()


def with_payload(body, payload):
    """A request body with a custom payload in front (flag CUSTOM_PAYLOAD)."""
    return Writer().bytes_map(payload).raw(body).done()


# ---- parsing ----

@dataclass
class Request:
    """What a request says. Only the members that its opcode has are set."""
    opcode: int
    payload: dict = None
    text: str = None
    prepared_id: bytes = None
    result_metadata_id: bytes = None
    params: Params = None
    keyspace: str = None
    options: dict = None
    token: bytes = None
    events: list = None
    kind: int = None
    children: list = field(default_factory=list)
    #: of REVISE: (kind, stream id, pages or None)
    revision: tuple = None

    def __repr__(self):
        said = {k: v for k, v in vars(self).items() if v not in (None, []) and k != "opcode"}
        return "".join(f"{k}={v!r} " for k, v in said.items()).rstrip()


def parse(frame):
    """Parses a request frame completely; WireError when anything in it is wrong, trailing bytes included."""
    r = Reader(frame.body)
    q = Request(frame.opcode)
    v = frame.version
    if frame.flags & FrameFlag.CUSTOM_PAYLOAD:
        q.payload = r.bytes_map()
    if frame.opcode == Op.STARTUP:
        q.options = r.string_map()
    elif frame.opcode == Op.QUERY:
        q.text = r.long_string()
        q.params = Params.read(r, v)
        q.keyspace = q.params.keyspace
    elif frame.opcode == Op.PREPARE:
        q.text = r.long_string()
        if has_keyspace(v) and r.int() & 1:
            q.keyspace = r.string()
    elif frame.opcode == Op.EXECUTE:
        q.prepared_id = r.short_bytes()
        if has_keyspace(v):
            q.result_metadata_id = r.short_bytes()
        q.params = Params.read(r, v)
        q.keyspace = q.params.keyspace
    elif frame.opcode == Op.BATCH:
        _parse_batch(r, v, q)
    elif frame.opcode == Op.REGISTER:
        q.events = r.string_list()
    elif frame.opcode == Op.AUTH_RESPONSE:
        q.token = r.bytes()
    elif frame.opcode == Op.REVISE and has_continuous_paging(v):
        kind = Revision(r.int())
        q.revision = (kind, r.int(), r.int() if kind == Revision.MORE_PAGES else None)
    elif frame.opcode != Op.OPTIONS:
        raise WireError(f"opcode {frame.opcode:#x} is no request")
    if r.left():
        raise WireError(f"{r.left()} bytes too many in {frame!r}")
    return q


def _parse_batch(r, version, q):
    q.kind = r.byte()
    for _ in range(r.short()):
        child_kind = r.byte()
        if child_kind not in (0, 1):
            raise WireError(f"batch child of kind {child_kind}")
        statement = r.short_bytes() if child_kind else r.long_string()
        q.children.append((statement, [r.value() for _ in range(r.short())]))
    q.params = Params(consistency=r.short())
    if has_short_head(version):
        return
    flags = read_flags(r, version)
    q.params.read_tail(r, version, flags)
    q.keyspace = q.params.keyspace
