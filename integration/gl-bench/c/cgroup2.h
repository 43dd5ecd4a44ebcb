/* The cgroup of the floor on a host with cgroup v2 alone. */
#ifndef CGROUP2_H
#define CGROUP2_H

/* Allows the devices that Docker's shape allows, and no others, in the cgroup whose directory is open as `group`.
 * Returns -1 with errno set if the kernel refuses. */
int limit_devices(int group);

#endif
