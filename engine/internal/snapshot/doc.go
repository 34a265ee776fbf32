// Package snapshot is the file that holds a state machine as of one index of the
// log: how it is taken, kept, verified, opened, sent and received. It starts no
// goroutine and reads no clock; whoever calls it waits for the disk, at the pace
// of a function given.
//
// A file has one name, made of index and term, and is written under another one.
//
//	taking-<index>-<term>                        being taken
//	receiving-<index>-<term>-<digest>-<bytes>    being received, as far as it came
//	snapshot-<index>-<term>                      whole: synced before it was renamed
//
// Numbers in names are 16 hexadecimal digits each.
//
// # Format
//
// A file is a row of chunks on blocks of 4 KiB, each of at most 256 KiB with its
// header. So each can be written and read past the page cache, sent by itself,
// and a transfer goes on at any of them. Numbers are little endian.
//
//	| header | configuration … | state machine … | sessions … | clock | … | footer |
//	  0        1                 2 … n                                     last
//
//	chunk   0 "RRS1" | kind u16 | flags u16: 1 S2 | 8 number u64 | 16 offset in the file u64
//	       24 stored bytes u32 | raw bytes u32 | 32 content u64: xxhash64 of the raw bytes
//	       40 snapshot u64: xxhash64 of bytes 0 to 31 of the header's payload | 48 0 u64
//	       56 sum u64: xxhash64 of bytes 0 to 55 and of all behind it
//	       64 stored bytes | zeros to the block
//
//	header, kind 0: the payload
//	        0 version u16 | 0 u16 | chunk bytes u32 | 8 cluster u64 | 16 index u64 | 24 term u64
//	       32 created i64: nanoseconds since 1970 by the clock of the member that took it
//
//	footer, kind 0x7fff: the payload, never compressed, all in one block
//	        0 index u64 | 8 term u64 | 16 chunks u64 | 24 bytes u64: of the file | 32 digest u64
//	       40 sections u32 | 0 u32
//	       48 per section: kind u16 | 0 u16 | 0 u32 | first chunk u64 | its offset u64
//	          | chunks u64 | raw bytes u64
//
// A section is a stream of bytes, cut into raw pieces of 256 KiB - 64; only the
// last is shorter, and one of no bytes is an empty piece. Sections stand in the
// order of their kinds. A kind with its highest bit is optional: a program that
// does not know it reads on. Any other unknown kind is refused, as is another
// version.
//
// A piece is compressed when that takes fewer blocks. The digest is of what the
// pieces hold, not of how they are stored: two versions of the compressor, or two
// architectures, may store the same bytes in different ways. It is the xxhash64 of
// bytes 0 to 31 of the header's payload and, for each piece in order, of kind u64,
// raw bytes u64, content u64. The time of creation is not in it. So all members
// have the same digest for the same state. 64 bits are enough: it is compared with
// the digest of one other state of the same index and term, never looked up among
// many, so that a difference by accident is missed once in 2^64 comparisons; and
// neither members nor disks are taken to search for collisions, against which no
// length of this hash would help.
//
// # What is refused
//
// Verify computes the footer from the chunks and compares it with the one that is
// there. A file that is cut, has too many bytes or chunks, or in which any bit
// changed never verifies. A chunk knows its snapshot, number and offset, so that of
// another file, or of another place, is refused too.
package snapshot
