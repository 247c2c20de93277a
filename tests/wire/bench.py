"""
Two fake clusters with the proxy between them, ready for clients. Starting one costs a process start, so benches with
the same settings are shared by the tests that ask for them, and swept clean in between.
"""
import os
import re
import socket

from cqlwire import Client
from cqlwire.const import Op
from cqlwire.requests import plain_token
from fakecluster import BARRIER, Cluster
from proxy import Proxy, ProxyFailure


class Addresses:
    """Loopback addresses that no other run of these tests uses, and ports that are free there."""

    def __init__(self):
        self.mark, number = self._own_number()
        self.prefix = f"127.{number}"
        self.taken = 0
        self.given = set()   # (addresses, port)

    @staticmethod
    def _own_number():
        """Of 16 to 215, and the socket whose name keeps other runs away from it, those beside this one as well."""
        for step in range(200):
            number = 16 + (os.getpid() + step) % 200
            mark = socket.socket(socket.AF_UNIX)
            try:
                mark.bind(f"\0cqlferry-tests-127.{number}")
                return mark, number
            except OSError:
                mark.close()
        raise AssertionError("200 runs of these tests at a time leave no loopback addresses")

    def take(self, count=1):
        first = self.taken
        self.taken += count
        return [f"{self.prefix}.{n // 250}.{n % 250 + 1}" for n in range(first, first + count)]

    def port(self, *addresses):
        """A port that is free on all of these."""
        for _ in range(50):
            socks = []
            try:
                port = 0
                for address in addresses:
                    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
                    socks.append(sock)
                    sock.bind((address, port))
                    port = sock.getsockname()[1]
                if (addresses, port) not in self.given:  # free still, but somebody is about to listen there
                    self.given.add((addresses, port))
                    return port
            except OSError:
                continue
            finally:
                for sock in socks:
                    sock.close()
        raise OSError(f"no port is free on all of {addresses}")

    def one(self):
        address = self.take()[0]
        return address, self.port(address)


class Bench:
    """
    origin, target: what Cluster() takes, with nodes=N, or with addresses=[...]; with own_ports=True each node has a
    port of its own. sections: additions to the INI file, by section. profile
    "zdm": no INI file, but ZDM_* variables; then `variables` has additions to them and `sections` must be empty.
    "native": an INI file that says so; None: one that leaves it to CQLFERRY_PROFILE of the environment.
    """

    def __init__(self, folder, name, addresses, primary="origin", profile=None, origin=None, target=None,
                 sections=None, variables=None):
        self.name = name
        self.proxy = Proxy(folder, name)
        self.primary_name = primary
        self.profile = profile
        self.clients = []
        self.sections = sections or {}
        self.variables = variables or {}
        self.arguments = []  # of the command line, beside -c
        self.origin = self._cluster(addresses, "origin", dict(origin or {}))
        self.target = self._cluster(addresses, "target", dict(target or {}))
        address = addresses.take()[0]
        self.proxy.listen = (address, addresses.port(address))
        self.proxy.http = (address, addresses.port(address))
        self.may_be_down = False
        self.key = None  # what it is kept by for further tests

    @staticmethod
    def _cluster(addresses, name, settings):
        nodes = settings.pop("addresses", None) or addresses.take(settings.pop("nodes", 1))
        if settings.pop("own_ports", False):
            ports = {i: addresses.port(node) for i, node in enumerate(nodes)}
            return Cluster(name, nodes, ports[0], node_ports=ports, **settings)
        return Cluster(name, nodes, addresses.port(*nodes), **settings)

    @property
    def clusters(self):
        return (self.origin, self.target)

    @property
    def is_zdm(self):
        """Whether the proxy runs in the zdm profile, however that came."""
        return self.proxy.profile == "zdm"

    @property
    def is_pooled(self):
        """Whether clients share connections to the nodes. Else each has one of its own to each cluster."""
        return not self.is_zdm and self.ini()["proxy"].get("backend_connections", "pooled") == "pooled"

    @property
    def primary(self):
        return self.origin if self.primary_name == "origin" else self.target

    @property
    def secondary(self):
        return self.target if self.primary_name == "origin" else self.origin

    def ini(self):
        sections = {
            "proxy": {"workers": 2, "profile": self.profile or os.environ.get("CQLFERRY_PROFILE"), **self.backend()},
            "listener": {"address": self.proxy.listen[0], "port": self.proxy.listen[1]},
            "origin": self._cluster_section(self.origin),
            "target": self._cluster_section(self.target),
            "routing": {"primary": self.primary_name},
            "http": {"address": self.proxy.http[0], "port": self.proxy.http[1]},
            "log": {"level": "debug"},
        }
        for name, values in self.sections.items():
            sections.setdefault(name, {}).update(values)
        return sections

    @staticmethod
    def backend():
        """
        Connections of the clients' own, or shared ones when CQLFERRY_BACKEND is "pooled". These then end soon after
        the last client, so that a test finds the clusters as the one before it did.
        """
        if os.environ.get("CQLFERRY_BACKEND", "dedicated") == "dedicated":
            return {"backend_connections": "dedicated"}
        return {"backend_connections": "pooled", "pool_idle_timeout": "10ms"}

    @staticmethod
    def _cluster_section(cluster):
        section = {"contact_points": cluster.nodes[0].address, "port": cluster.port, "username": "proxy",
                   "password": "proxy-password"}
        return section

    def zdm(self):
        variables = {"ZDM_PRIMARY_CLUSTER": self.primary_name.upper(), "ZDM_LOG_LEVEL": "DEBUG",
                     "ZDM_PROXY_LISTEN_ADDRESS": self.proxy.listen[0],
                     "ZDM_PROXY_LISTEN_PORT": str(self.proxy.listen[1]),
                     "ZDM_METRICS_ADDRESS": self.proxy.http[0], "ZDM_METRICS_PORT": str(self.proxy.http[1])}
        for cluster in self.clusters:
            prefix = f"ZDM_{cluster.name.upper()}_"
            variables.update({prefix + "CONTACT_POINTS": cluster.nodes[0].address, prefix + "PORT": str(cluster.port),
                              prefix + "USERNAME": "proxy", prefix + "PASSWORD": "proxy-password"})
        variables.update(self.variables)
        return variables

    async def start_clusters(self):
        for cluster in self.clusters:
            await cluster.start()

    async def start_proxy(self, wait=True):
        if self.profile == "zdm":
            assert not self.sections
            await self.proxy.start(variables=self.zdm(), arguments=self.arguments, wait=wait)
        else:
            await self.proxy.start(sections=self.ini(), variables=self.variables, arguments=self.arguments, wait=wait)

    async def start(self, wait=True):
        await self.start_clusters()
        await self.start_proxy(wait)

    async def restart_proxy(self, primary=None):
        """Stops the proxy and starts it again on the same ports, with another primary if one is given."""
        await self.proxy.stop()
        self.primary_name = primary or self.primary_name
        await self.start_proxy()

    async def reload(self, expect="reloaded", **sections):
        """
        Writes the INI file anew with these additions to its sections (None: the key is left out), sends SIGHUP and waits
        for the outcome: "reloaded" or "refused".
        """
        for name, values in sections.items():
            self.sections.setdefault(name, {}).update(values)
        self.proxy.write_ini(self.ini())
        if expect == "reloaded":
            self.primary_name = self.ini()["routing"]["primary"]
        return await self.proxy.reload(expect)

    async def stop(self):
        for client in self.clients:
            client.abort()
        try:
            await self.proxy.stop()
        finally:
            await self.proxy.kill()
            for cluster in self.clusters:
                await cluster.stop()

    # ---- clients ----

    async def open(self, version=4, **how):
        """A connection on which nothing was sent yet."""
        client = await Client.open(*self.proxy.listen, version, **how)
        self.clients.append(client)
        return client

    async def client(self, version=4, compression=None, user=None, password=None, keyspace=None, options=None, **how):
        """A client that is ready for requests."""
        client = await self.open(version, **how)
        answer = await client.startup(compression, options)
        if answer.opcode == Op.AUTHENTICATE and user is not None:
            answer = await client.auth(plain_token(user, password))
        assert answer.opcode in (Op.READY, Op.AUTH_SUCCESS), answer
        if keyspace is not None:
            await client.use(keyspace)
        return client

    async def mirrored_client(self, **how):
        """
        With read_mode = dual_async_on_secondary: a client that is ready, and the connection that its reads are mirrored
        on, which the secondary sees begin behind the client's own. Not for several clients at a time.
        """
        before = set(self.secondary.connections())
        own = 0 if self.is_pooled else 1

        def begun():
            new = sorted(set(self.secondary.connections()) - before, key=lambda conn: conn.number)
            return [c for c in new if c.startup_options is not None and not c.is_shared()] if self.is_pooled else new
        client = await self.client(**how)
        await self.secondary.until(lambda: len(begun()) == own + 1, "connection for mirrored reads")
        mirror = begun()[own]
        mirror.is_mirror = True
        return client, mirror

    async def settle(self, client):
        """
        When it returns, everything that was sent for this client before has arrived at the clusters: a write goes to
        both on the same connections, behind the rest.
        """
        answer = await client.query(BARRIER)
        assert not answer.is_error(), answer

    async def until_backends_gone(self):
        for cluster in self.clusters:
            await cluster.until(lambda c=cluster: not c.connections(), "end of the clients' backend connections")

    async def until_nodes_up(self):
        """A node that has refused a pooled connection is passed over for a while; the next test is not to notice."""
        async def are_up():
            last = dict(re.findall(r"(worker \d+: \w+): (no node is up|a node is up again)", self.proxy.messages))
            return "no node is up" not in last.values()
        await self.proxy.until(are_up, "end of the pauses of nodes that are up")

    # ---- between tests ----

    async def until_as_before(self):
        """
        When the fake nodes answered nothing for a while, control connections were lost and begun in vain, and what that
        has left in the nodes' sockets is read only now. It is not the next test's.
        """
        async def are_up():
            last = dict(re.findall(r"(origin|target) \S+: control connection (is up|lost)",
                                   self.proxy.log[self.proxy.started_at:]))
            return "lost" not in last.values()
        await self.proxy.until(are_up, "control connections")
        await self.until_backends_gone()
        for cluster in self.clusters:
            cluster.reset()

    async def sweep(self):
        """Ends what a test has left, and checks what must hold behind every test."""
        problems = []
        for client in self.clients:
            try:
                await client.close()
            except Exception as e:
                problems.append(f"client: {type(e).__name__}: {e}")
        self.clients.clear()
        try:
            if not self.may_be_down:
                if not self.proxy.running():
                    raise ProxyFailure(f"the proxy has ended with {self.proxy.process.returncode}")
                await self.until_backends_gone()
                if self.key is not None and self.is_pooled:
                    await self.until_nodes_up()
            self.proxy.check_log()
        except (ProxyFailure, TimeoutError) as e:
            problems.append(str(e))
        for cluster in self.clusters:
            problems += cluster.complaints
            cluster.reset()
        assert not problems, "\n".join(problems)
