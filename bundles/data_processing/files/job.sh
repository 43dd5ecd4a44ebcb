# A pipeline of programs over a file.
tr -cs 'a-z' '\n' </words | sort | uniq -c | sort -k1,1nr -k2 | head -n 3 | sed 's/^ *//' >/tmp/top
cat /tmp/top
# No network: there is not even a socket to be refused with.
nc 127.0.0.1 80 </dev/null 2>&1 | grep -q "not permitted" && echo "denied: make a socket"
exit 0
