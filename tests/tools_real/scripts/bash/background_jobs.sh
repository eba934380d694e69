sleep 0.1 & a=$!
sleep 0.05 & b=$!
wait $a
echo $?
wait $b
echo $?
jobs
echo done
