# Makes the disk image that virtual machines boot from, in a mount namespace of its own. $1: the root tree; $2: a directory to
# mount on; $3: the directory for the image; $4: the image's name there; $5: the script that runs in the machine.
set -eu
tree=$1 here=$2 out=$3 name=$4 inside=$5
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$here"
cd "$here"
mkdir upper work root
mount -t overlay -o "lowerdir=$tree,upperdir=upper,workdir=work" overlay root

# Debian keeps the modules where only the host's side of user-mode Linux looks for them.
rm -rf root/usr/lib/modules
ln -s uml/modules root/usr/lib/modules
printf '%s\n' "$inside" >root/usr/lib/machine-run
cat >root/etc/systemd/system/machine-run.service <<'UNIT'
[Unit]
Description=What this machine was booted for
After=multi-user.target user@1000.service
[Service]
ExecStart=/bin/sh /usr/lib/machine-run
StandardOutput=journal+console
LimitNOFILE=524288
TasksMax=infinity
OOMScoreAdjust=-900
UNIT
ln -s ../machine-run.service root/etc/systemd/system/multi-user.target.wants/machine-run.service
for unit in e2scrub_reap.service e2scrub_all.timer; do ln -sf /dev/null "root/etc/systemd/system/$unit"; done

# A second view of the root, without what is mounted in the first one.
mount --bind root root/mnt
mount -t proc proc root/proc
mount --bind "$out" root/srv
truncate -s 3G "$out/$name"
for modules in root/usr/lib/modules/*; do chroot root depmod -b /mnt "${modules##*/}"; done
chroot root mke2fs -q -t ext4 -E lazy_itable_init=1,nodiscard,root_owner=0:0 -m 0 -d /mnt "/srv/$name"
