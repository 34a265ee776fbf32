// Package secure is the house's only way to cryptography: a Handler that stands between the bytes
// of a connection and the Handler that is meant, for both sides, in the loops of package netio.
//
// Members of a cluster share a secret (Keys). With it both sides of a connection prove themselves
// in one exchange of two messages, and everything after that travels in records that nobody
// without the secret can read, change, repeat, leave out or put in another order:
//
//	dialer: Gate.Dial                              acceptor: Gate.Accept
//	  │ 0 magic "RRNOISE1" | 8 Noise message 1, 48     │
//	  ├───────────────────────────────────────────────►│ finds the key, or refuses
//	  │ 0 magic | 8 code u8 | 9 Noise message 2, 48    │
//	  │◄───────────────────────────────────────────────┤ nothing follows a code other than 0
//	  │ records                                        │
//	  │◄──────────────────────────────────────────────►│
//
//	code     0 go on, 1 there is no secret here, 2 the key is none of those that are accepted.
//	         It is not authenticated: who changes it prevents a connection, which they could
//	         anyhow, and makes an operator read the wrong words. Nothing else depends on it.
//	magic    as a length of netio's frames it is more than any member takes, so that a member
//	         without a secret refuses a dialer that has one.
//
// # The handshake
//
// It is Noise_NNpsk0_25519_AESGCM_SHA256 (noiseprotocol.org, revision 34) over flynn/noise, with
// the label and version of this protocol as the prologue. NN: fresh keys on both sides, so that
// who learns the secret later cannot read what was recorded before. psk0: the secret is part of
// the first message, so that the acceptor refuses whoever does not have it before it pays for
// Diffie-Hellman, and can find out which of its keys was meant.
//
// The members have no keys of their own. In XXpsk3 they would: two messages more, a key pair for
// each data directory, and a list of public keys to be kept true while members come and go. That
// is worth it where members distrust each other. Here they do not: who holds the secret of a
// cluster may write to its log. Who somebody is says the greeting, which travels inside of the
// session and so belongs to it alone: data directories have ids of 128 bits.
//
// A first message that is sent again is an authentic one. Whoever sends it cannot go on, since the
// answer is for the key of its first sender, but would have the acceptor calculate: a Gate
// remembers the newest few thousand, and refuses those.
//
// # Records
//
//	 0        2
//	┌────────┬──────────────────────────────┐
//	│length  │ciphertext, then 16 of tag    │   length: u16 little endian, of what follows;
//	└────────┴──────────────────────────────┘   17 to RecordMax
//
// AES-256-GCM with a key for each direction. The nonce is Noise's: four zeros, and the number of
// the record, u64 big endian. It is not sent, so that a record in any place but its own is
// refused. The first record that is refused ends the connection. After each 65,536 records, which
// are a gibibyte at most, the key is replaced by Noise's REKEY, far from the bounds of GCM; the
// numbers go on, and 2^64 do not end.
//
// A record is sealed and opened in buffers of its Channel that grow to the longest one: nothing is
// allocated for each.
package secure
