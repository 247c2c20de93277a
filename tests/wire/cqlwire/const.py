"""The numbers of the native protocol, v2 to v5 and DSE's two, and what sets these versions apart."""
from enum import IntEnum, IntFlag

DSE1 = 0x41
DSE2 = 0x42
VERSIONS = (2, 3, 4, 5, DSE1, DSE2)


def offer(version):
    """As nodes list it under PROTOCOL_VERSIONS."""
    return f"{version}/dse-v{version & 3}" if version >= DSE1 else f"{version}/v{version}"


def has_short_head(version):
    """v2: 8 bytes of header with one for the stream id, 2-byte lengths in collections, BATCH without flags."""
    return version == 2


def has_int_flags(version):
    return version >= 5


def has_keyspace(version):
    """Keyspace in requests, flags in PREPARE, an id for the result columns."""
    return version in (5, DSE2)


def has_continuous_paging(version):
    return version in (DSE1, DSE2)


def has_next_pages(version):
    return version == DSE2


class Op(IntEnum):
    ERROR = 0x00
    STARTUP = 0x01
    READY = 0x02
    AUTHENTICATE = 0x03
    OPTIONS = 0x05
    SUPPORTED = 0x06
    QUERY = 0x07
    RESULT = 0x08
    PREPARE = 0x09
    EXECUTE = 0x0A
    REGISTER = 0x0B
    EVENT = 0x0C
    BATCH = 0x0D
    AUTH_CHALLENGE = 0x0E
    AUTH_RESPONSE = 0x0F
    AUTH_SUCCESS = 0x10
    REVISE = 0xFF


REQUESTS = {Op.STARTUP, Op.OPTIONS, Op.QUERY, Op.PREPARE, Op.EXECUTE, Op.REGISTER, Op.BATCH, Op.AUTH_RESPONSE,
            Op.REVISE}


def op_name(opcode):
    return Op(opcode).name if opcode in Op._value2member_map_ else f"0x{opcode:02X}"


class Err(IntEnum):
    SERVER_ERROR = 0x0000
    PROTOCOL_ERROR = 0x000A
    BAD_CREDENTIALS = 0x0100
    UNAVAILABLE = 0x1000
    OVERLOADED = 0x1001
    IS_BOOTSTRAPPING = 0x1002
    TRUNCATE_ERROR = 0x1003
    WRITE_TIMEOUT = 0x1100
    READ_TIMEOUT = 0x1200
    READ_FAILURE = 0x1300
    FUNCTION_FAILURE = 0x1400
    WRITE_FAILURE = 0x1500
    CDC_WRITE_FAILURE = 0x1600
    CAS_WRITE_UNKNOWN = 0x1700
    SYNTAX_ERROR = 0x2000
    UNAUTHORIZED = 0x2100
    INVALID = 0x2200
    CONFIG_ERROR = 0x2300
    ALREADY_EXISTS = 0x2400
    UNPREPARED = 0x2500


class CL(IntEnum):
    ANY = 0
    ONE = 1
    TWO = 2
    THREE = 3
    QUORUM = 4
    ALL = 5
    LOCAL_QUORUM = 6
    EACH_QUORUM = 7
    SERIAL = 8
    LOCAL_SERIAL = 9
    LOCAL_ONE = 10


class FrameFlag(IntFlag):
    COMPRESSED = 0x01
    TRACING = 0x02
    CUSTOM_PAYLOAD = 0x04
    WARNING = 0x08
    USE_BETA = 0x10


class QueryFlag(IntFlag):
    VALUES = 0x01
    SKIP_METADATA = 0x02
    PAGE_SIZE = 0x04
    PAGING_STATE = 0x08
    SERIAL_CONSISTENCY = 0x10
    TIMESTAMP = 0x20
    NAMES = 0x40
    KEYSPACE = 0x80
    NOW_IN_SECONDS = 0x100
    PAGE_SIZE_BYTES = 0x40000000
    CONTINUOUS_PAGING = 0x80000000


class RowsFlag(IntFlag):
    GLOBAL_SPEC = 0x01
    MORE_PAGES = 0x02
    NO_METADATA = 0x04
    METADATA_CHANGED = 0x08
    CONTINUOUS_PAGE = 0x40000000
    LAST_PAGE = 0x80000000


class Revision(IntEnum):
    CANCEL = 1
    MORE_PAGES = 2


class Kind(IntEnum):
    VOID = 1
    ROWS = 2
    SET_KEYSPACE = 3
    PREPARED = 4
    SCHEMA_CHANGE = 5


class Type(IntEnum):
    CUSTOM = 0x00
    ASCII = 0x01
    BIGINT = 0x02
    BLOB = 0x03
    BOOLEAN = 0x04
    COUNTER = 0x05
    DECIMAL = 0x06
    DOUBLE = 0x07
    FLOAT = 0x08
    INT = 0x09
    TIMESTAMP = 0x0B
    UUID = 0x0C
    VARCHAR = 0x0D
    VARINT = 0x0E
    TIMEUUID = 0x0F
    INET = 0x10
    DATE = 0x11
    TIME = 0x12
    SMALLINT = 0x13
    TINYINT = 0x14
    DURATION = 0x15
    LIST = 0x20
    MAP = 0x21
    SET = 0x22
    UDT = 0x30
    TUPLE = 0x31


EVENTS = ["TOPOLOGY_CHANGE", "STATUS_CHANGE", "SCHEMA_CHANGE"]
