"""
plugins/auth_map on real clusters: an application that knows neither's roles works on both, with a driver; also where no
cluster demands a log-in, and the proxy's own AUTHENTICATE is the only one.
"""
import pathlib
import signal
import warnings

import pytest

import clients
from ferry import binary, eventually
from pair import LOGINS

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import crypt

HASH = crypt.crypt("app-secret", "$6$rounds=5000$abcdefgh")
PLUGIN = pathlib.Path(binary()).resolve().parent / "plugins" / ".libs" / "auth_map.so"
OWN = "".join("%s_user = %s\n%s_password = %s\n" % (name, login[0], name, login[1]) for name, login in LOGINS.items())


@pytest.fixture
def mapped(start_ferry, tmp_path, pair):
    """mapped(TEXT, BACKEND) starts a proxy with this mapping."""
    path = tmp_path / "auth_map.ini"

    def start(text, backend="pooled", **options):
        path.touch(0o600)
        path.write_text(text)
        section = {"file": PLUGIN, "map": path} | options
        ferry = start_ferry(ini=pair.ini(proxy={"backend_connections": backend}, **{"plugin auth_map": section}))
        ferry.map_path = path
        return ferry
    return start


@pytest.mark.parametrize("backend", ["pooled", "dedicated"])
@pytest.mark.parametrize("pair", ["both-auth"], indirect=True, scope="module")
def test_roles_of_the_clusters(pair, mapped, connect, keyspace, backend):
    """The driver logs in as `app`, of which no cluster has heard; each cluster sees its own role."""
    ferry = mapped("[user app]\nhash = %s\n%s" % (HASH, OWN), backend)
    session = connect(ferry, login=("app", "app-secret"))
    pair.execute("CREATE TABLE %s.t (id int PRIMARY KEY, v text)" % keyspace)
    insert = session.prepare("INSERT INTO %s.t (id, v) VALUES (?, ?)" % keyspace)
    for n in range(20):
        session.execute(insert, (n, "v%d" % n))
    assert len(pair.rows("SELECT * FROM %s.t" % keyspace)) == 20
    assert pair.origin.users() == {LOGINS["origin"][0]} and pair.target.users() == {LOGINS["target"][0]}
    for login in (("app", "wrong"), ("nobody", "app-secret"), LOGINS["origin"], LOGINS["target"]):
        error = clients.connect_error(ferry.address, ferry.port, login)
        assert "AuthenticationFailed" in error and "user or password is wrong" in error
    for secret in ("app-secret", LOGINS["origin"][1], LOGINS["target"][1], HASH):
        assert secret not in ferry.log()


@pytest.mark.parametrize("backend", ["pooled", "dedicated"])
@pytest.mark.parametrize("pair", ["both-auth"], indirect=True, scope="module")
def test_target_compares_the_password(pair, mapped, connect, backend):
    """target = client: the application has target's role, and origin's only from the mapping."""
    user, password = LOGINS["target"]
    ferry = mapped("[user %s]\norigin_user = %s\norigin_password = %s\ntarget = client\n"
                   % ((user,) + LOGINS["origin"]), backend)
    session = connect(ferry, login=(user, password))
    assert session.execute("SELECT cluster_name FROM system.local").one().cluster_name == "origin"
    assert "AuthenticationFailed" in clients.connect_error(ferry.address, ferry.port, (user, "wrong"))


@pytest.mark.parametrize("backend", ["pooled", "dedicated"])
@pytest.mark.parametrize("pair", ["open"], indirect=True, scope="module")
def test_clusters_without_a_login(pair, mapped, connect, backend):
    """AllowAllAuthenticator on both: the proxy's own AUTHENTICATE keeps out whom the mapping does not know."""
    ferry = mapped("[user app]\naction = zdm\nhash = %s\n" % HASH, backend)
    session = connect(ferry, login=("app", "app-secret"))
    assert session.execute("SELECT cluster_name FROM system.local").one().cluster_name == "origin"
    assert pair.origin.users() == {"anonymous"}
    assert "AuthenticationFailed" in clients.connect_error(ferry.address, ferry.port, ("app", "wrong"))
    error = clients.connect_error(ferry.address, ferry.port)
    assert "requires authentication" in error.lower() or "AuthenticationFailed" in error


@pytest.mark.parametrize("pair", ["both-auth"], indirect=True, scope="module")
def test_reload(pair, mapped, connect):
    """The password changes: the driver's session goes on, a new one needs the new password."""
    ferry = mapped("[user app]\nhash = %s\n%s" % (HASH, OWN))
    session = connect(ferry, login=("app", "app-secret"))
    ferry.map_path.write_text("[user app]\nhash = %s\n%s" % (crypt.crypt("new", "$6$rounds=5000$abcdefgh"), OWN))
    ferry.signal(signal.SIGHUP)
    eventually("the reload", lambda: "the configuration was reloaded" in ferry.log())
    assert session.execute("SELECT cluster_name FROM system.local").one().cluster_name == "origin"
    assert "AuthenticationFailed" in clients.connect_error(ferry.address, ferry.port, ("app", "app-secret"))
    connect(ferry, login=("app", "new"))
