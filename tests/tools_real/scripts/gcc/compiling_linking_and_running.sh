gcc -O2 -c main.c twice.c && gcc main.o twice.o -lm -o prog && ./prog a b
echo $?
