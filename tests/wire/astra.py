"""
What stands between a driver and an Astra database, on loopback: the metadata service, the SNI proxy, and the secure
connect bundle that leads to them. One Astra per fake cluster, whose nodes speak plain CQL behind it.
"""
import asyncio
import json
import ssl
import zipfile


class Service:
    """The metadata service: HTTPS that demands a client certificate. `answer` is (status line, body), or a coroutine
    function(writer)."""

    def __init__(self, address, port, authority, names=None, client_ca=None, host=None):
        self.address, self.port = address, port
        self.context = authority.server([address, "localhost"] if names is None else names, client_ca)
        self.host = host or address
        self.answer = None
        self.requests = []  # (request line, headers, client certificate, SNI name)
        self.server = None

    async def start(self):
        self.server = await asyncio.start_server(self._serve, self.address, self.port, ssl=self.context)

    async def stop(self):
        if self.server is not None:
            self.server.close()
            self.server = None

    async def _serve(self, reader, writer):
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            line, *headers = head.split("\r\n")
            named = {k.lower(): v for k, v in (h.split(": ", 1) for h in headers if h)}
            self.requests.append((line, named, writer.get_extra_info("peercert"), self.context.seen_names[-1]))
            if callable(self.answer):
                await self.answer(writer)
            else:
                status, body = self.answer
                writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nLocation: /elsewhere\r\n"
                             f"Connection: close\r\n\r\n".encode() + body)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # the proxy has had enough
        finally:
            writer.close()


class SniProxy:
    """Passes a TLS connection on to the node whose host id is the SNI name. One without such a name is closed."""

    def __init__(self, address, port, authority, cluster, names=None, client_ca=None):
        self.address, self.port = address, port
        self.cluster = cluster
        self.context = authority.server([address, "localhost"] if names is None else names, client_ca)
        self.context.sni_callback = self._on_sni
        self.names = []      # SNI names in order of arrival, refused handshakes among them
        self.passed = []     # names of the connections that were passed on
        self.strays = []     # what was asked for and is no node
        self.writers = set()
        self.server = None

    def _on_sni(self, sock, name, context):
        sock.sni_name = name
        self.names.append(name)

    async def start(self):
        self.server = await asyncio.start_server(self._serve, self.address, self.port, ssl=self.context)

    async def stop(self):
        """As a proxy that dies: everything is reset."""
        if self.server is not None:
            self.server.close()
            self.server = None
        for writer in list(self.writers):
            writer.transport.abort()

    async def _serve(self, reader, writer):
        name = getattr(writer.get_extra_info("ssl_object"), "sni_name", None)
        node = next((n for n in self.cluster.nodes if str(n.host_id) == name), None)
        if node is None:
            self.strays.append(name)
            writer.close()
            return
        try:
            inner_reader, inner_writer = await asyncio.open_connection(node.address, self.cluster.port)
        except OSError:
            writer.close()
            return
        self.passed.append(name)
        self.writers |= {writer, inner_writer}
        await asyncio.gather(self._pump(reader, inner_writer), self._pump(inner_reader, writer))
        self.writers -= {writer, inner_writer}

    @staticmethod
    async def _pump(reader, writer):
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        writer.close()


class Astra:
    """Service, SNI proxy and bundle of one cluster. Everything may be changed before start()."""

    def __init__(self, folder, addresses, authority, cluster, client_ca=None):
        self.path = folder / f"bundle-{cluster.name}-{id(self):x}.zip"
        self.addresses = addresses
        self.authority = authority
        self.cluster = cluster
        self.client_ca = client_ca or authority
        self.service = Service(*addresses.one(), authority, client_ca=self.client_ca)
        self.proxy = SniProxy(*addresses.one(), authority, cluster, client_ca=self.client_ca)
        cert, key = authority.certificate()
        self.members = {"ca.crt": authority.ca.read_bytes(), "cert": cert.read_bytes(), "key": key.read_bytes(),
                        "cqlshrc": b"not for us", "deeper/ca.crt": b"nor this"}
        self.config = {"host": self.service.host, "port": self.service.port, "cql_port": 29080, "keyspace": "x"}
        self.proxy_host = self.proxy.address

    def ids(self):
        return [str(node.host_id) for node in self.cluster.nodes]

    def metadata(self, **changes):
        """The body of a good answer; changes go into contact_info."""
        info = {"type": "sni_proxy", "local_dc": "dc1", "sni_proxy_address": f"{self.proxy_host}:{self.proxy.port}",
                "contact_points": self.ids()[:1]}
        info.update(changes)
        return json.dumps({"version": 1, "region": "nowhere", "contact_info": info}).encode()

    def heal(self, **changes):
        """The service gives the good answer from now on."""
        self.service.answer = ("200 OK", self.metadata(**changes))

    def write(self):
        with zipfile.ZipFile(self.path, "w", zipfile.ZIP_DEFLATED) as out:
            for name, data in {"config.json": json.dumps(self.config).encode(), **self.members}.items():
                if data is not None:
                    out.writestr(name, data)
        return self.path

    async def start(self):
        if self.service.answer is None:
            self.heal()
        self.write()
        await self.service.start()
        await self.proxy.start()

    async def stop(self):
        await self.service.stop()
        await self.proxy.stop()

    async def another_proxy(self, **how):
        """A second SNI proxy in front of the same nodes; it runs, and nobody has been told of it."""
        proxy = SniProxy(*self.addresses.one(), self.authority, self.cluster, client_ca=self.client_ca, **how)
        await proxy.start()
        return proxy
