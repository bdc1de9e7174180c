#!/bin/sh
# Turns a fresh Debian root ($1) into the machine's root. Run by mmdebstrap (see prepare.go) and part of the cache key.
set -eu
root=$1

# Units that a machine of a few seconds' life has no use for, or that would reach for the host's kernel.
for unit in \
	apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer systemd-tmpfiles-clean.timer \
	getty.target console-getty.service systemd-firstboot.service systemd-ask-password-wall.path \
	systemd-modules-load.service systemd-sysctl.service kmod-static-nodes.service systemd-pstore.service \
	modprobe@configfs.service modprobe@drm.service modprobe@fuse.service modprobe@efi_pstore.service \
	modprobe@dm_mod.service modprobe@loop.service systemd-binfmt.service proc-sys-fs-binfmt_misc.automount \
	dev-hugepages.mount sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount \
	sys-fs-fuse-connections.mount systemd-update-utmp.service systemd-update-utmp-runlevel.service \
	systemd-journal-catalog-update.service systemd-machine-id-commit.service remote-fs.target systemd-hibernate-clear.service \
	caddy.service haproxy.service nginx.service prometheus.service
do
	ln -sf /dev/null "$root/etc/systemd/system/$unit"
done

# An empty machine-id is filled at each boot and is not a "first boot", which would ask questions.
: >"$root/etc/machine-id"
# The host name comes from nspawn, and nss-myhostname knows it.
rm -f "$root/etc/hostname" "$root/etc/resolv.conf"
printf '127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n' >"$root/etc/hosts"
: >"$root/etc/resolv.conf"
: >"$root/etc/fstab"

mkdir -p "$root/etc/systemd/journald.conf.d" "$root/etc/systemd/system.conf.d" "$root/etc/systemd/user.conf.d"
printf '[Journal]\nStorage=volatile\nRuntimeMaxUse=256M\nRateLimitIntervalSec=0\nAudit=no\n' \
	>"$root/etc/systemd/journald.conf.d/machine.conf"

# An ordinary user whose own manager is up when the boot is over.
chroot "$root" useradd --uid 1000 --create-home --shell /bin/bash dev
mkdir -p "$root/var/lib/systemd/linger" "$root/etc/systemd/system/multi-user.target.wants"
touch "$root/var/lib/systemd/linger/dev"
ln -sf /usr/lib/systemd/system/user@.service "$root/etc/systemd/system/multi-user.target.wants/user@1000.service"
# The repository is mounted at its own path, which may lie below /root.
chmod 755 "$root/root"

rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/*.log "$root"/var/log/apt "$root"/var/cache/ldconfig/*
# Everything is up to date: ConditionNeedsUpdate= services need not run.
touch "$root/etc/.updated" "$root/var/.updated"
