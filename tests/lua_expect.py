"""
The files lua/examples/NAME.expect: what an example does, as readers and tests understand it.

    # a comment
    with OPTION = VALUE                          what stands in [lua]; `with nothing`: no options
    FACT=VALUE ... > STATEMENT      > OUTCOME    facts of the client: user, keyspace, address, driver, driver-version,
    STATEMENT                       > OUTCOME    consistency, prepared=yes
    fails > PIECE OF A TEXT                      with these options the script does not load

A `with` behind statements begins anew. OUTCOME is origin, target, both, mirror, proxy (answered by the proxy itself), or
`denied CODE: PIECE OF THE TEXT`. The primary is origin.
"""
import dataclasses
import pathlib
import re
import shlex

ROOT = pathlib.Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "lua/examples"
LIBRARY = EXAMPLES / "lib"
FACTS = {"user", "keyspace", "address", "driver", "driver-version", "consistency", "prepared"}
FACTS_OF_LINE = re.compile(r'((?:[\w-]+=(?:"[^"]*"|[^\s"]+) +)+)> ')
OUTCOME = re.compile(r"origin|target|both|mirror|proxy|denied \w+: .+")


@dataclasses.dataclass
class Line:
    number: int
    facts: dict
    statement: str
    outcome: str


@dataclasses.dataclass
class Group:
    number: int                     # line of the first `with`
    options: dict
    lines: list = dataclasses.field(default_factory=list)
    failure: str | None = None      # a piece of the message


def read_line(number, text):
    facts = FACTS_OF_LINE.match(text)
    statement, sign, outcome = text[facts.end() if facts else 0:].rpartition(" > ")
    facts = dict(fact.split("=", 1) for fact in shlex.split(facts.group(1))) if facts else {}
    assert set(facts) <= FACTS, f"line {number}: unknown facts {set(facts) - FACTS}"
    assert sign and OUTCOME.fullmatch(outcome.strip()), f"line {number}: no outcome"
    return Line(number, facts, statement.strip(), outcome.strip())


def read(path):
    """The groups of a file; AssertionError with the line that cannot be read."""
    groups = []
    for number, text in enumerate(path.read_text().splitlines(), 1):
        text = text.strip()
        if not text or text.startswith("#"):
            continue
        if text.startswith("with "):
            if not groups or groups[-1].lines or groups[-1].failure:
                groups.append(Group(number, {}))
            if text != "with nothing":
                name, sign, value = text[5:].partition(" = ")
                assert sign, f"line {number}: with OPTION = VALUE"
                groups[-1].options[name] = value
            continue
        assert groups, f"line {number}: before it stands no `with`"
        assert not groups[-1].failure, f"line {number}: behind `fails`"
        if text.startswith("fails > "):
            assert not groups[-1].lines, f"line {number}: `fails` stands alone"
            groups[-1].failure = text[len("fails > "):]
        else:
            groups[-1].lines.append(read_line(number, text))
    assert groups and all(g.lines or g.failure for g in groups), f"{path.name}: a group without lines"
    return groups


def ini(name, options, folder=EXAMPLES):
    """A whole configuration with this example."""
    rows = ["[origin]", "contact_points = 127.0.0.1", "[target]", "contact_points = 127.0.0.1", "[routing]",
            "primary = origin", "[lua]", f"lua_path = {LIBRARY}", f"script = {folder / (name + '.lua') if name else folder}"]
    return "\n".join(rows + [f"{key} = {value}" for key, value in options.items()]) + "\n"


def arguments(line):
    """Those of the command line for the facts of a line."""
    for fact, value in line.facts.items():
        yield from (["--prepared"] if fact == "prepared" else [f"--{fact}", value])
