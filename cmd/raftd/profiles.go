package main

import (
	"net/http"
	"net/http/pprof"
)

const profilePath = "/debug/pprof/"

// serveProfiles serves profiles where only this machine asks: they show what is in memory, and
// each makes the process slower. Elsewhere they are refused in words.
func serveProfiles(mux *http.ServeMux, address string) {
	if !isLoopback(address) {
		mux.HandleFunc(profilePath, func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "profiles are served on a loopback address only: start raftd with "+
				"--http 127.0.0.1:PORT, and ask on its machine", http.StatusForbidden)
		})
		return
	}
	mux.HandleFunc(profilePath, pprof.Index)
	mux.HandleFunc(profilePath+"cmdline", pprof.Cmdline)
	mux.HandleFunc(profilePath+"profile", pprof.Profile)
	mux.HandleFunc(profilePath+"symbol", pprof.Symbol)
	mux.HandleFunc(profilePath+"trace", pprof.Trace)
}

// profiles is what start-up says of them.
func profiles(address string) string {
	if isLoopback(address) {
		return "  /debug/pprof"
	}
	return ""
}
