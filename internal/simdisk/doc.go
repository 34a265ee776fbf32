// Package simdisk is a simulated disk for tests: a directory and a device
// behind the seams that the journal uses, device.FS and device.Device. The
// journal's tests and the simulation of whole clusters use this one.
// Production code does not import it.
//
// # Fault model
//
// Sectors. A sector, 512 bytes unless Disk.Sector says otherwise, is written
// whole or not at all. The sectors of one write reach the disk in any order.
//
// Writes. A write to a file opened with Dsync is durable when it has returned.
// With Sync, so is everything written to that file before. Any other write is
// durable once a Sync of its file has returned. Until then, and for ever if it
// failed, each of its sectors survives a power cut or does not, by itself; of
// several such writes to one sector the disk may hold any. A file may also end
// anywhere between its durable length and its new one.
//
// Names. A file that is made, renamed or removed is so durably after SyncDir.
// Until then a power cut keeps a prefix of these changes. A name may be there
// without the bytes of its file.
//
// Groups. A Device performs one group of writes at a time, in order. A group
// that power or an error cuts short leaves the first of its writes whole, the
// next one torn, and nothing of those behind it.
//
// Errors. Disk.SetBefore fails any operation, once or for ever. A change of names
// that failed did not happen, unless power went (ErrPowerCut); a failed write
// may have happened in part. The first error of a Device is its end. On a full
// disk (Disk.Room) no file is made or grows; what is there can be written over.
//
// Time. A Device takes Latency times Slow for a group, and ends none before
// Stalled.
//
// Damage. Durable bytes may rot, vanish, be overwritten by those of another
// place or fall back to what stood there before: Disk.Data gives them to be
// changed.
//
// What is not modelled: sectors that are written in part, a device that loses
// what it has acknowledged without such damage, and a lock that outlives a
// power cut.
//
// # Choices
//
// Nothing here draws a random number or reads a clock. Whoever drives a disk
// answers its questions, in an order that depends on what was done to the disk
// alone: Power what survives, Device.Whole and Device.Torn where a group is
// cut, Device.Latency how long one takes. A Clock tells the time and calls
// back. So the same answers make the same disk.
package simdisk
