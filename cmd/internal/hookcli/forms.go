package hookcli

import (
	"github.com/spf13/pflag"

	"github.com/molteniron/molteniron/pkg/hook"
)

// AddForms adds the flags of the files that other programs read, for all who hand nodes out.
func AddForms(f *pflag.FlagSet, forms *hook.Forms) {
	f.StringVar(&forms.PropertiesFile, "properties-file", "", "`PATH` of a properties file for Jenkins' EnvInject plugin, without any secret (default: none)")
	f.StringVar(&forms.HardwareInfo, "hardware-info", "", "`FILE` for DevStack's ironic plugin, its IRONIC_HWINFO_FILE (default: none)")
	f.StringVar(&forms.Localrc, "localrc", "", "`FILE` of DevStack to add the nodes' settings to, IRONIC_HW_* and ALLOCATION_POOL (default: none)")
	f.StringVar(&forms.LocalConf, "local-conf", "", "`FILE` of DevStack to add them to in its section [[local|localrc]] (default: none)")
	f.BoolVar(&forms.DevstackCompatible, "devstack-compatible", false, "write the settings as the original MoltenIron did, for DevStack's stable branches before 2024: names of architectures, and a localrc without marks")
	f.StringVar(&forms.BaremetalFile, "baremetal-file", "", "`PATH` of a file for openstack baremetal create, by its end in .yaml or .json (default: none)")
	f.StringVar(&forms.InventoryFile, "inventory-file", "", "`PATH` of an inventory for Ansible, which ends in .yaml or .yml (default: none)")
}
