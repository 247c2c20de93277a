"""The notations of section 3 of the protocol: a writer that appends and a reader that never reads beyond the end."""
import ipaddress
import struct


class WireError(Exception):
    """The other side broke the protocol, or a test built something that cannot be parsed."""


class Unset:
    """A [value] that is `not set`."""

    def __repr__(self):
        return "UNSET"


UNSET = Unset()


class Writer:
    def __init__(self):
        self.out = bytearray()

    def raw(self, data):
        self.out += data
        return self

    def byte(self, n):
        return self.raw(struct.pack(">B", n))

    def short(self, n):
        return self.raw(struct.pack(">H", n))

    def int(self, n):
        return self.raw(struct.pack(">i", n))

    def long(self, n):
        return self.raw(struct.pack(">q", n))

    def string(self, text):
        data = text.encode()
        return self.short(len(data)).raw(data)

    def long_string(self, text):
        data = text if isinstance(text, bytes) else text.encode()
        return self.int(len(data)).raw(data)

    def bytes(self, data):
        if data is None:
            return self.int(-1)
        return self.int(len(data)).raw(data)

    def value(self, data):
        return self.int(-2) if data is UNSET else self.bytes(data)

    def short_bytes(self, data):
        return self.short(len(data)).raw(data)

    def string_list(self, items):
        self.short(len(items))
        for item in items:
            self.string(item)
        return self

    def string_map(self, items):
        self.short(len(items))
        for key, value in items.items():
            self.string(key).string(value)
        return self

    def string_multimap(self, items):
        self.short(len(items))
        for key, values in items.items():
            self.string(key).string_list(values)
        return self

    def bytes_map(self, items):
        self.short(len(items))
        for key, value in items.items():
            self.string(key).bytes(value)
        return self

    def inet(self, address, port):
        packed = ipaddress.ip_address(address).packed
        return self.byte(len(packed)).raw(packed).int(port)

    def done(self):
        return bytes(self.out)


class Reader:
    def __init__(self, data, pos=0):
        self.data = data
        self.pos = pos

    def left(self):
        return len(self.data) - self.pos

    def raw(self, n):
        if n < 0 or n > self.left():
            raise WireError(f"{n} bytes wanted at {self.pos}, {self.left()} left")
        self.pos += n
        return bytes(self.data[self.pos - n:self.pos])

    def _unpack(self, form, size):
        return struct.unpack(form, self.raw(size))[0]

    def byte(self):
        return self._unpack(">B", 1)

    def short(self):
        return self._unpack(">H", 2)

    def int(self):
        return self._unpack(">i", 4)

    def long(self):
        return self._unpack(">q", 8)

    def string(self):
        return self.raw(self.short()).decode()

    def long_string(self):
        return self.raw(self.int()).decode()

    def bytes(self):
        n = self.int()
        return None if n < 0 else self.raw(n)

    def value(self):
        n = self.int()
        if n == -2:
            return UNSET
        return None if n < 0 else self.raw(n)

    def short_bytes(self):
        return self.raw(self.short())

    def string_list(self):
        return [self.string() for _ in range(self.short())]

    def string_map(self):
        return {self.string(): self.string() for _ in range(self.short())}

    def string_multimap(self):
        return {self.string(): self.string_list() for _ in range(self.short())}

    def bytes_map(self):
        return {self.string(): self.bytes() for _ in range(self.short())}

    def inet(self):
        packed = self.raw(self.byte())
        return str(ipaddress.ip_address(packed)), self.int()
