package freeport

import (
	"errors"
	"net"
	"slices"
	"testing"
)

func TestAddressesAreFreeAndGivenOnce(t *testing.T) {
	var all []string
	for range 8 {
		list, err := Addresses(6)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range list {
			if slices.Contains(all, a) {
				t.Fatalf("%s is given twice", a)
			}
			tcp, err := net.ResolveTCPAddr("tcp", a)
			if err != nil || tcp.Port >= ceiling() {
				t.Fatalf("%s: %v, outgoing ports begin at %d", a, err, ceiling())
			}
			l, err := net.Listen("tcp", a)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
		}
		all = append(all, list...)
	}
	if list, err := Addresses(2); err == nil {
		t.Fatalf("%v: one port is left of this block", list)
	} else if !errors.Is(err, ErrNone) {
		t.Fatal(err)
	}
}

// A block that another process owns is left alone.
func TestBlocksHaveOneOwner(t *testing.T) {
	if _, err := Addresses(1); err != nil {
		t.Fatal(err)
	}
	mine := owned.first
	defer func(l net.Listener, first int) {
		owned.guard, owned.first = l, first
	}(owned.guard, owned.first)
	for range 20 {
		if err := own(mine + 2*perBlock); err != nil {
			t.Fatal(err)
		}
		if owned.first == mine {
			t.Fatalf("the block at %d has two owners", mine)
		}
		_ = owned.guard.Close()
	}
	if err := own(lowest); !errors.Is(err, ErrNone) {
		t.Fatal(err)
	}
}
