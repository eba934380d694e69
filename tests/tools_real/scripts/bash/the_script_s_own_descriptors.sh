ls /proc/self/fd | wc -l
ls -l /proc/$$/fd | grep -c pipe
readlink /proc/self | wc -l
