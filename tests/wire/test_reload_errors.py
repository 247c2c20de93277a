"""Reloads that change nothing, and those at awkward moments."""
import asyncio
import re
import signal
import ssl
import subprocess

import pytest

from certificates import Authority
from cqlwire import Client
from fakecluster import Auth
from helpers import assert_alive
from proxy import binary

pytestmark = pytest.mark.native  # what is zdm says so itself


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"), "cqlferry test CA")


def start_error(path):
    """What a start with this file says."""
    done = subprocess.run([binary(), "-c", str(path), "--check-config"], capture_output=True, text=True, timeout=20)
    assert done.returncode == 1, done
    return re.search(r" ERROR (.*)", done.stderr).group(1)


async def assert_unchanged(bench, failed):
    """The old configuration serves, and the metrics tell of the failure."""
    c = await bench.client()
    await assert_alive(c, bench)
    metrics = await bench.proxy.metrics()
    assert metrics['zdm_cqlferry_reloads_total{result="failed"}'] == failed
    assert metrics["zdm_cqlferry_reload_last_successful"] == 0
    assert metrics["zdm_cqlferry_primary_epoch"] == 1


@pytest.mark.parametrize("change", [
    lambda text: text + "[routing\n",
    lambda text: text.replace("[routing]", "[routing]\nprimry = target"),
    lambda text: text.replace("primary = origin", "primary = both"),
    lambda text: text.replace("[origin]", "[origin]\nrequest_timeout = 5s"),
    lambda text: text.replace("level = debug", "level = debug\nfile = /nowhere/at/all.log"),
    lambda text: text.replace("[target]", "[target]\ntls = ca\ntls_ca = /nowhere/ca.pem"),
    lambda text: re.sub(r"password = \S+", "password = file:/nowhere/secret", text, count=1),
    lambda text: "",
], ids=["syntax", "unknown-key", "wrong-value", "wrong-section", "log-file", "no-certificate", "no-secret", "empty"])
async def test_a_file_with_a_mistake(make_bench, change):
    """The text is that of a start, everything stays; the mended file is taken."""
    bench = await make_bench(fresh=True)
    path = bench.proxy.write_ini(bench.ini())
    good = path.read_text()
    path.write_text(change(good.replace("primary = origin", "primary = target" if "both" not in change(good) else
                                        "primary = origin")))
    text = await bench.proxy.reload("refused")
    assert " ERROR " + start_error(path) + "\n" in text
    await assert_unchanged(bench, 1)
    path.write_text(good)
    await bench.proxy.reload()
    assert (await bench.proxy.metrics())["zdm_cqlferry_reload_last_successful"] == 1


async def test_the_file_is_gone(make_bench):
    bench = await make_bench(fresh=True)
    path = bench.proxy.write_ini(bench.ini())
    path.unlink()
    text = await bench.proxy.reload("refused")
    assert f"{path}: " in text and "No such file" in text
    await assert_unchanged(bench, 1)


async def test_what_needs_a_restart(make_bench):
    """All such settings are in one message with old and new value, and nothing else of the file takes effect."""
    bench = await make_bench(fresh=True)
    old_port = bench.proxy.listen[1]
    bench.sections = {"proxy": {"workers": 3}, "listener": {"port": 1234}, "routing": {"primary": "target"},
                      "http": {"metrics_prefix": "other"}}
    text = await bench.reload("refused")
    message = re.search(r"ERROR (3 changed settings need a restart: .*)", text).group(1)
    assert re.search(r"\.ini:\d+: \[proxy\] workers: 3, was 2", message)
    assert re.search(rf"\.ini:\d+: \[listener\] port: 1234, was {old_port}", message)
    assert re.search(r"\.ini:\d+: \[http\] metrics_prefix: other, was zdm", message)
    assert "primary" not in message
    bench.primary_name = "origin"
    await assert_unchanged(bench, 1)


async def test_a_setting_that_went_away(make_bench):
    """Taking a line away goes back to the default; the message names the file and both values."""
    bench = await make_bench(fresh=True, sections={"routing": {"replace_cql_functions": "true"}})
    bench.sections["routing"]["replace_cql_functions"] = None
    text = await bench.reload("refused")
    assert re.search(r"1 changed setting needs a restart: \S+\.ini: \[routing\] replace_cql_functions: false, was true",
                     text)
    await assert_unchanged(bench, 1)


async def test_another_listener(make_bench):
    bench = await make_bench(fresh=True)
    bench.sections["listener second"] = {"port": 1235}
    text = await bench.reload("refused")
    assert "the [listener] sections are not those of the start" in text
    await assert_unchanged(bench, 1)


async def test_overrides_stay(make_bench):
    """--set wins at a reload as at the start."""
    bench = await make_bench(fresh=True)
    await bench.proxy.stop()
    await bench.proxy.start(sections=bench.ini(), arguments=["--set", "routing.primary=origin"])
    text = await bench.reload(routing={"primary": "target"})
    assert "no setting changed" in text
    bench.primary_name = "origin"
    await assert_alive(await bench.client(), bench)


async def test_check_config_tells_what_needs_a_restart(make_bench):
    bench = await make_bench(fresh=True)
    path = bench.proxy.write_ini(bench.ini())
    done = subprocess.run([binary(), "-c", str(path), "--check-config"], capture_output=True, text=True, timeout=20)
    first, second = done.stdout.splitlines()
    assert done.returncode == 0 and first == "the configuration is good"
    words, _, names = second.partition(": ")
    assert words == "a change of these needs a restart, all others a reload"
    assert {"[proxy] workers", "[listener] address", "[listener] port", "[http] address", "[http] port"} <= set(names.split(", "))
    assert "contact_points" not in names and "primary" not in names and "level" not in names


# ---- certificates ----

async def names_of(bench, authority):
    """The DNS names in the listener's certificate."""
    reader, writer = await asyncio.open_connection(*bench.proxy.listen, ssl=authority.client())
    names = [name for _, name in writer.get_extra_info("peercert")["subjectAltName"]]
    writer.close()
    return names


async def test_certificates_are_read_again(make_bench, authority):
    """The same names of files, other content: new connections get it, old ones go on; a broken file changes nothing."""
    first, key = authority.certificate(["first.example.com"])

    def configure(bench):
        bench.sections["listener"] = {"tls_cert": first, "tls_key": key}
    bench = await make_bench(fresh=True, configure=configure)
    c = await bench.client(ssl=authority.client())
    assert await names_of(bench, authority) == ["first.example.com"]
    old = first.read_bytes(), key.read_bytes()
    second, second_key = authority.certificate(["second.example.com"])
    first.write_bytes(second.read_bytes())
    text = await bench.proxy.reload("refused")  # the key is another one's
    assert str(key) in text or str(first) in text
    assert await names_of(bench, authority) == ["first.example.com"]
    key.write_bytes(second_key.read_bytes())
    text = await bench.proxy.reload()
    assert "no setting changed, TLS files were read again" in text
    assert await names_of(bench, authority) == ["second.example.com"]
    first.write_bytes(b"nonsense")
    assert str(first) in await bench.proxy.reload("refused")
    assert await names_of(bench, authority) == ["second.example.com"]
    await assert_alive(c, bench)
    assert old != (first.read_bytes(), key.read_bytes())


async def test_a_listener_begins_to_speak_tls(make_bench, authority):
    """Plain connections go on, new ones are encrypted; and the clusters' side likewise."""
    bench = await make_bench(fresh=True)
    plain = await bench.client()
    cert, key = authority.certificate(["x.example.com"])
    await bench.reload(listener={"tls_cert": cert, "tls_key": key})
    c = await bench.client(ssl=authority.client())
    await assert_alive(c, bench)
    await assert_alive(plain, bench)


async def test_the_clusters_certificate_changes(make_bench, authority, tmp_path):
    """tls_ca with another authority in it: new connections trust that one only."""
    stranger = Authority(tmp_path / "stranger", "another CA")
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(authority.ca.read_bytes())

    def configure(bench):
        bench.target.ssl = authority.server(["10.0.0.1"])
        bench.sections["target"] = {"tls": "ca", "tls_ca": trusted}
        bench.sections["proxy"] = {"backend_connections": "dedicated"}
    bench = await make_bench(fresh=True, configure=configure)
    await assert_alive(await bench.client(), bench)
    bench.target.ssl.load_cert_chain(*stranger.certificate(["10.0.0.1"]))
    c = await bench.open()
    answer = await c.startup()
    assert answer.is_error() and "certificate" in answer.text
    trusted.write_bytes(stranger.ca.read_bytes())
    await bench.proxy.reload()
    await assert_alive(await bench.client(), bench)


# ---- awkward moments ----

async def test_many_signals_at_once(make_bench):
    """However many SIGHUPs come, the file of the last one is in force in the end."""
    bench = await make_bench(fresh=True)
    c = await bench.client()
    for turn in range(10):
        bench.sections["routing"] = {"primary": "target" if turn % 2 == 0 else "origin"}
        bench.proxy.write_ini(bench.ini())
        for _ in range(5):
            bench.proxy.signal(signal.SIGHUP)
    bench.sections["routing"] = {"primary": "target"}
    bench.primary_name = "target"
    bench.proxy.write_ini(bench.ini())
    bench.proxy.signal(signal.SIGHUP)
    await bench.proxy.until_metric('zdm_cqlferry_primary{cluster="target"}', 1)
    await bench.proxy.reload()
    await assert_alive(c, bench)
    assert (await bench.proxy.metrics())['zdm_cqlferry_reloads_total{result="failed"}'] == 0


async def test_while_the_process_drains(make_bench):
    """It is said, and nothing happens; the end is the ordinary one."""
    bench = await make_bench(fresh=True, sections={"proxy": {"drain_delay": "500ms"}})
    bench.sections["routing"] = {"primary": "target"}
    bench.proxy.write_ini(bench.ini())
    bench.proxy.signal(signal.SIGTERM)
    await bench.proxy.until_logged("SIGTERM: draining")
    bench.proxy.signal(signal.SIGHUP)
    await bench.proxy.until_logged("SIGHUP: no reload, the process is about to end")
    assert (await bench.proxy.readiness())[1]["Primary"] == "ORIGIN"
    assert await bench.proxy.wait() == 0
    bench.may_be_down = True
    assert "reading" not in bench.proxy.messages


async def test_before_the_clusters_were_reached(make_bench):
    """A wrong contact point, mended by a reload before the start is over: the proxy becomes ready."""
    def configure(bench):
        bench.sections["target"] = {"contact_points": "127.0.0.1", "port": 1}
    bench = await make_bench(fresh=True, configure=configure, wait=False)
    await bench.proxy.until_logged("target 127.0.0.1:1: .*next try")
    await bench.reload(target={"contact_points": bench.target.nodes[0].address, "port": bench.target.port})
    await bench.proxy.ready()
    await assert_alive(await bench.client(), bench)


async def test_a_password_mended(make_bench):
    """After a refused log-in of the control connection the next try would be far away; a reload tries at once."""
    def configure(bench):
        bench.target.auth = Auth({"app": "secret", "proxy": "proxy-password"})
        bench.sections["proxy"] = {"heartbeat_retry_interval_max": "1h"}
    bench = await make_bench(fresh=True, configure=configure)
    bench.target.auth.users["proxy"] = "another"
    for conn in bench.target.control_connections():
        conn.close()
    await bench.proxy.until_logged("refuses the configured credentials")
    await bench.reload(target={"password": "another"})
    await bench.target.until(lambda: bench.target.control_connections(), "control connection")
    await bench.proxy.ready()


# ---- as ZDM ----

async def test_there_is_nothing_to_read_again(make_bench, authority):
    """Started from variables: said, and only the files that these name are read again."""
    cert, key = authority.certificate(["first.example.com"])

    def configure(bench):
        bench.variables.update(ZDM_PROXY_TLS_CERT_PATH=str(cert), ZDM_PROXY_TLS_KEY_PATH=str(key),
                               ZDM_PROXY_TLS_CA_PATH=str(authority.ca))
    bench = await make_bench(fresh=True, profile="zdm", configure=configure)
    assert await names_of(bench, authority) == ["first.example.com"]
    for path, new in zip((cert, key), authority.certificate(["second.example.com"])):
        path.write_bytes(new.read_bytes())
    text = await bench.proxy.reload()
    assert "SIGHUP: there is nothing to read" in text and "no setting changed" in text
    assert await names_of(bench, authority) == ["second.example.com"]
    assert list((await bench.proxy.readiness())[1]) == ["OriginStatus", "TargetStatus", "Status"]
    assert (await bench.proxy.metrics())["zdm_cqlferry_primary_epoch"] == 1


async def test_a_yaml_file(make_bench):
    """ZDM's file: the primary is switched in the zdm profile; the health page stays ZDM's."""
    bench = await make_bench(fresh=True, profile="zdm")
    await bench.proxy.stop()
    path = bench.proxy.folder / "zdm.yaml"
    yaml = {name.removeprefix("ZDM_").lower(): value for name, value in bench.zdm().items()}
    path.write_text("".join(f"{key}: {value}\n" for key, value in yaml.items()))
    await bench.proxy.start(arguments=["--config", str(path)], variables={})
    listening = await bench.client()
    await listening.register("SCHEMA_CHANGE")
    await assert_alive(listening, bench)
    yaml["primary_cluster"] = "TARGET"
    path.write_text("".join(f"{key}: {value}\n" for key, value in yaml.items()))
    assert "[routing] primary: target, was origin" in await bench.proxy.reload()
    bench.primary_name = "target"
    await assert_alive(await bench.client(), bench)
    # events are passed on from the primary of the time
    assert bench.origin.emit("SCHEMA_CHANGE", "CREATED", "KEYSPACE", "of_origin") == 1
    await bench.settle(listening)
    assert bench.target.emit("SCHEMA_CHANGE", "CREATED", "KEYSPACE", "of_target") == 1
    await listening.until(lambda: listening.events, "event")
    await bench.settle(listening)
    assert [e.event[-1] for e in listening.events] == ["of_target"]
    assert list((await bench.proxy.readiness())[1]) == ["OriginStatus", "TargetStatus", "Status"]
    yaml["proxy_listen_port"] = 1
    path.write_text("".join(f"{key}: {value}\n" for key, value in yaml.items()))
    text = await bench.proxy.reload("refused")
    assert re.search(r"zdm\.yaml:\d+: proxy_listen_port: 1, was \d+", text)
