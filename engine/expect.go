package engine

import "fmt"

// Expect founds a cluster of so many members that nobody has listed, two to seven: as many
// servers with empty directories, each given the same number, that hear of each other by
// Join, which may name all of them, or by Discover. They ask each other over connections whom
// they have heard. When all say the same, each promises that list, and the cluster is founded
// when all have promised it; until then nobody leads, and the log says what is waited for. With
// more servers than are expected nothing is founded.
//
// Start waits until this one has promised, as long as its ctx lets it. The members have the ids 1
// to n, in an order that nobody chooses; ID is not given. If there is a cluster already, this
// one joins that, as with Join alone: so a member whose directory is lost does not found
// another one. Listen is needed, and is where the others reach it. Without Members, and not for a
// Witness.
func (b *Builder) Expect(n int) *Builder { b.expect = n; return b }

// Name is a name of the cluster, by which servers that look for it tell it from others. It is
// not kept: give it to every member at each start. At most 64 printable characters.
func (b *Builder) Name(name string) *Builder { b.name = name; return b }

// nameMax bounds the name of a cluster.
const nameMax = 64

func (b *Builder) checkExpect() error {
	refuse := func(option, format string, args ...any) error {
		return &ConfigError{option, fmt.Sprintf(format, args...)}
	}
	switch {
	case len(b.name) > nameMax || !isLine(b.name):
		return refuse("Name", "%q; at most %d printable characters", b.name, nameMax)
	case b.expect == 0:
	case b.expect < 2 || b.expect > votersMax:
		return refuse("Expect", "%d members; must be 2 to %d", b.expect, votersMax)
	case !b.anyID:
		return refuse("Expect", "ID is given, too: the founding gives the ids, leave it out")
	case b.witness:
		return refuse("Expect", "Witness is given, too: full members found the cluster, and a "+
			"witness is added to it, started with Join and ID")
	case b.cluster != 0:
		return refuse("Expect", "Cluster is given, too: it is made from the members, leave it out")
	case len(b.join) == 0 && b.discovery.Group == "":
		return refuse("Expect", "neither Join nor Discover is given: nobody would be heard")
	}
	return nil
}

// isLine reports that a text has no control characters.
func isLine(s string) bool {
	for _, r := range s {
		if r < ' ' || r == 0x7f {
			return false
		}
	}
	return true
}
