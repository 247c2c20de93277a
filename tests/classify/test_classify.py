"""Our scanner against Cassandra's own parsers, over some thousand texts (corpus.py).

What a Cassandra takes for a statement must be the same statement for us: kind, keyspace, table, conditional or not.
What it refuses may be anything that does no harm: a read, which goes to one cluster only, just where the text begins
like one.
"""

import collections
import os
import pathlib
import re
import subprocess
import sys

import pytest

import corpus

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "cluster"))

import nodes  # noqa: E402

LINES = ["5.0", "4.1", "3.11"]
TEXTS = list(corpus.texts())
GROUPS = sorted({group for group, _ in TEXTS})
TIMEOUT = 120

Ours = collections.namedtuple("Ours", "kind keyspace table flags from_offset tables")
Theirs = collections.namedtuple("Theirs", "name keyspace table conditional more variables tables")

# Class of Cassandra's -> our kind.
_KINDS = [
    (r"SelectStatement\$RawStatement", "select"),
    (r"UpdateStatement\$ParsedInsert(Json)?", "insert"),
    (r"UpdateStatement\$ParsedUpdate", "update"),
    (r"DeleteStatement\$Parsed", "delete"),
    (r"BatchStatement\$Parsed", "batch"),
    (r"UseStatement", "use"),
    (r"TruncateStatement", "truncate"),
    (r"((Create|Alter|Drop)(Role|User)|(Grant|Revoke)(Role|Permissions)|(Add|Drop)Identity)Statement", "role"),
    (r"(Create|Alter|Drop)(Keyspace|Table|Type|Index|View|Function|Aggregate|Trigger)Statement(\$.*)?", "schema"),
    (r"List(Roles|Users|Permissions|SuperUsers)Statement", "list"),
    (r"DescribeStatement(\$.*)?", "describe"),
]
_BLANK = re.compile(r"(?:[ \t\r\n]|(?:--|//)[^\n\r]*(?:[\n\r]|\Z)|/\*.*?\*/)*", re.DOTALL)


def expected_kind(name):
    for pattern, kind in _KINDS:
        if re.fullmatch(pattern, name):
            return kind
    raise AssertionError("a class of Cassandra's that _KINDS does not know: " + name)


def first_word(text):
    return re.match(r"\w*", text[_BLANK.match(text).end():], re.ASCII).group().lower()


def harmless(text, ours):
    """For texts that are refused: whether it goes to one cluster only where it says itself that it reads."""
    reads = {"select": ("select",), "list": ("list",), "describe": ("describe", "desc")}
    return ours.kind not in reads or first_word(text) in reads[ours.kind]


def _name(ours, theirs):
    if ours.endswith("+"):
        return len(ours) > 2 * 64 and theirs.startswith(ours[:-1])
    return ours == theirs or (ours == "-" and theirs == ".")


def _pairs(tables):
    """As a set; names as long as ours are kept."""
    pairs = [pair.split(":") for pair in tables.split(",") if pair not in ("-", "...")]
    return {tuple(name.rstrip("+")[:128].replace(".", "-") for name in pair) for pair in pairs}


def _reads_on_behind_numbers(text):
    """A keyword that Cassandra reads behind a number without a blank: our scan of batches says that it has not understood."""
    return re.search(r"[0-9a-f](insert|update|delete|apply)\b", text, re.I) is not None


def tables_differ(text, ours, theirs):
    if theirs.tables == "?":
        return False
    if ours.tables.endswith("...") and _reads_on_behind_numbers(text):
        return not _pairs(ours.tables) <= _pairs(theirs.tables)
    return ours.tables.endswith("...") or _pairs(ours.tables) != _pairs(theirs.tables)


def begins_with_name(text, name):
    return text[:1] == b'"' or text[:1].lower() == bytes.fromhex(name[:2])


def difference(text, ours, theirs):
    """What is wrong with our view of a text, or None."""
    if theirs.name == "refused":
        return None if harmless(text, ours) else "it is refused, and a %s for us" % ours.kind
    kind = expected_kind(theirs.name)
    if ours.kind != kind:
        return "it is a %s, and a %s for us" % (kind, ours.kind)
    named = kind in ("select", "insert", "update", "delete", "truncate", "use")
    keyspace, table = (theirs.keyspace, theirs.table) if named else ("-", "-")
    if not _name(ours.keyspace, keyspace) or not _name(ours.table, table):
        return "names %s.%s, for us %s.%s" % (keyspace, table, ours.keyspace, ours.table)
    flags = ("q" if named and keyspace != "-" else "") + ("c" if theirs.conditional == "1" else "")
    flags += {"COUNTER": "C", "UNLOGGED": "U"}.get(theirs.more.split(":")[0], "")
    if ours.flags.strip("-") != flags:
        return "flags %s, for us %s" % (flags, ours.flags)
    if tables_differ(text, ours, theirs):
        return "tables %s, for us %s" % (theirs.tables, ours.tables)
    first_name = keyspace if keyspace != "-" else table
    if kind == "select" and not begins_with_name(text.encode()[int(ours.from_offset):], first_name):
        return "the table does not begin at %s" % ours.from_offset
    return None


def run(command, texts):
    records = b"".join(b"%d\n%s" % (len(raw), raw) for raw in (text.encode() for text in texts))
    done = subprocess.run(command, input=records, capture_output=True, timeout=TIMEOUT)
    assert done.returncode == 0, "%s: exit status %d\n%s" % (command[0], done.returncode, done.stderr.decode()[-4000:])
    lines = done.stdout.decode().splitlines()
    assert len(lines) == len(texts)
    return [line.split(" ") for line in lines]


@pytest.fixture(scope="session")
def ours():
    program = os.environ.get("CLASSIFY") or ROOT / "tests" / "classify" / "classify"
    return [Ours(*columns) for columns in run([str(program)], [text for _, text in TEXTS])]


@pytest.fixture(scope="session")
def classes(tmp_path_factory):
    """The folder with CassandraParser.class. Cassandra brings a compiler for its functions: no JDK is needed."""
    folder = tmp_path_factory.mktemp("classes")
    compiler, = nodes.fetch("5.0").glob("ecj-*.jar")
    source = pathlib.Path(__file__).with_name("CassandraParser.java")
    subprocess.run([nodes.find_java(), "-cp", str(compiler), "org.eclipse.jdt.internal.compiler.batch.Main",
                    "-source", "11", "-target", "11", "-d", str(folder), str(source)], check=True, timeout=TIMEOUT)
    return folder


@pytest.fixture(scope="session")
def parser(classes):
    """The command that starts the parser of a version."""
    def command(line):
        return [nodes.find_java(), "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp",
                "%s:%s/*" % (classes, nodes.fetch(line)), "CassandraParser"]
    return command


@pytest.fixture(scope="session", params=LINES)
def theirs(request, parser):
    return [Theirs(*columns) for columns in run(parser(request.param), [text for _, text in TEXTS])]


@pytest.mark.parametrize("group", GROUPS)
def test_group(group, ours, theirs):
    compared = [(text, difference(text, a, b)) for (of, text), a, b in zip(TEXTS, ours, theirs) if of == group]
    assert compared
    wrong = ["%s: %.300r" % (what, text) for text, what in compared if what]
    assert not wrong, "%d of %d differ:\n%s" % (len(wrong), len(compared), "\n".join(wrong[:40]))


def test_the_corpus_says_something(theirs):
    """Enough texts of each kind that the parser takes, and enough that it refuses."""
    kinds = collections.Counter("refused" if t.name == "refused" else expected_kind(t.name) for t in theirs)
    assert sum(kinds.values()) >= 2000
    least = {"select": 500, "insert": 150, "update": 200, "delete": 150, "batch": 30, "truncate": 100, "use": 10,
             "schema": 80, "role": 30, "list": 10, "refused": 1000}
    assert {kind: kinds[kind] for kind, number in least.items() if kinds[kind] < number} == {}
    assert sum(t.conditional == "1" for t in theirs) >= 150


@pytest.mark.parametrize("wrong", [
    {"kind": "unknown"}, {"table": "75"}, {"keyspace": "-"}, {"flags": "-"}, {"flags": "qc"}, {"from_offset": "7"},
])
def test_the_comparison_sees_a_difference(wrong):
    text = "SELECT a FROM ks.t"
    theirs = Theirs("SelectStatement$RawStatement", "6b73", "74", "0", "-", "-", "?")
    right = Ours("select", "6b73", "74", "q", "14", "6b73:74")
    assert difference(text, right, theirs) is None
    assert difference(text, right._replace(**wrong), theirs) is not None


@pytest.mark.parametrize("tables, differs", [
    ("6b73:74,-:75", False), ("-:75,6b73:74", False), ("6b73:74", True), ("6b73:74,-:75,-:76", True),
    ("6b73:74,-:75,...", True), ("6b73:74,-:-", True), ("-", True),
])
def test_the_comparison_sees_other_tables(tables, differs):
    theirs = Theirs("BatchStatement$Parsed", "-", "-", "0", "LOGGED:3", "-", "6b73:74,-:75,6b73:74")
    ours = Ours("batch", "-", "-", "-", "0", tables)
    assert (difference("BEGIN BATCH ...", ours, theirs) is not None) is differs


@pytest.mark.parametrize("text, kind, is_harmless", [
    ("-- x\nselect", "select", True), ("INSERT SELECT", "select", False), ("/* select */ update", "select", False),
    ("desc x", "describe", True), ("selected", "select", False), ("g.V()", "unknown", True), ("DROP x", "list", False),
])
def test_what_is_harmless(text, kind, is_harmless):
    assert harmless(text, Ours(kind, "-", "-", "-", "0", "-")) is is_harmless
