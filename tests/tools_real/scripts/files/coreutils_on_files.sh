seq 1 1000 > a
cp a b
mv b c
ln a d
ln -s a e
cat a c d e | sha256sum
wc a
cmp a c
rm e
