"""The proxy under test as a process: its configuration, start, log, health page and end."""

import json
import os
import pathlib
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request

import nodes
from checklist import profile_of

ROOT = pathlib.Path(__file__).resolve().parents[2]
_REPORT = re.compile(r"Sanitizer|runtime error:|Assert\w* .*failed", re.IGNORECASE)
#: They only bound a hang. Seconds.
READY_TIMEOUT = 60
STOP_TIMEOUT = 25
PATIENCE = 60.0


class FerryError(Exception):
    pass


def binary():
    path = pathlib.Path(os.environ.get("CQLFERRY") or ROOT / "cqlferry")
    if not os.access(path, os.X_OK):
        raise FerryError("there is no proxy at %s: build it, or name it in CQLFERRY" % path)
    return path


def http_get(url, timeout=30):
    """Status and body of a page, whatever the status is."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def eventually(what, check, timeout=PATIENCE):
    """Calls check until it gives something true and returns that; fails with `what` when it never does."""
    deadline = time.monotonic() + timeout
    while True:
        found = check()
        if found:
            return found
        assert time.monotonic() < deadline, "not within %g s: %s" % (timeout, what)
        time.sleep(0.05)


class Ferry:
    """One proxy. `environment` has ZDM_* variables, or `ini` has sections of settings, a list for a key that is repeated;
    listening addresses are ours."""

    def __init__(self, directory, environment=None, ini=None, address="127.0.0.1", port=None, http_port=None):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.address = address
        self.port = port or nodes.free_port(address)
        self.http_port = http_port or nodes.free_port(address)
        self.log_path = self.directory / "ferry.log"
        self.process = None
        self.status = None
        self._environment = environment
        self._ini = ini

    @property
    def profile(self):
        return profile_of(self._ini)

    def _prepare(self):
        """The command and the variables: none of the caller's own ZDM_* ones gets in."""
        variables = {k: v for k, v in os.environ.items() if not k.startswith("ZDM_")}
        if self._ini is None:
            variables.update({k: str(v) for k, v in self._environment.items()})
            variables.update(ZDM_PROXY_LISTEN_ADDRESS=self.address, ZDM_PROXY_LISTEN_PORT=str(self.port),
                             ZDM_METRICS_ADDRESS=self.address, ZDM_METRICS_PORT=str(self.http_port))
            return [str(binary())], variables
        return [str(binary()), "-c", str(self.rewrite())], variables

    def rewrite(self):
        """Writes the INI file as its sections are now, for a reload; returns its name."""
        sections = {name: dict(settings) for name, settings in self._ini.items()}
        sections.setdefault("listener", {}).update(address=self.address, port=self.port)
        sections.setdefault("http", {}).update(address=self.address, port=self.http_port)
        path = self.directory / "ferry.ini"
        text = ""
        for name, settings in sections.items():
            lines = [(key, value) for key, values in settings.items()
                     for value in (values if isinstance(values, list) else [values])]
            text += "[%s]\n%s\n" % (name, "".join("%s = %s\n" % line for line in lines))
        path.write_text(text)
        return path

    def launch(self):
        command, variables = self._prepare()
        with open(self.log_path, "a") as log:
            self.process = subprocess.Popen(command, env=variables, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=subprocess.STDOUT, preexec_fn=nodes.die_with_parent)
        self.status = None

    def start(self):
        self.launch()
        try:
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def wait_ready(self, timeout=READY_TIMEOUT):
        deadline = time.monotonic() + timeout
        while True:
            state = self.readiness()
            if state[0] == 200:
                return
            status = self.process.poll()
            if status is not None or time.monotonic() > deadline:
                raise FerryError("not ready (readiness %r, exit status %r); its log:\n%s" % (state, status, self.log()))
            time.sleep(0.05)

    def readiness(self):
        """Status and the decoded report of /health/readiness; (None, None) while nobody answers."""
        try:
            status, body = self.get("/health/readiness")
        except OSError:
            return None, None
        return status, json.loads(body)

    def get(self, path):
        return http_get("http://%s:%d%s" % (self.address, self.http_port, path))

    def log(self):
        return self.log_path.read_text(errors="replace")

    def reports(self):
        """What a sanitizer or a broken invariant has said."""
        return [line for line in self.log().splitlines() if _REPORT.search(line)]

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def wait_end(self, timeout=STOP_TIMEOUT):
        """Waits for the end and returns the exit status (negative: a signal)."""
        self.status = self.process.wait(timeout)
        self.process = None
        return self.status

    def stop(self):
        """Ends the proxy if it runs. Its exit status, or the one it ended with before."""
        if self.process is None:
            return self.status
        self.signal()
        try:
            return self.wait_end()
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.wait_end()
            raise FerryError("it did not end within %d s of SIGTERM; its log:\n%s" % (STOP_TIMEOUT, self.log()))
