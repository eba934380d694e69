open F, ">f"; print F "line $_\n" for 1..2000; close F; open F, "f"; my @l = <F>; print scalar @l; open P, "sort -r f|"; print scalar <P>; close P; print $?
