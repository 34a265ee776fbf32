// Package bench is the measuring instrument: what any measurement of this
// repository uses, and nothing that knows what is measured.
//
//   - plan.go says what is sent, how much and for how long; pace.go says when
//     the requests of an open loop leave.
//   - recorder.go keeps latencies in HDR histograms and counts successes and
//     errors by class, silence.go says when there was no success; spread.go
//     sums up several runs, figure.go is a number or none.
//   - report.go and text.go make the report; environment.go, device.go,
//     probe.go and cpu.go say where it was made.
//   - units.go reads and prints numbers, progress.go shows a run that goes on.
//
// The measurements are rooms of their own, one for each verb of raftbench:
// load (run), acks (demo and check), rings (ring), journals (journal). They
// import the instrument and never each other.
package bench
