"""Texts whose function calls are replaced, before Cassandra's own parsers.

What a Cassandra takes must still be the same statement, with our markers where we believe them to be; what it refuses
must still be refused. This is what the count of markers to the left of a call stands on.
"""

import collections
import os
import random
import re

import pytest

import corpus
from test_classify import LINES, ROOT, Theirs, classes, parser, run  # noqa: F401: fixtures

# %c: a call, bare or in something; %m: a marker or a constant; %k: a key, as %c or %m.
TEMPLATES = [
    "INSERT INTO ks.t (a, b, c) VALUES (%m, %c, %m)", "INSERT INTO t (a) VALUES (%c) USING TTL %l",
    "INSERT INTO t (a, b) VALUES (%c, %m) IF NOT EXISTS USING TIMESTAMP %l AND TTL %l",
    "INSERT INTO t(a,b,c)VALUES(%c,%m,%c)", "UPDATE t SET a = %c, b = %m WHERE k = %k",
    "UPDATE t USING TTL %l SET a = %m, b = %c WHERE k = %k AND c IN (%m, %c)", "UPDATE t SET a=%cWHERE k=%kAND c=%m",
    "UPDATE t SET m[%k] = %c, l = l + %m WHERE k = %m", "UPDATE t SET l = %c + l, s = s - %c WHERE k = %m",
    "UPDATE t SET u.f = %c WHERE k = %m AND (c, d) = (%m, %c)", "UPDATE t SET a = %m WHERE (c, d) IN ((%m, %c), (%c, %m))",
    "UPDATE t SET a = %m WHERE k = %m IF a = %c AND m[%c] != %m AND b IN (%m, %c) AND u.f > %c",
    "UPDATE t SET a = %c WHERE k = %m IF EXISTS", "UPDATE t SET a += %c WHERE token(k) > token(%c, %m)",
    "UPDATE t SET a = %m WHERE k IN (%c) AND (c) = (%c) IF b IN (%c) AND s CONTAINS %c", "UPDATE t SET a = %c + %c WHERE k=%m",
    "UPDATE t SET a = (%c, %c) WHERE (c, d) IN ((%c, %m)) AND (e) IN ((%c)) IF l[%m] = %c AND m CONTAINS KEY %c",
    "DELETE FROM t WHERE k = %c", "DELETE a, m[%c], l[%m] FROM ks.t USING TIMESTAMP %l WHERE k = %k AND c < %c IF a = %c",
    "DELETE FROM t WHERE k = %m AND c > %c AND c <= %m", "DELETE FROM t WHERE k IN %m AND c = %c",
    "BEGIN BATCH INSERT INTO t (a, b) VALUES (%m, %c); UPDATE t SET a = %c WHERE k = %m; APPLY BATCH",
    "BEGIN UNLOGGED BATCH USING TIMESTAMP %l DELETE m[%c] FROM t WHERE k = %m INSERT INTO t (a) VALUES (%c) APPLY BATCH;",
    "BEGIN COUNTER BATCH UPDATE t USING TTL %l SET n = n + 1 WHERE k = %c; APPLY BATCH",
    "INSERT INTO t (a, /* %c ? */ b) VALUES ('%c ?', %c) -- %c ?\n",
    "UPDATE \"%c\" SET \"now()\" = %c, now = %m WHERE uuid = $$ %c ? $$",
]
CALLS = ["now()", "NOW()", "uuid()", "currentTimestamp()", "current_date()", "currentTime()", "system.now()", "now ( )",
         '"now"()', '"system"."uuid"()', "current_timeuuid/**/()", "now(--\n)"]
AROUND = [
    "%s", "%s", "%s", "%s", "toTimestamp(%s)", "f(%m, %s)", "ks.f(g(%s), %m, %s)", "(timeuuid)%s", "(timeuuid) %s", "[%s, %m]",
    "[%s]", "{%s}", "{%m, %s, %s}", "{'k': %s}", "{'k':%s,%m:%s}", "{%s:%m}", "{%m: %s}", "{a: %s}", "{a:%s,b:%m}",
    "{a:{b:%s,c:[%m]},d:(%s,%m)}", "(%s, %m)", "(%m,%s)", "((%m, %s), {%s: %m})", "(frozen<list<uuid>>)[%s]",
    "{(text)'a':%s}", "{(1,%m):%s}", "%s - 2d", "%s + %m", "(int)%s", "{now:%s}", "{\"now\":%s}", "[[%s],[%m]]",
    "ks.now()", "now(%s)", '"NOW"()', "now(%m)", "random()",
]
NUMBER = 4000


def texts():
    """Deterministic; a third each with "?", with names, and without markers."""
    chance = random.Random(7)

    def fill(text, markers):
        out = ""
        while "%" in text:
            before, _, rest = text.partition("%")
            slot, text = rest[0], rest[1:]
            if slot == "k":
                slot = chance.choice("cm")
            if slot == "c":
                around = chance.choice(AROUND).replace("%s", "\0")
                text = around.replace("\0", "%s") + text
                out += before
                continue
            if slot == "s":
                out += before + chance.choice(CALLS)
            else:
                out += before + chance.choice(markers[slot == "l"])
        return out + text

    question = (["?", "?", "1", "'é ?'"], ["?", "5"])
    named = ([":a", ":now", ':"B c"', ": d", "1", "'é :a'"], [":ttl", "5"])
    constant = (["1", "'€'", "null", "'x'"], ["5"])
    seen = set()
    for number in range(NUMBER):
        text = fill(TEMPLATES[number % len(TEMPLATES)], (question, named, constant)[number // len(TEMPLATES) % 3])
        if text not in seen:
            seen.add(text)
            yield text
    for _, text in corpus.texts():
        if "now" in text.lower() and text not in seen:
            yield text


TEXTS = list(texts())
Ours = collections.namedtuple("Ours", "calls markers positions prepared literal")


@pytest.fixture(scope="session")
def ours():
    program = os.environ.get("REWRITTEN") or ROOT / "tests" / "classify" / "rewritten"
    return [Ours(*columns) for columns in run([str(program)], TEXTS)]


def text_of(column):
    return bytes.fromhex(column).decode()


@pytest.fixture(scope="module", params=LINES)
def views(request, ours, parser):
    """For each text with calls: it, what we know of it, and what a Cassandra makes of its three forms."""
    found = [(text, our) for text, our in zip(TEXTS, ours) if our.calls != "0"]
    forms = [form for text, our in found for form in (text, text_of(our.prepared), text_of(our.literal))]
    theirs = [Theirs(*columns) for columns in run(parser(request.param), forms)]
    return [(text, our, theirs[3 * i:3 * i + 3]) for i, (text, our) in enumerate(found)]


def names(theirs):
    return [] if theirs.variables == "-" else theirs.variables.split(",")


def difference(our, original, prepared, literal):
    if original.name == "refused":
        # A type in front of a call may be refused where the call was; nothing may be accepted that was not.
        return None if (prepared.name, literal.name) == ("refused", "refused") else "what was refused is taken"
    for form in (prepared, literal):
        if form[:5] != original[:5]:
            return "it is another statement: %s" % " ".join(form)
    if len(names(original)) != int(our.markers):
        return "%d markers, and %s for us" % (len(names(original)), our.markers)
    if names(literal) != names(original):
        return "the literal form has other markers"
    positions = [int(p) for p in our.positions.split(",")]
    rest = [name for at, name in enumerate(names(prepared)) if at not in positions]
    mine = [name for at, name in enumerate(names(prepared)) if at in positions]
    if rest != names(original) or len(mine) != int(our.calls):
        return "our markers are not at %s: %s" % (our.positions, prepared.variables)
    is_named = any(name != "?" for name in names(original))
    wanted = ["zdm__now" if i == 0 else "zdm__now_%d" % (i + 1) for i in range(len(mine))]
    if mine != ([name.encode().hex() for name in wanted] if is_named else ["?"] * len(mine)):
        return "our markers are called %s" % mine
    return None


def test_rewritten_texts(views):
    wrong = [(difference(our, *theirs), text, text_of(our.prepared)) for text, our, theirs in views]
    wrong = ["%s:\n  %.400r\n  %.400r" % each for each in wrong if each[0]]
    assert not wrong, "%d of %d differ:\n%s" % (len(wrong), len(views), "\n".join(wrong[:30]))


def test_the_texts_say_something(views):
    taken = [our for _, our, (original, _, _) in views if original.name != "refused"]
    assert len(taken) >= 1500
    assert sum(int(our.calls) for our in taken) >= 3000
    assert sum(our.markers != "0" for our in taken) >= 800


def without_quotes(text):
    """The text with constants for strings, blanks for comments, x for quoted names that are neither now, uuid nor system."""
    def plain(match):
        piece = match.group()
        if piece[0] in "'$":
            return "1"
        return piece if piece in ('"now"', '"uuid"', '"system"') else "x" if piece[0] == '"' else " "
    return re.sub(r"'(?:[^']|'')*'|\$\$.*?\$\$|--[^\n]*|/\*.*?\*/|\"[^\"]*\"", plain, text, flags=re.S)


def test_no_call_is_missed(ours):
    """Found by another way, a regular expression."""
    name = r"(?:now|uuid|current_?(?:timeuuid|timestamp|date|time))"
    call = re.compile(r'(?<![\w."])(?:(?:system|"system")\s*\.\s*)?(?:%s|"now"|"uuid")\s*\(\s*\)' % name, re.I)
    wrong = []
    for text, our in zip(TEXTS, ours):
        if re.match(r"(?:INSERT|UPDATE|DELETE|BEGIN)\b", text, re.I):
            expected = len(call.findall(without_quotes(text)))
            if expected != int(our.calls):
                wrong.append("%d, and %s for us: %r" % (expected, our.calls, text))
    assert not wrong, "\n".join(wrong[:20])
