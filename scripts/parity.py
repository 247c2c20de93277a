#!/usr/bin/env python3
"""Which lines of tests/checklist.txt the tests of a run have shown.

    scripts/parity.sh                     reads what the last scripts/test.sh has left in its reports folder
    scripts/parity.sh --run FILE XML ...  reads these JUnit files; FILE was written when the run began
    scripts/parity.sh --self-test         plants gaps and mistakes and expects each to be found

For each profile it prints which lines were shown, which are different on purpose (tests/checklist.txt says what we do
instead, and a test has shown it), which are the other profile's, and which are missing. The last line is

    N shown, N different, N missing

over both profiles together. A test that has failed or was skipped shows nothing. The exit status is 1 when a line is
missing, and 2 when the answer cannot be trusted: a file is older than the run or cannot be read, a test shows a number
that the list does not have or does not say in which profile it ran, the list has gaps.
"""

import io
import os
import pathlib
import re
import sys
import tempfile
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent
LIST = ROOT / "tests/checklist.txt"
STAGES = ("wire", "wire-zdm", "cluster", "pairs")
PROFILES = ("native", "zdm")
LAST = 269
#: lines of parity that may be different; the head of the list says why
DIFFERENT_BY_CHOICE = (87, 208)


class Untrusted(Exception):
    pass


class Line:
    def __init__(self, number, tag, subject, instead):
        self.number = number
        self.tag = tag
        self.subject = subject
        self.instead = instead
        self.profiles = ("zdm",) if tag == "P/zdm" else PROFILES

    @property
    def kind(self):
        return "different" if self.instead else "shown"


def read_list(path, last=LAST):
    """{number: Line}"""
    lines, defects = {}, set()
    for place, text in enumerate(pathlib.Path(path).read_text().splitlines(), 1):
        def check(good, problem):
            if not good:
                raise Untrusted("%s:%d: %s" % (path, place, problem))
        if not text or text.startswith("#"):
            continue
        defect = re.fullmatch(r"defect (\d+) +\S.*", text)
        if defect:
            defects.add(defect.group(1))
            continue
        match = re.fullmatch(r"(\d+) (P|P/zdm|Q|(?:P\+)?D(\d+)) ([^|]+?)(?: \| ([^|]+))?", text)
        check(match, "not `number tag subject [| what we do instead]`")
        number, tag, defect, subject, instead = match.groups()
        number = int(number)
        check(number not in lines, "%d stands there twice" % number)
        check(defect is None or defect in defects, "there is no defect %s in the list" % defect)
        check(not instead or tag[0] in "QD" or "+" in tag or number in DIFFERENT_BY_CHOICE,
              "a line tagged %s may not be different" % tag)
        lines[number] = Line(number, tag, subject, instead)
    if sorted(lines) != list(range(1, last + 1)):
        gaps = sorted(set(range(1, last + 1)) ^ set(lines))
        raise Untrusted("%s: has to have the numbers 1 to %d; wrong: %s" % (path, last, ranges(gaps)))
    return lines


def read_junit(path, lines, shown):
    """Adds to shown[profile] the numbers of the tests in this file that have passed. Returns how many tests those are."""
    try:
        root = xml.etree.ElementTree.parse(path).getroot()
    except (OSError, xml.etree.ElementTree.ParseError) as error:
        raise Untrusted("%s: %s" % (path, error)) from None
    counted = 0
    for case in root.iter("testcase"):
        said = [(p.get("name"), p.get("value")) for p in case.iter("property")]
        numbers = {value for name, value in said if name == "checklist"}
        profiles = {value for name, value in said if name == "profile"}
        where = "%s: %s::%s" % (path, case.get("classname"), case.get("name"))
        for number in numbers:
            if not number.isdigit() or int(number) not in lines:
                raise Untrusted("%s: the list has no line %s" % (where, number))
        if not numbers or any(child.tag in ("failure", "error", "skipped") for child in case):
            continue
        if not profiles or profiles - set(PROFILES):
            raise Untrusted("%s: shows %s, but in which profile? %s" % (where, ", ".join(sorted(numbers)),
                                                                       sorted(profiles) or "None is said"))
        counted += 1
        for profile in profiles:
            shown[profile].update(int(number) for number in numbers)
    return counted


def ranges(numbers):
    """[1, 2, 3, 5] as "1-3, 5"."""
    parts = []
    for number in sorted(numbers):
        if parts and parts[-1][1] == number - 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ", ".join(str(a) if a == b else "%d-%d" % (a, b) for a, b in parts) or "-"


def wrapped(head, text, width=118):
    rows, row = [], head
    for word in text.split(" "):
        if len(row) + len(word) + 1 > width:
            rows.append(row)
            row = " " * len(head)
        row += " " + word
    return "\n".join(rows + [row])


def report(lines, shown, out):
    """Prints everything; returns how many lines are missing in both profiles."""
    for profile in PROFILES:
        mine = {n for n, line in lines.items() if profile in line.profiles}
        seen = shown[profile] & mine
        print("profile %s" % profile, file=out)
        for kind in ("shown", "different"):
            print(wrapped("  %-9s" % kind, "%d: " % len([n for n in seen if lines[n].kind == kind])
                          + ranges(n for n in seen if lines[n].kind == kind)), file=out)
        if len(mine) < len(lines):
            print(wrapped("  other    ", "%d: " % (len(lines) - len(mine)) + ranges(set(lines) - mine)), file=out)
        print("  %-9s %d" % ("missing", len(mine - seen)), file=out)
        for number in sorted(mine - seen):
            print("    %3d %-5s %s" % (number, lines[number].tag, lines[number].subject), file=out)
    seen = {n for n, line in lines.items() if any(n in shown[p] for p in line.profiles)}
    kinds = [lines[n].kind for n in seen]
    missing = len(lines) - len(seen)
    print("%d shown, %d different, %d missing" % (kinds.count("shown"), kinds.count("different"), missing), file=out)
    return missing


def check_age(path, run):
    """Nothing of an earlier run may count."""
    if not path.exists():
        raise Untrusted("%s does not exist" % path)
    if path.stat().st_mtime_ns < run.stat().st_mtime_ns:
        raise Untrusted("%s is older than the run" % path)


def count(files, run, out, checklist=LIST, last=LAST):
    lines = read_list(checklist, last)
    if not run.exists():
        raise Untrusted("%s does not exist: no run has been made" % run)
    shown = {profile: set() for profile in PROFILES}
    for path in files:
        check_age(path, run)
        if read_junit(path, lines, shown) == 0:
            raise Untrusted("%s: no test in it shows anything" % path)
    return report(lines, shown, out)


# ---- self-test ----

TEST_LIST = """defect 8 no answer
1 P one
2 P/zdm two
3 Q three | another three
4 D8 four | an answer
5 P five
"""


def case(name, numbers, profile="native", inside=""):
    said = [("checklist", n) for n in numbers] + ([("profile", profile)] if profile else [])
    return '<testcase classname="t" name="%s"><properties>%s</properties>%s</testcase>' % (
        name, "".join('<property name="%s" value="%s"/>' % p for p in said), inside)


ALL = case("a", [1, 3, 4, 5]) + case("b", [1, 2, 3, 4, 5], "zdm")
#: name, list, cases, what the output or the error must contain
SELF_TESTS = [
    ("everything is shown", TEST_LIST, ALL, "3 shown, 2 different, 0 missing"),
    ("nobody shows 5", TEST_LIST, case("a", [1, 2, 3, 4], "zdm"), "2 shown, 2 different, 1 missing"),
    ("its subject is named", TEST_LIST, case("a", [1, 2, 3, 4], "zdm"), "      5 P     five\n"),
    ("a failed test shows nothing", TEST_LIST, ALL.replace("5", "1") + case("c", [5], inside="<failure/>"), "1 missing"),
    ("nor does an error", TEST_LIST, ALL.replace("5", "1") + case("c", [5], inside="<error/>"), "1 missing"),
    ("nor a skipped one", TEST_LIST, ALL.replace("5", "1") + case("c", [5], inside="<skipped/>"), "1 missing"),
    ("one profile is enough for both", TEST_LIST, case("a", [1, 2, 3], "zdm") + case("b", [4, 5]), "0 missing"),
    ("but not the wrong one", TEST_LIST, case("a", [1, 3, 4, 5]) + case("b", [2]), "1 missing"),
    ("missing in one profile", TEST_LIST, ALL.replace('"5"', '"1"', 1), "profile native\n  shown     1: 1"),
    ("number that is not in the list", TEST_LIST, ALL + case("c", [6]), "no line 6"),
    ("also of a failed test", TEST_LIST, ALL + case("c", [6], inside="<failure/>"), "no line 6"),
    ("not a number", TEST_LIST, ALL + case("c", ["x"]), "no line x"),
    ("no profile", TEST_LIST, ALL + case("c", [1], None), "in which profile"),
    ("unknown profile", TEST_LIST, ALL + case("c", [1], "strict"), "in which profile"),
    ("nothing shows anything", TEST_LIST, case("a", []), "no test in it shows anything"),
    ("no JUnit file", TEST_LIST, "<", "not well-formed"),
    ("gap in the list", TEST_LIST.replace("5 P five\n", ""), ALL, "wrong: 5"),
    ("number twice", TEST_LIST + "5 P five\n", ALL, "5 stands there twice"),
    ("number too high", TEST_LIST + "6 P six\n", ALL, "wrong: 6"),
    ("no subject", TEST_LIST.replace("5 P five", "5 P"), ALL, "not `number tag"),
    ("unknown tag", TEST_LIST.replace("5 P", "5 X"), ALL, "not `number tag"),
    ("unknown defect", TEST_LIST.replace("D8", "D9"), ALL, "no defect 9"),
    ("parity that is different", TEST_LIST.replace("five", "five | six"), ALL, "may not be different"),
]


def said(folder, cases, checklist=TEST_LIST):
    """What is printed, or the error, for a run with these cases in a file; cases None: there is no file."""
    (folder / "list").write_text(checklist)
    if cases is not None:
        (folder / "a.xml").write_text("<testsuites><testsuite>%s</testsuite></testsuites>" % cases)
    out = io.StringIO()
    try:
        missing = count([folder / "a.xml"], folder / "run", out, folder / "list", 5)
    except Untrusted as error:
        return str(error)
    assert out.getvalue().endswith(" %d missing\n" % missing)
    return out.getvalue()


def self_test():
    failed = []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)

        def expect(what, expected, cases, checklist=TEST_LIST):
            text = said(folder, cases, checklist)
            if expected not in text:
                failed.append("%s: %r is not in\n%s" % (what, expected, text))

        expect("no run", "no run has been made", ALL)
        (folder / "run").write_text("")
        for what, checklist, cases, expected in SELF_TESTS:
            expect(what, expected, cases, checklist)
        os.utime(folder / "run", (2 ** 32, 2 ** 32))
        expect("a file of an earlier run", "a.xml is older than the run", ALL)
        (folder / "a.xml").unlink()
        expect("no file", "a.xml does not exist", None)
    read_list(LIST)
    for text in failed:
        print("self-test: %s" % text)
    print("%d planted cases were not found" % len(failed) if failed
          else "parity: all %d planted cases are found" % (len(SELF_TESTS) + 3))
    return 1 if failed else 0


def main(arguments):
    if arguments == ["--self-test"]:
        return self_test()
    if not arguments:
        folder = pathlib.Path(os.environ.get("CQLFERRY_BUILD") or ROOT / "build") / "reports"
        run, files = folder / "run", [path for path in (folder / (s + ".xml") for s in STAGES) if path.exists()]
    elif arguments[0] == "--run" and len(arguments) > 2:
        run, files = pathlib.Path(arguments[1]), [pathlib.Path(name) for name in arguments[2:]]
    else:
        sys.stderr.write(__doc__)
        return 2
    try:
        if not files:
            raise Untrusted("there is no JUnit file: run scripts/test.sh first")
        return 1 if count(files, run, sys.stdout) else 0
    except Untrusted as error:
        print("parity: %s" % error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
