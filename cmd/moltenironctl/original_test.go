package main

import (
	"database/sql"
	"fmt"
	"net/url"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	_ "modernc.org/sqlite"
)

// originalTables are what the original MoltenIron's SQLAlchemy creates; columns is Nodes in the middle.
const originalTables = `
	CREATE TABLE Nodes (id INTEGER NOT NULL PRIMARY KEY, name VARCHAR(50), ipmi_ip VARCHAR(50), %s,
		status VARCHAR(20), provisioned VARCHAR(50), timestamp TIMESTAMP NULL%s);
	CREATE TABLE IPs (id INTEGER NOT NULL PRIMARY KEY, node_id INTEGER, ip VARCHAR(50), FOREIGN KEY(node_id) REFERENCES Nodes (id))`

// The two forms that its Nodes had.
var originalColumns = map[string][2]string{
	"blob": {"`blob` VARCHAR(2000)", ", node_pool VARCHAR(20)"},
	"columns": {"ipmi_user VARCHAR(50), ipmi_password VARCHAR(50), port_hwaddr VARCHAR(50), cpu_arch VARCHAR(50), cpus INTEGER, " +
		"ram_mb INTEGER, disk_gb INTEGER", ""},
}

// original FORM FILE: makes a database of the original MoltenIron on the story's engine, its Nodes of that
// form, fills it with the statements of FILE, a line each, and puts its URL into $ORIGINAL.
func original(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 || originalColumns[args[0]][0] == "" {
		ts.Fatalf("usage: original blob|columns FILE")
	}
	u, err := url.Parse(ts.Getenv("MOLTENIRON_DATABASE"))
	ts.Check(err)
	driver, dsn := "sqlite", ts.MkAbs("original-"+args[1]+".db")
	target := "sqlite://" + dsn
	if u.Scheme != "sqlite" {
		name := strings.TrimPrefix(u.Path, "/") + "_" + strings.TrimSuffix(args[1], ".sql")
		server := fmt.Sprintf("%s@tcp(%s)/", u.User, u.Host)
		execute(ts, "mysql", server, "CREATE DATABASE "+name)
		ts.Defer(func() { execute(ts, "mysql", server, "DROP DATABASE "+name) })
		driver, dsn = "mysql", server+name
		own := *u
		own.Path = "/" + name
		target = own.String()
	}
	form := originalColumns[args[0]]
	statements := strings.Split(fmt.Sprintf(originalTables, form[0], form[1]), ";")
	execute(ts, driver, dsn, append(statements, strings.Split(strings.TrimSpace(ts.ReadFile(args[1])), "\n")...)...)
	ts.Setenv("ORIGINAL", target)
}

func execute(ts *testscript.TestScript, driver, dsn string, statements ...string) {
	db, err := sql.Open(driver, dsn)
	ts.Check(err)
	defer db.Close()
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			ts.Fatalf("%s: %v", s, err)
		}
	}
}
