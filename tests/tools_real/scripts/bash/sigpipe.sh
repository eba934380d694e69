yes | head -3; echo ${PIPESTATUS[0]}
