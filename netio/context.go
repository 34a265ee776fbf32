package netio

import (
	"context"

	"github.com/panjf2000/gnet/v2"
)

// newContext carries a connection's first context through gnet's Enroll.
func newContext(v any) context.Context { return gnet.NewContext(context.Background(), v) }
