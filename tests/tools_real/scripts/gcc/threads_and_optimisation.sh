gcc -O3 -flto=2 main.c twice.c -lm -o prog && ./prog
echo $?
rm prog
