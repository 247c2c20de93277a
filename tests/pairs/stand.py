"""The nodes that are alive, the proxies in front of them, and what a test has of both."""

import asyncio
import time

import checklist as shown
import clients
import cqlwire
import ferry as ferry_module
import nodes
import schema

# In this order few nodes are started: each pair keeps one of the pair before it.
PAIRS = ["3.11-5.0", "4.1-5.0", "5.0-4.1", "5.0-5.0"]
# Of these only what a module asks for by a PAIRS of its own: they are for what no other pair can do.
SPECIAL = ["5.0-5.0"]
ADDRESSES = {"3.11": "127.0.0.21", "4.1": "127.0.0.22", "5.0": "127.0.0.23", "second 5.0": "127.0.0.24"}
# The highest version of the native protocol.
SPEAKS = {"3.11": 4, "4.1": 5, "5.0": 5, "second 5.0": 5}
# Answers carry the custom payload of their request.
MIRROR = "-Dcassandra.custom_query_handler_class=org.apache.cassandra.cql3.CustomPayloadMirroringQueryHandler"


def lines_of(pair):
    """Names of the two sides: keys of ADDRESSES."""
    origin, target = pair.split("-")
    return origin, target if target != origin else "second " + target


class Side:
    """A node, and a driver session straight to it."""

    def __init__(self, line, directory):
        self.line = line
        name = line.replace(" ", "-")
        self.node = nodes.Node(directory / name, line.split()[-1], ADDRESSES[line], cluster="cassandra-" + name,
                               options=[MIRROR])
        self.session = None

    def ready(self):
        if self.session is None:
            self.node.wait()
            self.session = clients.direct(self.node, protocol_version=SPEAKS[self.line]).connect()

    def execute(self, text, values=None, **options):
        return self.session.execute(text, values, **options)

    def rows(self, text, values=None):
        return clients.rows(self.execute(text, values))

    def stop(self):
        if self.session is not None:
            self.session.cluster.shutdown()
            self.session = None
        self.node.stop(kill=True)


class Stand:
    """The nodes that are alive, the pair they make up, and the proxies in front of it."""

    def __init__(self, directory):
        self._directory = directory
        self._sides = {}
        self._proxies = {}
        self._sessions = {}
        self.pair = None
        self.origin = self.target = None
        self.keyspace = None

    def become(self, pair):
        if pair == self.pair:
            return
        self._leave()
        wanted = lines_of(pair)
        for line in list(self._sides):
            if line not in wanted:
                self._sides.pop(line).stop()
        for line in wanted:
            if line not in self._sides:
                self._sides[line] = Side(line, self._directory)
                self._sides[line].node.launch()
        self.origin, self.target = sides = [self._sides[line] for line in wanted]
        for side in sides:
            side.ready()
        self.keyspace = "pair%d" % PAIRS.index(pair)
        schema.create(self.keyspace, self.origin, self.target)
        self.pair = pair

    def proxy(self, primary):
        """Primary target is configured as ZDM is, primary origin by an INI file: both profiles see the whole suite."""
        if primary not in self._proxies:
            directory = self._directory / ("%s-primary-%s" % (self.pair, primary))
            if primary == "target":
                variables = {"ZDM_PRIMARY_CLUSTER": "TARGET"}
                for name, side in (("ORIGIN", self.origin), ("TARGET", self.target)):
                    variables.update({"ZDM_%s_CONTACT_POINTS" % name: side.node.address,
                                      "ZDM_%s_PORT" % name: side.node.port, "ZDM_%s_USERNAME" % name: "unused",
                                      "ZDM_%s_PASSWORD" % name: "unused"})
                proxy = ferry_module.Ferry(directory, variables)
            else:
                points = [{"contact_points": side.node.address, "port": side.node.port}
                          for side in (self.origin, self.target)]
                proxy = ferry_module.Ferry(directory, ini={"origin": points[0], "target": points[1],
                                                           "routing": {"primary": "origin"}})
            self._proxies[primary] = proxy.start()
        return self._proxies[primary]

    def session(self, primary, version):
        key = primary, version
        if key not in self._sessions:
            proxy = self.proxy(primary)
            cluster = clients.new_cluster(proxy.address, proxy.port, protocol_version=version,
                                          schema_metadata_enabled=False, token_metadata_enabled=False)
            self._sessions[key] = cluster.connect(self.keyspace)
        return self._sessions[key]

    def _leave(self):
        """Ends the proxies of a pair: each must end in order, and none may have said anything alarming."""
        for session in self._sessions.values():
            session.cluster.shutdown()
        proxies, self._proxies, self._sessions, self.pair = self._proxies, {}, {}, None
        for proxy in proxies.values():
            proxy.stop()
        for proxy in proxies.values():
            assert proxy.status == 0, "the proxy ended with status %r; its log:\n%s" % (proxy.status, proxy.log())
            assert proxy.reports() == []

    def close(self):
        try:
            self._leave()
        finally:
            for side in self._sides.values():
                side.stop()


class Link:
    """The pair and the protocol version of a test. Keys that it takes from `key` are its own."""

    _next_key = int(time.time()) % 1000 * 1000

    def __init__(self, stand, version, item):
        self.stand = stand
        self.version = version
        self.pair = stand.pair
        self.origin, self.target = self.sides = (stand.origin, stand.target)
        self.keyspace = stand.keyspace
        self._item = item
        self._more = []

    @staticmethod
    def new_key():
        Link._next_key += 1
        return Link._next_key

    def proxy(self, primary="origin"):
        proxy = self.stand.proxy(primary)
        shown.note_profile(self._item, proxy.profile)
        return proxy

    def session(self, primary="origin"):
        """A driver session in the keyspace of the pair, shared by the tests."""
        self.proxy(primary)
        return self.stand.session(primary, self.version)

    def new_session(self, primary="origin", keyspace=None, **options):
        """One that ends with the test."""
        return self.new_session_of(self.proxy(primary), keyspace, **options)

    def new_session_of(self, proxy, keyspace=None, **options):
        """The same of a proxy that is the test's own."""
        shown.note_profile(self._item, proxy.profile)
        options.setdefault("protocol_version", self.version)
        cluster = clients.new_cluster(proxy.address, proxy.port, **options)
        self._more.append(cluster)
        return cluster.connect(keyspace)

    def raw(self, conversation, primary="origin"):
        """Runs conversation(client) with a raw client that is in the keyspace of the pair."""
        proxy = self.proxy(primary)

        async def run():
            client = await cqlwire.Client.ready(proxy.address, proxy.port, self.version, keyspace=self.keyspace)
            try:
                result = await conversation(client)
            except BaseException:
                client.abort()
                raise
            await client.close()
            return result

        return asyncio.run(run())

    def side(self, name):
        return self.origin if name == "origin" else self.target

    def rows(self, text, values=None):
        """The rows of a query, read from both nodes themselves; they must be equal."""
        origin, target = (side.rows(text.replace("{ks}", self.keyspace), values) for side in self.sides)
        assert origin == target, "the clusters differ: %s" % text
        return origin

    def on_both(self, text):
        for side in self.sides:
            side.execute(text.replace("{ks}", self.keyspace))

    def close(self):
        while self._more:
            self._more.pop().shutdown()
