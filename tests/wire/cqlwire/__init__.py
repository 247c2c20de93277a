"""The CQL native protocol v3 to v5 on raw bytes, for both ends of a test: see framing, requests, responses, client."""
from . import framing, requests, responses
from .client import Client, Closed
from .const import CL, EVENTS, Err, FrameFlag, Kind, Op, QueryFlag, RowsFlag, Type
from .framing import Frame, frame_bytes, segment_bytes
from .primitives import UNSET, Reader, WireError, Writer
from .responses import Column, Response

__all__ = ["CL", "EVENTS", "Client", "Closed", "Column", "Err", "Frame", "FrameFlag", "Kind", "Op", "QueryFlag",
           "Reader",
           "Response", "RowsFlag", "Type", "UNSET", "WireError", "Writer", "frame_bytes", "framing", "requests",
           "responses", "segment_bytes"]
