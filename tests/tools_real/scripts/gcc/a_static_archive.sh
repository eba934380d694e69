gcc -c twice.c && ar rcD libtwice.a twice.o && gcc main.c libtwice.a -lm -o prog && ./prog x
nm libtwice.a
