open F, ">f"; print F "line $_\n" for 1..2000; close F;
open F, "f"; my @lines = <F>; print scalar @lines;
open P, "sort -r f|"; my @sorted = <P>; print $sorted[0]; close P; print $?;
