"""
Shared objects for tests: those of tests/plugins/NAME.c, compiled here as the manual says, and those of plugins/NAME, as
make builds them.
"""
import fcntl
import os
import subprocess
import time
from pathlib import Path

from proxy import ROOT, binary

#: one compilation, or one make
BUILD_LIMIT = 300


class Plugins:
    #: the asyncio.timeout() of the test that runs: what is built within it, which can take minutes, does not count
    limit = None

    def __init__(self, folder):
        self.folder = Path(folder)
        self.built = {}

    def path(self, name, *flags, source=None):
        """
        Of a plugin of tests/plugins or plugins. `flags` are the compiler's (-DX=1): each set of them gives an object of
        its own; `source` is another file than tests/plugins/NAME.c.
        """
        key = (name, flags, source)
        if key not in self.built:
            started = time.monotonic()
            code = Path(source) if source else ROOT / "tests" / "plugins" / f"{name}.c"
            self.built[key] = self._compile(code, name, flags) if code.is_file() else self._make(name)
            if Plugins.limit is not None:
                Plugins.limit.reschedule(Plugins.limit.when() + time.monotonic() - started)
        return self.built[key]

    def _compile(self, code, name, flags):
        out = self.folder / f"{name}{len(self.built) if flags else ''}.so"
        command = [os.environ.get("CC", "cc"), "-shared", "-fPIC", "-g", "-O1", "-Wall", "-Wextra", "-Werror",
                   f"-I{ROOT / 'include'}", *flags, "-o", str(out), str(code), "-pthread"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_LIMIT)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"
        return str(out)

    @staticmethod
    def _make(name):
        """In the folder of the proxy, where it was built; a copy elsewhere has its plugins beside it."""
        build = Path(binary()).resolve().parent
        made = build / "plugins" / ".libs" / f"{name}.so"
        if (build / "Makefile").is_file():
            with open(build / "plugins.lock", "w") as lock:  # pytest -n: several at a time
                fcntl.flock(lock, fcntl.LOCK_EX)
                done = subprocess.run(["make", "-s", f"plugins/{name}.la"], cwd=build, capture_output=True, text=True,
                                      timeout=BUILD_LIMIT)
            assert done.returncode == 0, f"make plugins/{name}.la\n{done.stdout}\n{done.stderr}"
        assert made.is_file(), f"no plugin {name}: neither tests/plugins/{name}.c nor {made}"
        return str(made)
