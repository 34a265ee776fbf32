// Package bench is ringraft's load generator: it drives a cluster of three
// replicas inside its own process through their lanes, or any server that
// speaks RESP over sockets, and reports what was really achieved.
//
// It is built not to flatter:
//
//   - Only verified successes count as goodput: Applied completions, or
//     replies of the expected kind. Errors are counted apart, by class.
//   - With a rate, latency counts from the time a request was meant to leave,
//     so a server that stalls shows its stall in every request that was due
//     meanwhile. Requests that never left, or were never answered, are
//     recorded with the age they had reached when the run ended.
//   - The clock is read once per batch, not per command, always on the side
//     that makes a latency longer: before a batch is written, and after a
//     batch was received. Every command is recorded, none is sampled;
//     commands of one batch that left together share one HDR record call.
//     (A record costs 5 ns and a clock reading 24 ns on the reference machine:
//     BenchmarkRecord.)
//   - Values come from a pool of incompressible bytes.
//   - The report says in words whether an answer meant durable on a majority,
//     and warns of whatever weakens the figures.
//
// The map: plan.go says what to run, run.go runs it; lane.go and lane_open.go
// drive an engine of cluster.go, client.go and conn.go drive sockets;
// recorder.go holds the histograms; report.go, text.go and environment.go
// make the report. demo.go, check.go, writers.go and processes.go are the lost-ack
// checker.
package bench
