#!/bin/busybox sh
# shellcheck shell=dash
# The first process of the virtual machine: runs the cases that /cases names, one a
# time, says on the second serial line what becomes of each, and switches it off.
export PATH=/bin NO_COLOR=1
# No more than the profiler is to need, for all that the cases run it for.
export PROFILER_TEST_CAPABILITIES=bpf,perfmon
busybox=/bin/busybox

$busybox mount -t proc proc /proc
$busybox mkdir -p /cgroup
$busybox mount -t cgroup2 none /cgroup || echo "no cgroups of version 2"
$busybox mount -t sysfs sys /sys
$busybox mount -t devtmpfs dev /dev
$busybox mount -t tracefs tracefs /sys/kernel/tracing
$busybox ip link set lo up
# As Debian has it: here nobody but root attaches through perf.
echo 3 >/proc/sys/kernel/perf_event_paranoid
# What a service manager gives by LimitMEMLOCK. Before Linux 5.11 maps count against it.
ulimit -l unlimited

exec >/dev/ttyS1

# Where each process is: what a case that hangs is known by.
whereabouts() {
    for process in /proc/[0-9]*; do
        # Threads of the kernel have no command line.
        [ -n "$($busybox tr -d '\0' <"$process/cmdline")" ] || continue
        for thread in "$process"/task/*; do
            echo "$thread $($busybox cat "$thread/comm" "$thread/syscall" | $busybox tr '\n' ' ')"
            $busybox cat "$thread/stack"
        done
    done
}

echo "kernel $($busybox uname -r)"
while read -r case; do
    echo "case $case"
    /bin/kernel-tests --exact "$case" </dev/null >/tmp/output 2>&1 &
    tests=$!
    (
        $busybox sleep CASE_SECONDS
        echo "longer than CASE_SECONDS s" >>/tmp/output
        whereabouts >>/tmp/output 2>&1
        kill -KILL $tests
    ) &
    wait $tests
    code=$?
    # Whatever a case left running would be in the way of the next one.
    kill -KILL -1
    $busybox tail -c 16000 /tmp/output | $busybox sed 's/^/| /'
    echo "end $code"
done </cases
echo "done"
$busybox poweroff -f
