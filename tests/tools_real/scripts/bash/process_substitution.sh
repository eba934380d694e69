diff <(seq 1 10) <(seq 2 11); echo $?
