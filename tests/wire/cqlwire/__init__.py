"""The CQL native protocol v2 to v5 and DSE's on raw bytes, for both ends of a test: see framing, requests, responses, client."""
from . import framing, requests, responses
from .client import Client, Closed
from .const import CL, DSE1, DSE2, EVENTS, Err, FrameFlag, Kind, Op, QueryFlag, Revision, RowsFlag, Type
from .framing import Frame, frame_bytes, segment_bytes
from .primitives import UNSET, Reader, WireError, Writer
from .responses import Column, Response

__all__ = ["CL", "DSE1", "DSE2", "EVENTS", "Client", "Closed", "Column", "Err", "Frame", "FrameFlag", "Kind", "Op", "QueryFlag",
           "Reader", "Revision",
           "Response", "RowsFlag", "Type", "UNSET", "WireError", "Writer", "frame_bytes", "framing", "requests",
           "responses", "segment_bytes"]
