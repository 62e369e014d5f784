# Runs as process 1 of the private namespaces: $1 is the sandbox's directory, the rest the command.
set -e
mount --bind "$1/opt" /opt
mount --bind "$1/tmp" /tmp
cd /opt/task
# /proc is still the outer one, and names this process as the outside knows it.
read -r pid _ < /proc/self/stat
echo "$pid" > /tmp/rie.pid
shift
exec "$@"
