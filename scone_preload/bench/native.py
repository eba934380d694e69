"""The benchmarks' own C programs: compiled when first needed, for one run."""

from pathlib import Path

from scone_preload.bench.model import Setting
from scone_preload.bench.processes import output_of, tool

SOURCES = Path(__file__).parent


def compiled(setting: Setting, name: str, *flags: str, source: str = "") -> Path:
    """The program of `name`.c, or of another source with these flags, in the run's directory."""
    program = setting.place / name
    if not program.exists():
        words = ["-O2", "-Wall", "-Wextra", "-Werror", "-o", str(program), str(SOURCES / f"{source or name}.c"), *flags]
        output_of([tool("gcc"), *words], 60, setting.place)
        program.chmod(0o755)
    return program
