"""
Frames, v5 segments and compression.

A connection starts with plain frames on both sides. With protocol v5 each side switches to segments behind the READY or
AUTHENTICATE frame (native protocol v5, section 2.3); Codec does both directions of one end of a connection.
"""
import struct
import zlib
from dataclasses import dataclass, field

import cramjam
import lz4.block

from .const import FrameFlag, Op, has_short_head, op_name
from .primitives import WireError

HEAD = 9
MAX_PAYLOAD = 0x1FFFF
CRC24_INIT = 0x875060
CRC24_POLY = 0x1974F0B
CRC32_SEED = bytes.fromhex("FA2D55CA")


# ---- bodies of v3 and v4 ----

def compress_body(algorithm, body):
    if algorithm == "lz4":
        return struct.pack(">I", len(body)) + lz4.block.compress(body, store_size=False)
    if algorithm == "snappy":
        return bytes(cramjam.snappy.compress_raw(body))
    raise ValueError(f"cannot compress with {algorithm!r}")


def decompress_body(algorithm, body):
    if algorithm == "lz4":
        if len(body) < 4:
            raise WireError("lz4 body without a length")
        size = struct.unpack(">I", body[:4])[0]
        if size == 0:
            return b""
        return lz4.block.decompress(body[4:], uncompressed_size=size)
    if algorithm == "snappy":
        return bytes(cramjam.snappy.decompress_raw(body))
    raise WireError(f"compressed frame, but the connection has compression {algorithm!r}")


# ---- frames ----

@dataclass
class Frame:
    version: int
    flags: int
    stream: int
    opcode: int
    body: bytes = b""
    response: bool = False
    #: the body as it lay on the wire (differs from body when it was compressed)
    wire_body: bytes = field(default=b"", repr=False)

    def __repr__(self):
        return (f"<{op_name(self.opcode)} v{self.version} flags={self.flags:#x} stream={self.stream} "
                f"{len(self.body)} bytes {self.body[:60]!r}>")

    @property
    def was_compressed(self):
        return bool(self.flags & FrameFlag.COMPRESSED)


def frame_bytes(version, flags, stream, opcode, body=b"", response=False, length=None):
    """A frame as it lies on the wire; `length` lies about the body's length."""
    first = (version & 0x7F) | (0x80 if response else 0)
    form = ">BBbBi" if has_short_head(version & 0x7F) else ">BBhBi"
    return struct.pack(form, first, flags, stream, opcode, len(body) if length is None else length) + body


# ---- segments ----

def crc24(data):
    crc = CRC24_INIT
    for byte in data:
        crc ^= byte << 16
        for _ in range(8):
            crc <<= 1
            if crc & 0x1000000:
                crc ^= CRC24_POLY
    return crc & 0xFFFFFF


def crc32(payload):
    return zlib.crc32(payload, zlib.crc32(CRC32_SEED))


@dataclass
class SegmentInfo:
    """What a segment looked like on the wire."""
    wire_length: int
    plain_length: int
    self_contained: bool
    compressed: bool


def segment_bytes(payload, self_contained=True, lz4_on=False, store_plain=None, break_head=False, break_payload=False):
    """
    One segment. `store_plain` forces (True) or forbids (False) the "uncompressed length 0" form of compressed framing;
    by default what is smaller is sent. `break_head` and `break_payload` spoil the CRCs.
    """
    assert len(payload) <= MAX_PAYLOAD
    wire = payload
    if lz4_on:
        packed = lz4.block.compress(payload, store_size=False)
        plain = store_plain if store_plain is not None else len(packed) >= len(payload)
        if not plain:
            wire = packed
        assert len(wire) <= MAX_PAYLOAD
        head = (len(wire) | (0 if plain else len(payload)) << 17 | int(self_contained) << 34).to_bytes(5, "little")
    else:
        head = (len(wire) | int(self_contained) << 17).to_bytes(3, "little")
    head_crc = crc24(head) ^ (1 if break_head else 0)
    payload_crc = crc32(wire) ^ (1 if break_payload else 0)
    return head + head_crc.to_bytes(3, "little") + wire + payload_crc.to_bytes(4, "little")


def segments_of(frame, lz4_on=False):
    """The segments for one frame: self-contained if it fits, else split."""
    if len(frame) <= MAX_PAYLOAD:
        return segment_bytes(frame, True, lz4_on)
    pieces = [frame[i:i + MAX_PAYLOAD] for i in range(0, len(frame), MAX_PAYLOAD)]
    return b"".join(segment_bytes(piece, False, lz4_on) for piece in pieces)


class Codec:
    """
    Both directions of one end. is_server: this end is a node (it reads requests and writes answers).

    versions: those that a body is waited for; a frame of another one is given out as soon as its header is there.
    compression is what STARTUP agreed on. `segments` holds a SegmentInfo for each one that came in. Reading is as
    strict as Cassandra is: a self-contained segment holds whole frames, others hold pieces of exactly one frame.
    """

    def __init__(self, is_server, versions=None):
        self.is_server = is_server
        self.versions = versions
        self.compression = None
        self.framed = False
        self.buffer = bytearray()
        self.payload = bytearray()
        self.in_large_frame = False
        self.segments = []

    # ---- reading ----

    def feed(self, data):
        """Yields the frames that `data` completes."""
        self.buffer += data
        while True:
            frame = self._take_frame(self.payload if self.framed else self.buffer)
            if frame is not None:
                if self.framed and self.in_large_frame and self.payload:
                    raise WireError("a segment that is not self-contained goes on behind the end of its frame")
                yield frame
                continue
            if self.framed and self.payload and not self.in_large_frame:
                raise WireError(f"a self-contained segment ends with {len(self.payload)} bytes of an unfinished frame")
            if not self.framed or not self._take_segment():
                return

    def _take_frame(self, source):
        if not source:
            return None
        short = has_short_head(source[0] & 0x7F)
        head = HEAD - 1 if short else HEAD
        if len(source) < head:
            return None
        first, flags, stream, opcode, length = struct.unpack(">BBbBi" if short else ">BBhBi", source[:head])
        if self.versions is not None and first & 0x7F not in self.versions:
            length = 0  # refused by its header; nothing behind it is read
        if length < 0:
            raise WireError(f"negative body length {length}")
        if len(source) < head + length:
            return None
        wire = bytes(source[head:head + length])
        del source[:head + length]
        frame = Frame(first & 0x7F, flags, stream, opcode, wire, bool(first & 0x80), wire)
        if flags & FrameFlag.COMPRESSED and not self.framed:
            frame.body = decompress_body(self.compression, wire)
        return frame

    def _take_segment(self):
        packed = self.compression == "lz4"
        size = 5 if packed else 3
        if len(self.buffer) < size + 3:
            return False
        head = bytes(self.buffer[:size])
        if crc24(head) != int.from_bytes(self.buffer[size:size + 3], "little"):
            raise WireError("CRC mismatch in a segment header")
        bits = int.from_bytes(head, "little")
        wire_length = bits & MAX_PAYLOAD
        plain_length = (bits >> 17) & MAX_PAYLOAD if packed else 0
        self_contained = bool(bits >> (34 if packed else 17) & 1)
        if len(self.buffer) < size + 3 + wire_length + 4:
            return False
        wire = bytes(self.buffer[size + 3:size + 3 + wire_length])
        trailer = self.buffer[size + 3 + wire_length:size + 3 + wire_length + 4]
        if crc32(wire) != int.from_bytes(trailer, "little"):
            raise WireError("CRC mismatch in a segment payload")
        del self.buffer[:size + 3 + wire_length + 4]
        plain = lz4.block.decompress(wire, uncompressed_size=plain_length) if plain_length else wire
        if self_contained and self.payload:
            raise WireError(f"a self-contained segment while {len(self.payload)} bytes of a large frame wait")
        self.payload += plain
        self.in_large_frame = not self_contained
        self.segments.append(SegmentInfo(wire_length, len(plain), self_contained, bool(plain_length)))
        return True

    def start_segments(self):
        """From here on both directions of this end speak segments. Bytes behind the switch are segments too."""
        self.framed = True

    # ---- writing ----

    def encode(self, frame_version, flags, stream, opcode, body, compress=None, response=None):
        """
        The bytes of one frame as this end would send it now. compress: None = with the agreed algorithm when the flag
        is set in `flags`; in segments the flag never applies.
        """
        response = self.is_server if response is None else response
        if flags & FrameFlag.COMPRESSED and not self.framed and compress is not False:
            body = compress_body(self.compression, body)
        return frame_bytes(frame_version, flags, stream, opcode, body, response)

    def wrap(self, frames):
        """Puts the bytes of one or more frames into segments if this end speaks them."""
        return segments_of(frames, self.compression == "lz4") if self.framed else frames


def switches_to_segments(frame):
    """True for the answers behind which v5 connections speak segments."""
    return frame.version == 5 and frame.opcode in (Op.READY, Op.AUTHENTICATE)
