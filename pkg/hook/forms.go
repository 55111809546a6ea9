package hook

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/molteniron/molteniron/pkg/devstack"
	"github.com/molteniron/molteniron/pkg/envfile"
	"github.com/molteniron/molteniron/pkg/inventory"
	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/stage"
)

// Forms are further files that Prepare writes: the same nodes in the forms that other programs read. Each is
// a path, "" is none.
type Forms struct {
	PropertiesFile string // of Jenkins' EnvInject plugin; it holds no secret
	HardwareInfo   string // of DevStack's ironic plugin
	BaremetalFile  string // of `openstack baremetal create`, which wants .yaml or .json at its end
	InventoryFile  string // of Ansible, which wants .yaml or .yml at its end
	Localrc        string // of DevStack: a block in a file that is otherwise a person's
	LocalConf      string // of DevStack: the same in its section [[local|localrc]]

	// DevstackCompatible writes what the original MoltenIron wrote into Localrc, and its names of architectures.
	DevstackCompatible bool
}

// form is one of the files to be written, apart from the env file.
type form struct {
	flag string // names it in messages
	path string
	// write makes the whole file; nil where edit is set. Its only errors are values that the form cannot carry.
	write func(io.Writer, *pool.Allocation) error
	// edit puts a block into a file that is only in part ours.
	edit func(before, block []byte) ([]byte, error)
	o    devstack.Options // of the block
	ends []string         // what its reader wants at the end of the path; none is anything
	own  bool             // the file says itself whose it is
}

// forms lists the further files that were asked for.
func (p *prepare) forms() []form {
	baremetal := func(w io.Writer, a *pool.Allocation) error {
		specs := make([]pool.NodeSpec, len(a.Nodes))
		for i, n := range a.Nodes {
			specs[i] = n.Spec()
		}
		return inventory.WriteBaremetal(w, specs, strings.HasSuffix(p.BaremetalFile, ".json"))
	}
	asJSON := func(w io.Writer, a *pool.Allocation) error {
		text, err := envfile.JSON(a)
		if err == nil {
			_, err = w.Write(text)
		}
		return err
	}
	old := p.DevstackCompatible
	return slices.DeleteFunc([]form{
		{flag: "json-file", path: p.JSONFile, write: asJSON, own: true},
		{flag: "properties-file", path: p.PropertiesFile, write: envfile.Properties},
		{flag: "hardware-info", path: p.HardwareInfo, write: devstack.HardwareInfo},
		{flag: "baremetal-file", path: p.BaremetalFile, write: baremetal, ends: []string{".yaml", ".json"}},
		{flag: "inventory-file", path: p.InventoryFile, write: inventory.WriteAnsible, ends: []string{".yaml", ".yml"}},
		{flag: "localrc", path: p.Localrc, edit: devstack.Localrc, o: devstack.Options{Compatible: old, Bare: old}},
		{flag: "local-conf", path: p.LocalConf, edit: devstack.LocalConf, o: devstack.Options{Compatible: old}},
	}, func(f form) bool { return f.path == "" })
}

// base is the env file's path, or where it would be when it goes to stdout: the manifest is beside it, so that
// the post-hook finds the other files then too.
func (p *prepare) base() string {
	if p.EnvFile == "-" {
		return p.Process.envFile(p.Slot)
	}
	return p.EnvFile
}

// makes reports whether the file's folder is made where it is missing: the one beside the workspace, of which Jenkins
// promises no more than the name.
func (p *prepare) makes(path string) bool {
	return spelled(filepath.Dir(path)) == spelled(p.Process.envFolder())
}

// places lists, by what asks for them, the paths that will be written whole: the files, and the manifests
// beside them.
func (p *prepare) places() (paths, flags []string) {
	add := func(flag string, list ...string) {
		for _, path := range list {
			paths, flags = append(paths, path), append(flags, flag)
		}
	}
	if p.EnvFile != "-" {
		add("env-file", p.EnvFile)
	}
	if p.EnvFile != "-" || len(p.forms()) > 0 {
		add("env-file", p.base()+manifestSuffix)
	}
	for _, f := range p.forms() {
		switch {
		case f.edit != nil:
		case f.own:
			add(f.flag, f.path)
		default:
			add(f.flag, f.path, f.path+manifestSuffix)
		}
	}
	return paths, flags
}

// checkForms refuses paths that cannot be right, before anything else happens: two files in one place, and a
// name that the form's reader would not take.
func (p *prepare) checkForms() error {
	paths, flags := p.places()
	for _, f := range p.forms() {
		if f.path == "-" {
			return invalid("--%s -: only the env file can go to stdout; name a file", f.flag)
		}
		if f.ends != nil && !slices.ContainsFunc(f.ends, func(end string) bool { return strings.HasSuffix(f.path, end) }) {
			return invalid("--%s %s: its reader wants a name that ends in %s", f.flag, f.path, strings.Join(f.ends, " or "))
		}
		if f.edit != nil {
			paths, flags = append(paths, f.path), append(flags, f.flag)
		}
	}
	taken := map[string]string{}
	for i, path := range paths {
		where := spelled(path)
		if other, is := taken[where]; is {
			return invalid("--%s: %s is where --%s or its list of files goes; name another", flags[i], path, other)
		}
		taken[where] = flags[i]
	}
	if p.LocalConf != "" && p.Localrc != "" && spelled(p.Localrc) == spelled(filepath.Join(filepath.Dir(p.LocalConf), "localrc")) {
		return invalid("--localrc %s makes DevStack ignore what --local-conf writes; give one of them", p.Localrc)
	}
	return nil
}

// spelled gives a path one spelling, as far as folders go that are there.
func spelled(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	if folder, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		path = filepath.Join(folder, filepath.Base(path))
	}
	return path
}

// checkEdited refuses a file that cannot be edited, before an hour is spent in the queue.
func (f form) checkEdited() error {
	switch info, err := os.Lstat(f.path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case info.Mode()&fs.ModeSymlink != 0:
		return invalid("--%s %s is a symbolic link; name the file that it points to", f.flag, f.path)
	case !info.Mode().IsRegular():
		return invalid("--%s %s is no regular file", f.flag, f.path)
	}
	if f.flag != "local-conf" {
		return nil
	}
	if err := devstack.CheckLocalConf(f.path); err != nil {
		return invalid("--local-conf %w", err)
	}
	return nil
}

// edited is a block that was put into a person's file, as the manifest lists it.
type edited struct {
	Path  string `json:"path"`
	Block string `json:"block"`
	Made  bool   `json:"made,omitempty"` // there was no such file
}

// errNothing ends an edit that would change nothing.
var errNothing = errors.New("there is nothing to take out")

// undo takes the block out of the file again, and removes a file that was made for it and holds nothing else.
func (e edited) undo() error {
	empty := false
	staged, err := stage.Write([]stage.File{{Path: e.Path, Edit: func(before []byte) ([]byte, error) {
		after, err := devstack.Without(before, []byte(e.Block))
		if err == nil && bytes.Equal(before, after) {
			err = errNothing
		}
		empty = e.Made && devstack.Empty(after)
		return after, err
	}}})
	switch {
	case errors.Is(err, errNothing), errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	defer staged.Discard()
	if empty {
		return os.Remove(e.Path)
	}
	return staged.Commit()
}

// stageForms gives the further files to be staged, and lists them in the manifest. What the build's manifest
// lists already, and is not written now, stays listed: an allocation that is taken over has all its files.
func (p *prepare) stageForms(a *pool.Allocation, m *manifest) ([]stage.File, error) {
	old, _ := identify(p.base() + manifestSuffix) // where there is none, it lists nothing
	var files []stage.File
	for _, f := range p.forms() {
		path, err := filepath.Abs(f.path)
		if err != nil {
			return nil, err
		}
		if f.edit != nil {
			file, e, err := f.stageEdit(a, path, old.Edited)
			if err != nil {
				return nil, err
			}
			files, m.Edited = append(files, file), append(m.Edited, e)
			continue
		}
		var text bytes.Buffer
		if err := f.write(&text, a); err != nil {
			return nil, refused(err)
		}
		if !f.own { // the list first: a file that is there is known as ours, whenever we die
			files = append(files, stage.File{Path: path + manifestSuffix, Content: sidecar(a, text.Bytes())})
		}
		files, m.Files = append(files, stage.File{Path: path, Content: stage.Bytes(text.Bytes())}), append(m.Files, path)
	}
	for _, path := range old.Files {
		if !slices.Contains(m.Files, path) {
			m.Files = append(m.Files, path)
		}
	}
	for _, e := range old.Edited {
		if !slices.ContainsFunc(m.Edited, func(now edited) bool { return now.Path == e.Path }) {
			m.Edited = append(m.Edited, e)
		}
	}
	return files, nil
}

func (f form) stageEdit(a *pool.Allocation, path string, old []edited) (stage.File, edited, error) {
	block, err := devstack.Block(a, f.o)
	if err != nil {
		return stage.File{}, edited{}, refused(err)
	}
	_, err = os.Lstat(path)
	e := edited{Path: path, Block: string(block), Made: errors.Is(err, fs.ErrNotExist)}
	before := "" // the block that this build has there already
	if i := slices.IndexFunc(old, func(e edited) bool { return e.Path == path }); i >= 0 {
		before, e.Made = old[i].Block, e.Made || old[i].Made
	}
	return stage.File{Path: path, Edit: func(text []byte) ([]byte, error) {
		text, err := devstack.Without(text, []byte(before))
		if err == nil {
			text, err = f.edit(text, block)
		}
		if err != nil {
			return nil, invalid("%w", err)
		}
		return text, nil
	}}, e, nil
}

// refused makes an error of the class for bad usage of a value that a form cannot carry: asking again
// would end the same, until another form or another node is asked for.
func refused(err error) error { return invalid("%w", err) }
