# A shell's redirections: all kinds, here-documents bigger than a pipe, descriptors that outlive names, locks.
set -eu
cd "$1"
echo one >file
echo two >>file
exec 5<>file
read -r line <&5
echo "$line"
echo TWO >&5
cat file
exec 5<&-
cat <<-END >here
	$(seq 30000)
END
wc -lc <here | tr -s ' '
while read -r a; do last=$a; done <here
echo "$last"
cat <(sort -rn here | head -3) <(tail -1 here)
set -C
(echo no >file) 2>/dev/null || echo "not overwritten"
echo yes >|file
exec 6>gone
rm gone
echo hidden >&6
cat /proc/self/fd/6
exec 6>&-
(flock 9; echo locked; sleep 0.1) 9>lock
for i in 1 2 3 4; do (for j in $(seq 200); do echo "$i $j"; done >>appended) & done
wait
sort appended | uniq | wc -l
sort appended -n -S 64K -T . | tail -1
mkdir -p deep/er
cd deep/er
echo inside >../up
cat ../up
pwd -P | sed 's|.*/||'
ls -A .. | LC_ALL=C sort
cd ../..
awk '{ print > "part" $1 }' appended
wc -l part* | tail -1 | tr -s ' '
sed -i s/1/one/ part1
head -1 part1
printf '%s\n' * | wc -l
[ part1 -nt file ] && [ -s part1 ] && [ -O part1 ] && echo newer
mktemp -p . tmp.XXXX >/dev/null
rm tmp.*
perl -e 'open(F,"+<","part2"); seek(F,2,0); print F "XX"; close F; truncate("part3", 100)'
head -2 part2
rm appended
stat -c %s part3
