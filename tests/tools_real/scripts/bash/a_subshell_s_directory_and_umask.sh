mkdir d; (cd d; umask 077; touch inner); pwd | tail -c 6; touch outer; ls -l d | wc -l
