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

// legacyNAT reads the chains of one family's legacy nat table with getsockopt, as
// the program does (linux/netfilter_ipv4/ip_tables.h,
// linux/netfilter_ipv6/ip6_tables.h). It needs CAP_NET_ADMIN, but neither the
// program nor the program's lock, which a read-only root file system denies.
type legacyNAT struct {
	domain, level int
	// tableNames is the path of the file that lists the tables.
	tableNames string
	// targetOffset locates the u16 target_offset in struct ipt_entry. The u16
	// next_offset follows it.
	targetOffset int
}

func legacyNATOf(family nftables.TableFamily) legacyNAT {
	if family == nftables.TableFamilyIPv6 {
		return legacyNAT{unix.AF_INET6, unix.SOL_IPV6, "/proc/thread-self/net/ip6_tables_names", 140}
	}
	return legacyNAT{unix.AF_INET, unix.SOL_IP, "/proc/thread-self/net/ip_tables_names", 88}
}

const (
	soGetInfo    = 64 // IPT_SO_GET_INFO
	soGetEntries = 65 // IPT_SO_GET_ENTRIES

	infoSize       = 84 // struct ipt_getinfo
	infoSizeOffset = 80 // its field size: all entries, in bytes
	entriesSize    = 40 // struct ipt_get_entries, without the entries
	entriesOffset  = 32 // its field size
	targetName     = 2  // struct xt_entry_target: its name, after a u16
	errorName      = 32 // struct xt_error_target: the chain's name
	nameSize       = 30

	// maxTableSize limits the table that is read, in bytes.
	maxTableSize = 4 << 20
)

// exists reports whether the nat table exists. It reads the list of tables,
// because the kernel creates a table that getsockopt asks for.
func (l legacyNAT) exists() (bool, error) {
	names, err := os.ReadFile(l.tableNames)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil // the kernel has no ip_tables
	}

	return slices.ContainsFunc(bytes.Fields(names), func(name []byte) bool { return string(name) == "nat" }), err
}

// listChains returns the names of the chains that programs have added to the nat
// table, without the built-in ones.
func (l legacyNAT) listChains() ([]string, error) {
	exists, err := l.exists()
	if err != nil || !exists {
		return nil, err
	}

	entries, err := l.readEntries()
	if err != nil {
		return nil, fmt.Errorf("legacy nat table: %w", err)
	}

	return l.parseChainNames(entries), nil
}

// readEntries reads the table's rules. It takes two calls, and the kernel answers
// EAGAIN if the table changed between them.
func (l legacyNAT) readEntries() (entries []byte, err error) {
	fd, err := unix.Socket(l.domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)

	for range 10 {
		if entries, err = l.tryReadEntries(fd); !errors.Is(err, unix.EAGAIN) {
			break
		}
	}

	return entries, err
}

func (l legacyNAT) tryReadEntries(fd int) ([]byte, error) {
	info := append([]byte("nat"), make([]byte, infoSize-3)...)
	if err := getsockopt(fd, l.level, soGetInfo, info); err != nil {
		return nil, os.NewSyscallError("getsockopt IPT_SO_GET_INFO", err)
	}

	size := binary.NativeEndian.Uint32(info[infoSizeOffset:])
	if size > maxTableSize {
		return nil, fmt.Errorf("table of %d bytes, want at most %d", size, maxTableSize)
	}

	table := append([]byte("nat"), make([]byte, entriesSize-3+int(size))...)
	binary.NativeEndian.PutUint32(table[entriesOffset:], size)
	if err := getsockopt(fd, l.level, soGetEntries, table); err != nil {
		return nil, os.NewSyscallError("getsockopt IPT_SO_GET_ENTRIES", err)
	}

	return table[entriesSize:], nil
}

// getsockopt gets a value of any size, for which x/sys has no function.
func getsockopt(fd, level, name int, value []byte) error {
	length := uint32(len(value))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name),
		uintptr(unsafe.Pointer(&value[0])), uintptr(unsafe.Pointer(&length)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// parseChainNames returns the names of the chains in a table's entries. A chain
// begins with an entry whose target is ERROR and carries the chain's name. So does
// the end of the table, but there the name is ERROR too.
func (l legacyNAT) parseChainNames(entries []byte) []string {
	var names []string
	for len(entries) >= l.targetOffset+4 {
		offsets := entries[l.targetOffset:]
		target := int(binary.NativeEndian.Uint16(offsets))
		next := int(binary.NativeEndian.Uint16(offsets[2:]))
		if next == 0 || next > len(entries) || target > next {
			break
		}

		body := entries[target:next]
		if len(body) >= errorName+nameSize && cString(body[targetName:errorName]) == "ERROR" {
			if name := cString(body[errorName:][:nameSize]); name != "ERROR" {
				names = append(names, name)
			}
		}

		entries = entries[next:]
	}

	return names
}

// cString returns the text of a field up to its first NUL byte.
func cString(field []byte) string {
	before, _, _ := bytes.Cut(field, []byte{0})
	return string(before)
}
