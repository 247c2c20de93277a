"""SIGHUP and SIGUSR1 with plugins: all of them take over their new options, or none does."""
import asyncio
import os
import re
import shutil
import signal


def said(text, name="[a-z]+"):
    """What the fixture `life` says was called: (instance, what)."""
    return re.findall(rf"^life ({name}): (.*)$", text, re.M)


async def test_reload(make_bench, plugin_path):
    """reload(), then worker_reload() in each worker, then reload_end(1); also when no option has changed."""
    bench = await make_bench(fresh=True, sections={"plugin a": {"file": plugin_path("life")}})
    text = await bench.reload(**{"plugin a": {"word": "new"}})
    calls = [what for _, what in said(text)]
    assert calls[0] == "reload, word new"
    assert sorted(calls[1:3]) == ["worker_reload 0, word new", "worker_reload 1, word new"]
    assert calls[3:] == ["reload_end 1, word new"]
    assert "[plugin a] word: new, was not set" in text
    text = await bench.reload()
    assert [what for _, what in said(text)][0] == "reload, word new"
    assert said(text)[-1] == ("a", "reload_end 1, word new")
    assert "no setting changed, plugins were reloaded" in text
    text = await bench.reload(**{"plugin a": {"word": None}})
    assert said(text)[-1] == ("a", "reload_end 1, word none")


async def test_one_plugin_cannot(make_bench, plugin_path):
    """Those that have made a new state throw it away, and nothing has changed; the next reload is like any other."""
    life = plugin_path("life")
    sections = {"plugin a": {"file": life}, "plugin b": {"file": life}, "plugin c": {"file": life}}
    bench = await make_bench(fresh=True, sections=sections)
    text = await bench.reload("refused", **{"plugin a": {"word": "new"}, "plugin b": {"fail_in": "reload"}})
    assert said(text) == [("a", "reload, word new"), ("b", "reload, word none"), ("a", "reload_end 0, word none")]
    assert f"plugin b ({life}): reload(): told to fail in reload" in text
    text = await bench.reload(**{"plugin b": {"fail_in": "nothing"}})
    assert said(text)[-3:] == [("a", "reload_end 1, word new"), ("b", "reload_end 1, word none"),
                               ("c", "reload_end 1, word none")]


async def test_something_else_cannot(make_bench, plugin_path, tmp_path):
    """Plugins are asked when all else is there, and what they have made goes when the log file cannot be opened."""
    bench = await make_bench(fresh=True, sections={"plugin a": {"file": plugin_path("life")}})
    text = await bench.reload("refused", log={"file": str(tmp_path / "none" / "x.log")})
    assert said(text) == [("a", "reload, word none"), ("a", "reload_end 0, word none")]
    text = await bench.reload("refused", log={"file": None}, proxy={"request_timeout": "now"})
    assert said(text) == []


async def test_what_needs_a_restart(make_bench, plugin_path):
    life = plugin_path("life")
    sections = {"plugin a": {"file": life}, "plugin b": {"file": life}}
    bench = await make_bench(fresh=True, sections=sections)
    for key, value in (("file", plugin_path("swap")), ("on_error", "pass"), ("order", 1), ("fail_worker", 1)):
        before = bench.sections["plugin a"].get(key)
        text = await bench.reload("refused", **{"plugin a": {key: value}})
        assert re.search(rf"1 changed setting needs a restart: .*\.ini:\d+: \[plugin a\] {key}: {value}, was ", text)
        assert said(text) == []
        bench.sections["plugin a"][key] = before
    sections = bench.sections
    moved = {"plugin b": sections["plugin b"], "plugin a": sections["plugin a"]}
    for others in (moved, {"plugin a": {"file": life}}, sections | {"plugin c": {"file": life}}):
        bench.sections = others
        text = await bench.reload("refused")
        assert "the [plugin] sections are not those of the start" in text
        assert said(text) == []
    bench.sections = sections
    await bench.reload()


async def test_options_that_are_wrong(make_bench, plugin_path):
    """As at the start, the message says where and what is allowed."""
    sections = {"plugin a": {"file": plugin_path("options"), "key": "top secret"}}
    bench = await make_bench(fresh=True, sections=sections)
    for key, value, what in (("full", "blok", '"blok" is none of them; allowed: drop, block or refuse'),
                             ("colour", "red", "unknown key; allowed: file"),
                             ("key", "env:NO_SUCH_NAME", "the environment variable NO_SUCH_NAME is not set"),
                             ("key", None, "not set, but mandatory")):
        text = await bench.reload("refused", **{"plugin a": {key: value}})
        assert re.search(rf"\.ini:\d+: \[plugin a\] {key}: {re.escape(what)}", text), text
        assert "option text" not in text
        bench.sections["plugin a"] = {"file": plugin_path("options"), "key": "top secret"}
    text = await bench.reload(**{"plugin a": {"key": "another secret", "flag": "on"}})
    assert "[plugin a] key: ***, was ***" in text and "[plugin a] flag: on, was not set" in text
    ours = "".join(line for line in bench.proxy.log.splitlines() if not line.startswith("option "))
    assert "top secret" not in ours and "another secret" not in ours


async def test_options_under_load(make_bench, plugin_path):
    """
    Each request is judged by an old state or a new one, never by one that was freed; no client sees an older one behind
    a newer one; and when the reload is over all workers use the new one.
    """
    bench = await make_bench(fresh=True, sections={"plugin a": {"file": plugin_path("swap"), "word": "0"}})
    clients = [await bench.client() for _ in range(6)]
    is_over = False

    async def ask(client):
        seen = []
        while not is_over:
            answer = await client.query("SELECT a FROM ks.t")
            assert answer.is_error()
            seen.append(int(answer.text))
        return seen
    tasks = [asyncio.ensure_future(ask(client)) for client in clients]
    for number in range(1, 21):
        await bench.reload(**{"plugin a": {"word": number}})
        answer = await asyncio.gather(*[client.query("SELECT a FROM ks.u") for client in clients])
        assert {int(a.text) for a in answer} == {number}
    is_over = True
    for seen in await asyncio.gather(*tasks):
        assert seen == sorted(seen) and len(set(seen)) > 10
    for cluster in bench.clusters:
        assert not [r for r in cluster.received if "FROM ks." in repr(r)]


async def test_watch_in_a_reload(make_bench, plugin_path):
    """What watch() says in reload() counts when all plugins could reload, and not before."""
    sections = {"plugin a": {"file": plugin_path("swap"), "word": "denied"},
                "plugin b": {"file": plugin_path("life")}}
    bench = await make_bench(fresh=True, sections=sections)
    client = await bench.client()

    async def denied():
        read = await client.query("SELECT a FROM ks.t")
        write = await client.query("INSERT INTO ks.t (a) VALUES (1)")
        return read.is_error(), write.is_error()
    assert await denied() == (True, True)
    await bench.reload(**{"plugin a": {"kinds": "reads"}})
    assert await denied() == (True, False)
    await bench.reload("refused", **{"plugin a": {"kinds": "none"}, "plugin b": {"fail_in": "reload"}})
    assert await denied() == (True, False)
    await bench.reload(**{"plugin a": {"kinds": "writes"}, "plugin b": {"fail_in": "nothing"}})
    assert await denied() == (False, True)
    await bench.reload(**{"plugin a": {"kinds": "none"}})
    assert await denied() == (False, False)


async def test_end_in_the_middle_of_reloads(make_bench, plugin_path):
    """SIGTERM behind SIGHUP: whatever of the reload was done, all is closed, and freed once."""
    bench = await make_bench(fresh=True, sections={"plugin a": {"file": plugin_path("swap")}})
    bench.may_be_down = True
    for _ in range(3):
        bench.proxy.signal(signal.SIGHUP)
        bench.proxy.signal(signal.SIGTERM)
        await bench.proxy.stop()
        await bench.start_proxy()
    await bench.proxy.stop()


async def test_file_that_was_replaced(make_bench, plugin_path, tmp_path):
    """Code stays as it is, which is said; a reload of options is none the worse for it."""
    shutil.copy(plugin_path("life"), tmp_path / "mine.so")
    bench = await make_bench(fresh=True, sections={"plugin a": {"file": str(tmp_path / "mine.so")}})
    assert "is another file" not in await bench.reload()
    shutil.copy(plugin_path("swap"), tmp_path / "new.so")
    os.rename(tmp_path / "new.so", tmp_path / "mine.so")
    text = await bench.reload(**{"plugin a": {"word": "new"}})
    assert f"plugin a: {tmp_path}/mine.so is another file than at the start; its code is taken over by a restart" in text
    assert said(text)[-1] == ("a", "reload_end 1, word new")
    text = await bench.reload("refused", **{"plugin a": {"option_of_the_new_one": "1"}})
    assert "is another file than at the start" in text and "option_of_the_new_one: unknown key" in text


async def test_signal_while_a_plugin_reloads(make_bench, plugin_path):
    """SIGTERM waits until reload() is back, and drains then; if that takes longer than shutdown_timeout, the process ends."""
    sections = {"plugin a": {"file": plugin_path("life")}, "proxy": {"shutdown_timeout": "0"}}
    bench = await make_bench(fresh=True, sections=sections)
    bench.may_be_down = True
    for how, code in (("slow_reload", 0), ("stuck_reload", 1)):
        bench.sections["plugin a"]["fail_in"] = how
        bench.proxy.write_ini(bench.ini())
        bench.proxy.signal(signal.SIGHUP)
        await bench.proxy.until_logged("life a: reload")
        bench.proxy.signal(signal.SIGTERM)
        assert await bench.proxy.wait() == code
        assert ("SIGTERM: draining 0 clients" in bench.proxy.messages) == (code == 0)
        bench.sections["plugin a"]["fail_in"] = "nothing"
        if code == 0:
            assert said(bench.proxy.messages)[-1] == ("a", "close")
            await bench.start_proxy()
    bench.proxy.process = None
    assert "plugin a: reload() has not come back within 1000 ms (shutdown_timeout)" in bench.proxy.messages


async def test_files_opened_again(make_bench, plugin_path):
    sections = {"plugin a": {"file": plugin_path("life")}, "plugin b": {"file": plugin_path("swap")}}
    bench = await make_bench(fresh=True, sections=sections)
    bench.proxy.signal(signal.SIGUSR1)
    await bench.proxy.until_logged("SIGUSR1: 1 plugin was told to open files again")
    assert said(bench.proxy.messages)[-1] == ("a", "reopen")
