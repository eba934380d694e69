timeout 0.2 sleep 10
echo $?
timeout -s KILL 0.2 sleep 10
echo $?
