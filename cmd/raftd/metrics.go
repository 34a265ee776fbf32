package main

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ringraft/ringraft/engine"
)

// Metrics of the ring, of what the disk and the state machine take, of how far members are behind,
// and of clients that were closed.
var (
	descCursor = desc("ring_sequence", "Number of the newest mutation of the log that is claimed, "+
		"stored in memory, or durable on this member's disk.", "cursor")
	descSlots = desc("ring_slots", "Mutations that may be claimed and not durable at once.")
	descWrote = desc("journal_write_seconds", "Time of a write of the journal until it is known "+
		"to be durable.")
	descApply    = desc("apply_seconds", "Time of a call of the state machine.")
	descLagBytes = desc("raft_member_lag_bytes", "Bytes of the journal written since a member had "+
		"all, roughly, as its leader sees it.", "member")
	descLagTime = desc("raft_member_lag_seconds", "Time since the first entry that a member lacks "+
		"was put into the log, as its leader sees it.", "member")
	descTakesPart = desc("raft_takes_part", "0 while this member waits to be founded or added, or "+
		"was removed or refused.")
	descShortage = desc("journal_shortage", "1 while the journal cannot make its next segment.")
	descClosed   = desc("clients_closed_total", "Client connections closed by reason.", "reason")
	descSkipped  = desc("slowlog_skipped_total", "Slow commands that the slow log did not take.")
	descMonitor  = desc("monitor_lines_lost_total", "Lines that monitors did not get.")
)

// moreDescs are the metrics of this file.
var moreDescs = []*prometheus.Desc{descCursor, descSlots, descWrote, descApply, descLagBytes,
	descLagTime, descTakesPart, descShortage, descClosed, descSkipped, descMonitor}

// more collects the metrics of this file.
func (c *collector) more(st *engine.Status, out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, v uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	count(descCursor, st.Ring.Claimed, "claimed")
	count(descCursor, st.Ring.Stored, "stored")
	count(descCursor, st.Ring.Durable, "durable")
	gauge(descSlots, float64(st.Ring.Slots))
	writes, applies := c.d.engine.Durations()
	out <- histogram(descWrote, &writes)
	out <- histogram(descApply, &applies)
	for i := range st.Members {
		m := &st.Members[i]
		gauge(descLagBytes, float64(m.LagBytes), fmt.Sprint(m.ID))
		gauge(descLagTime, m.LagTime.Seconds(), fmt.Sprint(m.ID))
	}
	gauge(descTakesPart, truth(st.Notice() == ""))
	gauge(descShortage, truth(st.Shortage != ""))
	for reason, n := range c.d.server.Closed() {
		count(descClosed, n, reason)
	}
	count(descSkipped, c.d.server.Counts().SlowSkipped)
	count(descMonitor, c.d.server.MonitorLinesLost())
}

// histogram is one of the engine's as Prometheus has it: each bucket has those before it, too.
func histogram(d *prometheus.Desc, h *engine.Histogram) prometheus.Metric {
	buckets, n := map[float64]uint64{}, uint64(0)
	for i, count := range h.Counts {
		n += count
		if i < len(h.Bounds) {
			buckets[h.Bounds[i].Seconds()] = n
		}
	}
	return prometheus.MustNewConstHistogram(d, n, h.Sum.Seconds(), buckets)
}
