seq 1 3000 > a; grep -c 11 a; sed -i 's/1/one/g' a; awk '/one/ { n++ } END { print n }' a; md5sum a
