#!/bin/busybox sh
# The first process of the virtual machine: runs the cases that /cases names, one a
# time, says on the second serial line what becomes of each, and switches it off.
export PATH=/bin NO_COLOR=1
busybox=/bin/busybox

$busybox mount -t proc proc /proc
$busybox mount -t sysfs sys /sys
$busybox mount -t devtmpfs dev /dev
$busybox mount -t tracefs tracefs /sys/kernel/tracing
$busybox ip link set lo up
# As Debian has it: here nobody but root attaches through perf.
echo 3 >/proc/sys/kernel/perf_event_paranoid
# What a service manager gives by LimitMEMLOCK. Before Linux 5.11 maps count against it.
ulimit -l unlimited

exec >/dev/ttyS1
echo "kernel $($busybox uname -r)"
while read -r case; do
    echo "case $case"
    $busybox timeout -s KILL CASE_SECONDS /bin/kernel-tests --exact "$case" \
        </dev/null >/tmp/output 2>&1
    code=$?
    $busybox tail -c 8000 /tmp/output | $busybox sed 's/^/| /'
    # Whatever a case left running would be in the way of the next one.
    kill -KILL -1
    echo "end $code"
done </cases
echo "done"
$busybox poweroff -f
