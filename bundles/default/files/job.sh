# An ordinary program: a server, and a client of it over loopback.
mkdir /tmp/www
echo "hello from a server inside" >/tmp/www/index.html
httpd -p 127.0.0.1:8080 -h /tmp/www
wget -q -O - http://127.0.0.1:8080/
# Nothing that administers the system, though config.json gives CAP_SYS_ADMIN.
mount -t tmpfs none /tmp 2>/dev/null || echo "denied: mount a filesystem"
