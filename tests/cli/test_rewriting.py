"""P6, P7: rewritten programs start wrapped by themselves, look native from inside, and fail closed."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scone_preload.elf.rewritten import compose, read_record, restore
from scone_preload.paths import STARTER
from tests.helpers.modes import OPTIONS

SOURCE = r"""
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>
int main(int count, char **arguments)
{
	char exe[4096] = { 0 }, line[4096];
	FILE *maps = fopen("/proc/self/maps", "r");
	int shims = 0;

	readlink("/proc/self/exe", exe, sizeof exe - 1);
	while (fgets(line, sizeof line, maps))
		shims += strstr(line, "r-xp") && (strstr(line, "/shims/") || strstr(line, "libscone-shim"));
	fclose(maps);
	printf("exe=%s named=%s shims=%d parent=%d", exe, (char *)getauxval(AT_EXECFN), shims, getppid() > 0);
	for (int i = 0; i < count; i++)
		printf(" [%s]", arguments[i]);
	printf("\n");
	fflush(stdout);
	if (count > 1 && !strcmp(arguments[1], "again")) {
		execl(count > 2 ? arguments[2] : arguments[0], arguments[0], "once", NULL);
		perror("again");
		return 3;
	}
	return 7;
}
"""
KINDS = {"pie": ["-pie"], "no-pie": ["-no-pie"], "stripped": ["-s"], "build-id": ["-Wl,--build-id=sha1"]}


def run(*argv: str | Path, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False, **more)  # type: ignore[call-overload,no-any-return]


@pytest.fixture(scope="module")
def programs() -> Iterator[dict[str, Path]]:
    folder = Path(tempfile.mkdtemp())  # every user can reach it
    folder.chmod(0o755)
    (folder / "tool.c").write_text(SOURCE)
    for kind, flags in KINDS.items():
        subprocess.run(["gcc", *flags, "-o", folder / kind, folder / "tool.c"], check=True)
    yield {kind: folder / kind for kind in KINDS}
    shutil.rmtree(folder)


def rewritten(scone_wrap: Path, program: Path, *options: str, name: str = "out") -> Path:
    out = program.with_name(f"{program.name}-{name}")
    done = run(scone_wrap, *options, "--rewrite", out, program)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return out


@pytest.fixture
def out(scone_wrap: Path, programs: dict[str, Path]) -> Path:
    return rewritten(scone_wrap, programs["pie"])


def hosts(marker: str) -> int:
    """How many runtime hosts run for command lines with this in them."""
    found = 0
    for path in Path("/proc").glob("[0-9]*/comm"):
        try:
            own = marker in path.with_name("cmdline").read_text(errors="replace")
            found += own and path.read_text() == "scone-runtime\n"
        except OSError:
            continue
    return found


@pytest.mark.parametrize("mode", OPTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_it_runs_wrapped_and_looks_as_started_directly(
    scone_wrap: Path, programs: dict[str, Path], kind: str, mode: str
) -> None:
    out = rewritten(scone_wrap, programs[kind], *OPTIONS[mode], name=mode)
    done = run(out, "a", "b c", "--stats")
    assert done.stdout == f"exe={out} named={out} shims=1 parent=1 [{out}] [a] [b c] [--stats]\n"
    assert (done.returncode, done.stderr) == (7, "")


def test_it_may_be_started_by_a_relative_path_and_another_argument_0(out: Path) -> None:
    done = run(f"./{out.name}", "x", cwd=out.parent)
    assert done.stdout == f"exe={out} named=./{out.name} shims=1 parent=1 [./{out.name}] [x]\n"
    assert run("nobody", "x", executable=out).stdout == f"exe={out} named={out} shims=1 parent=1 [nobody] [x]\n"


def test_it_may_be_started_by_a_link_and_by_path(out: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(out)
    assert run(tmp_path / "link").stdout == f"exe={out} named={tmp_path}/link shims=1 parent=1 [{tmp_path}/link]\n"
    found = run("sh", "-c", "link", env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert f"exe={out} " in found.stdout


def test_it_may_be_started_by_a_descriptor_and_as_an_interpreter(out: Path, tmp_path: Path) -> None:
    fd = os.open(out, os.O_RDONLY)
    pid = os.fork()
    if pid == 0:
        os.set_inheritable(fd, True)
        os.execve(fd, ["by-descriptor"], dict(os.environ))
    os.close(fd)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    script = tmp_path / "script"
    script.write_text(f"#!{out} option\n")
    script.chmod(0o755)
    assert run(script, "x").stdout.endswith(f"[{out}] [option] [{script}] [x]\n")


@pytest.mark.parametrize("mode", OPTIONS)
@pytest.mark.parametrize("way", ["/proc/self/exe", "argument 0"])
def test_it_may_execute_itself_again_and_stays_wrapped(
    scone_wrap: Path, programs: dict[str, Path], mode: str, way: str
) -> None:
    out = rewritten(scone_wrap, programs["no-pie"], *OPTIONS[mode], name=f"again-{mode}")
    done = run(out, "again", *([way] if way.startswith("/") else []))
    named = way if way.startswith("/") else out
    assert done.stdout.splitlines()[1] == f"exe={out} named={named} shims=1 parent=1 [{out}] [once]"
    assert (done.returncode, done.stderr) == (7, "")


@pytest.mark.parametrize("mode", OPTIONS)
def test_inside_a_wrapped_tree_no_second_runtime_starts(scone_wrap: Path, mode: str, tmp_path: Path) -> None:
    out = tmp_path / "sleep"
    assert run(scone_wrap, "--rewrite", out, "/bin/sleep").returncode == 0
    command = [scone_wrap, *OPTIONS[mode], "sh", "-c", f"{out} 1000 & echo $!; wait"]
    process = subprocess.Popen(command, text=True, stdout=subprocess.PIPE)
    assert process.stdout
    child = int(process.stdout.readline())
    deadline = time.monotonic() + 60
    while Path(f"/proc/{child}/cmdline").read_bytes() != f"{out}\0".encode() + b"1000\0":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert hosts(str(out)) == 1
    assert "shim" in Path(f"/proc/{child}/maps").read_text()
    os.kill(child, 15)
    process.communicate(timeout=60)


def test_embedded_options_are_those_of_the_start(scone_wrap: Path, programs: dict[str, Path], tmp_path: Path) -> None:
    out = rewritten(scone_wrap, programs["pie"], f"--trace={tmp_path}/trace", "--syscalls", "sync", name="options")
    assert run(out, cwd="/").returncode == 7
    assert "exit_group" in (tmp_path / "trace").read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_may_start_it(out: Path) -> None:
    done = run("runuser", "-u", "nobody", "--", out, "x")
    assert done.stdout == f"exe={out} named={out} shims=1 parent=1 [{out}] [x]\n", done.stderr
    assert done.returncode == 7


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file of another's setuid")
def test_one_made_setuid_is_refused_whoever_starts_it(scone_wrap: Path, programs: dict[str, Path]) -> None:
    out = rewritten(scone_wrap, programs["pie"], name="setuid")
    out.chmod(0o4755)
    os.chown(out, 1, 1)
    out.chmod(0o4755)
    done = run("runuser", "-u", "nobody", "--", out)
    assert (done.returncode, done.stdout) == (126, "")
    assert done.stderr.startswith("scone-wrap: setuid program")
    assert run(scone_wrap, "sh", "-c", str(out)).returncode == 126
    verdict = run(scone_wrap, "--verify", out)
    assert verdict.returncode == 1
    assert "setuid" in verdict.stdout


def patched(out: Path, name: str, starter: str) -> Path:
    """A copy of a rewritten program that names another starter."""
    record = read_record(str(out))
    assert record is not None
    original = restore(out.read_bytes(), record)
    record.starter = starter
    copy = out.with_name(name)
    copy.write_bytes(compose(original, record))
    copy.chmod(0o755)
    return copy


def test_without_its_starter_the_kernel_refuses_it(out: Path, scone_wrap: Path) -> None:
    copy = patched(out, "no-starter", f"{out.parent}/gone/scone-start")
    with pytest.raises(FileNotFoundError):
        run(copy)
    done = run(scone_wrap, copy)
    assert done.returncode == 126
    assert "rewritten by another installation" in done.stderr


def test_another_installations_is_refused_inside_a_wrapped_tree(out: Path, scone_wrap: Path) -> None:
    foreign = Path(shutil.copy(STARTER, out.with_name("scone-start")))
    copy = patched(out, "foreign", str(foreign))
    done = run(scone_wrap, "sh", "-c", f"{copy}; echo $?")
    assert done.stdout == "126\n"
    assert "another installation" in done.stderr


def test_without_scone_wrap_it_says_so_and_does_not_run(out: Path, tmp_path: Path) -> None:
    starter = tmp_path / "scone-start"
    raw = Path(STARTER).read_bytes()
    command = f"{Path(STARTER).parents[1]}/.venv/bin/scone-wrap".encode()
    starter.write_bytes(raw.replace(command, b"/gone/scone-wrap".ljust(len(command), b"/")))
    starter.chmod(0o755)
    done = run(patched(out, "no-command", str(starter)))
    assert (done.returncode, done.stdout) == (126, "")
    assert done.stderr.startswith("scone-wrap: scone-wrap, which this program starts with, is gone (/gone/scone-wrap")


def test_left_over_settings_start_it_afresh(out: Path) -> None:
    for fd in ("77", "1"):
        done = run(out, env=os.environ | {"SCONE_SHIM": f"3,{fd},0,1,0,16,5", "LD_PRELOAD": ""})
        assert "shims=1" in done.stdout
        assert done.returncode == 7


def test_settings_without_their_shim_are_refused(out: Path) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        environment = os.environ | {"SCONE_SHIM": f"3,{ours.fileno()},0,1,0,16,5", "LD_PRELOAD": "/gone/shim.so"}
        done = run(out, env=environment, pass_fds=[ours.fileno()])
    assert (done.returncode, done.stdout) == (126, "")
    assert "the shim can't be read" in done.stderr


def refused(done: subprocess.CompletedProcess[str], status: int, *words: str) -> None:
    assert done.returncode == status, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("scone-wrap: ")
    assert not [word for word in words if word not in done.stderr], done.stderr


def test_what_can_not_be_rewritten_is_refused_with_the_remedy(
    scone_wrap: Path, programs: dict[str, Path], out: Path, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    static, script = tmp_path / "static", tmp_path / "script"
    subprocess.run(["gcc", "-static", "-o", static, programs["pie"].with_name("tool.c")], check=True)
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    setuid = Path(shutil.copy("/bin/true", tmp_path / "setuid"))
    setuid.chmod(0o4755)
    refused(run(scone_wrap, "--rewrite", target, static), 126, "static")
    refused(run(scone_wrap, "--rewrite", target, setuid), 126, "setuid")
    refused(run(scone_wrap, "--rewrite", target, script), 126, "a script", "rewrite its interpreter, /bin/sh")
    refused(run(scone_wrap, "--rewrite", target, out), 126, "rewritten already", f"rewrite {programs['pie']}")
    refused(run(scone_wrap, "--rewrite", target, "no-such-tool"), 127, "command not found")
    refused(run(scone_wrap, "--rewrite", target, "/bin/true", "x"), 125, "arguments can't be embedded: x")
    refused(run(scone_wrap, "--rewrite", target), 125, "no program given")
    refused(run(scone_wrap, "--rewrite", tmp_path / "no" / "t", "/bin/true"), 125, "can't write there")
    refused(run(scone_wrap, "--rewrite", tmp_path, "/bin/true"), 125, "a directory")
    refused(run(scone_wrap, "--rewrite", static, "/bin/true"), 125, "no rewritten program")
    refused(run(scone_wrap, "--rewrite", setuid, setuid), 126, "setuid")
    refused(run(scone_wrap, "--rewrite", programs["pie"], programs["pie"]), 125, "its own original")
    assert not target.exists()
    assert not list(tmp_path.glob(".new-*"))


def test_a_library_beside_the_original_is_missed_in_time(scone_wrap: Path, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    (here / "own.c").write_text("int own(void) { return 0; }\n")
    (here / "main.c").write_text("int own(void); int main(void) { return own(); }\n")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", here / "libown.so", here / "own.c"], check=True)
    subprocess.run(["gcc", "-o", here / "main", here / "main.c", "-L", here, "-lown", "-Wl,-rpath,$ORIGIN"], check=True)
    refused(run(scone_wrap, "--rewrite", there / "out", here / "main"), 125, "libown.so", f"write it into {here}")
    assert not list(there.iterdir())
    assert run(scone_wrap, "--rewrite", here / "out", here / "main").returncode == 0
    assert run(here / "out").returncode == 0


class TestVerify:
    def test_what_was_just_written_matches(self, scone_wrap: Path, out: Path) -> None:
        done = run(scone_wrap, "--verify", out)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{out} matches\n", "")

    def test_it_names_each_difference(self, scone_wrap: Path, tmp_path: Path) -> None:
        (tmp_path / "a.c").write_text("int a(void) { return 0; }\n")
        (tmp_path / "main.c").write_text("int a(void); int main(void) { return a(); }\n")
        library = tmp_path / "liba.so"
        build = ["gcc", "-shared", "-fPIC", "-o", library, tmp_path / "a.c"]
        subprocess.run(build, check=True)
        linked = ["gcc", "-o", tmp_path / "main", tmp_path / "main.c", library, f"-Wl,-rpath,{tmp_path}"]
        subprocess.run(linked, check=True)
        out = rewritten(scone_wrap, tmp_path / "main")
        assert run(scone_wrap, "--verify", out).returncode == 0
        subprocess.run([*build, "-g3"], check=True)
        subprocess.run([*linked, "-g3"], check=True)
        done = run(scone_wrap, "--verify", out)
        assert done.returncode == 1
        lines = done.stdout.splitlines()
        assert lines[0].startswith(f"original changed or gone: {tmp_path}/main: ")
        assert lines[1].startswith(f"library changed: {library}: ")
        assert len(lines) == 2
        library.unlink()
        assert f"library no longer loaded: {library}: " in run(scone_wrap, "--verify", out).stdout

    def test_a_changed_byte_of_the_program_is_damage(self, scone_wrap: Path, programs: dict[str, Path]) -> None:
        out = rewritten(scone_wrap, programs["pie"], name="damaged")
        raw = bytearray(out.read_bytes())
        raw[len(raw) // 3] ^= 1
        out.write_bytes(raw)
        done = run(scone_wrap, "--verify", out)
        assert done.returncode == 1
        assert done.stdout.startswith(f"damaged: {out}: it is not the original")

    def test_a_damaged_record_is_reported_and_does_not_start(self, scone_wrap: Path, programs: dict[str, Path]) -> None:
        out = rewritten(scone_wrap, programs["pie"], name="record")
        raw = bytearray(out.read_bytes())
        raw[-3] ^= 1
        out.write_bytes(raw)
        assert run(scone_wrap, "--verify", out).returncode == 1
        started = run(out)
        assert (started.returncode, started.stdout) == (126, "")
        assert "damaged rewritten program" in started.stderr

    def test_other_files_are_no_rewritten_programs(self, scone_wrap: Path) -> None:
        refused(run(scone_wrap, "--verify", "/bin/true"), 125, "not a rewritten program")
        refused(run(scone_wrap, "--verify", "/nowhere"), 125, "can't be read")
        refused(run(scone_wrap, "--verify", "/bin/true", "x"), 125, "--verify stands alone")


CALM = '[files]\nunlisted = "system"\n[environment]\nunlisted = "drop"\npass = ["PATH", "HOME"]\n'


def with_policy(scone_wrap: Path, binary: str, folder: Path, text: str, *options: str) -> Path:
    """A rewritten program with this policy in it, whose file is gone by now."""
    (folder / "p.toml").write_text(f"version = 1\n{text}")
    out = folder / f"{Path(binary).name}-wrapped"
    done = run(scone_wrap, "--policy", "p.toml", *options, "--rewrite", out, binary, cwd=folder)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    (folder / "p.toml").unlink()
    return out


class TestPolicy:
    @pytest.mark.parametrize("mode", OPTIONS)
    def test_it_runs_under_the_policy_in_it(self, scone_wrap: Path, tmp_path: Path, mode: str) -> None:
        out = with_policy(scone_wrap, "/bin/cat", tmp_path, CALM, *OPTIONS[mode], "--env", "A=b")
        done = run(out, "/etc/hostname", cwd="/")
        assert (done.returncode, done.stdout) == (1, "")
        line = f'denied by files.unlisted = "system": read /etc/hostname: policy in {out}:'
        assert done.stderr.startswith(f"scone-wrap: {line}")
        given = run(out, "/proc/self/environ", env={"PATH": "/bin", "HOME": "/", "DROPPED": "1"})
        assert given.stdout == "PATH=/bin\0HOME=/\0A=b\0"

    def test_flags_are_enough_and_the_text_in_it_is_the_effective_policy(
        self, scone_wrap: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "out"
        flags = ["--preset", "sqlite", "--deny", "uname", "--secret", "/run/secrets/a=env:TOPSECRET"]
        environment = {"PATH": "/usr/bin:/bin", "TOPSECRET": "xyzzy-0451"}
        assert run(scone_wrap, *flags, "--rewrite", out, "/bin/cat", env=environment).returncode == 0
        assert b"xyzzy-0451" not in out.read_bytes()
        words = [
            [line.partition("  #")[0] for line in run(scone_wrap, *way, "--print-policy").stdout.splitlines()]
            for way in (flags, ["--policy", str(out)])
        ]
        assert words[0] == words[1]
        assert run(out, "/run/secrets/a", env=environment).stdout == "xyzzy-0451"
        lost = run(out, "/run/secrets/a", env={"PATH": "/bin"})
        assert (lost.returncode, "set TOPSECRET for scone-wrap" in lost.stderr) == (125, True)

    def test_strict_measures_the_starter_too_at_a_start_and_at_an_exec(self, scone_wrap: Path, tmp_path: Path) -> None:
        inner = tmp_path / "true-again"
        assert run(scone_wrap, "--rewrite", inner, "/bin/true").returncode == 0
        unknown = tmp_path / "unknown"  # a rewritten program that this user's cache has never seen
        shutil.copy(inner, unknown)
        programs = f'[exec]\nunlisted = "refuse"\nprograms = ["{inner}", "{unknown}"]\n'
        out = with_policy(scone_wrap, "/bin/sh", tmp_path, programs)
        done = run(out, "-c", f"{inner} && {unknown} && echo both; /bin/ls")
        assert done.stdout == "both\n", done.stderr
        assert "denied by exec.unlisted" in done.stderr

    def test_a_changed_byte_of_the_policy_is_refused_and_named(self, scone_wrap: Path, tmp_path: Path) -> None:
        out = with_policy(scone_wrap, "/bin/cat", tmp_path, CALM)
        assert run(scone_wrap, "--verify", out).returncode == 0
        raw = out.read_bytes()
        at = raw.rindex(b'"system"')
        out.write_bytes(raw[:at] + b'"pass"  ' + raw[at + 8 :])
        done = run(out, "/etc/hostname")
        assert (done.returncode, done.stdout) == (126, "")
        assert "damaged rewritten program" in done.stderr
        verdict = run(scone_wrap, "--verify", out)
        assert verdict.returncode == 1
        assert f"policy changed: {out}: " in verdict.stdout

    def test_one_whose_checksum_was_made_anew_is_found_by_verify(self, scone_wrap: Path, tmp_path: Path) -> None:
        out = with_policy(scone_wrap, "/bin/cat", tmp_path, CALM)
        record = read_record(str(out))
        assert record is not None
        assert record.policy is not None
        original = restore(out.read_bytes(), record)
        record.policy = record.policy.replace(b'"system"', b'"pass"')
        out.write_bytes(compose(original, record))
        verdict = run(scone_wrap, "--verify", out)
        assert (verdict.returncode, verdict.stdout.splitlines()[0].partition(": ")[0]) == (1, "policy changed")

    def test_what_can_not_be_embedded_is_refused_before_anything_is_written(
        self, scone_wrap: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "out"
        refused(run(scone_wrap, "--tls", "443", "--rewrite", out, "/bin/true"), 126, "can't shield that yet")
        refused(run(scone_wrap, "--learn", "p.toml", "--rewrite", out, "/bin/true"), 125, "--learn")
        refused(run(scone_wrap, "--policy", "/bin/true", "--rewrite", out, "/bin/true"), 125, "without a policy in it")
        assert not out.exists()
