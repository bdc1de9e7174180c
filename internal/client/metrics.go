package client

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"tenement.dev/internal/tenant"
)

// Counters are what was counted of one instance; Known says that it has series.
type Counters struct {
	Known         bool
	Requests, CPU float64 // since the daemon's start, since the app's; CPU in seconds
	// Memory is in bytes, nil where it does not run or that is not known.
	Memory *float64
}

// Counters asks the daemon's metrics for those of instances. One that is not in them has
// no series of its own.
func (c *Client) Counters(ctx context.Context) (map[tenant.ID]Counters, error) {
	ctx, cancel := promptly(ctx)
	defer cancel()
	resp, err := c.sendTo(ctx, http.MethodGet, "/metrics", nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	all := map[tenant.ID]Counters{}
	lines := bufio.NewScanner(io.LimitReader(resp.Body, maxAnswer))
	for lines.Scan() {
		name, id, value, ok := parseSeries(lines.Text())
		if !ok {
			continue
		}
		of := all[id]
		of.Known = true
		switch name {
		case "requests_total":
			of.Requests = value
		case "cpu_seconds_total":
			of.CPU = value
		case "memory_bytes":
			of.Memory = &value
		}
		all[id] = of
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	return all, nil
}

// parseSeries reads one line of an instance's series, without labels but the two that name
// it (prometheus.io/docs/instrumenting/exposition_formats). Names of instances need no
// escapes.
func parseSeries(line string) (name string, id tenant.ID, value float64, ok bool) {
	line, ok = strings.CutPrefix(line, "tenement_instance_")
	if !ok {
		return "", id, 0, false
	}
	name, rest, _ := strings.Cut(line, "{")
	labels, number, _ := strings.Cut(rest, "} ")
	for label := range strings.SplitSeq(labels, ",") {
		key, quoted, _ := strings.Cut(label, "=")
		switch text := strings.Trim(quoted, `"`); key {
		case "service":
			id.Service = text
		case "tenant":
			id.Name = text
		}
	}
	value, err := strconv.ParseFloat(number, 64)
	return name, id, value, err == nil && id.Service != "" && id.Name != ""
}
