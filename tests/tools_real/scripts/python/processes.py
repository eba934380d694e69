# ruff: noqa - a program as its users write it
import multiprocessing as mp, os, sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import shared_memory


def square(x):
    return x * x


def fill(name, lock, counter, inbox, outbox):
    block = shared_memory.SharedMemory(name)
    for _ in range(100):
        with lock:
            counter.value += 1
    block.buf[inbox.get()] = 7
    outbox.put(os.getpid() != os.getppid())
    block.close()


def main(method):
    context = mp.get_context(method)
    with ProcessPoolExecutor(3, context) as pool:
        print(method, list(pool.map(square, range(20), chunksize=3)))
    block = shared_memory.SharedMemory(create=True, size=100)
    lock, counter = context.Lock(), context.Value("i", 0, lock=False)
    inbox, outbox = context.Queue(), context.Queue()
    children = [context.Process(target=fill, args=(block.name, lock, counter, inbox, outbox)) for _ in range(4)]
    for child in children:
        child.start()
    for i in range(4):
        inbox.put(i)
    print([outbox.get(timeout=30) for _ in range(4)])
    for child in children:
        child.join()
    print(counter.value, bytes(block.buf[:6]), [child.exitcode for child in children])
    block.close()
    block.unlink()


if __name__ == "__main__":
    for method in ("fork", "spawn", "forkserver"):
        main(method)
