git status --short
git fsck --strict
git diff HEAD~1 --stat | tail -1
