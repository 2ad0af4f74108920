package netfilter

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"unsafe"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// legacy reads the chains of one family's legacy nat table as the program does,
// by getsockopt (linux/netfilter_ipv4/ip_tables.h, netfilter_ipv6/ip6_tables.h).
// That needs neither the program nor its lock, which on a read-only root it
// cannot have, but CAP_NET_ADMIN.
type legacy struct {
	domain, level int
	// names is the file that lists the tables.
	names string
	// targetOffset is where struct ipt_entry has its u16 target_offset, which
	// next_offset follows.
	targetOffset int
}

func legacyOf(family nftables.TableFamily) legacy {
	if family == nftables.TableFamilyIPv6 {
		return legacy{unix.AF_INET6, unix.SOL_IPV6, "/proc/thread-self/net/ip6_tables_names", 140}
	}
	return legacy{unix.AF_INET, unix.SOL_IP, "/proc/thread-self/net/ip_tables_names", 88}
}

const (
	soGetInfo    = 64 // IPT_SO_GET_INFO
	soGetEntries = 65 // IPT_SO_GET_ENTRIES

	infoSize       = 84 // struct ipt_getinfo
	infoSizeOffset = 80 // its size, of all entries in bytes
	entriesSize    = 40 // struct ipt_get_entries without the entries
	entriesOffset  = 32 // its size
	targetName     = 2  // struct xt_entry_target: its name, after a u16
	errorName      = 32 // struct xt_error_target: the chain's name
	nameSize       = 30

	// maxEntries bounds, in bytes, the table that is read.
	maxEntries = 4 << 20
)

// hasNAT reports whether the nat table is there. Where it is not, asking for it
// would make it.
func (l legacy) hasNAT() (bool, error) {
	names, err := os.ReadFile(l.names)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil // the kernel has no ip_tables
	}
	return slices.ContainsFunc(bytes.Fields(names), func(name []byte) bool { return string(name) == "nat" }), err
}

// chains are the names of the nat table's own chains, without the built-in ones.
func (l legacy) chains() ([]string, error) {
	there, err := l.hasNAT()
	if err != nil || !there {
		return nil, err
	}
	entries, err := l.entries()
	if err != nil {
		return nil, fmt.Errorf("legacy nat table: %w", err)
	}
	return l.chainNames(entries), nil
}

// entries are the table's rules. Where the table changes between the two calls
// that it takes, the kernel says EAGAIN.
func (l legacy) entries() (entries []byte, err error) {
	fd, err := unix.Socket(l.domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)

	for range 10 {
		if entries, err = l.readEntries(fd); !errors.Is(err, unix.EAGAIN) {
			break
		}
	}

	return entries, err
}

func (l legacy) readEntries(fd int) ([]byte, error) {
	info := append([]byte("nat"), make([]byte, infoSize-3)...)
	if err := getsockopt(fd, l.level, soGetInfo, info); err != nil {
		return nil, os.NewSyscallError("getsockopt IPT_SO_GET_INFO", err)
	}

	size := binary.NativeEndian.Uint32(info[infoSizeOffset:])
	if size > maxEntries {
		return nil, fmt.Errorf("%d bytes of entries, want %d at most", size, maxEntries)
	}

	table := append([]byte("nat"), make([]byte, entriesSize-3+int(size))...)
	binary.NativeEndian.PutUint32(table[entriesOffset:], size)
	if err := getsockopt(fd, l.level, soGetEntries, table); err != nil {
		return nil, os.NewSyscallError("getsockopt IPT_SO_GET_ENTRIES", err)
	}

	return table[entriesSize:], nil
}

func getsockopt(fd, level, name int, value []byte) error {
	length := uint32(len(value))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name),
		uintptr(unsafe.Pointer(&value[0])), uintptr(unsafe.Pointer(&length)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// chainNames are the names in the entries that begin a chain: they have the
// target ERROR, as the one that ends the table has, whose name is ERROR too.
func (l legacy) chainNames(entries []byte) []string {
	var out []string
	for len(entries) >= l.targetOffset+4 {
		offsets := entries[l.targetOffset:]
		target := int(binary.NativeEndian.Uint16(offsets))
		next := int(binary.NativeEndian.Uint16(offsets[2:]))
		if next == 0 || next > len(entries) || target > next {
			break
		}

		body := entries[target:next]
		if len(body) >= errorName+nameSize && text(body[targetName:errorName]) == "ERROR" {
			if name := text(body[errorName:][:nameSize]); name != "ERROR" {
				out = append(out, name)
			}
		}

		entries = entries[next:]
	}

	return out
}

// text is a string that a NUL ends.
func text(field []byte) string {
	before, _, _ := bytes.Cut(field, []byte{0})
	return string(before)
}
