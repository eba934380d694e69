# The shell's messages about killed jobs hold pids.
exec 2>/dev/null
ulimit -n 50
ulimit -n
ulimit -f 1
head -c 3000 /dev/zero > big
echo $?
stat -c %s big
