"""Plugins are found, checked, opened and closed, and what is wrong with one is said."""
import re


def said(bench, name="life"):
    """What the fixture `life` of an instance says was called, since the last start."""
    return re.findall(rf"^life {name}: (.*)$", bench.proxy.log[bench.proxy.started_at:], re.M)


async def test_life_of_a_plugin(make_bench, plugin_path):
    """open(), a worker_open() for each worker; at the end worker_close() and close()."""
    sections = {"plugin one": {"file": plugin_path("life"), "word": "hello"}}
    bench = await make_bench(fresh=True, sections=sections)
    assert said(bench, "one") == ["open, word hello, 2 workers", "worker_open 0", "worker_open 1"]
    client = await bench.client()
    answer = await client.query("SELECT a FROM ks.t")
    assert not answer.is_error()
    await client.close()
    bench.may_be_down = True
    await bench.proxy.stop()
    assert sorted(said(bench, "one")[3:5]) == ["worker_close 0", "worker_close 1"]
    assert said(bench, "one")[5:] == ["close"]
