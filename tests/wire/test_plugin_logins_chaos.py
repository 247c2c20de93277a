"""
Clients that behave as they like, and two plugins that decide by the throw of dice: whatever comes, each frame that waits has
one answer or the end of its connection, and at the end plugins have seen as many clients go as come, with nothing held.
"""
import asyncio
import random
import re

import pytest

from cqlwire import Closed, Op, requests
from cqlwire.requests import auth_response, plain_token
from fakecluster import Auth, DSE_AUTHENTICATOR

USERS = {"proxy": "proxy-password", "role": "word", "client": "own"}
CLIENTS = 120


async def visit(bench, dice):
    """True when it came to READY."""
    try:
        c = await bench.open(dice.choice([3, 4, 5]))
    except (OSError, TimeoutError):
        return False
    try:
        if dice.random() < 0.1:
            c.send(Op.OPTIONS)
        if dice.random() < 0.1:
            c.abort()
            return False
        asked = asyncio.ensure_future(c.startup(dice.choice([None, "lz4"])))
        if dice.random() < 0.1:
            await asyncio.sleep(dice.random() * 0.02)
            c.abort()
        answer = await asked
        for _ in range(4):
            if answer.opcode != Op.AUTHENTICATE and answer.opcode != Op.AUTH_CHALLENGE and not answer.is_error():
                break
            token = dice.choice([plain_token("client", "own")] * 5 + [plain_token("client", "wrong"), b"PLAIN",
                                                                      plain_token("", "x"), b"\x60\xffticket"])
            stream = c.send(Op.AUTH_RESPONSE, auth_response(token))
            if dice.random() < 0.05:
                c.abort()
            answer = await c.answer(stream)
        if answer.opcode not in (Op.READY, Op.AUTH_SUCCESS):
            return False
        answer = await c.query("INSERT INTO ks.t (k) VALUES (1)")
        assert not answer.is_error(), answer
        return True
    except (Closed, OSError):
        return False
    finally:
        c.received.clear()
        await c.close()
        bench.clients.remove(c)


@pytest.mark.parametrize("seed,wants", [(1, ""), (2, "target"), (3, "both"), (4, "dse")])
async def test_whims(make_bench, plugin_path, seed, wants):
    sections = {f"plugin p{i}": {"file": plugin_path("whims"), "seed": seed * 10 + i, "on_error": on_error}
                for i, on_error in enumerate(("deny", "pass"))}
    sections["proxy"] = {"handshake_timeout": "2s"}
    auth = {"auth": Auth(USERS)}
    dse = {"auth": Auth(USERS, authenticator=DSE_AUTHENTICATOR, two_step=True)}
    clusters = {"": {}, "target": {"target": auth}, "both": {"origin": auth, "target": auth},
                "dse": {"origin": dse, "target": auth}}[wants]
    bench = await make_bench(fresh=True, sections=sections, **clusters)
    dice = random.Random(seed)
    ready = 0
    for _ in range(4):
        ready += sum(await asyncio.gather(*(visit(bench, dice) for _ in range(CLIENTS // 4))))
    await bench.proxy.until_metric("zdm_client_connections_total", 0)
    bench.may_be_down = True
    await bench.proxy.stop()
    said = re.findall(r"^whims p(\d): came (\d+) gone (\d+) here (-?\d+) held (\d+) again (\d+) kept (\d+) "
                      r"logins (\d+) (\d+) (\d+) (\d+)$", bench.proxy.log, re.M)
    assert len(said) == 2
    for name, *numbers in said:
        came, gone, here, held, again, kept, ok, *_ = map(int, numbers)
        assert gone >= came if name == "1" else gone == came  # who is accepted by the first one goes without having come
        assert held > 10 and again > 5 and kept == 0
        assert ok >= ready > 5
