// Package bmctest serves management controllers (BMCs) that speak real IPMI 2.0 over UDP on loopback,
// inside the calling process: what tests and the demo drive in place of machines. Nothing has to be
// installed for it. ipmitool talks to them without extra flags, and so does every other client that
// offers cipher suite 3 or 17.
//
// A BMC here has one administrator and a chassis whose power can be read and switched. It is a double
// for tests: it keeps nothing, and it listens on 127.0.0.1 only.
package bmctest

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"

	gobmc "github.com/bougou/go-ipmi/pkg/bmc"
	"github.com/bougou/go-ipmi/pkg/clock"
	"github.com/bougou/go-ipmi/pkg/hal"
	"github.com/bougou/go-ipmi/pkg/hal/mock"
	"github.com/bougou/go-ipmi/pkg/server"
	"github.com/bougou/go-ipmi/pkg/transport/udp"
)

// Limits of IPMI 2.0, table 13-11 (user name, 16 bytes) and section 22.30 (password, 20 bytes).
const (
	maxUsername = 16
	maxPassword = 20
)

// lanChannel is the number of the LAN channel that the server answers on.
const lanChannel = 1

// adminID is the administrator's user slot; slot 1 is the anonymous user's by the specification.
const adminID = 2

// Config says what a BMC is like when it starts.
type Config struct {
	Username string // 1 to 16 bytes
	Password string // 1 to 20 bytes
	On       bool   // the chassis' power at the start
}

// BMC is a running management controller.
type BMC struct {
	addr    netip.AddrPort
	chassis *chassis
	server  *server.Server
	served  chan struct{}
}

// Start serves a BMC on 127.0.0.1, on a port that the system picks, and returns when it is listening.
// Close ends it.
func Start(c Config) (*BMC, error) {
	if n := len(c.Username); n < 1 || n > maxUsername {
		return nil, fmt.Errorf("BMC user name %q: IPMI carries 1 to %d bytes", c.Username, maxUsername)
	}
	if n := len(c.Password); n < 1 || n > maxPassword {
		return nil, fmt.Errorf("password of BMC user %q has %d bytes: IPMI carries 1 to %d", c.Username, n, maxPassword)
	}

	machine := &chassis{Chassis: &mock.Chassis{On: c.On}}
	var guid [16]byte
	_, _ = rand.Read(guid[:]) // never fails, by its documentation
	b := gobmc.New(gobmc.DeviceInfo{DeviceID: 0x20, DeviceRevision: 1, FirmwareMajor: 1, IPMIVersion: 0x20},
		guid, &hardware{HAL: mock.New(), chassis: machine}, gobmc.WithClock(clock.Real))
	admin, err := b.Users.Add(adminID, c.Username)
	if err != nil {
		return nil, fmt.Errorf("add BMC user %q: %w", c.Username, err)
	}
	admin.SetPassword([]byte(c.Password))
	admin.Enabled = true
	admin.ChannelAccess[lanChannel] = gobmc.UserChannelAccess{MaxPrivilege: gobmc.PrivilegeLevelAdministrator, Enabled: true}

	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		return nil, fmt.Errorf("listen for IPMI on loopback: %w", err)
	}
	s := &BMC{
		addr:    conn.LocalAddr().(*net.UDPAddr).AddrPort(),
		chassis: machine,
		server:  server.NewServer(b, udp.Wrap(conn)),
		served:  make(chan struct{}),
	}
	go func() {
		defer close(s.served)
		_ = s.server.Serve(context.Background()) // ends when Close closes the socket
	}()
	return s, nil
}

// AddrPort is where the BMC listens.
func (b *BMC) AddrPort() netip.AddrPort { return b.addr }

// PowerIsOn reports the chassis' power as it is now.
func (b *BMC) PowerIsOn() bool {
	on, _ := b.chassis.PowerState(context.Background())
	return on
}

// Close stops listening and waits until the server has gone. Call it once.
func (b *BMC) Close() {
	b.server.Close()
	<-b.served
}

// hardware is the library's simulated machine with a chassis of ours.
type hardware struct {
	*mock.HAL
	chassis *chassis
}

// Chassis implements hal.HAL.
func (h *hardware) Chassis() hal.ChassisHAL { return h.chassis }

// chassis is the library's simulated chassis; it turns what the library only counts into power.
type chassis struct{ *mock.Chassis }

// PowerCycle implements hal.ChassisHAL: as IPMI 2.0 table 28-4 says, the machine ends up powered on.
func (c *chassis) PowerCycle(ctx context.Context) error { return c.SetPower(ctx, true) }
