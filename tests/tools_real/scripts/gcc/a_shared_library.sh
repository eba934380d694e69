gcc -fPIC -shared twice.c -o libtwice.so && gcc main.c -L. -ltwice -lm -Wl,-rpath,. -o prog && ./prog
echo $?
