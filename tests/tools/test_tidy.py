"""The house style is kept, and each of its rules notices what it is for."""

import subprocess
import sys
from pathlib import Path

import pytest

from tools.tidy import Problem, apply_allowances, check

ROOT = Path(__file__).resolve().parents[2]
HEAD = "/*\n * x - y.\n *\n * Owns: z.\n */\n"
DOC = '"""A module."""\n'


def test_the_checkout_is_tidy() -> None:
    done = subprocess.run([sys.executable, ROOT / "tools" / "tidy.py"], capture_output=True, text=True, check=False)
    assert done.stdout == ""
    assert done.returncode == 0


def long_function(lines: int) -> str:
    return HEAD + "int f(void)\n{\n" + "\tg();\n" * lines + "}\n"


def long_python(lines: int) -> str:
    return DOC + "def f() -> None:\n" + "    g()\n" * (lines - 1)


# rule -> (path, text that breaks it, text that doesn't)
CASES = {
    "file-head": ("libshim/host/x.c", "int x;\n", HEAD + "int x;\n"),
    "file-length": ("libshim/host/x.c", HEAD + "int x;\n" * 500, HEAD + "int x;\n" * 400),
    "function-length": ("libshim/host/x.c", long_function(61), long_function(60)),
    "goto": ("libshim/host/x.c", HEAD + "\tgoto out;\n", HEAD + '\tx = "goto out"; /* goto */\n'),
    "trust-folder": (
        "libshim/enclave/x.c",
        HEAD + '#include "../host/helper.h"\n',
        HEAD + '#include "../wire/control.h"\n',
    ),
    "libc-header": ("libshim/enclave/x.c", HEAD + "#include <stdio.h>\n", HEAD + "#include <linux/fcntl.h>\n"),
    "libc-call": ("libshim/enclave/x.c", HEAD + "\tp = malloc(3);\n", HEAD + "\tp = my_malloc(3); /* malloc(3) */\n"),
    "wire-assert": (
        "libshim/wire/x.h",
        HEAD + "struct x {\n\tint y;\n};\n",
        HEAD + 'struct x {\n\tint y;\n};\n_Static_assert(sizeof(struct x) == 4, "");\n',
    ),
    "contract": (
        "libshim/host/x.h",
        HEAD + "\nint f(int x);\n",
        HEAD + "\n/* Does it. */\nint f(int x);\nint g(int x,\n\tint y);\n",
    ),
    "later": ("tests/x.py", "# TO" "DO: this\n", "# todos los dias\n"),
    "broad-except": (
        "scone_preload/spec/x.py",
        DOC + "try:\n    f()\nexcept (ValueError, Exception):\n    pass\n",
        DOC + "try:\n    f()\nexcept ValueError:\n    pass\n",
    ),
    "star-import": ("scone_preload/spec/x.py", DOC + "from a import *\n", DOC + "from a import b\n"),
    "any": ("scone_preload/spec/x.py", DOC + "from typing import Any\n", DOC + "from typing import Final\n"),
    "type-ignore": ("scone_preload/spec/x.py", DOC + "x = 1  # type: " "ignore\n", DOC + "x = 1  # type: ignore[x]\n"),
    "lazy-import": (
        "scone_preload/runtime/x.py",
        DOC + "def f() -> None:\n    import a\n",
        DOC + "def f() -> None:\n    import a  # lazy: slow\n    import b\n",
    ),
    "sans-io": ("scone_preload/spec/x.py", DOC + "import socket\n", DOC + "import os\nx = os.strerror(3)\n"),
    "levels": (
        "scone_preload/spec/x.py",
        DOC + "from scone_preload.runtime import wire\n",
        DOC + "from scone_preload.errors import UserError\n",
    ),
}  # fmt: skip


@pytest.mark.parametrize("rule", CASES)
def test_a_rule_notices_what_breaks_it_and_nothing_else(rule: str) -> None:
    path, bad, good = CASES[rule]
    assert rule in [problem.rule for problem in check({path: bad})]
    assert [problem for problem in check({path: good}) if problem.rule == rule] == []


BAD_LEAVING = {
    "libshim/enclave/x.S": "\tmov $1, %eax\n\tsyscall\n",
    "libshim/enclave/y.S": "label: syscall\n",
    "libshim/enclave/z.S": "\tint $0x80\n",
    "libshim/enclave/x.c": '\t__asm__ volatile("syscall" : "=a"(r));\n',
    "libshim/enclave/y.c": '\t__asm__ volatile("mov %rcx, %r10\\n"\n\t\t"syscall\\n");\n',
}


@pytest.mark.parametrize("path", BAD_LEAVING)
def test_only_the_gate_leaves(path: str) -> None:
    def found(name: str) -> list[str]:
        return [problem.rule for problem in check({name: HEAD + BAD_LEAVING[path]})]

    assert "syscall-instruction" in found(path)
    assert "syscall-instruction" not in found("libshim/enclave/gate.S")
    assert "syscall-instruction" not in found(path.replace("enclave", "host"))


def test_a_long_python_function_is_noticed() -> None:
    path = "scone_preload/spec/x.py"
    assert [problem.rule for problem in check({path: long_python(41)})] == ["function-length"]
    assert check({path: long_python(40)}) == []


def test_a_call_has_one_definition() -> None:
    body = HEAD + "long sys_read(struct frame *frame)\n{\n}\n"
    files = {"libshim/enclave/a.c": body, "libshim/enclave/b.c": body}
    assert [(problem.path, problem.rule) for problem in check(files)] == [("libshim/enclave/b.c", "one-definition")]
    assert check({"libshim/enclave/a.c": body}) == []


def test_a_cycle_of_imports_is_noticed() -> None:
    files = {
        "scone_preload/spec/a.py": DOC + "from scone_preload.spec import b\n",
        "scone_preload/spec/b.py": DOC + "from scone_preload.spec.c import x\n",
        "scone_preload/spec/c.py": DOC + "import scone_preload.spec.a\n",
        "scone_preload/spec/d.py": DOC + "",
    }
    assert [problem.path for problem in check(files) if problem.rule == "import-cycle"] == list(files)[:3]
    files["scone_preload/spec/c.py"] = DOC
    assert check(files) == []


def test_an_allowance_needs_a_reason_and_a_use() -> None:
    problems = [Problem("a.c", 3, "goto", "x"), Problem("b.c", 4, "goto", "x")]
    assert apply_allowances(problems, "a.c: goto: the state machine reads better\n") == [problems[1]]
    left = apply_allowances(problems, "a.c: goto:\nc.c: goto: long gone\n")
    assert [(problem.line, problem.rule) for problem in left] == [(4, "goto"), (1, "no-reason"), (2, "unused")]


def test_a_problem_is_printed_as_file_line_rule_remedy() -> None:
    assert str(Problem("a.c", 3, "goto", "return early")) == "a.c:3: goto: return early"
