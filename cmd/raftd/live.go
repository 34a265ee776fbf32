package main

import (
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ringraft/ringraft/cmd/raftd/server"
	"github.com/ringraft/ringraft/cmd/raftd/settings"
	"github.com/ringraft/ringraft/engine"
)

// live is what CONFIG SET changes while a member runs. What cannot change is chosen at the start:
// what the log or the data directory depends on, and what buffers are sized by.
type live struct {
	engine        atomic.Pointer[engine.Engine] // nil until it has started
	snapshotAfter atomic.Int64
	keepAlive     atomic.Int64 // time.Duration
}

// settings are the rows of CONFIG GET and SET that raftd has beside those of its server: what can
// change first, then every flag by its name.
func (d *daemon) settings() []server.Setting {
	p := d.plan
	d.live.snapshotAfter.Store(p.snapshot)
	d.live.keepAlive.Store(int64(p.keepAlive))
	list := []server.Setting{
		{Name: "log-level", Flag: "log-level", Get: d.logLevel(raftdLevels),
			Prepare: d.prepareLevel(raftdLevels)},
		{Name: "loglevel", Flag: "log-level", Get: d.logLevel(redisLevels),
			Prepare: d.prepareLevel(redisLevels)},
		{Name: "maxclients", Flag: "maxclients", Prepare: d.prepareClients,
			Get: func() string { return strconv.Itoa(d.server.MaxClients()) }},
		{Name: "snapshot-after", Flag: "snapshot-after", Prepare: d.prepareSnapshotAfter,
			Get: func() string { return settings.FormatBytes(d.live.snapshotAfter.Load()) }},
		{Name: "tcp-keepalive", Flag: "tcp-keepalive", Prepare: d.prepareKeepAlive,
			Get: func() string { return seconds(time.Duration(d.live.keepAlive.Load())) }},
		server.Fixed("dir", absolute(p.data), "data"),
	}
	if p.options.settings != nil {
		for _, s := range p.options.settings.All() {
			list = append(list, server.Fixed(s.Name, s.Value(), s.Name))
		}
	}
	return list
}

const (
	faultStarting = "this member has not started yet; try again"
	faultNumber   = "argument couldn't be parsed into an integer"
	faultMemory   = "argument must be a memory value"
)

func faultBetween(least, most int64) string {
	return fmt.Sprintf("argument must be between %d and %d inclusive", least, most)
}

// level is a level of the log by one of its names.
type level struct {
	name  string
	level slog.Level
}

var (
	raftdLevels = []level{{"debug", slog.LevelDebug}, {"info", slog.LevelInfo},
		{"warn", slog.LevelWarn}, {"error", slog.LevelError}}
	// redisLevels have nothing for errors alone, and two names for one.
	redisLevels = []level{{"debug", slog.LevelDebug}, {"verbose", slog.LevelInfo},
		{"notice", slog.LevelInfo}, {"warning", slog.LevelWarn}}
)

// logLevel is the greatest of these levels that is not above the log's.
func (d *daemon) logLevel(levels []level) func() string {
	return func() (name string) {
		for _, l := range levels {
			if l.level <= d.level.Level() {
				name = l.name
			}
		}
		return name
	}
}

func (d *daemon) prepareLevel(levels []level) func(string) (func(), string) {
	var names []string
	for _, l := range levels {
		names = append(names, l.name)
	}
	fault := "argument(s) must be one of the following: " + strings.Join(names, ", ")
	return func(value string) (apply func(), _ string) {
		for _, l := range levels {
			if strings.EqualFold(value, l.name) {
				return func() { d.level.Set(l.level) }, ""
			}
		}
		return nil, fault
	}
}

// prepareClients changes who may connect from now on; whoever is connected stays.
func (d *daemon) prepareClients(value string) (apply func(), fault string) {
	e := d.live.engine.Load()
	n, err := strconv.ParseInt(value, 10, 64)
	switch {
	case e == nil:
		return nil, faultStarting
	case err != nil:
		return nil, faultNumber
	case n < 1 || n > math.MaxUint32:
		return nil, faultBetween(1, math.MaxUint32)
	}
	limit, err := descriptorLimit()
	if err != nil {
		return nil, err.Error()
	}
	places, err := clientPlaces(int(n), limit)
	if err != nil {
		return nil, err.Error()
	}
	if places < int(n) {
		return nil, fmt.Sprintf("The operating system is not able to handle the specified number "+
			"of clients, try with %d", places)
	}
	return func() {
		e.SetMaxConnections(places)
		d.server.SetMaxClients(places)
	}, ""
}

func (d *daemon) prepareSnapshotAfter(value string) (apply func(), fault string) {
	e := d.live.engine.Load()
	n, err := settings.ParseBytes(value)
	switch {
	case e == nil:
		return nil, faultStarting
	case err != nil:
		return nil, faultMemory
	case n >= 0 && n < engine.SnapshotAfterMin || n > engine.SnapshotAfterMax:
		return nil, "argument must be -1, which is never, or between " +
			settings.FormatBytes(engine.SnapshotAfterMin) + " and " +
			settings.FormatBytes(engine.SnapshotAfterMax) + " inclusive"
	}
	return func() {
		e.SetSnapshotAfter(n)
		d.live.snapshotAfter.Store(n)
	}, ""
}

// prepareKeepAlive takes seconds, as Redis does, or a duration, as the flag does. It counts for
// connections from now on.
func (d *daemon) prepareKeepAlive(value string) (apply func(), fault string) {
	e := d.live.engine.Load()
	span, err := time.ParseDuration(value)
	if n, notNumber := strconv.ParseInt(value, 10, 32); notNumber == nil {
		span, err = time.Duration(n)*time.Second, nil
	}
	switch {
	case e == nil:
		return nil, faultStarting
	case err != nil:
		return nil, faultNumber
	case span < engine.KeepAliveMin || span > engine.KeepAliveMax:
		return nil, faultBetween(int64(engine.KeepAliveMin/time.Second),
			int64(engine.KeepAliveMax/time.Second))
	}
	return func() {
		e.SetKeepAlive(span)
		d.live.keepAlive.Store(int64(span))
	}, ""
}

// seconds is a time as Redis has it, unless it is no whole number of them.
func seconds(span time.Duration) string {
	if span%time.Second == 0 {
		return strconv.FormatInt(int64(span/time.Second), 10)
	}
	return span.String()
}

func absolute(path string) string {
	if full, err := filepath.Abs(path); err == nil {
		return full
	}
	return path
}
