# ruff: noqa - a program as its users write it
import os, signal, subprocess, sys

print(subprocess.run(["tr", "a-z", "A-Z"], input=b"some text", capture_output=True).stdout)
print(subprocess.run([sys.executable, "-c", "import sys; sys.exit(5)"]).returncode)
print(subprocess.run("echo $A; exit 4", shell=True, env={"A": "only"}, capture_output=True))
print(subprocess.check_output(["env", "-i", "/usr/bin/env"], env={}))
first = subprocess.Popen(["seq", "5000"], stdout=subprocess.PIPE)
second = subprocess.Popen(["sort", "-rn"], stdin=first.stdout, stdout=subprocess.PIPE)
first.stdout.close()
print(second.communicate()[0][:30], first.wait(), second.returncode)
sleeper = subprocess.Popen(["sleep", "60"], start_new_session=True)
os.killpg(sleeper.pid, signal.SIGTERM)
print(sleeper.wait())
try:
    subprocess.run(["sleep", "60"], timeout=0.3)
except subprocess.TimeoutExpired as late:
    print("late", late.timeout > 0)
try:
    subprocess.run(["/no/such/program"])
except FileNotFoundError as error:
    print(error)
read, write = os.pipe()
os.set_inheritable(write, True)
subprocess.run(["sh", "-c", f"echo through >&{write}"], pass_fds=(write,), cwd="/")
print(os.read(read, 100))
print(os.posix_spawn("/bin/sh", ["sh", "-c", "exit 9"], {}) > 0, os.waitstatus_to_exitcode(os.wait()[1]))
