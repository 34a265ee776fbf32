// Package wire is the encoding of the messages between replicas.
//
// A frame on a link is netio's frame header and one protobuf message:
//
//	+--------------------+------------------------------+----------------------+
//	| netio frame header | Frame fields but run, nonzero| field 17: EntryRun   |
//	| length, checksum   | only, written by hand        | bytes of the store   |
//	+--------------------+------------------------------+----------------------+
//
// The run stands last so that a sender writes the small front from a scratch
// buffer and the entries straight from the store, in one writev. Readers
// alias: nothing is copied and nothing is allocated.
package wire

//go:generate protoc --go_out=. --go_opt=paths=source_relative wire.proto meeting.proto
