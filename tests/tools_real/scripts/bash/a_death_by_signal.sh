# The shell's messages about killed jobs hold pids.
exec 2>/dev/null
bash -c 'kill -TERM $$'
echo $?
bash -c 'kill -KILL $$'
echo $?
