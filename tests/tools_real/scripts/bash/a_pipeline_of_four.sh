seq 1 20000 | grep 7 | sort -rn | sed -n 1,5p; echo ${PIPESTATUS[@]}
