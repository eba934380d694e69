truncate -s 10M s
cp --sparse=always s t
du s t | cut -f1
cmp s t
