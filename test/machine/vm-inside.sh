# Runs in a virtual machine when its boot is over (see vm-image.sh): mounts what belongs to it, and does its job on its
# terminal, the host's descriptors.
set -eu
# The host is waiting: without its job this machine has nothing to live for.
trap 'systemctl reboot -ff' EXIT
stty -F /dev/ttyS0 raw -echo
exec </dev/ttyS0 >/dev/ttyS0
swapon /dev/ubdb
modprobe quota_v2
mount -o prjquota /dev/ubdc /srv
mkdir -p /run/host
mount -t hostfs none /run/host
number=0
while read -r path; do
	number=$((number + 1))
	mkdir -p "$path"
	mount --bind "/run/host/$number" "$path"
done </run/host/paths
exec 2>&1
exec /bin/sh /run/host/job
