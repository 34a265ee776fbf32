package load

import "strconv"

// commands builds RESP requests from templates in which only the key's digits
// and the value change.
type commands struct {
	set, get []byte // up to the key's digits
	afterKey []byte // of a set, up to the value
}

func newCommands(valueBytes int) *commands {
	key := "$" + strconv.Itoa(keyBytes) + "\r\n" + keyPrefix
	return &commands{
		set:      []byte("*3\r\n$3\r\nSET\r\n" + key),
		get:      []byte("*2\r\n$3\r\nGET\r\n" + key),
		afterKey: []byte("\r\n$" + strconv.Itoa(valueBytes) + "\r\n"),
	}
}

// append adds one request to dst.
func (c *commands) append(dst []byte, r *Request) []byte {
	if r.Kind == Read {
		return append(appendDigits(append(dst, c.get...), r.Key), '\r', '\n')
	}
	dst = appendDigits(append(dst, c.set...), r.Key)
	dst = append(dst, c.afterKey...)
	dst = append(dst, r.Value...)
	return append(dst, '\r', '\n')
}
