"""TLS as ZDM Proxy's variables ask for it: what it does not look at, and what it refuses."""
import ssl
import warnings

import pytest

from certificates import Authority
from cqlwire import Client, Closed
from helpers import PRIMARIES, assert_alive

pytestmark = pytest.mark.own_profile


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("zdm-ca"), "cqlferry test CA")


def cluster_files(authority, name, own=False):
    prefix = f"ZDM_{name.upper()}_TLS_"
    files = {prefix + "SERVER_CA_PATH": str(authority.ca)}
    if own:
        cert, key = authority.certificate()
        files.update({prefix + "CLIENT_CERT_PATH": str(cert), prefix + "CLIENT_KEY_PATH": str(key)})
    return files


@pytest.mark.connections(125, 128, 131)
@pytest.mark.parametrize("origin,target", [("plain", "one-way"), ("one-way", "mutual"), ("mutual", "plain"),
                                           ("needless", "one-way"), ("one-way", "needless")])
async def test_mixtures(make_bench, authority, origin, target):
    """The names in the nodes' certificates are others; "needless" shows a certificate that nobody demands."""
    def configure(bench):
        for cluster, kind in zip(bench.clusters, (origin, target)):
            if kind != "plain":
                cluster.ssl = authority.server(["10.0.0.1"], authority if kind == "mutual" else None)
                bench.variables.update(cluster_files(authority, cluster.name, kind in ("mutual", "needless")))
    bench = await make_bench(fresh=True, profile="zdm", configure=configure)
    await assert_alive(await bench.client(5), bench)
    for cluster, kind in zip(bench.clusters, (origin, target)):
        assert all((conn.ssl_object is not None) == (kind != "plain") for conn in cluster.connections())


@pytest.mark.connections(126, 127, 129, 130)
@pytest.mark.parametrize("where", PRIMARIES)
@pytest.mark.parametrize("fault", ["plain", "no certificate", "authority", "expired"])
async def test_what_is_refused(make_bench, authority, tmp_path, where, fault):
    """No start, and the log names the cluster."""
    def configure(bench):
        cluster = getattr(bench, where)
        maker = Authority(tmp_path / "other", "another CA") if fault == "authority" else authority
        cluster.ssl = maker.server(client_ca=authority if fault == "no certificate" else None,
                                   days="-1" if fault == "expired" else "1")
        if fault != "plain":
            bench.variables.update(cluster_files(authority, where))
    bench = await make_bench(fresh=True, profile="zdm", wait=False, configure=configure)
    bench.may_be_down = True
    ends = fault in ("authority", "expired")
    await bench.proxy.never_ready(f"(?i){where} .*(certificate|expired|tls|alert|closed|reset|handshake|version)",
                                  exit_code=255 if ends else None)
    for cluster in bench.clusters:
        cluster.complaints.clear()


def listener_files(authority, bench, **more):
    cert, key = authority.certificate([bench.proxy.listen[0]])
    return {"ZDM_PROXY_TLS_CERT_PATH": str(cert), "ZDM_PROXY_TLS_KEY_PATH": str(key),
            "ZDM_PROXY_TLS_CA_PATH": str(authority.ca), **more}


@pytest.mark.connections(132, 134)
@pytest.mark.parametrize("name", [None, "proxy.example.com"])
@pytest.mark.parametrize("own", [False, True])
async def test_a_one_way_listener(make_bench, authority, tmp_path, name, own):
    """With and without a server name; a certificate of the client's, a stranger's at that, does not matter."""
    bench = await make_bench(fresh=True, profile="zdm",
                             configure=lambda b: b.variables.update(listener_files(authority, b)))
    stranger = Authority(tmp_path / "stranger", "another CA").certificate()
    context = authority.client(own=stranger if own else None)
    await assert_alive(await bench.client(ssl=context, server_hostname=name), bench)


@pytest.mark.connections(135)
async def test_old_versions_of_tls(make_bench, authority):
    """1.1 is refused, 1.2 and 1.3 are not."""
    bench = await make_bench(fresh=True, profile="zdm",
                             configure=lambda b: b.variables.update(listener_files(authority, b)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old = authority.client(minimum=ssl.TLSVersion.TLSv1_1, maximum=ssl.TLSVersion.TLSv1_1)
        old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises((OSError, Closed)):
        c = await Client.open(*bench.proxy.listen, 4, ssl=old)
        await c.startup()
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        await assert_alive(await bench.client(ssl=authority.client(minimum=version, maximum=version)), bench)
