"""Writes the outputs of the spec; a file that is right already is left alone, so that make rebuilds nothing else.

python -m scone_preload.codegen OUTDIR           calls.gen.c, calls.gen.h, hostile.gen.c, hostile.gen.h
python -m scone_preload.codegen --docs FILE      the syscall support table
"""

import sys
from pathlib import Path

from scone_preload.codegen.outputs import documentation, generated
from scone_preload.errors import SconeError, UserError


def main(arguments: list[str]) -> int:
    """Exit status: 0, or that of the error."""
    try:
        match arguments:
            case ["--docs", file]:
                write(Path(file), documentation())
            case [folder] if not folder.startswith("-"):
                Path(folder).mkdir(parents=True, exist_ok=True)
                for name, text in generated().items():
                    write(Path(folder) / name, text)
            case _:
                raise UserError("usage", "python -m scone_preload.codegen OUTDIR | --docs FILE", "say what to write")
    except SconeError as error:
        print(f"codegen: {error}", file=sys.stderr)
        return error.exit_status
    return 0


def write(path: Path, text: str) -> None:
    """Writes what differs; raises OSError."""
    if not path.exists() or path.read_text("utf-8") != text:
        path.write_text(text, "utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
