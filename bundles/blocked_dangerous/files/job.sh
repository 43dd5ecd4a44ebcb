# Nearly everything works: processes, pipes, files, sockets.
seq 1 100 | awk '{ sum += $1 } END { print "the sum is " sum }'
# What leads out of a sandbox does not, though config.json gives CAP_SYS_ADMIN.
unshare -U true 2>/dev/null || echo "denied: make a user namespace"
mount -t tmpfs none /tmp 2>/dev/null || echo "denied: mount a filesystem"
