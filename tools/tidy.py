"""Keeps the rules of the house style that a machine can keep; prints `file:line: rule: remedy` for each break.

A rule is a generator over one file's text, or over all files, in one of the tables at the end. Exceptions stand in
tidy_allow.txt, a line each: `path: rule: reason`; one that is no longer needed is itself a problem.
"""

import ast
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ALLOW = "tools/tidy_allow.txt"
FOLDERS = ("libshim", "scone_preload", "tools", "tests", "examples")
C_SUFFIXES = (".c", ".h", ".S")

C_FUNCTION_MAX, C_FILE_MAX = 60, 500
PYTHON_FUNCTION_MAX, PYTHON_FILE_MAX = 40, 400
HEAD_MIN, HEAD_MAX = 3, 15

# Which part may import which: its own level only within itself, and what stands before it.
LEVELS = (
    ("errors", "frozen", "log", "options", "paths"),
    ("handlers",),
    ("spec",),
    ("cache", "elf", "policy"),
    ("codegen", "keys"),
    ("volume",),
    ("build",),
    ("runtime",),
    ("cli",),
    ("bench",),
    ("libshim",),  # for tests and tools: it isn't there without a compiler, so nothing of the product may need it
)
SANS_IO = ("spec/", "codegen/", "policy/", "volume/format", "volume/layout", "keys/format.py", "keys/seal.py",
           "keys/record.py", "runtime/wire.py", "runtime/statistics.py",
           "runtime/events.py", "runtime/tracing.py")  # fmt: skip
SYSTEM_MODULES = {"socket", "subprocess", "shutil", "tempfile", "select", "selectors", "ctypes", "fcntl"}
FREESTANDING = re.compile(  # elf.h and link.h: types only
    r"std(int|bool|def|arg|atomic|noreturn)\.h|(limits|elf|link)\.h|(x86|immintrin|cpuid)\w*\.h|(asm|linux)/"
)
HOSTED = ("libshim/volume/library.c",)  # not in shims
CIPHERS = "intel-ipsec-mb.h"
LIBC_CALL = re.compile(
    r"(?<![\w.>])((?:m|c|re)alloc|free|v?[fs]?n?printf|puts|fopen|fwrite|getenv|setenv|abort|exit|_exit|atexit|"
    r"dl(?:open|sym)|pthread_\w+|sig(?:action|procmask)|strdup|strerror|syscall)\s*\("
)
PROTOTYPE = re.compile(r"^(?!static|typedef|extern|return|#|_Static_assert|DOOR)[A-Za-z_][\w \t*]*\([^;{]*\).*;", re.M)


@dataclass(frozen=True, slots=True)
class Problem:
    """One broken rule."""

    path: str
    line: int
    rule: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.remedy}"


Rule = Callable[[str, str], Iterator[Problem]]


def lines_of(text: str, pattern: re.Pattern[str]) -> Iterator[tuple[int, re.Match[str]]]:
    """Line numbers, from 1, and matches."""
    for match in pattern.finditer(text):
        yield text.count("\n", 0, match.start()) + 1, match


def without_comments(text: str, *, strings: bool = True) -> str:
    """C text with comments, and strings too unless asked to keep them, blanked; lines keep their numbers."""

    def blank(match: re.Match[str]) -> str:
        found = match.group()
        if found[0] in "\"'" and not strings:
            return found
        return re.sub(r"[^\n]", " ", found)

    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text, flags=re.S)


# ---- C ----


def c_head(path: str, text: str) -> Iterator[Problem]:
    head = re.match(r"/\*\n(.*?)\*/", text, re.S)
    lines = head.group().count("\n") + 1 if head else 0
    if not HEAD_MIN <= lines <= HEAD_MAX:
        yield Problem(
            path, 1, "file-head", f"start with a comment of {HEAD_MIN} to {HEAD_MAX} lines: owns, must never, called by"
        )


def c_file_length(path: str, text: str) -> Iterator[Problem]:
    if text.count("\n") > C_FILE_MAX:
        yield Problem(path, C_FILE_MAX, "file-length", f"split it: at most {C_FILE_MAX} lines")


def c_function_length(path: str, text: str) -> Iterator[Problem]:
    start = 0
    for number, line in enumerate(text.splitlines(), 1):
        if line == "{":
            start = number
        elif line.startswith("}") and start:
            if number - start - 1 > C_FUNCTION_MAX:
                yield Problem(path, start, "function-length", f"split it: at most {C_FUNCTION_MAX} lines")
            start = 0


def c_goto(path: str, text: str) -> Iterator[Problem]:
    for line, _ in lines_of(without_comments(text), re.compile(r"\bgoto\b(?!\s*\*)")):
        yield Problem(path, line, "goto", "return early, or release by CLEANUP")


def c_includes(path: str, text: str) -> Iterator[Problem]:
    """enclave/ and host/ include wire/ and themselves only (enclave/ also volume/, which is part of it, and includes
    only wire/ and itself); enclave/ and volume/ no header of libc."""
    folder = path.split("/")[1]
    if path in HOSTED:
        return
    other = {"enclave": "host", "host": "enclave", "volume": "enclave"}.get(folder)
    for line, match in lines_of(text, re.compile(r'^\s*#\s*include\s+(["<])([^">]+)', re.M)):
        quote, name = match.groups()
        own = (ROOT / path).parent / name
        only_there = other and (ROOT / "libshim" / other / name).exists() and not own.exists()
        if other and quote == '"' and (f"{other}/" in name or only_there):
            yield Problem(path, line, "trust-folder", f"{folder}/ must not include {other}/: share by wire/")
        if name == CIPHERS and path == "libshim/volume/cipher.c":
            continue
        if folder == "volume" and quote == '"' and not own.exists():
            yield Problem(path, line, "trust-folder", "volume/ includes only wire/ and itself")
        if folder != "host" and quote == "<" and not FREESTANDING.match(name):
            yield Problem(path, line, "libc-header", f"<{name}> is libc's: use a freestanding or kernel header")
        if folder == "wire" and quote == '"' and not own.exists():
            yield Problem(path, line, "trust-folder", "wire/ includes only itself")


def c_syscall_instruction(path: str, text: str) -> Iterator[Problem]:
    if not path.startswith("libshim/enclave/") or path.endswith("/gate.S"):
        return
    code = without_comments(text, strings=False)
    if path.endswith(".S"):
        pattern = re.compile(r"^[^#\n]*?(?:^|[\s;:])(syscall|sysenter|int\s+\$0x80)\b(?!\s*[(,])", re.M)
    else:
        pattern = re.compile(r'"[^"\n]*\b(syscall|sysenter|int\s+\$0x80)(?:\\n|\\t|\s|;|")')
        code = "\n".join(line if re.search(r'^\s*"|asm', line) else "" for line in code.split("\n"))
    for line, _ in lines_of(code, pattern):
        yield Problem(path, line, "syscall-instruction", "only gate.S leaves: call the gate")


def c_libc_calls(path: str, text: str) -> Iterator[Problem]:
    if not path.startswith("libshim/enclave/") or path.endswith(".S"):
        return
    for line, match in lines_of(without_comments(text), LIBC_CALL):
        yield Problem(path, line, "libc-call", f"{match.group(1)}() is libc's: use the enclave's own, or the gate")


def c_wire_asserts(path: str, text: str) -> Iterator[Problem]:
    if not path.startswith("libshim/wire/"):
        return
    for line, match in lines_of(without_comments(text), re.compile(r"^struct (\w+) \{", re.M)):
        if not re.search(rf"_Static_assert\(sizeof\(struct {match.group(1)}\)", text):
            yield Problem(path, line, "wire-assert", f"add _Static_assert(sizeof(struct {match.group(1)}) == ...)")


def c_contracts(path: str, text: str) -> Iterator[Problem]:
    """Each prototype of a header, or group of them without an empty line between, stands below a comment."""
    if not path.endswith(".h"):
        return
    lines = text.split("\n")
    for number, _ in lines_of(without_comments(text), PROTOTYPE):
        at = number - 2
        while at >= 0 and re.match(r"^[A-Za-z_].*[(,;]|^\t+[^*]*\)?;$", lines[at]) and not lines[at].startswith("#"):
            at -= 1
        if at < 0 or not lines[at].rstrip().endswith("*/"):
            yield Problem(path, number, "contract", "say above it: effect, ownership, units, errors, host control")


def c_one_definition(files: dict[str, str]) -> Iterator[Problem]:
    """git grep -w sys_foo hits one definition."""
    seen: dict[str, str] = {}
    definition = re.compile(r"^(?:[A-Z]+ )?(?:static )?long (sys_\w+)\([^;{]*\)\s*\{", re.M)
    for path, text in files.items():
        if not path.startswith("libshim/"):
            continue
        for line, match in lines_of(without_comments(text), definition):
            name = match.group(1)
            if name in seen:
                yield Problem(path, line, "one-definition", f"{name} is already defined in {seen[name]}")
            seen.setdefault(name, path)


# ---- Python ----


def py_file_length(path: str, text: str) -> Iterator[Problem]:
    if text.count("\n") > PYTHON_FILE_MAX:
        yield Problem(path, PYTHON_FILE_MAX, "file-length", f"split it: at most {PYTHON_FILE_MAX} lines")


def py_function_length(path: str, text: str) -> Iterator[Problem]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            size = (node.end_lineno or node.lineno) - node.lineno + 1
            if size > PYTHON_FUNCTION_MAX:
                yield Problem(path, node.lineno, "function-length", f"split {node.name}: {size} lines")


def py_docstring(path: str, text: str) -> Iterator[Problem]:
    if text.strip() and not ast.get_docstring(ast.parse(text)):
        yield Problem(path, 1, "file-head", "start with a docstring: what the module is for")


def py_broad_except(path: str, text: str) -> Iterator[Problem]:
    if path.startswith("scone_preload/cli/"):
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ExceptHandler):
            names = [n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)] if node.type else ["Exception"]
            if {"Exception", "BaseException"} & set(names):
                yield Problem(path, node.lineno, "broad-except", "name the errors; only cli/ catches broadly")


def py_star_and_any(path: str, text: str) -> Iterator[Problem]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            for name in node.names:
                if name.name == "*":
                    yield Problem(path, node.lineno, "star-import", "name what you import")
                if node.module == "typing" and name.name == "Any":
                    yield Problem(path, node.lineno, "any", "say the type")
    for line, _ in lines_of(text, re.compile(r"# type: " r"ignore(?!\[)")):
        yield Problem(path, line, "type-ignore", "name the error in brackets")


def py_lazy_imports(path: str, text: str) -> Iterator[Problem]:
    """An import inside a function says that it is lazy, on its line or on the first of its group."""
    lines = text.split("\n")
    for outer in ast.walk(ast.parse(text)):
        if not isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for node in ast.walk(outer):
            if not isinstance(node, ast.Import | ast.ImportFrom):
                continue
            at = node.lineno - 1
            while at > 0 and "# lazy" not in lines[at] and re.match(r"\s*((from|import) .*)?$", lines[at - 1]):
                at -= 1
            if "# lazy" not in lines[at]:
                yield Problem(path, node.lineno, "lazy-import", "import at the top, or say `# lazy: why`")


def py_sans_io(path: str, text: str) -> Iterator[Problem]:
    if not path.removeprefix("scone_preload/").startswith(SANS_IO):
        return
    for line, name in all_imports(text):
        if name in SYSTEM_MODULES:
            yield Problem(path, line, "sans-io", f"takes and returns bytes: no {name} here")
    for node in ast.walk(ast.parse(text)):
        used = ast.unparse(node) if isinstance(node, ast.Attribute | ast.Call) else ""
        if used.startswith("open(") or re.fullmatch(r"os\.(?!strerror|fsencode|fsdecode)\w+", used):
            yield Problem(path, getattr(node, "lineno", 1), "sans-io", f"takes and returns bytes: no {used} here")


def imported(node: ast.AST) -> list[str]:
    """Modules that a statement imports."""
    if isinstance(node, ast.Import):
        return [name.name for name in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        return [node.module, *(f"{node.module}.{name.name}" for name in node.names)]
    return []


def all_imports(text: str) -> list[tuple[int, str]]:
    """(line, module) of every import, lazy ones too."""
    nodes = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom))
    return [(node.lineno, name) for node in nodes for name in imported(node)]


def top_imports(path: str, text: str) -> set[str]:
    """The project's own modules that importing this one imports (lazy and type-only imports don't)."""
    found: set[str] = set()
    for node in ast.parse(text).body:
        found.update(name for name in imported(node) if name.startswith("scone_preload"))
    return found


def module_name(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def py_levels(files: dict[str, str]) -> Iterator[Problem]:
    """A part imports only what stands before it; lazily, too."""
    level = {part: at for at, parts in enumerate(LEVELS) for part in parts}
    for path, text in python_package(files):
        part = module_name(path).partition(".")[2].split(".")[0]
        imports = {(line, name.partition("scone_preload.")[2].split(".")[0]) for line, name in all_imports(text)}
        for line, other in sorted(imports):
            if other in level and part in level and other != part and level[other] >= level[part]:
                yield Problem(path, line, "levels", f"{part} must not import {other}: it stands at or above it")
        if part and part not in level:
            yield Problem(path, 1, "levels", f"give {part} its place in LEVELS of tools/tidy.py")


def py_cycles(files: dict[str, str]) -> Iterator[Problem]:
    """Modules import each other in one direction."""
    graph = {module_name(path): top_imports(path, text) for path, text in python_package(files)}
    graph = {name: {other for other in others if other in graph and other != name} for name, others in graph.items()}
    done: set[str] = set()
    while ready := [name for name, others in graph.items() if name not in done and others <= done]:
        done.update(ready)
    for name in sorted(set(graph) - done):
        path = next(path for path, _ in python_package(files) if module_name(path) == name)
        yield Problem(path, 1, "import-cycle", f"in or behind a cycle with {', '.join(sorted(graph[name] - done))}")


def python_package(files: dict[str, str]) -> list[tuple[str, str]]:
    return [(path, text) for path, text in files.items() if path.startswith("scone_preload/") and path.endswith(".py")]


# ---- all ----


def no_later(path: str, text: str) -> Iterator[Problem]:
    for line, match in lines_of(text, re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b")):
        yield Problem(path, line, "later", f"do it or file an issue: no {match.group(1)} on main")


C_RULES: tuple[Rule, ...] = (c_head, c_file_length, c_function_length, c_goto, c_includes, c_syscall_instruction,
                             c_libc_calls, c_wire_asserts, c_contracts)  # fmt: skip
PYTHON_RULES: tuple[Rule, ...] = (py_file_length, py_function_length, py_docstring, py_broad_except, py_star_and_any,
                                  py_lazy_imports, py_sans_io)  # fmt: skip
TREE_RULES = (c_one_definition, py_levels, py_cycles)


def rules_for(path: str) -> tuple[Rule, ...]:
    """The rules that a file is under."""
    if path.startswith("libshim/") and path.endswith(C_SUFFIXES):
        return (*C_RULES, no_later)
    if path.startswith(("scone_preload/", "tools/")) and path.endswith(".py"):
        return (*PYTHON_RULES, no_later)
    return (no_later,)


def check(files: dict[str, str]) -> list[Problem]:
    """Every broken rule in these files, texts by path."""
    found = [problem for path, text in files.items() for rule in rules_for(path) for problem in rule(path, text)]
    found += [problem for rule in TREE_RULES for problem in rule(files)]
    return sorted(found, key=lambda problem: (problem.path, problem.line, problem.rule))


def apply_allowances(problems: Iterable[Problem], allowances: str) -> list[Problem]:
    """What is left, and every line of the list that is malformed or allows nothing."""
    left = list(problems)
    entries: dict[tuple[str, str], int] = {}
    for number, line in enumerate(allowances.splitlines(), 1):
        if line and not line.startswith("#"):
            path, rule, reason = (line + ": : ").split(": ", 3)[:3]
            entries[path, rule.rstrip(":")] = number
            if not reason.strip():
                left.append(Problem(ALLOW, number, "no-reason", "write `path: rule: reason`"))
    used = {(problem.path, problem.rule) for problem in left}
    left = [problem for problem in left if (problem.path, problem.rule) not in entries]
    unused = ((number, key) for key, number in entries.items() if key not in used)
    return left + [Problem(ALLOW, number, "unused", f"remove {path}: {rule}") for number, (path, rule) in unused]


def read_files(root: Path) -> dict[str, str]:
    """The source files of the project, texts by path."""
    paths = (path for folder in FOLDERS for path in sorted((root / folder).rglob("*")))
    wanted = (path for path in paths if path.suffix in {*C_SUFFIXES, ".py", ".pyi", ""} and path.is_file())
    texts = [path for path in wanted if "__pycache__" not in path.parts]
    return {str(path.relative_to(root)): path.read_text("utf-8", "surrogateescape") for path in texts}


def main() -> int:
    """Check the checkout that this file is in."""
    problems = apply_allowances(check(read_files(ROOT)), (ROOT / ALLOW).read_text("utf-8"))
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
