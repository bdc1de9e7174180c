# The first process of a machine's own pid and mount namespaces (see boot.go). When it ends, the kernel ends everything in
# the machine and takes the mounts made here with it. $1: the machine's directory; $2: the root tree; $3: the machine's
# cgroups; the rest: how to start systemd-nspawn on $1/mnt/root.
set -eu
dir=$1 tree=$2 groups=$3
shift 3
mount --make-rprivate /
mount -t proc proc /proc
# nspawn keeps its locks here: ours are nobody else's business.
mount -t tmpfs -o mode=755 tmpfs /run/systemd/nspawn
mount -t tmpfs -o mode=755 tmpfs "$dir/mnt"
mkdir "$dir/mnt/upper" "$dir/mnt/work" "$dir/mnt/root"
mount -t overlay -o "lowerdir=$tree,upperdir=$dir/mnt/upper,workdir=$dir/mnt/work" overlay "$dir/mnt/root"
# With 133 nspawn ends for a reboot, where it is to be started again by whoever keeps its unit.
code=133
while [ "$code" = 133 ]; do
	code=0
	(
		for group in $groups; do echo 0 >"$group/cgroup.procs"; done
		exec "$@"
	) || code=$?
done
exit "$code"
