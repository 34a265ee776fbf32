package netio

import (
	"context"
	"fmt"
	"log/slog"
)

// gnetLogger routes gnet's printing to slog. gnet's information and warnings concern its own inside
// (loops launched, an event of a connection closed in the same batch), so they are debug records
// here.
type gnetLogger struct{ to *slog.Logger }

func (g gnetLogger) print(level slog.Level, format string, args []any) {
	if g.to.Enabled(context.Background(), level) {
		g.to.Log(context.Background(), level, fmt.Sprintf(format, args...), "from", "gnet")
	}
}

func (g gnetLogger) Debugf(format string, args ...any) { g.print(slog.LevelDebug, format, args) }
func (g gnetLogger) Infof(format string, args ...any)  { g.print(slog.LevelDebug, format, args) }
func (g gnetLogger) Warnf(format string, args ...any)  { g.print(slog.LevelDebug, format, args) }
func (g gnetLogger) Errorf(format string, args ...any) { g.print(slog.LevelError, format, args) }
func (g gnetLogger) Fatalf(format string, args ...any) { g.print(slog.LevelError, format, args) }
