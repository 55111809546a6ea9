# shellcheck shell=sh
# What scripts/mariadb, scripts/galera, scripts/mysql and others have in common. Sourced, never run.
# The caller has set $me, the name it goes by in messages.
: "${me:?}"

# Debian keeps servers in sbin, which an ordinary user's PATH lacks.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

say() { printf '%s: %s\n' "$me" "$*" >&2; }
die() { say "$*"; exit 1; }
usage_error() { say "$*; try: $me --help"; exit 2; }

# absolute DIR: the folder's path from the root, whether it exists or not. Kept as typed otherwise: a
# person finds the process again by the name that they gave.
absolute() {
	case $1 in
	/*) printf '%s\n' "$1" ;;
	*) printf '%s\n' "$(pwd)/$1" ;;
	esac
}

# running PID ARGUMENT: is PID alive, and does its command line hold ARGUMENT? A number alone proves
# nothing: it is reused after its process died.
running() {
	[ -n "$1" ] && [ -r "/proc/$1/cmdline" ] && tr '\0' '\n' <"/proc/$1/cmdline" 2>/dev/null | grep -Fxq -- "$2"
}

# gone PID: has the process given back all it held? Its command line vanishes before its files and ports do.
# A zombie that nobody collects counts as gone when no thread of it is left.
gone() {
	[ -d "/proc/$1" ] || return 0
	set -- "$1" "/proc/$1/task"/*
	[ $# -eq 2 ] && grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null
}

# end SIGNAL PID ARGUMENT SECONDS: signals the process and waits until it is gone; false when it stayed.
end() {
	running "$2" "$3" || return 0
	kill "-$1" "$2" 2>/dev/null
	end_left=$(($4 * 50))
	until gone "$2"; do
		[ "$end_left" -gt 0 ] || return 1
		end_left=$((end_left - 1))
		sleep 0.02
	done
}

# busy PORT: does anything on this machine hold PORT?
busy() {
	grep -q "^ *[0-9]*: [0-9A-F]*:$(printf %04X "$1") " /proc/net/tcp /proc/net/tcp6 2>/dev/null
}

# free_ports COUNT STEP: prints a port P at random such that P … P+COUNT*STEP-1 are all free now; the caller
# must be ready for somebody being quicker. Not a port from the range that the kernel hands to clients:
# while a killed server is down, its clients' own attempts to connect could take that port, and it could
# not come back to it.
free_ports() {
	free_tries=200
	while [ "$free_tries" -gt 0 ]; do
		free_tries=$((free_tries - 1))
		free_port=$((10240 + $(od -An -N2 -tu2 /dev/urandom) % 22000))
		free_i=0
		while [ "$free_i" -lt $(($1 * $2)) ] && ! busy $((free_port + free_i)); do
			free_i=$((free_i + 1))
		done
		if [ "$free_i" -ge $(($1 * $2)) ]; then
			printf '%s\n' "$free_port"
			return
		fi
	done
	die "no free port found between 10240 and 32240"
}

# claim DIR MARKER: makes DIR, and refuses one that holds something not ours, since stop removes what is in it.
claim() {
	mkdir -p -- "$1" || exit 1
	[ -w "$1" ] || die "cannot write to $1 as $(id -un)"
	[ -e "$1/$2" ] && return
	[ -z "$(ls -A -- "$1")" ] || die "$1 is not empty and holds no server of $me; name another folder"
	: >"$1/$2"
}

# bootstrap DATA TEMP [AS…]: makes a MariaDB data folder whose only user is root, without a password; the words
# AS stand before what runs as another user.
# The same files as mariadb-install-db reads; but that script, started by root, also takes the system-wide
# server's PAM helper away from its user, and knows no blank in a path.
bootstrap() {
	boot_data=$1 boot_temp=$2
	shift 2
	for boot_sql in /usr/share/mariadb/mariadb /usr/share/mysql/mariadb /usr/share/mysql/mysql; do
		[ ! -r "${boot_sql}_system_tables.sql" ] || break
	done
	[ -r "${boot_sql}_system_tables.sql" ] || die "MariaDB's ${boot_sql##*/}_system_tables.sql is missing; type: $me install"
	"$@" mkdir -m 700 -- "$boot_data" || return
	{
		printf '%s;\n' "CREATE DATABASE mysql" "USE mysql" "SET @auth_root_socket = NULL"
		cat "${boot_sql}_system_tables.sql" "${boot_sql}_performance_tables.sql" "${boot_sql}_system_tables_data.sql"
	} | "$@" mariadbd --no-defaults --bootstrap "--user=$("$@" id -un)" "--datadir=$boot_data" "--tmpdir=$boot_temp" --log-warnings=0 \
		--enforce-storage-engine= --max-allowed-packet=8M --net-buffer-length=16K --innodb-log-file-size=16M \
		--innodb-use-native-aio=0 --innodb-doublewrite=0 --innodb-flush-log-at-trx-commit=0
}

# on_signals: for a script with an EXIT trap, which dash runs after a signal only if the signal has one too.
on_signals() {
	trap 'exit 129' HUP
	trap 'exit 130' INT QUIT
	trap 'exit 143' TERM
}

# supervise COMMAND…: runs COMMAND with our standard input and returns its status; on a signal it lets COMMAND
# end first, then exits. In the background, since a shell that waits for a foreground command handles no
# signal until that has ended; Ctrl-C reaches COMMAND from the terminal, once it is no longer deaf to it as
# the shell makes its background commands.
supervise() {
	exec 3<&0
	env --default-signal=INT,QUIT -- "$@" <&3 3<&- &
	supervised=$! signalled=''
	exec 3<&-
	trap 'signalled=129; kill -HUP "$supervised" 2>/dev/null' HUP
	trap 'signalled=130' INT QUIT
	trap 'signalled=143; kill -TERM "$supervised" 2>/dev/null' TERM
	while :; do
		wait "$supervised" && supervised_status=0 || supervised_status=$?
		kill -0 "$supervised" 2>/dev/null || break
	done
	on_signals
	[ -z "$signalled" ] || exit "$signalled"
	return "$supervised_status"
}
