"""TLS towards clusters that demand client certificates, and towards drivers."""

import ssl

import pytest

import certs
import clients
from ferry import eventually

pytestmark = pytest.mark.pair("both-auth")


@pytest.fixture(scope="module")
def front(tmp_path_factory):
    """The authority of the proxy's own certificate and of the drivers', unrelated to the clusters'."""
    authority = certs.Authority(tmp_path_factory.mktemp("front"), "front CA")
    authority.issue("proxy", ["127.0.0.1"])
    authority.issue("driver")
    stranger = certs.Authority(tmp_path_factory.mktemp("stranger"), "stranger CA")
    stranger.issue("driver")
    return authority.directory, stranger.directory


def listener_variables(front, **more):
    return dict(PROXY_TLS_CA_PATH=front[0] / "ca.pem", PROXY_TLS_CERT_PATH=front[0] / "proxy.pem",
                PROXY_TLS_KEY_PATH=front[0] / "proxy.key", **more)


def works(session):
    return session.execute("SELECT cluster_name FROM system.local").one().cluster_name == "origin"


def test_mutual_tls_to_both_clusters_by_variables(pair, ferry, connect):
    assert works(connect(ferry, login=pair.client_login))


def test_mutual_tls_with_names_checked(pair, start_ferry, connect):
    ferry = start_ferry(ini=pair.ini())
    assert works(connect(ferry, login=pair.client_login))


def test_wrong_name_is_refused(pair, start_ferry):
    """Only with `full`; the message names the host and the reason."""
    ini = pair.ini(target={"tls_server_name": "elsewhere.example"})
    ferry = start_ferry(ini=ini, launch_only=True, may_fail=True)
    eventually("the refusal in the log", lambda: any("target" in line and pair.target.node.address in line and
                                                     "not for elsewhere.example" in line
                                                     for line in ferry.log().splitlines()))
    assert ferry.readiness()[0] != 200
    ini = pair.ini(target={"tls_server_name": "elsewhere.example", "tls": "ca"})
    start_ferry(ini=ini)


def test_wrong_authority_is_refused(pair, front, start_ferry):
    ferry = start_ferry(pair.environment(TARGET_TLS_SERVER_CA_PATH=front[0] / "ca.pem"), launch_only=True, may_fail=True)
    eventually("the refusal in the log", lambda: any("target" in line and "certificate verify failed" in line.lower()
                                                     for line in ferry.log().splitlines()))
    assert ferry.readiness()[0] != 200


def test_missing_client_certificate_is_refused(pair, start_ferry):
    variables = pair.environment()
    for name in ("ZDM_ORIGIN_TLS_CLIENT_CERT_PATH", "ZDM_ORIGIN_TLS_CLIENT_KEY_PATH"):
        del variables[name]
    ferry = start_ferry(variables, launch_only=True, may_fail=True)
    eventually("the refusal in the log", lambda: any("origin" in line and "client certificate" in line
                                                     for line in ferry.log().splitlines()))
    assert ferry.readiness()[0] != 200


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_driver_to_proxy(pair, front, start_ferry, connect, keyspace, version):
    ferry = start_ferry(pair.environment(**listener_variables(front)))
    context = clients.tls_context(front[0] / "ca.pem", check_names=True)
    context.minimum_version = context.maximum_version = version
    session = connect(ferry, login=pair.client_login, context=context, ssl_options={"server_hostname": ferry.address})
    session.execute("CREATE TABLE %s.t (id int PRIMARY KEY, x blob)" % keyspace)
    insert = session.prepare("INSERT INTO %s.t (id, x) VALUES (?, ?)" % keyspace)
    blob = bytes(range(256)) * 2000
    for key in range(5):
        session.execute(insert, (key, blob))
    assert clients.rows(session.execute("SELECT id, x FROM %s.t" % keyspace)) == [(key, blob) for key in range(5)]
    assert len(pair.rows("SELECT id, x FROM %s.t" % keyspace)) == 5


def test_driver_must_trust_the_proxy_and_speak_tls(pair, front, start_ferry):
    ferry = start_ferry(pair.environment(**listener_variables(front)))
    wrong = clients.tls_context(front[1] / "ca.pem")
    assert "CERTIFICATE_VERIFY_FAILED" in clients.connect_error(ferry.address, ferry.port, pair.client_login, wrong)
    assert clients.connect_error(ferry.address, ferry.port, pair.client_login, connect_timeout=3)


def test_driver_to_proxy_with_client_certificates(pair, front, start_ferry, connect):
    ferry = start_ferry(pair.environment(**listener_variables(front, PROXY_TLS_REQUIRE_CLIENT_AUTH="true")))
    good = clients.tls_context(front[0] / "ca.pem", front[0] / "driver.pem", front[0] / "driver.key")
    assert works(connect(ferry, login=pair.client_login, context=good))
    none = clients.tls_context(front[0] / "ca.pem")
    stranger = clients.tls_context(front[0] / "ca.pem", front[1] / "driver.pem", front[1] / "driver.key")
    for context in (none, stranger):
        assert clients.connect_error(ferry.address, ferry.port, pair.client_login, context)
    assert works(connect(ferry, login=pair.client_login, context=good))
