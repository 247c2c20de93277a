#!/usr/bin/env python3
"""Whether include/cqlferry/plugin.h keeps what released headers have promised.

    scripts/check-abi.py               exit 1 and a list of what is wrong
    scripts/check-abi.py --self-test   plants mistakes in a copy and expects each to be found
    scripts/check-abi.py --freeze      when the minor is released: puts a copy into tests/plugins/released/MAJOR.MINOR

Of each header in tests/plugins/released, compared with the one of this tree:

- Every constant is there and has its value (but for CQLFERRY_ABI_MINOR).
- Every struct is there and begins with its members, with the same types, in the same order. Those without a size are the same;
  the others may have more behind them, if the minor is a higher one.
- Every function type is the same.

layout.h, beside each of them, has the sizes and offsets that a compiler made of it; tests/unit/test_plugin_abi.c compiles the
table against the header of this tree.
"""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
HEADER = "include/cqlferry/plugin.h"
RELEASED = "tests/plugins/released"
#: a stranger reads it whole
MAX_LINES = 400
#: structs that may grow: their size is their first member, or the member of a struct that has it
SIZED_ELSEWHERE = {"cqlferry_plugin": "struct_size", "cqlferry_option": "option_size"}


class Header:
    def __init__(self, text):
        text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S)
        self.constants = {name: value.strip() for name, value in
                          re.findall(r"^#define (CQLFERRY_\w+) +(\S.*)$", text, re.M)}
        self.structs = {name: members(body) for name, body in
                        re.findall(r"^struct (\w+) \{(.*?)^\};", text, re.S | re.M)}
        self.functions = {name: squeeze(f"{before}({name}){after}") for before, name, after in
                          re.findall(r"^typedef ([^;{]*)\((\*\w+)\)([^;{]*);", text, re.M)}
        self.minor = int(self.constants.get("CQLFERRY_ABI_MINOR", -1))
        self.version = f"{self.constants.get('CQLFERRY_ABI_MAJOR')}.{self.minor}"

    def may_grow(self, name):
        return name in SIZED_ELSEWHERE or (self.structs[name] and self.structs[name][0] == "uint32_t size")


def squeeze(text):
    return re.sub(r" ?([(),*]) ?", r"\1", " ".join(text.split()))


def members(body):
    """["uint32_t size", "void(*log)(...)"]: one for each member, blanks as few as can be."""
    found = []
    for declaration in re.sub(r"^#.*$", "", body, flags=re.M).split(";"):
        declaration = squeeze(declaration)
        if "(" in declaration or not declaration:
            found += [declaration] if declaration else []
            continue
        kind, names = re.match(r"(.*?[\w*](?=[ *]))([ *]*\w+(?:\[\w+\])?(?:,\**\w+)*)$", declaration).groups()
        found += [squeeze(f"{kind} {name}") for name in names.split(",")]
    return found


def name_of(member):
    return (re.search(r"\(\*+(\w+)\)", member) or re.search(r"(\w+)(?:\[\w+\])?$", member)).group(1)


# ---- the comparison ----

def compare_structs(old, new, where):
    for name, had in old.structs.items():
        has = new.structs.get(name)
        if has is None:
            yield f"struct {name} of {where} is gone"
            continue
        for i, member in enumerate(had):
            if i >= len(has) or has[i] != member:
                yield f"struct {name}: member {i} was `{member}` in {where}, now it is `{has[i] if i < len(has) else 'gone'}`"
                break
        else:
            if len(has) > len(had) and not old.may_grow(name):
                yield f"struct {name} has no size in {where}, but has got `{has[len(had)]}`"
            elif len(has) > len(had) and new.version == old.version:
                yield f"struct {name} has got `{has[len(had)]}`: that needs a minor above {where}"


def compare(old, new, where):
    for name, value in old.constants.items():
        if name != "CQLFERRY_ABI_MINOR" and new.constants.get(name) != value:
            yield f"{name} was {value} in {where}, now it is {new.constants.get(name, 'gone')}"
    if new.minor < old.minor:
        yield f"the minor is below that of {where}"
    yield from compare_structs(old, new, where)
    for name, text in old.functions.items():
        if new.functions.get(name) != text:
            yield f"the type {name} was `{text}` in {where}, now it is `{new.functions.get(name, 'gone')}`"


def check(root):
    new = Header((root / HEADER).read_text())
    released = sorted((root / RELEASED).glob("*/cqlferry/plugin.h"))
    if not released or len(new.structs) < 10 or len(new.constants) < 40:
        return [f"{HEADER}, {RELEASED}: what is to be compared cannot be found any more"]
    lines = (root / HEADER).read_text().count("\n")
    problems = [f"{HEADER} has {lines} lines: it is to have less than {MAX_LINES}"] if lines >= MAX_LINES else []
    for path in released:
        old, where = Header(path.read_text()), path.parent.parent.name
        if old.version != where:
            problems.append(f"{path.relative_to(root)} is of {old.version}")
        if layout(path) != (path.parent.parent / "layout.h").read_text():
            problems.append(f"{RELEASED}/{where}/layout.h is not what a compiler makes of the header beside it")
        problems += [f"{HEADER}: {problem}" for problem in compare(old, new, where)]
    return problems


# ---- the table of sizes and offsets ----

def layout(path):
    """What a compiler makes of a header, as a table of macros."""
    header = Header(path.read_text())
    lines = []
    for name, has in header.structs.items():
        grows = "GROWS" if header.may_grow(name) else "FIXED"
        lines.append(f'printf("{grows}({name}, %zu)\\n", sizeof(struct {name}));')
        lines += [f'printf("MEMBER({name}, {m}, %zu, %zu)\\n", offsetof(struct {name}, {m}), '
                  f'sizeof(((struct {name} *)0)->{m}));' for m in map(name_of, has)]
    lines += [f'printf("CONSTANT({name}, %lld)\\n", (long long)({name}));' for name, value in header.constants.items()
              if re.fullmatch(r"\(?-?(0x)?[0-9A-Fa-f]+u?\)?", value) and name != "CQLFERRY_ABI_MINOR"]
    program = ("#include <cqlferry/plugin.h>\n#include <stdio.h>\nint main(void)\n{\n" + "\n".join(lines) + "\nreturn 0;\n}\n")
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "layout"
        subprocess.run(["cc", "-x", "c", "-", "-o", out, f"-I{path.parent.parent}"], input=program, text=True, check=True)
        rows = subprocess.run([out], text=True, capture_output=True, check=True).stdout
    return f"/* layout.h - made by scripts/check-abi.py of the header of {header.version}, on a machine of 64 bits */\n{rows}"


def freeze():
    version = Header((ROOT / HEADER).read_text()).version
    folder = ROOT / RELEASED / version
    (folder / "cqlferry").mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / HEADER, folder / "cqlferry/plugin.h")
    (folder / "layout.h").write_text(layout(folder / "cqlferry/plugin.h"))


# ---- mistakes ----

#: what is changed in the header, and what has to be said about it
MISTAKES = [
    ("#ifndef CQLFERRY_PLUGIN_H", "\n#ifndef CQLFERRY_PLUGIN_H", "is to have less than 400"),
    ("#define CQLFERRY_DENY 2", "#define CQLFERRY_DENY 4", "CQLFERRY_DENY was 2"),
    ("#define CQLFERRY_TARGET 1\n", "", "CQLFERRY_TARGET was 1 in 1.0, now it is gone"),
    ("\tint64_t number;\n", "", "struct cqlferry_value: member 2"),
    ("\tuint64_t length;\n", "\tuint64_t length;\n\tuint64_t more;\n", "struct cqlferry_text has no size"),
    ("\tconst char *version;\n", "\tconst char *more;\n\tconst char *version;\n", "struct cqlferry_plugin: member"),
    ("int32_t level, const char *fmt", "int64_t level, const char *fmt", "struct cqlferry_host: member"),
    ("(void *arg, const struct cqlferry_metric *metric)", "(void *arg)", "cqlferry_metric_fn was"),
    ("\tdouble value;\n", "\tdouble value;\n\tdouble more;\n", "that needs a minor above 1.0"),
    ("struct cqlferry_part {", "struct cqlferry_portion {", "struct cqlferry_part of 1.0 is gone"),
]


def self_test():
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        shutil.copytree(ROOT / "include", root / "include")
        shutil.copytree(ROOT / RELEASED, root / RELEASED)
        good = (root / HEADER).read_text()
        if check(root):
            return check(root)
        missed = []
        for text, mistake, expected in MISTAKES:
            (root / HEADER).write_text(good.replace(text, mistake))
            if text not in good or not any(expected in problem for problem in check(root)):
                missed.append(f"not found by the check: {expected!r}")
        # What is allowed: more behind the end, with a higher minor.
        (root / HEADER).write_text(good.replace("#define CQLFERRY_ABI_MINOR 0", "#define CQLFERRY_ABI_MINOR 1")
                                   .replace("\tdouble value;\n", "\tdouble value; double more;\n"))
        return missed + check(root)


def main():
    if sys.argv[1:] == ["--freeze"]:
        return freeze()
    if sys.argv[1:] not in ([], ["--self-test"]):
        sys.exit(__doc__)
    problems = self_test() if sys.argv[1:] else check(ROOT)
    for problem in problems:
        print(f"check-abi: {problem}", file=sys.stderr)
    if problems:
        sys.exit(1)
    print("check-abi: " + ("every planted mistake is found" if sys.argv[1:] else "the plugin interface keeps its promises"))
    return None


if __name__ == "__main__":
    main()
