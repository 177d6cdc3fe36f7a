"""Runs the parts named, or all; prints tables, and writes them to bench/results.md when all ran."""

import importlib
import platform
import subprocess
import sys
from pathlib import Path

import duckdb
from weir_server import program

PARTS = ["start", "lookup", "inserts", "copy_in", "tpch", "gates", "facts", "replication", "decisions"]


def versions():
    weir = subprocess.run([program(), "--version"], capture_output=True, text=True, check=True).stdout.strip()
    postgres = subprocess.run(["postgres", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    return f"{weir}; {postgres}; DuckDB {duckdb.__version__}; {platform.machine()}, {len(__import__('os').sched_getaffinity(0))} processors"


def main():
    parts = sys.argv[1:] or PARTS
    lines = [f"# Figures\n\nMade by `make bench`: {versions()}. Medians of interleaved runs.\n"]
    print(lines[0], flush=True)
    for part in parts:
        text = importlib.import_module(part).run()
        print(text, flush=True)
        lines.append(text)
    if parts == PARTS:
        Path(__file__).with_name("results.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
