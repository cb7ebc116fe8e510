# Process 1 of the guest. Its root is the host's own, read-only; what it writes goes to /run, and to /run/share, which is the
# host's directory $share. Commands come over a serial line: the number of a script in /run/share one way, that number and
# an exit code the other way.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin TMPDIR=/run
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs run /run
mkdir -p /run/share /run/kernel/lib
mount -t hostfs -o "$share" share /run/share
ln -s /usr/lib/uml/modules /run/kernel/lib/modules

# All in one go and none on demand: what a cipher's name may mean is a dozen questions, each a process.
modprobe -d /run/kernel -a \
    ipv6 veth dummy xfrm_user af_key esp4 esp6 ah4 ah6 ipcomp ipcomp6 xfrm4_tunnel xfrm6_tunnel \
    authenc authencesn seqiv echainiv gcm ghash_generic ccm ctr cbc chacha20poly1305 chacha_generic poly1305_generic \
    hmac sha512_generic xcbc cmac des_generic camellia_generic blowfish_generic cast5_generic deflate drbg ansi_cprng
echo >/proc/sys/kernel/modprobe

stty -F /dev/ttyS0 raw -echo
exec </dev/ttyS0 >/dev/ttyS0
echo "ready $(uname -r)"
while read -r number; do
    timeout -k 5 "$patience_secs" sh "/run/share/$number.sh" \
        </dev/null >"/run/share/$number.out" 2>"/run/share/$number.err"
    echo "$number $?"
done
# The host has closed the line.
echo o >/proc/sysrq-trigger
sleep 60
