// Package loopback tells tests what the system's loopback interface can do, without the code that
// they test: what that cannot do where the system can is a fault, and no reason to skip a test.
package loopback

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
)

// Multicast returns why no datagram can be sent to a group of IPv4 on lo, or none can be joined
// there; nil if both can be.
func Multicast(group netip.AddrPort) error {
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		return err
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	to := syscall.IPMreqn{Multiaddr: group.Addr().As4(), Ifindex: int32(lo.Index)}
	return errors.Join(
		syscall.SetsockoptIPMreqn(fd, syscall.IPPROTO_IP, syscall.IP_ADD_MEMBERSHIP, &to),
		syscall.SetsockoptIPMreqn(fd, syscall.IPPROTO_IP, syscall.IP_MULTICAST_IF, &to),
		syscall.Sendto(fd, []byte("x"), 0,
			&syscall.SockaddrInet4{Port: int(group.Port()), Addr: to.Multiaddr}),
		syscall.Close(fd))
}
