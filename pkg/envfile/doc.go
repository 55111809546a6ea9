// Package envfile writes the files that tell a build which nodes it holds (the env file that shells
// source, the properties file that Jenkins' EnvInject plugin loads, the JSON file that scripts read),
// and reads the env file back.
//
// The env file is data for a shell, so it must be safe whatever a password holds, and it is sourced
// under sh -xe, so it must hide its values from the trace. Both were measured, not guessed: the tests
// run it through dash, bash, bash --posix, busybox sh, zsh, ksh93 and mksh. One leak is left: ksh93
// under set -v echoes what it reads in blocks, before the file's first line can turn that off.
//
// The form is fixed, line by line, and Parse accepts nothing else:
//
//	# molteniron env 1: …              the mark, with the version of the form
//	{ case $- in *[xv]*) …             the guard: remembers and turns off set -x and set -v
//	unset -v NAME NAME …               what an earlier file may have left and this one does not set
//	NAME='value'                       a ' in the value is written '\''
//	export NAME
//	…
//	case $MOLTEN_TRACE in *v*) …       the guard's end: turns them on again; its status is 0
//	case $MOLTEN_TRACE in *x*) …
//
// Sourcing the file of another allocation later leaves nothing stale in the names that do not count
// nodes. Of the names that do (MOLTEN_NODE_3_MAC) those above MOLTEN_NODE_COUNT, and properties that
// only an earlier node had, stay: count from 1 to MOLTEN_NODE_COUNT.
package envfile
