"""Lua scripts for a proxy of a test: written beside its INI file, named in [lua]."""
import asyncio
import json
import os
import subprocess

from proxy import binary, ini_text

MINIMAL = {"origin": {"contact_points": "127.0.0.1"}, "target": {"contact_points": "127.0.0.2"}}


def write(folder, scripts):
    """{"a.lua": text}; names with folders, too. In one step each: the proxy may be reading them."""
    for name, text in scripts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name("." + path.name + ".new")
        if isinstance(text, bytes):
            new.write_bytes(text)
        else:
            new.write_text(text)
        new.rename(path)


def settings(scripts, **more):
    """For make_bench(fresh=True, configure=settings({...})): the scripts in this order, and other keys of [lua]."""
    def configure(bench):
        write(bench.proxy.folder / bench.proxy.name, scripts)
        names = [f"{bench.proxy.name}/{name}" for name in scripts]
        bench.sections.setdefault("lua", {}).update({"script": names, **more})
    return configure


def rewrite(bench, scripts):
    write(bench.proxy.folder / bench.proxy.name, scripts)


def run(folder, *arguments, sections=None, variables=None, timeout=20):
    """The program with an INI file t.ini of these sections, in this folder, until it ends by itself."""
    command = [binary()]
    if sections is not None:
        (folder / "t.ini").write_text(ini_text({**MINIMAL, **sections}))
        command += ["-c", "t.ini"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ZDM_")}
    environment.setdefault("ASAN_OPTIONS", "detect_leaks=1:quarantine_size_mb=8")
    environment.update(variables or {})
    return subprocess.run([*command, *arguments], cwd=folder, env=environment, capture_output=True, text=True,
                          timeout=timeout)


async def status(bench):
    """/health/status as an object."""
    code, body = await bench.proxy.get("/health/status")
    assert code == 200, body
    return json.loads(body)


async def hook(bench, name):
    return next(h for h in (await status(bench))["policy"]["hooks"] if h["name"] == name)


async def counted(bench, family, **labels):
    """A sample of the scripts' metrics, 0 where there is none yet."""
    text = ",".join(f'{k}="{v}"' for k, v in labels.items())
    return (await bench.proxy.metrics()).get(f"zdm_cqlferry_{family}{{{text}}}", 0)


class Clients:
    """Clients that ask something simple again and again; what is the longest that one of them has waited?"""

    def __init__(self, clients, text="SELECT * FROM ks.quiet", values=None):
        self.clients = clients
        self.text = text
        self.values = values
        self.longest = 0.0
        self.count = 0
        self.tasks = []
        self.stopped = False

    async def run(self, client):
        loop = asyncio.get_running_loop()
        while not self.stopped:
            began = loop.time()
            answer = await client.query(self.text)
            self.longest = max(self.longest, loop.time() - began)
            assert not answer.is_error(), answer
            self.count += 1

    async def __aenter__(self):
        self.tasks = [asyncio.ensure_future(self.run(c)) for c in self.clients]
        return self

    async def __aexit__(self, *error):
        self.stopped = True
        await asyncio.gather(*self.tasks)
