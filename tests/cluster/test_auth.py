"""Whose credentials reach which cluster: every row of ZDM's matrix, on clusters that check them."""

import pytest
from cassandra import Unauthorized

import clients
from pair import LOGINS, PAIRS

ORIGIN, TARGET = LOGINS["origin"], LOGINS["target"]


def names_on(session, pair):
    """Who is connected to each cluster, while a client is (its control connections count as well)."""
    session.execute("SELECT key FROM system.local")
    return [side.users() for side in pair.sides]


@pytest.mark.parametrize("pair", PAIRS, indirect=True, scope="module")
def test_right_credentials(pair, ferry, connect):
    """The target's where the target asks for any, else the origin's, else none."""
    session = connect(ferry, login=pair.client_login)
    assert session.execute("SELECT cluster_name FROM system.local").one().cluster_name == "origin"
    origin, target = names_on(session, pair)
    assert origin == ({ORIGIN[0]} if pair.origin.login else {"anonymous"})
    assert target == ({TARGET[0]} if pair.target.login else {"anonymous"})


@pytest.mark.parametrize("pair", [name for name in PAIRS if name != "open"], indirect=True, scope="module")
def test_wrong_credentials(pair, ferry):
    user, _ = pair.client_login
    decider = "target" if pair.target.login else "origin"
    assert "AuthenticationFailed" in clients.connect_error(ferry.address, ferry.port, (user, "wrong"))
    other = ORIGIN if decider == "target" else TARGET
    assert "AuthenticationFailed" in clients.connect_error(ferry.address, ferry.port, other)
    assert "AuthenticationFailed" in clients.connect_error(ferry.address, ferry.port, (user, ""))


@pytest.mark.parametrize("pair", [name for name in PAIRS if name != "open"], indirect=True, scope="module")
def test_refusals_name_the_cluster(pair, ferry, start_ferry):
    """There are two that may have refused, and the application's owner sees only this text. In the zdm profile the
    refusal of the deciding cluster comes as it is, though."""
    login = (pair.client_login[0], "wrong")
    native = start_ferry(ini=pair.ini())
    error = clients.connect_error(native.address, native.port, login)
    decider = pair.target if pair.target.login else pair.origin
    assert decider.name in error and decider.node.address in error
    error = clients.connect_error(ferry.address, ferry.port, login)
    assert "Provided username %s and/or password are incorrect" % login[0] in error
    assert (decider.name in error) == bool(pair.origin.login and pair.target.login)


@pytest.mark.parametrize("pair", [name for name in PAIRS if name != "open"], indirect=True, scope="module")
def test_no_credentials(pair, ferry):
    error = clients.connect_error(ferry.address, ferry.port)
    assert "requires authentication" in error.lower() or "AuthenticationFailed" in error


@pytest.mark.parametrize("pair", ["open"], indirect=True, scope="module")
def test_needless_credentials_do_no_harm(pair, ferry, connect):
    session = connect(ferry, login=("anybody", "anything"))
    assert session.execute("SELECT cluster_name FROM system.local").one().cluster_name == "origin"


@pytest.mark.parametrize("pair", ["both-auth"], indirect=True, scope="module")
def test_forwarding_the_clients_credentials_to_origin(pair, start_ferry, connect):
    ferry = start_ferry(pair.environment(FORWARD_CLIENT_CREDENTIALS_TO_ORIGIN="true"))
    session = connect(ferry, login=ORIGIN)
    assert session.execute("SELECT cluster_name FROM system.local").one().cluster_name == "origin"
    assert "AuthenticationFailed" in clients.connect_error(ferry.address, ferry.port, TARGET)


@pytest.mark.parametrize("pair", ["both-auth"], indirect=True, scope="module")
def test_the_clients_own_credentials_on_both(pair, start_ferry, connect, keyspace):
    """`credentials = client`: a role's grants hold on both clusters."""
    pair.execute("CREATE ROLE IF NOT EXISTS reader WITH PASSWORD = 'reader_pw' AND LOGIN = true")
    pair.execute("CREATE TABLE %s.t (id int PRIMARY KEY)" % keyspace)
    pair.origin.execute("GRANT MODIFY ON KEYSPACE %s TO reader" % keyspace)
    ferry = start_ferry(ini=pair.ini(origin={"credentials": "client"}, target={"credentials": "client"}))
    session = connect(ferry, login=("reader", "reader_pw"))
    origin, target = names_on(session, pair)
    assert "reader" in origin and "reader" in target
    with pytest.raises(Unauthorized, match="reader"):
        session.execute("INSERT INTO %s.t (id) VALUES (1)" % keyspace)
    assert pair.target.rows("SELECT id FROM %s.t" % keyspace) == []
    # A role that only one cluster knows is refused.
    assert "AuthenticationFailed" in clients.connect_error(ferry.address, ferry.port, TARGET)


@pytest.mark.parametrize("pair", ["both-auth"], indirect=True, scope="module")
@pytest.mark.parametrize("name", ["origin", "target"])
def test_wrong_configured_password(pair, start_ferry, name):
    """Trying again cannot help: the start ends, and says which cluster refused whom. The password is not told."""
    ferry = start_ferry(pair.environment(**{name.upper() + "_PASSWORD": "m1sspelt"}), launch_only=True, may_fail=True)
    assert ferry.wait_end() == 255  # ZDM's status for a wrong configuration
    side = getattr(pair, name)
    said = [line for line in ferry.log().splitlines() if "ERROR" in line]
    assert any(name in line and side.node.address in line and side.login[0] in line and "credentials" in line
               for line in said)
    assert "m1sspelt" not in ferry.log()
