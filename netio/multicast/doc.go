// Package multicast moves small datagrams between servers that share a key, on one network
// interface. It knows no members: what a datagram says is for its reader to judge, and may
// be no more than a hint.
//
// There are two kinds, long and short, and those of a kind have one size, so an answer is never
// larger than what it answers:
//
//	   0 magic u32 "RRMC" │ 4 version u16 │ 6 bytes of payload u16 │ 8 tag u64
//	  16 directory of the sender, two u64 │ 32 its incarnation u64 │ 40 sequence u64
//	  48 payload, then zeros
//	1184 MAC, 16 bytes, of everything before; 112 in a short one
//
// Each kind has its own version, 1 and 2, its own keys, rates, sequences and windows. Releases
// that know the long ones alone refuse the others for their size, before anything else.
//
// Integers are little endian. The tag is of the cluster's name, and tells datagrams of other
// clusters without much work. The MAC is HMAC-SHA-256, cut to its first half, under a key
// made of the shared one and of the name. So a datagram of another cluster is refused although
// its tag is forged.
//
// A datagram that arrives is looked at in this order, and refused as soon as it can be:
//
//	size, magic, version, tag     a few comparisons
//	sender                        its own ones come back, for members on one host hear each other
//	rate                          of its source, then of all
//	MAC                           3 µs; 1 µs for a short one
//	replay                        a window of 64 sequences behind the newest of its sender
//
// Nothing is allocated for it. Whoever has the key is trusted. Without a key one can make
// others compute MACs, as many as the rates allow, and use up the rate of an address that it
// forges: then nothing is heard from there meanwhile.
//
// Who hears a sender for the first time has no window for it, and takes a datagram that was
// recorded earlier. An earlier incarnation of a directory that is known is refused. So the
// reader may do nothing on a datagram's word that a connection would not prove first.
package multicast
