"""Makes many kinds of syscalls, some of which fail; test_truth.py records what the kernel says."""

import contextlib
import fcntl
import mmap
import os
import select
import socket
import tempfile
import threading
import time


def fail_in_known_ways(peer: socket.socket) -> None:
    peer.setblocking(False)
    for attempt in (
        lambda: peer.recv(1),
        lambda: socket.create_connection(("127.0.0.1", 1)),
        lambda: os.open("/none", 0),
        lambda: os.mkdir("/proc/none"),  # noqa: PTH102
        lambda: os.getxattr("/", "user.none"),
        lambda: os.lseek(peer.fileno(), 0, 0),
        lambda: os.kill(1 << 21, 0),
    ):
        with contextlib.suppress(OSError):
            attempt()


def use_sockets() -> None:
    one, other = socket.socketpair()
    one.send(b"x" * 10)
    other.recv(100, socket.MSG_PEEK)
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    one.send(b"y" * 50)
    other.recv_into(bytearray(60), 1, socket.MSG_PEEK | socket.MSG_TRUNC)
    other.recvmsg(5, 64)
    server = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(server.getsockname())
    peer, _ = server.accept()
    fail_in_known_ways(peer)
    poll = select.epoll()
    poll.register(peer, select.EPOLLIN)
    client.send(b"z")
    poll.poll()
    peer.recv(9)
    poll.poll(0.01)
    select.select([peer], [client], [], 0.01)
    select.poll().poll(1)


def use_files() -> None:
    with tempfile.TemporaryFile() as file:
        file.write(b"data" * 2000)
        file.flush()
        fd = file.fileno()
        os.fsync(fd)
        reader, writer = os.pipe()
        os.sendfile(writer, fd, 0, 100)
        os.read(reader, 4096)
        os.pread(fd, 10, 5)
        os.preadv(fd, [bytearray(5), bytearray(9000)], 0)
        os.posix_fallocate(fd, 0, 9000)
        fcntl.lockf(file, fcntl.LOCK_EX)
        os.copy_file_range(fd, fd, 10, 0, 9000)
        mmap.mmap(fd, 100).close()
        os.listxattr(fd)
        os.statvfs(fd)
        os.dup2(fd, 50)


def use_processes() -> None:
    thread = threading.Thread(target=time.sleep, args=(0.01,))
    thread.start()
    thread.join()
    if os.fork() == 0:
        os._exit(3)
    os.wait()
    os.getgroups()
    os.getpriority(os.PRIO_PROCESS, 0)
    os.sched_getaffinity(0)
    os.times()


if __name__ == "__main__":
    use_sockets()
    use_files()
    use_processes()
