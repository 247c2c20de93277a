"""The few frames of the native protocol (v4, sections 2 and 4) that a harness needs before any driver can connect:
asks a node, with or without TLS and credentials, whether it lets a client in."""

import socket
import ssl
import struct

_STARTUP, _READY, _AUTHENTICATE, _AUTH_RESPONSE, _AUTH_SUCCESS = 0x01, 0x02, 0x03, 0x0F, 0x10


class LoginRefused(Exception):
    pass


def _exactly(stream, size):
    data = b""
    while len(data) < size:
        piece = stream.recv(size - len(data))
        if not piece:
            raise ConnectionError("closed by the other side")
        data += piece
    return data


def _exchange(stream, opcode, body):
    stream.sendall(struct.pack(">BBhBI", 4, 0, 0, opcode, len(body)) + body)
    _, _, _, answer, length = struct.unpack(">BBhBI", _exactly(stream, 9))
    return answer, _exactly(stream, length)


def _context(tls):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(tls.ca)
    context.load_cert_chain(tls.client_cert, tls.client_key)
    return context


def login(address, port, username=None, password=None, tls=None, timeout=30.0):
    """Opens a connection as a driver does and closes it again. `tls` has ca, client_cert and client_key (paths).
    Raises OSError when there is no connection and LoginRefused when the node says no."""
    with socket.create_connection((address, port), timeout) as raw:
        stream = _context(tls).wrap_socket(raw) if tls else raw
        with stream:
            options = b"\x00\x01\x00\x0bCQL_VERSION\x00\x053.0.0"
            answer, body = _exchange(stream, _STARTUP, options)
            if answer == _AUTHENTICATE:
                token = b"\0" + (username or "").encode() + b"\0" + (password or "").encode()
                answer, body = _exchange(stream, _AUTH_RESPONSE, struct.pack(">i", len(token)) + token)
            if answer not in (_READY, _AUTH_SUCCESS):
                raise LoginRefused("opcode 0x%02x: %r" % (answer, body[:200]))
