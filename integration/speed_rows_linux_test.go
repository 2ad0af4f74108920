//go:build bench

package integration

import (
	"fmt"
	"testing"
	"time"

	"kdiag/integration/kit"
)

// speedRow describes a row of the table.
type speedRow struct {
	name, unit string
	route      speedRoute
	goal       speedGoal
	// kdiag measures a value of kdiag. other measures what it is compared with: a
	// plain port-forward, or what otherIs says. It is nil where there is nothing.
	kdiag, other func(t *testing.T, paths *speedPaths) float64
	otherIs      string
	// needsFreshPod wants a manager that has done nothing before. Such a row is
	// measured once: its value is a peak.
	needsFreshPod bool
	// otherOnce wants other in the first round only: what it leaves in the path takes
	// long to drain, and the goal is not a ratio to it.
	otherOnce bool
	// countsCPU wants the CPU time for each GiB: all that is done is to move them.
	countsCPU bool
}

// speedGoal says what a row has to reach: a ratio to what it is compared with, or a
// value of its own.
type speedGoal struct {
	ofRatio bool
	atMost  bool
	limit   float64
}

func ratioAtLeast(limit float64) speedGoal { return speedGoal{ofRatio: true, limit: limit} }
func ratioAtMost(limit float64) speedGoal {
	return speedGoal{ofRatio: true, atMost: true, limit: limit}
}
func valueAtLeast(limit float64) speedGoal { return speedGoal{limit: limit} }
func valueAtMost(limit float64) speedGoal  { return speedGoal{atMost: true, limit: limit} }

// String shows the goal as the table does.
func (g speedGoal) String() string {
	text := "≥ "
	if g.atMost {
		text = "≤ "
	}
	text += fmt.Sprintf("%.4g", g.limit)
	if g.ofRatio {
		text += " ×"
	}
	return text
}

// isReached tells whether a row's value, and its ratio, reach the goal.
func (g speedGoal) isReached(value, ratio float64) bool {
	if g.ofRatio {
		value = ratio
	}
	if g.atMost {
		return value <= g.limit
	}
	return value >= g.limit
}

// compareBoth returns a row that measures both paths in the same way.
func compareBoth(name, unit string, route speedRoute, goal speedGoal, measure func(t *testing.T, path *speedPath, paths *speedPaths) float64) speedRow {
	return speedRow{
		name: name, unit: unit, route: route, goal: goal,
		kdiag: func(t *testing.T, paths *speedPaths) float64 { return measure(t, paths.kdiag, paths) },
		other: func(t *testing.T, paths *speedPaths) float64 { return measure(t, paths.plain, paths) },
	}
}

// listSpeedRows lists the table, row by row.
func listSpeedRows() []speedRow {
	rows := listBulkRows()
	rows = append(rows, listConnectionRows()...)
	rows = append(rows, listLoadedRows()...)
	rows = append(rows, listMemoryRows()...)
	return append(rows, listProgramRows()...)
}

// listBulkRows lists the rows of bulk streams alone.
func listBulkRows() []speedRow {
	row := func(streams int, to direction, route speedRoute, window bulkWindow, goal speedGoal) speedRow {
		name := fmt.Sprintf("%s, %s, %s", nameStreams(streams), nameDirection(to), nameDelay(route))
		row := compareBoth(name, "MB/s", route, goal, func(t *testing.T, path *speedPath, _ *speedPaths) float64 {
			return measureBulk(t, path, streams, to, window)
		})
		row.countsCPU = true
		return row
	}

	return []speedRow{
		row(1, podToLaptop, nearRoute, nearWindow, ratioAtLeast(0.8)),
		row(1, laptopToPod, nearRoute, nearWindow, ratioAtLeast(0.9)),
		row(8, podToLaptop, nearRoute, nearWindow, ratioAtLeast(0.95)),
		row(8, laptopToPod, nearRoute, nearWindow, ratioAtLeast(0.95)),
		row(1, podToLaptop, farRoute, farWindow, ratioAtLeast(1)),
		row(1, laptopToPod, farRoute, farWindow, ratioAtLeast(1)),
		row(8, podToLaptop, farRoute, farWindow, ratioAtLeast(0.95)),
		row(8, laptopToPod, farRoute, farWindow, ratioAtLeast(1)),
	}
}

// nameStreams names a number of streams.
func nameStreams(many int) string {
	if many == 1 {
		return "one stream"
	}
	return fmt.Sprintf("%d streams", many)
}

// nameDirection names a direction.
func nameDirection(to direction) string {
	if to == podToLaptop {
		return "pod to laptop"
	}
	return "laptop to pod"
}

// nameDelay names the distance of a route.
func nameDelay(route speedRoute) string { return fmt.Sprintf("%d ms", route.roundTrip.Milliseconds()) }

// listConnectionRows lists the rows of new connections.
func listConnectionRows() []speedRow {
	serial := func(each int, measure func(time.Duration, *speedPaths) float64) func(*testing.T, *speedPath, *speedPaths) float64 {
		return func(t *testing.T, path *speedPath, paths *speedPaths) float64 {
			median, _ := measureConnections(t, path, 1, each)
			return measure(median, paths)
		}
	}
	atOnce := func(each int) func(*testing.T, *speedPath, *speedPaths) float64 {
		return func(t *testing.T, path *speedPath, _ *speedPaths) float64 {
			_, perSecond := measureConnections(t, path, 50, each)
			return perSecond
		}
	}

	inTrips := func(d time.Duration, paths *speedPaths) float64 { return float64(d) / float64(paths.roundTrip) }
	return []speedRow{
		compareBoth("new connection and a byte, serial, 0 ms", "ms", nearRoute, ratioAtMost(0.5),
			serial(200, func(d time.Duration, _ *speedPaths) float64 { return milliseconds(d) })),
		compareBoth("new connection and a byte, serial, 50 ms", "round trips", farRoute, valueAtMost(1.05), serial(10, inTrips)),
		compareBoth("new connections, 50 at once, 0 ms", "/s", nearRoute, ratioAtLeast(2.5), atOnce(40)),
		compareBoth("new connections, 50 at once, 50 ms", "/s", farRoute, valueAtLeast(900), atOnce(20)),
	}
}

// listLoadedRows lists the rows of links that are narrow or busy.
func listLoadedRows() []speedRow {
	besideIdle := func(to direction) speedRow {
		return speedRow{
			name: fmt.Sprintf("one stream beside 1,000 idle connections, %s, 0 ms", nameDirection(to)),
			unit: "MB/s", route: nearRoute, goal: ratioAtLeast(0.9), otherIs: "kdiag without them",
			kdiag: func(t *testing.T, paths *speedPaths) float64 {
				defer openIdle(t, paths.kdiag, 1000)()
				return measureBulk(t, paths.kdiag, 1, to, nearWindow)
			},
			other: func(t *testing.T, paths *speedPaths) float64 {
				return measureBulk(t, paths.kdiag, 1, to, nearWindow)
			},
		}
	}
	pings := func(to direction) speedRow {
		name := fmt.Sprintf("ping p99 above the link's round trip beside 4 streams %s, 50 Mbit/s, 20 ms", nameDirection(to))
		row := compareBoth(name, "ms", narrowRoute, valueAtMost(50), func(t *testing.T, path *speedPath, paths *speedPaths) float64 {
			streams := startBulk(t, path, 4, to)
			time.Sleep(farWindow.warmUp)
			p99 := measureAnswers(t, path, echoDialogue, 3*time.Second, 10*time.Millisecond, 0.99)
			streams.stop(t)
			return p99 - milliseconds(paths.roundTrip)
		})
		row.otherOnce = true
		return row
	}
	share := func(to direction) speedRow {
		name := fmt.Sprintf("one stream, %s, 100 Mbit/s, 100 ms", nameDirection(to))
		return compareBoth(name, "% of the link", longRoute, valueAtLeast(90), func(t *testing.T, path *speedPath, _ *speedPaths) float64 {
			return measureBulk(t, path, 1, to, longWindow) * 8e6 / float64(longRoute.bitRate) * 100
		})
	}

	return []speedRow{
		besideIdle(podToLaptop), besideIdle(laptopToPod),
		pings(podToLaptop), pings(laptopToPod),
		share(podToLaptop), share(laptopToPod),
	}
}

// listMemoryRows lists the rows of the manager's anonymous memory.
func listMemoryRows() []speedRow {
	row := func(what string, route speedRoute, limit float64, load func(*testing.T, *speedPath)) speedRow {
		return speedRow{
			name: "manager's anonymous memory, " + what, unit: "MiB", route: route, goal: valueAtMost(limit), needsFreshPod: true,
			kdiag: func(t *testing.T, paths *speedPaths) float64 {
				stop := kit.FollowMemory(t, paths.kdiag.manager)
				load(t, paths.kdiag)
				return float64(stop()) / 1024
			},
		}
	}

	return []speedRow{
		row("idle", nearRoute, 6, func(*testing.T, *speedPath) { time.Sleep(time.Second) }),
		row("1,000 idle connections", nearRoute, 24, func(t *testing.T, path *speedPath) {
			defer openIdle(t, path, 1000)()
			time.Sleep(time.Second)
		}),
		row("4 streams pod to laptop, 50 ms, peak", farRoute, 32, func(t *testing.T, path *speedPath) {
			measureBulk(t, path, 4, podToLaptop, longWindow)
		}),
		row("4 streams laptop to pod, 50 ms, peak", farRoute, 32, func(t *testing.T, path *speedPath) {
			measureBulk(t, path, 4, laptopToPod, longWindow)
		}),
	}
}

// listProgramRows lists the rows of what real programs do.
func listProgramRows() []speedRow {
	transfers := func(to direction) speedRow {
		name := fmt.Sprintf("HTTP transfer of 64 MiB, %s, 50 ms", nameDirection(to))
		return compareBoth(name, "MB/s", farRoute, ratioAtLeast(1), func(t *testing.T, path *speedPath, _ *speedPaths) float64 {
			return measureTransfer(t, path, to)
		})
	}
	gets := func(t *testing.T, path *speedPath) float64 {
		return measureAnswers(t, path, redisDialogue, time.Second, 0, 0.5)
	}
	getsBeside := func(to direction, limit float64) speedRow {
		name := fmt.Sprintf("Redis GET beside a stream %s, 0 ms", nameDirection(to))
		return compareBoth(name, "ms", nearRoute, valueAtMost(limit), func(t *testing.T, path *speedPath, _ *speedPaths) float64 {
			stream := startBulk(t, path, 1, to)
			time.Sleep(nearWindow.warmUp)
			median := gets(t, path)
			stream.stop(t)
			return median
		})
	}

	return []speedRow{
		transfers(laptopToPod), transfers(podToLaptop),
		compareBoth("HTTP requests of 16 kept connections, 0 ms", "/s", nearRoute, ratioAtLeast(1.7),
			func(t *testing.T, path *speedPath, _ *speedPaths) float64 {
				return measureRate(t, path, httpDialogue, 16, time.Second)
			}),
		compareBoth("Redis GET alone, 0 ms", "ms", nearRoute, ratioAtMost(1),
			func(t *testing.T, path *speedPath, _ *speedPaths) float64 { return gets(t, path) }),
		getsBeside(laptopToPod, 2), getsBeside(podToLaptop, 5),
	}
}
