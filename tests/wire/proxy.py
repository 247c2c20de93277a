"""Starts the real binary for a test, waits until it is ready, and stops it again."""
import asyncio
import json
import os
import re
import signal
from pathlib import Path
from types import SimpleNamespace

from checklist import profile_of

ROOT = Path(__file__).resolve().parents[2]
SANITIZER = re.compile(r"ERROR: \w+Sanitizer|WARNING: \w+Sanitizer|runtime error:|Assertion .* failed|Assert\w* failed")

#: how long the proxy may take to become ready, or to end
START_PATIENCE = 40.0
STOP_PATIENCE = 40.0


def binary():
    path = Path(os.environ.get("CQLFERRY", ROOT / "cqlferry"))
    if not path.is_file():
        raise FileNotFoundError(f"no proxy at {path}: build it, or set CQLFERRY to its path")
    return str(path)


def ini_text(sections):
    """{"listener": {"port": 1}} as an INI file; values of None are left out, a list is a line for each of its items."""
    lines = []
    for name, values in sections.items():
        lines.append(f"[{name}]")
        for key, value in values.items():
            items = value if isinstance(value, list) else [] if value is None else [value]
            lines += [f"{key} = {item}" for item in items]
        lines.append("")
    return "\n".join(lines)


class ProxyFailure(AssertionError):
    pass


class Proxy:
    def __init__(self, folder, name):
        self.folder = Path(folder)
        self.name = name
        self.log_path = self.folder / f"{name}.log"
        self.process = None
        self.profile = None  # of the last start: native or zdm
        self.http = None     # (address, port)
        self.listen = None   # (address, port)
        self.checked = 0     # how much of the log was looked at for sanitizer reports
        self.started_at = 0  # where in the log the last start begins

    async def start(self, sections=None, variables=None, arguments=(), wait=True):
        """With an INI file made of `sections`, or with nothing but ZDM_* `variables`."""
        command = [binary()]
        self.profile = profile_of(sections)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ZDM_")}
        environment.setdefault("ASAN_OPTIONS", "detect_leaks=1:quarantine_size_mb=8")
        if sections is not None:
            path = self.write_ini(sections)
            command += ["-c", str(path)]
        environment.update(variables or {})
        command += arguments
        self.started_at = len(self.log)
        with open(self.log_path, "ab") as log:
            log.write(f"--- {' '.join(command)}\n".encode())
            log.flush()
            self.process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL, stdout=log,
                                                                stderr=log, env=environment, cwd=self.folder)
        if wait:
            await self.ready()

    def write_ini(self, sections):
        """In one step: the process may be reading the file."""
        path = self.folder / f"{self.name}.ini"
        new = path.with_suffix(".new")
        new.write_text(ini_text(sections))
        return new.rename(path)

    async def reload(self, expect="reloaded"):
        """SIGHUP; waits until the log says "reloaded" or "refused", and returns what was logged from the signal on."""
        outcomes = {"reloaded": "the configuration was reloaded", "refused": "the configuration was not reloaded"}
        before = len(self.log)
        self.signal(signal.SIGHUP)

        async def said():
            return any(words in self.log[before:] for words in outcomes.values())
        await self.until(said, "outcome of a reload")
        text = self.log[before:]
        if outcomes[expect] not in text:
            raise ProxyFailure(f"the reload was not {expect}:\n{text}")
        return text

    @property
    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    @property
    def messages(self):
        """What the process has logged since its last start, without the settings that it shows at level debug."""
        lines = self.log[self.started_at:].splitlines()
        return "\n".join(line for line in lines if " DEBUG config: " not in line and not line.startswith("---"))

    def running(self):
        return self.process is not None and self.process.returncode is None

    async def get(self, path, method="GET"):
        """(status, body) of an HTTP request to the proxy; raises OSError while nobody listens."""
        answer = await self.fetch(path, method=method)
        return answer.status, answer.body

    async def fetch(self, path, headers=None, method="GET"):
        """The same with headers, of the request and of the answer (by their names in lower case)."""
        more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        reader, writer = await asyncio.open_connection(*self.http)
        try:
            writer.write(f"{method} {path} HTTP/1.1\r\nHost: test\r\n{more}Connection: close\r\n\r\n".encode())
            answer = await asyncio.wait_for(reader.read(), START_PATIENCE)
        finally:
            writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        match = re.match(rb"HTTP/1\.[01] (\d+)", head)
        if not match:
            raise ConnectionError(f"no HTTP answer: {answer[:80]!r}")
        if b"chunked" in head.lower():
            body = unchunk(body)
        said = [line.partition(":") for line in head.decode().splitlines()[1:]]
        return SimpleNamespace(status=int(match.group(1)), body=body,
                               headers={name.lower(): value.strip() for name, _, value in said})

    async def readiness(self):
        status, body = await self.get("/health/readiness")
        return status, json.loads(body)

    async def metrics(self):
        """The samples of /metrics: 'name{labels}' to number."""
        status, body = await self.get("/metrics")
        if status != 200:
            raise ProxyFailure(f"/metrics gave {status}: {body!r}")
        samples = {}
        for line in body.decode().splitlines():
            if line and not line.startswith("#"):
                name, _, number = line.rpartition(" ")
                samples[name] = float(number)
        return samples

    async def until(self, condition, what, timeout=START_PATIENCE):
        """Waits until the coroutine function `condition` gives something true; the proxy must not end meanwhile."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        while True:
            if not self.running():
                code = self.process.returncode if self.process else None
                raise ProxyFailure(f"the proxy ended with {code} while waiting for {what}:\n{self.tail()}")
            try:
                result = await condition()
                if result:
                    return result
            except (OSError, asyncio.IncompleteReadError):
                pass
            if loop.time() > end:
                raise ProxyFailure(f"no {what} within {timeout} s:\n{self.tail()}")
            await asyncio.sleep(0.01)

    async def ready(self):
        async def is_ready():
            return (await self.get("/health/readiness"))[0] == 200
        await self.until(is_ready, "readiness")

    async def until_logged(self, pattern):
        async def logged():
            return re.search(pattern, self.messages)
        return await self.until(logged, f"log line {pattern!r}")

    async def never_ready(self, pattern, exit_code=None):
        """
        The start does not succeed, and what is logged matches `pattern`: the process goes on trying and is not ready,
        or it has ended with 1. exit_code: it must have ended with this.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + START_PATIENCE
        while not (re.search(pattern, self.messages) and (exit_code is None or not self.running())):
            if loop.time() > end or (not self.running() and not re.search(pattern, self.messages)):
                raise ProxyFailure(f"not logged: {pattern!r}, or the process has not ended:\n{self.messages}")
            await asyncio.sleep(0.01)
        try:
            status = (await self.get("/health/readiness"))[0]
        except OSError:
            status = None
        if status == 200:
            raise ProxyFailure(f"it has become ready:\n{self.messages}")
        if status is None or exit_code is not None:
            code = await self.wait()
            self.process = None
            self.check_log()
            if code != (1 if exit_code is None else exit_code):
                raise ProxyFailure(f"it ended with {code}:\n{self.messages}")

    async def until_metric(self, name, value):
        async def reached():
            return (await self.metrics()).get(name) == value
        await self.until(reached, f"{name} = {value}")

    async def wait(self, timeout=STOP_PATIENCE):
        """Waits for the end; returns the exit code."""
        return await asyncio.wait_for(self.process.wait(), timeout)

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    async def stop(self, expect=0):
        """SIGTERM by pid; the exit code must be `expect`, the log free of sanitizer reports."""
        if self.process is None:
            return
        try:
            if self.running():
                self.signal()
        except ProcessLookupError:
            pass  # it has just ended by itself
        try:
            code = await self.wait()
        except asyncio.TimeoutError:
            await self.kill()
            raise ProxyFailure(f"{self.name} did not end within {STOP_PATIENCE} s of SIGTERM:\n{self.tail()}") from None
        self.check_log()
        if expect is not None and code != expect:
            raise ProxyFailure(f"{self.name} ended with {code} instead of {expect}:\n{self.tail()}")

    async def kill(self):
        if self.running():
            self.signal(signal.SIGKILL)
            await self.process.wait()

    def check_log(self):
        """Raises when a sanitizer or an assertion has spoken since the last look."""
        text = self.log
        match = SANITIZER.search(text, self.checked)
        self.checked = len(text)
        if match:
            report = text[max(0, match.start() - 500):match.start() + 6000]
            raise ProxyFailure(f"{self.name}: {match.group(0)}\n{report}")

    def tail(self, lines=60):
        return "\n".join(self.log.splitlines()[-lines:])


def unchunk(body):
    out = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        if length == 0:
            break
        out += rest[:length]
        body = rest[length + 2:]
    return out
