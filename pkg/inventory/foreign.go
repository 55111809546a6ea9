package inventory

import (
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/molteniron/molteniron/pkg/internal/document"
	"github.com/molteniron/molteniron/pkg/pool"
)

// drivers are the names under which OpenStack has had the two drivers, over the years.
var drivers = map[string]string{
	"ipmi": pool.DriverIPMI, "pxe_ipmitool": pool.DriverIPMI, "agent_ipmitool": pool.DriverIPMI,
	"redfish": pool.DriverRedfish,
}

// driver reads the driver of a foreign node; "" and false when it is one that MoltenIron has not.
func (f *fields) driver(key string) (string, bool) {
	name := f.text(key)
	d, ok := drivers[name]
	switch {
	case ok:
	case name == "":
		f.p.fault(f.v.Line, "%s has no %s; the known ones are %s", f.label, key, driverNames())
	default:
		f.fault(f.v.Get(key).Line, key, "%q is not known; the known ones are %s", name, driverNames())
	}
	return d, ok
}

func driverNames() string { return strings.Join(slices.Sorted(maps.Keys(drivers)), ", ") }

// instackenvNode reads a node of TripleO's instackenv.json. A node key mac, which ports replaced, is
// refused there too.
func (p *parser) instackenvNode(f *fields) {
	spec := pool.NodeSpec{Name: f.foreignName(), Arch: f.text("arch")}
	if v := f.v.Get("mac"); v != nil {
		f.asked = append(f.asked, "mac")
		f.fault(v.Line, "mac", "is the old form; write \"ports\": [{\"address\": \"MAC\"}]")
	}
	driver, known := f.driver("pm_type")
	spec.BMC = pool.BMC{
		Driver: driver, Address: f.text("pm_addr"), Port: f.port("pm_port"), Username: f.text("pm_user"), Password: f.password("pm_password"),
	}
	if driver == pool.DriverRedfish {
		f.redfishAddress(&spec.BMC, "pm_addr")
		if spec.BMC.SystemID = f.text("pm_system_id"); spec.BMC.SystemID == "" {
			p.fault(f.v.Line, "%s: pm_system_id is missing, and pm_type is redfish", f.label)
		}
	}
	spec.CPUs, spec.RAMMB, spec.DiskGB = f.number("cpu"), f.number("memory"), f.number("disk")
	f.asProperties(&spec, "capabilities", "resource_class")
	spec.MACs = f.ports("ports", "address")
	if known {
		f.loseRest()
	}
	p.add(spec, f.v.Line)
}

// foreignName reads a name, without which nothing can be imported.
func (f *fields) foreignName() string {
	name := f.text("name")
	if name == "" {
		f.p.fault(f.v.Line, "%s has no name; give it one", f.label)
	}
	return name
}

// ports reads the addresses out of a list of maps.
func (f *fields) ports(key, address string) []string {
	v := f.get(key)
	if v == nil {
		return nil
	}
	if v.Kind != document.List {
		f.fault(v.Line, key, "must be a list and is %s", v.Kind)
		return nil
	}
	var macs []string
	for _, item := range v.Items {
		port := &fields{p: f.p, v: item, label: f.label, path: f.path + key + "."}
		if item.Kind != document.Map {
			f.fault(item.Line, key, "must be a list of maps and holds %s", item.Kind)
			continue
		}
		mac := port.text(address)
		if mac == "" {
			port.fault(item.Line, address, "is missing")
			continue
		}
		macs = append(macs, mac)
		port.loseRest()
	}
	return macs
}

// redfishAddress takes a URL apart: MoltenIron keeps host and port of their own, and https goes without
// saying.
func (f *fields) redfishAddress(b *pool.BMC, key string) {
	if !strings.Contains(b.Address, "://") {
		return
	}
	line := f.v.Get(key).Line
	u, err := url.Parse(b.Address)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Hostname() == "" {
		f.fault(line, key, "is no http or https URL")
		return
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		f.fault(line, key, "holds more than scheme, host and port")
		return
	}
	if path := strings.TrimSuffix(u.Path, "/"); path != "" && path != "/redfish/v1" {
		f.p.lose(line, f.label, f.path+key+" path "+path)
	}
	b.Address = u.Hostname()
	if u.Scheme == "http" {
		b.Address = "http://" + strings.TrimSuffix(u.Host, ":"+u.Port())
	}
	if port := u.Port(); port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			f.fault(line, key, "has the port %q, which is not between 1 and 65535", port)
			return
		}
		b.Port = int(n)
	}
}

var propertyKey = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// property keeps a value as a property of the node where it can be one, and tells when it cannot.
func (f *fields) property(spec *pool.NodeSpec, line int, what, key, value string) {
	isField := slices.ContainsFunc(pool.NodeFields, func(field pool.Field) bool { return field.Name == key })
	if _, taken := spec.Properties[key]; taken || isField || !propertyKey.MatchString(key) || strings.TrimSpace(value) == "" {
		f.p.lose(line, f.label, f.path+what)
		return
	}
	setProperty(spec, key, strings.TrimSpace(value))
}

// asProperties keeps keys as properties: what people tell nodes apart by in OpenStack, they will want to
// ask for here. The capabilities, "a:b,c:d" or a map, become one property each.
func (f *fields) asProperties(spec *pool.NodeSpec, keys ...string) {
	for _, key := range keys {
		v := f.get(key)
		switch {
		case v == nil:
		case key == "capabilities" && v.Kind == document.Map:
			for _, c := range v.Fields {
				f.capability(spec, c.Line, c.Key, c.Value.Text)
			}
		case key == "capabilities" && v.Kind == document.Scalar:
			for pair := range strings.SplitSeq(v.Text, ",") {
				name, value, _ := strings.Cut(pair, ":")
				if strings.TrimSpace(pair) != "" {
					f.capability(spec, v.Line, strings.TrimSpace(name), value)
				}
			}
		case v.Kind == document.Scalar:
			f.property(spec, v.Line, key, key, v.Text)
		default:
			f.p.lose(v.Line, f.label, f.path+key)
		}
	}
}

func (f *fields) capability(spec *pool.NodeSpec, line int, key, value string) {
	f.property(spec, line, "capability "+key, key, value)
}

// baremetal reads a file of `openstack baremetal create`. Nodes stand under nodes, and within chassis.
func (p *parser) baremetal(tree *document.Value) {
	p.eachNode(tree, p.baremetalNode, map[string]func(*document.Value){"chassis": func(v *document.Value) {
		if v.Kind != document.List {
			p.fault(v.Line, "chassis must be a list and is %s", v.Kind)
			return
		}
		for _, item := range v.Items {
			if item.Kind != document.Map {
				p.fault(item.Line, "chassis must be a list of maps and holds %s", item.Kind)
				continue
			}
			p.lose(item.Line, "the file", "chassis")
			c := &fields{p: p, v: item}
			if nodes := c.get("nodes"); nodes != nil {
				p.nodeList(nodes, p.baremetalNode)
			}
		}
	}})
}

func (p *parser) baremetalNode(f *fields) {
	spec := pool.NodeSpec{Name: f.foreignName()}
	driver, known := f.driver("driver")
	info := f.sub("driver_info")
	spec.BMC = info.driverInfo(driver)
	properties := f.sub("properties")
	spec.Arch = properties.text("cpu_arch")
	spec.CPUs, spec.RAMMB, spec.DiskGB = properties.number("cpus"), properties.number("memory_mb"), properties.number("local_gb")
	properties.asProperties(&spec, "capabilities")
	properties.restAsProperties(&spec)
	f.asProperties(&spec, "resource_class")
	spec.MACs = f.ports("ports", "address")
	spec.MACs = append(spec.MACs, f.portgroups()...)
	if known {
		info.loseRest()
		f.loseRest()
	}
	p.add(spec, f.v.Line)
}

// restAsProperties keeps every other single value as a property.
func (f *fields) restAsProperties(spec *pool.NodeSpec) {
	for _, field := range f.rest() {
		if field.Value.Kind == document.Scalar {
			f.property(spec, field.Line, field.Key, field.Key, field.Value.Text)
		} else {
			f.p.lose(field.Line, f.label, f.path+field.Key)
		}
	}
}

// portgroups reads the ports that a node of `openstack baremetal create` has in groups.
func (f *fields) portgroups() []string {
	v := f.get("portgroups")
	if v == nil {
		return nil
	}
	var macs []string
	for _, item := range v.Items {
		group := &fields{p: f.p, v: item, label: f.label, path: f.path + "portgroups."}
		if item.Kind == document.Map {
			macs = append(macs, group.ports("ports", "address")...)
		}
	}
	f.p.lose(v.Line, f.label, f.path+"portgroups")
	return macs
}

// driverInfo reads the driver_info of ironic for a driver.
func (f *fields) driverInfo(driver string) pool.BMC {
	b := pool.BMC{Driver: driver}
	switch driver {
	case pool.DriverIPMI:
		b.Address, b.Port = f.text("ipmi_address"), f.port("ipmi_port")
		b.Username, b.Password = f.text("ipmi_username"), f.password("ipmi_password")
	case pool.DriverRedfish:
		b.Address, b.SystemID = f.text("redfish_address"), f.text("redfish_system_id")
		b.Username, b.Password = f.text("redfish_username"), f.password("redfish_password")
		f.redfishAddress(&b, "redfish_address")
		switch verify := f.text("redfish_verify_ca"); strings.ToLower(verify) {
		case "", "true":
		case "false":
			b.Verify = "off"
		default:
			b.Verify = verify
		}
	}
	return b
}

// bifrost reads bifrost's inventory, a map of nodes.
func (p *parser) bifrost(tree *document.Value) {
	for _, entry := range tree.Fields {
		label := "node " + entry.Key
		if entry.Value.Kind != document.Map {
			p.fault(entry.Line, "%s must be a map and is %s", label, entry.Value.Kind)
			continue
		}
		f := &fields{p: p, v: entry.Value, label: label}
		spec := pool.NodeSpec{Name: entry.Key}
		if name := f.text("name"); name != "" {
			spec.Name = name
			f.label = "node " + name
		}
		driver, known := f.driver("driver")
		info := f.sub("driver_info")
		spec.BMC = info.driverInfo(driver)
		properties := f.sub("properties")
		spec.Arch = properties.text("cpu_arch")
		spec.CPUs, spec.RAMMB, spec.DiskGB = properties.number("cpus"), properties.number("ram"), properties.number("disk_size")
		properties.asProperties(&spec, "capabilities")
		properties.restAsProperties(&spec)
		f.asProperties(&spec, "resource_class")
		spec.MACs = f.ports("nics", "mac")
		spec.IPs = f.list("ipv4_address")
		if known {
			info.loseRest()
			f.loseRest()
		}
		p.add(spec, entry.Line)
	}
}
