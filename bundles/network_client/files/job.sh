# Fetches a page from a server outside.
wget -q -O - "http://127.0.0.1:$PORT/index.html"
# It is no server itself.
timeout 1 nc -l -p 0 </dev/null 2>&1 | grep -q "not permitted" && echo "denied: be a server"
exit 0
