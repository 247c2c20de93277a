"""The two clusters of a run, of one real node each, in the shapes that tests ask for."""

import clients
import nodes

LINES = {"origin": "4.1", "target": "5.0"}

# name: (auth, TLS) of origin and of target; TLS is None, "one-way" or "mutual".
PAIRS = {
    "migration": ((False, None), (True, "one-way")),
    "both-auth": ((True, "mutual"), (True, "mutual")),
    "origin-auth": ((True, None), (False, None)),
    "open": ((False, None), (False, None)),
}

# The roles of the applications, superusers so that no test needs grants. Each works on its own cluster only.
LOGINS = {"origin": ("oskar", "oskar_pw"), "target": ("tamara", "tamara_pw")}


class Side:
    """One cluster: its node and a driver session straight to it."""

    def __init__(self, name, directory):
        self.name = name
        self.node = nodes.Node(directory / name, LINES[name], {"origin": "127.0.0.2", "target": "127.0.0.3"}[name],
                               cluster=name)
        self.login = None
        self._certificates = directory / (name + "-certs")
        self._shape = None
        self._cluster = None
        self._session = None

    def launch_as(self, shape):
        """Stops the node and launches it in another shape, unless it has that already; ready() waits for it."""
        if shape == self._shape:
            return
        self.stop()
        auth, tls = self._shape = shape
        self.node.auth = auth
        self.node.tls = nodes.NodeTls(self._certificates, mutual=tls == "mutual") if tls else None
        self.node.launch()

    def ready(self):
        if self._cluster:
            return
        self.node.wait()
        self._cluster = clients.direct(self.node)
        self._session = self._cluster.connect()
        self.login = LOGINS[self.name] if self.node.auth else None
        if self.login:
            self._session.execute("CREATE ROLE IF NOT EXISTS %s WITH PASSWORD = '%s' AND LOGIN = true AND "
                                  "SUPERUSER = true" % self.login)

    def execute(self, text, values=None):
        return self._session.execute(text, values)

    def rows(self, text, values=None):
        return clients.rows(self.execute(text, values))

    def users(self):
        """The names under which clients other than this harness are connected to the node."""
        return {row.username for row in self.execute("SELECT username FROM system_views.clients")
                if row.username != self.node.username}

    def stop(self, for_good=False):
        if self._cluster:
            self._cluster.shutdown()
            self._cluster = None
        self.node.stop(kill=for_good)
        self._shape = None


class Pair:
    """Both clusters, and the ways to configure a proxy for them."""

    def __init__(self, directory):
        self.origin = Side("origin", directory)
        self.target = Side("target", directory)
        self.sides = (self.origin, self.target)

    def become(self, name):
        for side, shape in zip(self.sides, PAIRS[name]):
            side.launch_as(shape)
        for side in self.sides:
            side.ready()

    def execute(self, text):
        for side in self.sides:
            side.execute(text)

    def rows(self, text):
        """The rows of a query, which must be equal on both clusters."""
        origin, target = self.origin.rows(text), self.target.rows(text)
        assert origin == target, "the clusters differ: %s" % text
        return origin

    def environment(self, **more):
        """The ZDM_* variables for this pair; `more` are further ones without their prefix."""
        variables = {}
        for side in self.sides:
            prefix = "ZDM_%s_" % side.name.upper()
            user, password = side.login or ("unused", "unused")
            variables.update({prefix + "CONTACT_POINTS": side.node.address, prefix + "PORT": side.node.port,
                              prefix + "USERNAME": user, prefix + "PASSWORD": password})
            if side.node.tls:
                variables[prefix + "TLS_SERVER_CA_PATH"] = side.node.tls.ca
                if side.node.tls.mutual:
                    variables[prefix + "TLS_CLIENT_CERT_PATH"] = side.node.tls.client_cert
                    variables[prefix + "TLS_CLIENT_KEY_PATH"] = side.node.tls.client_key
        variables.update({"ZDM_" + name: value for name, value in more.items()})
        return variables

    def ini(self, **more):
        """The same as sections of an INI file; `more` has further settings by section."""
        sections = {}
        for side in self.sides:
            settings = {"contact_points": side.node.address, "port": side.node.port}
            if side.login:
                settings.update(username=side.login[0], password=side.login[1])
            if side.node.tls:
                settings.update(tls="full", tls_ca=side.node.tls.ca)
                if side.node.tls.mutual:
                    settings.update(tls_cert=side.node.tls.client_cert, tls_key=side.node.tls.client_key)
            sections[side.name] = settings
        for section, settings in more.items():
            sections.setdefault(section, {}).update(settings)
        return sections

    @property
    def client_login(self):
        """What ZDM's matrix wants a client to send: the target's credentials where the target asks for any."""
        return self.target.login or self.origin.login
