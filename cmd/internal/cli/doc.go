// Package cli is what the three programs share: the one table from errors to exit statuses, signals
// and broken pipes, the printing of errors, tables and data, the version, and the way from settings
// to an open pool. It knows flags and terminals; it holds no rule of the domain.
package cli
