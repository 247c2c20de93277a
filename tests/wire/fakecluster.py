"""
A fake Cassandra cluster in the process of the test: it speaks v2 to v5 and DSE's versions, with segments, compression,
authentication and TLS, keeps prepared statements and keyspaces as Cassandra does, records everything that arrives and can be told,
request by request, to misbehave (see behaviour.py).

    origin = Cluster("origin", ["127.0.1.1"], 9042)
    await origin.start()
    origin.on("FROM ks.t", behaviour.error(Err.READ_TIMEOUT, "late"), times=1)
    ...
    assert origin.statements() == ["SELECT * FROM ks.t"]

Whatever the other side does that a real node would not accept, or that would confuse it (a malformed frame, a stream
id that is in use, a change of version), is kept in `complaints`, which every test checks at its end.
"""
import asyncio
import functools
import hashlib
import re
import socket
import struct
import uuid
from dataclasses import dataclass, field

from cqlwire import framing, requests, responses
from cqlwire.const import EVENTS, Err, FrameFlag, Op, REQUESTS, Revision, Type, has_keyspace, has_short_head, offer, op_name
from cqlwire.client import PATIENCE
from cqlwire.primitives import WireError
from cqlwire.responses import Column

PASSWORD_AUTHENTICATOR = "org.apache.cassandra.auth.PasswordAuthenticator"
DSE_AUTHENTICATOR = "com.datastax.bdp.cassandra.auth.DseAuthenticator"
SYSTEM_TABLES = {("system", "local"), ("system", "peers"), ("system", "peers_v2"), ("system_schema", "keyspaces")}
BARRIER = "INSERT INTO barrier.barrier (id) VALUES (0)"


@dataclass
class Auth:
    """users: name to password. two_step: the mechanism's name comes first and is answered with PLAIN-START (DSE)."""
    users: dict
    authenticator: str = PASSWORD_AUTHENTICATOR
    two_step: bool = False


@dataclass(eq=False)
class Received:
    """One frame that arrived at a node."""
    node: object
    conn: object
    frame: framing.Frame
    request: requests.Request
    keyspace: str  # the connection's when it arrived
    statement: str = None  # the text of QUERY and PREPARE, the prepared text of EXECUTE
    bound: list = None  # the values of EXECUTE in the order of the variables
    puts_in_keyspace: bool = False  # the USE with which the proxy opens a shared connection

    def __getattr__(self, name):
        # version, flags, stream, opcode, body of the frame; text, prepared_id, params ... of the request
        source = self.frame if name in ("version", "flags", "stream", "opcode", "body", "wire_body") else self.request
        return getattr(source, name)

    def __repr__(self):
        said = repr(self.statement or self.request)
        return (f"<{self.node.cluster.name} #{self.conn.number} {op_name(self.frame.opcode)} v{self.frame.version} "
                f"stream={self.frame.stream} {said if len(said) < 1000 else said[:1000] + '...'}>")


@dataclass(eq=False)
class Rule:
    match: object
    behave: object
    times: int = None
    control: bool = False
    node: object = None
    hits: int = 0

    def applies(self, got):
        if self.times is not None and self.hits >= self.times:
            return False
        if self.control is not None and got.conn.is_control != self.control:
            return False
        if self.node is not None and got.node is not self.node:
            return False
        if got.statement == BARRIER and self.match != BARRIER:
            return False
        if isinstance(self.match, Op):
            return got.opcode == self.match
        if isinstance(self.match, str):
            return got.statement is not None and self.match in got.statement
        return bool(self.match(got))


# ---- what the nodes know about CQL: just enough ----

COMMENT = re.compile(r"--[^\n]*|//[^\n]*|/\*[^*]*\*+(?:[^/*][^*]*\*+)*/")
VERB = re.compile(r"[A-Za-z]+")


@functools.lru_cache(16)  # each text is asked about several times, and the large ones take seconds
def strip_comments(text):
    return COMMENT.sub(" ", text).strip() if any(mark in text for mark in ("--", "//", "/*")) else text.strip()


@functools.lru_cache(16)
def verb_of(text):
    match = VERB.match(strip_comments(text))
    return match.group(0).upper() if match else ""


def name_of(written):
    return written[1:-1].replace('""', '"') if written.startswith('"') else written.lower()


NAME = r'("(?:[^"]|"")+"|\w+)'
TABLE = re.compile(rf"\b(?:FROM|INTO|UPDATE|TRUNCATE)\s+(?:TABLE\s+)?{NAME}(?:\s*\.\s*{NAME})?", re.I)


@functools.lru_cache(16)
def table_of(text):
    """(keyspace or None, table) of a statement that names one, or (None, None)."""
    match = TABLE.search(strip_comments(text))
    if not match or verb_of(text) not in ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "BEGIN"):
        return None, None
    first, second = match.group(1), match.group(2)
    return (name_of(first), name_of(second)) if second else (None, name_of(first))


def markers_of(text):
    """The bind markers outside strings: "?" or the name."""
    if "?" not in text and ":" not in text:
        return []
    plain = re.sub(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"", "''", strip_comments(text))
    return [m if m == "?" else m[1:] for m in re.findall(r"\?|(?<![\w:]):[A-Za-z]\w*", plain)]


def bound_values(params, bind):
    """The values of an EXECUTE as Cassandra orders them; one with a name that was not sent is missing."""
    values = params.values or []
    if params.names is None:
        return values
    given = dict(reversed(list(zip(params.names, values))))
    return [given[column.name] for column in bind if column.name in given]


LOCAL_COLUMNS = [
    Column("key"), Column("bootstrapped"), Column("broadcast_address", Type.INET), Column("broadcast_port", Type.INT),
    Column("cluster_name"), Column("cql_version"), Column("data_center"), Column("gossip_generation", Type.INT),
    Column("host_id", Type.UUID), Column("listen_address", Type.INET), Column("listen_port", Type.INT),
    Column("native_protocol_version"), Column("partitioner"), Column("rack"), Column("release_version"),
    Column("rpc_address", Type.INET), Column("rpc_port", Type.INT), Column("schema_version", Type.UUID),
    Column("tokens", (Type.SET, Type.VARCHAR)), Column("truncated_at", (Type.MAP, Type.UUID, Type.BLOB)),
]
#: came with Cassandra 4.0, and system.peers_v2 with them
PORTS_OF_4 = ("broadcast_port", "listen_port", "rpc_port")
PEERS_COLUMNS = [
    Column("peer", Type.INET), Column("data_center"), Column("host_id", Type.UUID), Column("preferred_ip", Type.INET),
    Column("rack"), Column("release_version"), Column("rpc_address", Type.INET), Column("schema_version", Type.UUID),
    Column("tokens", (Type.SET, Type.VARCHAR)),
]
#: came with Cassandra 4.0, too
PEERS_V2_COLUMNS = [
    Column("peer", Type.INET), Column("peer_port", Type.INT), Column("data_center"), Column("host_id", Type.UUID),
    Column("native_address", Type.INET), Column("native_port", Type.INT), Column("preferred_ip", Type.INET),
    Column("preferred_port", Type.INT), Column("rack"), Column("release_version"), Column("schema_version", Type.UUID),
    Column("tokens", (Type.SET, Type.VARCHAR)),
]
KEYSPACES_COLUMNS = [Column("keyspace_name"), Column("replication", (Type.MAP, Type.VARCHAR, Type.VARCHAR))]
RESULT_COLUMNS = [Column("cluster"), Column("keyspace"), Column("statement")]
APPLIED_COLUMNS = [Column("[applied]", Type.BOOLEAN), Column("cluster")]


class Cluster:
    def __init__(self, name, addresses, port, versions=(3, 4, 5), compression=("lz4", "snappy"), auth=None, ssl=None,
                 datacenters=None, racks=None, release_version="4.1.10", partitioner="Murmur3Partitioner",
                 supported=None, node_ports=None, keyspaces=None):
        self.name = name
        self.port = port  # of the contact points; `node_ports` has those of nodes that have another one, by their index
        #: name to the map `replication`; what system_schema.keyspaces has
        self.keyspaces = dict(keyspaces or {})
        #: how many rows of them a page has at most, whatever is asked for
        self.keyspaces_page = 1000
        self.versions = tuple(versions)
        self.compression = tuple(compression)
        self.auth = auth
        self.ssl = ssl
        self.release_version = release_version
        self.partitioner = partitioner
        self.extra_supported = dict(supported or {})
        self.schema_version = uuid.uuid3(uuid.NAMESPACE_DNS, name)
        ports = () if release_version < "4" else PORTS_OF_4
        self.local_columns = [c for c in LOCAL_COLUMNS if c.name in ports or c.name not in PORTS_OF_4]
        self.peers_columns = list(PEERS_COLUMNS)
        #: changes to rows of system.local and system.peers: name to value, or name to function(node)
        self.local_overrides = {}
        self.peers_overrides = {}
        #: nodes that system.peers leaves out
        self.hidden = set()
        #: keyspaces ("shop") and tables ("shop.orders") that this cluster has not got
        self.lacks = set()
        self.compress_answers = True
        #: (text, keyspace) -> (bind columns, partition key positions, result columns)
        self.describe = self.describe_default
        self.nodes = [Node(self, i, address, (datacenters or {}).get(i, "dc1"), (racks or {}).get(i, "r1"),
                           (node_ports or {}).get(i, port)) for i, address in enumerate(addresses)]
        self.rules = []
        self.received = []
        self.complaints = []
        #: (version, number of the connection) of what was refused for its version, since the start
        self.refused = []
        self.connection_count = 0
        self._news = asyncio.Event()

    async def start(self):
        for node in self.nodes:
            await node.start()

    async def stop(self):
        for node in self.nodes:
            await node.stop()

    def reset(self):
        """Forgets what a test did: rules, records, complaints. Connections and prepared statements stay."""
        self.rules.clear()
        self.received.clear()
        self.complaints.clear()
        self.lacks.clear()

    def on(self, match, behave, times=None, control=False, node=None):
        """
        From now on requests that match are handled by `behave` (see behaviour.py), the first `times` of them. match: an
        opcode, a piece of the statement, or a function of Received. Later rules win. control: True, only on the proxy's
        control connections; None, on all.
        """
        rule = Rule(match, behave, times, control, node)
        self.rules.insert(0, rule)
        return rule

    def rule_for(self, got):
        return next((rule for rule in self.rules if rule.applies(got)), None)

    # ---- what arrived ----

    def connections(self):
        """The open connections that are not control connections."""
        return [c for node in self.nodes for c in node.connections if not c.is_control]

    def control_connections(self):
        return [c for node in self.nodes for c in node.connections if c.is_control]

    def requests(self, *opcodes):
        """
        What arrived outside control connections, in order, without barriers and what puts shared connections into their
        keyspaces; of these opcodes if any are given.
        """
        return [r for r in self.received if not r.conn.is_control and r.statement != BARRIER
                and not r.puts_in_keyspace and (not opcodes or r.opcode in opcodes)]

    def control_requests(self, *opcodes):
        return [r for r in self.received if r.conn.is_control and (not opcodes or r.opcode in opcodes)]

    def statements(self, *opcodes):
        """The texts of QUERY, PREPARE and EXECUTE that arrived."""
        return [r.statement for r in self.requests(*(opcodes or (Op.QUERY, Op.PREPARE, Op.EXECUTE)))]

    def changed(self):
        self._news.set()

    async def until(self, condition, what, timeout=PATIENCE):
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        while not condition():
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), end - loop.time())
            except asyncio.TimeoutError:
                text = f"{self.name}: no {what} within {timeout} s; received {self.received[-20:]}"
                raise TimeoutError(text) from None

    async def until_received(self, count=1, *opcodes):
        await self.until(lambda: len(self.requests(*opcodes)) >= count, f"{count} requests {opcodes}")
        return self.requests(*opcodes)

    # ---- doing things to everyone ----

    def forget_prepared(self):
        for node in self.nodes:
            node.prepared.clear()

    def emit(self, kind, change, *args, control=False):
        """Sends an event to the connections that have registered for it; returns how many there were."""
        targets = self.control_connections() if control else self.connections()
        targets = [c for c in targets if kind in c.registered]
        for conn in targets:
            conn.send(Op.EVENT, responses.event(kind, change, *args), stream=-1)
        return len(targets)

    def has_peers_v2(self):
        """Cassandra 4 has it, DSE 6 has not."""
        return self.release_version >= "4" and all(c.name != "native_transport_port" for c in self.peers_columns)

    def supported(self):
        names = [offer(v) for v in self.versions]
        options = {"CQL_VERSION": ["3.4.5"], "COMPRESSION": list(self.compression), "PROTOCOL_VERSIONS": names}
        if not self.compression:
            del options["COMPRESSION"]
        options.update(self.extra_supported)
        return {name: values for name, values in options.items() if values is not None}

    def prepared_id(self, text, keyspace):
        return hashlib.md5(f"{self.name}\0{keyspace or ''}\0{text}".encode()).digest()

    def describe_default(self, text, keyspace):
        markers = markers_of(text)
        bind = [Column(f"p{i}" if m == "?" else m) for i, m in enumerate(markers)]
        verb = verb_of(text)
        result = RESULT_COLUMNS if verb == "SELECT" else APPLIED_COLUMNS if is_conditional(text) else []
        return bind, [0] if bind else [], result


def is_conditional(text):
    return verb_of(text) in ("INSERT", "UPDATE", "DELETE", "BEGIN") and "IF" in text and re.search(r"\bIF\b", text) is not None


class Node:
    def __init__(self, cluster, index, address, datacenter, rack, port):
        self.cluster = cluster
        self.index = index
        self.address = address
        self.port = port
        self.datacenter = datacenter
        self.rack = rack
        self.host_id = uuid.uuid3(uuid.NAMESPACE_URL, f"{cluster.name}/{index}")
        self.prepared = {}  # id -> (text, keyspace)
        self.connections = []
        self.accepted = 0
        self.server = None

    def __repr__(self):
        return f"<{self.cluster.name} node {self.address}>"

    async def start(self):
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(lambda: Connection(self), self.address, self.port,
                                               ssl=self.cluster.ssl, backlog=500)

    async def stop(self):
        """Closes the listener and every connection, as a node does that dies."""
        if self.server is not None:
            self.server.close()
            self.server = None
        self.drop(control=True)

    def refuse(self):
        """Closes the listener only: what is connected stays, nothing new gets in."""
        self.server.close()
        self.server = None

    def drop(self, control=False, reset=False):
        """Ends the connections of clients, and with control those of control connections too."""
        for conn in list(self.connections):
            if control or not conn.is_control:
                conn.reset() if reset else conn.close()

    # ---- system tables ----

    def _row(self, columns, table, overrides):
        c = self.cluster
        values = {
            "key": "local", "bootstrapped": "COMPLETED", "broadcast_address": self.address, "broadcast_port": 7000,
            "cluster_name": f"{c.name} cluster", "cql_version": "3.4.5", "data_center": self.datacenter,
            "gossip_generation": 1700000000, "host_id": self.host_id, "listen_address": self.address,
            "listen_port": 7000,
            "native_protocol_version": str(max(c.versions)), "partitioner": f"org.apache.cassandra.dht.{c.partitioner}",
            "rack": self.rack, "release_version": c.release_version, "rpc_address": self.address, "rpc_port": self.port,
            "schema_version": c.schema_version, "tokens": [str(self.index * 1000)], "truncated_at": None,
            "peer": self.address, "preferred_ip": None, "peer_port": 7000, "native_port": self.port,
        }
        for name, value in overrides.items():
            values[name] = value(self) if callable(value) else value
        values.setdefault("native_address", values["rpc_address"])
        return [values.get(column.name) for column in columns]

    def system_rows(self, table, asking):
        """(columns, rows) of local or peers as seen on the node `asking`."""
        c = self.cluster
        if table == "local":
            return c.local_columns, [asking._row(c.local_columns, table, c.local_overrides)]
        if table == "keyspaces":
            return KEYSPACES_COLUMNS, [list(item) for item in sorted(c.keyspaces.items())]
        peers = [n for n in c.nodes if n is not asking and n not in c.hidden]
        if table == "peers_v2":
            return PEERS_V2_COLUMNS, [n._row(PEERS_V2_COLUMNS, table, c.peers_overrides) for n in peers]
        return c.peers_columns, [n._row(c.peers_columns, table, c.peers_overrides) for n in peers]


@dataclass(eq=False)
class Answer:
    opcode: int
    body: bytes
    preamble: dict = field(default_factory=dict)


class Session:
    """DSE's continuous paging: one request that is answered by many pages. wanted: how many pages are welcome, or None."""

    def __init__(self, wanted=None):
        self.wanted = wanted
        self.sent = 0
        self.is_cancelled = False
        self._news = asyncio.Event()

    def cancel(self):
        self.is_cancelled = True
        self._news.set()

    def welcome(self, pages):
        if self.wanted is not None:
            self.wanted += pages
        self._news.set()

    async def may_send(self):
        """Waits until a page is welcome; False when the session is cancelled."""
        while not self.is_cancelled and self.wanted is not None and self.sent >= self.wanted:
            self._news.clear()
            await self._news.wait()
        return not self.is_cancelled


class Connection(asyncio.Protocol):
    """One connection to a node."""

    def __init__(self, node):
        self.node = node
        self.cluster = node.cluster
        self.codec = framing.Codec(is_server=True, versions=node.cluster.versions)
        self.transport = None
        self.is_control = False
        self.is_mirror = False  # set by a test that knows it: reads are mirrored on it
        self.is_used = False  # a request has come, beyond the log-in
        self.is_closed = False
        self.keyspace = None
        self.registered = set()
        self.version = None
        self.startup_options = None
        self.user = None
        self.authenticated = node.cluster.auth is None
        self.mechanism_given = False
        self.in_flight = set()
        self.tasks = set()
        self.ssl_object = None
        #: the requests that are answered by many pages, by stream id
        self.sessions = {}

    def connection_made(self, transport):
        self.transport = transport
        self.ssl_object = transport.get_extra_info("ssl_object")
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.number = self.cluster.connection_count
        self.cluster.connection_count += 1
        self.node.accepted += 1
        self.node.connections.append(self)
        self.cluster.changed()

    def connection_lost(self, exc):
        self.is_closed = True
        self.node.connections.remove(self)
        for task in self.tasks:
            task.cancel()
        self.cluster.changed()

    def is_shared(self):
        """A pooled one: only the proxy's own STARTUP asks for this."""
        return "THROW_ON_OVERLOAD" in (self.startup_options or {})

    def close(self):
        self.transport.close()

    def reset(self):
        """Ends the connection with a RST."""
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def complain(self, text):
        self.cluster.complaints.append(f"{self.cluster.name} connection {self.number}: {text}")

    # ---- requests ----

    def data_received(self, data):
        try:
            for frame in self.codec.feed(data):
                self._take(frame)
                if self.transport.is_closing():
                    return
        except Exception as e:  # whatever cannot be read is the other side's fault; the test sees it
            self.complain(f"{type(e).__name__}: {e}")
            self.transport.abort()
        finally:
            self.cluster.changed()

    def _take(self, frame):
        if frame.version not in self.cluster.versions:
            self._refuse_version(frame)
            return
        if frame.response or frame.opcode not in REQUESTS:
            raise WireError(f"not a request: {frame!r}")
        if frame.stream < 0 or frame.stream in self.in_flight:
            raise WireError(f"stream id {frame.stream} is negative or in use: {frame!r}")
        if self.version not in (None, frame.version):
            raise WireError(f"version changed from {self.version}: {frame!r}")
        request = requests.parse(frame)
        if frame.opcode == Op.STARTUP:
            self.version = frame.version
            self.startup_options = request.options
            self._agree_on_compression(request.options.get("COMPRESSION"))
        got = Received(self.node, self, frame, request, self.keyspace, request.text)
        if request.prepared_id is not None:
            got.statement = self.node.prepared.get(request.prepared_id, (None,))[0]
        if frame.opcode == Op.QUERY and re.match(r"SELECT .* FROM system\.local\b", request.text, re.I):
            self.is_control = True
        if frame.opcode not in (Op.STARTUP, Op.AUTH_RESPONSE, Op.OPTIONS):
            got.puts_in_keyspace = self.is_shared() and not self.is_used and verb_of(request.text or "") == "USE"
            self.is_used = True
        self.in_flight.add(frame.stream)
        self.cluster.received.append(got)
        rule = self.cluster.rule_for(got)
        if rule is None:
            self.answer(got)
            return
        rule.hits += 1
        task = asyncio.get_running_loop().create_task(rule.behave(self, got))
        self.tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task):
        self.tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.complain(f"the behaviour of a rule failed: {task.exception()!r}")
        self.cluster.changed()

    def _refuse_version(self, frame):
        self.cluster.refused.append((frame.version, self.number))
        best = max(self.cluster.versions)
        names = ", ".join(offer(v) for v in self.cluster.versions)
        text = f"Invalid or unsupported protocol version ({frame.version}); supported versions are ({names})"
        self.send(Op.ERROR, responses.error(Err.PROTOCOL_ERROR, text), stream=0, version=best)
        self.close()

    def _agree_on_compression(self, name):
        if name is None:
            return
        if name.lower() not in self.cluster.compression:
            raise WireError(f"STARTUP asks for compression {name!r}, which was not offered")
        self.codec.compression = name.lower()

    # ---- answers ----

    def send(self, opcode, body, stream, version=None, flags=0, compress=None, more=False):
        """
        Sends one frame as a node would; READY and AUTHENTICATE switch v5 connections to segments. more: it is not the
        last answer on this stream.
        """
        if self.transport.is_closing():
            return
        version = self.version or max(self.cluster.versions) if version is None else version
        may = self.codec.compression and not self.codec.framed and opcode in (Op.RESULT, Op.ERROR)
        if compress or (compress is None and may and self.cluster.compress_answers):
            flags |= FrameFlag.COMPRESSED
        data = self.codec.wrap(self.codec.encode(version, flags, stream, opcode, body))
        if not more:
            self.in_flight.discard(stream)
        self.transport.write(data)
        if version == 5 and opcode in (Op.READY, Op.AUTHENTICATE):
            self.codec.start_segments()

    def reply(self, got, answer, **how):
        """Sends `answer` to a request, with the preamble that was asked for."""
        preamble = dict(answer.preamble)
        if got.flags & FrameFlag.TRACING and answer.opcode == Op.RESULT:
            preamble.setdefault("tracing_id", hashlib.md5(self.cluster.name.encode()).digest())
        flags, head = responses.preamble(**preamble)
        self.send(answer.opcode, head + answer.body, got.stream, version=got.version, flags=flags, **how)

    def answer(self, got, **preamble):
        """The normal answer."""
        answer = self.normal_answer(got)
        answer.preamble.update(preamble)
        self.reply(got, answer)

    def normal_answer(self, got):
        op = got.opcode
        if op == Op.OPTIONS:
            return Answer(Op.SUPPORTED, responses.Writer().string_multimap(self.cluster.supported()).done())
        if op == Op.STARTUP:
            if self.cluster.auth is None:
                return Answer(Op.READY, b"")
            return Answer(Op.AUTHENTICATE, responses.Writer().string(self.cluster.auth.authenticator).done())
        if op == Op.AUTH_RESPONSE:
            return self._authenticate(got.request.token)
        if self.version is None or not self.authenticated:
            return self.error(Err.PROTOCOL_ERROR, f"Unexpected message {op_name(op)}, expecting STARTUP or OPTIONS")
        if op == Op.REGISTER:
            self.registered |= set(got.request.events)
            unknown = self.registered - set(EVENTS)
            return self.error(Err.PROTOCOL_ERROR, f"unknown events {unknown}") if unknown else Answer(Op.READY, b"")
        if op == Op.QUERY:
            return self._run(got, got.request.text, got.request.keyspace or self.keyspace)
        if op == Op.PREPARE:
            return self._prepare(got)
        if op == Op.EXECUTE:
            return self._execute(got)
        if op == Op.REVISE:
            return self._revise(*got.request.revision)
        return self._batch(got)

    def _revise(self, kind, stream, pages):
        """As DSE answers it: whether there was such a session. After a cancellation nothing more comes on its stream."""
        session = self.sessions.get(stream)
        if session is not None and kind == Revision.CANCEL:
            self.sessions.pop(stream).cancel()
            self.in_flight.discard(stream)
        elif session is not None:
            session.welcome(pages)
        return Answer(Op.RESULT, responses.rows([Column("[status]", Type.BOOLEAN)], [[session is not None]], "", ""))

    def error(self, code, text, **fields):
        return Answer(Op.ERROR, responses.error(code, text, self.version or 4, **fields))

    def _authenticate(self, token):
        auth = self.cluster.auth
        if auth is None:
            return self.error(Err.PROTOCOL_ERROR, "Unexpected AUTH_RESPONSE")
        if auth.two_step and token == b"PLAIN" and not self.mechanism_given:
            self.mechanism_given = True
            return Answer(Op.AUTH_CHALLENGE, responses.Writer().bytes(b"PLAIN-START").done())
        parts = (token or b"").split(b"\0")
        if len(parts) != 3 or (auth.two_step and not self.mechanism_given):
            return self.error(Err.BAD_CREDENTIALS, "Authentication ID must not be null")
        self.user, password = parts[1].decode(errors="replace"), parts[2].decode(errors="replace")
        if auth.users.get(self.user) != password:
            return self.error(Err.BAD_CREDENTIALS, f"Provided username {self.user} and/or password are incorrect")
        self.authenticated = True
        return Answer(Op.AUTH_SUCCESS, responses.Writer().bytes(None).done())

    def _unprepared(self, prepared_id):
        return self.error(Err.UNPREPARED, f"Prepared query with ID {prepared_id.hex()} not found", id=prepared_id)

    def _prepare(self, got):
        text = got.request.text
        keyspace = got.request.keyspace or self.keyspace
        problem = self._check_names(text, keyspace)
        if problem:
            return problem
        prepared_id = self.cluster.prepared_id(text, keyspace)
        self.node.prepared[prepared_id] = (text, keyspace)
        bind, pk, result = self.cluster.describe(text, keyspace)
        return Answer(Op.RESULT, responses.prepared(got.version, prepared_id, bind, pk, result,
                                                    *self._spec(text, keyspace)))

    def _spec(self, text, keyspace):
        own, table = table_of(text)
        return own or keyspace or "ks", table or "t"

    def _check_names(self, text, keyspace):
        own, table = table_of(text)
        if table is not None and own is None and keyspace is None:
            return self.error(Err.INVALID, "No keyspace has been specified. USE a keyspace, or explicitly specify "
                              "keyspace.tablename")
        if (own or keyspace) in self.cluster.lacks and table is not None:
            return self.error(Err.INVALID, f"Keyspace {own or keyspace} does not exist")
        if f"{own or keyspace}.{table}" in self.cluster.lacks:
            return self.error(Err.INVALID, f"unconfigured table {table}")
        if (own or keyspace) == "system" and table == "peers_v2" and not self.cluster.has_peers_v2():
            return self.error(Err.INVALID, "unconfigured table peers_v2")
        if (own or keyspace) == "system_schema" and self.cluster.release_version < "3":
            return self.error(Err.INVALID, "Keyspace system_schema does not exist")
        return None

    def _execute(self, got):
        known = self.node.prepared.get(got.request.prepared_id)
        if known is None:
            return self._unprepared(got.request.prepared_id)
        text, keyspace = known
        bind, _, result = self.cluster.describe(text, keyspace)
        got.bound = bound_values(got.request.params, bind)
        if len(got.bound) != len(bind):
            return self.error(Err.INVALID, f"Invalid amount of bind variables: {len(got.bound)} for {len(bind)}")
        new_id = None
        if has_keyspace(got.version):
            current = responses.metadata_id(result, *self._spec(text, keyspace))
            new_id = current if got.request.result_metadata_id != current else None
        return self._run(got, text, keyspace, result, new_id)

    def _batch(self, got):
        for statement, values in got.request.children:
            if isinstance(statement, bytes) and statement not in self.node.prepared:
                return self._unprepared(statement)
        current = got.request.keyspace or self.keyspace
        known = [(s, current) if isinstance(s, str) else self.node.prepared[s] for s, _ in got.request.children]
        texts = [text for text, _ in known]
        for text, (_, values) in zip(texts, got.request.children):
            if len(values) != len(markers_of(text)):
                return self.error(Err.INVALID, f"Invalid amount of bind variables: {len(values)} for {text}")
        for text, keyspace in known:
            problem = self._check_names(text, keyspace)
            if problem:
                return problem
        if any(is_conditional(text) for text in texts):
            return self._rows(got, APPLIED_COLUMNS, [[True, self.cluster.name]], "batch")
        return Answer(Op.RESULT, responses.void())

    def _rows(self, got, columns, values, text, keyspace=None, new_id=None, paging_state=None):
        params = got.request.params
        skip = params.skip_metadata and new_id is None and got.opcode == Op.EXECUTE
        spec = self._spec(text, keyspace)
        body = responses.rows(columns, values, *spec, paging_state=paging_state, no_metadata=skip,
                              new_metadata_id=new_id, short=has_short_head(got.version))
        return Answer(Op.RESULT, body)

    def _run(self, got, text, keyspace, result=RESULT_COLUMNS, new_id=None):
        verb = verb_of(text)
        if verb == "USE":
            wanted = name_of(strip_comments(text).split(None, 1)[1].rstrip("; "))
            if wanted in self.cluster.lacks:
                return self.error(Err.INVALID, f"Keyspace '{wanted}' does not exist")
            self.keyspace = wanted
            return Answer(Op.RESULT, responses.set_keyspace(self.keyspace))
        problem = self._check_names(text, keyspace)
        if problem:
            return problem
        if verb == "SELECT":
            own, table = table_of(text)
            if (own or keyspace, table) in SYSTEM_TABLES and (table != "keyspaces" or self.is_control):
                columns, rows = self.node.system_rows(table, self.node)
                return self._some(got, columns, rows, text) if table == "keyspaces" else \
                    self._rows(got, columns, rows, text, keyspace)
            if table == "paged":
                return self._page(got, text, keyspace)
            values = {"cluster": self.cluster.name, "keyspace": keyspace, "statement": text}
            return self._rows(got, result, [[values.get(c.name) for c in result]], text, keyspace, new_id)
        if is_conditional(text):
            return self._rows(got, APPLIED_COLUMNS, [[True, self.cluster.name]], text, keyspace, new_id)
        if verb in ("CREATE", "ALTER", "DROP"):
            change = {"CREATE": "CREATED", "ALTER": "UPDATED", "DROP": "DROPPED"}[verb]
            return Answer(Op.RESULT, responses.schema_change(change, "KEYSPACE", "ks", version=got.version))
        return Answer(Op.RESULT, responses.void())

    def _some(self, got, columns, rows, text):
        """One page of them; the paging state is the index of the first row."""
        state = got.request.params.paging_state
        first = int(state or b"0")
        end = first + min(got.request.params.page_size or len(rows), self.cluster.keyspaces_page)
        following = str(end).encode() if end < len(rows) else None
        return self._rows(got, columns, rows[first:end], text, paging_state=following)

    def _page(self, got, text, keyspace):
        """Table "paged" has three pages; a paging state of another cluster is refused, as Cassandra refuses garbage."""
        state = got.request.params.paging_state
        number = 0
        if state is not None:
            prefix = self.cluster.name.encode() + b":"
            if not state.startswith(prefix) or not state[len(prefix):].isdigit():
                return self.error(Err.PROTOCOL_ERROR, f"Invalid value for the paging state: {state!r}")
            number = int(state[len(prefix):])
        following = f"{self.cluster.name}:{number + 1}".encode() if number < 2 else None
        values = [[self.cluster.name, keyspace, f"page {number}"]]
        return self._rows(got, RESULT_COLUMNS, values, text, keyspace, paging_state=following)
