package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"tenement.dev/internal/tenant"
)

// maxScheduleEntry is how long an entry may be, in bytes; none that is meant is longer.
const maxScheduleEntry = 200

// checkSchedule finds what is wrong with a schedule.
func (d *decoder) checkSchedule(s *draft) {
	key := child(s.path, "schedule")
	for i, entry := range s.Schedule {
		p := checkEntry(entry)
		if p == nil && slices.Contains(s.Schedule[:i], entry) {
			p = &problem{msg: fmt.Sprintf("%q is listed twice", entry)}
		}
		if p == nil {
			p = d.lookUp(entry)
		}
		if p != nil {
			p.element = i + 1
			d.fault(key, p)
		}
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

// lookUp has the calendar time looked at by who knows what they mean, if anybody does.
func (d *decoder) lookUp(entry string) *problem {
	if d.calendar == nil {
		return nil
	}
	err := d.calendar(entry)
	var known *tenant.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return &problem{msg: known.Msg, hint: known.Hint}
	}
	return &problem{msg: err.Error()}
}
