seq 1 100 | tee a b | tail -n 2
cmp a b
tail -c 10 a
tac a | head -1
