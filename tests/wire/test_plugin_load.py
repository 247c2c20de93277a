"""
Plugins are found, checked, opened and closed, and what is wrong with one is said: the file, where it matters the symbol,
what was expected and what was found; of options the line, the key and what is allowed.
"""
import asyncio
import os
import re
import shutil
import signal
import struct
import subprocess
from pathlib import Path

import pytest

from proxy import binary, ini_text

#: a start that is refused, and a check
RUN_LIMIT = 20

E_TYPE, E_MACHINE, EI_CLASS, EI_DATA = 16, 18, 4, 5
EM_AARCH64 = 183
ET_EXEC = 2


class Runs:
    """Runs of the program that end by themselves, with an INI file of nothing but plugins."""

    def __init__(self, folder):
        self.folder = folder
        self.ini = folder / "plugins.ini"
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("ZDM_")}

    def run(self, *arguments):
        return subprocess.run([binary(), *arguments], cwd=self.folder, env=self.environment, capture_output=True,
                              text=True, timeout=RUN_LIMIT)

    def with_plugins(self, plugins, *arguments, **proxy):
        """`plugins` by name, or a list of them when a name stands there twice."""
        sections = {"origin": {"contact_points": "127.0.0.1"}, "target": {"contact_points": "127.0.0.1"},
                    "proxy": {"workers": 2, **proxy}, "http": {"enabled": "false"}}
        text = ini_text(sections)
        for name, values in plugins.items() if isinstance(plugins, dict) else plugins:
            text += ini_text({f"plugin {name}": values})
        self.ini.write_text(text)
        return self.run("-c", "plugins.ini", *arguments)

    def check(self, plugins, *arguments, **proxy):
        return self.with_plugins(plugins, "--check-config", *arguments, **proxy)

    def line(self, text):
        """Where a text stands in the file, as messages name it."""
        lines = self.ini.read_text().splitlines()
        return f"plugins.ini:{next(n for n, line in enumerate(lines, 1) if text in line)}"


@pytest.fixture
def runs(tmp_path):
    return Runs(tmp_path)


def said(text, name="[a-z]+"):
    """What the fixture `life` says was called: (instance, what)."""
    return re.findall(rf"^life ({name}): (.*)$", text, re.M)


def said_by(bench, name):
    return [what for _, what in said(bench.proxy.log[bench.proxy.started_at:], name)]


# ---- what is loaded ----

async def test_life_of_a_plugin(make_bench, plugin_path):
    """open(), a worker_open() for each worker; at the end worker_close() and close()."""
    sections = {"plugin one": {"file": plugin_path("life"), "word": "hello"}}
    bench = await make_bench(fresh=True, sections=sections)
    assert said_by(bench, "one") == ["open, word hello, 2 workers", "worker_open 0", "worker_open 1"]
    client = await bench.client()
    answer = await client.query("SELECT a FROM ks.t")
    assert not answer.is_error()
    await client.close()
    bench.may_be_down = True
    await bench.proxy.stop()
    assert sorted(said_by(bench, "one")[3:5]) == ["worker_close 0", "worker_close 1"]
    assert said_by(bench, "one")[5:] == ["close"]


async def test_one_file_twice_and_the_order(make_bench, plugin_path):
    """Two sections of one file are two instances; `order` decides who is first, and the last one is closed first."""
    life = plugin_path("life")
    sections = {"plugin late": {"file": life, "order": 5}, "plugin a": {"file": life}, "plugin b": {"file": life},
                "plugin first": {"file": life, "order": -1}}
    bench = await make_bench(fresh=True, sections=sections)
    calls = said(bench.proxy.log)
    assert [name for name, what in calls if what.startswith("open")] == ["first", "a", "b", "late"]
    assert [name for name, what in calls if what == "worker_open 1"] == ["first", "a", "b", "late"]
    bench.may_be_down = True
    await bench.proxy.stop()
    calls = said(bench.proxy.log)
    assert [name for name, what in calls if what == "worker_close 1"] == ["late", "b", "a", "first"]
    assert [name for name, what in calls if what == "close"] == ["late", "b", "a", "first"]


def test_where_files_are(runs, plugin_path):
    """Without a slash in plugin_dir; with one from the folder of the INI file, and of --set from the working directory."""
    (runs.folder / "lib").mkdir()
    os.symlink(plugin_path("life"), runs.folder / "lib" / "mine.so")
    assert runs.check({"a": {"file": "mine.so"}}, plugin_dir="lib").returncode == 0
    assert runs.check({"a": {"file": "lib/mine.so"}}).returncode == 0
    assert runs.check({"a": {"file": "./mine.so"}}, "--set", "plugin.a.file=lib/mine.so").returncode == 0
    done = runs.check({"a": {"file": "mine.so"}})
    assert done.returncode == 1
    assert re.search(rf"{runs.line('mine.so')}: \[plugin a\] file: /.*/cqlferry/mine.so: No such file", done.stderr)


def test_check_opens_and_closes(runs, plugin_path):
    """--check-config calls open() and close(), and nothing of workers."""
    done = runs.check({"a": {"file": plugin_path("life")}})
    assert done.returncode == 0, done.stderr
    assert said(done.stderr) == [("a", "open, word none, 2 workers"), ("a", "close")]
    assert "the configuration is good" in done.stdout
    assert "[plugin a] file" in done.stdout  # a change of it needs a restart


def test_check_names_options_that_need_a_restart(runs, plugin_path):
    """Those of the plugin's, too, and none that a reload takes over."""
    done = runs.check({"a": {"file": plugin_path("options"), "key": "k", "number": 1, "item": ["x", "y"]}})
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if "needs a restart" in line)
    assert line.count("[plugin a] number") == 1 and line.count("[plugin a] item") == 1 and "[plugin a] key" not in line


def test_plugin_info(runs, plugin_path):
    done = runs.run("--plugin-info", plugin_path("options"))
    assert done.returncode == 0 and done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[:4] == [plugin_path("options"), "name: options", "version: 1",
                         "plugin interface: 1.0 (this is cqlferry's 1.0)"]
    assert "  number = a number from -5 to 5; default -1; a change needs a restart" in lines
    assert "  full = drop, block or refuse; default block; a reload takes it over" in lines
    assert "  key = a secret, env:NAME or file:PATH; mandatory; a reload takes it over" in lines
    assert "  item = a text; default not set; may be repeated; a change needs a restart" in lines
    assert lines[lines.index("  text = a text; default a text; a change needs a restart") + 1].strip() == "any text"
    shutil.copy(plugin_path("options"), runs.folder / "beside.so")
    done = subprocess.run([binary(), "--plugin-info", "beside.so"], cwd=runs.folder, capture_output=True, text=True, timeout=10)
    assert done.returncode == 0 and "name: options" in done.stdout, "of this folder, without a slash"
    done = runs.run("--plugin-info", str(runs.folder))
    assert done.returncode == 1 and "no regular file" in done.stderr


# ---- files that are refused ----

SYMBOL = "symbol cqlferry_plugin"
SHAPES = {
    "bad major": (["-DMAJOR=2"], f"{SYMBOL}: expected plugin interface 1.0 to 1.0, found 2.0"),
    "newer minor": (["-DMINOR=9"], f"{SYMBOL}: expected plugin interface 1.0 to 1.0, found 1.9: built for a newer"),
    "short struct": (["-DSIZE=40"], rf"{SYMBOL}: expected a struct_size of at least \d+, .* found 40 in an object"),
    "long struct": (["-DSIZE=4000"], rf"{SYMBOL}: .* found 4000 in an object of \d+ bytes"),
    "another program's": (["-DHIDDEN"], "no plugin: expected the symbol cqlferry_plugin .*, found none"),
    "undefined symbol": (["-DUNDEFINED"], "undefined symbol: nowhere"),
    "no name": (["-DNAME=NULL"], f'{SYMBOL}, name: expected letters, digits, _ and -, found ""'),
    "bad name": (['-DNAME="a b"'], f'{SYMBOL}, name: expected letters, digits, _ and -, found "a b"'),
    "no version": (["-DVERSION=NULL"], f"{SYMBOL}, version: expected a text, found none"),
    "unknown flag": (["-DFLAGS=0x80"], f"{SYMBOL}, flags: expected bits of 0x1, found 0x80"),
    "short rows": (["-DROW_SIZE=8"], f"{SYMBOL}, options: expected at most 256 rows .*, found 2 of 8 bytes"),
    "many rows": (["-DROW_COUNT=257"], f"{SYMBOL}, options: expected at most 256 rows .*, found 257 of"),
    "row without name": (["-DROW=.help=0"], f"{SYMBOL}, option 0 .*: expected a name"),
    "row with a bad name": (['-DROW=.name="a.b"'], f"{SYMBOL}, option 0 .*: expected a name"),
    "reserved row": (['-DROW=.name="order"'], f"{SYMBOL}, option 0 .order.: the name is a key of the proxy's"),
    "row twice": (['-DROW=.name="number"'], f"{SYMBOL}, option 1 .number.: there is another one"),
    "unknown type": (['-DROW=.name="x",.type=99'], f"{SYMBOL}, option 0 .x.: the type is none that this cqlferry"),
    "unknown row flag": (['-DROW=.name="x",.flags=64'], f"{SYMBOL}, option 0 .x.: a flag is none that this cqlferry"),
    "no choices": (['-DROW=.name="x",.type=5'], f"{SYMBOL}, option 0 .x.: expected choices, found none"),
    "no reload()": (['-DROW=.name="x",.flags=2'], f"{SYMBOL}, option 0 .x.: .* the plugin has no reload"),
    "bad default": (['-DROW=.name="x",.type=1,.initial="y"'], r"\[plugin a\] x: the plugin's own default: .y. is not"),
}


@pytest.mark.parametrize("what", SHAPES)
def test_constants_that_are_refused(runs, plugin_path, what):
    flags, expected = SHAPES[what]
    done = runs.check({"a": {"file": plugin_path("shape", *flags)}})
    assert done.returncode == 1
    assert re.search(expected, done.stderr), done.stderr
    assert re.search(rf"{runs.line('file = ')}: \[plugin a\] ", done.stderr), done.stderr


def test_symbols_that_are_something_else(runs, plugin_path):
    for flags, expected in (([], r"expected at least \d+ bytes, found 8"),
                            (["-DFUNCTION"], "expected a struct cqlferry_plugin, found a function")):
        done = runs.check({"a": {"file": plugin_path("stranger", *flags)}})
        assert done.returncode == 1
        assert re.search(f"{SYMBOL}: {expected}", done.stderr), done.stderr


def test_rows_that_are_longer_than_ours(runs, plugin_path):
    """What both sides know is read, at the distance that the plugin says; more of the struct is left alone."""
    done = runs.run("--plugin-info", plugin_path("shape", "-DLONG_ROWS"))
    assert done.returncode == 0, done.stderr
    assert "  word = a text; default not set" in done.stdout
    assert "  number = a number from 0; default 7" in done.stdout


def changed(image, offset, *numbers):
    return image[:offset] + bytes(numbers) + image[offset + len(numbers):]


FILES = {
    "a text file": (lambda image: b"[plugin]\nfile = x\n", "no shared object: expected an ELF file, found something else"),
    "nothing in it": (lambda image: b"", "no shared object: expected an ELF file, found something else"),
    "another machine": (lambda image: changed(image, E_MACHINE, *struct.pack("<H", EM_AARCH64)),
                        r"built for another machine: expected .* found aarch64 \(183\)"),
    "32 bits": (lambda image: changed(image, EI_CLASS, 1), "built for another machine: expected 64 bits, found 32"),
    "other bytes": (lambda image: changed(image, EI_DATA, 2), "built for a machine with another order of bytes"),
    "a program": (lambda image: changed(image, E_TYPE, ET_EXEC, 0), "no shared object: expected ELF type 3 .*, found 2"),
    "cut in the header": (lambda image: image[:40], "cut off: it has 40 bytes"),
    "cut behind it": (lambda image: image[:64], "no program headers that can be read: the file is damaged"),
    "cut off": (lambda image: image[:5000], "cut off: it has 5000 bytes, its headers speak of more"),
}


@pytest.mark.parametrize("what", FILES)
def test_files_that_are_refused(runs, plugin_path, what):
    make, expected = FILES[what]
    with open(plugin_path("life"), "rb") as file:
        (runs.folder / "bad.so").write_bytes(make(file.read()))
    done = runs.check({"a": {"file": "./bad.so"}})
    assert done.returncode == 1
    assert re.search(rf"{runs.line('bad.so')}: \[plugin a\] file: plugins.*bad.so: {expected}|"
                     rf"{runs.line('bad.so')}: \[plugin a\] file: \./bad.so: {expected}", done.stderr), done.stderr


def test_things_that_are_no_files(runs):
    for name, expected in (("./none.so", "No such file"), ("/", "no regular file"), ("/dev/null", "no regular file")):
        done = runs.check({"a": {"file": name}})
        assert done.returncode == 1 and expected in done.stderr, (name, done.stderr)
    os.mkfifo(runs.folder / "pipe.so")  # nobody writes: an open() that waits would not come back
    done = runs.check({"a": {"file": "./pipe.so"}})
    assert done.returncode == 1 and "no regular file" in done.stderr


# ---- sections and options that are refused ----

def test_sections_that_are_refused(runs, plugin_path):
    life = plugin_path("life")
    done = runs.check([("a", {"file": life}), ("a", {"file": life})])
    assert done.returncode == 1 and "[plugin a]: the section began already in line" in done.stderr
    for name in ("a b", "a.b", "x" * 33, ""):
        done = runs.check({name: {"file": life}})
        assert done.returncode == 1, name
        assert f"[plugin {name}]: no name of a plugin; allowed: letters, digits, _ and -, at most 32" in done.stderr
    done = runs.check({f"a{n}": {"file": life} for n in range(33)})
    assert done.returncode == 1 and "[plugin a32]: one plugin too many; allowed: 32" in done.stderr
    assert runs.check({f"a{n}": {"file": life} for n in range(32)}).returncode == 0
    done = runs.check({"a": {"file": life}}, "--set", "plugin.b.file=x")
    assert done.returncode == 1 and "--set plugin.b.file: unknown section" in done.stderr


OPTIONS = {
    ("number", "6"): "6 is out of range; allowed: a number from -5 to 5",
    ("number", "five"): '"five" is not a number; allowed: a number from -5 to 5',
    ("number", ""): "no value; allowed: a number from -5 to 5, or no such line",
    ("number", "99999999999999999999"): "99999999999999999999 is out of range",
    ("flag", "maybe"): '"maybe" is neither; allowed: on, off, true, false, yes or no',
    ("time", "10"): '"10" has no unit (ms, s, m or h); allowed: a duration from 10ms to 1m',
    ("time", "9ms"): "9ms is out of range; allowed: a duration from 10ms to 1m",
    ("room", "-1B"): "-1B is out of range; allowed: a size from 0",
    ("room", "1KB"): '"1KB" has an unknown unit (B, KiB, MiB or GiB)',
    ("full", "bloc"): '"bloc" is none of them; allowed: drop, block or refuse',
    ("full", "drop block"): '"drop block" is none of them',
    ("key", "env:NO_SUCH_NAME"): "the environment variable NO_SUCH_NAME is not set; allowed: a secret, env:NAME",
    ("key", "file:./none"): "none",
    ("key", "abc ; def"): "a ; after a blank: end of the secret or part of it?",
    ("colour", "red"): "unknown key; allowed: file, on_error, order, text, number, flag",
}


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: "-".join(option).replace(" ", "_"))
def test_options_that_are_refused(runs, plugin_path, option):
    key, value = option
    done = runs.check({"a": {"file": plugin_path("options"), "key": "x"} | {key: value}})
    assert done.returncode == 1
    place = runs.line(f"{key} = {value}".rstrip())
    assert f"{place}: [plugin a] {key}: " in done.stderr and OPTIONS[option] in done.stderr, done.stderr
    assert "option text" not in done.stderr  # it was not opened


def test_options_that_are_missing_or_too_many(runs, plugin_path):
    options = plugin_path("options")
    done = runs.check({"a": {"file": options}})
    assert done.returncode == 1
    assert f"{runs.line('file')}: [plugin a] key: not set, but mandatory; allowed: a secret" in done.stderr
    done = runs.check({"a": {"file": options, "key": ["x", "y"]}})
    assert done.returncode == 1
    assert f"{runs.line('key = y')}: [plugin a] key: given already at {runs.line('key = x')}" in done.stderr


def test_what_options_become(runs, plugin_path):
    runs.environment["A_SECRET"] = "from outside"
    (runs.folder / "secret").write_text("from a file\n")
    options = {"file": plugin_path("options"), "key": "env:A_SECRET", "number": "5  ; a comment", "flag": "Yes",
               "time": "1m", "room": "2KiB", "full": "refuse", "path": "x/y", "item": ["b", "a", '"c ; d"']}
    done = runs.check({"a": options}, "--set", "plugin.a.text=u=v", "--set", "plugin.a.path=z")
    assert done.returncode == 0, done.stderr
    for key, text, number, place in (("text", "u=v", 0, "--set"), ("number", "5", 5, None), ("flag", "Yes", 1, None),
                                     ("time", "1m", 60000, None), ("room", "2KiB", 2048, None),
                                     ("full", "refuse", 2, None), ("path", "z", 0, "--set"),
                                     ("key", "from outside", 0, None)):
        place = place or runs.line(f"{key} = ")
        assert f"option {key} = [{text}] {number} {place}\n" in done.stderr
    assert f"option item = [b\na\nc ; d] 0 {runs.line('c ; d')}\n" in done.stderr
    done = runs.check({"a": {"file": plugin_path("options"), "key": "file:secret"}})
    for expected in ("text = [a text] 0 -", "number = [-1] -1 -", "flag = [off] 0 -", "time = [1s] 1000 -",
                     "room = [not set] 0 -", "full = [block] 1 -", "path = [not set] 0 -", "item = [not set] 0 -",
                     f"key = [from a file] 0 {runs.line('key')}"):
        assert f"option {expected}\n" in done.stderr, done.stderr


def test_paths_count_from_the_file(runs, plugin_path):
    (runs.folder / "etc").mkdir()
    runs.ini = runs.folder / "etc" / "plugins.ini"
    runs.with_plugins({"a": {"file": plugin_path("options"), "key": "x", "path": "map.ini"}}, "--version")
    done = runs.run("-c", "etc/plugins.ini", "--check-config")
    assert done.returncode == 0 and "option path = [etc/map.ini] 0 " in done.stderr, done.stderr


def test_print_config_hides_secrets(runs, plugin_path):
    plugins = {"a": {"file": plugin_path("options"), "key": "hush", "number": 3, "item": ["p", "q"]}}
    done = runs.with_plugins(plugins, "--print-config")
    assert done.returncode == 0, done.stderr
    assert "hush" not in done.stdout + done.stderr
    text = done.stdout[done.stdout.index("[plugin a]"):]
    for line in (f"file = {plugin_path('options')}  ; from {runs.line('file')}", "on_error = deny  ; default",
                 "order = 0  ; default", f"key = ***  ; from {runs.line('key')}",
                 f"number = 3  ; from {runs.line('number')}", f"item = q  ; from {runs.line('item = q')}"):
        assert line in text.splitlines(), line
    assert "option text" not in done.stderr  # it was not opened


# ---- depends ----

def test_depends(runs, plugin_path):
    life = plugin_path("life")
    needy = plugin_path("life", '-DPLUGIN_NAME="needy"', '-DPLUGIN_DEPENDS=" life  other "')
    other = plugin_path("life", '-DPLUGIN_NAME="other"', '-DPLUGIN_DEPENDS="needy"')
    plain = plugin_path("life", '-DPLUGIN_NAME="other"')
    assert runs.check({"a": {"file": life}, "b": {"file": plain}, "c": {"file": needy}}).returncode == 0
    assert runs.check({"c": {"file": needy, "order": 1}, "a": {"file": life}, "b": {"file": plain}}).returncode == 0
    done = runs.check({"a": {"file": life}, "c": {"file": needy}})
    assert done.returncode == 1
    assert re.search(rf"{runs.line(needy)}: \[plugin c\] file: .*: plugin needy depends on plugin other, of which there "
                     "is no section", done.stderr)
    done = runs.check({"a": {"file": life}, "c": {"file": needy}, "b": {"file": plain, "order": 3}})
    assert done.returncode == 1
    assert "[plugin c] order: 0: plugin needy depends on other, which comes after it ([plugin b] has order 3)" in \
        done.stderr
    done = runs.check({"a": {"file": life}, "c": {"file": needy}, "b": {"file": other}})
    assert done.returncode == 1
    assert "plugins needy and other depend on each other: no order serves both" in done.stderr


# ---- failures of a plugin's own ----

def test_open_fails(runs, plugin_path):
    """What was opened is closed in reverse order, and nothing else is begun."""
    life = plugin_path("life")
    plugins = {"a": {"file": life}, "b": {"file": life}, "c": {"file": life, "fail_in": "open"}, "d": {"file": life}}
    for arguments in ((), ("--check-config",)):
        done = runs.with_plugins(plugins, *arguments)
        assert done.returncode == 1
        assert [f"{name} {what.split(',')[0]}" for name, what in said(done.stderr)] == \
            ["a open", "b open", "c open", "b close", "a close"]
        assert f"plugin c ({life}): open(): told to fail in open" in done.stderr


def test_worker_open_fails_for_the_second_worker(runs, plugin_path):
    life = plugin_path("life")
    plugins = {"a": {"file": life}, "b": {"file": life, "fail_in": "worker_open", "fail_worker": 1}}
    done = runs.with_plugins(plugins)
    assert done.returncode == 1
    assert [f"{name} {what.split(',')[0]}" for name, what in said(done.stderr)] == \
        ["a open", "b open", "a worker_open 0", "b worker_open 0", "a worker_open 1", "b worker_open 1",
         "a worker_close 1", "b worker_close 0", "a worker_close 0", "b close", "a close"]
    assert f"plugin b ({life}): worker_open() for worker 1: told to fail in worker_open" in done.stderr


async def test_close_that_hangs(make_bench, plugin_path):
    """The process ends all the same when shutdown_timeout (at least a second) is over, and says on whose account."""
    sections = {"plugin good": {"file": plugin_path("life")}, "proxy": {"shutdown_timeout": "0"},
                "plugin stuck": {"file": plugin_path("life"), "fail_in": "close"}}
    bench = await make_bench(fresh=True, sections=sections)
    bench.may_be_down = True
    bench.proxy.signal(signal.SIGTERM)
    assert await bench.proxy.wait() == 1
    bench.proxy.process = None
    assert "plugin stuck: close() has not come back within 1000 ms (shutdown_timeout): the process ends without it" in \
        bench.proxy.messages
    assert said_by(bench, "stuck")[-1] == "close" and "close" not in said_by(bench, "good")


async def test_second_signal_while_close_hangs(make_bench, plugin_path):
    sections = {"plugin stuck": {"file": plugin_path("life"), "fail_in": "close"}, "proxy": {"shutdown_timeout": "1h"}}
    bench = await make_bench(fresh=True, sections=sections)
    bench.may_be_down = True
    bench.proxy.signal(signal.SIGTERM)
    await bench.proxy.until_logged("life stuck: close")
    bench.proxy.signal(signal.SIGTERM)
    assert await asyncio.wait_for(bench.proxy.wait(), 10) == 1
    bench.proxy.process = None
    assert "second signal: ending at once" in bench.proxy.messages


async def test_open_that_hangs(make_bench, plugin_path):
    """Signals end a start, too: the first when shutdown_timeout is over, a second one at once."""
    sections = {"plugin stuck": {"file": plugin_path("life"), "fail_in": "stuck_open"},
                "proxy": {"shutdown_timeout": "1h"}}
    bench = await make_bench(fresh=True, wait=False, sections=sections)
    bench.may_be_down = True
    await bench.proxy.until_logged("life stuck: open")
    bench.proxy.signal(signal.SIGINT)
    bench.proxy.signal(signal.SIGTERM)
    assert await asyncio.wait_for(bench.proxy.wait(), 10) == 1
    bench.proxy.process = None
    assert "second signal: ending at once" in bench.proxy.messages


async def test_hook_that_hangs(make_bench, plugin_path):
    """A worker that a hook does not come back to does not keep the process either."""
    sections = {"plugin tar": {"file": plugin_path("stuck")}, "proxy": {"shutdown_timeout": "0"}}
    bench = await make_bench(fresh=True, sections=sections)
    bench.may_be_down = True
    client = await bench.client()
    client.send_query("SELECT a FROM ks.t")
    await bench.proxy.until_logged("\nstuck")
    bench.proxy.signal(signal.SIGTERM)
    assert await bench.proxy.wait() == 1
    bench.proxy.process = None
    assert re.search(r"plugin tar: a hook has not come back to worker \d within 1000 ms \(shutdown_timeout\)",
                     bench.proxy.messages)


@pytest.mark.parametrize("what,flags", [("page", ()), ("timer", ("-DTIMER",))])
async def test_what_hangs_in_main(make_bench, plugin_path, what, flags):
    """The main thread waits for a page or a timer: the signal is seen, and the process ends without it."""
    sections = {"plugin tar": {"file": plugin_path("stuck", *flags)}, "proxy": {"shutdown_timeout": "0"}}
    bench = await make_bench(fresh=True, wait=False, sections=sections)
    bench.may_be_down = True
    page = None
    if what == "page":
        await bench.proxy.until_logged("ready for CQL clients")
        page = asyncio.ensure_future(bench.proxy.get("/stuck"))
    await bench.proxy.until_logged("\nstuck")
    bench.proxy.signal(signal.SIGTERM)
    assert await bench.proxy.wait() == 1
    bench.proxy.process = None
    if page:
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await page
    assert f"plugin tar: a {what} has not come back within 1000 ms (shutdown_timeout)" in bench.proxy.messages


# ---- what is built and installed ----

@pytest.mark.parametrize("name", ["audit", "auth_map", "prometheus", "sample"])
def test_shipped_plugins(runs, plugin_path, name):
    """Each exports its one symbol, and --plugin-info knows it by its name."""
    path = plugin_path(name)
    done = subprocess.run(["nm", "-D", "--defined-only", path], capture_output=True, text=True, timeout=RUN_LIMIT)
    assert [line.split()[-1] for line in done.stdout.splitlines()] == ["cqlferry_plugin"]
    done = runs.run("--plugin-info", path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1] == f"name: {name}"


def test_pkg_config(runs):
    """cqlferry-plugin.pc says where the header is, and the folder that the program looks for plugins in."""
    pc = Path(binary()).resolve().parent / "cqlferry-plugin.pc"

    def ask(what):
        return subprocess.run(["pkg-config", what, str(pc)], capture_output=True, text=True, check=True,
                              timeout=RUN_LIMIT).stdout.strip()
    assert ask("--modversion") in runs.run("--version").stdout
    assert re.fullmatch(r"-I/.*/include|", ask("--cflags"))  # nothing where the compiler looks anyway
    done = runs.check({"a": {"file": "none.so"}})
    assert f"[plugin a] file: {ask('--variable=plugindir')}/none.so: No such file" in done.stderr
