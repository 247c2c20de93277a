"""
Fixtures of the wire tests. Tests may be coroutine functions; all of them run in one event loop, in which the fake
clusters live too.
"""
import asyncio
import inspect
import itertools
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1]))

import checklist as shown
import pooling
from bench import Addresses, Bench
from checklist import checklist
from plugins import Plugins

#: no test may hang for longer; the largest take half a minute on a busy machine
TEST_LIMIT = 180.0
#: how many benches are kept for tests with the same settings
KEPT_BENCHES = 6
#: after so many starts in a row that failed, the others would fail too
MAX_FAILED_STARTS = 5

_loop = asyncio.new_event_loop()
asyncio.set_event_loop(_loop)


def pytest_configure(config):
    shown.configure(config)
    config.addinivalue_line("markers", "native: what it shows is so in the native profile only")
    config.addinivalue_line("markers", "dedicated: it is about connections that belong to one client alone")
    config.addinivalue_line("markers", "own_profile: it chooses its profiles itself, so one run shows everything")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    _loop.run_until_complete(limited(pyfuncitem.obj(**arguments)))
    return True


async def limited(test):
    try:
        async with asyncio.timeout(TEST_LIMIT) as Plugins.limit:
            await test
    finally:
        Plugins.limit = None


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if call.when == "call":
        item.test_failed = report.failed
    if report.failed:
        for bench in getattr(item, "benches", []):
            report.sections.append((f"log of {bench.name}", bench.proxy.tail(80)))
            for cluster in bench.clusters:
                lines = "\n".join(repr(r) for r in cluster.received[-30:]) + "".join(f"\n!! {c}"
                                                                                     for c in cluster.complaints)
                report.sections.append((f"received by {cluster.name}", lines))


@pytest.fixture(scope="session")
def loop():
    return _loop


@pytest.fixture(scope="session")
def free_addresses():
    return Addresses()


class BenchPool:
    def __init__(self, folder, addresses):
        self.folder = folder
        self.addresses = addresses
        self.kept = {}
        self.numbers = itertools.count(1)
        self.failed_starts = 0

    async def get(self, fresh, configure, wait, settings):
        key = None if fresh else repr(sorted(settings.items()))
        bench = self.kept.pop(key, None)
        if bench is None:
            bench = Bench(self.folder, f"bench{next(self.numbers)}", self.addresses, **settings)
            if configure is not None:
                configure(bench)
            try:
                await bench.start(wait)
                self.failed_starts = 0
            except BaseException as e:
                for cluster in bench.clusters:
                    for complaint in cluster.complaints:
                        e.add_note(complaint)
                await bench.proxy.kill()
                for cluster in bench.clusters:
                    await cluster.stop()
                self.failed_starts += 1
                if self.failed_starts >= MAX_FAILED_STARTS:
                    pytest.exit(f"the proxy does not start: {e}", returncode=3)
                raise
        else:
            try:
                await bench.until_as_before()
            except BaseException:
                await bench.proxy.kill()
                await bench.stop()
                raise
        if key is not None:
            self.kept[key] = bench
            while len(self.kept) > KEPT_BENCHES:
                await self.kept.pop(next(iter(self.kept))).stop()
        bench.key = key
        return bench

    async def give_back(self, bench, failed):
        """Shared benches stay, unless something is wrong with them."""
        try:
            await bench.sweep()
        except BaseException:
            failed = True
            raise
        finally:
            if bench.key is None or failed:
                self.kept.pop(bench.key, None)
                if failed:
                    await bench.proxy.kill()
                    bench.proxy.process = None
                await bench.stop()

    async def close(self):
        problems = []
        for bench in self.kept.values():
            try:
                await bench.stop()
            except Exception as e:
                problems.append(f"{bench.name}: {e}")
        assert not problems, "\n".join(problems)


@pytest.fixture(scope="session")
def bench_pool(loop, free_addresses, tmp_path_factory):
    pool = BenchPool(tmp_path_factory.mktemp("wire"), free_addresses)
    yield pool
    loop.run_until_complete(pool.close())


@pytest.fixture
def make_bench(request, loop, bench_pool):
    """
    await make_bench(...) gives a running bench with these settings (see Bench). fresh=True: one that no other test
    has used or will use; needed where the test ends the proxy, stops nodes or changes what control connections learn.
    Then configure(bench) may change it before it starts, and wait=False does not wait until the proxy is ready.
    """
    request.node.benches = []

    async def make(fresh=False, configure=None, wait=True, **settings):
        assert fresh or (configure is None and wait)
        bench = await bench_pool.get(fresh, configure, wait, settings)
        request.node.benches.append(bench)
        shown.note_profile(request.node, bench.proxy.profile)
        return bench
    yield make
    failed = getattr(request.node, "test_failed", True)
    errors = []
    for bench in request.node.benches:
        try:
            loop.run_until_complete(bench_pool.give_back(bench, failed))
        except BaseException as e:
            errors.append(e)
    if errors:
        raise errors[0]


@pytest.fixture
def bench(loop, make_bench):
    """The plain bench: one node each, no authentication, primary origin, everything else at its default."""
    return loop.run_until_complete(make_bench())


@pytest.fixture(scope="session")
def plugin_path(tmp_path_factory):
    """plugin_path(NAME, compiler flags ...): the shared object of tests/plugins/NAME.c or of plugins/NAME."""
    return Plugins(tmp_path_factory.mktemp("plugins")).path


@pytest.fixture
def pooled(request, loop, make_bench):
    """
    await pooled(proxy={...}, ...): a bench of the test's own over pooled connections that stay when they are idle; the
    proxy is ended before the bench is swept.
    """
    benches = []

    async def make(proxy=None, sections=None, **settings):
        bench = await make_bench(fresh=True, sections=pooling.sections(proxy, **(sections or {})), **settings)
        benches.append(bench)
        return bench
    yield make
    for bench in benches:
        if getattr(request.node, "test_failed", True):
            bench.may_be_down = True  # the sweep need not wait for connections that stay
        else:
            loop.run_until_complete(pooling.end(bench))
