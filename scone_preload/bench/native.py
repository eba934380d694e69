"""The benchmarks' own C programs: compiled when first needed, for one run."""

from pathlib import Path

from scone_preload.bench.model import Setting
from scone_preload.bench.processes import output_of, tool

SOURCES = Path(__file__).parent


def compiled(setting: Setting, name: str) -> Path:
    """The program of `name`.c, in the run's directory."""
    program = setting.place / name
    if not program.exists():
        source = str(SOURCES / f"{name}.c")
        output_of([tool("gcc"), "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(program), source], 60, setting.place)
        program.chmod(0o755)
    return program
