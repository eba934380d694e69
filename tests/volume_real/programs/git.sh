# A repository is made, filled, branched, merged, packed, checked, cloned.
set -eu
cd "$1"
export HOME="$PWD" GIT_AUTHOR_DATE="2024-01-01T00:00:00Z" GIT_COMMITTER_DATE="2024-01-01T00:00:00Z"
git config --global user.name someone
git config --global user.email someone@example.org
git config --global init.defaultBranch main
git config --global core.fsync all
git config --global pack.threads 1
git init -q one
cd one
for i in $(seq 60); do mkdir -p "d$((i % 7))"; seq "$i" $((i + 500)) >"d$((i % 7))/file$i"; done
git add .
git commit -qm first
git checkout -qb other
seq 900 >d1/file1
git commit -qam second
git checkout -q main
git mv d2 d9
git commit -qm third
git merge -q -m merged other
git gc -q --prune=now
git fsck --full
git status --short
git log --format='%H %s'
cd ..
git clone -q one two
diff -r --exclude=.git one two
find two -name '*.sample' -delete
git -C two remote remove origin
rm -rf one
# What holds times and inode numbers differs from run to run.
rm -f two/.git/index two/.git/logs -r
