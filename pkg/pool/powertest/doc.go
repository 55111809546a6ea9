// Package powertest cuts the power of a machine with an SQLite pool: it copies the image of the file system
// that the database lies on while builds go on, and looks what such a copy holds. It holds tests only.
package powertest
