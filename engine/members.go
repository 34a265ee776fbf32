package engine

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/ringraft/ringraft/engine/internal/config"
)

// Member is one member of a cluster.
type Member struct {
	ID      uint64 // not 0
	Address string // host and port, where the other members reach it
	// Witness: it has no state machine; see Builder.Witness.
	Witness bool
	// Priority draws leadership: it is handed to the voter of the highest that is fit to
	// lead. 0 by default, negative or positive, up to a million either way.
	Priority int
}

// priorityMax bounds a member's priority.
const priorityMax = 1_000_000

// checkPriority refuses what does not fit a configuration's entry.
func (m *Member) checkPriority() error {
	if m.Priority < -priorityMax || m.Priority > priorityMax {
		return fmt.Errorf("a priority of %d; at most %d either way", m.Priority, priorityMax)
	}
	return nil
}

// configOf is the configuration of members that no directory speaks for yet.
func configOf(cluster uint64, members []Member) config.Config {
	var voters []config.Member
	for _, m := range members {
		voters = append(voters, config.Member{ID: m.ID, Address: m.Address,
			Witness: m.Witness, Priority: m.Priority})
	}
	return config.New(cluster, voters)
}

// membersOf is a configuration's members.
func membersOf(c *config.Config) (all []Member) {
	for _, m := range c.Members() {
		all = append(all, memberOf(&m))
	}
	return all
}

func memberOf(m *config.Member) Member {
	return Member{ID: m.ID, Address: m.Address, Witness: m.Witness, Priority: m.Priority}
}

// votersMax is how many voters a cluster may have.
const votersMax = 7

// checkMembers refuses lists that no cluster can live with: they would be kept for
// ever, and the members that they name wrongly would never be reached.
func (b *Builder) checkMembers() error {
	if len(b.members) == 0 {
		return nil
	}
	refuse := func(format string, args ...any) error {
		return &ConfigError{"Members", fmt.Sprintf(format, args...)}
	}
	if len(b.members) > votersMax {
		return refuse("%d voters; at most %d", len(b.members), votersMax)
	}
	ids, addresses := map[uint64]bool{}, map[string]uint64{}
	for _, m := range b.members {
		if m.ID == 0 {
			return refuse("an id of 0")
		}
		if ids[m.ID] {
			return refuse("member %d is listed twice", m.ID)
		}
		ids[m.ID] = true
		if err := m.checkPriority(); err != nil {
			return refuse("member %d: %v", m.ID, err)
		}
		host, port, err := splitAddress(m.Address)
		if err == nil && len(b.members) > 1 {
			err = dialable(host, port)
		}
		if err != nil {
			return refuse("member %d: address %q: %v", m.ID, m.Address, err)
		}
		plain := net.JoinHostPort(strings.ToLower(host), strconv.Itoa(port))
		if other, taken := addresses[plain]; taken && port != 0 {
			return refuse("members %d and %d have one address, %s", other, m.ID, m.Address)
		}
		addresses[plain] = m.ID
	}
	if !ids[b.id] {
		return refuse("this member's id %d is not among them", b.id)
	}
	return b.checkListen()
}

// splitAddress reads host:port. The host is an IP address or a name, and may be
// missing.
func splitAddress(address string) (host string, port int, err error) {
	host, p, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, errors.New("is not host:port")
	}
	n, err := strconv.ParseUint(p, 10, 64)
	if err != nil || n > 65535 {
		return "", 0, fmt.Errorf("port %q is not a number up to 65535", p)
	}
	ip, err := netip.ParseAddr(host)
	if err == nil {
		return ip.Unmap().String(), int(n), nil
	}
	if host != "" && !isName(host) {
		return "", 0, fmt.Errorf("%q is neither an IP address nor a host's name", host)
	}
	return host, int(n), nil
}

// isName reports that a host may be one's name. What looks like an IP address and
// is none is no name either.
func isName(host string) bool {
	letters := false
	for _, r := range strings.ToLower(host) {
		switch {
		case r >= 'a' && r <= 'z' || r == '_':
			letters = true
		case r >= '0' && r <= '9' || r == '-' || r == '.':
		default:
			return false
		}
	}
	return letters && len(host) <= 253 && !strings.Contains(host, "..") && host[0] != '-'
}

// dialable refuses an address that the other members cannot dial.
func dialable(host string, port int) error {
	ip, err := netip.ParseAddr(host)
	switch {
	case port == 0:
		return errors.New("port 0 is no port that others can dial")
	case host == "" || err == nil && ip.IsUnspecified():
		return errors.New("it names no machine that others can dial")
	}
	return nil
}

// checkDialable refuses an address that is none, or that the other members cannot dial.
func checkDialable(address string) error {
	host, port, err := splitAddress(address)
	if err == nil {
		err = dialable(host, port)
	}
	return err
}

// checkListen refuses to listen where the others do not dial.
func (b *Builder) checkListen() error {
	if b.listen == "" {
		return nil
	}
	for _, m := range b.members {
		if m.ID == b.id && elsewhere(b.listen, m.Address) {
			return &ConfigError{"Listen", fmt.Sprintf("%s, but the list of members has member %d "+
				"at %s, where the others dial it; give the same port, and a host of the same "+
				"network or 0.0.0.0", b.listen, b.id, m.Address)}
		}
	}
	return nil
}

// elsewhere reports that who dials an address does not reach who listens on
// another: the ports differ, or one of the two is on loopback. Between other
// networks there may be a translation.
func elsewhere(listen, dialed string) bool {
	at, port, err := splitAddress(listen)
	to, dialedPort, err2 := splitAddress(dialed)
	if err != nil || err2 != nil {
		return false
	}
	if port != dialedPort && port != 0 && dialedPort != 0 {
		return true
	}
	a, err := netip.ParseAddr(at)
	b, err2 := netip.ParseAddr(to)
	if err != nil || err2 != nil || a.IsUnspecified() || b.IsUnspecified() {
		return false
	}
	return (a.IsLoopback() || b.IsLoopback()) && a != b
}
