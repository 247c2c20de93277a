"""
A raw CQL client: it sends what the test says, legal or not, and checks every byte it gets.

    c = await Client.ready(address, port, version=5, compression="lz4", user="u", password="p")
    answer = await c.query("SELECT * FROM ks.t")
    stream = c.send_query("INSERT ..."); answer = await c.answer(stream)

Answers are matched by stream id. What arrives and is never asked for counts as stray: close() raises for it, so that a
second answer to one request does not go unnoticed.
"""
import asyncio

from . import requests as rq
from .const import FrameFlag, Kind, Op, has_short_head
from .framing import Codec, frame_bytes, segment_bytes, switches_to_segments
from .primitives import WireError
from .responses import parse

#: how long an answer may take; long enough for a sanitizer build on a busy machine, and less than a heartbeat_interval
PATIENCE = 20.0


class Closed(Exception):
    """The connection ended before what was waited for came."""


class Client(asyncio.Protocol):
    def __init__(self, version):
        self.version = version
        self.codec = Codec(is_server=False)
        self.transport = None
        self.received = []  # frames nobody has asked for yet
        self.events = []    # parsed EVENT answers
        self.failure = None
        self.is_closed = False
        self.next_stream = 1
        self.authenticator = None
        self._news = asyncio.Event()

    # ---- the connection ----

    @classmethod
    async def open(cls, address, port, version=4, ssl=None, server_hostname=None, receive_buffer=None,
                   local_address=None, first=b""):
        """
        Connects; sends nothing but `first`, before TLS. receive_buffer: SO_RCVBUF, for clients that are to be slow.
        local_address: where the connection comes from.
        """
        import socket
        loop = asyncio.get_running_loop()
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            if local_address is not None:
                sock.bind((local_address, 0))
            await asyncio.wait_for(loop.sock_connect(sock, (address, port)), PATIENCE)
            if first:
                await loop.sock_sendall(sock, first)
            extra = {"ssl": ssl, "server_hostname": server_hostname or ""} if ssl else {}
            _, client = await asyncio.wait_for(loop.create_connection(lambda: cls(version), sock=sock, **extra),
                                               PATIENCE)
        except BaseException:
            sock.close()
            raise
        return client

    @classmethod
    async def ready(cls, address, port, version=4, compression=None, user=None, password=None, keyspace=None, ssl=None,
                    options=None, server_hostname=None):
        """Connects, shakes hands and (keyspace) sends USE."""
        c = await cls.open(address, port, version, ssl, server_hostname)
        try:
            answer = await c.startup(compression, options)
            if answer.opcode == Op.AUTHENTICATE and user is not None:
                answer = await c.ask(Op.AUTH_RESPONSE, rq.auth_response(rq.plain_token(user, password)))
            if answer.opcode not in (Op.READY, Op.AUTH_SUCCESS):
                raise WireError(f"handshake ended with {answer!r}")
            if keyspace is not None:
                await c.use(keyspace)
        except BaseException:
            c.abort()
            raise
        return c

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        try:
            for frame in self.codec.feed(data):
                if switches_to_segments(frame):
                    self.codec.start_segments()
                if frame.opcode == Op.EVENT:
                    self.events.append(parse(frame))
                else:
                    self.received.append(frame)
        except Exception as e:  # kept, and raised in the test that waits
            self.failure = e
            self.transport.abort()
        self._news.set()

    def connection_lost(self, exc):
        self.is_closed = True
        self._news.set()

    async def until(self, condition, what, timeout=PATIENCE):
        """Waits until condition() holds. Closed when the connection ends without it."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        while not condition():
            if self.failure:
                raise self.failure
            if self.is_closed:
                raise Closed(f"connection closed while waiting for {what}")
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), end - loop.time())
            except asyncio.TimeoutError:
                raise TimeoutError(f"no {what} within {timeout} s; received: {self.received}") from None

    async def closed(self, timeout=PATIENCE):
        """Waits for the end of the connection; returns the answers that came before it and were not asked for."""
        try:
            await self.until(lambda: False, "end of the connection", timeout)
        except Closed:
            pass
        return self.take_all()

    def take_all(self):
        frames, self.received = self.received, []
        return [parse(f) for f in frames]

    async def close(self):
        """Ends the connection in order. Raises when something came that was not asked for."""
        if not self.is_closed and not self.failure:
            self.transport.close()
            await self.closed_quietly()
        if self.failure:
            raise self.failure
        if self.received:
            raise WireError(f"answers nobody waited for: {self.take_all()}")

    async def closed_quietly(self):
        frames = self.received
        self.received = []
        try:
            await self.until(lambda: False, "end of the connection")
        except Closed:
            pass
        self.received = frames + self.received

    def abort(self):
        if self.transport is not None:
            self.transport.abort()

    # ---- sending ----

    def write(self, data):
        """Raw bytes, outside all framing."""
        self.transport.write(data)

    def send_frame_bytes(self, data):
        """Bytes of one or more frames, put into one segment where the connection speaks segments."""
        self.write(self.codec.wrap(data))

    def frame(self, opcode, body=b"", flags=0, stream=None, version=None, response=False, length=None):
        """The bytes of a frame as this connection would send it; compressed when the flag is set."""
        stream = self.take_stream() if stream is None else stream
        if length is not None or response:
            return frame_bytes(version or self.version, flags, stream, opcode, body, response, length)
        return self.codec.encode(version or self.version, flags, stream, opcode, body)

    def take_stream(self):
        self.next_stream = self.next_stream % (120 if has_short_head(self.version) else 32000) + 1
        return self.next_stream

    def send(self, opcode, body=b"", flags=0, stream=None, payload=None, compress=None):
        """Sends one frame; returns its stream id. Compressed on connections with compression unless compress=False."""
        stream = self.take_stream() if stream is None else stream
        if payload is not None:
            flags |= FrameFlag.CUSTOM_PAYLOAD
            body = rq.with_payload(body, payload)
        wanted = self.codec.compression and not self.codec.framed and opcode not in (Op.STARTUP, Op.OPTIONS)
        if wanted and compress is not False:
            flags |= FrameFlag.COMPRESSED
        self.send_frame_bytes(self.frame(opcode, body, flags, stream))
        return stream

    def send_segment(self, payload, **how):
        """One hand-made segment (see framing.segment_bytes)."""
        self.write(segment_bytes(payload, lz4_on=self.codec.compression == "lz4", **how))

    def send_query(self, text, stream=None, payload=None, flags=0, **params):
        return self.send(Op.QUERY, rq.query(self.version, text, **params), flags, stream, payload)

    def send_prepare(self, text, keyspace=None, stream=None, payload=None):
        return self.send(Op.PREPARE, rq.prepare(self.version, text, keyspace), stream=stream, payload=payload)

    def send_execute(self, prepared, stream=None, payload=None, **params):
        """prepared: the answer to PREPARE, or an id."""
        if isinstance(prepared, bytes):
            body = rq.execute(self.version, prepared, **params)
        else:
            metadata = params.pop("result_metadata_id", prepared.result_metadata_id or b"")
            body = rq.execute(self.version, prepared.prepared_id, metadata, **params)
        return self.send(Op.EXECUTE, body, stream=stream, payload=payload)

    def send_batch(self, children, stream=None, payload=None, **params):
        return self.send(Op.BATCH, rq.batch(self.version, children, **params), stream=stream, payload=payload)

    # ---- asking ----

    async def answer(self, stream, timeout=PATIENCE):
        """The (first) answer on a stream, parsed."""
        def find():
            return next((f for f in self.received if f.stream == stream), None)
        await self.until(lambda: find() is not None, f"answer on stream {stream}", timeout)
        frame = find()
        self.received.remove(frame)
        return parse(frame)

    async def next_answer(self, timeout=PATIENCE):
        """The next answer, whatever its stream."""
        await self.until(lambda: self.received, "answer", timeout)
        return parse(self.received.pop(0))

    async def ask(self, opcode, body=b"", **how):
        return await self.answer(self.send(opcode, body, **how))

    async def startup(self, compression=None, options=None, stream=None):
        """STARTUP. The codec follows the agreed compression and, in v5, the switch to segments."""
        pairs = dict(options or {})
        if compression is not None:
            pairs["COMPRESSION"] = compression
        stream = self.send(Op.STARTUP, rq.startup(pairs), stream=stream)
        self.codec.compression = compression.lower() if compression else None
        answer = await self.answer(stream)
        self.authenticator = answer.authenticator
        return answer

    async def auth(self, token):
        return await self.ask(Op.AUTH_RESPONSE, rq.auth_response(token))

    async def login(self, user, password):
        return await self.auth(rq.plain_token(user, password))

    async def options(self):
        return await self.ask(Op.OPTIONS)

    async def query(self, text, **params):
        return await self.answer(self.send_query(text, **params))

    async def prepare(self, text, keyspace=None, payload=None):
        return await self.answer(self.send_prepare(text, keyspace, payload=payload))

    async def execute(self, prepared, **params):
        return await self.answer(self.send_execute(prepared, **params))

    async def batch(self, children, **params):
        return await self.answer(self.send_batch(children, **params))

    async def register(self, *events):
        return await self.ask(Op.REGISTER, rq.register(list(events)))

    async def revise(self, kind, stream, next_pages=None):
        """DSE: about the request that was sent on `stream`."""
        return await self.ask(Op.REVISE, rq.revise(kind, stream, next_pages))

    async def use(self, keyspace):
        answer = await self.query(f"USE {keyspace}")
        if answer.kind != Kind.SET_KEYSPACE:
            raise WireError(f"USE gave {answer!r}")
        return answer
