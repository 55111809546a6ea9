// Package stories holds the stories that the three programs tell together: builds as Jenkins runs them,
// from the first init to the last post-hook, and all that can go wrong on the way. Each is a script in
// testdata; the programs in it are the real ones, in processes of their own, on SQLite and on MariaDB, and
// for what only a cluster does on Galera.
package stories
