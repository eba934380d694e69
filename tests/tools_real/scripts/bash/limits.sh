ulimit -n 50
ulimit -n
ulimit -f 1
head -c 3000 /dev/zero > big
echo $?
stat -c %s big
