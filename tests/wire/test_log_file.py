"""[log] file: where the lines go, and SIGUSR1, by which logrotate has it opened anew."""
import os
import signal
import stat

import pytest

from helpers import assert_alive

pytestmark = pytest.mark.native


@pytest.fixture
def log_bench(make_bench, tmp_path):
    async def make(**more):
        def configure(bench):
            bench.sections["log"] = {"file": tmp_path / "ferry.log"}
        return await make_bench(fresh=True, configure=configure, **more)
    return make


async def until_in(bench, path, words):
    async def there():
        return path.exists() and words in path.read_text()
    await bench.proxy.until(there, f"{words!r} in {path}")


async def test_lines_go_to_the_file(log_bench, tmp_path):
    """Standard error says where they go; the file is made for its owner and group, and appended to."""
    path = tmp_path / "ferry.log"
    path.write_text("what was there\n")
    bench = await log_bench()
    text = path.read_text()
    assert text.startswith("what was there\n") and "ready for CQL clients" in text
    assert f"the log goes on in {path}" in bench.proxy.messages
    assert "ready for CQL clients" not in bench.proxy.messages
    assert " INFO " in text and "cqlferry 0" in text


async def test_logrotate(log_bench, tmp_path):
    """Moved away and SIGUSR1: a new file with mode 0640 takes the lines, the old one gets no more."""
    old = os.umask(0o022)
    try:
        bench = await log_bench()
    finally:
        os.umask(old)
    path, moved = tmp_path / "ferry.log", tmp_path / "ferry.log.1"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.rename(moved)
    c = await bench.client()
    await until_in(bench, moved, "client")
    bench.proxy.signal(signal.SIGUSR1)
    await until_in(bench, path, f"SIGUSR1: {path} was opened again")
    size = moved.stat().st_size
    await assert_alive(c, bench)
    await c.close()
    await until_in(bench, path, "closed after")
    assert moved.stat().st_size == size


async def test_a_file_that_cannot_be_opened_again(log_bench, tmp_path):
    """The lines go on in the old one, which says so."""
    bench = await log_bench()
    path, moved = tmp_path / "ferry.log", tmp_path / "ferry.log.1"
    path.rename(moved)
    path.mkdir()
    bench.proxy.signal(signal.SIGUSR1)
    await until_in(bench, moved, f"SIGUSR1: cannot write the log to {path}: Is a directory; the log goes on")
    await bench.client()
    await until_in(bench, moved, "client")


@pytest.mark.parametrize("name,why", [("none/ferry.log", "No such file or directory"), (".", "Is a directory")])
async def test_a_file_that_cannot_be_opened_at_the_start(make_bench, tmp_path, name, why):
    def configure(bench):
        bench.sections["log"] = {"file": tmp_path / name}
    bench = await make_bench(fresh=True, configure=configure, wait=False)
    await bench.proxy.never_ready(f"cannot write the log to .*: {why}", exit_code=1)
    bench.may_be_down = True


async def test_without_a_file(make_bench):
    bench = await make_bench(fresh=True)
    bench.proxy.signal(signal.SIGUSR1)
    await bench.proxy.until_logged("SIGUSR1: no file is written")
    await assert_alive(await bench.client(), bench)


async def test_a_reload_moves_the_log(make_bench, tmp_path):
    """From standard error to a file, to another one, and back; a file that cannot be opened refuses the reload."""
    bench = await make_bench(fresh=True)
    first, second = tmp_path / "first.log", tmp_path / "second.log"
    bench.sections["log"] = {"file": first}
    bench.proxy.write_ini(bench.ini())
    bench.proxy.signal(signal.SIGHUP)
    await bench.proxy.until_logged(f"the log goes on in {first}")
    await until_in(bench, first, "the configuration was reloaded")
    for name in (second, tmp_path / "none" / "x.log", None):
        bench.sections["log"]["file"] = name
        bench.proxy.write_ini(bench.ini())
        bench.proxy.signal(signal.SIGHUP)
        if name == second:
            await until_in(bench, second, "the configuration was reloaded")
        elif name:
            await until_in(bench, second, "the configuration was not reloaded")
        else:
            await bench.proxy.until_logged("the configuration was reloaded: 1 setting changed")
    assert first.read_text().count("SIGHUP") == 1 and "not reloaded" not in first.read_text()
    assert "the log goes on in standard error" in second.read_text()


async def test_a_pipe_without_a_reader(make_bench, tmp_path):
    """A FIFO that nobody reads must not hang the start."""
    os.mkfifo(tmp_path / "pipe")

    def configure(bench):
        bench.sections["log"] = {"file": tmp_path / "pipe"}
    bench = await make_bench(fresh=True, configure=configure, wait=False)
    await bench.proxy.never_ready("cannot write the log to .*/pipe: No such device", exit_code=1)
    bench.may_be_down = True
