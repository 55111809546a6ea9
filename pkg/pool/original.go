package pool

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/jmoiron/sqlx"
	"modernc.org/sqlite"

	"github.com/molteniron/molteniron/pkg/secret"
)

// ReadOriginal reads the nodes that the original MoltenIron, the one in Python, keeps in its database: the
// tables Nodes (with a blob, as since 2017, or with a column for each value, as before) and IPs. It changes
// nothing there. Warnings name nodes that are in use and what is not carried over. Errors: *Problems with
// every row that is no node, ErrInvalid for a database of another kind, those of Open otherwise.
func ReadOriginal(ctx context.Context, rawURL string, o Options) (specs []NodeSpec, warnings []string, err error) {
	u, err := ParseURL(rawURL)
	if err != nil {
		return nil, nil, err
	}
	db, err := newDB(u, o)
	if err != nil {
		return nil, nil, err
	}
	defer db.Close()
	if u.Path != "" { // its owner may be at work: not with our pragmas, and not to be written
		raw, err := sql.Open("sqlite", "file:"+(&url.URL{Path: u.Path}).EscapedPath()+"?mode=ro")
		if err == nil {
			_, err = os.Stat(u.Path)
		}
		if err != nil {
			return nil, nil, fail(ErrInvalid, "database %s: %w", u, err)
		}
		_ = db.sql.Close() // it was never used
		db.sql = sqlx.NewDb(raw, "sqlite")
	}
	nodes, err := db.originalRows(ctx, "SELECT * FROM Nodes ORDER BY id")
	if err != nil {
		return nil, nil, err
	}
	ips, err := db.originalRows(ctx, "SELECT * FROM IPs ORDER BY id")
	if err != nil {
		return nil, nil, err
	}
	addresses := map[string][]string{}
	for _, row := range ips {
		if ip := strings.TrimSpace(row["ip"]); ip != "" {
			addresses[row["node_id"]] = append(addresses[row["node_id"]], ip)
		}
	}
	problems := &Problems{Class: ErrInvalid}
	for _, row := range nodes {
		spec, notes, err := originalNode(row)
		if err != nil {
			problems.List = append(problems.List, fmt.Sprintf("node %s: %v", row["name"], err))
			continue
		}
		spec.IPs = addresses[row["id"]]
		specs = append(specs, spec)
		for _, n := range notes {
			warnings = append(warnings, fmt.Sprintf("node %s: %s", spec.Name, n))
		}
	}
	if len(problems.List) > 0 {
		return nil, nil, problems
	}
	return specs, warnings, nil
}

// originalRows reads all rows of a table of the original, as text by column: its columns differ by release.
func (db *DB) originalRows(ctx context.Context, query string) ([]map[string]string, error) {
	var list []map[string]string
	err := db.retry(ctx, openPatience, func(bool) error {
		list = nil
		rows, err := db.sql.QueryxContext(ctx, query)
		var lite *sqlite.Error
		if errors.As(err, &lite) && lite.Code() == 1 || err != nil && db.classify(err) == classAbsent {
			return fail(ErrInvalid, "database %s is none of the original MoltenIron: it has no tables Nodes and IPs", db.url)
		}
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			values := map[string]any{}
			if err := rows.MapScan(values); err != nil {
				return err
			}
			row := map[string]string{}
			for column, v := range values {
				switch v := v.(type) {
				case nil:
				case []byte:
					row[column] = string(v)
				default:
					row[column] = fmt.Sprint(v)
				}
			}
			list = append(list, row)
		}
		return rows.Err()
	})
	return list, err
}

// originalNode makes a node of a row. What is not told here (a wrong address, a name that is none) the pool
// tells when it is added.
func originalNode(row map[string]string) (spec NodeSpec, notes []string, err error) {
	if blob := row["blob"]; blob != "" {
		values, err := originalBlob(blob)
		if err != nil {
			return spec, nil, err
		}
		row = maps.Clone(row)
		for key, v := range values {
			if row[key] == "" {
				row[key] = v
			}
		}
	}
	spec = NodeSpec{
		Name: strings.TrimSpace(row["name"]), Arch: strings.TrimSpace(row["cpu_arch"]),
		BMC: BMC{Address: strings.TrimSpace(row["ipmi_ip"]), Username: row["ipmi_user"], Password: secret.New(row["ipmi_password"])},
	}
	if pool := strings.TrimSpace(row["node_pool"]); pool != "" && pool != "Default" {
		spec.Pool = pool
	}
	if mac := strings.Join(strings.Fields(row["port_hwaddr"]), ""); mac != "" { // it was written with blanks in it, too
		spec.MACs = []string{mac}
	}
	for key, to := range map[string]*int64{"cpus": &spec.CPUs, "ram_mb": &spec.RAMMB, "disk_gb": &spec.DiskGB} {
		if row[key] == "" {
			continue
		}
		if *to, err = strconv.ParseInt(row[key], 10, 64); err != nil {
			return spec, nil, fmt.Errorf("%s %q is no whole number", key, row[key])
		}
	}
	for _, key := range slices.Sorted(maps.Keys(row)) {
		if slices.Contains(originalColumns, key) || row[key] == "" {
			continue
		}
		if checkProperty(key, row[key]) != nil || strings.Contains(key, "pass") || strings.Contains(key, "secret") {
			notes = append(notes, fmt.Sprintf("%q is not carried over: it cannot be a property", key))
			continue
		}
		if spec.Properties == nil {
			spec.Properties = map[string]string{}
		}
		spec.Properties[key] = row[key]
	}
	if row["provisioned"] != "" {
		notes = append(notes, fmt.Sprintf("it is in use by %q there; see that its build has ended before the node is handed out here, for instance with: moltenironctl maintenance on %s --reason TEXT",
			row["provisioned"], spec.Name))
	}
	return spec, notes, nil
}

// originalColumns are what has a place of its own; all else in a blob becomes a property.
var originalColumns = []string{
	"id", "name", "ipmi_ip", "blob", "status", "provisioned", "timestamp", "node_pool", "allocation_pool",
	"ipmi_user", "ipmi_password", "port_hwaddr", "cpu_arch", "cpus", "ram_mb", "disk_gb",
}

// originalBlob reads a blob: an object of JSON, which some clients put into quotes once more.
func originalBlob(text string) (map[string]string, error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return nil, errors.New("its blob is no JSON")
	}
	if again, quoted := v.(string); quoted {
		d = json.NewDecoder(strings.NewReader(again))
		d.UseNumber()
		if d.Decode(&v) != nil {
			return nil, errors.New("its blob is no JSON")
		}
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("its blob is no object of JSON")
	}
	values := map[string]string{}
	for key, v := range object {
		switch v := v.(type) {
		case nil:
		case string, json.Number, bool:
			values[key] = fmt.Sprint(v)
		default:
			return nil, fmt.Errorf("%q in its blob is neither text nor number", key)
		}
	}
	return values, nil
}
