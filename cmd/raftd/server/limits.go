package server

// CommandRoom is what a command may take beside its longest value, in bytes.
const CommandRoom = 1 << 20

// proxiedBulkMax is the longest argument of a command that another member forwards: the longest
// that any --max-value allows. Its own is another's affair: too long a value is refused in words,
// and does not end the connection that all of its clients share.
const proxiedBulkMax = 32 << 20

// maxValue is the longest value that every member takes, as far as they have met.
func (s *Server) maxValue() int {
	if most := s.commandMax.Load(); most != nil {
		return max(1, min(s.cfg.MaxValue, (*most)()-CommandRoom))
	}
	return s.cfg.MaxValue
}

// bulkMax is the longest argument that is read of a client. One a little over the limit is read, so
// that the command can be refused in words; a far larger one ends the connection.
func (c *conn) bulkMax(f *front) int {
	if c.proxied {
		return proxiedBulkMax
	}
	return 2 * max(f.server.cfg.MaxValue, 1<<20)
}

// overLimit refuses a command for another member before it is sent there.
func (f *front) overLimit(args [][]byte) (refused string) {
	for _, a := range args {
		if len(a) > f.valueMax {
			return tooLarge(len(a), f.valueMax)
		}
	}
	return ""
}
