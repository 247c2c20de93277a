#!/usr/bin/env python3
"""Which lines of tests/checklist.txt and tests/connections.txt the tests of a run have shown.

    scripts/parity.sh                     reads what the last scripts/test.sh has left in its reports folder
    scripts/parity.sh --run FILE XML ...  reads these JUnit files; FILE was written when the run began
    scripts/parity.sh --self-test         plants gaps and mistakes and expects each to be found

For each list and profile it prints which lines were shown, which are different on purpose (the list says what we do
instead, and a test has shown it), which are the other profile's, and which are missing. The last line of a list is

    N shown, N different, N missing

over both profiles together; where the list gives a reason for lines that no test shows, "N not shown" stands before it.
A test that has failed or was skipped shows nothing. The exit status is 1 when a line is missing, and 2 when the answer
cannot be trusted: a file is older than the run or cannot be read, a test shows a number that the list does not have (or
that is said to be shown by none) or does not say in which profile it ran, a list has gaps.
"""

import io
import os
import pathlib
import re
import sys
import tempfile
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent
#: the name of the marker and of the file in tests, and the number of the last line
LISTS = (("connections", 172), ("checklist", 269))
STAGES = ("wire", "wire-asan", "wire-pooled", "wire-zdm", "cluster", "pairs")
PROFILES = ("native", "zdm")
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
        if self.tag == "N":
            return "not shown"
        return "different" if self.instead else "shown"


def may_be_different(tag, number):
    return tag[0] in "QDN" or "+" in tag or number in DIFFERENT_BY_CHOICE


def read_list(path, last):
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
        match = re.fullmatch(r"(\d+) (P|P/zdm|Q|N|(?:P\+)?D(\d+)?) ([^|]+?)(?: \| ([^|]+))?", text)
        check(match, "not `number tag subject [| what we do instead]`")
        number, tag, defect, subject, instead = match.groups()
        number = int(number)
        check(number not in lines, "%d stands there twice" % number)
        check(defect is None or defect in defects, "there is no defect %s in the list" % defect)
        check(not instead or may_be_different(tag, number), "a line tagged %s may not be different" % tag)
        check(instead or tag not in ("N", "D"), "a line tagged %s needs something behind the bar" % tag)
        lines[number] = Line(number, tag, subject, instead)
    if sorted(lines) != list(range(1, last + 1)):
        gaps = sorted(set(range(1, last + 1)) ^ set(lines))
        raise Untrusted("%s: has to have the numbers 1 to %d; wrong: %s" % (path, last, ranges(gaps)))
    return lines


def read_junit(path, lists, shown):
    """
    Adds to shown[list][profile] the numbers of the tests in this file that have passed. Returns how many numbers those
    tests have.
    """
    try:
        root = xml.etree.ElementTree.parse(path).getroot()
    except (OSError, xml.etree.ElementTree.ParseError) as error:
        raise Untrusted("%s: %s" % (path, error)) from None
    counted = 0
    for case in root.iter("testcase"):
        said = [(p.get("name"), p.get("value")) for p in case.iter("property")]
        numbers = {(name, value) for name, value in said if name in lists}
        profiles = {value for name, value in said if name == "profile"}
        where = "%s: %s::%s" % (path, case.get("classname"), case.get("name"))
        for name, number in numbers:
            if not number.isdigit() or int(number) not in lists[name]:
                raise Untrusted("%s: the list %s has no line %s" % (where, name, number))
            if lists[name][int(number)].kind == "not shown":
                raise Untrusted("%s: shows line %s of %s, which says that no test does" % (where, number, name))
        if not numbers or any(child.tag in ("failure", "error", "skipped") for child in case):
            continue
        if not profiles or profiles - set(PROFILES):
            raise Untrusted("%s: shows %s, but in which profile? %s" % (
                where, ", ".join(sorted(n for _, n in numbers)), sorted(profiles) or "None is said"))
        counted += len(numbers)
        for name, number in numbers:
            for profile in profiles:
                shown[name][profile].add(int(number))
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
        mine = {n for n, line in lines.items() if profile in line.profiles and line.kind != "not shown"}
        seen = shown[profile] & mine
        print("profile %s" % profile, file=out)
        for kind in ("shown", "different"):
            print(wrapped("  %-9s" % kind, "%d: " % len([n for n in seen if lines[n].kind == kind])
                          + ranges(n for n in seen if lines[n].kind == kind)), file=out)
        others = {n for n, line in lines.items() if profile not in line.profiles}
        if others:
            print(wrapped("  other    ", "%d: " % len(others) + ranges(others)), file=out)
        print("  %-9s %d" % ("missing", len(mine - seen)), file=out)
        for number in sorted(mine - seen):
            print("    %3d %-5s %s" % (number, lines[number].tag, lines[number].subject), file=out)
    seen = {n for n, line in lines.items() if any(n in shown[p] for p in line.profiles)}
    kinds = [lines[n].kind for n in seen]
    given_up = [n for n, line in lines.items() if line.kind == "not shown"]
    missing = len(lines) - len(seen) - len(given_up)
    if given_up:
        print("%d not shown: %s" % (len(given_up), ranges(given_up)), file=out)
    print("%d shown, %d different, %d missing" % (kinds.count("shown"), kinds.count("different"), missing), file=out)
    return missing


def check_age(path, run):
    """Nothing of an earlier run may count."""
    if not path.exists():
        raise Untrusted("%s does not exist" % path)
    if path.stat().st_mtime_ns < run.stat().st_mtime_ns:
        raise Untrusted("%s is older than the run" % path)


def read_lists(folder, names):
    return {name: read_list(folder / (name + ".txt"), last) for name, last in names}


def count(files, run, out, folder=ROOT / "tests", names=LISTS):
    """Prints everything; returns how many lines are missing in all lists."""
    lists = read_lists(folder, names)
    if not run.exists():
        raise Untrusted("%s does not exist: no run has been made" % run)
    shown = {name: {profile: set() for profile in PROFILES} for name in lists}
    for path in files:
        check_age(path, run)
        if read_junit(path, lists, shown) == 0:
            raise Untrusted("%s: no test in it shows anything" % path)
    missing = 0
    for name, lines in lists.items():
        print("tests/%s.txt" % name, file=out)
        missing += report(lines, shown[name], out)
    return missing


# ---- self-test ----

TEST_LIST = """defect 8 no answer
1 P one
2 P/zdm two
3 Q three | another three
4 D8 four | an answer
5 P five
"""
#: the other list
OTHER_LIST = """1 P one
2 D two | another two
3 N three | nobody can
"""


def case(name, numbers, profile="native", inside="", marker="checklist"):
    said = [(marker, n) for n in numbers] + ([("profile", profile)] if profile else [])
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
    ("the other list is counted for itself", TEST_LIST, ALL + case("c", [1, 2], marker="connections"),
     "1 not shown: 3\n1 shown, 1 different, 0 missing\n"),
    ("also what it lacks", TEST_LIST, ALL + case("c", [2], marker="connections"), "0 shown, 1 different, 1 missing\n"),
    ("what no test is said to show", TEST_LIST, ALL + case("c", [3], marker="connections"), "says that no test does"),
    ("not shown without a reason", TEST_LIST.replace("5 P five", "5 N five"), ALL, "needs something behind the bar"),
    ("different without saying how", TEST_LIST.replace("5 P five", "5 D five"), ALL, "needs something behind the bar"),
]


def said(folder, cases, checklist=TEST_LIST):
    """What is printed, or the error, for a run with these cases in a file; cases None: there is no file."""
    (folder / "checklist.txt").write_text(checklist)
    (folder / "connections.txt").write_text(OTHER_LIST)
    if cases is not None:
        (folder / "a.xml").write_text("<testsuites><testsuite>%s</testsuite></testsuites>" % cases)
    out = io.StringIO()
    try:
        missing = count([folder / "a.xml"], folder / "run", out, folder, (("connections", 3), ("checklist", 5)))
    except Untrusted as error:
        return str(error)
    assert sum(int(n) for n in re.findall(r"different, (\d+) missing$", out.getvalue(), re.M)) == missing
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
    read_lists(ROOT / "tests", LISTS)
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
