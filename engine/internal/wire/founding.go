package wire

import "google.golang.org/protobuf/encoding/protowire"

// fieldFounding is the only field of a frame between founders.
const fieldFounding = 40

// IsFounding reports whether a frame begins as one between founders does. No frame of
// the core does: its first field is its type.
func IsFounding(b []byte) bool {
	field, kind, n := protowire.ConsumeTag(b)
	return n > 0 && field == fieldFounding && kind == protowire.BytesType
}
