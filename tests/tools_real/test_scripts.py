"""P1, P6: bash, coreutils, find, tar, gzip, perl, git, gcc, curl: output, files and exit status are as natively."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet

from tests.tools_real.conftest import Same, Seen

SCRIPTS = Path(__file__).parent / "scripts"
# Dates and names are fixed, so every object id is the same in each run.
GIT = """
set -e
export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@example.org GIT_AUTHOR_DATE='2001-01-01T00:00:00Z'
export GIT_COMMITTER_NAME=C GIT_COMMITTER_EMAIL=c@example.org GIT_COMMITTER_DATE='2001-01-02T00:00:00Z'
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null
git init -q -b main one
cd one
for i in $(seq 1 60); do seq 1 $((i * 20)) > file-$i; done
git add .
git commit -q -m first
echo changed >> file-7
git rm -q file-9
git mv file-8 renamed
git commit -q -a -m second
git log --format='%H %s' --stat | tail -20
"""
# The index holds times and inode numbers, the log the committer's clock; git's own output says what they mean.
GIT_PRIVATE = ("index", ".pack", ".idx", ".rev", ".bitmap", "gc.pid", "logs/")
GCC = """
cat > main.c <<'END'
#include <stdio.h>
#include <math.h>
int twice(int);
int main(int count, char **words) { printf("%d %.3f %s\\n", twice(count), cos(count), words[count - 1]); return count; }
END
echo 'int twice(int x) { return 2 * x; }' > twice.c
"""


def scripts(group: str) -> list[ParameterSet]:
    """The texts of a folder's scripts, with their names as sentences."""
    found = sorted((SCRIPTS / group).iterdir())
    return [pytest.param(path.read_text(), id=path.stem.replace("_", " ")) for path in found]


@pytest.mark.parametrize("script", scripts("bash"))
def test_p6_a_bash_script_gives_the_same(script: str, same: Same) -> None:
    same(lambda tool: tool.shell(script))


@pytest.mark.parametrize("script", scripts("files"))
def test_p6_file_tools_give_the_same_files(script: str, same: Same) -> None:
    same(lambda tool: tool.shell(script))


@pytest.mark.parametrize("program", scripts("perl"))
def test_p6_perl_gives_the_same(program: str, same: Same) -> None:
    assert same(lambda tool: tool.run("perl", "-e", program)).status == 0


@pytest.mark.parametrize("script", scripts("git"))
def test_p6_git_gives_the_same_objects(script: str, same: Same) -> None:
    seen = same(lambda tool: without(tool.shell(GIT + script), GIT_PRIVATE))
    assert seen.status == 0, seen.err


def without(seen: Seen, parts: tuple[str, ...]) -> Seen:
    """What was seen, without files whose names hold one of the parts."""
    files = {name: what for name, what in seen.files.items() if not any(part in name for part in parts)}
    return Seen(seen.status, seen.out, seen.err, files)


@pytest.mark.parametrize("script", scripts("gcc"))
def test_p6_gcc_gives_the_same_programs(script: str, same: Same) -> None:
    same(lambda tool: tool.shell(GCC + script))


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a directory and gives back, reversed, what is posted; says nothing."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(201)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[::-1])


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a server on loopback."""
    root: Path = tmp_path_factory.mktemp("origin")
    (root / "page").write_bytes(b"page\n" * 1000)
    (root / "large").write_bytes(bytes(range(256)) * 40_000)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(root))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("script", scripts("curl"))
def test_p6_curl_gives_the_same(script: str, same: Same, origin: int) -> None:
    same(lambda tool: tool.shell(f"URL=http://127.0.0.1:{origin} PORT={origin}\n{script}"))
