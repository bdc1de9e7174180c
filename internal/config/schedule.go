package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"tenement.dev/internal/tenant"
)

// maxScheduleEntry is how long an entry may be, in bytes; none that is meant is longer.
const maxScheduleEntry = 200

// checkSchedule finds what is wrong with a schedule as far as that can be seen without
// systemd.
func (d *decoder) checkSchedule(s *draft) {
	key := child(s.path, "schedule")
	for i, entry := range s.Schedule {
		p := checkEntry(entry)
		if p == nil && slices.Contains(s.Schedule[:i], entry) {
			p = &problem{msg: fmt.Sprintf("%q is listed twice", entry)}
		}
		if p != nil {
			p.element = i + 1
			d.fault(key, p)
		}
		s.scheduleLines = append(s.scheduleLines, max(1, d.at.elementLine(key, i)))
	}
	if !s.given["schedule_path"] || !s.sound("schedule", "schedule_path") {
		return
	}
	p := checkPath(s.SchedulePath, "/cron")
	if p == nil && len(s.Schedule) == 0 {
		p = &problem{msg: "goes with schedule, and there is none", hint: `add schedule = ["hourly"], or leave it out`}
	}
	if p != nil {
		d.fault(child(s.path, "schedule_path"), p)
	}
}

func checkEntry(entry string) *problem {
	hint := `write when, as in "hourly" or "Mon..Fri 06:30" (man systemd.time)`
	switch {
	case strings.TrimSpace(entry) != entry || entry == "":
		return &problem{msg: "empty, or with space around it", hint: hint}
	case len(entry) > maxScheduleEntry:
		return &problem{msg: fmt.Sprintf("longer than %d bytes", maxScheduleEntry), hint: hint}
	case strings.ContainsFunc(entry, func(r rune) bool { return r < ' ' || r > '~' }):
		return &problem{msg: fmt.Sprintf("%q has characters that no calendar time has", entry), hint: hint}
	}
	return nil
}

// CheckSchedules has all schedule entries looked at by check, whose error says for
// people what is wrong with one. The error is Faults.
func (c *Config) CheckSchedules(check func(entry string) error) error {
	var faults Faults
	for _, name := range sortedKeys(c.Services) {
		s := c.Services[name]
		for i, entry := range s.Schedule {
			err := check(entry)
			if err == nil {
				continue
			}
			f := Fault{
				File: c.Path, Line: s.scheduleLines[i],
				Key: toml.Key{"service", name, "schedule"}.String(), Msg: err.Error(),
			}
			var known *tenant.Error
			if errors.As(err, &known) {
				f.Msg, f.Hint = known.Msg, known.Hint
			}
			faults = append(faults, f)
		}
	}
	if len(faults) == 0 {
		return nil
	}
	return faults.sorted()
}
