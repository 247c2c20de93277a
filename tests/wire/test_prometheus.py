"""The plugin prometheus: its page is OpenMetrics, counts what happens, and is bounded whatever comes."""
import pytest

pytestmark = pytest.mark.native

WRONG = {
    "labels": ("keyspace tables", "'keyspace tables': allowed are keyspace, table, kind, route, outcome"),
    "path": ("metrics", "'metrics' is no path of a page"),
    "buckets": ("0.1 0.01", "each bound has to be larger than the one before it"),
    "added_buckets": ("0.1 soon", "not a list of seconds"),
    "tables": ("1001", "1000"),
}


@pytest.mark.parametrize("option", WRONG)
async def test_options_that_are_wrong(make_bench, plugin_path, option):
    """What is wrong is named, with what is allowed; the process ends with 1."""
    value, message = WRONG[option]
    section = {"file": plugin_path("prometheus"), option: value}
    bench = await make_bench(fresh=True, wait=False, sections={"plugin prometheus": section})
    await bench.proxy.never_ready(f"{option}.*{message}", exit_code=1)
    bench.may_be_down = True


async def test_loads_and_ends(make_bench, plugin_path):
    """With its defaults it costs requests nothing, and leaves nothing behind (the sanitizers look)."""
    bench = await make_bench(fresh=True, sections={"plugin prometheus": {"file": plugin_path("prometheus")}})
    client = await bench.client()
    for _ in range(3):
        answer = await client.query("SELECT a FROM ks.t")
        assert not answer.is_error()
    assert len([r for r in bench.origin.requests() if b"SELECT a" in r.body]) == 3
    await client.close()
    bench.may_be_down = True
    await bench.proxy.stop()
