# ruff: noqa - a program as its users write it
import asyncio, signal, os, sys


async def serve(reader, writer):
    while line := await reader.readline():
        writer.write(line.upper())
        await writer.drain()
    writer.close()


async def ask(port, number):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"hello %d\n" % number * 100)
    writer.write_eof()
    data = await reader.read()
    writer.close()
    return len(data), data[:9]


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    print(await asyncio.gather(*(ask(port, n) for n in range(30))))
    server.close()
    process = await asyncio.create_subprocess_exec(
        "sort", "-n", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate(b"3\n1\n2\n")
    print(out, process.returncode)
    heard = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, heard.set)
    os.kill(os.getpid(), signal.SIGUSR1)
    await asyncio.wait_for(heard.wait(), 5)
    try:
        await asyncio.wait_for(asyncio.sleep(10), 0.1)
    except TimeoutError:
        print("timed out")
    print(await asyncio.to_thread(lambda: sum(range(1000))))
    print(await asyncio.get_running_loop().getaddrinfo("localhost", 80, type=1, family=2))


asyncio.run(main())
