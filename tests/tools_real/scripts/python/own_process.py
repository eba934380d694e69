# ruff: noqa - a program as its users write it
import os, resource, sys, time

print(len(os.listdir("/proc/self/fd")), os.readlink("/proc/self") == str(os.getpid()))
print([name for name in os.environ if name.startswith(("LD_", "SCONE"))])
print(open("/proc/self/cmdline").read().split("\0")[1:-1] == sys.argv[0:] or sys.argv)
print(os.getsid(0) == os.getpgid(0), os.getppid() > 0, os.nice(0))
pid = os.fork()
if pid == 0:
    os.execvpe("sh", ["sh", "-c", "ls /proc/self/fd | wc -l; exit 3"], {"PATH": os.environ["PATH"]})
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
opened = []
try:
    while True:
        opened.append(os.open("/dev/null", os.O_RDONLY))
except OSError as error:
    print(error.errno, len(opened))
