#!/usr/bin/env python3
"""
What plugins cost in CPU time: requests per CPU-second of the proxy with each of the shipped ones, 64 drivers with 1 and with 32
requests in flight each, half of them writes, one worker.

    bench/plugins.py [--binary FILE] [--load FILE] [--plugins FOLDER] [--pairs N] [--requests N] [--depth N ...]
                     [--backend pooled|dedicated]

Threads of plugins (the writer of the audit) count, since they take CPU time from the same machine. Instructions per request,
which noise does not touch, are guarded by bench/guards.py.
"""
import argparse
import contextlib
import sys
import threading
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import cpu_cost  # noqa: E402
from guards import ROOT  # noqa: E402

HTTP_PORT = 14001

AUDIT = "[plugin audit]\nfile = {plugins}/audit.so\npath = {folder}/audit.log\nkinds = {kinds}\n"
VARIANTS = {
    "none": "",
    "prometheus": "[plugin prometheus]\nfile = {plugins}/prometheus.so\n",
    "scraped": "[plugin prometheus]\nfile = {plugins}/prometheus.so\n",
    "audit": AUDIT.replace("kinds = {kinds}\n", ""),
    "audit-writes": AUDIT.replace("{kinds}", "write"),
    "auth_map": "[plugin auth_map]\nfile = {plugins}/auth_map.so\nmap = {folder}/map.ini\n",
}
MAP = "[default]\naction = zdm\n"


@contextlib.contextmanager
def scraping(address):
    """Reads the page each second."""
    end = threading.Event()

    def scrape():
        while not end.wait(1):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://{address}/openmetrics", timeout=5) as page:
                page.read()

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cpu_cost.add_arguments(parser)
    parser.add_argument("--plugins", type=Path, default=ROOT / "plugins" / ".libs")
    parser.add_argument("--depth", type=int, nargs="+", default=[1, 32])
    arguments = parser.parse_args()
    for depth in arguments.depth:
        print(f"{cpu_cost.CONNECTIONS} drivers, {depth} in flight each, {arguments.backend}:", flush=True)

        def run(name, folder):
            address = f"{cpu_cost.network()}.1:{HTTP_PORT}"
            (folder / "audit.log").unlink(missing_ok=True)
            sections = VARIANTS[name].format(plugins=arguments.plugins.resolve(), folder=folder)
            return cpu_cost.requests_per_cpu_second(
                arguments, folder, sections, {"map.ini": MAP}, depth, http=address if name == "scraped" else None,
                meanwhile=(lambda: scraping(address)) if name == "scraped" else contextlib.nullcontext)

        cpu_cost.compare(VARIANTS, arguments.pairs, run)


if __name__ == "__main__":
    main()
