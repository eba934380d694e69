# The shell's messages about killed jobs hold pids.
exec 2>/dev/null
timeout 0.2 sleep 10
echo $?
timeout -s KILL 0.2 sleep 10
echo $?
