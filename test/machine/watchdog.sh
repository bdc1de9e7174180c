# Removes what a machine leaves when its owner was killed: the kernel has ended the processes and the mounts by then. Standard
# input is a pipe whose other end only the owner holds. $1: the machine's directory; $2: its cgroups.
dir=$1 groups=$2
read -r word
[ "$word" = done ] && exit 0
for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
	left=
	for group in $groups; do
		[ -d "$group" ] || continue
		[ -e "$group/cgroup.kill" ] && echo 1 >"$group/cgroup.kill"
		find "$group" -depth -type d -exec rmdir {} \; 2>/dev/null
		[ -d "$group" ] && left=1
	done
	if [ -z "$left" ]; then
		rm -f "$dir/notify"
		rmdir "$dir/mnt" "$dir"
		exit
	fi
	sleep 0.1
done
# The directory stays: it is how the next boot finds the cgroup.
exit 1
