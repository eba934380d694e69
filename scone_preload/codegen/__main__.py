"""`python -m scone_preload.codegen OUTDIR`: writes the generated C of the spec; a file that is right is left alone."""

import sys
from pathlib import Path

from scone_preload.codegen.outputs import generated
from scone_preload.errors import SconeError, UserError


def main(arguments: list[str]) -> int:
    """Exit status: 0, or that of the error."""
    try:
        if len(arguments) != 1:
            raise UserError("usage", "python -m scone_preload.codegen OUTDIR", "name the folder to write to")
        write(Path(arguments[0]))
    except SconeError as error:
        print(f"codegen: {error}", file=sys.stderr)
        return error.exit_status
    return 0


def write(folder: Path) -> None:
    """Writes what differs, so that make rebuilds nothing else; raises SpecError, OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in generated().items():
        path = folder / name
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
