"""
Ways for a fake node to handle a request, for Cluster.on(). Each one is a function (connection, request) that runs as
a task, so that a request that waits holds up no other.
"""
import asyncio
import struct

from cqlwire import framing, responses
from cqlwire.client import PATIENCE
from cqlwire.const import Err, FrameFlag, Op
from fakecluster import RESULT_COLUMNS, Answer, Session


def normally(**preamble):
    """The normal answer, with warnings=, payload= or tracing_id= in front."""
    async def behave(conn, got):
        conn.answer(got, **preamble)
    return behave


def answer(opcode, body=b"", **preamble):
    """Exactly this answer. body may be a function of the request."""
    async def behave(conn, got):
        conn.reply(got, Answer(opcode, body(got) if callable(body) else body, preamble))
    return behave


def error(code, text="made by the test", **fields):
    preamble = fields.pop("preamble", {})

    async def behave(conn, got):
        conn.reply(got, Answer(Op.ERROR, responses.error(code, text, got.version, **fields), preamble))
    return behave


def rows(columns, values, **more):
    return answer(Op.RESULT, responses.rows(columns, values, **more))


def pages(count=3, end="last", gate=None, text=None):
    """
    DSE's continuous paging: `count` pages, the last one flagged so; or, as `end`, no page is and then comes "error",
    "close" or (None) nothing. gate: a coroutine function of the page's number, awaited before it is sent. A page has one
    row: cluster, keyspace, "page N".
    """
    async def behave(conn, got):
        welcome = got.params.continuous[2] if len(got.params.continuous) > 2 else 0
        session = conn.sessions[got.stream] = Session(welcome or None)
        for number in range(1, count + 1):
            if gate is not None:
                await gate(number)
            if not await session.may_send():
                return
            last = number == count and end == "last"
            row = [conn.cluster.name, got.keyspace, text or f"page {number}"]
            state = None if last else f"{conn.cluster.name}:{number}".encode()
            body = responses.rows(RESULT_COLUMNS, [row], page=number, last=last, paging_state=state)
            session.sent += 1
            if last:
                conn.sessions.pop(got.stream)
            conn.reply(got, Answer(Op.RESULT, body), more=not last)
        if end == "error":
            conn.sessions.pop(got.stream)
            conn.reply(got, Answer(Op.ERROR, responses.error(Err.READ_FAILURE, "in the middle", got.version)))
        elif end == "close":
            conn.close()
    return behave


def unprepared(prepared_id=None):
    """UNPREPARED for the request's own id, or for another one."""
    async def behave(conn, got):
        wanted = prepared_id or got.request.prepared_id
        if wanted is None:
            wanted = next(s for s, _ in got.request.children if isinstance(s, bytes))
        conn.reply(got, conn.error(Err.UNPREPARED, f"Prepared query with ID {wanted.hex()} not found", id=wanted))
    return behave


def mute():
    """Never answers."""
    async def behave(conn, got):
        pass
    return behave


class Hold:
    """
    Keeps requests until release() is called; then they get the normal answer, or what `then` does.

        hold = Hold(); origin.on("INSERT", hold)
        await hold.arrived(); ...; hold.release()
    """

    def __init__(self, then=None):
        self.then = then or normally()
        self.waiting = []
        self.answered = 0
        self._open = asyncio.Event()
        self._news = asyncio.Event()

    async def __call__(self, conn, got):
        self.waiting.append(got)
        self._news.set()
        await self._open.wait()
        await self.then(conn, got)
        self.answered += 1

    async def arrived(self, count=1):
        async def wait():
            while len(self.waiting) < count:
                self._news.clear()
                await self._news.wait()
        await asyncio.wait_for(wait(), PATIENCE)
        return self.waiting

    def release(self):
        self._open.set()


def late(seconds, then=None):
    """Answers after a time; where the order is what matters, Hold is better."""
    async def behave(conn, got):
        await asyncio.sleep(seconds)
        await (then or normally())(conn, got)
    return behave


def close():
    async def behave(conn, got):
        conn.close()
    return behave


def reset():
    async def behave(conn, got):
        conn.reset()
    return behave


def raw(data):
    """Bytes outside all framing; a function of (connection, request) or the bytes."""
    async def behave(conn, got):
        conn.transport.write(data(conn, got) if callable(data) else data)
    return behave


def answer_bytes(conn, got, **changes):
    """The frame of the normal answer, with changed version=, stream=, opcode=, flags=, length=, response=."""
    normal = conn.normal_answer(got)
    how = dict(version=got.version, flags=0, stream=got.stream, opcode=normal.opcode, body=normal.body, response=True)
    how.update(changes)
    length = how.pop("length", None)
    return framing.frame_bytes(how["version"], how["flags"], how["stream"], how["opcode"], how["body"],
                               how["response"], length)


def changed_answer(**changes):
    """The normal answer with a wrong header (see answer_bytes), in a right segment in v5."""
    async def behave(conn, got):
        conn.transport.write(conn.codec.wrap(answer_bytes(conn, got, **changes)))
    return behave


def half_answer(then=None):
    """The first half of the answer, then `then`: None for silence, "close" or "reset"."""
    async def behave(conn, got):
        data = conn.codec.wrap(answer_bytes(conn, got))
        conn.transport.write(data[:len(data) // 2])
        if then == "close":
            conn.close()
        elif then == "reset":
            await asyncio.sleep(0.05)  # a RST at once would overtake the bytes
            conn.reset()
    return behave


def twice():
    """The normal answer two times."""
    async def behave(conn, got):
        data = conn.codec.wrap(answer_bytes(conn, got))
        conn.transport.write(data + data)
        conn.in_flight.discard(got.stream)
    return behave


def bad_crc(where):
    """v5: the answer in a segment whose head or payload CRC is wrong ("head", "payload")."""
    async def behave(conn, got):
        frame = answer_bytes(conn, got)
        packed = conn.codec.compression == "lz4"
        conn.transport.write(framing.segment_bytes(frame, True, packed, break_head=where == "head",
                                                   break_payload=where == "payload"))
    return behave


def damaged_compression():
    """v3, v4: an answer whose compressed body is damaged."""
    async def behave(conn, got):
        body = struct.pack(">I", 100) + b"\xff" * 30
        conn.in_flight.discard(got.stream)
        conn.transport.write(framing.frame_bytes(got.version, FrameFlag.COMPRESSED, got.stream, Op.RESULT, body, True))
    return behave
