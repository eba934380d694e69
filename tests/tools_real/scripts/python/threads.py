# ruff: noqa - a program as its users write it
import os, queue, socket, threading

results = queue.Queue()


def work(number):
    path = f"file-{number}"
    for i in range(50):
        with open(path, "a") as file:
            file.write(f"{number} {i}\n")
    a, b = socket.socketpair()
    a.sendall(b"x" * number)
    a.close()
    size = 0
    while part := b.recv(100):
        size += len(part)
    b.close()
    results.put((number, size, os.path.getsize(path)))


threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 33)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(sorted(results.queue))
