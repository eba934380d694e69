mkdir -p t/u/v
seq 9 > t/u/v/n
chmod 600 t/u/v/n
cp -a t w
diff -r t w && ls -R w
rm -r t
