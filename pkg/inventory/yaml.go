package inventory

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/molteniron/molteniron/pkg/internal/document"
	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/secret"
)

// ownNode reads a node of MoltenIron's own form. Its keys are those of a node in JSON.
func (p *parser) ownNode(f *fields) {
	spec := pool.NodeSpec{Name: f.text("name"), Pool: f.text("pool")}
	if spec.Name == "" {
		p.fault(f.v.Line, "%s has no name", f.label)
	}
	bmc := f.sub("bmc")
	if f.get("bmc") == nil {
		p.fault(f.v.Line, "%s has no bmc; write bmc: {address: ADDRESS, username: NAME, password: PASSWORD}", f.label)
	}
	spec.BMC = pool.BMC{
		Driver: bmc.text("driver"), Address: bmc.text("address"), Port: bmc.port("port"), SystemID: bmc.text("system_id"),
		Verify: bmc.text("verify"), Username: bmc.text("username"), Password: bmc.password("password"),
	}
	if path := bmc.text("password_file"); path != "" {
		spec.BMC.Password = p.passwordFile(bmc, path, spec.BMC.Password)
	}
	bmc.refuseRest()
	spec.MACs = f.list("macs")
	spec.Arch = f.text("arch")
	spec.CPUs, spec.RAMMB, spec.DiskGB = f.number("cpus"), f.number("ram_mb"), f.number("disk_gb")
	spec.IPs = f.list("ips")
	properties := f.sub("properties")
	for _, field := range properties.v.Fields {
		if field.Value.Kind == document.Null {
			properties.fault(field.Line, field.Key, "has no value; leave it out, or write it in quotes")
			continue
		}
		setProperty(&spec, field.Key, properties.text(field.Key))
	}
	spec.Cost = f.number("cost")
	f.refuseRest()
	p.add(spec, f.v.Line)
}

func (p *parser) add(spec pool.NodeSpec, line int) {
	if len(p.problems) > p.before {
		p.inventory.faulted[strconv.Itoa(line)] = true
	}
	p.before = len(p.problems)
	p.inventory.Rows = append(p.inventory.Rows, Row{spec, line})
}

func setProperty(spec *pool.NodeSpec, key, value string) {
	if spec.Properties == nil {
		spec.Properties = map[string]string{}
	}
	spec.Properties[key] = value
}

// passwordFile reads a password that the inventory only points at, so that inventories can be kept where
// passwords must not be.
func (p *parser) passwordFile(bmc *fields, path string, already secret.Text) secret.Text {
	line := bmc.v.Get("password_file").Line
	if !already.IsZero() {
		bmc.fault(line, "password_file", "and password are both set; keep one")
		return already
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(p.inventory.Name), path)
	}
	text, warning, err := secret.ReadFile(path)
	if err != nil {
		bmc.fault(line, "password_file", "%v", err)
	}
	if warning != "" {
		p.warn(line, "%s", warning)
	}
	return text
}

// encodeYAML writes the keys that hold something, in the order of a node's JSON form.
func encodeYAML(specs []pool.NodeSpec, withCredentials bool) ([]byte, error) {
	nodes := &document.Value{Kind: document.List}
	for _, s := range specs {
		n, b := &document.Value{Kind: document.Map}, &document.Value{Kind: document.Map}
		put(b, "driver", s.BMC.Driver)
		put(b, "address", s.BMC.Address)
		putNumber(b, "port", int64(s.BMC.Port))
		put(b, "system_id", s.BMC.SystemID)
		put(b, "verify", s.BMC.Verify)
		put(b, "username", s.BMC.Username)
		if withCredentials {
			put(b, "password", s.BMC.Password.Reveal())
		}
		put(n, "name", s.Name)
		put(n, "pool", s.Pool)
		n.Fields = append(n.Fields, document.Field{Key: "bmc", Value: b})
		putList(n, "macs", s.MACs)
		put(n, "arch", s.Arch)
		putNumber(n, "cpus", s.CPUs)
		putNumber(n, "ram_mb", s.RAMMB)
		putNumber(n, "disk_gb", s.DiskGB)
		putList(n, "ips", s.IPs)
		if len(s.Properties) > 0 {
			properties := &document.Value{Kind: document.Map}
			for _, key := range slices.Sorted(maps.Keys(s.Properties)) {
				properties.Fields = append(properties.Fields, document.Field{Key: key, Value: text(s.Properties[key])})
			}
			n.Fields = append(n.Fields, document.Field{Key: "properties", Value: properties})
		}
		putNumber(n, "cost", s.Cost)
		nodes.Items = append(nodes.Items, n)
	}
	data, err := document.EncodeYAML(&document.Value{Kind: document.Map, Fields: []document.Field{{Key: "nodes", Value: nodes}}})
	if err != nil {
		return nil, fmt.Errorf("export: %w", err)
	}
	return data, nil
}

func text(s string) *document.Value {
	return &document.Value{Kind: document.Scalar, Text: s, Quoted: true}
}

func put(m *document.Value, key, value string) {
	if value != "" {
		m.Fields = append(m.Fields, document.Field{Key: key, Value: text(value)})
	}
}

func putNumber(m *document.Value, key string, n int64) {
	if n != 0 {
		m.Fields = append(m.Fields, document.Field{Key: key, Value: &document.Value{Kind: document.Scalar, Text: strconv.FormatInt(n, 10)}})
	}
}

func putList(m *document.Value, key string, list []string) {
	if len(list) == 0 {
		return
	}
	v := &document.Value{Kind: document.List}
	for _, s := range list {
		v.Items = append(v.Items, text(s))
	}
	m.Fields = append(m.Fields, document.Field{Key: key, Value: v})
}
