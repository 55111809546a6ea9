# shellcheck shell=sh
# What scripts/mariadb and scripts/mysql have in common: one server in one folder. Sourced, never run. The
# caller has sourced scripts/servers.sh and has set
#   $program            the server's name
#   $marker             the file that marks its folders and keeps the options of the last start, one a line
#   $variable           that run sets to the URL
# and it has these functions, for which $dir is the folder:
#   need                sees to it that the server is there to be started
#   options OPTION…     prints the script's options in the server's words, one a line
#   create DATA         makes the data folder, whose only user is root, without a password
#   serve OPTION…       becomes the server; the socket is $dir/s.sock, the log $dir/err.log
#   answers             can one log in? By the socket, so that no other server on the same port can answer in its
#                       place; from within the folder, so that the socket's path stays under the 108 bytes that the
#                       kernel allows.
: "${me:?}" "${program:?}" "${marker:?}" "${variable:?}"

# where DIR: sets what the rest goes by.
where() {
	[ -n "$1" ] || usage_error "the folder's name is empty"
	dir=$(absolute "$1")
	mine=--datadir=$dir/data
	pid=
	if [ -r "$dir/pid" ]; then read -r pid <"$dir/pid" || :; fi
}

# launch PORT: starts the server and waits until it answers; false when it ended instead.
launch() {
	set -- "--port=$1"
	while read -r option; do set -- "$@" "$option"; done <"$dir/$marker"
	rm -f -- "$dir/s.sock" "$dir/s.sock.lock"
	(serve "$mine" "$@") </dev/null >>"$dir/err.log" 2>&1 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- &
	pid=$!
	echo "$pid" >"$dir/pid"
	left=600 # 30 s: a killed server may have much to repair
	until answers; do
		kill -0 "$pid" 2>/dev/null || return 1
		if [ "$left" -eq 0 ]; then
			kill -KILL "$pid"
			die "the server in $dir does not answer after 30 s, see $dir/err.log"
		fi
		left=$((left - 1))
		sleep 0.02
	done
}

start() {
	[ $# -gt 0 ] || usage_error "start needs a folder"
	where "$1"
	shift
	options=$(options "$@") || exit
	need || exit
	if running "$pid" "$mine"; then
		[ $# -eq 0 ] || die "the server in $dir is running, its options cannot change; stop it first: $me stop --keep '$dir'"
		cat -- "$dir/url"
		return
	fi
	claim "$dir" "$marker"
	# Without options a server that is here already starts as it did last time.
	if [ $# -gt 0 ] || [ ! -s "$dir/$marker" ]; then printf '%s\n' "$options" >"$dir/$marker"; fi
	if [ ! -d "$dir/data" ]; then
		mkdir -p -- "$dir/t"
		rm -rf -- "$dir/data.new"
		# Renamed when it is whole, so that an interrupted start leaves nothing that looks like a database.
		create "$dir/data.new" >"$dir/err.log" 2>&1 || died
		mv -- "$dir/data.new" "$dir/data"
	fi
	if [ -r "$dir/port" ]; then
		read -r port <"$dir/port"
		launch "$port" || died
	else
		tries=20
		port=$(free_ports 1 1)
		until launch "$port"; do
			# Somebody else took the port between our look and the server's.
			grep -q "port: *$port" "$dir/err.log" || died
			tries=$((tries - 1))
			[ "$tries" -gt 0 ] || died
			port=$(free_ports 1 1)
		done
		echo "$port" >"$dir/port"
	fi
	echo "mysql://root@127.0.0.1:$port/" >"$dir/url"
	cat -- "$dir/url"
}

died() {
	rm -f -- "$dir/pid"
	die "$program did not start, see $dir/err.log: $(grep ERROR "$dir/err.log" | grep -v Aborting | tail -n 1)"
}

stop() {
	keep=
	if [ "${1-}" = --keep ]; then keep=1 && shift; fi
	[ $# -eq 1 ] || usage_error "stop needs one folder"
	where "$1"
	[ -e "$dir/$marker" ] || { say "no server in $dir"; return; }
	# 30 s are for the pages that are still to be written; past that only force helps.
	end TERM "$pid" "$mine" 30 || end KILL "$pid" "$mine" 30 || die "process $pid does not end"
	rm -f -- "$dir/pid" "$dir/s.sock" "$dir/s.sock.lock"
	[ "$keep" ] && return
	for file in data data.new t err.log port url "$marker"; do rm -rf -- "${dir:?}/$file"; done
	rmdir -- "$dir" 2>/dev/null || say "left in $dir: what is not the server's"
}

kill_server() {
	[ $# -eq 1 ] || usage_error "kill needs one folder"
	where "$1"
	running "$pid" "$mine" || die "no server is running in $dir"
	end KILL "$pid" "$mine" 30 || die "process $pid does not end"
}

status() {
	[ $# -eq 1 ] || usage_error "status needs one folder"
	where "$1"
	[ -e "$dir/$marker" ] || die "no server in $dir"
	running "$pid" "$mine" || die "the server in $dir is not running; start it: $me start '$dir'"
	answers || die "the server in $dir (process $pid) does not answer, see $dir/err.log"
	cat -- "$dir/url"
}

# run [OPTION…] -- COMMAND…
run() {
	run_options=''
	while [ $# -gt 0 ] && [ "$1" != -- ]; do
		run_options="$run_options $1"
		shift
	done
	[ $# -gt 1 ] || usage_error "run needs -- and a command"
	shift
	# shellcheck disable=SC2086 # a word for each option
	options $run_options >/dev/null
	temp=$(mktemp -d "${TMPDIR:-/tmp}/$program.XXXXXX")
	trap 'stop "$temp"' EXIT
	on_signals
	# shellcheck disable=SC2034 # serve reads it
	tether=1 # the server dies with us, even where we are killed and can stop nothing
	# shellcheck disable=SC2086
	start "$temp" $run_options >/dev/null
	export "$variable=$(cat -- "$temp/url")"
	supervise "$@" || exit "$?"
}

# shellcheck disable=SC2034
tether=

# main COMMAND…: what the command line asks for.
main() {
	command=${1---help}
	[ $# -eq 0 ] || shift
	case $command in
	start | stop | status | run) "$command" "$@" ;;
	kill) kill_server "$@" ;;
	install) need ;;
	-h | --help | help) help ;;
	*) usage_error "unknown command $command" ;;
	esac
}
