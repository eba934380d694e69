git archive HEAD | md5sum
git archive HEAD | tar t | wc -l
