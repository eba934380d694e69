cat <<END
first $((1 + 1))
second
END
cat <<<'a here string'
