"""What results were measured on: machine, kernel, versions. No names of hosts and no folders."""
import datetime
import platform
import re
import subprocess
from pathlib import Path

from stand import HAPROXY_CFG, INI

MITIGATIONS = Path("/sys/devices/system/cpu/vulnerabilities")


def first_line(command):
    try:
        told = subprocess.run(command, text=True, capture_output=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return (told.stdout or told.stderr).strip().split("\n")[0]


def field(path, name):
    """The value of the first line `name : value` or `name=value`."""
    match = re.search(rf'^{name}\s*[:=]\s*"?([^"\n]*)', Path(path).read_text(), re.M)
    return match[1].strip() if match else None


def mitigations():
    return {path.name: path.read_text().strip() for path in sorted(MITIGATIONS.glob("*"))
            if path.read_text().strip() != "Not affected"}


def cflags(build):
    return field(build / "Makefile", "CFLAGS")


def added_instructions(root):
    """{scenario of the guards: instructions per request more than without}"""
    rows = re.findall(r"^(\S+) added (\S+) total$", (root / "bench" / "figures.txt").read_text(), re.M)
    return {name: float(count) for name, count in rows}


def today():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")


def commit(root):
    return first_line(["git", "-C", root, "describe", "--always", "--dirty"])


def run_mark(root):
    """When and of which commit something is measured, where not all of a page's figures come from one run."""
    return f"{today()}, commit {commit(root)}"


def told_runs(runs):
    """A sentence for {part: its run_mark(), None when it was not written down}."""
    parts = {}
    for part, mark in runs.items():
        parts.setdefault(mark or "an earlier run", []).append(part)
    return "Measured: " + "; ".join(f"{', '.join(names)}: {mark}" for mark, names in parts.items()) + "."


def facts(build, stand, root):
    cores = re.findall(r"^processor\s*:", Path("/proc/cpuinfo").read_text(), re.M)
    return {
        "date": today(),
        "machine": {
            "processor": f"{field('/proc/cpuinfo', 'model name')}, {len(cores)} cores",
            "memory": f"{int(field('/proc/meminfo', 'MemTotal').split()[0]) / 2 ** 20:.1f} GiB",
            "kernel": platform.release(),
            "system": field("/etc/os-release", "PRETTY_NAME"),
            "congestion control": Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip(),
            "cores": f"proxy on core {stand.cores[0]}, load and clusters on core {stand.cores[1]}",
            "mitigations": mitigations(),
        },
        "versions": {
            "cqlferry": first_line([build / "cqlferry", "--version"]),
            "commit": commit(root),
            "compiler": f"{first_line(['cc', '--version'])}, {cflags(build)}",
            "haproxy": first_line([stand.haproxy, "-v"]) if stand.haproxy else None,
            "openssl": first_line(["openssl", "version"]),
        },
        "added_instructions": added_instructions(root),
        "configurations": {"cqlferry": INI, "haproxy": HAPROXY_CFG},
    }
