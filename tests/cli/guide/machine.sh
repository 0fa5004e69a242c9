#!/bin/bash
# Makes a machine of its own for the commands of one guide, and runs a script in it:
#
#     unshare --map-root-user --mount --net --pid --fork --kill-child bash machine.sh FOLDER REPOSITORY PROGRAM SCRIPT
#
# The machine has the programs of this one, its own loopback interface, and files of its own in memory. So the commands
# may use port 80 and write to /etc. All of it is gone when the script ends, with every process that it has started.
set -e
root=$1 repository=$2 program=$3 script=$4
mount -t tmpfs tmpfs "$root"
cp "$script" "$root/script"
cd "$root"
mkdir -p etc usr dev proc sys run tmp root/longlink backup var/lib/longlink var/lib/nginx var/log/nginx opt/longlink
for part in bin sbin lib lib32 lib64; do
    if [ -L "/$part" ]; then
        cp -P "/$part" .
    elif [ -d "/$part" ]; then
        mkdir "$part"
        mount --rbind "/$part" "$part"
    fi
done
mount --rbind /usr usr
mount --rbind /dev dev
mount --rbind /sys sys
mount -t proc proc proc
mount -t tmpfs tmpfs usr/local/bin
# Files that an ordinary user may not read are left out.
cp -a /etc/. etc 2>cp.log || true
echo '127.0.0.1 localhost chat.example.com' >etc/hosts
# A namespace of an ordinary user has one user and one group.
echo 'longlink:x:0:' >>etc/group
[ ! -e etc/nginx/nginx.conf ] || sed -i 's/^user .*/user root;/' etc/nginx/nginx.conf
mkdir -p etc/longlink/tls etc/letsencrypt/live/chat.example.com etc/letsencrypt/renewal-hooks/deploy etc/systemd/system

# What a clone and `cargo build --release` leave behind.
touch opt/longlink/longlink
mount --bind "$program" opt/longlink/longlink
cp -r "$repository"/{docs,packaging,examples,Cargo.toml,README.md} "$repository"/LICENSE-* root/longlink
mkdir -p root/longlink/target/release
ln -s /opt/longlink/longlink root/longlink/target/release/longlink
cat >usr/local/bin/cargo <<'END'
#!/bin/sh
# The program is built already.
case "$1 $2" in
"run --release")
    shift 2
    [ "$1" != -- ] || shift
    exec longlink "$@"
    ;;
"build --release" | "install --path") exit 0 ;;
*)
    echo "the machine of this test cannot run: cargo $*" >&2
    exit 1
    ;;
esac
END
chmod 755 usr/local/bin/cargo
ip link set lo up
exec chroot . /usr/bin/env -i PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/longlink HOME=/root LANG=C.UTF-8 bash /script
