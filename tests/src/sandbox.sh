# Process 1 of the private namespaces: $1 is the sandbox's directory, the rest is the command.
set -e
mount --bind "$1/opt" /opt
mount --bind "$1/tmp" /tmp
cd /opt/task
# /proc is still that of the outer namespace and has the outer id of this process.
read -r pid _ < /proc/self/stat
echo "$pid" > /tmp/rie.pid
shift
exec "$@"
