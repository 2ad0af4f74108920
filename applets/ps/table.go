package ps

import (
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"kdiag/applets/internal/laptop/units"
	"kdiag/mux/wire"
)

// writeTables writes the processes and then the sockets. It makes them printable,
// since the text comes from the pod. It cuts command lines at columns, unless that
// is 0.
func writeTables(w io.Writer, d document, wide bool, columns int) {
	var processes strings.Builder
	writeProcesses(&processes, d, wide)
	fmt.Fprint(w, clipLines(processes.String(), columns))

	fmt.Fprintln(w)
	rows := listeningRows(d, wide)
	if len(rows) == 1 {
		fmt.Fprintln(w, "no listening sockets")
	} else {
		writeRows(w, rows)
	}

	if d.Connected == nil {
		return
	}

	fmt.Fprintln(w)
	if rows := connectedRows(d, wide); len(rows) > 1 {
		writeRows(w, rows)
	} else {
		fmt.Fprintln(w, "no connected sockets")
	}
}

func writeProcesses(w io.Writer, d document, wide bool) {
	heading := []string{"PID", "USER", "STATE", "START", "RSS", "CPU"}
	if wide {
		heading = []string{"PID", "PPID", "USER", "UID", "STATE", "START", "RSS", "CPU", "THREADS"}
	}

	rows := [][]string{append(heading, "COMMAND")}
	for _, p := range d.Processes {
		user := p.User
		if user == "" {
			user = strconv.Itoa(p.UID)
		}

		size, cpu := units.Size(int64(p.RSS)), units.Span(p.CPU)
		row := []string{strconv.Itoa(p.PID), user, p.State, formatStart(p.Start, d.Time, wide), size, cpu}
		if wide {
			row = []string{strconv.Itoa(p.PID), strconv.Itoa(p.PPID), user, strconv.Itoa(p.UID), p.State,
				formatStart(p.Start, d.Time, wide), size, cpu, strconv.Itoa(p.Threads)}
		}

		rows = append(rows, append(row, formatCommand(p)))
	}

	writeRows(w, rows)
}

// formatStart formats a start time: as time within the last day, else as date, and
// as both if wide.
func formatStart(at *time.Time, now time.Time, wide bool) string {
	switch {
	case at == nil:
		return "?"
	case wide:
		return at.Local().Format(time.DateTime)
	case now.Sub(*at) < 24*time.Hour:
		return at.Local().Format(time.TimeOnly)
	}
	return at.Local().Format(time.DateOnly)
}

// formatCommand formats a command line. A process without one shows its name in
// brackets, as in ps(1).
func formatCommand(p wire.Process) string {
	if len(p.Command) == 0 {
		return "[" + p.Name + "]"
	}
	text := strings.Join(p.Command, " ")
	if p.CommandCut {
		text += "…"
	}
	return text
}

func listeningRows(d document, wide bool) [][]string {
	rows := [][]string{socketRow(wide, "INODE", "PROTO", "LISTENING", "PROCESS")}
	for _, s := range d.Listening {
		rows = append(rows, socketRow(wide, strconv.FormatUint(s.Inode, 10), s.Protocol, s.Local, d.formatOwners(s)))
	}
	return rows
}

func connectedRows(d document, wide bool) [][]string {
	rows := [][]string{socketRow(wide, "INODE", "PROTO", "STATE", "LOCAL", "REMOTE", "PEER", "PROCESS")}
	for _, s := range d.Connected {
		peer := "-"
		if s.Peer != nil {
			peer = s.Peer.String()
		}
		rows = append(rows, socketRow(wide, strconv.FormatUint(s.Inode, 10), s.Protocol, s.State, s.Local, s.Remote, peer, d.formatOwners(s.Socket)))
	}
	return rows
}

func socketRow(wide bool, inode string, row ...string) []string {
	if wide {
		return append(row, inode)
	}
	return row
}

// formatOwners lists the first few processes that have a socket open.
func (d document) formatOwners(s wire.Socket) string {
	const limit = 3
	if len(s.PIDs) == 0 {
		return "?"
	}

	var names []string
	for _, pid := range s.PIDs[:min(len(s.PIDs), limit)] {
		names = append(names, strconv.Itoa(pid)+"/"+d.processName(pid))
	}

	if more := len(s.PIDs) - limit; more > 0 {
		names = append(names, fmt.Sprintf("+%d", more))
	}

	return strings.Join(names, " ")
}

func (d document) processName(pid int) string {
	for _, p := range d.Processes {
		if p.PID == pid && len(p.Command) > 0 {
			return path.Base(p.Command[0])
		}
		if p.PID == pid {
			return p.Name
		}
	}
	return "?"
}

// writeRows writes a table whose first row is the heading.
func writeRows(w io.Writer, rows [][]string) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		for i, cell := range row {
			row[i] = wire.Printable(cell)
		}
		fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	_ = t.Flush()
}
