"""How the process starts, and how it does not."""
import asyncio

import pytest

import checklist as shown
from fakecluster import Auth
from helpers import assert_alive
from proxy import Proxy


@pytest.fixture
def lone_proxy(request, loop, tmp_path):
    """A proxy process without clusters."""
    proxies = []

    def make():
        proxies.append(Proxy(tmp_path, f"proxy{len(proxies)}"))
        return proxies[-1]
    yield make
    for proxy in proxies:
        loop.run_until_complete(proxy.kill())
        shown.note_profile(request.node, proxy.profile)
        proxy.check_log()


GOOD = {"origin": {"contact_points": "127.0.0.1"}, "target": {"contact_points": "127.0.0.1"}}


@pytest.mark.parametrize("section,key,value,line,said", [
    ("proxy", "wrokers", "2", 2, "wrokers"), ("proxy", "workers", "many", 2, "workers"),
    ("proxy", "request_timeout", "10", 2, "request_timeout"), ("proxy", "request_timeout", "-1s", 2, "request_timeout"),
    ("routing", "primary", "both", 2, "primary"), ("nonsense", "a", "b", 1, "nonsense"),
    ("listener", "port", "70000", 2, "port"), ("proxy", "max_frame_size", "huge", 2, "max_frame_size"),
])
async def test_mistakes_in_the_file(lone_proxy, section, key, value, line, said):
    """One message with file and line; exit 1."""
    proxy = lone_proxy()
    await proxy.start(sections={section: {key: value}, **GOOD}, wait=False)
    assert await proxy.wait() == 1
    assert said in proxy.log
    assert any(f"proxy0.ini:{n}" in proxy.log for n in (line, 2)), proxy.log


async def test_a_file_that_does_not_exist(lone_proxy):
    proxy = lone_proxy()
    await proxy.start(arguments=["-c", "/nowhere/cqlferry.ini"], wait=False)
    assert await proxy.wait() == 1
    assert "/nowhere/cqlferry.ini" in proxy.log


@pytest.mark.connections(3)
@pytest.mark.parametrize("missing", ["ZDM_ORIGIN_USERNAME", "ZDM_TARGET_PASSWORD", "ZDM_ORIGIN_CONTACT_POINTS"])
async def test_variables_that_are_missing(lone_proxy, missing):
    variables = {"ZDM_ORIGIN_CONTACT_POINTS": "127.0.0.1", "ZDM_TARGET_CONTACT_POINTS": "127.0.0.1",
                 "ZDM_ORIGIN_USERNAME": "u",
                 "ZDM_ORIGIN_PASSWORD": "p", "ZDM_TARGET_USERNAME": "u", "ZDM_TARGET_PASSWORD": "p"}
    del variables[missing]
    proxy = lone_proxy()
    await proxy.start(variables=variables, wait=False)
    assert await proxy.wait() == 255
    assert missing in proxy.log


@pytest.mark.connections(2)
async def test_an_unknown_flag(lone_proxy):
    proxy = lone_proxy()
    await proxy.start(arguments=["--frobnicate"], wait=False)
    assert await proxy.wait() == 2


@pytest.mark.parametrize("argument", ["--version", "--help"])
async def test_arguments_that_only_print(lone_proxy, argument):
    proxy = lone_proxy()
    await proxy.start(arguments=[argument], wait=False)
    assert await proxy.wait() == 0
    assert "cqlferry" in proxy.log


async def test_check_config(lone_proxy, tmp_path):
    proxy = lone_proxy()
    await proxy.start(sections=GOOD, arguments=["--check-config"], wait=False)
    assert await proxy.wait() == 0
    bad = lone_proxy()
    await bad.start(sections={"proxy": {"workers": "x"}, **GOOD}, arguments=["--check-config"], wait=False)
    assert await bad.wait() == 1


@pytest.mark.connections(16)
async def test_print_config_hides_secrets(lone_proxy):
    proxy = lone_proxy()
    sections = {name: dict(values, username="me", password="very-secret") for name, values in GOOD.items()}
    await proxy.start(sections=sections, arguments=["--print-config"], wait=False)
    assert await proxy.wait() == 0
    assert "contact_points" in proxy.log and "very-secret" not in proxy.log


async def test_secrets_from_elsewhere(make_bench, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("from the file\n")

    def configure(bench):
        bench.origin.auth = Auth({"proxy": "from the environment"})
        bench.target.auth = Auth({"proxy": "from the file"})
        bench.sections = {"origin": {"password": "env:TEST_SECRET"}, "target": {"password": f"file:{secret}"}}
        bench.variables = {"TEST_SECRET": "from the environment"}
    bench = await make_bench(fresh=True, configure=configure)
    assert [c.user for cluster in bench.clusters for c in cluster.control_connections()] == ["proxy", "proxy"]


async def test_a_port_that_is_taken(make_bench):
    """Trying again cannot help: the message names the address."""
    bench = await make_bench(fresh=True)
    second = Proxy(bench.proxy.folder, f"{bench.name}-second")
    sections = bench.ini()
    sections["http"] = {"enabled": "false"}
    await second.start(sections=sections, wait=False)
    try:
        async def said():
            return str(bench.proxy.listen[1]) in second.log and ("in use" in second.log or not second.running())
        while not await said():
            await asyncio.sleep(0.01)
        assert f"{bench.proxy.listen[0]}:{bench.proxy.listen[1]}" in second.log
        await assert_alive(await bench.client(), bench)
    finally:
        await second.kill()


async def test_overrides(make_bench):
    """--set wins over the file."""
    def configure(bench):
        sections = bench.ini()
        sections["routing"]["primary"] = "target"
        start = bench.proxy.start

        async def with_override(**how):
            await start(arguments=["--set", "routing.primary=origin"], sections=sections, wait=how["wait"])
        bench.proxy.start = with_override
    bench = await make_bench(fresh=True, configure=configure)
    await assert_alive(await bench.client(), bench)


@pytest.mark.connections(19)
@pytest.mark.parametrize("missing", ["origin", "target"])
async def test_the_zdm_profile_listens_when_both_clusters_are_there(make_bench, missing):
    def configure(bench):
        async def start_one():
            await (bench.target if missing == "origin" else bench.origin).start()
        bench.start_clusters = start_one
    bench = await make_bench(fresh=True, profile="zdm", configure=configure, wait=False)

    async def starting():
        return await bench.proxy.get("/health/readiness")
    status, body = await bench.proxy.until(starting, "HTTP")
    assert status == 503 and b'"Status":"STARTUP"' in body
    await bench.proxy.until_logged(getattr(bench, missing).nodes[0].address)
    with pytest.raises(OSError):
        await bench.open()
    await getattr(bench, missing).start()
    await bench.proxy.ready()
    await assert_alive(await bench.client(), bench)


@pytest.mark.connections(6)
async def test_variables_beside_a_file_are_ignored(make_bench):
    bench = await make_bench(fresh=True, variables={"ZDM_PRIMARY_CLUSTER": "TARGET", "ZDM_ORIGIN_PORT": "1"})
    await assert_alive(await bench.client(), bench)
    assert "ZDM_" in bench.proxy.log


async def test_an_empty_file_has_no_clusters(lone_proxy):
    proxy = lone_proxy()
    await proxy.start(sections={}, wait=False)
    assert await proxy.wait() == 1
    assert "contact_points" in proxy.log
