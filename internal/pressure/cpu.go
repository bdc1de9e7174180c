package pressure

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// CPU tells what share of the processors' time is unused. It is for one goroutine.
type CPU struct {
	file        string
	idle, total uint64
}

// NewCPU makes a CPU that reads from proc, which is /proc where it is empty.
func NewCPU(proc string) *CPU {
	if proc == "" {
		proc = "/proc"
	}
	return &CPU{file: filepath.Join(proc, "stat")}
}

// Idle gives the share, 0 to 1, of all processors' time since the last call that
// nobody has used. Time spent waiting for a disk counts as used: more work would not
// make that go faster. Where it is not known it is 0.
func (c *CPU) Idle() float64 {
	text, err := os.ReadFile(c.file)
	if err != nil {
		return 0
	}
	idle, total := ticks(string(text))
	before := *c
	c.idle, c.total = idle, total
	if total <= before.total || idle < before.idle {
		return 0
	}
	return min(float64(idle-before.idle)/float64(total-before.total), 1)
}

// ticks adds up the first line of proc_stat(5): user, nice, system, idle, iowait, irq,
// softirq, steal. What follows is part of the first two.
func ticks(text string) (idle, total uint64) {
	line, _, _ := strings.Cut(text, "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, 0
	}
	for i, field := range fields[1:9] {
		n, err := strconv.ParseUint(field, 10, 64)
		if err != nil {
			return 0, 0
		}
		total += n
		if i == 3 {
			idle = n
		}
	}
	return idle, total
}
