"""
What check-docs.py looks at in docs/lua.md and lua/: whether the scripts in the text are those that are released, whether the
reference and the types for editors have the functions that exist, whether what the tutorial shows is what the program says.

    scripts/docs_lua.py --update      puts lua/examples into docs/lua.md

- A ```lua block that begins with `-- NAME.lua - ` is a file of lua/examples, all of it; each file is there once.
- A ```lua block that begins with `-- NAME.lua` is a script of the tutorial; an ```ini block may name it. Others are pieces:
  they are loaded, too.
- A `$ cqlferry ... -c NAME.ini` in a ```console block is run with the ```ini block that begins with `; NAME.ini`.
"""

import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "lua/examples"
INSTALLED = "/usr/local/share/cqlferry/lua"
BLOCK = re.compile(r"^```lua\n(-- (\w+)\.lua - .*?)^```$", re.S | re.M)
CLUSTERS = "[origin]\ncontact_points = 127.0.0.1\n[target]\ncontact_points = 127.0.0.1\n"


def files():
    return {path.stem: path for path in [*EXAMPLES.glob("*.lua"), *(EXAMPLES / "lib").glob("*.lua")]}


# ---- scripts ----

def check_examples(page):
    found = {}
    for language, text, line in page.blocks:
        match = re.match(r"-- (\w+)\.lua - ", text) if language == "lua" else None
        if not match:
            continue
        name = match.group(1)
        if name in found:
            yield page.at(line, f"{name}.lua stands there twice")
        found[name] = line
        if name not in files():
            yield page.at(line, f"lua/examples has no {name}.lua")
        elif files()[name].read_text() != text:
            yield page.at(line, f"this is not what lua/examples/{name}.lua says: scripts/docs_lua.py --update")
    for name in sorted(files().keys() - found.keys()):
        yield f"{page.name}: {name}.lua is missing"


def update(path):
    def block(match):
        file = files().get(match.group(2))
        return f"```lua\n{file.read_text()}```" if file else match.group(0)
    path.write_text(BLOCK.sub(block, path.read_text()))


def write_scripts(page, folder):
    """Those of the tutorial by their names, in this folder; returns the lines of all blocks that are no examples."""
    lines = {}
    for language, text, line in page.blocks:
        if language != "lua" or re.match(r"-- \w+\.lua - ", text):
            continue
        match = re.match(r"-- (\w+\.lua)\n", text)
        name = match.group(1) if match else f"piece{line}.lua"
        (folder / name).write_text(text)
        lines[name] = line
    return lines


def check_pieces(page, program):
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for script, line in write_scripts(page, folder).items():
            path = folder / "piece.ini"
            path.write_text(f"{CLUSTERS}[lua]\nlua_path = {EXAMPLES / 'lib'}\nscript = {script}\n")
            run = subprocess.run([program, "--check-config", "-c", path], text=True, capture_output=True)
            if run.returncode != 0:
                yield page.at(line, f"cqlferry --check-config: {run.stderr.strip()}")


# ---- what the tutorial shows ----

def is_shown(shown, said):
    """`...` alone stands for any lines."""
    pattern = "".join(r"(?:.*\n)*?" if row == "..." else re.escape(row) + r"\n" for row in shown)
    return re.fullmatch(pattern, said) is not None


def commands(text):
    """(command, lines shown) of a console block."""
    command, shown = None, []
    for row in text.splitlines():
        if row.startswith("$ "):
            if command:
                yield command, shown
            command, shown = row[2:], []
        else:
            shown.append(row)
    if command:
        yield command, shown


def check_commands(page, program, folder):
    """Runs the `$ cqlferry` lines of the page's consoles in `folder`, and compares what they say."""
    for language, text, line in page.blocks:
        if language != "console":
            continue
        for command, shown in commands(text):
            words = shlex.split(command)
            if words[0] != "cqlferry":
                continue
            run = subprocess.run([program, *words[1:]], text=True, capture_output=True, cwd=folder)
            said = (run.stdout + run.stderr).replace(f"{folder}/", "")
            if not is_shown(shown, said):
                yield page.at(line, f"`{command}` says:\n{said}")


def check_console(page, program):
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_scripts(page, folder)
        for language, text, _ in page.blocks:
            match = re.match(r"; (\w+\.ini)\n", text) if language == "ini" else None
            if match:
                (folder / match.group(1)).write_text(text)
        yield from check_commands(page, program, folder)


def check_types(program):
    """They are no script, but a file that every Lua can read."""
    with tempfile.TemporaryDirectory() as name:
        path = pathlib.Path(name) / "types.ini"
        path.write_text(f"{CLUSTERS}[lua]\nscript = {ROOT / 'lua/cqlferry/types.lua'}\n")
        run = subprocess.run([program, "--check-config", "-c", path], text=True, capture_output=True)
        if run.returncode != 0:
            yield f"lua/cqlferry/types.lua: {run.stderr.strip()}"


# ---- functions ----

#: how the C functions of a table begin, and what scripts write before the name
OWNERS = {"req": "req:", "counter": "counter:"}


def functions_of_source():
    """{"proxy.set", "req:kind", "counter:add" ...}, from the tables of C functions."""
    text = "".join((ROOT / "src/policy" / name).read_text() for name in ("lua_module.c", "lua_request.c"))
    tables = "".join(re.findall(r"struct luaL_Reg \w+\[\] = \{(.*?)\n\t\};", text, re.S))
    return {OWNERS.get(function.split("_")[0], "proxy.") + name
            for name, function in re.findall(r'\{ "(\w+)", (\w+) \}', tables)}


def check_functions(page):
    source = functions_of_source()
    if len(source) < 20:
        yield "src/policy: the tables of functions cannot be found any more"
    shown = set(re.findall(r"`(proxy\.\w+)[({]", "\n".join(re.findall(r"^####.*$", page.text, re.M))))
    shown |= set(re.findall(r"^\| `(req:\w+)\(", page.text, re.M)) | set(re.findall(r"`(counter:\w+)\(", page.text))
    typed = {re.sub("^request", "req", name) for name in
             re.findall(r"^function ((?:proxy|request|counter)[.:]\w+)\(", (ROOT / "lua/cqlferry/types.lua").read_text(), re.M)}
    for where, names in ((page.name, shown), ("lua/cqlferry/types.lua", typed)):
        for name in sorted(source - names):
            yield f"{where}: {name} is missing"
        for name in sorted(names - source):
            yield f"{where}: there is no {name}"


def check(pages, program):
    page = next(p for p in pages if p.name == "docs/lua.md")
    pieces = [problem for p in pages for problem in check_pieces(p, program)]
    return [*check_examples(page), *pieces, *check_console(page, program), *check_types(program),
            *check_functions(page)]


if __name__ == "__main__":
    if sys.argv[1:] != ["--update"]:
        sys.exit(__doc__)
    update(ROOT / "docs/lua.md")
