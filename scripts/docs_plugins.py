"""
What check-docs.py looks at in docs/plugins.md and plugins/: whether the manual has all that plugin.h has, and nothing else,
whether its code compiles, whether what it shows is what the program says.

- Every constant, struct, member and function type of include/cqlferry/plugin.h stands in code on the page. Functions have a row of
  a table, which begins with `name(`; hooks one that begins with `name`.
- Every name that begins with cqlferry_ or CQLFERRY_, and every row of these tables, is in the header.
- A ```c block that begins with `/* NAME.c - ` is a whole plugin, and compiles without a warning; others are in plugins/sample/sample.c.
- The `$ cqlferry` lines of ```console blocks are run where ./sample.so is what the cc line of the page has made.
- Each minor up to the header's has a heading of the changelog.
- plugins/sample/sample.c has less than 150 lines. The metrics of each plugin are in its README.md.
"""

import pathlib
import re
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
HEADER = ROOT / "include/cqlferry/plugin.h"
SAMPLE = ROOT / "plugins/sample/sample.c"
SAMPLE_LINES = 150
CC = ["cc", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", f"-I{ROOT / 'include'}"]
#: words that begin like ours and are none of the header's
OTHERS = {"cqlferry_plugin"}
#: plugins that make() has seen to in this run
made = set()


# ---- names ----

class Interface:
    def __init__(self):
        text = re.sub(r"/\*.*?\*/", " ", HEADER.read_text(), flags=re.S)
        self.constants = set(re.findall(r"^#define (CQLFERRY_\w+)[ (]", text, re.M))
        self.structs = dict(re.findall(r"^struct (\w+) \{(.*?)^\};", text, re.S | re.M))
        self.opaque = set(re.findall(r"^struct (\w+);", text, re.M))
        self.types = set(re.findall(r"^typedef .*?\(\*(\w+)\)", text, re.M))
        self.host = functions(self.structs["cqlferry_host"])
        self.plugin = functions(self.structs["cqlferry_plugin"])
        self.minor = int(re.search(r"#define CQLFERRY_ABI_MINOR (\d+)", text).group(1))

    def members(self):
        for struct, body in self.structs.items():
            plain = re.sub(r"^#.*$|\([^;]*;", "", body, flags=re.M)
            for declaration in re.findall(r"(\w[^;]*);", plain):
                names = declaration.split(",")
                for name in (names[0].split()[-1], *names[1:]):
                    yield struct, re.search(r"\w+", name).group(0)


def functions(body):
    declarations = (re.search(r"\(\*+(\w+)\)\(", declaration) for declaration in body.split(";"))
    return {match.group(1) for match in declarations if match}


def check_names(page):
    header = Interface()
    if len(header.host) < 30 or len(header.plugin) < 12 or len(header.constants) < 40:
        yield "include/cqlferry/plugin.h: its names cannot be found any more"
    code = " ".join([code for code, _ in page.code] + [text for _, text, _ in page.blocks])
    words = set(re.findall(r"\w+", code))
    wanted = header.constants | header.structs.keys() | header.opaque | header.types
    for name in sorted(wanted - words):
        yield f"{page.name}: {name} is missing"
    for struct, member in header.members():
        if member not in words:
            yield f"{page.name}: {member} of struct {struct} is missing"
    rows = set(re.findall(r"`(\w+)\([^`]*\)`", "\n".join(re.findall(r"^\| (`.*?) \|", page.text, re.M))))
    rows |= set(re.findall(r"^\| `(on_\w+)` \|", page.text, re.M))
    for name in sorted((header.host | header.plugin) - rows):
        yield f"{page.name}: {name}() has no row in a table"
    for name in sorted(rows - header.host - header.plugin):
        yield f"{page.name}: there is no {name}()"
    known = wanted | OTHERS
    for text, line in ((text, line) for text, line in page.code):
        for name in re.findall(r"\b(?:cqlferry|CQLFERRY)_\w+", text):
            if name not in known and not re.search(rf"zdm_{name}|_\b{name}", text):
                yield page.at(line, f"plugin.h has no {name}")
    for minor in range(header.minor + 1):
        if not re.search(rf"^### 1\.{minor}$", page.text, re.M):
            yield f"{page.name}: the changelog has nothing about 1.{minor}"


# ---- code ----

def check_code(page):
    sample = SAMPLE.read_text()
    if sample.count("\n") >= SAMPLE_LINES:
        yield f"plugins/sample/sample.c has {sample.count(chr(10))} lines: it is to have less than {SAMPLE_LINES}"
    for language, text, line in page.blocks:
        if language != "c":
            continue
        if not re.match(r"/\* \w+\.c - ", text):
            if text not in sample:
                yield page.at(line, "this is not in plugins/sample/sample.c")
            continue
        with tempfile.TemporaryDirectory() as folder:
            run = subprocess.run([*CC, "-pthread", "-x", "c", "-", "-o", pathlib.Path(folder) / "plugin.so"], input=text,
                                 text=True, capture_output=True)
            if run.returncode != 0:
                yield page.at(line, f"cc: {run.stderr.strip()}")


def check_console(page, program, check_commands):
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([*CC, SAMPLE, "-o", pathlib.Path(folder) / "sample.so"], check=True)
        yield from check_commands(page, program, folder)


# ---- what is shipped ----

def metrics():
    """{family: name of the plugin}"""
    return {family: path.parent.name for path in (ROOT / "plugins").glob("*/*.c") for family in
            re.findall(r'\b(?:counter|gauge|histogram)_new\(\s*[\w>.-]+,\s*"(\w+)"', path.read_text())}


def options():
    """The rows of plugins, and the keys of auth_map's mapping."""
    return {name for path in (ROOT / "plugins").glob("*/*.c")
            for name in re.findall(r'(?:\.name = |^\t\{ )"(\w+)"', path.read_text(), re.M)}


def check_shipped(pages):
    readmes = {page.name.split("/")[1]: page for page in pages if page.name.startswith("plugins/")}
    for family, plugin in metrics().items():
        if plugin in readmes and family not in readmes[plugin].text:
            yield f"plugins/{plugin}/README.md: the metric {family} is missing"


def make(program, pages):
    """The folder of the shipped plugins that sections in examples load; what can be made is made."""
    folder = pathlib.Path(program).resolve().parent
    names = {name for page in pages for language, text, _ in page.blocks if language == "ini"
             for name in re.findall(r"^file = (\w+)\.so$", text, re.M)}
    missing = [f"plugins/{name}.la" for name in sorted(names - made)]
    if (folder / "Makefile").is_file() and missing:
        subprocess.run(["make", "-s", *missing], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    made.update(names)
    return folder / "plugins/.libs"


def check(pages, program, check_commands):
    page = next(p for p in pages if p.name == "docs/plugins.md")
    return [*check_names(page), *check_code(page), *check_console(page, program, check_commands),
            *check_shipped(pages)]
