echo more >> file-1
git stash -q
git stash list
git stash pop -q
git blame -s file-7 | tail -2
