# The first process of a virtual machine's own pid and mount namespaces (see vm.go). When it ends, the kernel ends everything
# of the machine and takes the mounts made here, and so the machine's disks, with it. $1: the root tree; $2: the disk image;
# $3: a directory to mount on; $4: memory; $5: input of the machine's terminal; $6: the script to run in it; then for each
# path of the host that is visible in it: the path, the path in the machine, and ro or rw. Descriptor 4 is the terminal's output.
set -eu
tree=$1 image=$2 here=$3 memory=$4 input=$5 job=$6
shift 6
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs -o mode=755,size=8G tmpfs "$here"
cd "$here"
mkdir upper work root
mount -t overlay -o "lowerdir=$tree,upperdir=upper,workdir=work" overlay root
mount -t proc proc root/proc
mount -t tmpfs -o mode=755 tmpfs root/dev
for dev in null zero full random urandom tty; do
	: >"root/dev/$dev"
	mount --bind "/dev/$dev" "root/dev/$dev"
done
mkdir -p root/dev/shm root/disk root/host
# Without a size: the kernel's memory is a file there, and where there is no room for a page of it, it panics.
mount -t tmpfs -o mode=1777,size=0 tmpfs root/dev/shm

# Disks: the root as a copy-on-write of the image, swap, and a file system with project quota.
: >root/disk/image
mount --bind -o ro "$image" root/disk/image
truncate -s 512M root/disk/swap
truncate -s 1G root/disk/srv
chroot root mkswap -q /disk/swap
chroot root mke2fs -q -t ext4 -O quota,project -E quotatype=prjquota,root_owner=0:0,nodiscard /disk/srv

# What the machine sees of the host: /host, through hostfs.
printf '%s\n' "$job" >root/host/job
: >root/host/paths
number=0
while [ $# -gt 0 ]; do
	number=$((number + 1))
	mkdir "root/host/$number"
	mount --rbind "$1" "root/host/$number"
	[ "$3" = rw ] || mount -o "remount,bind,ro" "root/host/$number"
	printf '%s\n' "$2" >>root/host/paths
	shift 3
done

# The kernel looks for its modules' helpers in PATH, and puts its memory into TMPDIR.
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin TMPDIR=/dev/shm HOME=/ chroot root \
	linux.uml "mem=$memory" ubd0=/disk/copy,/disk/image ubd1=/disk/swap ubd2=/disk/srv root=/dev/ubda rw hostfs=/host \
	con=null con0=null,fd:2 ssl=null "ssl0=$input,fd:4" noreboot quiet panic=-1 selinux=0 apparmor=0 \
	systemd.hostname=tenement systemd.show_status=false
