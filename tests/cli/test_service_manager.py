"""P6: what a service manager hands to a service arrives, and what the service tells it comes from the right process.

The manager here is a datagram socket that asks for credentials, and a listening socket at descriptor 3, as systemd has
them; natively, wrapped by each exit, rewritten, and behind a shell that execs.
"""

import array
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.modes import MODES, OPTIONS, SCONE_WRAP, Mode, command

SOURCE = r"""
#define _GNU_SOURCE
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static struct sockaddr_un manager;
static socklen_t manager_size;

static int sender(void)
{
	const char *name = getenv("NOTIFY_SOCKET");

	manager.sun_family = AF_UNIX;
	strcpy(manager.sun_path, name);
	if (*name == '@')
		manager.sun_path[0] = 0;
	manager_size = offsetof(struct sockaddr_un, sun_path) + strlen(name) + (*name != '@');
	return socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

/* As sd_pid_notify_with_fds() does it: sendmsg to the address, with a descriptor (-1: none). */
static void tell(const char *text, int fd)
{
	char control[CMSG_SPACE(sizeof fd)] = { 0 };
	struct iovec part = { (char *)text, strlen(text) };
	struct msghdr message = { .msg_name = &manager, .msg_iov = &part, .msg_iovlen = 1 };
	struct cmsghdr *head;
	int from = sender();

	message.msg_namelen = manager_size;
	if (fd >= 0) {
		message.msg_control = control;
		message.msg_controllen = sizeof control;
		head = CMSG_FIRSTHDR(&message);
		*head = (struct cmsghdr){ CMSG_LEN(sizeof fd), SOL_SOCKET, SCM_RIGHTS };
		memcpy(CMSG_DATA(head), &fd, sizeof fd);
	}
	if (sendmsg(from, &message, MSG_NOSIGNAL) < 0)
		perror("notify");
	close(from);
}

int main(void)
{
	char line[256], *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
	int from, connection;

	snprintf(line, sizeof line, "READY=1\nMAINPID=%d\nSTATUS=listen pid %s, fds %s", getpid(),
			pid && atoi(pid) == getpid() ? "mine" : "wrong", count ? count : "none");
	tell(line, -1);
	from = sender();				/* by a connected socket, written to */
	if (connect(from, (struct sockaddr *)&manager, manager_size) || write(from, "WATCHDOG=1", 10) != 10)
		perror("watchdog");
	close(from);
	tell("FDSTORE=1\nFDNAME=kept", 3);
	connection = accept4(3, NULL, NULL, SOCK_CLOEXEC);
	if (connection < 0 || dprintf(connection, "served\n") != 7)
		perror("accept");
	close(connection);
	if (fork() == 0) {
		tell("STATUS=child", -1);
		_exit(0);
	}
	wait(NULL);
	tell("STOPPING=1", -1);
	return 0;
}
"""


class Manager:
    """Runs one service as its main process."""

    def __init__(self, folder: Path, address: str) -> None:
        self.address = address
        self.notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notified.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.notified.settimeout(60)
        self.notified.bind(address.replace("@", "\0", 1) if address.startswith("@") else address)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(folder / "listen"))
        self.listener.listen()
        self.pid = 0

    def start(self, argv: list[str]) -> None:
        self.pid = os.fork()
        if self.pid == 0:
            os.dup2(self.listener.fileno(), 3)
            os.closerange(4, 64)
            environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "LISTEN_FDS": "1"}
            environment |= {"LISTEN_PID": str(os.getpid()), "NOTIFY_SOCKET": self.address}
            os.execve(argv[0], argv, environment)

    def told(self) -> tuple[str, int, list[int]]:
        """The next message, the process it comes from as the kernel says, the descriptors with it."""
        text, ancillary, _, _ = self.notified.recvmsg(4096, 256)
        pid, descriptors = 0, array.array("i")
        for _, kind, data in ancillary:
            if kind == socket.SCM_CREDENTIALS:
                pid = struct.unpack("iII", data)[0]
            else:
                descriptors.frombytes(data)
        return text.decode(), pid, list(descriptors)

    def connect(self) -> bytes:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(60)
            client.connect(self.listener.getsockname())
            return client.recv(100)

    def close(self) -> None:
        self.notified.close()
        self.listener.close()
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("service")
    (folder / "service.c").write_text(SOURCE)
    subprocess.run(["gcc", "-o", folder / "service", folder / "service.c"], check=True)
    for mode, options in OPTIONS.items():
        subprocess.run([SCONE_WRAP, *options, "--rewrite", folder / f"by-{mode}", folder / "service"], check=True)
    return folder / "service"


@pytest.fixture(params=["by a path", "abstract"])
def manager(request: pytest.FixtureRequest) -> Iterator[Manager]:
    folder = Path(tempfile.mkdtemp())
    running = Manager(folder, f"@{folder}/notify" if request.param == "abstract" else f"{folder}/notify")
    yield running
    running.close()
    shutil.rmtree(folder)


def serve(manager: Manager, argv: list[str]) -> None:
    """Start the service and hold what it says against what it would say natively."""
    manager.start(argv)
    main = manager.pid
    assert manager.told() == (f"READY=1\nMAINPID={main}\nSTATUS=listen pid mine, fds 1", main, [])
    assert manager.told() == ("WATCHDOG=1", main, [])
    text, pid, (kept,) = manager.told()
    assert (text, pid) == ("FDSTORE=1\nFDNAME=kept", main)
    assert os.path.sameopenfile(kept, manager.listener.fileno())
    os.close(kept)
    assert manager.connect() == b"served\n"
    text, pid, _ = manager.told()
    assert text == "STATUS=child"
    assert pid not in (0, main)
    assert manager.told() == ("STOPPING=1", main, [])
    assert os.waitstatus_to_exitcode(os.waitpid(main, 0)[1]) == 0
    manager.pid = 0


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
def test_notices_and_sockets_pass_through(manager: Manager, service: Path, mode: Mode) -> None:
    serve(manager, command(mode, [service]))


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
def test_they_do_behind_a_shell_that_execs_the_service(manager: Manager, service: Path, mode: Mode) -> None:
    serve(manager, command(mode, ["/bin/sh", "-c", f"exec {service}"]))


@pytest.mark.parametrize("mode", OPTIONS)
def test_they_do_for_a_rewritten_service(manager: Manager, service: Path, mode: str) -> None:
    serve(manager, [str(service.with_name(f"by-{mode}"))])
