seq 1 20000 | grep 7 | sort -rn | head -5; echo ${PIPESTATUS[@]}
