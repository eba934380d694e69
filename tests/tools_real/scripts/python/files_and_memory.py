# ruff: noqa - a program as its users write it
import array, fcntl, mmap, os, select, signal, socket, sqlite3, tempfile, time, zipfile

with open("f", "wb+") as file:
    file.truncate(1 << 16)
    with mmap.mmap(file.fileno(), 0) as view:
        view[100:105] = b"hello"
        view.flush()
    file.seek(100)
    print(file.read(5))
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
with zipfile.ZipFile("z.zip", "w") as archive:
    archive.writestr(zipfile.ZipInfo("inner"), b"x" * 100000)
print(zipfile.ZipFile("z.zip").read("inner")[:3])
with sqlite3.connect("db") as database:
    database.execute("create table t(x)")
    database.executemany("insert into t values (?)", [(n,) for n in range(1000)])
    print(database.execute("select sum(x) from t").fetchone())
database.close()
a, b = socket.socketpair()
print(socket.send_fds(a, [b"m"], [0, 1]), len(socket.recv_fds(b, 10, 5)[1]))
poller = select.epoll()
poller.register(b, select.EPOLLIN)
a.send(b"x")
print(poller.poll(1) == [(b.fileno(), select.EPOLLIN)])
with tempfile.TemporaryDirectory(dir=".") as directory:
    print(len(os.listdir(directory)), os.stat(directory).st_mode & 0o777 == 0o700)
signal.signal(signal.SIGALRM, lambda *_: print("alarm"))
signal.setitimer(signal.ITIMER_REAL, 0.05)
time.sleep(0.2)
print(sorted(entry.name for entry in os.scandir(".")))
os.unlink("db")
os.copy_file_range(os.open("f", os.O_RDONLY), os.open("g", os.O_WRONLY | os.O_CREAT), 200)
print(os.path.getsize("g"), os.get_blocking(0), os.cpu_count() > 0, os.umask(0o22) == 0o22)
