"""The nodes and the proxies for the drivers' round trips: the two clusters of tests/cluster."""

import pathlib
import signal
import socket
import sys

import pytest

_TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[1:1] = [str(_TESTS), *(str(_TESTS / name) for name in ("cluster", "wire"))]

import certs  # noqa: E402
import checklist as shown  # noqa: E402
import ferry as ferry_module  # noqa: E402
import programs  # noqa: E402
from checklist import checklist  # noqa: E402,F401
from pair import Pair  # noqa: E402


def pytest_configure(config):
    # So that the nodes are stopped when the run is told to end.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    shown.configure(config)


@pytest.fixture(scope="session")
def pair(request, tmp_path_factory):
    """Both clusters; a test gives them their shape. While they start, the programs that are wanted are built."""
    pair = Pair(tmp_path_factory.mktemp("clusters"))
    try:
        for side in pair.sides:
            side.launch_as((False, None))
        programs.build({item.callspec.params["driver"] for item in request.session.items})
        yield pair
    finally:
        for side in pair.sides:
            side.stop(for_good=True)


@pytest.fixture(scope="session")
def front(tmp_path_factory):
    """The authority of the proxy's own certificate, not the clusters'. Java looks for the name of an address."""
    authority = certs.Authority(tmp_path_factory.mktemp("front"), "front CA")
    authority.issue("proxy", ["127.0.0.1", socket.getfqdn("127.0.0.1"), "localhost"])
    return authority.directory


class Proxies:
    """The proxies of the mode that is tested, kept while tests of its mode follow each other: one, or one on each of
    ADDRESSES where the configuration names them as `topology_addresses`."""

    ADDRESSES = ["127.0.0.1", "127.0.0.4"]

    def __init__(self, tmp_path_factory):
        self._new_directory = lambda: tmp_path_factory.mktemp("ferry")
        self._mode = None
        self._ferries = []

    def of(self, mode, **configuration):
        """The first proxy, which a test may have killed."""
        if mode != self._mode:
            self.stop()
            self._start(configuration)
            self._mode = mode
        if not self._ferries[0].process:
            self._ferries[0].start()
        return self._ferries[0]

    def _start(self, configuration):
        first = ferry_module.Ferry(self._new_directory(), **configuration)
        self._ferries.append(first)
        if "topology_addresses" in configuration.get("ini", {}).get("proxy", {}):
            ini = dict(configuration["ini"])
            ini["proxy"] = dict(ini["proxy"], topology_index=1)
            second = ferry_module.Ferry(self._new_directory(), ini=ini, address=self.ADDRESSES[1], port=first.port)
            self._ferries.append(second.start())

    def stop(self):
        """They must end in order, and may have said nothing alarming."""
        ferries, self._ferries, self._mode = self._ferries, [], None
        for ferry in ferries:
            killed = ferry.process is None
            status = ferry.stop()
            assert status == (-signal.SIGKILL if killed else 0), \
                "the proxy ended with status %r; its log:\n%s" % (status, ferry.log())
            assert ferry.reports() == []


@pytest.fixture(scope="session")
def proxies(pair, tmp_path_factory):
    proxies = Proxies(tmp_path_factory)
    yield proxies
    proxies.stop()
