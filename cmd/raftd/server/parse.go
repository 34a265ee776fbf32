package server

import (
	"errors"
	"strings"
)

// parse reads the first request of b into f.args; 0 means that it is
// incomplete. Each connection remembers how far it got with a large one.
func (f *front) parse(c *conn, b []byte) (int, error) {
	c.parser.MaxBulk, c.parser.Restricted = c.bulkMax(f), c.restricted()
	n, err := c.parser.Parse(b, &f.command)
	f.args = f.command.Args
	if err != nil {
		return 0, protocolText(err)
	}
	return n, nil
}

// protocolText is the error without the words that the caller adds.
func protocolText(err error) error {
	return errors.New(strings.TrimPrefix(err.Error(), "Protocol error: "))
}

// need is how many bytes the request under way takes in all.
func (c *conn) need() int { return c.parser.Need() }

// parseReply measures the next reply from the leader.
func (f *front) parseReply(fw *forwarder, b []byte) (int, error) {
	return fw.replies.Parse(b, &fw.reply)
}
